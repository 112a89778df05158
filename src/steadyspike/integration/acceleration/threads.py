"""How many threads a kernel may use, and work done by them.

Inside the workers of SpikeInterface's pools a kernel has one thread, since the pool has a worker for each core.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_num_threads = 1
_in_worker = threading.local()
_pool: ThreadPoolExecutor | None = None
_pool_size = 0
_lock = threading.Lock()


def set_num_threads(num_threads: int) -> None:
    """Set the threads of each accelerated call; see `steadyspike.accelerate`."""
    global _num_threads
    _num_threads = num_threads


def num_threads() -> int:
    """Return the threads that a kernel may use here and now."""
    return 1 if getattr(_in_worker, "yes", False) else _num_threads


def mark_worker() -> None:
    """Tell that this thread is one of several that SpikeInterface runs: its kernels get one thread each."""
    _in_worker.yes = True


def over_ranges(
    work: Callable[[int, int], Any], size: int, smallest: int = 1, multiple: int = 1
) -> list[Any]:
    """Call `work(start, stop)` for ranges that cover ``range(size)``, in as many threads as allowed.

    Returns what they return, in order.

    `size` is a number of samples, channels or spikes, a range has at least `smallest` of them, so that a thread is
    worth its start, and, but for the last, a multiple of `multiple`. What `work` is given must be independent, and
    most of it without the interpreter's lock.
    """
    count = max(1, min(num_threads(), size // max(smallest, 1)))
    if count == 1:
        return [work(0, size)]
    length = -(-size // count)
    length = -(-length // multiple) * multiple
    starts = range(0, size, length)
    return run_all([lambda start=start: work(start, min(start + length, size)) for start in starts])  # type: ignore[misc]


def run_all(tasks: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run tasks in the threads that are allowed, the first in this one; return their results in order."""
    if num_threads() == 1 or len(tasks) == 1:
        return [task() for task in tasks]
    pool = _shared_pool()
    others = [pool.submit(task) for task in tasks[1:]]
    try:
        first = tasks[0]()
    finally:
        results = [other.exception() for other in others]
    for error in results:
        if error is not None:
            raise error
    return [first, *(other.result() for other in others)]


def _shared_pool() -> ThreadPoolExecutor:
    global _pool, _pool_size
    with _lock:
        if _pool is None or _pool_size != _num_threads:
            if _pool is not None:
                _pool.shutdown(wait=False)
            # the calling thread does its share, so one fewer is enough
            _pool = ThreadPoolExecutor(
                max(1, _num_threads - 1), thread_name_prefix="steadyspike", initializer=mark_worker
            )
            _pool_size = _num_threads
        return _pool


def _forget_pool() -> None:
    """A forked process has the pool's object, but none of its threads."""
    global _pool, _lock
    _pool = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)
