"""``steadyspike evaluate``: what denoising by models does to a recording."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli import reading
from steadyspike.cli.errors import Debug, clear_errors, refusals, said_warnings, say
from steadyspike.cli.options import Device, Overwrite, Precision, ProgressBar, job_kwargs, writing
from steadyspike.cli.output import new_folder, write_marker, writing_to

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

EXAMPLES = """
[bold]Examples[/bold]

  Two models on time that neither was trained on:

    steadyspike evaluate /data/my_run_g0 -m my_model -m other_model --start 600

  What happens to units and, in a simulation, how near the clean traces are:

    steadyspike evaluate raw -m my_model --sorting sorting --clean clean -o out

[bold]What is written[/bold] with --output

  evaluation.md, evaluation.json, summary.csv, by_size.csv, units.csv, and
  figures of measures, traces and templates.
"""

ARGUMENTS = ("device", "precision", "memory_limit_mb", "min_spikes", "seed", "sorting", "clean", "model")
RENAMED = {"start_s": "--start", "end_s": "--end", "duration_s": "--duration"}


evaluating = functools.partial(typer.Option, rich_help_panel="What is evaluated")


@reading.takes_reading
def evaluate(
    recording: reading.RecordingPath,
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            "-m",
            help="A bundled name, a model folder, hf:owner/name, or a Keras file; may be repeated.",
        ),
    ],
    *,
    how: dict[str, Any],
    sorting: Annotated[
        Path | None,
        evaluating(
            "--sorting", help="Spikes, best of ground truth: saved by SpikeInterface, or by Kilosort or Phy."
        ),
    ] = None,
    clean: Annotated[Path | None, evaluating("--clean", help="The same recording without noise.")] = None,
    start: Annotated[
        float | None, evaluating("--start", help="In s. Default: the last 60 s that no model was trained on.")
    ] = None,
    end: Annotated[float | None, evaluating("--end", help="In s.")] = None,
    duration: Annotated[float | None, evaluating("--duration", help="In s.")] = None,
    min_spikes: Annotated[int, evaluating("--min-spikes", help="Fewest spikes of a measured unit.")] = 20,
    seed: Annotated[int, evaluating("--seed", help="Of random times.")] = 0,
    output: Annotated[Path | None, writing("--output", "-o", help="Folder; complete or not at all.")] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    precision: Precision = "float32",
    preprocess: reading.Preprocess = "auto",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Measure how well models denoise a recording, beside linear interpolation and no denoising.

    Always: the error of predicting held-out samples. With --sorting: noise between spikes, and amplitude, shape and
    separability of each unit. With --clean: the error against the noise-free traces.
    """
    with clear_errors(debug), writing_to(output, overwrite):
        from steadyspike.cli import denoising
        from steadyspike.core.environment import job_defaults
        from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation
        from steadyspike.library.models.provenance import ModelUseWarning

        if output is not None:
            reading.check_place([recording, *(path for path in (sorting, clean) if path)], output)
        jobs = job_kwargs(1, "1s", progress_bar)
        sources = [denoising.find_model(one) for one in model]
        opened = reading.open_recording(recording, purpose="denoising", **how)
        chosen_part = {name: how[name] for name in ("trust_pickle", "segment")}
        noise_free = None if clean is None else _open_clean(clean, opened, **chosen_part)
        spikes = None if sorting is None else _open_sorting(sorting, opened, **chosen_part)
        for source in sources:
            denoising.check_fit(opened, source, dict(device=device, precision=precision))
        say(f"[bold]recording[/bold]   {reading.describe(opened)}")
        with job_defaults(**jobs):
            steps, chosen = reading.denoising_steps(opened, preprocess)
            say(f"[bold]preprocess[/bold]  {chosen}")
            for source in sources:
                denoising.compare_preprocessing(source, chosen, steps)
            if noise_free is not None:
                noise_free = reading.apply_steps(noise_free, [step for step in steps if _suits_clean(step)])
            preprocessed = reading.apply_steps(opened, steps)
            with refusals(*ARGUMENTS, **RENAMED), said_warnings(ModelUseWarning):
                evaluation = evaluate_deepinterpolation(
                    preprocessed,
                    _named(model),
                    spikes,
                    noise_free,
                    start_s=start,
                    end_s=end,
                    duration_s=duration,
                    min_spikes=min_spikes,
                    device=device,
                    precision=precision,
                    seed=seed,
                    progress_bar=jobs["progress_bar"],
                )
        typer.echo(evaluation.to_markdown())
        if output is None:
            return
        with new_folder(output, overwrite) as folder:
            folder.rmdir()
            files = [path.name for path in evaluation.save(folder)]
            models = [{"name": source.name, "sha256": source.sha256} for source in sources]
            write_marker(folder, {"command": "evaluate", "models": models, "preprocess": chosen})
        typer.echo(f"wrote {output}: {', '.join(files)}")


def _named(models: list[str]) -> dict[str, str]:
    """Name models by their folders, or as they were given where folders have the same name."""
    names = [Path(model).name for model in models]
    return {
        model if names.count(name) > 1 else name: model for name, model in zip(names, models, strict=True)
    }


def _open_clean(
    path: Path, recording: BaseRecording, trust_pickle: bool, segment: int | None
) -> BaseRecording:
    """Open noise-free traces; they lie as those of the recording do."""
    from steadyspike.core.loading import load_recording

    clean = load_recording(path, trust_pickle=trust_pickle)
    if segment is not None and clean.get_num_segments() > 1:
        clean = clean.select_segments([segment])
    if not clean.has_probe() and clean.get_num_channels() == recording.get_num_channels():
        from steadyspike.core.probe_layout import attach_probe

        attach_probe(clean, recording.get_probegroup())
    return clean


def _open_sorting(path: Path, recording: BaseRecording, trust_pickle: bool, segment: int | None) -> Any:
    from steadyspike.core.loading import load_sorting

    sorting = load_sorting(path, recording.sampling_frequency, trust_pickle=trust_pickle)
    if segment is not None and sorting.get_num_segments() > 1:
        from spikeinterface import select_segment_sorting

        return select_segment_sorting(sorting, [segment])
    return sorting


def _suits_clean(step: dict[str, Any]) -> bool:
    """Whether a step is for noise-free traces too: silent channels would be taken for dead ones."""
    return "bad_channels" not in step["name"]
