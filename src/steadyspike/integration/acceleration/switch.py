"""Turn acceleration and repairs on and off, and tell what they did."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace

from steadyspike.integration.acceleration import calls, patching, threads, workers
from steadyspike.integration.acceleration.blocks import Block, Setting, Switch
from steadyspike.integration.acceleration.declarations import declared, not_loaded

ENVIRONMENT = "STEADYSPIKE_ACCELERATE"
MEANS_ON, MEANS_OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


class Acceleration(Block):
    """What `accelerate` returns; as a context manager, it takes back at its end what the call changed.

    Parameters
    ----------
    switch, setting
        As of `Block`: made by `accelerate` alone.
    """

    def __repr__(self) -> str:
        return repr(accelerated())


class Repair(Block):
    """What `repair` returns; as a context manager, it takes back at its end what the call changed.

    Parameters
    ----------
    switch, setting
        As of `Block`: made by `repair` alone.
    """

    def __repr__(self) -> str:
        return repr(repaired())


def accelerate(
    on: bool = True, *, names: Iterable[str] | None = None, num_threads: int | None = None
) -> Acceleration:
    """Let SpikeInterface's own classes and functions run on the kernels of steadyspike.

    Their names, parameters, results and saved files stay as they are; a chain that is saved meanwhile loads where
    steadyspike is not installed. What a kernel does not cover is left to SpikeInterface, and `accelerated` tells why:
    so is a call whose source in SpikeInterface is not one that the kernel was compared with, and one on which the
    kernel fails. Recordings that were made before are accelerated too. The processes and threads that SpikeInterface
    starts for ``n_jobs`` do as this process does.

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
    It holds for the whole process. Where ``with`` blocks are nested, or overlap in several threads, the one that was
    opened last decides about `on`, `names` and `num_threads` alone; when it ends, the last of those still open, and
    after all of them what the last plain call said.

    With ``STEADYSPIKE_ACCELERATE=1`` in the environment, ``import steadyspike`` accelerates; a script that does not
    import it is run by ``steadyspike run script.py``.

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
    chosen = _checked_names(names, repairs=False)
    block = Acceleration(_acceleration, Setting(bool(on), chosen, _checked_threads(num_threads)))
    _acceleration.set(block)
    return block


def accelerated() -> calls.AccelerationReport:
    """Tell what acceleration did in this process.

    Returns
    -------
    report : AccelerationReport
        A dictionary: SpikeInterface's name of each part, to its `Calls`: how many were taken and how long they took,
        how many were left to SpikeInterface for which reason. `report.on` tells whether acceleration is on. It prints
        as a table. Calls in worker processes are not in it.
    """
    setting = _acceleration.setting
    return calls.AccelerationReport(calls.counted(), setting.on, _unavailable(False) if setting.on else {})


def repair(on: bool = True, *, names: Iterable[str] | None = None) -> Repair:
    """Repair defects of SpikeInterface: calls that raise though they should not, and results that are wrong.

    What SpikeInterface does right stays as it is. With `accelerate` or without; ``print(steadyspike.repair())`` lists
    the defects. A call whose source in SpikeInterface is not one that a repair was made for is left alone, and
    `repaired` tells so. The processes and threads that SpikeInterface starts for ``n_jobs`` do as this process does.

    Parameters
    ----------
    on : bool, default: True
        False takes everything back.
    names : iterable of str or None, default: None
        Parts to repair, by SpikeInterface's names, such as ``["medicine"]``; None: all.

    Returns
    -------
    repair : Repair
        Can be ignored, or used in a ``with`` statement, at whose end everything is as it was before; nested and
        overlapping blocks do as those of `accelerate`.

    Raises
    ------
    ValueError
        For an unknown name.

    Examples
    --------
    >>> import steadyspike
    >>> with steadyspike.repair():
    ...     sorted(steadyspike.repaired())
    ['compute_motion', 'dredge_ap', 'get_noise_levels', 'interpolate_motion', 'locally_exclusive', 'medicine']
    """
    chosen = _checked_names(names, repairs=True)
    block = Repair(_repairs, Setting(bool(on), chosen))
    _repairs.set(block)
    return block


def repaired() -> calls.RepairReport:
    """Tell what is repaired, and which calls were in this process.

    Returns
    -------
    report : RepairReport
        A dictionary: SpikeInterface's name of each part, to its `Calls`. `report.defects` has what is repaired now, in
        a sentence for each part. It prints as a list. Calls in worker processes are not in it.
    """
    setting = _repairs.setting
    defects = {
        patch.name: str(patch.repairs)
        for patch in (declared(repairs=True) if setting.on else ())
        if setting.names is None or patch.name in setting.names
    }
    return calls.RepairReport(calls.counted(repairs=True), defects, _unavailable(True) if setting.on else {})


def part_names(repairs: bool = False) -> list[str]:
    """Return the names of what can be accelerated, or repaired."""
    return list(dict.fromkeys(name for patch in declared(repairs=repairs) for name in patch.names))


def accelerate_if_told(value: str) -> None:
    """Do what the environment says: accelerate, or nothing, or warn of a value that means neither."""
    word = value.strip().lower()
    if word in MEANS_ON:
        accelerate()
    elif word not in MEANS_OFF:
        allowed = ", ".join(MEANS_ON + MEANS_OFF[:-1])
        warnings.warn(f"{ENVIRONMENT}={value!r}; allowed: {allowed}: not accelerated", stacklevel=2)


def _checked_names(names: Iterable[str] | None, repairs: bool) -> tuple[str, ...] | None:
    if names is None:
        return None
    chosen = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    known = part_names(repairs)
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        done = "repaired" if repairs else "accelerated"
        raise ValueError(f"names={unknown} cannot be {done}; allowed: {', '.join(known)}")
    return chosen


def _checked_threads(num_threads: int | None) -> int:
    if num_threads is None:
        return 1
    is_whole = not isinstance(num_threads, bool) and num_threads == int(num_threads)
    if not is_whole or (num_threads < 1 and num_threads != -1):
        raise ValueError(f"num_threads={num_threads!r}; allowed: -1, or an integer of at least 1")
    return (os.cpu_count() or 1) if num_threads == -1 else int(num_threads)


def _unavailable(repairs: bool) -> dict[str, str]:
    names = part_names(repairs)
    absent = {name: reason for name, reason in patching.absent().items() if name in names}
    return {**absent, **({} if repairs else not_loaded())}


def _follow() -> None:
    """Make everything as the two switches say."""
    settings = {False: _acceleration.setting, True: _repairs.setting}
    active = [
        patch
        for repairs, setting in settings.items()
        for patch in (declared(repairs=repairs) if setting.on else ())
        if setting.names is None or set(patch.names) & set(setting.names)
    ]
    patching.activate(active, {repairs: setting.names for repairs, setting in settings.items()})
    if settings[False].on or settings[True].on:
        workers.install(functools.partial(_do_as_parent, settings[False], settings[True]))
    else:
        workers.remove()
    threads.set_num_threads(settings[False].num_threads if settings[False].on else 1)


def _do_as_parent(acceleration: Setting, repairs: Setting) -> None:
    """Set both switches in a worker, whose kernels have one thread each."""
    _acceleration.begin_with(replace(acceleration, num_threads=1))
    _repairs.begin_with(repairs)


_acceleration, _repairs = Switch(_follow), Switch(_follow)
