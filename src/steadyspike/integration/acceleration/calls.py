"""What acceleration did in this process: calls taken, calls that fell back and why, and the time of both."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


class NotCoveredError(Exception):
    """A call is outside what a kernel covers; its text is the reason."""


class NothingToRepairError(NotCoveredError):
    """A call that SpikeInterface handles correctly."""


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
    unavailable : dict
        What cannot be accelerated with the installed SpikeInterface at all, to the reason.
    """

    def __init__(self, calls: dict[str, Calls], on: bool, unavailable: dict[str, str]):
        super().__init__(calls)
        self.on = on
        self.unavailable = unavailable

    def __repr__(self) -> str:
        lines = [f"acceleration is {'on' if self.on else 'off'}; calls in this process:"]
        width = max((len(name) for name in self), default=0)
        for name, calls in self.items():
            lines.append(f"  {name:<{width}}  {calls.taken:>7} taken in {calls.seconds:.3f} s")
            for reason, count in calls.fell_back.most_common():
                lines.append(f"  {'':<{width}}  {count:>7} left to SpikeInterface: {reason}")
        lines += [f"  {name}: left to SpikeInterface: {reason}" for name, reason in self.unavailable.items()]
        return "\n".join(lines)


class RepairReport(dict[str, Calls]):
    """Name of each of SpikeInterface's parts with a defect that is repaired, to its calls; prints as a list.

    Parameters
    ----------
    calls : dict
        Name to `Calls`: those that were repaired, and those that were left to SpikeInterface though they may need it.
    defects : dict
        Name to the repair, in a sentence, of what is repaired now; empty while repairs are off.
    unavailable : dict
        What cannot be repaired with the installed SpikeInterface at all, to the reason.
    """

    def __init__(self, calls: dict[str, Calls], defects: dict[str, str], unavailable: dict[str, str]):
        super().__init__({**{name: Calls() for name in defects}, **calls})
        self.defects = defects
        self.unavailable = unavailable

    @property
    def on(self) -> bool:
        """Whether anything is repaired."""
        return bool(self.defects)

    def __repr__(self) -> str:
        lines = [f"repairs are {'on' if self.on else 'off'}; calls in this process:"]
        for name, calls in self.items():
            defect = f": {self.defects[name]}" if name in self.defects else ""
            lines.append(f"  {name}, {calls.taken} calls repaired{defect}")
            for reason, count in calls.fell_back.most_common():
                lines.append(f"    {count} left to SpikeInterface: {reason}")
        lines += [f"  {name}: left to SpikeInterface: {reason}" for name, reason in self.unavailable.items()]
        return "\n".join(lines)


_lock = threading.Lock()
_calls: dict[tuple[bool, str], Calls] = {}
_thread = threading.local()


def counted(*, repairs: bool = False) -> dict[str, Calls]:
    """Return a copy of what was counted so far, of accelerated or of repaired calls."""
    with _lock:
        return {
            name: Calls(one.taken, one.seconds, Counter(one.fell_back), one.seconds_upstream)
            for (repaired, name), one in sorted(_calls.items())
            if repaired == repairs
        }


def forget() -> None:
    """Count anew."""
    with _lock:
        _calls.clear()


@dataclass
class Outcome:
    """How a call that is being measured went; `reason` is None as long as it is ours."""

    reason: str | None = None
    is_permanent: bool = False
    is_counted: bool = True

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Within it an error, unless it is SpikeInterface's, becomes the reason to leave the call to SpikeInterface."""
        try:
            yield
        except NotCoveredError as error:
            self.reason = str(error)
        except Exception as error:
            if _is_upstreams(error):
                raise
            first_line = next(iter(str(error).strip().splitlines()), "")[:LONGEST_REASON]
            self.reason = f"{type(error).__name__} in steadyspike: {first_line}"
            # what cannot be compiled now can't be the next time, and to find that out takes long
            self.is_permanent = isinstance(error, ImportError) or any(
                one.__module__.startswith(("numba.", "llvmlite.")) for one in type(error).__mro__
            )


LONGEST_REASON = 200
_UPSTREAMS = "_steadyspike_upstreams"


@contextmanager
def upstreams_own() -> Iterator[None]:
    """Within it, errors are SpikeInterface's own: whatever is around lets them through."""
    try:
        yield
    except Exception as error:
        with suppress(AttributeError, TypeError):
            setattr(error, _UPSTREAMS, True)
        raise


def _is_upstreams(error: BaseException | None) -> bool:
    while error is not None:
        if getattr(error, _UPSTREAMS, False):
            return True
        error = error.__cause__
    return False


@contextmanager
def measured(name: str, *, repair: bool = False) -> Iterator[Outcome]:
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
    if not outcome.is_counted:
        return
    with _lock:
        calls = _calls.setdefault((repair, name), Calls())
        if outcome.reason is None:
            calls.taken += 1
            calls.seconds += own
        else:
            calls.fell_back[outcome.reason] += 1
            calls.seconds_upstream += own
