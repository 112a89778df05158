"""Memory that kernels use again, and lines of it fetched before they are needed.

The system clears every page that a process gets, which takes a third of a nanosecond for a float32: as long as a
kernel needs to compute it. Memory of large arrays is therefore kept for the next ones.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import threading
import weakref

import numpy as np
from numba.core import types
from numba.core.cgutils import ir  # the llvmlite that numba itself uses
from numba.extending import intrinsic

from steadyspike.kernels.lanes.vectors import address_of

LINE_BYTES = 64
MOST_KEPT_BYTES = 2**26
# Memory of results that is kept for each thread, as many as a loop over chunks holds at a time, unless it is little.
MOST_IDLE = 2
FEWEST_KEPT_BYTES = 2**20

# Memory of threads that have ended is kept for new ones up to this sum.
MOST_SPARE_BYTES = 2**28

# filled and emptied without a lock, since the end of a thread or an array may come at any instruction
_spare: collections.deque[np.ndarray] = collections.deque()
_threads: weakref.WeakSet[_OfThread] = weakref.WeakSet()


class _OfThread:
    """What a thread works in; when it ends, as those of a pool do after each run, another one gets the memory."""

    def __init__(self):
        _threads.add(self)
        self.memory = None
        with contextlib.suppress(IndexError):
            self.memory = _spare.pop()

    def __del__(self, spare=_spare, ending=sys.is_finalizing):
        if self.memory is None or ending():
            return
        if self.memory.nbytes + sum(one.nbytes for one in tuple(spare)) <= MOST_SPARE_BYTES:
            spare.append(self.memory)


_kept = threading.local()


def _of_thread():
    if not hasattr(_kept, "own"):
        _kept.own = _OfThread()
    return _kept.own


def scratch(size, dtype):
    """Uninitialised memory, of `size` values, that belongs to the calling thread until it asks for memory again.

    Up to `MOST_KEPT_BYTES` are kept for the next call.
    """
    dtype = np.dtype(dtype)
    num_bytes = size * dtype.itemsize
    if num_bytes > MOST_KEPT_BYTES:
        return np.empty(size, dtype)
    own = _of_thread()
    if own.memory is None or own.memory.nbytes < num_bytes:
        own.memory = None  # the old memory goes before the new one comes
        own.memory = np.empty(num_bytes, "uint8")
    return own.memory[:num_bytes].view(dtype)


def aligned(size, dtype):
    """Uninitialised memory of `size` values that begins with a line, so that no `Lanes` lie in two."""
    num_bytes = size * np.dtype(dtype).itemsize
    memory = np.empty(num_bytes + LINE_BYTES, "uint8")
    first = -memory.ctypes.data % LINE_BYTES
    return memory[first : first + num_bytes].view(dtype)


_idle: collections.deque[np.ndarray] = collections.deque()


def _keep(memory):
    """Keep memory that no array uses any more; the oldest goes when there is too much."""
    _idle.append(memory)
    while len(_idle) > MOST_IDLE * max(len(_threads), 1):
        _idle.popleft()


def _take(num_bytes):
    """Give kept memory of a size that fits, or none."""
    others = []
    taken = None
    while _idle and taken is None:
        memory = _idle.pop()
        if num_bytes <= memory.nbytes <= 2 * num_bytes:
            taken = memory
        else:
            others.append(memory)
    _idle.extendleft(others)
    return taken


class _Lent:
    """Holds the memory of a result as long as an array looks into it, and keeps it for the next afterwards."""

    def __init__(self, memory, shape, dtype):
        self.memory = memory
        data = (memory.__array_interface__["data"][0], False)
        self.__array_interface__ = dict(shape=shape, typestr=np.dtype(dtype).str, data=data, version=3)

    def __del__(self, keep=_keep, ending=sys.is_finalizing):
        if not ending():
            keep(self.memory)


def result(shape, dtype):
    """Give an uninitialised array to be returned, in the memory of an earlier one that is no longer referenced.

    It is C-contiguous and writeable, and does not own its memory, which is kept when the last view of it is gone.
    """
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if not FEWEST_KEPT_BYTES <= num_bytes <= MOST_KEPT_BYTES:
        return np.empty(shape, dtype)
    _of_thread()  # whose share of idle memory counts
    memory = _take(num_bytes)
    if memory is None:
        memory = np.empty(num_bytes, "uint8")
    return np.asarray(_Lent(memory, tuple(shape), dtype))


if hasattr(os, "register_at_fork"):
    # a forked process would copy every page that it writes to
    os.register_at_fork(after_in_child=_idle.clear)
    os.register_at_fork(after_in_child=_spare.clear)


def _make_prefetch(to_write):
    """Compile an instruction that brings a line of memory to the cache; it never faults and changes nothing."""

    @intrinsic
    def prefetch(typing_context, array, index):
        def generate(context, builder, signature, args):
            address = address_of(context, builder, signature.args[0], *args)
            address = builder.bitcast(address, ir.IntType(8).as_pointer())
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
