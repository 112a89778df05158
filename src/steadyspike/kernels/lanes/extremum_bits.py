"""Compare 64 samples with a level and with the samples beside them, and give the result as the bits of one number.

The compiler packs the results of a loop's comparisons into bytes in memory, which have to be searched again; as one
vector they become a number in a register, that is 0 nearly always. Usable in compiled functions only.
"""

from numba.core import types
from numba.core.cgutils import ir
from numba.extending import intrinsic

from steadyspike.kernels.lanes.vectors import address_of, load_vector

BITS = 64


def _comparing(towards: str, beyond: str):
    @intrinsic
    def bits_of(typingctx, flat, at, stride, levels, place):
        """Compare `flat[at : at + 64]`, unchecked; comparisons with NaN are false.

        Bit i is set where sample i reaches `levels[place + i]`, exceeds the sample `stride` before it, and is not
        exceeded by the one `stride` after it. Both arrays are of one type.
        """
        dtype = flat.dtype

        def generate(context, builder, signature, arguments):
            samples, index, apart, bounds, offset = arguments
            if isinstance(dtype, types.Float):
                compare = builder.fcmp_ordered
            else:
                compare = builder.icmp_signed if dtype.signed else builder.icmp_unsigned

            def load(array_type, array, where):
                address = address_of(context, builder, array_type, array, where)
                return load_vector(context, builder, dtype, address, BITS)

            row = load(flat, samples, index)
            before = load(flat, samples, builder.sub(index, apart))
            after = load(flat, samples, builder.add(index, apart))
            reached = compare(towards, row, load(levels, bounds, offset))
            found = builder.and_(reached, compare(beyond, row, before))
            found = builder.and_(found, compare(towards, row, after))
            return builder.bitcast(found, ir.IntType(BITS))

        return types.uint64(flat, at, stride, levels, place), generate

    return bits_of


trough_bits = _comparing("<=", "<")
peak_bits = _comparing(">=", ">")


@intrinsic
def lowest_bit(typingctx, bits):
    """Place of the lowest bit that is set, of a number that is not 0."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate
