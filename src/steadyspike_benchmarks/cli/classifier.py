"""``python -m steadyspike_benchmarks classifier`` and ``embedding``: waveforms told apart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors

CLASSIFIER_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks classifier /data/zebra_finch_spikes

  python -m steadyspike_benchmarks classifier /data/zebra_finch_spikes --network discriminant,cnn --output classifier

  python -m steadyspike_benchmarks classifier /data/zebra_finch_spikes --network discriminant,cnn --rotate
"""

DataFolder = Annotated[
    Path | None,
    typer.Argument(
        help="With channel_spikes_K.npy, channel_background_K.npy and best_*_model.pth. "
        "Default: zebra_finch_spikes in the folder that STEADYSPIKE_DATA names."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands to ``python -m steadyspike_benchmarks``."""
    app.command(epilog=CLASSIFIER_EXAMPLES)(classifier)
    app.command()(embedding)
    app.command("train-classifier")(train_classifier)


def classifier(
    folder: DataFolder = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Trainings of each network.")] = 5,
    network: Annotated[
        str, typer.Option("--network", help="With commas: discriminant, cnn, gru.")
    ] = "discriminant",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for results.md, results.json and a figure."),
    ] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Instead: each channel is the test once; ours only, one seed.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Classify the zebra finch waveforms: the published networks, and ours trained anew with each seed."""
    with clear_errors(debug):
        from steadyspike.evaluation.figures.spike_classifier import plot_classifier_scores
        from steadyspike.training.spike_classifier_settings import NETWORKS
        from steadyspike_benchmarks import classifier as benchmark

        folder = _data_folder(folder)
        names = [name.strip() for name in network.split(",") if name.strip()]
        wrong = [name for name in names if name not in NETWORKS]
        if wrong or not names:
            raise UsageError(f"--network {network} is not known; allowed: {', '.join(NETWORKS)}")
        _check_new(output)
        if rotate:
            turns = benchmark.run_rotation(
                folder, networks=names, tell=lambda line: typer.echo(line, err=True)
            )
            text = benchmark.format_rotation_table(turns)
            typer.echo(text)
            _write(output, text, turns, {})
            return
        done = benchmark.run_classifier_benchmark(
            folder, seeds=range(seeds), networks=names, tell=lambda line: typer.echo(line, err=True)
        )
        text = benchmark.format_classifier_table(done.results)
        typer.echo(text)
        order = sorted(done.scores, key=lambda name: not name.startswith(benchmark.OURS))
        title = f"Channel {benchmark.TEST}, seen by no network"
        figure = plot_classifier_scores({name: done.scores[name] for name in order}, title=title)
        _write(output, text, done.results, {"scores.png": figure})


def embedding(
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Simulated recordings.")] = 3,
    units: Annotated[int, typer.Option("--units", min=2, help="Units near the contacts of a tetrode.")] = 4,
    duration: Annotated[float, typer.Option("--duration", min=5, help="Seconds of each recording.")] = 60.0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="New folder for results.md, results.json and a figure."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Cluster embedded waveforms of simulated tetrodes, and compare the clusters with the true units."""
    with clear_errors(debug):
        from steadyspike_benchmarks.embedding import format_embedding_table, run_embedding_benchmark

        _check_new(output)
        done = run_embedding_benchmark(
            seeds=range(seeds),
            num_units=units,
            duration_s=duration,
            tell=lambda line: typer.echo(line, err=True),
        )
        text = format_embedding_table(done.results)
        typer.echo(text)
        _write(output, text, done.results, {"embedding.png": done.figure})


def train_classifier(
    output: Annotated[Path, typer.Option("--output", "-o", help="The model folder that is written.")],
    folder: DataFolder = None,
    debug: Debug = False,
) -> None:
    """Train the bundled classifier of spikes and noise anew, on the zebra finch waveforms."""
    with clear_errors(debug):
        from steadyspike_benchmarks.classifier import train_bundled_classifier

        if output.exists():
            raise UsageError(f"{output} is there already; remove it, or choose another --output")
        model = train_bundled_classifier(_data_folder(folder), output)
        typer.echo(
            f"{output}: macro F1 on the test channel {model.config.extra['scores']['test']['macro_f1']:.4f}"
        )


def _data_folder(folder: Path | None) -> Path:
    if folder is not None:
        return folder
    if "STEADYSPIKE_DATA" not in os.environ:
        raise UsageError("there is no folder given, and STEADYSPIKE_DATA is not set")
    return Path(os.environ["STEADYSPIKE_DATA"]) / "zebra_finch_spikes"


def _check_new(output: Path | None) -> None:
    if output is not None:
        from steadyspike.cli.output import check_output

        check_output(output, False)


def _write(output: Path | None, text: str, results: object, figures: dict) -> None:
    if output is None:
        return
    from steadyspike.cli.output import new_folder

    with new_folder(output, False) as unfinished:
        (unfinished / "results.md").write_text(text + "\n", encoding="utf8")
        (unfinished / "results.json").write_text(json.dumps(results, indent=1), encoding="utf8")
        for name, figure in figures.items():
            figure.savefig(unfinished / name, dpi=100)
