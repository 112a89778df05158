"""Comparisons of integers lane by lane, for loops that count; see `lanes`."""

from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic

from steadyspike.kernels.lanes.lanes import Lanes
from steadyspike.kernels.lanes.vectors import splat


@intrinsic
def fill_with(typingctx, array, value):
    """Lanes of the type of an array that all hold a value of that type."""
    lanes = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):
        return splat(builder, arguments[1], context.get_value_type(lanes).count)

    return lanes(array, array.dtype), generate


@intrinsic
def as_keys(typingctx, values, array):
    """Integers in the order of the values, in lanes of the type of an array of integers as wide as they are.

    Integers as they are; the bits of floats, with all but the sign bit flipped for negative ones.
    """
    keys = Lanes(array.dtype)

    def generate(context, builder, signature, arguments):
        kind = context.get_value_type(keys)
        bits = builder.bitcast(arguments[0], kind)
        if isinstance(values.dtype, types.Integer):
            return bits
        width = array.dtype.bitwidth
        sign = builder.ashr(bits, ir.Constant(kind, [width - 1] * kind.count))
        return builder.xor(bits, builder.and_(sign, ir.Constant(kind, [2 ** (width - 1) - 1] * kind.count)))

    return keys(values, array), generate


def _comparing(combine):
    """Intrinsic that goes on with something of the lanes that hold no more than a limit, or of the others."""

    @intrinsic
    def compare(typingctx, known, values, limits):
        def generate(context, builder, signature, arguments):
            so_far, lanes, most = arguments
            return combine(builder, so_far, lanes, builder.icmp_signed("<=", lanes, most))

        return known(known, values, limits), generate

    return compare


def _largest(builder, known, values, up_to):
    larger = builder.select(builder.icmp_signed(">", values, known), values, known)
    return builder.select(up_to, larger, known)


def _smallest(builder, known, values, up_to):
    smaller = builder.select(builder.icmp_signed("<", values, known), values, known)
    return builder.select(up_to, known, smaller)


# true is -1 in all bits
add_where_up_to = _comparing(
    lambda builder, known, values, up_to: builder.sub(known, builder.sext(up_to, known.type))
)
"""Add 1 to the lanes of `known` whose value is at most its limit."""
largest_up_to = _comparing(_largest)
"""The larger of `known` and the value, where that is at most its limit; else `known`."""
smallest_beyond = _comparing(_smallest)
"""The smaller of `known` and the value, where that is above its limit; else `known`."""
