"""What the first accelerated call on a machine takes, beside SpikeInterface's plain one.

Each call that labs make alone runs in two processes of its own, on a recording that lies on disk and is read in chunks
of 1 s: as it is, and accelerated, with no compiled kernel on the machine. What is timed begins with ``import
steadyspike``, where there is one, and ends with the last chunk; it is processor time of one thread, which other work on
the machine disturbs less.

Run as a module, with the folder of the recording, the name of a call and 0 or 1 for acceleration, it is such a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numba.core import event

from steadyspike_benchmarks.speed_parts import BAND, ONE_JOB, read_in_chunks

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

NUM_CHANNELS, DTYPE, DURATION_S, SEED = 384, "int16", 60.0, 0
MOST_PEAKS = {"center_of_mass": 100_000, "monopolar_triangulation": 20_000}
"""SpikeInterface's monopolar_triangulation takes milliseconds for each."""
PEAKS_PER_CHANNEL_AND_S = 5.0
ESTIMATION_S = {"decentralized": 60.0, "dredge_ap": 30.0}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def _node(name: str, **parameters: Any) -> Callable[[Path], Callable[[], Any]]:
    """Make a lazy recording and read it."""

    def prepare(folder: Path) -> Callable[[], Any]:
        import spikeinterface.full as si

        raw = si.load(folder / "recording")
        return lambda: read_in_chunks(getattr(si, name)(raw, **parameters))

    return prepare


def _of_recording(name: str, **parameters: Any) -> Callable[[Path], Callable[[], Any]]:
    """Compute something of the recording."""

    def prepare(folder: Path) -> Callable[[], Any]:
        import spikeinterface.full as si
        import spikeinterface.sortingcomponents.peak_detection  # noqa: F401

        raw = si.load(folder / "recording")
        return lambda: getattr(si, name)(raw, **parameters)

    return prepare


def _detection(folder: Path) -> Callable[[], Any]:
    import spikeinterface.full as si
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    raw = si.load(folder / "recording")
    levels = np.load(folder / "noise_levels.npy")
    return lambda: detect_peaks(raw, method="locally_exclusive", method_kwargs=dict(noise_levels=levels))


def _localization(method: str) -> Callable[[Path], Callable[[], Any]]:
    def prepare(folder: Path) -> Callable[[], Any]:
        import spikeinterface.full as si
        from spikeinterface.sortingcomponents.peak_localization import localize_peaks

        raw = si.load(folder / "recording")
        peaks = np.load(folder / "peaks.npy")
        some = peaks[np.linspace(0, len(peaks) - 1, min(MOST_PEAKS[method], len(peaks))).astype(int)]
        return lambda: localize_peaks(raw, some, method=method)

    return prepare


def _estimation(method: str) -> Callable[[Path], Callable[[], Any]]:
    def prepare(folder: Path) -> Callable[[], Any]:
        import spikeinterface.full as si
        from spikeinterface.sortingcomponents.motion import estimate_motion

        raw = si.load(folder / "recording")
        end = round(min(ESTIMATION_S[method], raw.get_duration()) * raw.sampling_frequency)
        raw = raw.frame_slice(0, end)
        with np.load(folder / "simulated_peaks.npz") as stored:
            peaks, locations = stored["peaks"], stored["locations"]
        inside = peaks["sample_index"] < end
        return lambda: estimate_motion(raw, peaks[inside], locations[inside], method=method)

    return prepare


def _interpolation(folder: Path) -> Callable[[], Any]:
    import spikeinterface.full as si
    from spikeinterface.core.motion import Motion
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    raw = si.load(folder / "recording")
    times = np.arange(0.5, raw.get_duration())
    depths = np.linspace(*np.percentile(raw.get_channel_locations()[:, 1], [0, 100]), 5)
    displacement = 15.0 * np.sin(times / 10.0)[:, np.newaxis] * np.linspace(0.5, 1.0, 5)
    motion = Motion(displacement, times, depths)
    return lambda: read_in_chunks(
        interpolate_motion(raw, motion, dtype="float32", border_mode="force_extrapolate")
    )


CALLS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "bandpass_filter": _node("bandpass_filter", **BAND),
    "highpass_filter": _node("highpass_filter", freq_min=300.0),
    "common_reference": _node("common_reference"),
    "phase_shift": _node("phase_shift"),
    "whiten (local)": _node("whiten", dtype="float32", mode="local", radius_um=100.0, seed=SEED),
    "detect_bad_channels": _of_recording("detect_bad_channels", seed=SEED),
    "get_noise_levels": _of_recording("get_noise_levels", random_slices_kwargs=dict(seed=SEED)),
    "detect_peaks locally_exclusive": _detection,
    "localize_peaks center_of_mass": _localization("center_of_mass"),
    "localize_peaks monopolar_triangulation": _localization("monopolar_triangulation"),
    "estimate_motion decentralized": _estimation("decentralized"),
    "estimate_motion dredge_ap": _estimation("dredge_ap"),
    "interpolate_motion": _interpolation,
}


def measure_first_calls(
    names: Sequence[str] = tuple(CALLS),
    duration_s: float = DURATION_S,
    num_channels: int = NUM_CHANNELS,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Run each call plainly, and accelerated without compiled kernels.

    Parameters
    ----------
    names : sequence of str
        Keys of `CALLS`.
    duration_s : float, default: 60.0
        Length of the recording in s.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe.
    tell : callable
        Called with a line of text after each call.

    Returns
    -------
    rows : list of dict
        "call", and the seconds "plain_s", "first_s" and, of that, "compiling_s".
    """
    rows = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prepare(folder, duration_s, num_channels)
        for name in names:
            with tempfile.TemporaryDirectory() as cache:
                plain, first = (_run(folder, name, accelerated, cache) for accelerated in (False, True))
            times = {"plain_s": plain["total_s"], "first_s": first["total_s"]}
            rows.append({"call": name, **times, "compiling_s": first["compiling_s"]})
            tell(format_first_calls(rows[-1:]).splitlines()[2])
    return rows


def prepare(folder: Path, duration_s: float, num_channels: int) -> None:
    """Write the recording and what calls take besides it."""
    import spikeinterface.full as si
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    import steadyspike
    from steadyspike_benchmarks.simulated_peaks import simulate_peaks
    from steadyspike_benchmarks.speed_parts import Data

    raw: BaseRecording = Data(num_channels, duration_s, DTYPE, SEED).raw
    raw.save(folder=folder / "recording", verbose=False, **ONE_JOB)
    with steadyspike.accelerate():
        levels = si.get_noise_levels(raw, return_in_uV=False, random_slices_kwargs=dict(seed=SEED))
        given = dict(noise_levels=levels)
        peaks = detect_peaks(raw, method="locally_exclusive", method_kwargs=given, job_kwargs=ONE_JOB)
    np.save(folder / "noise_levels.npy", levels)
    np.save(folder / "peaks.npy", peaks)
    drawn = simulate_peaks(num_channels, duration_s, PEAKS_PER_CHANNEL_AND_S * num_channels, seed=SEED)
    np.savez(folder / "simulated_peaks.npz", peaks=drawn.peaks, locations=drawn.peak_locations)


def _run(folder: Path, name: str, accelerated: bool, cache: str) -> dict[str, float]:
    environment = {**os.environ, **dict.fromkeys(THREADS, "1"), "NUMBA_CACHE_DIR": cache}
    arguments = [str(folder), name, str(int(accelerated))]
    done = subprocess.run(
        [sys.executable, "-m", "steadyspike_benchmarks.first_calls", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed: {done.stderr.strip().splitlines()[-1:]}")
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def call_once(folder: Path, name: str, accelerated: bool) -> dict[str, float]:
    """Make a call once, in this process, and return its processor time, and how much of it was compiling."""
    import spikeinterface.full as si

    si.set_global_job_kwargs(**ONE_JOB)
    call = CALLS[name](folder)
    compiling = CompilingTime()
    start = time.process_time()
    with event.install_listener("numba:compile", compiling):
        if accelerated:
            import steadyspike

            with steadyspike.accelerate(num_threads=1):
                call()
        else:
            call()
    return {"total_s": time.process_time() - start, "compiling_s": compiling.total_s}


class CompilingTime(event.Listener):
    """Adds up processor time of compiling; functions that are compiled for another one count with that."""

    def __init__(self) -> None:
        self.total_s, self._depth, self._start = 0.0, 0, 0.0

    def on_start(self, event: event.Event) -> None:
        """Be told by numba of a start."""
        if not self._depth:
            self._start = time.process_time()
        self._depth += 1

    def on_end(self, event: event.Event) -> None:
        """Be told by numba of an end."""
        self._depth -= 1
        if not self._depth:
            self.total_s += time.process_time() - self._start


def format_first_calls(rows: Sequence[dict[str, Any]]) -> str:
    """Write the rows as a Markdown table."""
    lines = [
        "| call | SpikeInterface (s) | accelerated, first (s) | of which compiling (s) | sooner |",
        "|---|---:|---:|---:|---|",
    ]
    for row in rows:
        seconds = " | ".join(f"{row[key]:.1f}" for key in ("plain_s", "first_s", "compiling_s"))
        sooner = "accelerated" if row["first_s"] <= row["plain_s"] else "SpikeInterface"
        lines.append(f"| {row['call']} | {seconds} | {sooner} |")
    limits = [f"{method} {most:,} peaks" for method, most in MOST_PEAKS.items()]
    limits += [f"{method} {seconds:g} s" for method, seconds in ESTIMATION_S.items()]
    return "\n".join([*lines, "", f"Processor time, one thread. At most: {', '.join(limits)}.", ""])


if __name__ == "__main__":
    print(json.dumps(call_once(Path(sys.argv[1]), sys.argv[2], bool(int(sys.argv[3])))))
