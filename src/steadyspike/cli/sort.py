"""``steadyspike sort``: from a raw recording to units that a viewer opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli import reading
from steadyspike.cli.correcting import correcting, tell_correction
from steadyspike.cli.errors import NOT_INSTALLED, Debug, clear_errors, say, tell
from steadyspike.cli.notes import Notes
from steadyspike.cli.options import (
    ChunkDuration,
    Jobs,
    Output,
    Overwrite,
    ProgressBar,
    job_kwargs,
    parse_settings,
    writing,
)
from steadyspike.cli.output import PEAKS, begin_anew, work_folder, writing_to

if TYPE_CHECKING:
    from steadyspike.cli.sorting import Sorted

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike sort /data/my_run_g0 --sorter kilosort4 -o sorted

  A sorter of SpikeInterface, with an argument of your own:

    steadyspike sort /data/my_run_g0 --sorter lupin -o sorted
    --sorter-option detect_threshold=6

  What has been corrected before is only sorted:

    steadyspike sort corrected/recording.json --sorter tridesclous2 -o sorted

[bold]What is written[/bold]

[bold]recording/[/bold]: the preprocessed and corrected traces that were sorted.

[bold]motion_info/[/bold]: peaks, motion and verdict; report.html and figures/ show them.

[bold]sorter/[/bold]: what the sorter wrote: si.read_sorter_folder("out/sorter").

[bold]analyzer/[/bold]: units with templates, locations and quality metrics: si.load_sorting_analyzer("out/analyzer").

[bold]drift_metrics.csv[/bold]: whether units still depend on how the tissue moved.

Where the sorter is not installed, sort.py in the place of the last three: a script that goes on from there, on
whatever machine has the sorter. The exit code is then 3.

Until all of that is there, each stage that is done (and of the first one, the
peaks and traces so far) is kept in a folder beside it whose name ends in
.part: after an interrupt or a crash, the same command goes on from there.
"""


@reading.takes_reading
def sort(
    recording: reading.RecordingPath,
    sorter: Annotated[
        str, typer.Option("--sorter", "-s", help="Its name in SpikeInterface; it need not be installed.")
    ],
    output: Output,
    *,
    how: dict[str, Any],
    sorter_option: Annotated[
        list[str] | None,
        typer.Option(
            "--sorter-option",
            metavar="KEY=VALUE",
            help="Argument of the sorter, before what steadyspike.sorting.parameters chooses.",
        ),
    ] = None,
    no_figures: Annotated[
        bool, writing("--no-figures", help="Draw no figures of the motion, and no report.")
    ] = False,
    overwrite: Overwrite = False,
    restart: Annotated[
        bool, writing("--restart", help="Begin anew instead of resuming an interrupted run.")
    ] = False,
    preset: Annotated[
        str,
        correcting(
            "--preset",
            "-p",
            help="A motion preset, a TOML file, hf:owner/name, [bold]none[/bold], or [bold]auto[/bold]: none if the "
            "recording is corrected, or else steady_auto, which does as its verdict says.",
        ),
    ] = "auto",
    preprocess: reading.Preprocess = "auto",
    denoise: Annotated[
        str | None,
        correcting(
            "--denoise",
            metavar="MODEL",
            help="Denoise first, by a DeepInterpolation model. It runs twice, for the peaks and for the traces; "
            "steadyspike denoise writes its result once.",
        ),
    ] = None,
    n_jobs: Jobs = None,
    chunk_duration: ChunkDuration = "1s",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Preprocess, correct the motion, sort, and compute what a viewer of units needs."""
    with (
        clear_errors(debug),
        writing_to(output, overwrite),
        reading.accelerated_parts(),
        Notes().taken() as notes,
    ):
        from steadyspike.cli import correction, denoising, estimation, sorting
        from steadyspike.core.environment import job_defaults

        # everything that can be known to fail is looked at before any data is read
        n_jobs = n_jobs if denoise is None else denoising.choose_jobs(n_jobs, "auto")
        jobs = job_kwargs(n_jobs, chunk_duration, progress_bar)
        options = parse_settings(sorter_option or [], "--sorter-option")
        sorting.check_sorter(sorter, options)
        source = None if denoise is None else denoising.find_model(denoise)
        opened = reading.open_recording(recording, **how)
        preset = sorting.choose_preset(opened, preset)
        sorting.check_segments(opened, sorter, preset)
        if source is not None:
            denoising.check_fit(opened, source, {})
        reading.check_place([recording], output)
        correction.tell_shanks(opened)
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        work = begin_anew(output) if restart else work_folder(output)
        choose_steps = reading.preprocessing_steps if source is None else reading.denoising_steps
        steps, chosen = choose_steps(opened, preprocess)
        with job_defaults(**jobs), notes.timed("preprocess"):
            preprocessed = reading.apply_steps(opened, steps, work)
            if source is not None:
                preprocessed = sorting.denoised(preprocessed, source)
        say(f"[bold]preprocess[/bold]  {chosen}{'' if source is None else f', {source.name}'}")
        say(f"[bold]motion[/bold]      {preset}")
        if preset != sorting.NONE and not sorting.corrected_already(work.path):
            with job_defaults(**jobs), notes.timed("forecast"):
                expected = estimation.forecast(preprocessed, work.path / PEAKS, preset, {}, jobs)
            say(f"[bold]forecast[/bold]    {expected}")
        say(
            f"[bold]sorter[/bold]      {sorter}{'' if sorting.is_installed(sorter) else ', not installed here'}"
        )
        request = sorting.Request(
            source=recording,
            output=output,
            sorter=sorter,
            options=options,
            preset=preset,
            preprocess=chosen,
            denoise=None if source is None else source.name,
            figures=not no_figures,
            overwrite=overwrite,
            job_kwargs=jobs,
        )
        _report(sorting.run(preprocessed, request, notes))


def _report(done: Sorted) -> None:
    from steadyspike.cli.sorting import SCRIPT

    if done.correction is not None:
        tell_correction(done.correction)
    tell(f"wrote {done.output}: {', '.join(done.files)}")
    if done.script is not None:
        tell(f"{done.sorter} is not installed here. This goes on from there, where it is:", "", done.script)
        tell(f"It is in {done.output / SCRIPT}, which the machine needs with {done.output / 'recording'}")
        raise typer.Exit(NOT_INSTALLED)
    tell(f"{done.num_units} units by {done.sorter}")
    if not done.num_units:
        tell("nothing to look at: see whether figures/ shows spikes, and the sorter's detection threshold")
        return
    analyzer = done.output / "analyzer"
    tell(
        "",
        f"look at them:     steadyspike view {done.output}",
        "                  (pip install 'steadyspike[view]')",
        f'in Python:        analyzer = si.load_sorting_analyzer("{analyzer}")',
        f'for phy:          si.export_to_phy(analyzer, "{done.output / "phy"}")',
        "                  then, in that folder: phy template-gui params.py",
    )
