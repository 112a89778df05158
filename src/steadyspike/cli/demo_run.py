"""The demo: a drifting recording with known motion, corrected, measured and drawn.

The raw recording is simulated once and kept in memory as int16, as a probe delivers it. Each preset starts
there with filters of the same parameters: ours with steadyspike's bandpass and common reference, the others
with SpikeInterface's.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli.preset_run import PresetRun, filtered, run_preset
from steadyspike.cli.reporting import said_failures

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from spikeinterface import BaseRecording

    from steadyspike.simulation.drift import SimulatedDrift

OURS = "steady_nonrigid"
PRESETS = (OURS, "rigid_fast", "dredge_fast")
SCENARIO = "nonrigid_gradient"
AMPLITUDE_UM = 40.0
GAIN_UV = 2.34375
"""uV per step of the converter, as in Neuropixels 1.0 at gain 500."""
WARM_UP_S = 4.0
ZOOM_UM = 400.0
NEXT = "Now a recording of yours: steadyspike correct /data/my_run_g0 --output corrected writes such a report of it."
DOTS_PER_INCH = 150


def run_demo(
    folder: str | Path,
    *,
    duration_s: float = 60.0,
    num_channels: int = 96,
    seed: int = 3,
    presets: tuple[str, ...] = PRESETS,
    job_kwargs: dict[str, Any] | None = None,
    console: Console | None = None,
) -> dict[str, Any]:
    """Simulate, correct, compare, draw.

    Figures and results.json are written to `folder`, which is made if it is not there. The recording lasts
    `duration_s`, on a Neuropixels 1.0 probe of `num_channels`; the first one of `presets`, motion presets, is drawn.
    Returns what results.json holds: sizes, errors and times of each preset, versions and machine.
    """
    from rich.console import Console

    import steadyspike  # noqa: F401  (enters our presets into SpikeInterface's table)
    from steadyspike.core.environment import job_defaults

    console = Console() if console is None else console
    jobs = {"n_jobs": 1, "chunk_duration": "1s", "progress_bar": False, **(job_kwargs or {})}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with warnings.catch_warnings(), job_defaults(**jobs):
        warnings.simplefilter("ignore")
        with _step(console, f"simulating {duration_s:.0f} s of Neuropixels 1.0 on {num_channels} channels"):
            simulated, raw = simulate_raw(duration_s, num_channels, seed, jobs)
        with _step(console, "compiling (first time only) and warming up"):
            warm_up(raw, presets)
        runs = {}
        for preset in presets:
            with _step(console, f"correcting with {preset}"):
                runs[preset] = run_preset(preset, raw, simulated, jobs)
        uncorrected = _error_without_correction(simulated)
        console.print(comparison_table(runs, uncorrected))
        with _step(console, "drawing"):
            _draw(folder, runs, simulated)
    results = _results(runs, uncorrected, simulated, jobs, time.perf_counter() - start)
    with warnings.catch_warnings(action="ignore"), said_failures(), _step(console, "writing report.html"):
        _report(folder, *next(iter(runs.items())), results)
    (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")
    return results


def simulate_raw(
    duration_s: float, num_channels: int, seed: int, job_kwargs: dict[str, Any]
) -> tuple[SimulatedDrift, BaseRecording]:
    """Simulate the demo's recording and keep it in memory as a probe would deliver it.

    The raw recording is int16, with gain and offset to uV.
    """
    import spikeinterface.full as si

    from steadyspike.simulation.drift import simulate_drifting_recording

    simulated = simulate_drifting_recording(
        SCENARIO, num_channels=num_channels, duration_s=duration_s, seed=seed, amplitude_um=AMPLITUDE_UM
    )
    scaled = si.scale(simulated.recording, gain=1.0 / GAIN_UV, dtype="float32")
    raw = si.astype(scaled, "int16", round=True).save(format="memory", **job_kwargs)
    raw.set_channel_gains(GAIN_UV)
    raw.set_channel_offsets(0.0)
    return simulated, raw


def warm_up(raw: BaseRecording, presets: tuple[str, ...]) -> None:
    """Run each preset on a few seconds, so that what is timed later is no compilation."""
    import spikeinterface.full as si

    num_samples = min(raw.get_num_samples(), int(WARM_UP_S * raw.sampling_frequency))
    for preset in presets:
        short = filtered(raw.frame_slice(0, num_samples), preset)
        # one job: compiled code is found by later workers on disk
        corrected = si.correct_motion(
            short, preset=preset, estimate_motion_kwargs={"bin_s": 1.0}, n_jobs=1, progress_bar=False
        )
        corrected.get_traces(start_frame=0, end_frame=1000)


def comparison_table(runs: dict[str, PresetRun], uncorrected_um: float) -> Table:
    """Make a table of error and time, a column for each preset.

    `uncorrected_um` is the mean error of doing nothing.
    """
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title="Error against the truth, and time of each step", title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for preset in runs:
        table.add_column(preset, justify="right", no_wrap=True)
    table.add_column("none", justify="right", no_wrap=True)
    everyone = runs.values()
    errors = [f"{run.mean_error_um:.2f}" for run in everyone]
    table.add_row("mean error, um", *errors, f"{uncorrected_um:.2f}")
    table.add_row("99 % below, um", *(f"{run.worst_error_um:.2f}" for run in everyone))
    table.add_section()
    for step in dict.fromkeys(step for run in everyone for step in run.times_s):
        table.add_row(f"{step.replace('_', ' ')}, s", *(f"{run.times_s[step]:.1f}" for run in everyone))
    table.add_row("raw to corrected, s", *(f"{run.total_s:.1f}" for run in everyone), style="bold")
    table.caption = "The filters run inside the steps that read the recording."
    return table


def _error_without_correction(simulated: SimulatedDrift) -> float:
    from steadyspike.simulation.truth import motion_error, true_motion

    still = true_motion(simulated, np.arange(0.5, simulated.info["duration_s"]), np.array([0.0]))
    still.displacement[0][:] = 0.0
    return float(np.abs(motion_error(simulated, still)).mean())


def _draw(folder: Path, runs: dict[str, PresetRun], simulated: SimulatedDrift) -> None:
    from steadyspike.evaluation import figures as report
    from steadyspike.simulation.truth import true_motion

    name, run = next(iter(runs.items()))
    motion = run.motion_info["motion"]
    truth = true_motion(simulated, motion.temporal_bins_s[0], motion.spatial_bins_um)
    fine_times = np.arange(0.25, simulated.info["duration_s"], 0.5)
    fine_truth = true_motion(simulated, fine_times, np.linspace(*simulated.depth_range_um, 48))
    times = {preset: other.times_s for preset, other in runs.items()}
    errors = {preset: other.mean_error_um for preset, other in runs.items()}
    title = (
        f"{name} on {simulated.info['duration_s']:.0f} s of simulated Neuropixels 1.0: "
        f"motion found to {run.mean_error_um:.1f} µm"
    )
    figures = {
        "raster.png": report.plot_raster(run.motion_info, run.recording),
        "motion_map.png": report.plot_motion_map(motion, truth=truth),
        "peaks_on_probe.png": report.plot_peaks_on_probe(run.motion_info, run.recording),
        "run_times.png": report.plot_run_times(times),
        "demo.png": report.plot_overview(
            run.motion_info, run.recording, fine_truth, times, errors, title=title, zoom_um=ZOOM_UM
        ),
    }
    for file, figure in figures.items():
        figure.savefig(folder / file, dpi=DOTS_PER_INCH)


def _report(folder: Path, name: str, run: PresetRun, results: dict[str, Any]) -> None:
    """Write the report of the preset that is drawn."""
    from steadyspike.reports.run import run_of
    from steadyspike.reports.write import FILE, write_report

    info = {**run.motion_info, "run_times": run.times_s}
    about = run_of(info, name=f"demo: {name}", recording=run.recording)
    about.facts |= {"versions": results["versions"], "machine": results["machine"], "next": NEXT}
    write_report([about], folder / FILE)


def _results(
    runs: dict[str, PresetRun],
    uncorrected_um: float,
    simulated: SimulatedDrift,
    job_kwargs: dict[str, Any],
    total_s: float,
) -> dict[str, Any]:
    from steadyspike.core.environment import machine, versions

    return {
        "simulation": {**simulated.info, "num_jobs": job_kwargs["n_jobs"]},
        "uncorrected_mean_error_um": uncorrected_um,
        "presets": {
            preset: {
                "mean_error_um": run.mean_error_um,
                "error_99_percent_um": run.worst_error_um,
                "num_peaks": len(run.motion_info["peaks"]),
                "times_s": run.times_s,
                "raw_to_corrected_s": run.total_s,
            }
            for preset, run in runs.items()
        },
        "total_s": total_s,
        "versions": versions(),
        "machine": machine(),
    }


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    console.print(f"{what} ...", highlight=False)
    start = time.perf_counter()
    yield
    console.print(f"    {time.perf_counter() - start:.1f} s", highlight=False, style="dim")
