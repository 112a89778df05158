"""Ways to run the tasks of a batch: here, or on the workers of Dask."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from steadyspike.cluster.tasks import RUNNING, STOPPED, Batch, Children, Outcome

if TYPE_CHECKING:
    from distributed import Client

Told = Callable[[Outcome], None]


def run_here(batch: Batch, names: list[str], n_jobs: int, at_most: int, told: Told) -> None:
    """Run tasks on this machine, some at a time; `told` is called with the outcome of each, in this thread.

    An interrupt stops those that run; what they have done is kept.
    """
    children = Children()
    with ThreadPoolExecutor(at_most) as pool:
        left = {pool.submit(batch.run, name, n_jobs, children) for name in names}
        try:
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for future in done:
                    told(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            children.stop()
            raise


def run_on_dask(
    client: Client, batch: Batch, names: list[str], n_jobs: int, at_most: int | None, told: Told
) -> None:
    """Run tasks on the workers of a Dask cluster, one on each at a time, or `at_most` in all.

    The workers see the folder of the batch and the recordings under the same paths. A worker that is lost takes its
    task along, which goes on where it was on another one.
    """
    from distributed import as_completed

    workers = max(len(client.scheduler_info(n_workers=-1)["workers"]), 1)
    waiting = iter(names)
    futures: Any = as_completed()

    def submit_next() -> None:
        name = next(waiting, None)
        if name is not None:
            futures.add(client.submit(run_task, str(batch.folder), name, n_jobs, pure=False, key=_key(name)))

    try:
        for _ in range(min(at_most or workers, len(names))):
            submit_next()
        for future in futures:
            told(_outcome(future, batch))
            submit_next()
    finally:
        client.cancel([future for future in futures.futures])


_ONE_AT_A_TIME = threading.Lock()


def run_task(folder: str, name: str, n_jobs: int) -> Outcome:
    """Run a task of the batch in a folder, on a worker: one at a time, as commands use several cores themselves."""
    from pathlib import Path

    with _ONE_AT_A_TIME:
        return Batch(Path(folder)).run(name, n_jobs)


def _key(name: str) -> str:
    from secrets import token_hex

    return f"{name}-{token_hex(4)}"


def _outcome(future: Any, batch: Batch) -> Outcome:
    name = future.key.rpartition("-")[0]
    try:
        found: Outcome = future.result()
    except Exception as error:
        return Outcome(name, STOPPED, f"{type(error).__name__}: {' '.join(str(error).split())}")
    return batch.outcome(name) if found.state == RUNNING else found
