"""``steadyspike benchmark``: networks of spikes, their bundled models and what they gain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from steadyspike.cli.errors import Debug, clear_errors
from steadyspike.cli.options import ProgressBar

Output = Annotated[Path, typer.Option("--output", "-o", help="Folder of the model; must not exist.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Default: as the bundled model has.")]
Seconds = Annotated[float, typer.Option("--duration", min=2, help="Seconds of each recording.")]


def train_detector(
    output: Output,
    steps: Steps = None,
    duration: Seconds = 8.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the training.")] = 0,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train the bundled spike detector anew, on simulated recordings."""
    with clear_errors(debug):
        from steadyspike.benchmark.neural_recordings import simulate_training_recordings
        from steadyspike.training.spike_detector import train_spike_detector

        recordings, sortings, about = simulate_training_recordings(duration)
        options: dict[str, Any] = {} if steps is None else {"steps": steps}
        model = train_spike_detector(
            recordings,
            sortings,
            output,
            seed=seed,
            progress_bar=bool(progress_bar),
            extra={"data": about},
            **options,
        )
        typer.echo(model.card)


def train_denoiser(
    output: Output,
    steps: Steps = None,
    duration: Seconds = 8.0,
    seed: Annotated[int, typer.Option("--seed", help="Of the training.")] = 0,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train the bundled waveform denoiser anew, on simulated recordings."""
    with clear_errors(debug):
        from steadyspike.benchmark.neural_recordings import simulate_training_recordings
        from steadyspike.training.waveform_denoiser import train_waveform_denoiser

        recordings, sortings, about = simulate_training_recordings(duration)
        options: dict[str, Any] = {} if steps is None else {"steps": steps}
        model = train_waveform_denoiser(
            recordings,
            sortings,
            output,
            seed=seed,
            progress_bar=bool(progress_bar),
            extra={"data": about},
            **options,
        )
        typer.echo(model.card)


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``steadyspike benchmark``."""
    app.command("train-detector")(train_detector)
    app.command("train-denoiser")(train_denoiser)
