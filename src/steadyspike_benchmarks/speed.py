"""Each part of steadyspike timed beside its twin in SpikeInterface.

Both run on the same arrays, in one process and on one thread, with compiled kernels warm. Recordings lie in
memory and are read in chunks of 1 s, so that what is timed is computation. Runs alternate, and medians are
compared, because a shared machine is never quite idle. How far the outputs agree is measured too.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from steadyspike.core.aside import written_aside
from steadyspike.core.environment import job_defaults, machine, versions
from steadyspike_benchmarks import accelerated_parts
from steadyspike_benchmarks.accelerated_parts import CALLS, Material, accelerated_pair
from steadyspike_benchmarks.speed_parts import ONE_JOB, PARTS, Data, Pair, whole_pair

WHOLE = "raw to corrected"
FLOAT_ONLY = ("interpolate", "localize", "estimate")
"""Parts whose twin takes no integers; they are measured once, whatever the types asked for."""
MOST_SLOW_REPEATS = 3
"""A run of more than `SLOW_S` seconds is repeated this often at most."""
SLOW_S = 10.0
SHORT_S = 0.05
"""A call that takes less is made as often as fills this time, and their mean is one measurement."""


@dataclass(frozen=True)
class Settings:
    """What is measured.

    Parameters
    ----------
    channels : tuple of int, default: (128, 384)
        Numbers of channels.
    dtypes : tuple of str, default: ("float32", "int16")
        Types of the raw samples.
    parts : tuple of str
        Which of `PARTS`.
    calls : tuple of str
        Which of SpikeInterface's own calls to time as they are and with acceleration on; of `CALLS`.
    duration_s : float, default: 20.0
        Length of the recording that the parts read.
    whole_duration_s : float or None, default: 30.0
        Length of the recording that goes from raw to corrected. None: that is left out.
    repeats : int, default: 5
        Measurements of each; 1 at most of what takes a minute.
    seed : int, default: 0
        Of the simulated data.
    """

    channels: tuple[int, ...] = (128, 384)
    dtypes: tuple[str, ...] = ("float32", "int16")
    parts: tuple[str, ...] = tuple(PARTS)
    calls: tuple[str, ...] = tuple(CALLS)
    duration_s: float = 20.0
    whole_duration_s: float | None = 30.0
    repeats: int = 5
    seed: int = 0


def run_speed_benchmark(
    settings: Settings, file: Path | None = None, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure everything that the settings ask for.

    Parameters
    ----------
    settings : Settings
        What to measure.
    file : Path or None, default: None
        A JSON file for the results. It is written after each row; rows that it holds are not measured again.
    tell : callable
        Called with one line of text for each row.

    Returns
    -------
    results : dict
        "settings", "versions", "machine" and "rows".

    Raises
    ------
    ValueError
        If `file` holds results of other settings, versions or another machine.
    """
    results = _start_or_resume(settings, file)
    done = {(row["part"], row["num_channels"], row["dtype"]) for row in results["rows"]}
    with one_thread(), job_defaults(**ONE_JOB), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, make_pair, repeats in _plan(settings):
            if key in done:
                continue
            row = {
                **dict(zip(("part", "num_channels", "dtype"), key, strict=True)),
                **measure(make_pair(), repeats),
            }
            results["rows"].append(row)
            tell(_one_line(row))
            if file is not None:
                _write(results, file)
    return results


def measure(pair: Pair, repeats: int) -> dict[str, Any]:
    """Time both sides of a pair in turns.

    Parameters
    ----------
    pair : Pair
        What to compare.
    repeats : int
        Measurements of each side; `MOST_SLOW_REPEATS` at most of what takes longer than `SLOW_S`.

    Returns
    -------
    row : dict
        Names, medians in s (elapsed, and of the CPU), ratios, repeats, and what `pair.compare` tells.
    """
    pair.warm_up()
    sides = {"upstream": pair.upstream, "steady": pair.steady}
    if pair.threaded is not None:
        sides["threaded"] = pair.threaded
    times: dict[str, list[float]] = {side: [] for side in sides}
    processor_times: dict[str, list[float]] = {side: [] for side in sides}
    outputs: dict[str, Any] = {}
    for _ in range(repeats):
        for side, function in sides.items():
            spent = times[side]
            if spent and spent[0] > SLOW_S and len(spent) >= min(repeats, MOST_SLOW_REPEATS):
                continue
            if spent and spent[0] > 6 * SLOW_S:
                continue
            with pair.around(side):
                outputs[side], seconds, processor_s = _timed(function)
                spent.append(seconds)
                processor_times[side].append(processor_s)
    upstream_s, steady_s = median(times["upstream"]), median(times["steady"])
    upstream_cpu_s, steady_cpu_s = median(processor_times["upstream"]), median(processor_times["steady"])
    return {
        "upstream": pair.upstream_name,
        "steady": pair.steady_name,
        "upstream_s": upstream_s,
        "steady_s": steady_s,
        "ratio": upstream_s / steady_s,
        "upstream_cpu_s": upstream_cpu_s,
        "steady_cpu_s": steady_cpu_s,
        "cpu_ratio": upstream_cpu_s / max(steady_cpu_s, 1e-9),
        **({"threaded_s": median(times["threaded"])} if "threaded" in times else {}),
        "repeats": {side: len(spent) for side, spent in times.items()},
        **pair.compare(outputs["upstream"], outputs["steady"]),
    }


def _timed(function: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what a function returns, and the time and processor time of a call."""
    count = 1
    while True:
        start, processor_start = time.perf_counter(), time.process_time()
        for _ in range(count):
            output = function()
        seconds, processor_s = time.perf_counter() - start, time.process_time() - processor_start
        if count > 1 or seconds >= SHORT_S:
            return output, seconds / count, processor_s / count
        # the one call is not counted: after the other side's, Python and the processor have to learn its way anew
        count = math.ceil(SHORT_S / max(seconds, 1e-5)) + 1


@contextmanager
def one_thread() -> Iterator[None]:
    """Hold BLAS, OpenMP, torch and numba to one thread each."""
    import numba
    import scipy.linalg  # noqa: F401  (limits only reach libraries that are loaded, and scipy has a BLAS of its own)
    import torch
    from threadpoolctl import threadpool_limits

    before = numba.get_num_threads(), torch.get_num_threads()
    numba.set_num_threads(1)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])


def format_speed_table(results: dict[str, Any]) -> str:
    """Write results as Markdown tables, of parts and of accelerated calls, with versions and machine below.

    Parameters
    ----------
    results : dict
        As `run_speed_benchmark` returns them.

    Returns
    -------
    text : str
    """
    calls = [row for row in results["rows"] if row["part"] in CALLS]
    parts = [row for row in results["rows"] if row["part"] not in CALLS]
    numbers = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    computer = results["machine"]
    settings = results["settings"]
    lines = [
        *_parts_table(parts),
        *_calls_table(calls, computer["cores"]),
        f"Median of up to {settings['repeats']} runs in one process and thread, data in memory, 1 s chunks, "
        f"{settings['duration_s']:g} s of data unless another length is given; what takes less than {SHORT_S:g} s is "
        "repeated until that is filled. On a machine that others use too, the ratio of CPU times is the steadier one.",
        "",
        f"{computer['processor']}, {computer['cores']} cores, {computer['system']}; {numbers}.",
    ]
    return "\n".join(lines) + "\n"


def _parts_table(rows: list[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "| part | channels | input | SpikeInterface (s) | steadyspike (s) | ratio | ratio, CPU | agreement |",
        "|---|---:|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        cells = [f"{row['part']}: {row['upstream']} / {row['steady']}", *_common_cells(row)]
        lines.append("| " + " | ".join([*cells, row.get("agreement", "")]) + " |")
    return [*lines, ""]


def _calls_table(rows: list[dict[str, Any]], cores: int) -> list[str]:
    if not rows:
        return []
    lines = [
        "| SpikeInterface's call | channels | input | as it is (s) | accelerated (s) | ratio | ratio, CPU | "
        f"ratio, {cores} threads | agreement |",
        "|---|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        threaded = f"{row['upstream_s'] / row['threaded_s']:.1f}"
        cells = [row["part"], *_common_cells(row), threaded, row.get("agreement", "")]
        lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _common_cells(row: dict[str, Any]) -> list[str]:
    return [
        str(row["num_channels"]),
        row["dtype"],
        _seconds(row["upstream_s"]),
        _seconds(row["steady_s"]),
        f"{row['ratio']:.1f}",
        f"{row['cpu_ratio']:.1f}",
    ]


def _plan(settings: Settings) -> Iterator[tuple[tuple[str, int, str], Callable[[], Pair], int]]:
    """List what to measure: key, a function that prepares it, and repeats."""
    for num_channels in settings.channels:
        kinds = dict.fromkeys([*settings.dtypes, "float32"])
        data = {dtype: Data(num_channels, settings.duration_s, dtype, settings.seed) for dtype in kinds}
        for part in settings.parts:
            for dtype in ("float32",) if part in FLOAT_ONLY else settings.dtypes:
                prepare = partial(PARTS[part], data[dtype])
                yield (part, num_channels, dtype), prepare, settings.repeats
        material = {d: Material(num_channels, settings.duration_s, d, settings.seed) for d in kinds}
        for name in settings.calls:
            only_float = name in accelerated_parts.FLOAT_ONLY
            for dtype in ("float32",) if only_float else settings.dtypes:
                prepare = partial(accelerated_pair, name, material[dtype])
                yield (name, num_channels, dtype), prepare, settings.repeats
        if settings.whole_duration_s is not None:
            dtype = settings.dtypes[0]
            whole = Data(num_channels, settings.whole_duration_s, dtype, settings.seed)
            yield (WHOLE, num_channels, dtype), partial(whole_pair, whole), settings.repeats


def _start_or_resume(settings: Settings, file: Path | None) -> dict[str, Any]:
    fresh = json.loads(
        json.dumps(dict(settings=asdict(settings), versions=versions(), machine=machine(), rows=[]))
    )
    if file is None or not file.exists():
        return fresh
    stored = json.loads(file.read_text(encoding="utf8"))
    for part in ("settings", "versions", "machine"):
        if stored.get(part) != fresh[part]:
            raise ValueError(f"{file} holds results of other {part}; choose another file, or remove it")
    return stored


def _write(results: dict[str, Any], file: Path) -> None:
    with written_aside(file) as unfinished:
        unfinished.write_text(json.dumps(results, indent=2) + "\n", encoding="utf8")


def _one_line(row: dict[str, Any]) -> str:
    return (
        f"{row['part']}, {row['num_channels']} channels, {row['dtype']}: {_seconds(row['upstream_s'])} s / "
        f"{_seconds(row['steady_s'])} s = {row['ratio']:.1f}x {row.get('agreement', '')}"
    )


def _seconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"
