"""Acceleration in the processes and threads that SpikeInterface starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spikeinterface.core import job_tools

from steadyspike.integration.acceleration import threads

_start_process = getattr(job_tools, "process_worker_initializer", None)
_start_thread = getattr(job_tools, "thread_worker_initializer", None)


class ProcessStart:
    """What a worker process does first: do as its parent does, then start as SpikeInterface's workers do.

    A spawned process imports steadyspike because this object is unpickled there.

    `do_as_parent` takes no arguments and can be pickled.
    """

    def __init__(self, do_as_parent: Callable[[], Any]):
        self.do_as_parent = do_as_parent

    def __call__(self, *args: Any) -> None:
        """Accelerate and repair, and start as SpikeInterface does."""
        self.do_as_parent()
        _start_process(*args)  # type: ignore[misc]


def start_thread(*args: Any) -> None:
    """Start a worker thread of SpikeInterface's, whose kernels get one thread each."""
    threads.mark_worker()
    _start_thread(*args)  # type: ignore[misc]


def install(do_as_parent: Callable[[], Any]) -> None:
    """Make pools start their workers so; those of a SpikeInterface that starts them in another way are left alone."""
    if _start_process is not None:
        job_tools.process_worker_initializer = ProcessStart(do_as_parent)
    if _start_thread is not None:
        job_tools.thread_worker_initializer = start_thread


def remove() -> None:
    """Make pools start their workers as SpikeInterface does."""
    if _start_process is not None:
        job_tools.process_worker_initializer = _start_process
    if _start_thread is not None:
        job_tools.thread_worker_initializer = _start_thread
