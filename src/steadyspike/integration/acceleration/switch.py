"""Turn acceleration on and off, and tell what it did."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

from steadyspike.integration.acceleration import calls, patching, threads, workers
from steadyspike.integration.acceleration.patches import PATCHES, REPAIRS


@dataclass(frozen=True)
class _State:
    """What is accelerated: nothing, some parts by name, or all (`names` None), and with how many threads."""

    on: bool
    names: tuple[str, ...] | None = None
    num_threads: int = 1


_state = _State(on=False)


class Acceleration:
    """What `accelerate` returns; as a context manager, it takes back at its end what the call changed.

    Parameters
    ----------
    before : object
        The state to go back to.
    """

    def __init__(self, before: _State):
        self._before = before

    def __enter__(self) -> Acceleration:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _switch_to(self._before)

    def __repr__(self) -> str:
        return repr(accelerated())


def accelerate(
    on: bool = True, *, names: Iterable[str] | None = None, num_threads: int | None = None
) -> Acceleration:
    """Let SpikeInterface's own classes and functions run on the kernels of steadyspike.

    Their names, parameters, results and saved files stay as they are; a chain that is saved meanwhile loads where
    steadyspike is not installed. What a kernel does not cover is left to SpikeInterface, and `accelerated` tells why.
    Recordings that were made before are accelerated too. The processes and threads that SpikeInterface starts for
    ``n_jobs`` do as this process does.

    Parameters
    ----------
    on : bool, default: True
        False takes everything back.
    names : iterable of str or None, default: None
        Parts to accelerate, by SpikeInterface's names, such as ``["bandpass_filter"]``; None: all.
    num_threads : int or None, default: None
        Threads of each call in a process that has no pool of workers, at least 1; -1: as many as there are cores.
        Within the workers of a pool every call has one. None: 1.

    Returns
    -------
    acceleration : Acceleration
        Can be ignored, or used in a ``with`` statement, at whose end everything is as it was before.

    Raises
    ------
    ValueError
        For an unknown name, or a number of threads that is not -1 or at least 1.

    Notes
    -----
    With ``STEADYSPIKE_ACCELERATE=1`` in the environment, every Python process that imports SpikeInterface is
    accelerated, without a line in its script.

    Examples
    --------
    >>> import spikeinterface.full as si
    >>> import steadyspike
    >>> recording = si.generate_recording(num_channels=16, durations=[1.0])
    >>> with steadyspike.accelerate():
    ...     traces = si.bandpass_filter(recording).get_traces()
    >>> steadyspike.accelerated()["bandpass_filter"].taken
    1
    """
    before = _state
    chosen = None if names is None else tuple(dict.fromkeys(names))
    unknown = sorted(set(chosen or ()) - set(part_names()))
    if unknown:
        raise ValueError(f"names={unknown} cannot be accelerated; allowed: {', '.join(part_names())}")
    _switch_to(_State(bool(on), chosen, _checked_threads(num_threads)))
    return Acceleration(before)


def accelerated() -> calls.AccelerationReport:
    """Tell what acceleration did in this process.

    Returns
    -------
    report : AccelerationReport
        A dictionary: SpikeInterface's name of each part, to its `Calls`: how many were taken and how long they took,
        how many were left to SpikeInterface for which reason. `report.on` tells whether acceleration is on, and
        `report.repairs` which of SpikeInterface's defects it repairs. It prints as a table. Calls in worker processes
        are not in it.
    """
    return calls.AccelerationReport(calls.counted(), _state.on, tuple(REPAIRS.values()) if _state.on else ())


def part_names() -> list[str]:
    """Return the names of what can be accelerated."""
    return list(dict.fromkeys(name for patch in PATCHES for name in patch.names))


def _checked_threads(num_threads: int | None) -> int:
    if num_threads is None:
        return 1
    if (
        isinstance(num_threads, bool)
        or num_threads != int(num_threads)
        or (num_threads < 1 and num_threads != -1)
    ):
        raise ValueError(f"num_threads={num_threads!r}; allowed: -1, or an integer of at least 1")
    return (os.cpu_count() or 1) if num_threads == -1 else int(num_threads)


def _switch_to(state: _State) -> None:
    global _state
    chosen = state.names if state.on else ()
    wanted = [patch for patch in PATCHES if chosen is None or set(patch.names) & set(chosen)]
    patching.choose(chosen)
    patching.remove([patch for patch in PATCHES if patch not in wanted])
    patching.install(wanted)
    if state.on:
        workers.install(functools.partial(accelerate, names=state.names))
    else:
        workers.remove()
    threads.set_num_threads(state.num_threads if state.on else 1)
    _state = state
