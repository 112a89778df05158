"""Tasks on disk: what is to be done, how far it is, and the running of one in a process of its own.

Of a folder of tasks, ``tasks/NAME`` holds the arguments of a command, the state and the log of each, and
``results/NAME`` what the command wrote. A task is done when its result is there, which commands make complete or not at
all; so that no kill, of whatever and whenever, leaves a wrong state.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steadyspike.core.aside import InUseError, locked, written_aside
from steadyspike.core.unfinished import FINISHED

KIND = "steadyspike batch"
MARKER, TASKS, RESULTS = "batch.json", "tasks", "results"
TASK, STATE, LOG = "task.json", "state.json", "log.txt"

WAITING, RUNNING, STOPPED, FAILED, DONE = "waiting", "running", "stopped", "failed", "done"
"""States; a task that was stopped, or killed, goes on where it was, one that failed would fail again."""

ERRORS = (1, 2)
"""Exit codes of a command that failed; another one, or a signal, has stopped it."""
ERROR_LINE = "error: "
KEPT_LOG = 200_000
# who is told to end keeps what it has done first
OUTLASTED_S, OUTLASTED_POLL_S = 60.0, 0.5


@dataclass(frozen=True)
class Task:
    """One command, without its output: ``steadyspike`` and `arguments`; `about` tells of its recording."""

    name: str
    arguments: list[str]
    about: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a task came to: its state, and why it failed or was stopped."""

    name: str
    state: str
    error: str = ""
    seconds: float = 0.0


class OtherArgumentsError(ValueError):
    """A task was done already, with other arguments."""


class Batch:
    """Tasks in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    def begin(self, command: str) -> None:
        """Make the folder, or go on with one that was begun for the same command.

        Raises `FileExistsError` for a folder that holds something else, and `ValueError` for another command.
        """
        marker = self.folder / MARKER
        if not marker.is_file():
            if self.folder.is_dir() and any(self.folder.iterdir()):
                raise FileExistsError(f"{self.folder} exists and holds no batch of steadyspike")
            with written_aside(marker) as aside:
                aside.write_text(json.dumps(dict(kind=KIND, command=command)) + "\n", encoding="utf8")
        known = _read(marker)
        if known.get("kind") != KIND:
            raise FileExistsError(f"{self.folder} exists and holds no batch of steadyspike")
        if known["command"] != command:
            raise ValueError(f"{self.folder} was begun with --do {known['command']}")

    def add(self, task: Task) -> None:
        """Note a task, which may be there; one that failed begins again where its arguments are others.

        Raises `OtherArgumentsError` if it was done with others.
        """
        file = self._of(task.name) / TASK
        content = dict(arguments=task.arguments, about=task.about)
        known = _read(file)
        if known.get("arguments") not in (None, task.arguments):
            if self.is_done(task.name):
                raise OtherArgumentsError(
                    f"{task.name} was done with other options: {' '.join(known['arguments'])}; delete "
                    f"{self.result(task.name)} to do it anew, or choose another folder"
                )
            with suppressed_absence():
                (self._of(task.name) / STATE).unlink()
        if known != content:
            with written_aside(file) as aside:
                aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf8")

    def task(self, name: str) -> Task:
        """Read a task; raises `FileNotFoundError`."""
        content = _read(self._of(name) / TASK)
        if not content:
            raise FileNotFoundError(f"{self.folder} has no task {name}")
        return Task(name, content["arguments"], content.get("about", {}))

    def result(self, name: str) -> Path:
        """Give the folder of a task's result, which may be absent."""
        return self.folder / RESULTS / name

    def log(self, name: str) -> Path:
        """Give the file that holds what a task's commands have said."""
        return self._of(name) / LOG

    def is_done(self, name: str) -> bool:
        """Whether its result is there."""
        return (self.result(name) / FINISHED).is_file()

    def outcome(self, name: str) -> Outcome:
        """Tell how far a task is."""
        noted = _read(self._of(name) / STATE)
        state, error = noted.get("state", WAITING), noted.get("error", "")
        seconds = float(noted.get("seconds", 0.0))
        if self.is_done(name):
            return Outcome(name, DONE, seconds=seconds)
        if state == DONE:
            return Outcome(name, WAITING, "its result was deleted")
        if state == RUNNING and not self._in_use(name):
            return Outcome(name, STOPPED, "killed")
        return Outcome(name, state, error, seconds)

    def forget_failure(self, name: str) -> None:
        """Let a task that failed be tried again."""
        if self.outcome(name).state == FAILED:
            self._note(name, dict(state=WAITING))

    def run(self, name: str, n_jobs: int, children: Children | None = None) -> Outcome:
        """Run a task in a process of its own, unless it is done or has failed; never raises for what that does.

        Where another process is at it, the outcome is `RUNNING`.
        """
        children = Children() if children is None else children
        try:
            with locked(self._of(name)):
                self._outlast(name, children)
                known = self.outcome(name)
                if known.state in (DONE, FAILED):
                    return known
                return self._run(self.task(name), n_jobs, children)
        except InUseError:
            return Outcome(name, RUNNING, "another process is at it")

    def _outlast(self, name: str, children: Children) -> None:
        """Wait for a process whose runner was killed, as with a worker that is lost: it has the lock of the result."""
        end = time.monotonic() + OUTLASTED_S
        while True:
            try:
                with locked(self.result(name)):
                    return
            except InUseError:
                if children.stopped or time.monotonic() > end:
                    raise
                time.sleep(OUTLASTED_POLL_S)

    def _run(self, task: Task, n_jobs: int, children: Children) -> Outcome:
        attempts = _read(self._of(task.name) / STATE).get("attempts", 0) + 1
        begun = dict(state=RUNNING, attempts=attempts, host=socket.gethostname(), began=time.time())
        self._note(task.name, begun)
        command = command_line(task, self.result(task.name), n_jobs)
        start = time.perf_counter()
        with self.log(task.name).open("ab") as log:
            log.write(f"\n== {time.strftime('%Y-%m-%d %H:%M:%S')} {' '.join(command)}\n".encode())
            log.flush()
            at = log.tell()
            code = children.call(command, log)
        seconds = time.perf_counter() - start
        if self.is_done(task.name):
            state, error = DONE, ""
        elif code in ERRORS:
            state, error = FAILED, _last_error(self.log(task.name), at)
        else:
            state, error = STOPPED, f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self._note(
            task.name, {**begun, "state": state, "error": error, "seconds": seconds, "exit_code": code}
        )
        return Outcome(task.name, state, error, seconds)

    def _of(self, name: str) -> Path:
        return self.folder / TASKS / name

    def _note(self, name: str, content: dict[str, Any]) -> None:
        with written_aside(self._of(name) / STATE) as aside:
            aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf8")

    def _in_use(self, name: str) -> bool:
        try:
            with locked(self._of(name)), locked(self.result(name)):
                return False
        except InUseError:
            return True


def command_line(task: Task, result: Path, n_jobs: int) -> list[str]:
    """Give what is run for a task."""
    how = ("--output", str(result), "--n-jobs", str(n_jobs), "--no-progress-bar", "--debug")
    return [sys.executable, "-m", "steadyspike", *task.arguments, *how]


class Children:
    """Processes that were started here, and end with us."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.guard = threading.Lock()
        self.stopped = False

    def call(self, command: list[str], log: Any) -> int:
        """Run a command, whose words go to `log`, and return its exit code; a signal's is negative."""
        # where the system can: who is killed takes along what it has started
        keeper = shutil.which("setpriv") if sys.platform == "linux" else None
        whole = [keeper, "--pdeathsig", "TERM", "--", *command] if keeper else command
        with self.guard:
            if self.stopped:
                return -signal.SIGTERM
            child = subprocess.Popen(
                whole,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "COLUMNS": "160", "NO_COLOR": "1"},
            )
            self.running.add(child)
        try:
            return child.wait()
        finally:
            with self.guard:
                self.running.discard(child)

    def stop(self) -> None:
        """Ask what is running to end, and start nothing more."""
        with self.guard:
            self.stopped = True
            for child in self.running:
                child.terminate()


@contextmanager
def suppressed_absence() -> Iterator[None]:
    """Let a file be absent."""
    try:
        yield
    except FileNotFoundError:
        return


def _read(file: Path) -> dict[str, Any]:
    """Read what one of these files holds; nothing, where it is absent."""
    try:
        return dict(json.loads(file.read_text(encoding="utf8")))
    except FileNotFoundError:
        return {}


def _last_error(log: Path, start: int) -> str:
    """Find the line with which a command said why it failed."""
    with log.open("rb") as stream:
        stream.seek(max(start, log.stat().st_size - KEPT_LOG))
        lines = [
            line.strip() for line in stream.read().decode("utf8", "replace").splitlines() if line.strip()
        ]
    told = [line for line in lines if line.startswith(ERROR_LINE)]
    return told[-1].removeprefix(ERROR_LINE) if told else (lines[-1] if lines else "it said nothing")
