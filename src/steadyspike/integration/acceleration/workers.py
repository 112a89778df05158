"""Acceleration in the processes and threads that SpikeInterface starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from spikeinterface.core import job_tools

from steadyspike.integration.acceleration import threads

_start_process = job_tools.process_worker_initializer
_start_thread = job_tools.thread_worker_initializer


class ProcessStart:
    """What a worker process does first: accelerate as its parent does, then start as SpikeInterface's workers do.

    A spawned process imports steadyspike because this object is unpickled there.

    Parameters
    ----------
    accelerate : callable
        Takes no arguments; can be pickled.
    """

    def __init__(self, accelerate: Callable[[], Any]):
        self.accelerate = accelerate

    def __call__(self, *args: Any) -> None:
        """Accelerate, and start as SpikeInterface does."""
        self.accelerate()
        _start_process(*args)


def start_thread(*args: Any) -> None:
    """Start a worker thread of SpikeInterface's, whose kernels get one thread each."""
    threads.mark_worker()
    _start_thread(*args)


def install(accelerate: Callable[[], Any]) -> None:
    """Make pools start their workers so."""
    job_tools.process_worker_initializer = ProcessStart(accelerate)
    job_tools.thread_worker_initializer = start_thread


def remove() -> None:
    """Make pools start their workers as SpikeInterface does."""
    job_tools.process_worker_initializer = _start_process
    job_tools.thread_worker_initializer = _start_thread
