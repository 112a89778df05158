"""How much memory a chain with denoising needs, read chunk by chunk, for recordings of several lengths.

The chain is `bandpass_filter` -> `common_reference` -> `deepinterpolate` -> `interpolate_motion` on int16 noise that
is made when it is read. Each length is read in a process of its own, which is stopped at a limit; the peak of its
resident memory is reported. If the peak does not grow with the length, the length does not matter.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike_benchmarks.memory import MB, peak_memory_mb
from steadyspike_benchmarks.watched import StoppedError, run_watched

RATE = 30_000.0
NOISE_UV = 8.0
DEFAULT_NETWORK = "blindspot-small"
MOTION_BIN_S, WINDOW_UM, STEP_UM = 1.0, 400.0, 0.3
SCRIPT = """
import json, sys
from steadyspike_benchmarks.denoising_memory import ChainSettings, measure_here
print(json.dumps(measure_here(ChainSettings(**json.loads(sys.argv[1])))))
"""


@dataclass(frozen=True)
class ChainSettings:
    """What one process reads.

    Parameters
    ----------
    seconds : float
        Length of the recording, above 0.
    num_channels : int, default: 384
        Contacts of a Neuropixels 1.0 probe.
    chunk_s : float, default: 1.0
        Read at once, above 0.
    model : str or None, default: None
        As `deepinterpolate` takes it, for Neuropixels 1.0 at 30 kHz; None: "blindspot-small" with fresh weights, which
        take as much memory as trained ones.
    device : str, default: "cpu"
        As `deepinterpolate` takes it.
    num_threads : int, default: 1
        As `deepinterpolate` takes it.
    """

    seconds: float
    num_channels: int = 384
    chunk_s: float = 1.0
    model: str | None = None
    device: str = "cpu"
    num_threads: int = 1

    def __post_init__(self):
        for name, value in (("seconds", self.seconds), ("chunk_s", self.chunk_s)):
            if not 0 < value < float("inf"):
                raise ValueError(f"{name}={value} must be above 0")


def run_denoising_memory(
    seconds: Iterable[float] = (10.0, 20.0, 40.0),
    *,
    limit_mb: float = 4000.0,
    limit_s: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Read the chain for some lengths, each in a fresh process.

    Parameters
    ----------
    seconds : iterable of float, default: (10, 20, 40)
        Lengths of the recordings.
    limit_mb, limit_s : float or None
        Resident memory in MB, default 4000, and seconds at which a process is stopped.
    tell : callable
        Called with one line for each length.
    **settings
        Of `ChainSettings`.

    Returns
    -------
    results : list of dict
        What `measure_here` gives, and "limit_mb"; of a process that was stopped, its settings and why, as "stopped".

    Raises
    ------
    ValueError
        If a setting cannot be; `ModelError` if there is no such model. Before any process starts.
    RuntimeError
        If a process failed; with the last line of its error.
    """
    from steadyspike.library.models.references import find_source

    if settings.get("model") is not None:
        settings["model"] = find_source(settings["model"]).name
    cases = [ChainSettings(seconds=float(length), **settings) for length in sorted(seconds)]
    if not cases or not limit_mb > 0:
        raise ValueError(
            f"seconds={[case.seconds for case in cases]} is empty, or limit_mb={limit_mb} not above 0"
        )
    results = []
    for case in cases:
        try:
            measured = run_watched(SCRIPT, json.dumps(asdict(case)), limit_mb=limit_mb, limit_s=limit_s)
        except StoppedError as reason:
            measured = dict(asdict(case), stopped=str(reason))
        results.append(dict(measured, limit_mb=limit_mb))
        tell(f"{case.seconds:g} s: {measured.get('stopped') or '{:.0f} MB'.format(measured['peak_mb'])}")
    return results


def measure_here(settings: ChainSettings) -> dict[str, Any]:
    """Read the chain in this process, which should have done nothing else before.

    Returns
    -------
    result : dict
        The settings; "imports_mb", the peak after the imports and before the chain is built; "first_chunk_mb", after
        its first chunk; "peak_mb", after the last; and "elapsed_s" of reading all chunks but the first.
    """
    import spikeinterface.preprocessing  # noqa: F401
    import torch  # noqa: F401

    import steadyspike.preprocessing.motion_interpolation  # noqa: F401

    imports_mb = peak_memory_mb()
    with tempfile.TemporaryDirectory(prefix="steadyspike-chain-") as folder:
        chain = make_chain(settings, Path(folder))
        size = max(1, round(settings.chunk_s * RATE))
        chain.get_traces(start_frame=0, end_frame=min(size, chain.get_num_samples()))
        first_chunk_mb, start = peak_memory_mb(), time.perf_counter()
        for first in range(size, chain.get_num_samples(), size):
            chain.get_traces(start_frame=first, end_frame=min(first + size, chain.get_num_samples()))
        elapsed_s = time.perf_counter() - start
    return dict(
        asdict(settings),
        imports_mb=imports_mb,
        first_chunk_mb=first_chunk_mb,
        peak_mb=peak_memory_mb(),
        elapsed_s=elapsed_s,
    )


def make_chain(settings: ChainSettings, folder: Path) -> Any:
    """Build the lazy chain.

    Parameters
    ----------
    settings : ChainSettings
    folder : Path
        For the model with fresh weights, where none is given.

    Returns
    -------
    chain : BaseRecording
    """
    from spikeinterface.core.motion import Motion
    from spikeinterface.generation import NoiseGeneratorRecording

    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.common_reference import common_reference
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate
    from steadyspike.preprocessing.motion_interpolation import interpolate_motion
    from steadyspike.simulation.probes import build_probe
    from steadyspike_benchmarks.denoising_speed import untrained

    recording = NoiseGeneratorRecording(
        settings.num_channels,
        RATE,
        [settings.seconds],
        noise_levels=NOISE_UV,
        dtype="float32",
        strategy="on_the_fly",
        seed=0,
    ).astype("int16")
    recording.set_probe(build_probe("np1", settings.num_channels))
    referenced = common_reference(bandpass_filter(recording))
    model: Any = settings.model
    if model is None:
        untrained(referenced, DEFAULT_NETWORK, folder / "model")
        model = folder / "model"
    denoised = deepinterpolate(referenced, model, device=settings.device, num_threads=settings.num_threads)
    depths = recording.get_channel_locations()[:, 1]
    windows = np.arange(depths.min(), depths.max() + WINDOW_UM, WINDOW_UM)
    times = np.arange(0.0, settings.seconds + MOTION_BIN_S, MOTION_BIN_S)
    steps = np.random.default_rng(0).standard_normal((times.size, windows.size)) * STEP_UM
    motion = Motion([np.cumsum(steps, axis=0)], [times], windows)
    return interpolate_motion(denoised, motion)


def format_denoising_memory(results: list[dict[str, Any]]) -> str:
    """Write what was measured as Markdown."""
    rows = []
    for one in results:
        length = f"{one['seconds']:g}"
        if "stopped" in one:
            rows.append([length, f"stopped: {one['stopped']}", "", "", "", "no"])
            continue
        traces_mb = one["seconds"] * RATE * one["num_channels"] * 4 / MB
        numbers = (f"{one[key]:.0f}" for key in ("imports_mb", "first_chunk_mb", "peak_mb"))
        held = "yes" if one["peak_mb"] <= one["limit_mb"] else "no"
        rows.append([length, *numbers, f"{traces_mb:.0f}", held])
    header = ["recording (s)", "imports (MB)", "after the first chunk (MB)", "peak (MB)"]
    first = results[0]
    limit = f"{first['limit_mb'] / 1000:g} GB"
    header += ["its traces as float32 (MB)", f"within {limit}"]
    parts = [
        markdown_table(header, rows),
        "bandpass_filter -> common_reference -> deepinterpolate -> interpolate_motion on "
        f"{first['num_channels']} channels ({first['device']}), read in chunks of {first['chunk_s']:g} s, one process "
        f"each, stopped beyond {limit}. Peaks of the resident memory, imports included.",
    ]
    done = [one for one in results if "stopped" not in one]
    if len(done) > 1:
        short, long = done[0], done[-1]
        growth = (long["peak_mb"] - short["peak_mb"]) / (long["seconds"] - short["seconds"])
        speeds = [one for one in done if one["seconds"] > one["chunk_s"]]
        parts.append(
            f"From {short['seconds']:g} s to {long['seconds']:g} s the peak changes by "
            f"{long['peak_mb'] - short['peak_mb']:.0f} MB, {growth:.2f} MB for each second."
        )
        if speeds:
            rate = max(speeds, key=lambda one: one["seconds"])
            per_second = rate["elapsed_s"] / (rate["seconds"] - rate["chunk_s"])
            parts.append(f"A second of recording takes {per_second:.1f} s, the noise included.")
    return "\n\n".join(parts) + "\n"
