"""Square tiles of an array, turned in vector registers."""

import numba
from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic

TILE = 16


@intrinsic
def transpose_tile(typing_context, source, at, stride, target, target_at, target_stride):
    """`target[target_at + j * target_stride + i] = source[at + i * stride + j]` for i, j < 16, for compiled code.

    Both are C-contiguous and indexed as flat memory, unchecked. Integers may go to floats, and float32 to float64.
    """

    def generate(context, builder, signature, arguments):
        source_type, target_type = signature.args[0], signature.args[3]
        data, first, step, target_data, target_first, target_step = arguments
        given = ir.VectorType(context.get_data_type(source_type.dtype), TILE)
        wanted = ir.VectorType(context.get_data_type(target_type.dtype), TILE)

        def pointer(array_type, array, index, vector):
            memory = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(memory, [index]), vector.as_pointer())

        def nth(start, stride, number):
            return builder.add(start, builder.mul(stride, ir.IntType(64)(number)))

        def load(row):
            address = pointer(source_type, data, nth(first, step, row), given)
            values = builder.load(address, align=source_type.dtype.bitwidth // 8)
            if isinstance(source_type.dtype, types.Integer):
                return builder.sitofp(values, wanted)
            return values if given == wanted else builder.fpext(values, wanted)

        rows = [load(row) for row in range(TILE)]
        # after each round, blocks of twice the width are turned
        half = 1
        while half < TILE:
            keep = [lane if not lane & half else lane - half + TILE for lane in range(TILE)]
            turn = [lane + half if not lane & half else lane + TILE for lane in range(TILE)]
            for row in range(TILE):
                if not row & half:
                    upper, lower = rows[row], rows[row + half]
                    rows[row] = _shuffle(builder, upper, lower, keep)
                    rows[row + half] = _shuffle(builder, upper, lower, turn)
            half *= 2
        for column in range(TILE):
            place = nth(target_first, target_step, column)
            address = pointer(target_type, target_data, place, wanted)
            builder.store(rows[column], address, align=target_type.dtype.bitwidth // 8)
        return context.get_dummy_value()

    index = types.int64
    return types.void(source, index, index, target, index, index), generate


def _shuffle(builder, one, other, places):
    mask = ir.Constant(ir.VectorType(ir.IntType(32), TILE), places)
    return builder.shuffle_vector(one, other, mask)


@numba.njit(nogil=True, cache=True)
def turn(block, target, stride):
    """Copy a block so that its columns are rows: `target[column * stride + row] = block[row, column]`.

    Parameters
    ----------
    block : array, (num_rows, num_columns)
        C-contiguous int16, float32 or float64.
    target : array of float32 or float64, flat
    stride : int
        Values from one row of `target` to the next.
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
