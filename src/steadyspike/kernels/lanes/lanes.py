"""Values side by side in vector registers, for compiled loops that keep their sums in registers.

The compiler turns a loop over an array into vector instructions, but keeps a sum in a register only if it is
one number: the sums of a few rows go through memory in each step. A `Lanes` value is 64 bytes of float32 or
float64, one to four registers, a `Tile` several of them. The functions below are usable in compiled functions
only. In a tile, products with one number and sums round one after the other, as in numpy: each lane has the digits
of the plain loop on any processor.
"""

import operator

import numpy as np
from llvmlite.binding import get_host_cpu_features
from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic, models, overload, register_model

from steadyspike.kernels.lanes.vectors import address_of, load_vector, saturated, splat, store_vector

LANE_BYTES = 64
# Sums that stay in registers at once: a processor with AVX-512 has 32 of 64 bytes, others what 8 of these hold.
TILE_LANES = 8 if get_host_cpu_features().get("avx512f") else 4


def num_lanes(dtype) -> int:
    """Values in one `Lanes` of this type: 16 of float32, 8 of float64."""
    return LANE_BYTES // np.dtype(dtype).itemsize


def _count(array):
    return LANE_BYTES * 8 // array.dtype.bitwidth


class Lanes(types.Type):
    """Numba type of 64 bytes of `dtype`."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"{type(self).__name__}({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """`Lanes` as LLVM's vector."""

    def __init__(self, manager, fe_type):
        element = manager.lookup(fe_type.dtype).get_value_type()
        super().__init__(manager, fe_type, ir.VectorType(element, _count(fe_type)))


class Tile(Lanes):
    """Numba type of `TILE_LANES` times 64 bytes of `dtype`."""


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    """`Tile` as LLVM's array of vectors, which it keeps in registers."""

    def __init__(self, manager, fe_type):
        vector = manager.lookup(Lanes(fe_type.dtype)).get_value_type()
        super().__init__(manager, fe_type, ir.ArrayType(vector, TILE_LANES))


@intrinsic
def zero_tile(typingctx, array):
    """Zeros of the type of an array."""
    tile = Tile(array.dtype)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(array), generate


@intrinsic
def load_lanes(typingctx, array, at):
    """`array[at : at + num_lanes]` of a C-contiguous array of one dimension, unchecked; `at` >= 0."""

    def generate(context, builder, signature, arguments):
        address = address_of(context, builder, array, *arguments)
        return load_vector(context, builder, array.dtype, address, _count(array))

    return Lanes(array.dtype)(array, at), generate


@intrinsic
def convert_lanes(typingctx, array, at, alike):
    """As many values from `array[at]` on as the floats of the array `alike` have lanes, in their type, unchecked."""

    def generate(context, builder, signature, arguments):
        address = address_of(context, builder, array, *arguments[:2])
        wanted = context.get_value_type(Lanes(alike.dtype))
        return load_vector(context, builder, array.dtype, address, _count(alike), wanted)

    return Lanes(alike.dtype)(array, at, alike), generate


def _adding_scaled(flags):
    """Make an intrinsic that adds products with single numbers to a tile."""

    @intrinsic
    def add(typingctx, sums, values, array, at, step):
        def generate(context, builder, signature, arguments):
            totals, vectors, factors, place, distance = arguments
            for row in range(TILE_LANES):
                factor = builder.load(address_of(context, builder, array, factors, place))
                product = builder.fmul(vectors, splat(builder, factor, _count(array)), flags=flags)
                total = builder.fadd(builder.extract_value(totals, row), product, flags=flags)
                totals = builder.insert_value(totals, total, row)
                place = builder.add(place, distance)
            return totals

        return sums(sums, values, array, at, step), generate

    return add


add_scaled = _adding_scaled(())
"""Add to each `sums[i]` the product of `values` with the one number `array[at + i * step]`, unchecked."""
add_scaled_once = _adding_scaled(("contract",))
"""`add_scaled`, but a product and the sum that takes it may round once."""


@intrinsic
def add_products(typingctx, sums, values, array, at, step):
    """Add to each `sums[i]` the products of `values` with the lanes at `array[at + i * step]`, unchecked.

    A product and the sum that takes it may round once.
    """

    def generate(context, builder, signature, arguments):
        totals, vectors, source, place, distance = arguments
        for row in range(TILE_LANES):
            address = address_of(context, builder, array, source, place)
            lanes = load_vector(context, builder, array.dtype, address, _count(array))
            product = builder.fmul(vectors, lanes, flags=("contract",))
            total = builder.fadd(builder.extract_value(totals, row), product, flags=("contract",))
            totals = builder.insert_value(totals, total, row)
            place = builder.add(place, distance)
        return totals

    return sums(sums, values, array, at, step), generate


@intrinsic
def store_tile(typingctx, array, at, step, sums):
    """`array[at + i * step :][: num_lanes] = sums[i]`, unchecked as `load_lanes`.

    Integers are rounded to the nearest, halves to even; they saturate, and are 0 where a sum is NaN.
    """

    def generate(context, builder, signature, arguments):
        target, place, distance, totals = arguments
        for row in range(TILE_LANES):
            address = address_of(context, builder, array, target, place)
            values = builder.extract_value(totals, row)
            if isinstance(array.dtype, types.Integer):
                values = saturated(builder, values, array.dtype)
            store_vector(builder, array.dtype, address, values)
            place = builder.add(place, distance)
        return context.get_dummy_value()

    return types.void(array, at, step, sums), generate


def _binary(instruction: str):
    """Intrinsic of two `Lanes`, lane by lane; a product and a sum that takes it may round once."""

    @intrinsic
    def combine(typingctx, one, other):
        def generate(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments, flags=("contract",))

        return one(one, other), generate

    return combine


_add, _subtract, _multiply = (_binary(name) for name in ("fadd", "fsub", "fmul"))


def _overload_operator(function, combine):
    @overload(function)
    def of_lanes(one, other):
        if isinstance(one, Lanes) and one == other:
            return lambda one, other: combine(one, other)
        return None


_overload_operator(operator.add, _add)
_overload_operator(operator.sub, _subtract)
_overload_operator(operator.mul, _multiply)


@intrinsic
def fill_lanes(typingctx, array, at):
    """Lanes that all hold `array[at]`, unchecked."""

    def generate(context, builder, signature, arguments):
        value = builder.load(address_of(context, builder, array, *arguments))
        return splat(builder, value, _count(array))

    return Lanes(array.dtype)(array, at), generate


@intrinsic
def store_lanes(typingctx, array, at, values):
    """`array[at : at + num_lanes] = values`, unchecked as `load_lanes`."""

    def generate(context, builder, signature, arguments):
        address = address_of(context, builder, array, *arguments[:2])
        store_vector(builder, array.dtype, address, arguments[2])
        return context.get_dummy_value()

    return types.void(array, at, values), generate
