"""A switch that is set by calls, and for a while by ``with`` blocks, which may overlap in threads.

A plain call sets the base. While blocks are open the one that was opened last decides, whichever thread opened it; when
it ends, the one before it that is still open, and after the last the base again.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar


@dataclass(frozen=True)
class Setting:
    """What a switch is set to: off, some parts by name, or all (`names` None), and with how many threads."""

    on: bool
    names: tuple[str, ...] | None = None
    num_threads: int = 1


class Block:
    """What a call of a switch, which made it for what it set, returns: it can be ignored, or used in a ``with``."""

    def __init__(self, switch: Switch, setting: Setting):
        self._switch = switch
        self.setting = setting

    def __enter__(self: Some) -> Some:
        self._switch.open(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._switch.close(self)


Some = TypeVar("Some", bound=Block)


class Switch:
    """Remembers what was asked for, and tells what holds.

    After every change it calls `follow`, one at a time for all switches.
    """

    def __init__(self, follow: Callable[[], None]):
        self._follow = follow
        # Until a call's block is opened, the call may have been a plain one, and it was for certain if its block is
        # gone; what was set before that cannot come back.
        self._base: list[tuple[Setting, weakref.ref[Block] | None]] = [(Setting(on=False), None)]
        self._open: list[Block] = []

    @property
    def setting(self) -> Setting:
        """What holds now."""
        return self._open[-1].setting if self._open else self._base[-1][0]

    def begin_with(self, setting: Setting) -> None:
        """Set the base and forget all blocks, as a worker process does that got those of its parent."""
        with _lock:
            self._base, self._open = [(setting, None)], []
            self._follow()

    def set(self, block: Block) -> None:
        """Set the base, as a plain call does."""
        with _lock:
            settled = [index for index, (_, ref) in enumerate(self._base) if ref is None or ref() is None]
            del self._base[: settled[-1]]
            self._base.append((block.setting, weakref.ref(block)))
            self._follow()

    def open(self, block: Block) -> None:
        """Let a block decide; the call that made it leaves the base as it was before."""
        with _lock:
            self._base = [entry for entry in self._base if entry[1] is None or entry[1]() is not block]
            self._open.append(block)
            self._follow()

    def close(self, block: Block) -> None:
        """End a block, wherever it is among those that are open."""
        with _lock:
            index = max(index for index, one in enumerate(self._open) if one is block)
            del self._open[index]
            self._follow()


_lock = threading.RLock()


def _new_lock() -> None:
    """Another thread may have held it when this process was forked."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_lock)
