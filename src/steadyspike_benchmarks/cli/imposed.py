"""``python -m steadyspike_benchmarks imposed``: presets held against a manipulator that moved the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steadyspike.cli import reading
from steadyspike.cli.errors import Debug, UsageError, clear_errors, refusals
from steadyspike.cli.options import Jobs, ProgressBar, job_kwargs
from steadyspike_benchmarks.cli.parsing import split_names
from steadyspike_benchmarks.cli.sorting import sorter_names

EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks imposed dataset1/p1 -o evidence

  python -m steadyspike_benchmarks imposed session.nwb -o evidence --sorter lupin

  python -m steadyspike_benchmarks imposed my_run_g0 -o evidence --course moved.csv --preset steady_auto,dredge_fast
"""


def register(app: typer.Typer) -> None:
    """Add the command to the benchmarks'."""
    app.command(epilog=EXAMPLES)(imposed)


@reading.takes_reading
def imposed(
    recording: reading.RecordingPath,
    *,
    how: dict[str, Any],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the study; one that was begun is continued.")
    ] = Path("imposed-benchmark"),
    course: Annotated[
        Path | None,
        typer.Option("--course", help="CSV with the columns time_s (from the first sample) and position_um."),
    ] = None,
    preset: Annotated[
        str, typer.Option("--preset", help="Presets, with commas. Default: ours and theirs.")
    ] = "",
    preprocess: reading.Preprocess = "auto",
    sorter: Annotated[
        str, typer.Option("--sorter", help="Installed sorters, with commas. Default: nothing is sorted.")
    ] = "none",
    treatment: Annotated[
        str, typer.Option("--treatment", help="What is sorted: 'uncorrected' and presets, with ';' between.")
    ] = "uncorrected;dredge_fast;steady_auto",
    n_jobs: Jobs = 1,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Hold motion presets against a probe that was moved on purpose, and write one page to send to us.

    The manipulator's course is found beside imposed-motion sets (manip.positions.npy) and in the trigger of DANDI
    000957, or read from --course. The page, imposed.md with imposed.png, holds no names of files.
    """
    with clear_errors(debug):
        import steadyspike  # noqa: F401  (enters our presets)
        from steadyspike.core.environment import job_defaults
        from steadyspike.core.unfinished import WorkFolder
        from steadyspike_benchmarks.imposed.course import find_course, reading_hints
        from steadyspike_benchmarks.imposed.page import write_page
        from steadyspike_benchmarks.imposed.study import ImposedStudy, check_treatments, run_imposed_benchmark
        from steadyspike_benchmarks.study_presets import study_presets

        jobs = job_kwargs(n_jobs, "1s", progress_bar)
        presets = split_names(preset, study_presets(), "--preset") if preset else None
        sorters = sorter_names(sorter)
        treatments = [name.strip() for name in treatment.split(";")]
        with refusals(treatments="--treatment"):
            check_treatments(treatments)
        positions = find_course(recording, course)
        if how["reader"] is None:
            how |= reading_hints(recording)
        opened = reading.open_recording(recording, **how)
        reading.check_place([recording], output)
        work = WorkFolder(output / "preprocessing", "preprocessing", "another --output")

        def prepare(raw: Any) -> Any:
            return reading.preprocess(raw, preprocess, work)[0]

        study = ImposedStudy(output, opened, positions, prepare, preprocess, jobs)
        with job_defaults(**jobs):
            results = run_imposed_benchmark(
                study,
                presets=presets,
                treatments=treatments,
                sorters=sorters,
                progress_bar=jobs["progress_bar"],
            )
        page = write_page(study)
        typer.echo(page.read_text(encoding="utf8"))
        if not any("mean_error_um" in result for result in results):
            raise UsageError("no preset gave a motion; see the page for why")
