"""``python -m steadyspike_benchmarks``: networks of spikes, their bundled models and what they gain."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike.cli.options import ProgressBar
from steadyspike_benchmarks.cli.parsing import positive_numbers, split_names, whole_numbers

ModelFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder of the model; must not exist.")]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Default: as the bundled model has.")]
TrainingSeed = Annotated[int, typer.Option("--seed", help="Of the training.")]
Seconds = Annotated[float, typer.Option("--duration", min=2, help="Seconds of each recording.")]
Channels = Annotated[int, typer.Option("--channels", min=8, help="Contacts of each recording.")]
Probes = Annotated[str, typer.Option("--probe", help="Probes, with commas: np1, np2 and others.")]
Noise = Annotated[str, typer.Option("--noise", help="Noise before the filter in uV, with commas.")]
Seeds = Annotated[str, typer.Option("--seed", help="Seeds, with commas.")]
Files = Annotated[list[Path] | None, typer.Option("--output", "-o", help="A new .json or .md file.")]

DETECTION_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks detection

  python -m steadyspike_benchmarks detection --probe np1 --noise 20 --seed 0 -o detection.json

  python -m steadyspike_benchmarks detection --probe np1 --channels 384 --every 8
"""


def detection(
    probe: Probes = "np1,np2",
    noise: Noise = "5,10,15,20",
    seed: Seeds = "0,1,2",
    duration: Seconds = 10.0,
    channels: Channels = 96,
    every: Annotated[int, typer.Option("--every", min=1, help="Keep each so-many-th contact.")] = 1,
    model: Annotated[str | None, typer.Option("--model", help="Default: the bundled one.")] = None,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Detect simulated spikes with steady_neural and with locally_exclusive at its best threshold."""
    with clear_errors(debug):
        from steadyspike_benchmarks import neural

        _write(
            output,
            neural.format_detection_table,
            lambda: neural.run_detection_benchmark(
                *_cases(probe, noise, seed),
                duration_s=duration,
                num_channels=channels,
                every=every,
                model=model,
                told=_tell,
            ),
        )


def localization_denoised(
    probe: Probes = "np1,np2",
    noise: Noise = "10,20",
    seed: Seeds = "0,1,2",
    duration: Seconds = 10.0,
    channels: Channels = 96,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Localize simulated spikes with steady_denoised_monopolar and with other methods."""
    with clear_errors(debug):
        from steadyspike_benchmarks import neural

        _write(
            output,
            neural.format_localization_table,
            lambda: neural.run_localization_benchmark(
                *_cases(probe, noise, seed), duration_s=duration, num_channels=channels, told=_tell
            ),
        )


def train_detector(
    output: ModelFolder,
    steps: Steps = None,
    duration: Seconds = 8.0,
    seed: TrainingSeed = 0,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train the bundled spike detector anew, on simulated recordings."""
    with clear_errors(debug):
        from steadyspike.training.spike_detector import train_spike_detector

        _train(train_spike_detector, output, steps, duration, seed, progress_bar)


def train_denoiser(
    output: ModelFolder,
    steps: Steps = None,
    duration: Seconds = 8.0,
    seed: TrainingSeed = 0,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train the bundled waveform denoiser anew, on simulated recordings."""
    with clear_errors(debug):
        from steadyspike.training.waveform_denoiser import train_waveform_denoiser

        _train(train_waveform_denoiser, output, steps, duration, seed, progress_bar)


def register(app: typer.Typer) -> None:
    """Add the commands of this file to ``python -m steadyspike_benchmarks``."""
    app.command("detection", epilog=DETECTION_EXAMPLES)(detection)
    app.command("localization-denoised")(localization_denoised)
    app.command("train-detector")(train_detector)
    app.command("train-denoiser")(train_denoiser)


def _train(
    train: Callable[..., Any],
    output: Path,
    steps: int | None,
    duration: float,
    seed: int,
    progress_bar: bool | None,
) -> None:
    if output.exists():
        raise UsageError(f"--output {output} exists already; choose another")
    from steadyspike_benchmarks.neural_recordings import simulate_training_recordings

    recordings, sortings, about = simulate_training_recordings(duration)
    options: dict[str, Any] = {} if steps is None else {"steps": steps}
    model = train(
        recordings,
        sortings,
        output,
        seed=seed,
        progress_bar=bool(progress_bar),
        license_name="mit",
        data_license="mit (simulated)",
        extra={"data": about},
        **options,
    )
    typer.echo(model.card)


def _cases(probe: str, noise: str, seed: str) -> tuple[list[str], list[float], list[int]]:
    from steadyspike.simulation.probes import PROBES

    probes = split_names(probe, PROBES, "--probe")
    levels, seeds = positive_numbers(noise, "--noise"), whole_numbers(seed, "--seed")
    if min(seeds) < 0:
        raise UsageError(f"--seed {seed} cannot work; allowed: seeds from 0 on")
    return probes, levels, seeds


def _write(
    output: list[Path] | None,
    table: Callable[[list[dict[str, Any]]], str],
    run: Callable[[], list[dict[str, Any]]],
) -> None:
    files = output or []
    wrong = [str(file) for file in files if file.suffix not in (".json", ".md")]
    if wrong:
        raise UsageError(f"--output {', '.join(wrong)} cannot be written; allowed: .json and .md")
    rows = run()
    for file in files:
        text = json.dumps(rows, indent=1) if file.suffix == ".json" else table(rows)
        file.write_text(text + "\n", encoding="utf8")
    typer.echo(table(rows))


def _tell(line: str) -> None:
    typer.echo(line, err=True)
