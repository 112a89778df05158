"""What a channel-hour takes, part by part, and what that makes of a lab's day: measured here, extrapolated on paper."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from steadyspike_benchmarks.cluster.wandering import WanderingRecording
from steadyspike_benchmarks.memory import MB, SAMPLING_FREQUENCY, peak_memory_mb
from steadyspike_benchmarks.memory import Settings as MotionSettings
from steadyspike_benchmarks.memory import measure as measure_motion
from steadyspike_benchmarks.watched import run_watched

PARTS = ("read and preprocess", "detect and localize", "interpolate and save", "denoise")
MOTION = "estimate motion"
INCLUDES = {
    "detect and localize": "read and preprocess",
    "interpolate and save": "read and preprocess",
    "denoise": "read and preprocess",
}
"""Parts that read preprocessed traces, which takes the time of another one once more."""
PLANS = {
    "six Quad Base probes, 2 h": (6 * 1536, 2.0),
    "384 channels, 24 h": (384, 24.0),
}
"""Channels and hours."""
NETWORKS_GBIT = (1, 10)
SAMPLE_BYTES = 2
SCRIPT = """
import json, sys
from steadyspike_benchmarks.cluster.sizing import PartSettings, measure_here
print(json.dumps(measure_here(PartSettings(**json.loads(sys.argv[1])))))
"""


@dataclass(frozen=True)
class PartSettings:
    """What one process measures: a part, on a recording in a folder; its chunks are of a second."""

    part: str
    recording: str
    seconds: float
    num_channels: int


def run_sizing(
    seconds: float = 10.0,
    motion_hours: float = 1.0,
    num_channels: int = 384,
    spikes_per_second: float = 300.0,
    told: Any = print,
) -> list[dict[str, Any]]:
    """Measure each part in a process of its own, with one thread.

    Parameters
    ----------
    seconds : float, default: 10.0
        Of the simulated recording on which all parts but the motion are measured, above 1.
    motion_hours : float, default: 1.0
        Of the simulated peaks of which the motion is estimated, above 0.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe; 2 to 384.
    spikes_per_second : float, default: 300.0
        On the whole probe, above 0.
    told : callable
        Takes the name of each part before it is measured.

    Returns
    -------
    results : list of dict
        For each part its "part", "hours" and "num_channels", "cpu_seconds" (without what is read and preprocessed for
        it), "peak_mb", the memory of its process, and "imports_mb", what that is before the part begins; and
        "once_seconds", the processor time of the first second, with what is done once.
    """
    results = []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "recording"
        recording = WanderingRecording(seconds / 3600, num_channels, spikes_per_second)
        recording.save(folder=place, n_jobs=1, progress_bar=False, verbose=False)
        for part in PARTS:
            told(part)
            case = PartSettings(part, str(place), recording.get_total_duration(), num_channels)
            results.append(run_watched(SCRIPT, json.dumps(asdict(case))))
    taken = {one["part"]: one["cpu_seconds"] for one in results}
    for one in results:
        one["cpu_seconds"] = max(0.0, one["cpu_seconds"] - taken.get(INCLUDES.get(one["part"], ""), 0.0))
    told(MOTION)
    settings = MotionSettings(
        hours=motion_hours,
        peaks_per_second=spikes_per_second,
        num_channels=num_channels,
        method="steady_auto",
    )
    motion = measure_motion(settings)
    kept = ("hours", "num_channels", "cpu_seconds", "peak_mb", "imports_mb")
    return [*results, {"part": MOTION, **{name: motion[name] for name in kept}}]


def measure_here(settings: PartSettings) -> dict[str, Any]:
    """Measure a part in this process, less what it takes on one second: what a recording of any length takes once."""
    import spikeinterface.full as si

    raw = si.load(settings.recording)
    work = _part(settings.part, raw)
    imports_mb = peak_memory_mb()
    second = raw.frame_slice(0, round(SAMPLING_FREQUENCY))
    work(second)
    taken = []
    for one in (second, raw):
        start = time.process_time()
        work(one)
        taken.append(time.process_time() - start)
    return dict(
        part=settings.part,
        hours=(settings.seconds - 1) / 3600,
        num_channels=settings.num_channels,
        once_seconds=taken[0],
        cpu_seconds=max(0.0, taken[1] - taken[0]),
        peak_mb=peak_memory_mb(),
        imports_mb=imports_mb,
    )


def _part(name: str, raw: Any) -> Any:
    import steadyspike
    from steadyspike.peaks.on_disk import compute_peaks

    jobs = dict(n_jobs=1, chunk_duration="1s", progress_bar=False)
    if name == "read and preprocess":
        return lambda recording: _read(_preprocessed(recording), 1.0)
    if name == "denoise":
        return lambda recording: _read(steadyspike.denoise(_preprocessed(recording, freq_max=None)), 1.0)

    def detect(recording: Any) -> None:
        with tempfile.TemporaryDirectory() as folder:
            compute_peaks(_preprocessed(recording), Path(folder) / "peaks", preset="steady_auto", **jobs)

    def save(recording: Any) -> None:
        from steadyspike.cluster import save_recording

        corrected = steadyspike.interpolate_motion(_preprocessed(recording), motion, dtype="int16")
        with tempfile.TemporaryDirectory() as folder:
            save_recording(corrected, Path(folder) / "traces.zarr", **jobs)

    motion = _motion(raw) if name == "interpolate and save" else None
    return {"detect and localize": detect, "interpolate and save": save}[name]


def _preprocessed(recording: Any, **changes: Any) -> Any:
    """Apply the steps of the preset neuropixels1, but for the search for bad channels, which reads 20 chunks."""
    import spikeinterface.full as si

    import steadyspike
    from steadyspike.cli.reading import FINDERS

    steps = [one for one in steadyspike.load_preset("neuropixels1").steps if one["name"] not in FINDERS]
    for step in steps:
        if step["name"] == "steady_bandpass_filter":
            step["params"] = {**step["params"], **changes}
    return si.apply_preprocessing_pipeline(recording, steps)


def _motion(recording: Any) -> Any:
    """Give a motion of 10 windows that moves 10 um within the recording."""
    import numpy as np
    from spikeinterface.core.motion import Motion

    depths = recording.get_channel_locations()[:, 1]
    times = np.arange(0.5, recording.get_total_duration(), 1.0)
    windows = np.linspace(depths.min(), depths.max(), 10)
    displacement = np.linspace(-5, 5, times.size)[:, np.newaxis] * np.linspace(0.8, 1.2, windows.size)
    return Motion([displacement], [times], windows)


def _read(recording: Any, chunk_s: float) -> None:
    step = round(chunk_s * recording.sampling_frequency)
    for start in range(0, recording.get_num_samples(), step):
        recording.get_traces(start_frame=start, end_frame=min(start + step, recording.get_num_samples()))


def per_channel_hour(result: dict[str, Any]) -> float:
    """Give the processor seconds of a part for an hour of one channel."""
    return float(result["cpu_seconds"] / (result["hours"] * result["num_channels"]))


def format_sizing(results: list[dict[str, Any]]) -> str:
    """Write what was measured, and what it makes of `PLANS`, as Markdown."""
    lines = [
        "| part | processor s per channel-hour | times real time, 384 channels | memory of a process (MB) |",
        "|---|---:|---:|---:|",
    ]
    for one in results:
        seconds = per_channel_hour(one)
        lines.append(
            f"| {one['part']} | {seconds:.2f} | {3600 / (384 * seconds):.1f} | {one['peak_mb']:.0f} |"
            if seconds > 0
            else f"| {one['part']} | 0 | | {one['peak_mb']:.0f} |"
        )
    return "\n".join([*lines, "", *_format_plans(results), "", *_format_limits(results)])


def _format_plans(results: list[dict[str, Any]]) -> list[str]:
    """Say how long each of the plans takes on one core, and how large it is."""
    lines = ["| | " + " | ".join(PLANS) + " |", "|---|" + "---:|" * len(PLANS)]
    rows = {"channel-hours": [f"{channels * hours:,.0f}" for channels, hours in PLANS.values()]}
    rows["raw int16"] = [
        f"{channels * hours * 3600 * SAMPLING_FREQUENCY * SAMPLE_BYTES / 1e12:.2f} TB"
        for channels, hours in PLANS.values()
    ]
    for one in results:
        rows[f"{one['part']}, core-hours"] = [
            f"{per_channel_hour(one) * channels * hours / 3600:.1f}" for channels, hours in PLANS.values()
        ]
    return [*lines, *(f"| {name} | {' | '.join(values)} |" for name, values in rows.items())]


def _format_limits(results: list[dict[str, Any]]) -> list[str]:
    """Say what a worker reads and writes in a second, and how many of them fill a network."""
    bytes_per_hour = 3600 * SAMPLING_FREQUENCY * SAMPLE_BYTES
    of = {one["part"]: per_channel_hour(one) for one in results}
    read = of["read and preprocess"]
    needs = {
        "detect and localize": (read + of["detect and localize"], 1),
        "interpolate and save": (read + of["interpolate and save"], 2),
        "denoise": (read + of["denoise"], 1),
    }
    lines = [
        "| a worker (one core) that preprocesses and | moves (MB/s) | "
        + " | ".join(f"workers that fill {speed} Gbit/s" for speed in NETWORKS_GBIT)
        + " |",
        "|---|---:|" + "---:|" * len(NETWORKS_GBIT),
    ]
    for name, (seconds, times) in needs.items():
        rate = times * bytes_per_hour / seconds / MB
        filled = " | ".join(f"{speed * 1000 / 8 / rate:.1f}" for speed in NETWORKS_GBIT)
        lines.append(f"| {name} | {rate:.0f} | {filled} |")
    return lines
