"""Acceleration in the processes and threads that SpikeInterface starts."""

from __future__ import annotations

from typing import Any

from spikeinterface.core import job_tools

from steadyspike.acceleration import threads

_start_process = job_tools.process_worker_initializer
_start_thread = job_tools.thread_worker_initializer


class ProcessStart:
    """What a worker process does first: accelerate as its parent does, with one thread for each kernel.

    A spawned process imports steadyspike because this object is unpickled there.

    Parameters
    ----------
    names : tuple of str or None
        Parts that are accelerated; None: all.
    """

    def __init__(self, names: tuple[str, ...] | None):
        self.names = names

    def __call__(self, *args: Any) -> None:
        """Accelerate, and start as SpikeInterface does."""
        from steadyspike.acceleration.switch import accelerate

        accelerate(names=self.names)
        _start_process(*args)


def start_thread(*args: Any) -> None:
    """Start a worker thread of SpikeInterface's, whose kernels get one thread each."""
    threads.mark_worker()
    _start_thread(*args)


def install(names: tuple[str, ...] | None) -> None:
    """Make pools start their workers so."""
    job_tools.process_worker_initializer = ProcessStart(names)
    job_tools.thread_worker_initializer = start_thread


def remove() -> None:
    """Make pools start their workers as SpikeInterface does."""
    job_tools.process_worker_initializer = _start_process
    job_tools.thread_worker_initializer = _start_thread
