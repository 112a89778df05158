"""How long a report of hours of recording takes to make, how large it is, and how much memory that needs.

The spikes are simulated, and the estimate and its verdict are made beforehand, as `steadyspike correct` keeps them. The
traces are int16 noise, the same seconds again and again, filtered and corrected whenever they are read.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from steadyspike_benchmarks.memory import MB, peak_memory_mb, simulate_wandering_peaks, unread_recording
from steadyspike_benchmarks.watched import run_watched

BLOCK_S = 3600.0 / 512
COUNTS = 20.0
"""Standard deviation of the noise."""

SCRIPT = """
import json, sys
from steadyspike_benchmarks.report_size import Settings, measure_here
print(json.dumps(measure_here(Settings(**json.loads(sys.argv[1])))))
"""


@dataclass(frozen=True)
class Settings:
    """What one process measures.

    Parameters
    ----------
    hours : float
        Duration of the simulated recording.
    peaks_per_second : float, default: 1000.0
        On the whole probe.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe, counted from the tip.
    keep : str, default: ""
        Where the report stays; "": nowhere.
    """

    hours: float
    peaks_per_second: float = 1000.0
    num_channels: int = 384
    keep: str = ""


def run_report_benchmark(hours: list[float], keep: str = "", **settings: Any) -> list[dict[str, Any]]:
    """Make a report for each duration in a process of its own; what `measure_here` returned there.

    `keep` is the folder in which the reports stay, named by their hours.
    """
    results = []
    for number in hours:
        file = str(Path(keep).absolute() / f"report_{number:g}h.html") if keep else ""
        case = Settings(hours=number, keep=file, **settings)
        results.append(run_watched(SCRIPT, json.dumps(asdict(case))))
    return results


def measure_here(settings: Settings) -> dict[str, Any]:
    """Simulate, estimate, and time the report in this process.

    Returns
    -------
    result : dict
        The settings, "num_peaks", "seconds", "cpu_seconds" and "megabytes" of the report; in MB (1e6 bytes) "before_mb"
        and "peak_mb", the highest memory before it and with it.
    """
    import steadyspike

    info, recording = motion_info(settings)
    before_mb = peak_memory_mb()
    with TemporaryDirectory() as folder:
        file = Path(settings.keep or Path(folder) / "report.html")
        file.parent.mkdir(parents=True, exist_ok=True)
        start, cpu_start = time.perf_counter(), time.process_time()
        steadyspike.report(info, file, recording=recording)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        size = file.stat().st_size
    return dict(
        asdict(settings),
        num_peaks=len(info["peaks"]),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        megabytes=size / MB,
        before_mb=before_mb,
        peak_mb=peak_memory_mb(),
    )


def motion_info(settings: Settings) -> tuple[dict[str, Any], Any]:
    """Give the motion info of simulated peaks, with its verdict, and the filtered recording that they are of."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike

    simulated = simulate_wandering_peaks(settings.hours, settings.peaks_per_second, settings.num_channels)
    start = time.perf_counter()
    motion, extra = estimate_motion(
        simulated.recording,
        simulated.peaks,
        simulated.peak_locations,
        method="steady_auto",
        extra_outputs=True,
        progress_bar=False,
    )
    times = dict(estimate_motion=time.perf_counter() - start)
    raw = _traces(simulated.recording)
    recording = steadyspike.common_reference(steadyspike.bandpass_filter(raw))
    info = dict(
        peaks=simulated.peaks,
        peak_locations=simulated.peak_locations,
        motion=motion,
        run_times=times,
        parameters=dict(preset="steady_auto", estimate_motion_kwargs=dict(method="steady_auto")),
        **{name: extra[name] for name in ("explained", "displacement_sd_um", "motion_trust", "estimate")},
    )
    return info, recording


def _traces(recording: Any) -> Any:
    """Give int16 traces as long as a recording and on its probe, of which a few seconds are in memory."""
    import spikeinterface.full as si

    num_samples = recording.get_num_samples()
    block = unread_recording(BLOCK_S / 3600, recording.get_num_channels())
    block = si.scale(block, gain=COUNTS, dtype="int16").save(format="memory", verbose=False)
    times = -(-num_samples // block.get_num_samples())
    raw = si.concatenate_recordings([block] * times).frame_slice(0, num_samples)
    raw.set_probe(recording.get_probe())
    raw.set_channel_gains(2.34375)
    raw.set_channel_offsets(0.0)
    return raw


def format_report_table(results: list[dict[str, Any]]) -> str:
    """Write what was measured as Markdown, a row for each duration."""
    lines = [
        "| hours | channels | spikes | time (s) | processor time (s) | size (MB) | memory before (MB) "
        "| peak memory (MB) |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {one['hours']:g} | {one['num_channels']} | {one['num_peaks']:,} | {one['seconds']:.1f} | "
        f"{one['cpu_seconds']:.1f} | {one['megabytes']:.1f} | {one['before_mb']:.0f} | {one['peak_mb']:.0f} |"
        for one in results
    ]
    note = (
        "Noise, filtered, referenced and corrected as it is read. Fitting the interpolation to the traces is in the "
        "time; the estimate and its verdict are not."
    )
    return "\n".join([*lines, "", note])
