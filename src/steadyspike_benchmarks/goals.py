"""What acceleration is meant to reach, and what it reaches on this machine, in one table.

Same arrays, runs in turns, medians, as in `speed` and `whole_scripts`, of which most rows come. In addition: the
preprocessing scripts of labs as SpikeInterface has them, accelerated; the same chain in one and in two threads; and
whole scripts that find no compiled kernel.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from steadyspike.core.environment import job_defaults, machine, versions
from steadyspike_benchmarks import whole_scripts
from steadyspike_benchmarks.accelerated_parts import Material, accelerated_pair, chain, read
from steadyspike_benchmarks.speed import measure, one_thread
from steadyspike_benchmarks.speed_parts import ONE_JOB, PARTS, Data, Pair

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

CHANNELS, DTYPE = 384, "int16"
SCRIPT_CHANNELS, SCRIPT_S = 128, 60.0
LEAST = {"phase": 8.0, "front": 14.0, "detect_bad_channels": 10.0, "threads": 1.8}
MOST_FRONT_MS = 60.0
LEAST_SCRIPTS = {"rigid_fast": 10.0, "kilosort_like": 10.0, "nonrigid_accurate": 30.0}


def aind(raw: BaseRecording) -> BaseRecording:
    """The chain of the Allen Institute's pipeline: phase shift, highpass, bad channels, median reference."""
    import spikeinterface.full as si

    filtered = si.highpass_filter(si.phase_shift(raw), freq_min=300.0)
    si.detect_bad_channels(filtered, num_random_chunks=10, seed=0)
    return si.common_reference(filtered)


def ibl(raw: BaseRecording) -> BaseRecording:
    """The chain of the International Brain Laboratory: highpass, phase shift, bad channels, highpass in space."""
    import spikeinterface.full as si

    shifted = si.phase_shift(si.highpass_filter(raw, freq_min=300.0))
    si.detect_bad_channels(shifted, num_random_chunks=10, seed=0)
    return si.highpass_spatial_filter(shifted, n_channel_pad=min(60, raw.get_num_channels()))


def kilosort(raw: BaseRecording) -> BaseRecording:
    """A chain as Kilosort's: median reference, highpass, local whitening."""
    import spikeinterface.full as si

    referenced = si.highpass_filter(si.common_reference(raw, dtype="float32"), freq_min=300.0)
    return si.whiten(referenced, dtype="float32", mode="local", radius_um=150.0, seed=0)


LABS = {"AIND": aind, "IBL": ibl, "Kilosort-like": kilosort}


def run_goals(
    duration_s: float = 4.0,
    repeats: int = 3,
    script_s: float | None = SCRIPT_S,
    num_channels: int = CHANNELS,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure everything.

    Parameters
    ----------
    duration_s : float, default: 4.0
        Of the recordings that parts and chains read, in s.
    repeats : int, default: 3
        Measurements of each; the median counts.
    script_s : float or None, default: 60.0
        Of the recording that whole scripts correct, in s; None leaves them out.
    num_channels : int, default: 384
        Of parts and chains; whole scripts have 128.
    tell : callable
        Called with a line of text for each row.

    Returns
    -------
    results : dict
        "settings", "versions", "machine" and "rows": dicts with "what", "found" and "goal" (text, or empty).
    """
    rows: list[dict[str, str]] = []

    def add(what: str, found: str, goal: str = "") -> None:
        rows.append({"what": what, "found": found, "goal": goal})
        tell(f"{what}: {found}")

    with one_thread(), job_defaults(**ONE_JOB):
        _add_parts(Data(num_channels, duration_s, DTYPE, 0), repeats, add)
        _add_calls(Material(num_channels, duration_s, DTYPE, 0), repeats, add)
    if script_s is not None:
        _add_scripts(script_s, repeats, add)
    settings = {"duration_s": duration_s, "repeats": repeats, "num_channels": num_channels}
    return {"settings": settings, "versions": versions(), "machine": machine(), "rows": rows}


def _add_parts(data: Data, repeats: int, add: Callable[..., None]) -> None:
    for name, what in (("phase", "steady_phase_shift"), ("front", "phase shift, bandpass, median reference")):
        row = measure(PARTS[name](data), repeats)
        add(f"{what}, to SpikeInterface's", _both_times(row), f"at least {LEAST[name]:g}")
    per_second, processor = (1e3 * row[key] / data.duration_s for key in ("steady_s", "steady_cpu_s"))
    found = f"{per_second:.0f} ({processor:.0f} of the processor)"
    add(f"{what}, ms per second", found, f"at most {MOST_FRONT_MS:g}")


def _add_calls(material: Material, repeats: int, add: Callable[..., None]) -> None:
    row = measure(accelerated_pair("detect_bad_channels coherence+psd", material), repeats)
    goal = f"at least {LEAST['detect_bad_channels']:g}"
    add("detect_bad_channels, accelerated to plain", _both_times(row), goal)
    row = measure(accelerated_pair("bandpass_filter + common_reference", material), repeats)
    add("bandpass and reference, accelerated to plain", _both_times(row))
    threads = os.cpu_count() or 1
    goal = f"at least {LEAST['threads']:g}" if threads == 2 else ""
    add(f"the same, {threads} threads to one", _times(row["steady_s"] / row["threaded_s"]), goal)
    add(
        "the same, pool of 2 threads to one",
        _times(_pool_gain(material, repeats)),
        f"at least {LEAST['threads']:g}",
    )
    for name, make in LABS.items():
        pair = accelerated_pair("common_reference (median)", material)
        call = _whole(make, material)
        row = measure(replace(pair, upstream=call, steady=call, threaded=None, warm_up=_warm(call)), repeats)
        add(f"script of {name}, accelerated to plain", f"{_both_times(row)}, {row['agreement']}")


def _whole(make: Callable[[BaseRecording], BaseRecording], material: Material) -> Callable[[], Any]:
    return lambda: read(make, material)()


def _warm(call: Callable[[], Any]) -> Callable[[], None]:
    def warm_up() -> None:
        import steadyspike

        with steadyspike.accelerate():
            call()

    return warm_up


def _pool_gain(material: Material, repeats: int) -> float:
    """Time of one thread to that of two of SpikeInterface's pool, for the same chunks."""
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    import steadyspike

    node = chain(material)()

    def computed(n_jobs: int) -> Callable[[], Any]:
        jobs = dict(n_jobs=n_jobs, pool_engine="thread", chunk_duration="0.5s", progress_bar=False)
        return lambda: detect_peaks(node, method="by_channel", job_kwargs=jobs)

    one, two = computed(1), computed(2)
    with steadyspike.accelerate():
        row = measure(
            Pair(upstream=one, steady=two, upstream_name="1", steady_name="2", warm_up=two), repeats
        )
    return float(row["ratio"])


def _add_scripts(script_s: float, repeats: int, add: Callable[..., None]) -> None:
    results = whole_scripts.run_whole_scripts(
        tuple(LEAST_SCRIPTS), script_s, SCRIPT_CHANNELS, repeats, dtype=DTYPE
    )
    with tempfile.TemporaryDirectory() as place:
        script = Path(place) / "script.py"
        script.write_text(whole_scripts.SCRIPT, encoding="utf8")
        recording = whole_scripts._simulate(Path(place) / "recording", script_s, SCRIPT_CHANNELS, DTYPE, 0)
        for row in results["rows"]:
            preset, plain_s = row["preset"], row["upstream"]["total_s"]
            add(
                f"script with {preset}, accelerated to plain",
                _times(row["ratio"]),
                f"at least {LEAST_SCRIPTS[preset]:g}",
            )
            with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, NUMBA_CACHE_DIR=cache):
                cold = whole_scripts.run_script(script, recording, preset, accelerated=True)
            add("the same with compilation", _times(plain_s / cold["total_s"]), "at least 1")


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times"


def _both_times(row: dict[str, Any]) -> str:
    """Ratio of elapsed times, and of the processor's, which other work on the machine disturbs less."""
    return f"{_times(row['ratio'])} ({row['cpu_ratio']:.1f} of the processor)"


def format_goals(results: dict[str, Any]) -> str:
    """Write the results as a Markdown table."""
    lines = ["| what | found | goal |", "|---|---:|---:|"]
    lines += [f"| {row['what']} | {row['found']} | {row['goal']} |" for row in results["rows"]]
    settings, used = results["settings"], results["machine"]
    numbers = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    lines += [
        "",
        f"{settings['num_channels']} channels of {DTYPE}, {settings['duration_s']:g} s, "
        f"medians of {settings['repeats']} runs in turns, one thread if nothing else is said; "
        f"scripts that also correct motion have {SCRIPT_CHANNELS} channels.",
        "",
        f"Measured with {numbers} on {used['processor']} ({used['cores']} cores).",
    ]
    return "\n".join(lines) + "\n"
