"""Memory that kernels use again, and lines of it fetched before they are needed."""

import threading

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

LINE_BYTES = 64
MOST_KEPT_BYTES = 2**26

_kept = threading.local()


def scratch(size, dtype):
    """Give uninitialised room that belongs to the calling thread until it asks for room again.

    The system clears every page that a process gets, which takes as long as a kernel needs for it. Room of up to
    `MOST_KEPT_BYTES` is therefore kept for the next call.

    Parameters
    ----------
    size : int
        Number of values.
    dtype : dtype or str
        Their type.

    Returns
    -------
    room : array, (size,)
    """
    dtype = np.dtype(dtype)
    num_bytes = size * dtype.itemsize
    if num_bytes > MOST_KEPT_BYTES:
        return np.empty(size, dtype)
    room = getattr(_kept, "room", None)
    if room is None or room.nbytes < num_bytes:
        _kept.room = None  # the old room goes before the new one comes
        room = _kept.room = np.empty(num_bytes, "uint8")
    return room[:num_bytes].view(dtype)


def _make_prefetch(to_write):
    """Compile an instruction that brings a line of memory to the cache; it never faults and changes nothing."""

    @intrinsic
    def prefetch(typing_context, array, index):
        def generate(context, builder, signature, args):
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            integer = ir.IntType(32)
            function_type = ir.FunctionType(ir.VoidType(), [address.type, integer, integer, integer])
            function = builder.module.declare_intrinsic("llvm.prefetch", [address.type], function_type)
            # all levels of the data cache
            builder.call(function, [address, integer(to_write), integer(3), integer(1)])
            return context.get_dummy_value()

        return types.void(array, index), generate

    return prefetch


prefetch_to_read = _make_prefetch(0)
"""`prefetch_to_read(array, flat_index)`, for compiled code; the array must be C-contiguous."""
prefetch_to_write = _make_prefetch(1)
