"""``python -m steadyspike.cluster FOLDER NAME N_JOBS``: run one task of a batch, as a job of a cluster does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from steadyspike.cluster.tasks import DONE, FAILED, Batch, Children

STOPPED = 130


def main(folder: str, name: str, n_jobs: str) -> int:
    """Run a task and return an exit code; a polite kill is passed on to its process."""
    children = Children()

    def stop(*_: Any) -> None:
        # without the lock, which may be held by what was interrupted
        children.stopped = True
        for child in list(children.running):
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    outcome = Batch(Path(folder)).run(name, int(n_jobs), children)
    print(f"{outcome.name}: {outcome.state}{f': {outcome.error}' if outcome.error else ''}")
    return {DONE: 0, FAILED: 1}.get(outcome.state, STOPPED)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
