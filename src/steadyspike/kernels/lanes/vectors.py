"""LLVM instructions on vectors of neighbouring values of an array, of which the intrinsics are made."""

from numba.core import cgutils, types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses


def vector_type(context, dtype, count):
    """Vector of `count` values of a numba type."""
    return ir.VectorType(context.get_data_type(dtype), count)


def address_of(context, builder, array_type, array, at):
    """Address of one value of a C-contiguous array, indexed as flat memory, unchecked."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [at])


def load_vector(context, builder, dtype, address, count, wanted=None):
    """Values from an address on; integers become signed floats and float32 float64, if the vector `wanted` is that."""
    given = vector_type(context, dtype, count)
    pointer = builder.bitcast(address, given.as_pointer())
    values = builder.load(pointer, align=dtype.bitwidth // 8)
    if wanted is None or wanted == given:
        return values
    return (builder.sitofp if isinstance(dtype, types.Integer) else builder.fpext)(values, wanted)


def store_vector(builder, dtype, address, values):
    """Write values of the type of the array from an address on."""
    pointer = builder.bitcast(address, values.type.as_pointer())
    builder.store(values, pointer, align=dtype.bitwidth // 8)


def saturated(builder, values, dtype):
    """Round a vector of float32 to signed integers of 16 bits or fewer: limits for what is beyond them, 0 for NaN."""
    kind = values.type

    def constant(number):
        return ir.Constant(kind, [float(number)] * kind.count)

    rint = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(kind, [kind]), f"llvm.rint.v{kind.count}f32"
    )
    values = builder.select(builder.fcmp_ordered("ord", values, values), values, constant(0))
    for comparison, limit in (("<", dtype.minval), (">", dtype.maxval)):
        beyond = builder.fcmp_ordered(comparison, values, constant(limit))
        values = builder.select(beyond, constant(limit), values)
    whole = builder.fptosi(builder.call(rint, [values]), ir.VectorType(ir.IntType(32), kind.count))
    return builder.trunc(whole, ir.VectorType(ir.IntType(dtype.bitwidth), kind.count))


def shuffle(builder, one, other, places):
    """Vector of values at places of two vectors, one after the other."""
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
    return builder.shuffle_vector(one, other, mask)


def splat(builder, value, count):
    """Vector that holds one value in every place."""
    undefined = ir.Constant(ir.VectorType(value.type, count), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.IntType(32)(0))
    return shuffle(builder, first, undefined, [0] * count)
