"""``python -m steadyspike_benchmarks sorting``: units found after each treatment of a drifting recording."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike.cli.options import Jobs, ProgressBar
from steadyspike.simulation.probes import PROBES
from steadyspike.simulation.scenarios import SCENARIOS
from steadyspike_benchmarks.cli.parsing import positive_numbers, split_names, whole_numbers

EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks sorting -o study --probe np1 --channels 96 --seed 0,1,2,3,4

  python -m steadyspike_benchmarks sorting -o study --treatment static,uncorrected,steady_auto --sorter lupin

  python -m steadyspike_benchmarks sorting -o study --hybrid my_recording --sorter kilosort4
"""


def register(app: typer.Typer) -> None:
    """Add the command to the benchmarks'."""
    app.command(epilog=EXAMPLES)(sorting)


def sorting(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the study.")] = Path(
        "sorting-benchmark"
    ),
    scenario: Annotated[
        str, typer.Option("--scenario", help="Scenarios, with commas.")
    ] = "nonrigid_gradient,steps,random_walk,still",
    probe: Annotated[str, typer.Option("--probe", help="Probes, with commas.")] = "np1,np2",
    channels: Annotated[
        int | None, typer.Option("--channels", min=2, help="Contacts. Default: as usual for the probe.")
    ] = None,
    amplitude: Annotated[
        float | None, typer.Option("--amplitude", min=0, help="Peak to peak, um. Default: the scenario's.")
    ] = None,
    noise: Annotated[str, typer.Option("--noise", help="Noise in uV, with commas.")] = "7",
    duration: Annotated[float, typer.Option("--duration", min=10, help="Seconds of each recording.")] = 120.0,
    seed: Annotated[str, typer.Option("--seed", help="Seeds, with commas.")] = "0,1,2,3,4",
    treatment: Annotated[
        str,
        typer.Option(
            "--treatment",
            help="Treatments, with ';' between. Default: all but those that do something twice, as 'filtered, "
            "steady_auto, motion twice'.",
        ),
    ] = "",
    sorter: Annotated[
        str,
        typer.Option(
            "--sorter", help="With commas; 'none': only scores of traces. Default: SpikeInterface's own."
        ),
    ] = "",
    hybrid: Annotated[
        str, typer.Option("--hybrid", help="A saved recording to which known units are added instead.")
    ] = "",
    n_jobs: Jobs = 1,
    progress_bar: ProgressBar = True,
    debug: Debug = False,
) -> None:
    """Count the units that sorters find after each treatment of a drifting recording."""
    with clear_errors(debug):
        from steadyspike_benchmarks.sorting.cases import HybridCase, SimulatedCase
        from steadyspike_benchmarks.sorting.plots import plot_units
        from steadyspike_benchmarks.sorting.study import run_sorting_benchmark
        from steadyspike_benchmarks.sorting.tables import format_sorting_tables
        from steadyspike_benchmarks.sorting.treatments import choose_treatments

        seeds = whole_numbers(seed, "--seed")
        if hybrid:
            cases = [HybridCase(hybrid, each) for each in seeds]
        else:
            cases = [
                SimulatedCase(motion, kind, each, channels, duration, amplitude, level)
                for kind in split_names(probe, PROBES, "--probe")
                for motion in split_names(scenario, SCENARIOS, "--scenario")
                for level in positive_numbers(noise, "--noise")
                for each in seeds
            ]
        chosen = choose_treatments([name.strip() for name in treatment.split(";")] if treatment else None)
        results = run_sorting_benchmark(
            output, cases, chosen, sorter_names(sorter), n_jobs=n_jobs, progress_bar=progress_bar
        )
        tables = format_sorting_tables(results)
        (output / "tables.md").write_text(tables + "\n", encoding="utf8")
        if (figure := plot_units(results)) is not None:
            figure.savefig(output / "units.png", dpi=130)
        typer.echo(tables)


def sorter_names(text: str) -> list[str]:
    """Read names of installed sorters with commas; ``none`` for none, no text for SpikeInterface's own."""
    if text == "none":
        return []
    from spikeinterface.sorters import installed_sorters, sorter_dict

    from steadyspike_benchmarks.sorting.study import SORTERS

    names = split_names(text or ",".join(SORTERS), sorter_dict, "--sorter")
    missing = [name for name in names if name not in installed_sorters()]
    if missing:
        raise UsageError(
            f"--sorter {', '.join(missing)}: not installed; installed: {', '.join(installed_sorters())}"
        )
    return names
