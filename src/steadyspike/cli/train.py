"""``steadyspike train``: a DeepInterpolation model from recordings, from scratch or fine-tuned."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli import reading
from steadyspike.cli.errors import Debug, UsageError, clear_errors, refusals, say, tell
from steadyspike.cli.options import (
    Device,
    ProgressBar,
    declared_options,
    job_kwargs,
    parse_duration,
    parse_settings,
    takes_options,
    writing,
)
from steadyspike.core.aside import locked, written_aside
from steadyspike.training.settings import DeepInterpolationTraining

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel

EXAMPLES = """
[bold]Examples[/bold]

  Overnight, on a GPU if there is one, from two runs of one probe type:

    steadyspike train /data/run1_g0 /data/run2_g0 -o my_model --max-time 8h

  Fine-tune a model to a recording:

    steadyspike train /data/run3_g0 -o run3_model --init-from my_model --steps 500

[bold]What is written[/bold]

  A model folder: weights, configuration, a card (README.md) with the data
  and scores, log.jsonl and loss.png. steadyspike denoise and
  steadyspike.deepinterpolate take it.

Until all of that is there, the state of the training is kept in a folder
beside it whose name ends in .training: after an interrupt or a crash, the
same command goes on from there.
"""

NETWORK, TRAINING, HELD_OUT, WRITING = "Network", "Training", "Time", "Writing"

OPTIONS: dict[str, tuple[str, str | None]] = {
    "license_name": ("--license", WRITING),
    "data_license": ("--data-license", WRITING),
    "network": ("--network", NETWORK),
    "size": ("--size", NETWORK),
    "pre_ms": ("--pre-ms", NETWORK),
    "post_ms": ("--post-ms", NETWORK),
    "pre_post_omission": ("--omission", NETWORK),
    "max_steps": ("--steps", TRAINING),
    "loss": ("--loss", TRAINING),
    "focus": ("--focus", TRAINING),
    "learning_rate": ("--learning-rate", TRAINING),
    "batch_size": ("--batch-size", TRAINING),
    "seed": ("--seed", TRAINING),
    "train_start_s": ("--train-start", HELD_OUT),
    "train_end_s": ("--train-end", HELD_OUT),
    "train_duration_s": ("--train-duration", HELD_OUT),
    "test_start_s": ("--test-start", HELD_OUT),
    "test_end_s": ("--test-end", HELD_OUT),
    "test_duration_s": ("--test-duration", HELD_OUT),
    "gap_s": ("--gap", HELD_OUT),
    "devices": ("--devices", None),
    "precision": ("--precision", None),
    "num_readers": ("--readers", None),
}
"""Options that are as parameters are declared: by plain keyword, with the panel of the help that they are in."""

OTHERS = {
    **{"init_from": "--init-from", "network_kwargs": "--network-option", "train_layers": "--train-layers"},
    **{"max_time_s": "--max-time", "patience": "--patience", "device": "--device"},
    **{"test_recordings": "--test-recording", "overwrite=True with resume=False": "--restart"},
}
"""Options that are read in a way of their own."""


network = functools.partial(typer.Option, rich_help_panel=NETWORK)
training = functools.partial(typer.Option, rich_help_panel=TRAINING)


@takes_options("arguments", declared_options(DeepInterpolationTraining, OPTIONS, OTHERS))
@reading.takes_reading
def train(
    recordings: Annotated[
        list[Path], typer.Argument(help="Recordings of one probe type: saved by SpikeInterface, or acquired.")
    ],
    output: Annotated[Path, writing("--output", "-o", help="Model folder; complete or not at all.")],
    *,
    arguments: dict[str, Any],
    how: dict[str, Any],
    overwrite: Annotated[bool, writing("--overwrite", help="Replace a model folder.")] = False,
    restart: Annotated[
        bool, writing("--restart", help="Begin anew instead of resuming an interrupted run.")
    ] = False,
    init_from: Annotated[
        str | None,
        network(
            "--init-from",
            help="Fine-tune this model: a bundled name, a folder or hf:owner/name. It decides on the network.",
        ),
    ] = None,
    network_option: Annotated[
        list[str] | None,
        network("--network-option", metavar="KEY=VALUE", help="Argument of the network, as centre=1."),
    ] = None,
    max_time: Annotated[str | None, training("--max-time", help="Time of training, as 30min or 8h.")] = None,
    train_layers: Annotated[
        list[str] | None,
        training("--train-layers", help="all (default), last, or patterns of names of parameters."),
    ] = None,
    patience: Annotated[
        int, training("--patience", help="Evaluations without a gain before it stops; 0: never.")
    ] = DeepInterpolationTraining.defaults()["patience"],
    test_recording: Annotated[
        list[Path] | None,
        typer.Option("--test-recording", help="Held out instead.", rich_help_panel=HELD_OUT),
    ] = None,
    device: Device = "auto",
    preprocess: reading.Preprocess = "auto",
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train a DeepInterpolation model on recordings, or fine-tune one.

    The network learns to predict each sample from those before and after it. Ends with the error on held-out
    time, beside that of a linear prediction.
    """
    with clear_errors(debug), locked(output):
        from steadyspike.core.environment import job_defaults

        arguments |= dict(
            init_from=init_from,
            network_kwargs=parse_settings(network_option or [], "--network-option") or None,
            train_layers=_layers(train_layers),
            max_time_s=None if max_time is None else parse_duration(max_time, "--max-time"),
            patience=patience or None,
            device=device,
        )
        unfinished = _unfinished(output, overwrite)
        jobs = job_kwargs(1, "1s", progress_bar)
        with job_defaults(**jobs):
            opened, chosen, applied = _open([*recordings, *(test_recording or [])], preprocess, how)
        say(f"[bold]preprocess[/bold]  {chosen}")
        with _kept(output), refusals(**_words()):
            from steadyspike.training.deepinterpolation import train_deepinterpolation

            model = train_deepinterpolation(
                opened[: len(recordings)],
                output,
                test_recordings=opened[len(recordings) :] or None,
                resume=unfinished and not restart,
                overwrite=overwrite or restart,
                progress_bar=jobs["progress_bar"],
                **arguments,
            )
        _note(output, {"chosen": chosen, "steps": applied})
        _report(model, output)


def _words() -> dict[str, str]:
    """How errors call what is asked for."""
    flags = {name: flag for name, (flag, _) in OPTIONS.items()}
    return {**OTHERS, **flags, "folder": "--output", f"{DeepInterpolationTraining.part}: ": ""}


def _layers(given: list[str] | None) -> str | list[str]:
    if given is None:
        return "all"
    return given[0] if given in (["all"], ["last"]) else given


def _unfinished(output: Path, overwrite: bool) -> bool:
    """Whether there is a run to resume; refuse what would be destroyed."""
    from steadyspike.library.models.config import is_model_folder
    from steadyspike.training.run import work_folder

    work = work_folder(output.absolute())
    if work.exists() and work.settings() is None:
        raise UsageError(f"{work.path} exists and holds no training of steadyspike; choose another --output")
    if output.exists() and not is_model_folder(output):
        raise UsageError(f"{output} exists and is no model folder; choose another --output")
    if output.exists() and not overwrite:
        raise UsageError(f"{output} exists; replace it with --overwrite, or choose another --output")
    return work.exists()


def _open(
    paths: list[Path], preprocess: str, how: dict[str, Any]
) -> tuple[list[BaseRecording], str, list[dict[str, Any]]]:
    """Open and preprocess recordings, all by the same steps."""
    opened = [reading.open_recording(path, purpose="denoising", **how) for path in paths]
    for path, recording in zip(paths, opened, strict=True):
        say(f"[bold]recording[/bold]   {path.name}: {reading.describe(recording)}")
    planned = [reading.denoising_steps(recording, preprocess) for recording in opened]
    steps, chosen = planned[0]
    for path, (_, other) in zip(paths, planned, strict=True):
        if other != chosen:
            raise UsageError(
                f"{paths[0].name} would be preprocessed by {chosen}, {path.name} by {other}; "
                "name one for all with --preprocess"
            )
    return [reading.apply_steps(recording, steps) for recording in opened], chosen, steps


@contextmanager
def _kept(output: Path) -> Iterator[None]:
    """Say after an interrupt that the state was kept."""
    from steadyspike.training.loop import TrainingInterrupted

    try:
        yield
    except TrainingInterrupted:
        say(
            f"[yellow]kept[/yellow]: what was learnt, in {output}.training; the same command goes on from there"
        )
        raise


def _note(folder: Path, preprocessing: dict[str, Any]) -> None:
    """Write into the configuration how recordings were preprocessed, for `steadyspike denoise` to compare."""
    from steadyspike.library.hub.artifact import CONFIG

    content = json.loads((folder / CONFIG).read_text(encoding="utf8"))
    content["extra"]["preprocessing"] = preprocessing
    with written_aside(folder / CONFIG) as aside:
        aside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf8")


def _report(model: DeepInterpolationModel, folder: Path) -> None:
    from rich.table import Table

    notes: Any = model.config.extra
    training = notes["training"]
    table = Table("held-out error", "mse", "mae", title_justify="left")
    for name, values in notes["scores"].items():
        shown = ["-", "-"] if values is None else [f"{values[kind]:.4f}" for kind in ("mse", "mae")]
        table.add_row(name, *shown)
    tell(
        f"{training['steps']} steps in {training['elapsed_s']:.0f} s on {training['device']}, "
        f"best at step {training['best_step']}; stopped by: {training['stopped']}"
    )
    tell(
        table,
        "in noise levels of each channel, against noisy samples: only differences tell",
        f"wrote {folder}",
    )
