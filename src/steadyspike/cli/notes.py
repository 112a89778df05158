"""What a run notes of itself for its report: time of each step, compilation, memory, warnings."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from numba.core import event

from steadyspike.cli.errors import say

PACKAGE = __name__.partition(".")[0]
COMPILE = "numba:compile"
COMPILING = "compiling_in_these"
"""Name of the seconds of compiling among those of steps, which they are a part of."""
FIRST = ("preprocess", "forecast")
"""Steps before the peaks are found."""
MOST_WARNINGS = 20


def without_compiling(times_s: dict[str, float]) -> dict[str, float]:
    """Give the steps that add up to the whole."""
    return {step: seconds for step, seconds in times_s.items() if step != COMPILING}


@dataclass
class Notes:
    """Seconds of each step, seconds of compiling kernels within them, and warnings that came."""

    times_s: dict[str, float] = field(default_factory=dict)
    compiling_s: float = 0.0
    warnings: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.times_s[step] = self.times_s.get(step, 0.0) + time.perf_counter() - start

    def run_times(self, estimated: dict[str, float]) -> dict[str, float]:
        """Give the seconds of all steps as they follow each other, `estimated` in their middle, and of compiling."""
        before = {step: self.times_s[step] for step in FIRST if step in self.times_s}
        times = {**before, **estimated, **self.times_s}
        return {**times, COMPILING: self.compiling_s} if self.compiling_s else times

    @contextmanager
    def taken(self) -> Iterator[Notes]:
        """Note warnings, and tell while kernels compile; warnings are shown as ever."""
        listener = _Compilation(self)
        with warnings.catch_warnings():
            shown = warnings.showwarning

            def show(message: Any, kind: type[Warning], *where: Any, **more: Any) -> None:
                text = " ".join(str(message).split())
                if issubclass(kind, UserWarning) and text not in self.warnings:
                    self.warnings.append(text)
                shown(message, kind, *where, **more)

            warnings.showwarning = cast(Any, show)
            event.register(COMPILE, listener)
            try:
                yield self
            finally:
                event.unregister(COMPILE, listener)

    def facts(self) -> dict[str, Any]:
        """Give what is written beside a result."""
        from steadyspike.core.environment import machine, own_commit, peak_memory_mb

        return dict(
            machine=machine(),
            commit=own_commit(),
            memory_mb=peak_memory_mb(),
            warnings=self.warnings[:MOST_WARNINGS],
        )


class _Compilation(event.Listener):
    """Adds up the time that kernels of ours take to compile, and says once that they do."""

    def __init__(self, notes: Notes) -> None:
        self.notes, self.depth, self.start, self.said = notes, 0, 0.0, False

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.start = time.perf_counter()
        self.depth += 1
        function = event.data["dispatcher"].py_func
        if not self.said and function.__module__.partition(".")[0] == PACKAGE:
            self.said = True
            say(
                "[bold]compiling[/bold]   kernels, for the first time on this machine: up to some minutes, kept for "
                "later runs (steadyspike warmup does it beforehand)"
            )

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.notes.compiling_s += time.perf_counter() - self.start
