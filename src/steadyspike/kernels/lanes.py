"""Values side by side in vector registers, for compiled loops that keep their sums in registers.

The compiler turns a loop over an array into vector instructions, but keeps a sum in a register only if it is
one number: the sums of a few rows go through memory in each step. A `Lanes` value is 64 bytes of float32 or
float64, one to four registers, and the functions below are usable in compiled functions only. Products and
sums round one after the other, as in numpy: each lane has the digits of the plain loop on any processor.
"""

import numpy as np
from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic, models, register_model

LANE_BYTES = 64


def num_lanes(dtype) -> int:
    """Values in one `Lanes` of this type: 16 of float32, 8 of float64."""
    return LANE_BYTES // np.dtype(dtype).itemsize


class Lanes(types.Type):
    """Numba type of 64 bytes of `dtype`."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    """`Lanes` as LLVM's vector."""

    def __init__(self, manager, fe_type):
        element = manager.lookup(fe_type.dtype).get_value_type()
        super().__init__(manager, fe_type, ir.VectorType(element, LANE_BYTES * 8 // fe_type.dtype.bitwidth))


def _pointer(context, builder, array_type, array, at, lanes):
    data = context.make_array(array_type)(context, builder, array).data
    vector = context.get_value_type(lanes)
    return builder.bitcast(builder.gep(data, [at]), vector.as_pointer())


@intrinsic
def zero_lanes(typingctx, array):
    """Zeros of the type of an array."""
    lanes = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(lanes), None)

    return lanes(array), generate


@intrinsic
def load_lanes(typingctx, array, at):
    """`array[at : at + num_lanes]` of a C-contiguous array of one dimension, unchecked; `at` >= 0."""
    lanes = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, *arguments, lanes)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return lanes(array, at), generate


@intrinsic
def store_lanes(typingctx, array, at, values):
    """`array[at : at + num_lanes] = values`, unchecked as `load_lanes`."""

    def generate(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments[0], arguments[1], values)
        builder.store(arguments[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, at, values), generate


@intrinsic
def add_scaled(typingctx, total, values, factor):
    """`total + values * factor`, with one factor for all lanes."""

    def generate(context, builder, signature, arguments):
        vector = context.get_value_type(total)
        index = ir.IntType(32)
        undefined = ir.Constant(vector, ir.Undefined)
        first = builder.insert_element(undefined, arguments[2], index(0))
        everywhere = ir.Constant(ir.VectorType(index, vector.count), None)
        factors = builder.shuffle_vector(first, undefined, everywhere)
        return builder.fadd(arguments[0], builder.fmul(arguments[1], factors))

    return total(total, values, total.dtype), generate
