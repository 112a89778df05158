"""The commands of ``python -m steadyspike_benchmarks``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike.cli.options import Jobs, ProgressBar
from steadyspike_benchmarks.cli import classifier as benchmark_classifier
from steadyspike_benchmarks.cli import cluster as benchmark_cluster
from steadyspike_benchmarks.cli import denoising as benchmark_denoising
from steadyspike_benchmarks.cli import denoising_real
from steadyspike_benchmarks.cli import imposed as benchmark_imposed
from steadyspike_benchmarks.cli import kilosort as benchmark_kilosort
from steadyspike_benchmarks.cli import neural as benchmark_neural
from steadyspike_benchmarks.cli import report as benchmark_report
from steadyspike_benchmarks.cli import sensitivity as benchmark_sensitivity
from steadyspike_benchmarks.cli import sorting as benchmark_sorting
from steadyspike_benchmarks.cli import speed as benchmark_speed
from steadyspike_benchmarks.cli.parsing import positive_numbers, split_names, whole_numbers

app = typer.Typer(help="Measure speed and accuracy against SpikeInterface.", no_args_is_help=True)
benchmark_speed.register(app)
benchmark_classifier.register(app)
benchmark_cluster.register(app)
benchmark_denoising.register(app)
denoising_real.register(app)
benchmark_imposed.register(app)
benchmark_kilosort.register(app)
benchmark_neural.register(app)
benchmark_report.register(app)
benchmark_sensitivity.register(app)
benchmark_sorting.register(app)

MOTION_EXAMPLES = """
[bold]Examples[/bold]

  python -m steadyspike_benchmarks motion -o study --scenario bumps,still --probe np1 --seed 0

  python -m steadyspike_benchmarks motion -o study --probe np1,np2,linear16 --medicine-steps 500

  python -m steadyspike_benchmarks motion -o study --preset steady_nonrigid --estimate-only --refresh
"""


@app.command(epilog=MOTION_EXAMPLES)
def motion(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the study.")] = Path(
        "motion-benchmark"
    ),
    scenario: Annotated[str, typer.Option("--scenario", help="Scenarios, with commas. Default: all.")] = "",
    probe: Annotated[str, typer.Option("--probe", help="Probes, with commas; see below.")] = "np1,np2",
    preset: Annotated[
        str, typer.Option("--preset", help="Presets, with commas. Default: ours and theirs.")
    ] = "",
    seed: Annotated[str, typer.Option("--seed", help="Seeds, with commas.")] = "0,1,2",
    duration: Annotated[float, typer.Option("--duration", min=20, help="Seconds of each recording.")] = 100.0,
    channels: Annotated[
        int | None,
        typer.Option("--channels", min=2, help="Contacts of each probe. Default: as usual for it."),
    ] = None,
    medicine_steps: Annotated[
        int | None,
        typer.Option("--medicine-steps", min=1, help="Training steps of medicine. Default: its 10,000."),
    ] = None,
    medicine_python: Annotated[
        str | None, typer.Option("--medicine-python", help="A Python with medicine, where this has none.")
    ] = None,
    upstream_localization: Annotated[
        bool, typer.Option("--upstream-localization", help="Upstream presets localize with upstream's code.")
    ] = False,
    estimate_only: Annotated[
        bool, typer.Option("--estimate-only", help="Only recordings whose peaks are in the folder.")
    ] = False,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Measure again what other code or parameters measured.")
    ] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Measure nothing; write tables and figures.")
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--restart", help="Go on with the study in the folder, or refuse if there is one."
        ),
    ] = True,
    n_jobs: Jobs = 1,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Measure the errors and verdicts of motion presets on simulated drift whose truth is known.

    Probes: np1, np2, np2_4shank, linear16, np1_384, ultra, nhp. Peaks are kept in the folder, so that a changed
    estimator is measured again (--refresh) without simulating. Writes results.md and figures beside the results.
    """
    with clear_errors(debug):
        from steadyspike.cli.options import job_kwargs
        from steadyspike.simulation.drift import PROBES, SCENARIOS

        jobs = job_kwargs(n_jobs, "1s", progress_bar)
        scenarios = split_names(scenario, SCENARIOS, "--scenario") if scenario else None
        probes = split_names(probe, PROBES, "--probe")
        if not resume and output.is_dir() and any(output.iterdir()):
            raise UsageError(f"{output} holds an earlier study; remove it, or choose another --output")
        seeds = whole_numbers(seed, "--seed")
        from steadyspike_benchmarks.motion import StudyOptions, run_motion_benchmark
        from steadyspike_benchmarks.motion_report import write_motion_report

        options = StudyOptions(
            medicine_steps=medicine_steps,
            medicine_python=medicine_python,
            upstream_localization=upstream_localization,
            refresh=refresh,
            estimate_only=estimate_only,
            n_jobs=jobs["n_jobs"],
        )
        presets = split_names(preset, options.presets(), "--preset") if preset else None
        if not report_only:
            run_motion_benchmark(
                output,
                scenarios=scenarios,
                probes=probes,
                seeds=seeds,
                duration_s=duration,
                num_channels=channels,
                presets=presets,
                options=options,
                progress_bar=jobs["progress_bar"],
            )
        typer.echo(write_motion_report(output, options.presets()))


@app.command("real-peaks")
def real_peaks(
    folder: Annotated[
        Path, typer.Argument(help="With peak_times.npy (s), peak_depths.npy (um) and peak_amplitudes.npy.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the study; one that was begun is continued.")
    ] = Path("real-peaks-benchmark"),
    estimators: Annotated[
        str, typer.Option("--estimators", help="With commas; see below. Default: all that are installed.")
    ] = "",
    kinds: Annotated[str, typer.Option("--kinds", help="rigid, nonrigid or both.")] = "rigid,nonrigid",
    win_step_um: Annotated[
        float, typer.Option("--win-step-um", min=1, help="Distance of the depth windows.")
    ] = 200.0,
    win_scale_um: Annotated[
        float, typer.Option("--win-scale-um", min=1, help="Width of the depth windows.")
    ] = 300.0,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Compare motion estimators on real peaks: sharpness of the corrected depths, agreement, figures.

    Estimators: steady_decentralized, dredge_ap, dredge_ap_250um (with max_disp_um=250), medicine (needs the package
    medicine-neuro) and medicine_2500_steps. All but the first take from minutes to an hour for half an hour of peaks.
    """
    with clear_errors(debug):
        from steadyspike_benchmarks import real_peaks as benchmark

        results = benchmark.run_real_peaks_benchmark(
            folder,
            output,
            estimators=split_names(estimators, benchmark.ESTIMATORS, "--estimators") if estimators else None,
            kinds=split_names(kinds, benchmark.KINDS, "--kinds"),
            windows=benchmark.Windows(win_step_um=win_step_um, win_scale_um=win_scale_um),
            progress_bar=sys.stderr.isatty() if progress_bar is None else progress_bar,
        )
        typer.echo(benchmark.format_real_peaks_tables(results))


@app.command("real-sessions")
def real_sessions(
    folder: Annotated[
        Path, typer.Argument(help="With peak_times.npy (s), peak_depths.npy (um) and peak_amplitudes.npy.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="New folder for the results and figures.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Cut real peaks into three sessions, move these apart, and see how well they are put together again."""
    with clear_errors(debug):
        from steadyspike.cli.output import check_output, new_folder
        from steadyspike_benchmarks import real_sessions as benchmark

        if output is not None:
            check_output(output, False)
        done = benchmark.run_real_sessions(folder)
        text = benchmark.format_real_sessions(done.results)
        typer.echo(text)
        if output is None:
            return
        from steadyspike.evaluation.figures import plot_motion_map, plot_motion_trust

        with new_folder(output, False) as unfinished:
            (unfinished / "results.md").write_text(text + "\n", encoding="utf8")
            (unfinished / "results.json").write_text(json.dumps(done.results, indent=1), encoding="utf8")
            plot_motion_trust(done.trust, done.motion).savefig(unfinished / "verdict.png", dpi=100)
            for number, motion in enumerate(done.motions):
                plot_motion_map(motion).savefig(unfinished / f"session{number}.png", dpi=100)


@app.command()
def memory(
    hours: Annotated[str, typer.Option("--hours", help="Durations, with commas.")] = "1,2,4,8",
    peaks_per_second: Annotated[
        float, typer.Option("--peaks-per-second", help="On the whole probe; above 0.")
    ] = 120.0,
    method: Annotated[
        str, typer.Option("--method", help="Motion estimators of SpikeInterface, with commas.")
    ] = "steady_decentralized",
    limit_gb: Annotated[
        float | None, typer.Option("--limit-gb", min=0.1, help="Stop a process that takes more memory.")
    ] = None,
    limit_s: Annotated[
        float | None, typer.Option("--limit-s", min=1, help="Stop a process that takes longer.")
    ] = None,
    turnover_hours: Annotated[
        float | None,
        typer.Option("--turnover-hours", min=0.1, help="How long a unit stays on average. Default: always."),
    ] = None,
    costs: Annotated[
        bool,
        typer.Option("--costs", help="Instead: what one peak, cell and pair costs, for the forecast."),
    ] = False,
    output: Annotated[
        list[Path] | None, typer.Option("--output", "-o", help="A .json or .md file to write.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure the memory, time and error of motion estimation on hours of simulated peaks."""
    with clear_errors(debug):
        from steadyspike_benchmarks import memory as benchmark

        files = output or []
        wrong = [str(file) for file in files if file.suffix not in (".json", ".md")]
        if wrong:
            raise UsageError(f"--output {', '.join(wrong)} cannot be written; allowed: .json and .md")
        if costs:
            from steadyspike_benchmarks import motion_costs

            measured = motion_costs.measure_costs(), motion_costs.measure_detection()
            typer.echo(motion_costs.format_costs("steady_decentralized", *measured))
            return
        durations = positive_numbers(hours, "--hours")
        if not peaks_per_second > 0:
            raise UsageError(f"--peaks-per-second {peaks_per_second} cannot work; allowed: above 0")
        results = benchmark.run_memory_benchmark(
            durations,
            methods=[name.strip() for name in method.split(",")],
            limit_mb=None if limit_gb is None else 1000.0 * limit_gb,
            limit_s=limit_s,
            peaks_per_second=peaks_per_second,
            turnover_hours=turnover_hours,
        )
        table = benchmark.format_memory_table(results)
        for file in files:
            text = table if file.suffix == ".md" else json.dumps(results, indent=1)
            file.write_text(text + "\n", encoding="utf8")
        typer.echo(table)


@app.command()
def long(
    minutes: Annotated[str, typer.Option("--minutes", help="Durations, with commas.")] = "15,30",
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            help="Motion estimators, or dredge_ap_online, with commas; the first is the yardstick.",
        ),
    ] = "dredge_ap,steady_decentralized",
    peaks_per_second: Annotated[
        float, typer.Option("--peaks-per-second", help="On the whole probe; above 0.")
    ] = 120.0,
    nice: Annotated[
        int, typer.Option("--nice", min=0, max=19, help="Stand back behind other processes.")
    ] = 0,
    debug: Debug = False,
) -> None:
    """Compare time and error of motion estimators on a long recording's simulated peaks, in 9 windows."""
    with clear_errors(debug):
        from steadyspike_benchmarks import long as benchmark

        durations = positive_numbers(minutes, "--minutes")
        if not peaks_per_second > 0:
            raise UsageError(f"--peaks-per-second {peaks_per_second} cannot work; allowed: above 0")
        names = [name.strip() for name in methods.split(",")]
        results = benchmark.run_long_benchmark(durations, names, peaks_per_second=peaks_per_second, nice=nice)
        typer.echo(benchmark.format_long_table(results))


@app.command()
def verdicts(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder; what is there is not done again.")],
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Recordings of each kind.")] = 20,
    progress_bar: ProgressBar = None,
    debug: Debug = False,
) -> None:
    """Count the verdicts on estimated and on wrong motions of simulated peaks."""
    with clear_errors(debug):
        from steadyspike_benchmarks import verdicts as benchmark

        shown = sys.stderr.isatty() if progress_bar is None else progress_bar
        results = benchmark.run_verdict_study(output, num_seeds=seeds, progress_bar=shown)
        typer.echo(benchmark.format_confusion_table(results))


@app.command()
def time_bins(
    peaks_per_second: Annotated[
        str, typer.Option("--peaks-per-second", help="On the whole probe, with commas.")
    ] = "0.5,2,6",
    hours: Annotated[str, typer.Option("--hours", help="Durations, with commas.")] = "0.5,1,3",
    contacts: Annotated[str, typer.Option("--contacts", help="Of Neuropixels 1.0, with commas.")] = "24,384",
    drifts: Annotated[
        str, typer.Option("--drifts", help="Of none, slow and fast, with commas.")
    ] = "none,slow,fast",
    jitter_um: Annotated[
        float, typer.Option("--jitter", min=0, help="Scatter of a spike's depth, um.")
    ] = 2.0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of all that is random.")] = 0,
    debug: Debug = False,
) -> None:
    """Compare the time bins that steady_auto chooses for sparse spikes with the best fixed ones."""
    with clear_errors(debug):
        from steadyspike_benchmarks import time_bins as benchmark

        names = [name.strip() for name in drifts.split(",")]
        if unknown := [name for name in names if name not in benchmark.DRIFTS]:
            raise UsageError(
                f"--drifts {', '.join(unknown)} cannot work; allowed: {', '.join(benchmark.DRIFTS)}"
            )
        chosen = benchmark.cases(
            positive_numbers(peaks_per_second, "--peaks-per-second"),
            positive_numbers(hours, "--hours"),
            [round(count) for count in positive_numbers(contacts, "--contacts")],
            names,
            seed,
            jitter_um,
        )
        results = benchmark.run_sweep(chosen, lambda row: typer.echo(row, err=True))
        typer.echo(benchmark.format_sweep(results))
