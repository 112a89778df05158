"""Lets every step that touches the disk fail, one after the other, and kills processes in the middle of them."""

import errno
import io
import os
from contextlib import contextmanager, suppress
from itertools import count, cycle
from unittest import mock

import pytest

from steadyspike.core.chunk_runs import ChunkError

STEPS = ("replace", "rename", "mkdir", "fsync", "truncate")


def disk_full():
    raise OSError(errno.ENOSPC, "No space left on device")


def ctrl_c():
    raise KeyboardInterrupt


def killed():
    os._exit(9)


WAYS = cycle([disk_full, ctrl_c])


def disk_full_or_ctrl_c():
    """Fail in the one way and in the other by turns."""
    next(WAYS)()


@contextmanager
def failing_at(number, fail):
    """Call `fail` instead of the step of this number, counted from 1; gives the list of the steps that were taken."""
    taken = []

    def counted(name, step):
        def call(*args, **kwargs):
            if name == "open" and not set(str(args[1:2] or kwargs.get("mode", "r"))) & set("wa+"):
                return step(*args, **kwargs)
            taken.append(name)
            if len(taken) == number:
                fail()
            # what is on the disk does not matter where the machine goes on
            return None if name == "fsync" else step(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in STEPS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        patch.setattr(io, "open", counted("open", io.open))
        yield taken


def fail_everywhere(action, check, fail, stride=1, most=400):
    """Let an action fail at its first step, then at its second, and so on until it does not; check after each.

    Returns the number of steps.
    """
    for number in count(1, stride):
        assert number < most
        with failing_at(number, fail) as taken:
            if fail is killed:
                pid = os.fork()
                if not pid:
                    with mock.patch("sys.excepthook"):
                        action()
                        os._exit(0)
                over = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
            else:
                with suppress(OSError, ChunkError, KeyboardInterrupt):
                    action()
                over = len(taken) < number
        check(number)
        if over:
            return number - 1
