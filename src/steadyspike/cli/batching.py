"""The work behind ``steadyspike batch``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from steadyspike.cli import correct, denoise, reading, sort
from steadyspike.cli.engines import dask_client
from steadyspike.cli.errors import UsageError, refusals, say
from steadyspike.cli.options import MOST_JOBS, parse_settings

if TYPE_CHECKING:
    from rich.table import Table

    from steadyspike.cluster.slurm import Needs
    from steadyspike.cluster.table import Session
    from steadyspike.cluster.tasks import Batch, Outcome, Task

COMMANDS: dict[str, Any] = {"correct": correct.correct, "denoise": denoise.denoise, "sort": sort.sort}
OWN = (
    "output",
    "n-jobs",
    "debug",
    "progress-bar",
    "no-progress-bar",
    "overwrite",
    "restart",
    "stream",
    "shank",
)
"""Options of the commands that cannot be given for all recordings."""
INDEX, TABLE = "index.html", "table.csv"
TRACEBACK_LINES = 60


@dataclass(frozen=True)
class Request:
    """What shall be done; the words are those of the command line."""

    sessions: Path
    command: str
    options: tuple[str, ...]
    output: Path
    engine: str = "local"
    at_most: int | None = None
    shanks_apart: bool = True
    n_jobs: int | None = None
    retry_failed: bool = False
    scheduler: str | None = None
    slurm: tuple[str, ...] = ()


def run(request: Request) -> list[Outcome]:
    """Do what is not done yet, and tell what came of all."""
    from steadyspike.cluster.table import read_sessions
    from steadyspike.cluster.tasks import DONE, FAILED, Batch

    batch = Batch(request.output)
    with refusals():
        tasks = list(plan(request, read_sessions(request.sessions)))
        batch.begin(request.command)
        for task in tasks:
            batch.add(task)
            if request.retry_failed:
                batch.forget_failure(task.name)
    names = [task.name for task in tasks]
    left = [name for name in names if batch.outcome(name).state not in (DONE, FAILED)]
    say(f"[bold]batch[/bold]       {len(names)} recordings, {len(left)} to do")
    if left:
        _run(request, batch, left)
    return [batch.outcome(name) for name in names]


def _run(request: Request, batch: Batch, names: list[str]) -> None:
    from steadyspike.cluster import engines
    from steadyspike.core.environment import usable_cores

    if request.engine == "slurm":
        _submit(request, batch, names)
        return
    at_most = request.at_most or 1
    n_jobs = request.n_jobs or min(MOST_JOBS, max(1, usable_cores() // at_most))

    def told(outcome: Outcome) -> None:
        why = f": {outcome.error}" if outcome.error else ""
        say(f"[bold]{outcome.state}[/bold] {outcome.name}{why}")

    if request.engine == "local":
        engines.run_here(batch, names, n_jobs, at_most, told)
        return
    with dask_client(request.scheduler, at_most) as client:
        engines.run_on_dask(client, batch, names, n_jobs, request.at_most, told)


def plan(request: Request, sessions: list[Session]) -> Iterator[Task]:
    """Give a task for each session, probe and shank; what cannot be opened is one, and fails when it runs.

    All options are looked at before any recording is opened.
    """
    parsed = [_parsed(request, session) for session in sessions]
    for session, values in zip(sessions, parsed, strict=True):
        yield from _tasks_of(request, session, values)


def _parsed(request: Request, session: Session) -> dict[str, Any]:
    """Read a session's command line as the command will, and give its values; raises `UsageError`."""
    own = [name for name in OWN if f"--{name}" in request.options]
    if own:
        raise UsageError(f"--{own[0]} is of one recording; give it in the table, or to the batch")
    arguments = [session.recording, *request.options, *session.arguments()]
    app = typer.Typer()
    app.command(request.command)(COMMANDS[request.command])
    try:
        context = typer.main.get_command(app).make_context(
            request.command, [*arguments, "--output", str(request.output / session.name)]
        )
    except Exception as error:
        # of click, or of the copy of it that typer brings
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(f"{session.name}: {error.format_message()}") from None
    return dict(context.params)


def _tasks_of(request: Request, session: Session, values: dict[str, Any]) -> Iterator[Task]:
    from steadyspike.cluster.table import folder_name
    from steadyspike.cluster.tasks import Task

    base = [request.command, session.recording, *request.options, *session.arguments()]
    for stream in _streams(session, values):
        given, name = (
            ([], session.name) if stream is None else (["--stream", stream], f"{session.name}-{stream}")
        )
        how = {**values, "stream": stream or values["stream"]}
        about = {"recording": session.recording, "stream": how["stream"]}
        for shank, size in _shanks(request, session, how):
            one = [] if shank is None else ["--shank", str(shank)]
            of_shank = "" if shank is None else f"-shank{shank}"
            yield Task(
                folder_name(name) + of_shank,
                [*base, *given, *one],
                {**about, "shank": values["shank"] if shank is None else shank, **size},
            )


def _streams(session: Session, values: dict[str, Any]) -> list[str | None]:
    """Give the streams to do where there are several probes, else None: the only one, or the one that is given."""
    from steadyspike.core.acquisition import spike_streams
    from steadyspike.core.loading_errors import LoadingError

    if values["stream"] is not None:
        return [None]
    try:
        found = spike_streams(Path(session.recording), values["reader"])
    except LoadingError:
        return [None]
    return list(found) if len(found) > 1 else [None]


def _shanks(
    request: Request, session: Session, values: dict[str, Any]
) -> list[tuple[int | None, dict[str, Any]]]:
    """Give the shanks to do where there are several, else None; each with the size of its recording."""
    import numpy as np

    from steadyspike.core.probe_layout import shank_of_channels

    try:
        recording = reading.open_recording(Path(session.recording), **reading.how_of(values))
        counts = np.bincount(shank_of_channels(recording))
    except Exception:
        # the task fails of it, with all that is to be said
        return [(None, {})]
    size = dict(
        duration_s=float(recording.get_total_duration()),
        sampling_frequency=float(recording.sampling_frequency),
    )
    if values["shank"] is not None or len(counts) == 1 or not request.shanks_apart:
        return [(None, {**size, "num_channels": recording.get_num_channels()})]
    return [(shank, {**size, "num_channels": int(count)}) for shank, count in enumerate(counts)]


def _submit(request: Request, batch: Batch, names: list[str]) -> None:
    from steadyspike.cluster import slurm
    from steadyspike.core.aside import locked

    # between the question what is queued and the submission nobody else submits
    with locked(batch.folder / slurm.JOBS):
        queued = slurm.still_queued(batch)
        missing = [name for name in names if name not in queued]
        if queued:
            say(f"[bold]slurm[/bold]       {len(names) - len(missing)} are in the queue already")
        if not missing:
            return
        job = slurm.submit(batch, missing, _needs(request, batch, missing))
    file = batch.folder / slurm.SCRIPT
    if job is None:
        say(f"[bold]slurm[/bold]       no sbatch here; where there is one: sbatch {file}")
    else:
        say(f"[bold]slurm[/bold]       job {job}, {len(missing)} tasks, from {file}")
        say("[bold]later[/bold]       the same command tells how far it is, and writes the table")


def _needs(request: Request, batch: Batch, names: list[str]) -> Needs:
    """Say what the tasks need: as much as the largest of them."""
    from steadyspike.cli.forecasting import forecast_of, uses_gpu
    from steadyspike.cluster import slurm

    n_jobs = request.n_jobs or slurm.DEFAULT_JOBS
    tasks = [batch.task(name) for name in names]
    values = _values_of(tasks[0])
    memory, seconds = None, None
    sized = [task for task in tasks if "num_channels" in task.about]
    if sized:
        largest = max(sized, key=lambda task: task.about["num_channels"] * task.about["duration_s"])
        values = _values_of(largest)
        memory, seconds = forecast_of(request.command, largest, values, n_jobs)
    memory, minutes = slurm.with_margin(memory, seconds)
    needs = slurm.Needs(
        n_jobs=n_jobs,
        memory_mb=memory,
        minutes=minutes,
        gpu=any(uses_gpu(request.command, _values_of(task)) for task in tasks),
        at_most=request.at_most,
        options={key: None if value == "" else str(value) for key, value in _slurm_options(request).items()},
    )
    told = [f"{needs.n_jobs} cores"]
    told.append("memory as the partition has it" if memory is None else f"{memory:.0f} MB")
    told.append("time as the partition has it" if minutes is None else f"{minutes:.0f} min")
    say(f"[bold]each task[/bold]   {', '.join(told)}{', a GPU' if needs.gpu else ''}")
    return needs


def _slurm_options(request: Request) -> dict[str, Any]:
    return parse_settings([one if "=" in one else f"{one}=" for one in request.slurm], "--slurm")


def _values_of(task: Task) -> dict[str, Any]:
    """Read a task's command line."""
    command, recording, *options = task.arguments
    app = typer.Typer()
    app.command(command)(COMMANDS[command])
    return dict(
        typer.main.get_command(app).make_context(command, [recording, *options, "--output", "."]).params
    )


def table(outcomes: list[Outcome]) -> Table:
    """Make the table for the terminal."""
    from rich.table import Table

    shown = Table("recording", "state", "time", "why", title="Batch", title_justify="left")
    for one in outcomes:
        shown.add_row(one.name, one.state, f"{one.seconds:.0f} s" if one.seconds else "", one.error)
    return shown


def write_tables(request: Request, outcomes: list[Outcome]) -> list[str]:
    """Write index.html and table.csv, and return the names of what was written."""
    from steadyspike.cluster.tasks import FAILED, Batch
    from steadyspike.core.aside import written_aside
    from steadyspike.reports import index

    batch, page = Batch(request.output), request.output.absolute() / INDEX
    entries = []
    for outcome in outcomes:
        about, log = batch.task(outcome.name).about, batch.log(outcome.name)
        entry = index.Entry(
            name=outcome.name,
            recording=about["recording"],
            state=outcome.state,
            error=outcome.error,
            seconds=outcome.seconds or None,
            log=str(log) if log.is_file() else "",
            traceback=_end_of(log) if outcome.state == FAILED else "",
        )
        if outcome.state == index.DONE:
            entry = index.with_result(entry, batch.result(outcome.name), page)
        if entry.log:
            entry = replace(entry, links={**entry.links, "log": index.link(log, page)})
        entries.append(entry)
    with (
        written_aside(page.with_name(TABLE)) as aside,
        aside.open("w", newline="", encoding="utf8") as stream,
    ):
        writer = csv.DictWriter(stream, index.COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(asdict(entry) for entry in entries)
    written = [TABLE]
    try:
        index.write_index(entries, page, str(batch.folder))
        written.append(INDEX)
    except ImportError as error:
        say(f"[yellow]note[/yellow]: no {INDEX}: {error}")
    return sorted(written)


def _end_of(log: Path) -> str:
    """Give the last lines of a log, in which the traceback stands."""
    from steadyspike.cluster.tasks import KEPT_LOG

    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - KEPT_LOG))
        return "\n".join(stream.read().decode("utf8", "replace").splitlines()[-TRACEBACK_LINES:])
