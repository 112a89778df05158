"""Arrays transposed by square tiles in vector registers."""

import numba
from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic

from steadyspike.kernels.lanes.vectors import address_of, load_vector, shuffle, store_vector, vector_type

TILE = 16


@intrinsic
def transpose_tile(typing_context, source, at, stride, target, target_at, target_stride):
    """`target[target_at + j * target_stride + i] = source[at + i * stride + j]` for i, j < 16, for compiled code.

    Both are C-contiguous and indexed as flat memory, unchecked. Integers may go to floats, and float32 to float64.
    """

    def generate(context, builder, signature, arguments):
        source_type, target_type = signature.args[0], signature.args[3]
        data, first, step, target_data, target_first, target_step = arguments
        wanted = vector_type(context, target_type.dtype, TILE)

        def nth(array_type, array, start, stride, number):
            at = builder.add(start, builder.mul(stride, ir.IntType(64)(number)))
            return address_of(context, builder, array_type, array, at)

        def load(row):
            address = nth(source_type, data, first, step, row)
            return load_vector(context, builder, source_type.dtype, address, TILE, wanted)

        rows = [load(row) for row in range(TILE)]
        # after each round, blocks of twice the width are transposed
        half = 1
        while half < TILE:
            keep = [lane if not lane & half else lane - half + TILE for lane in range(TILE)]
            swap = [lane + half if not lane & half else lane + TILE for lane in range(TILE)]
            for row in range(TILE):
                if not row & half:
                    upper, lower = rows[row], rows[row + half]
                    rows[row] = shuffle(builder, upper, lower, keep)
                    rows[row + half] = shuffle(builder, upper, lower, swap)
            half *= 2
        for column in range(TILE):
            address = nth(target_type, target_data, target_first, target_step, column)
            store_vector(builder, target_type.dtype, address, rows[column])
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, index, target, index, index), generate


@numba.njit(nogil=True, cache=True)
def transpose(block, target, stride):
    """Copy a block so that its columns are rows: `target[column * stride + row] = block[row, column]`.

    The block is C-contiguous int16, float32 or float64, the target flat, of float32 or float64, with `stride` values
    from one of its rows to the next.
    """
    num_rows, num_columns = block.shape
    if num_rows < TILE or num_columns < TILE:
        for row in range(num_rows):
            for column in range(num_columns):
                target[column * stride + row] = block[row, column]
        return
    # the last tiles overlap the ones before
    for begin in range(0, num_rows, TILE):
        row = min(begin, num_rows - TILE)
        for start in range(0, num_columns, TILE):
            column = min(start, num_columns - TILE)
            transpose_tile(
                block, row * num_columns + column, num_columns, target, column * stride + row, stride
            )
