"""Benchmarks ``denoising`` and its relatives: quality, speed, detection and memory; bundled models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike.cli.options import Device, ProgressBar
from steadyspike_benchmarks.cli.parsing import positive_numbers, split_names, whole_numbers

Threads = Annotated[int, typer.Option("--threads", min=1, help="Of torch, on a CPU.")]
Study = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the study; what is there is not done again.")
]
Files = Annotated[list[Path] | None, typer.Option("--output", "-o", help="A .json or .md file to write.")]
Seeds = Annotated[str, typer.Option("--seed", help="Seeds of the recordings, with commas.")]
Channels = Annotated[
    int | None, typer.Option("--channels", min=2, help="Contacts. Default: as usual for the probe, 128.")
]

QUALITY_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks denoising -o study --network blindspot-small,unet_single_ephys_1024,ridge

  python -m steadyspike_benchmarks denoising -o study --blindspot-rate 1e-2,5e-3,2e-3 --unet-rate 3e-4,1e-4,3e-5

  python -m steadyspike_benchmarks denoising -o study --report-only
"""


def denoising(
    output: Study = Path("denoising-benchmark"),
    network: Annotated[str, typer.Option("--network", help="Networks, with commas; see below.")] = (
        "blindspot-small,unet_single_ephys_1024,ridge"
    ),
    probe: Annotated[str, typer.Option("--probe", help="Probes, with commas.")] = "np1,np2",
    seed: Seeds = "0",
    budget_s: Annotated[
        float, typer.Option("--budget-s", help="Wall-clock seconds of each training; above 0.")
    ] = 600.0,
    blindspot_rate: Annotated[
        str, typer.Option("--blindspot-rate", help="Learning rates to try, with commas. Default: its own.")
    ] = "",
    unet_rate: Annotated[str, typer.Option("--unet-rate", help="The same for the paper's network.")] = "",
    loss: Annotated[str, typer.Option("--loss", help="mse, mae or charbonnier; of all networks.")] = "mse",
    train_recordings: Annotated[
        int, typer.Option("--train-recordings", min=1, help="Recordings to train on.")
    ] = 3,
    train_s: Annotated[float, typer.Option("--train-s", min=2, help="Seconds of each of them.")] = 60.0,
    test_s: Annotated[float, typer.Option("--test-s", min=2, help="Seconds of the one judged on.")] = 20.0,
    noise: Annotated[
        str, typer.Option("--noise", help="coloured, or white in time; both are correlated in space.")
    ] = "coloured",
    channels: Channels = None,
    device: Device = "auto",
    threads: Threads = 1,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing; write tables and figure.")
    ] = False,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Compare networks after the same training time on the same simulated recordings.

    Each is judged on a recording of another seed, against its traces without noise. Of several learning rates, the
    one with the lowest held-out loss in training counts. Writes results.md, results.png and an evaluation of each.

    Networks: blindspot-tiny, blindspot-small, blindspot-base, each also with -centre at the end, blindspot-long,
    unet_single_ephys_1024, ridge.
    """
    with clear_errors(debug):
        from steadyspike.simulation.probes import PROBES
        from steadyspike_benchmarks.denoising import NETWORKS, UNET, StudySettings, run_denoising_benchmark
        from steadyspike_benchmarks.denoising_tables import write_denoising_report

        rates = {
            name: tuple(positive_numbers(text, option))
            for name, text, option in (
                ("blindspot", blindspot_rate, "--blindspot-rate"),
                (UNET, unet_rate, "--unet-rate"),
            )
            if text
        }
        settings = StudySettings(
            budget_s=budget_s,
            train_recordings=train_recordings,
            train_s=train_s,
            test_s=test_s,
            num_channels=channels,
            noise=noise,
            learning_rates=rates,
            loss=loss,
            device=device,
            num_threads=threads,
        )
        networks = split_names(network, NETWORKS, "--network")
        probes, seeds = split_names(probe, PROBES, "--probe"), whole_numbers(seed, "--seed")
        if not report_only:
            run_denoising_benchmark(
                output,
                networks=networks,
                probes=probes,
                seeds=seeds,
                settings=settings,
                tell=_tell,
                progress_bar=_shown(progress_bar),
            )
        typer.echo(write_denoising_report(output))


def denoising_speed(
    network: Annotated[str, typer.Option("--network", help="Networks, with commas. Default: five.")] = "",
    channels: Annotated[int, typer.Option("--channels", min=2, max=384, help="Contacts.")] = 384,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")] = 3,
    seconds: Annotated[float, typer.Option("--seconds", help="About what one of them takes.")] = 2.0,
    devices: Annotated[
        str,
        typer.Option(
            "--device", help="cpu, cuda, mps, with commas. Default: cpu, and a GPU if there is one."
        ),
    ] = "",
    parent: Annotated[
        str, typer.Option("--parent", help="What is denoised, with commas: memory, filtered (lazily).")
    ] = "memory,filtered",
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Count the frames that networks denoise in a second, beside the paper's network and the first design.

    On a CPU with one thread. Weights are not trained; what a pass takes does not depend on them.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks.denoising_speed import NETWORKS, SpeedSettings, run_denoising_speed
        from steadyspike_benchmarks.denoising_speed_table import format_denoising_speed

        chosen: dict[str, Any] = (
            {"networks": tuple(split_names(network, NETWORKS, "--network"))} if network else {}
        )
        if devices:
            chosen["devices"] = tuple(name.strip() for name in devices.split(","))
        chosen["parents"] = tuple(split_names(parent, ("memory", "filtered"), "--parent"))
        settings = SpeedSettings(num_channels=channels, repeats=repeats, seconds=seconds, **chosen)
        files = checked_files(output)
        results = run_denoising_speed(settings, _tell)
        write_results(files, results, format_denoising_speed(results))


def denoising_detection(
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, a folder, or hf:owner/name.")],
    output: Study = Path("detection-benchmark"),
    probe: Annotated[str, typer.Option("--probe", help="The model's.")] = "np1",
    noise: Annotated[
        str, typer.Option("--noise", help="Factors on the noise of 6 to 10 uV, with commas.")
    ] = "0.75,1,1.5",
    seed: Seeds = "0,1,2",
    duration: Annotated[float, typer.Option("--duration", min=2, help="Seconds of each recording.")] = 30.0,
    channels: Channels = None,
    device: Device = "auto",
    threads: Threads = 1,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Count true spikes that are detected with and without denoising, at equal rates of false positives.

    Beside the model: nothing, a band-pass, and a linear interpolation. Writes detection.md and detection.png.
    """
    with clear_errors(debug):
        from steadyspike.simulation.probes import PROBES
        from steadyspike_benchmarks.denoising_detection import run_detection_benchmark
        from steadyspike_benchmarks.denoising_detection_tables import write_detection_report

        probes = split_names(probe, PROBES, "--probe")
        if len(probes) > 1:
            raise UsageError(f"--probe {probe} names several; allowed: the one that the model is for")
        results = run_detection_benchmark(
            output,
            model,
            probe=probes[0],
            noise_factors=positive_numbers(noise, "--noise"),
            seeds=whole_numbers(seed, "--seed"),
            num_channels=channels,
            duration_s=duration,
            device=device,
            num_threads=threads,
            tell=_tell,
            progress_bar=_shown(progress_bar),
        )
        typer.echo(write_detection_report(output, results))


def denoising_memory(
    seconds: Annotated[
        str, typer.Option("--seconds", help="Lengths of the recordings, with commas.")
    ] = "10,20,40",
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="For Neuropixels 1.0. Default: blindspot-small, untrained."),
    ] = None,
    channels: Annotated[int, typer.Option("--channels", min=2, max=384, help="Contacts.")] = 384,
    chunk_s: Annotated[float, typer.Option("--chunk-s", help="Seconds read at once.")] = 1.0,
    limit_gb: Annotated[float, typer.Option("--limit-gb", help="Stop a process that takes more.")] = 4.0,
    device: Device = "cpu",
    threads: Threads = 1,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Measure the memory of bandpass, reference, denoising and motion correction, for several lengths."""
    with clear_errors(debug):
        from steadyspike_benchmarks.denoising_memory import format_denoising_memory, run_denoising_memory

        files = checked_files(output)
        results = run_denoising_memory(
            positive_numbers(seconds, "--seconds"),
            limit_mb=1000.0 * limit_gb,
            tell=_tell,
            num_channels=channels,
            chunk_s=chunk_s,
            model=model,
            device=device,
            num_threads=threads,
        )
        write_results(files, results, format_denoising_memory(results))


BUNDLED_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks train-bundled steady-np1 --output steady-np1 --work work
"""


def train_bundled_command(
    name: Annotated[str, typer.Argument(help="steady-np1 or steady-np2.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder; complete or not at all.")],
    work: Annotated[
        Path | None,
        typer.Option(
            "--work", help="Recordings and the unfinished training; kept. Default: beside --output."
        ),
    ] = None,
    budget_s: Annotated[
        float, typer.Option("--budget-s", help="Wall-clock seconds of the training.")
    ] = 3600.0,
    steps: Annotated[
        int | None,
        typer.Option("--steps", min=1, help="Of the training, beside its time. Default: any number."),
    ] = None,
    network: Annotated[
        str | None, typer.Option("--network", help="Such as blindspot-base. Default: the model's own.")
    ] = None,
    noise: Annotated[
        str, typer.Option("--noise", help="coloured, white, measured, or varied around what was measured.")
    ] = "coloured",
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Default: what suits the network.")
    ] = None,
    recordings: Annotated[int, typer.Option("--recordings", min=1, help="To train on.")] = 6,
    train_s: Annotated[float, typer.Option("--train-s", min=2, help="Seconds of each of them.")] = 60.0,
    tests: Annotated[int, typer.Option("--tests", min=1, help="Recordings to judge on.")] = 2,
    test_s: Annotated[float, typer.Option("--test-s", min=2, help="Seconds of each of them.")] = 30.0,
    channels: Channels = None,
    device: Device = "auto",
    threads: Threads = 1,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder.")] = False,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Train a bundled model on simulated recordings, judge it on others, and write it with its card.

    What was interrupted goes on from the work folder.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks.bundled import BundledSettings, train_bundled

        model = train_bundled(
            name,
            output,
            work=work,
            settings=BundledSettings(
                budget_s=budget_s,
                recordings=recordings,
                train_s=train_s,
                tests=tests,
                test_s=test_s,
                num_channels=channels,
                network=network,
                noise=noise,
                max_steps=steps,
                learning_rate=learning_rate,
                device=device,
                num_threads=threads,
            ),
            overwrite=overwrite,
            tell=_tell,
            progress_bar=_shown(progress_bar),
        )
        typer.echo(model.card)


def register(app: typer.Typer) -> None:
    """Add these commands to ``python -m steadyspike_benchmarks``."""
    app.command("denoising", epilog=QUALITY_EXAMPLES)(denoising)
    app.command("denoising-speed")(denoising_speed)
    app.command("denoising-detection")(denoising_detection)
    app.command("denoising-memory")(denoising_memory)
    app.command("train-bundled", epilog=BUNDLED_EXAMPLES)(train_bundled_command)


def _tell(line: str) -> None:
    typer.echo(line, err=True)


def _shown(progress_bar: bool | None) -> bool:
    return sys.stderr.isatty() if progress_bar is None else progress_bar


def checked_files(output: list[Path] | None) -> list[Path]:
    """Give the files to write; `UsageError` unless they are .json or .md."""
    files = output or []
    wrong = [str(file) for file in files if file.suffix not in (".json", ".md")]
    if wrong:
        raise UsageError(f"--output {', '.join(wrong)} cannot be written; allowed: .json and .md")
    return files


def write_results(files: list[Path], results: Any, table: str) -> None:
    """Write results or their table into files, and print the table."""
    for file in files:
        text = table if file.suffix == ".md" else json.dumps(results, indent=1)
        file.write_text(text + "\n", encoding="utf8")
    typer.echo(table)
