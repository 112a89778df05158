"""How exactly `steady_phase_shift` delays: its response against that of the exact delay, and of SpikeInterface's."""

from __future__ import annotations

from typing import Any

import numpy as np

SAMPLING_FREQUENCY = 30_000.0
CYCLES = (13, 16)
"""Samples of a converter in each period of Neuropixels 1.0 and 2.0, which are the fractions of a sample to delay by."""
BANDS_HZ = ((300.0, 6000.0), (300.0, 10_000.0), (300.0, 12_000.0), (12_000.0, 15_000.0))
STEP_HZ = 10.0


def run_delays() -> list[dict[str, Any]]:
    """Measure the largest error in each of `BANDS_HZ`, over all delays of the two converters.

    Returns
    -------
    rows : list of dict
        "band_hz", "error" (largest difference of the response from the one of the exact delay, which has a size of 1),
        "gain" (smallest and largest size of the response) and "late_us" (largest error of the delay itself, in us).
    """
    from steadyspike.kernels.filters.fractional_delay import delay, delay_taps

    shifts = np.unique(np.concatenate([np.arange(cycles) / cycles for cycles in CYCLES]))
    taps, _, after = delay_taps(shifts)
    impulse = np.zeros((2 * len(taps) - 1, len(shifts)), "float32")
    impulse[len(taps) - 1] = 1.0
    # what the kernel does to one sample of 1, and when it comes out
    response, times = delay(impulse, taps), np.arange(len(taps)) - after
    rows = []
    for low, high in BANDS_HZ:
        cycles = np.arange(low, high, STEP_HZ)[:, None] / SAMPLING_FREQUENCY
        found = np.exp(-2j * np.pi * cycles * times) @ response
        relative = found / np.exp(-2j * np.pi * cycles * shifts)
        late_us = -np.angle(relative) / (2 * np.pi * cycles) / SAMPLING_FREQUENCY * 1e6
        rows.append(
            {
                "band_hz": (low, high),
                "error": float(np.abs(relative - 1).max()),
                "gain": (float(np.abs(relative).min()), float(np.abs(relative).max())),
                "late_us": float(np.abs(late_us).max()),
            }
        )
    return rows


def format_delays(rows: list[dict[str, Any]]) -> str:
    """Write the rows as a Markdown table."""
    lines = [
        "| band (Hz) | largest error | gain | largest error of the delay (us) |",
        "|---|---:|---:|---:|",
    ]
    for row in rows:
        (low, high), (least, most) = row["band_hz"], row["gain"]
        lines.append(
            f"| {low:.0f} to {high:.0f} | {row['error']:.1e} | {least:.5f} to {most:.5f} | {row['late_us']:.2g} |"
        )
    cycles = " and ".join(f"k/{number}" for number in CYCLES)
    lines += [
        "",
        f"The error is relative to the amplitude of a wave that is delayed exactly; delays of {cycles} samples of "
        f"{SAMPLING_FREQUENCY / 1000:g} kHz, by the compiled kernel in float32.",
    ]
    return "\n".join(lines) + "\n"
