"""What acceleration did in this process: calls taken, calls that fell back and why, and the time of both."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


class NotCoveredError(Exception):
    """A call is outside what a kernel covers; its text is the reason. Raised before any work is done."""


@dataclass
class Calls:
    """Calls of one of SpikeInterface's parts.

    Parameters
    ----------
    taken : int
        Calls that our kernels did.
    seconds : float
        Wall-clock time of these, without accelerated calls inside them (such as the parents of a recording).
    fell_back : Counter
        Reason, to number of calls that SpikeInterface did itself.
    seconds_upstream : float
        Wall-clock time of those, likewise.
    """

    taken: int = 0
    seconds: float = 0.0
    fell_back: Counter[str] = field(default_factory=Counter)
    seconds_upstream: float = 0.0


class AccelerationReport(dict[str, Calls]):
    """Name of each of SpikeInterface's parts, to its calls; prints as a table.

    Parameters
    ----------
    calls : dict
        Name to `Calls`.
    on : bool
        Whether acceleration is on.
    repairs : tuple of str
        Defects of SpikeInterface that are repaired while it is on.
    """

    def __init__(self, calls: dict[str, Calls], on: bool, repairs: tuple[str, ...]):
        super().__init__(calls)
        self.on = on
        self.repairs = repairs

    def __repr__(self) -> str:
        lines = [f"acceleration is {'on' if self.on else 'off'}; calls in this process:"]
        width = max((len(name) for name in self), default=0)
        for name, calls in self.items():
            lines.append(f"  {name:<{width}}  {calls.taken:>7} taken in {calls.seconds:.3f} s")
            for reason, count in calls.fell_back.most_common():
                lines.append(f"  {'':<{width}}  {count:>7} left to SpikeInterface: {reason}")
        if self.repairs:
            lines.append("repaired while it is on:")
            lines += [f"  {repair}" for repair in self.repairs]
        return "\n".join(lines)


_lock = threading.Lock()
_calls: dict[str, Calls] = {}
_thread = threading.local()


def counted() -> dict[str, Calls]:
    """Return a copy of what was counted so far."""
    with _lock:
        return {
            name: Calls(one.taken, one.seconds, Counter(one.fell_back), one.seconds_upstream)
            for name, one in sorted(_calls.items())
        }


def forget() -> None:
    """Count anew."""
    with _lock:
        _calls.clear()


@dataclass
class Outcome:
    """How a call that is being measured went; `reason` is None as long as it is ours."""

    reason: str | None = None


@contextmanager
def measured(name: str) -> Iterator[Outcome]:
    """Count a call and its own time. A call that raises is not counted."""
    outer = getattr(_thread, "inner_s", 0.0)
    _thread.inner_s = 0.0
    outcome = Outcome()
    start = time.perf_counter()
    try:
        yield outcome
    finally:
        elapsed = time.perf_counter() - start
        own = elapsed - _thread.inner_s
        _thread.inner_s = outer + elapsed
    with _lock:
        calls = _calls.setdefault(name, Calls())
        if outcome.reason is None:
            calls.taken += 1
            calls.seconds += own
        else:
            calls.fell_back[outcome.reason] += 1
            calls.seconds_upstream += own
