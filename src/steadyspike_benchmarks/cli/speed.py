"""Benchmarks of speed against SpikeInterface: ``speed``, ``goals``, ``scripts``, ``limits`` and others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike_benchmarks.cli.parsing import split_names, whole_numbers

SPEED_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks speed --channels 128 --no-whole

  python -m steadyspike_benchmarks speed --channels 128,384 --output speed.json --output speed.md
"""


def speed(
    channels: Annotated[
        str, typer.Option("--channels", help="Numbers of channels, with commas.")
    ] = "128,384",
    dtypes: Annotated[
        str, typer.Option("--dtype", help="Types of the raw samples, with commas.")
    ] = "float32,int16",
    parts: Annotated[
        str, typer.Option("--parts", help="Which parts, with commas; see below. Default: all.")
    ] = "",
    calls: Annotated[
        str,
        typer.Option(
            "--calls", help="Which of SpikeInterface's own calls to accelerate; see below. Default: all."
        ),
    ] = "",
    duration: Annotated[
        float, typer.Option("--duration", min=2, help="Seconds of data for each part.")
    ] = 20.0,
    whole: Annotated[
        bool, typer.Option("--whole/--no-whole", help="Also from raw to corrected; upstream takes minutes.")
    ] = True,
    whole_duration: Annotated[
        float, typer.Option("--whole-duration", min=10, help="Seconds of data from raw to corrected.")
    ] = 30.0,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated data.")] = 0,
    output: Annotated[
        list[Path] | None,
        typer.Option("--output", "-o", help="A .json, .md or .png file; a .json that is there is continued."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Time each part beside its twin in SpikeInterface, and SpikeInterface's own calls with and without acceleration.

    Same arrays, one process, one thread; accelerated calls with all cores too. Data lie in memory and are read in
    chunks of 1 s; kernels are compiled beforehand.

    Parts: bandpass, reference, phase, chained, front, interpolate, localize, estimate; or none.

    Calls: bandpass_filter, common_reference, detect_peaks, localize_peaks, ...: all whose name begins so; or none.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks import speed as benchmark

        files = output or []
        wrong = [str(file) for file in files if file.suffix not in (".json", ".md", ".png")]
        if wrong:
            raise UsageError(f"--output {', '.join(wrong)} cannot be written; allowed: .json, .md and .png")
        settings = benchmark.Settings(
            channels=tuple(whole_numbers(channels, "--channels")),
            dtypes=tuple(split_names(dtypes, ("float32", "int16"), "--dtype")),
            parts=tuple(_beginning_with(parts, benchmark.PARTS, "--parts")),
            calls=tuple(_beginning_with(calls, benchmark.CALLS, "--calls")),
            duration_s=duration,
            whole_duration_s=whole_duration if whole else None,
            repeats=repeats,
            seed=seed,
        )
        json_file = next((file for file in files if file.suffix == ".json"), None)
        results = benchmark.run_speed_benchmark(settings, json_file, tell)
        table = benchmark.format_speed_table(results)
        for file in files:
            if file.suffix == ".md":
                file.write_text(table, encoding="utf8")
            if file.suffix == ".png":
                from steadyspike_benchmarks.figures.speed import plot_accelerated_calls

                shown = [row for row in results["rows"] if row["part"] in benchmark.CALLS]
                plot_accelerated_calls(shown).savefig(file)
        typer.echo(table)


def compile_command(
    calls: Annotated[
        str,
        typer.Option("--calls", help="Which of SpikeInterface's calls; all whose name begins so; or none."),
    ] = "",
    duration: Annotated[
        float, typer.Option("--duration", min=2, help="Seconds of the recording that is called on.")
    ] = 60.0,
    debug: Debug = False,
) -> None:
    """Time the compilation that the first correction on a machine waits for, and how little later ones do.

    Then the first accelerated call of each kind, with compilation, beside SpikeInterface's plain one: in processes of
    their own with one thread, on 384 channels of int16 on the disk.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks import first_calls
        from steadyspike_benchmarks.compilation import measure_compilation

        names = _beginning_with(calls, first_calls.CALLS, "--calls")
        measured = measure_compilation()
        for which in ("first", "second"):
            total, compiling = measured[f"{which}_s"], measured[f"{which}_compiling_s"]
            typer.echo(f"{which} process: {total:.1f} s, of which compiling {compiling:.1f} s")
        if names:
            typer.echo(
                first_calls.format_first_calls(first_calls.measure_first_calls(names, duration, tell=tell))
            )


def scripts(
    preset: Annotated[
        str, typer.Option("--preset", help="SpikeInterface's motion presets, with commas.")
    ] = "rigid_fast,kilosort_like,nonrigid_accurate",
    channels: Annotated[int, typer.Option("--channels", min=2, max=384, help="Contacts.")] = 128,
    duration: Annotated[float, typer.Option("--duration", min=2, help="Seconds of the recording.")] = 100.0,
    dtype: Annotated[str, typer.Option("--dtype", help="float32 or int16, of the raw samples.")] = "float32",
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Runs; the median counts.")] = 3,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="A .json or .md file to write.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Run a script of SpikeInterface as it is and with acceleration.

    It filters, references, corrects motion, and reads the corrected traces once. Each run is in a process of its own,
    with one thread; the script is the same, and ``steadyspike run`` accelerates it.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks import whole_scripts as benchmark

        files = output or []
        wrong = [str(file) for file in files if file.suffix not in (".json", ".md")]
        if wrong:
            raise UsageError(f"--output {', '.join(wrong)} cannot be written; allowed: .json and .md")
        results = benchmark.run_whole_scripts(
            [name.strip() for name in preset.split(",")],
            duration,
            channels,
            repeats,
            tell,
            split_names(dtype, ("float32", "int16"), "--dtype")[0],
        )
        table = benchmark.format_whole_scripts(results)
        for file in files:
            text = table if file.suffix == ".md" else json.dumps(results, indent=1) + "\n"
            file.write_text(text, encoding="utf8")
        typer.echo(table)


def goals(
    channels: Annotated[
        int, typer.Option("--channels", min=8, help="Contacts, but for whole scripts.")
    ] = 384,
    duration: Annotated[float, typer.Option("--duration", min=2, help="Seconds for parts and chains.")] = 4.0,
    whole: Annotated[
        bool, typer.Option("--whole/--no-whole", help="Also whole scripts, for minutes.")
    ] = True,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")] = 3,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A .json file to write.")] = None,
    debug: Debug = False,
) -> None:
    """Print what acceleration is meant to reach, and what it reaches here, in one table."""
    with clear_errors(debug):
        from steadyspike_benchmarks import goals as benchmark

        script_s = benchmark.SCRIPT_S if whole else None
        results = benchmark.run_goals(duration, repeats, script_s, channels, tell)
        if output is not None:
            output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf8")
        typer.echo(benchmark.format_goals(results))


def limits(
    channels: Annotated[int, typer.Option("--channels", min=2, help="Contacts.")] = 384,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measurements; the median counts.")] = 5,
    debug: Debug = False,
) -> None:
    """Print what accelerated kernels reach beside what memory and arithmetic of this machine would allow."""
    with clear_errors(debug):
        from steadyspike_benchmarks.kernel_limits import format_kernel_limits, run_kernel_limits

        typer.echo(format_kernel_limits(run_kernel_limits(channels, repeats=repeats, tell=tell)))


def monopoles(
    spikes: Annotated[
        int, typer.Option("--spikes", min=20, help="Simulated for each layout and noise.")
    ] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the simulated data.")] = 0,
    debug: Debug = False,
) -> None:
    """Localize simulated sources by monopolar_triangulation, as it is and accelerated, and by steady_monopolar."""
    with clear_errors(debug):
        from steadyspike_benchmarks.monopoles import format_monopoles, run_monopoles

        typer.echo(format_monopoles(run_monopoles(num_spikes=spikes, seed=seed, tell=tell)))


def delays(debug: Debug = False) -> None:
    """Print how exactly steady_phase_shift delays, by bands of frequency."""
    with clear_errors(debug):
        from steadyspike_benchmarks.delays import format_delays, run_delays

        typer.echo(format_delays(run_delays()))


def register(app: typer.Typer) -> None:
    """Add these commands to ``python -m steadyspike_benchmarks``."""
    app.command(epilog=SPEED_EXAMPLES)(speed)
    app.command()(goals)
    app.command()(scripts)
    app.command()(limits)
    app.command()(monopoles)
    app.command()(delays)
    app.command("compile")(compile_command)


def tell(line: str) -> None:
    """Say a line of progress."""
    typer.echo(line, err=True)


def _beginning_with(text: str, allowed: Iterable[str], option: str) -> list[str]:
    """Read names with commas, each of which stands for all that begin with it; no text for all, and "none" for none."""
    names = list(allowed)
    if text in ("", "none"):
        return names if not text else []
    chosen = {
        part.strip(): [name for name in names if name.startswith(part.strip())] for part in text.split(",")
    }
    unknown = [part for part, found in chosen.items() if not found]
    if unknown:
        raise UsageError(f"{option} {', '.join(unknown)} is unknown; allowed: {', '.join(names)}, none")
    return list(dict.fromkeys(name for found in chosen.values() for name in found))
