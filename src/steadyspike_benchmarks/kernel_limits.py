"""What the machine could do at best, and what the accelerated kernels reach.

Filters, references and detectors are told in ns for a sample of a channel, localizers in ns for a spike, and the
correlation of motion estimators in ns for a pair of time bins.

Memory is measured by copying an array, arithmetic by a product of matrices; both in this process, with one thread. The
bytes that a kernel moves and the operations that it needs are counted by hand, from how it works.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from steadyspike.core.environment import machine, versions
from steadyspike_benchmarks.accelerated_parts import CALLS, Material
from steadyspike_benchmarks.event_limits import event_rows
from steadyspike_benchmarks.speed import one_thread


@dataclass(frozen=True)
class Kernel:
    """An accelerated call and what it needs at least.

    Parameters
    ----------
    call : str
        One of `CALLS`.
    dtype : str
        Of the raw samples.
    num_bytes : float
        Moved between memory and the core for each sample.
    operations : float
        Additions and multiplications for each sample; 0 where comparisons and moves are what it needs.
    precision : str
        Of these.
    per_channel : bool
        Whether the operations are for each channel of the recording.
    """

    call: str
    dtype: str
    num_bytes: float
    operations: float = 0.0
    precision: str = "float32"
    per_channel: bool = False


KERNELS = (
    # read, written between the passes in float32, read and written; 44 products and sums
    Kernel("bandpass_filter", "float32", 16, 88, "float64"),
    Kernel("bandpass_filter", "int16", 12, 88, "float64"),
    Kernel("notch_filter", "float32", 16, 16, "float64"),
    Kernel("common_reference (median)", "float32", 8),
    Kernel("common_reference (median)", "int16", 4),
    Kernel("common_reference (average)", "float32", 8, 2),
    Kernel("bandpass_filter + common_reference", "float32", 24, 88, "float64"),
    # three passes of the transform and one of the product
    Kernel("phase_shift", "float32", 32, 50),
    Kernel("whiten (local)", "float32", 8, 60),
    Kernel("whiten (global)", "float32", 8, 2, "float32", per_channel=True),
    Kernel("zscore", "int16", 6, 2),
    Kernel("interpolate_motion", "float32", 8, 112),
    Kernel("locally_exclusive (compute)", "float32", 4),
    Kernel("locally_exclusive (compute)", "int16", 2),
    Kernel("by_channel (compute)", "float32", 4),
)


def run_kernel_limits(
    num_channels: int = 384,
    duration_s: float = 4.0,
    repeats: int = 5,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure memory, arithmetic, and each kernel.

    Parameters
    ----------
    num_channels : int, default: 384
        Of the recording.
    duration_s : float, default: 4.0
        Of the recording, which lies in memory; kernels of one chunk get its first second.
    repeats : int, default: 5
        Measurements of each; the median counts.
    tell : callable
        Called with a line of text for each.

    Returns
    -------
    results : dict
        "machine", "versions", "copy_ns_per_byte", "ns_per_operation" by precision, "rows" and "event_rows".
    """
    import steadyspike

    materials = {dtype: Material(num_channels, duration_s, dtype, 0) for dtype in ("float32", "int16")}
    with one_thread():
        copy_ns = _copy_ns_per_byte(repeats)
        operation_ns = {
            precision: _ns_per_operation(precision, repeats) for precision in ("float32", "float64")
        }
        rows = []
        for kernel in KERNELS:
            call = CALLS[kernel.call](materials[kernel.dtype])
            with steadyspike.accelerate(num_threads=1):
                call()
                seconds = median_s(call, repeats)
            read_s = min(duration_s, 1.0) if "(compute)" in kernel.call else duration_s
            reached = 1e9 * seconds / (read_s * 30_000 * num_channels)
            operations = kernel.operations * (num_channels if kernel.per_channel else 1)
            row = {
                "call": kernel.call,
                "dtype": kernel.dtype,
                "num_bytes": kernel.num_bytes,
                "operations": operations,
                "precision": kernel.precision,
                "memory_ns": kernel.num_bytes * copy_ns,
                "arithmetic_ns": operations * operation_ns[kernel.precision],
                "reached_ns": reached,
            }
            rows.append(row)
            tell(f"{kernel.call}, {kernel.dtype}: {reached:.2f} ns")
        with steadyspike.accelerate(num_threads=1):
            events = [
                row
                | {"memory_ns": row["num_bytes"] * copy_ns}
                | {"arithmetic_ns": row["operations"] * operation_ns[row["precision"]]}
                for row in event_rows(materials["float32"], lambda call: median_s(call, repeats))
            ]
    return {
        "machine": machine(),
        "versions": versions(),
        "num_channels": num_channels,
        "copy_ns_per_byte": copy_ns,
        "ns_per_operation": operation_ns,
        "rows": rows,
        "event_rows": events,
    }


def format_kernel_limits(results: dict[str, Any]) -> str:
    """Write the results as a Markdown table."""
    lines = [
        "| SpikeInterface's call, accelerated | input | bytes moved | operations | memory alone (ns) | "
        "arithmetic alone (ns) | reached (ns) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_format_row(row, row["dtype"], "comparisons", 2) for row in results["rows"]]
    lines += [
        "",
        "| Kernel | for each | bytes moved | operations | memory alone (ns) | arithmetic alone (ns) | reached (ns) |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    lines += [_format_row(row, row["event"], "divisions, square roots", 0) for row in results["event_rows"]]
    rates = ", ".join(
        f"{1 / ns:.0f} billion operations/s in {precision}"
        for precision, ns in results["ns_per_operation"].items()
    )
    computer = results["machine"]
    lines += [
        "",
        f"The first table for each sample of each of {results['num_channels']} channels; median of processor times, "
        f"one thread, data in memory, chunks of 1 s. Memory: {1 / results['copy_ns_per_byte']:.1f} GB/s, read and "
        f"written, when an array is copied. Arithmetic: {rates}, in a large product of matrices. "
        f"{computer['processor']}, {computer['system']}.",
    ]
    return "\n".join(lines) + "\n"


def _format_row(row: dict[str, Any], of: str, without_operations: str, digits: int) -> str:
    counted = row["operations"] > 0
    cells = [row["call"], of, f"{row['num_bytes']:.0f}"]
    cells.append(f"{row['operations']:.0f} in {row['precision']}" if counted else without_operations)
    cells += [f"{row['memory_ns']:.{digits}f}", f"{row['arithmetic_ns']:.{digits}f}" if counted else ""]
    return "| " + " | ".join([*cells, f"{row['reached_ns']:.{digits}f}"]) + " |"


def median_s(call: Callable[[], Any], repeats: int) -> float:
    """Time a call some times, and return the median of the processor times."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return median(spent)


def _copy_ns_per_byte(repeats: int) -> float:
    source = np.ones(16_000_000, dtype="float32")
    target = np.zeros_like(source)
    return 1e9 * median_s(lambda: np.copyto(target, source), max(repeats, 5)) / (2 * source.nbytes)


def _ns_per_operation(precision: str, repeats: int) -> float:
    matrix = np.ones((1024, 1024), dtype=precision)
    return 1e9 * median_s(lambda: matrix @ matrix, max(repeats, 3)) / (2 * 1024**3)
