"""Where the chunks of a recording are worked on: ``--engine`` and ``--scheduler``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import typer

from steadyspike.cli.errors import UsageError, say

Engine = Annotated[
    Literal["local", "dask"],
    typer.Option("--engine", help="Where chunks are worked on: here, or by the workers of Dask."),
]
Scheduler = Annotated[
    str | None,
    typer.Option("--scheduler", help="Of Dask: tcp://host:8786. Default: --n-jobs workers, started here."),
]
PATIENCE = "20s"


@contextmanager
def dask_client(scheduler: str | None, num_workers: int | None) -> Iterator[Any]:
    """Give a client of a Dask cluster, or of one that is started here and ends with the block."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--engine dask needs distributed; pip install 'steadyspike[cluster]'") from None
    how: dict[str, Any] = dict(n_workers=num_workers, threads_per_worker=1, dashboard_address=":0")
    try:
        client = Client(**how) if scheduler is None else Client(scheduler, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        raise UsageError(f"--scheduler {scheduler}: {error}") from None
    with client:
        yield client


@contextmanager
def workers(engine: str, scheduler: str | None, n_jobs: int) -> Iterator[None]:
    """Let the chunks of all that a block does be worked on by an engine."""
    from steadyspike.core.chunk_runs import working_on

    if engine == "local":
        if scheduler is not None:
            raise UsageError("--scheduler is for --engine dask")
        yield
        return
    with dask_client(scheduler, n_jobs) as client, working_on(client):
        threads = client.nthreads()
        say(f"[bold]dask[/bold]        {len(threads)} workers, {sum(threads.values())} threads")
        yield
