"""Kilosort's drift: judged by its own spikes, and beside a motion of ours."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.core.arguments import refuse
from steadyspike.motion.comparison import MotionComparison, compare_motions
from steadyspike.motion.grids import checked_motion
from steadyspike.motion.trust import CLEAR_ERRORS, MotionTrust, motion_trust
from steadyspike.sorting.kilosort.output import KilosortOutput
from steadyspike.sorting.kilosort.reading import read_output

if TYPE_CHECKING:
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

PART = "compare_motion"
# a displacement hardly changes over its own size, so a few rounds find where a spike was seen
ROUNDS = 4


@dataclass(frozen=True)
class KilosortMotionComparison:
    """Kilosort's drift beside another motion of the same recording.

    Attributes
    ----------
    comparison : MotionComparison
        How far the motion is from Kilosort's drift, a constant at each depth taken out: correlation, mean, each window
        and time.
    difference : Motion
        The motion less Kilosort's drift, as a map over time and depth.
    kilosort, motion : MotionTrust
        What Kilosort's spikes, as they were seen before its correction, say of each: verdict, reason, gain.
    sharper : {"kilosort", "motion", "neither"}
        Which leaves the sharper raster, that in which held-out spikes are more likely: the one whose gain is larger by
        at least 2 standard errors. A gain below 0 is worse than no correction.
    """

    comparison: MotionComparison
    difference: Motion = field(repr=False)
    kilosort: MotionTrust
    motion: MotionTrust
    sharper: str

    def __repr__(self) -> str:
        name = {"kilosort": "Kilosort's drift", "motion": "the motion", "neither": "neither"}[self.sharper]
        gains = [f"{one.gain:.4f} +- {one.gain_error:.4f}" for one in (self.kilosort, self.motion)]
        return (
            f"KilosortMotionComparison: {name} leaves the sharper raster "
            f"(gain {gains[0]} nats per spike for Kilosort's drift, {gains[1]} for the motion)\n"
            f"  correlation {self.comparison.correlation:.3f}, |difference| mean {self.comparison.mean_um:.2f} um, "
            f"max {self.comparison.max_um:.2f} um\n"
            f"  Kilosort's drift: {self.kilosort.verdict}. {self.kilosort.reason}\n"
            f"  the motion: {self.motion.verdict}. {self.motion.reason}"
        )


def compare_motion(
    folder: str | Path | KilosortOutput, motion: Motion, recording: BaseRecording | None = None
) -> KilosortMotionComparison:
    """Compare the drift that Kilosort found with another motion of the same recording.

    Both are judged by `steadyspike.motion_trust`, by Kilosort's spikes at the depths where they were before its
    correction.

    Parameters
    ----------
    folder : str, Path or KilosortOutput
        A results folder with spike_positions.npy and a drift, or what `read_output` made of it.
    motion : Motion
        Of one segment, with the times of the recording.
    recording : BaseRecording or None, default: None
        What was sorted, if its times do not start at 0.

    Returns
    -------
    result : KilosortMotionComparison

    Raises
    ------
    ValueError
        If Kilosort did not correct drift, or wrote no positions of spikes.
    """
    output = folder if isinstance(folder, KilosortOutput) else read_output(folder, recording)
    motion = checked_motion(PART, motion)
    if motion.num_segments > 1:
        refuse("motion.num_segments", motion.num_segments, "1, as Kilosort has one time axis", PART)
    drift = _drift(output, PART)
    comparison = compare_motions(motion, drift)
    difference = type(motion)(
        comparison.difference_um, comparison.temporal_bins_s, comparison.spatial_bins_um, motion.direction
    )
    kilosort, other = trust(output, drift), trust(output, motion)
    ahead = other.gain - kilosort.gain
    clear = CLEAR_ERRORS * np.hypot(other.gain_error, kilosort.gain_error)
    sharper = "neither" if not abs(ahead) > clear else "motion" if ahead > 0 else "kilosort"
    return KilosortMotionComparison(comparison, difference, kilosort, other, sharper)


def trust(output: KilosortOutput, motion: Motion | None = None) -> MotionTrust:
    """Judge Kilosort's drift, or another motion, by Kilosort's own spikes.

    Parameters
    ----------
    output : KilosortOutput
        With positions of spikes.
    motion : Motion or None, default: None
        None: Kilosort's drift.

    Returns
    -------
    trust : MotionTrust
        As `steadyspike.motion_trust` gives it.
    """
    peaks, locations = peaks_as_seen(output)
    judged = _drift(output, "trust") if motion is None else motion
    return motion_trust(_geometry(output), judged, peaks, locations)


def peaks_as_seen(output: KilosortOutput) -> tuple[np.ndarray, np.ndarray]:
    """Give Kilosort's spikes as SpikeInterface's peaks and locations, where they were before its correction.

    Kilosort4 writes the positions that spikes have after its correction. Where they were seen is what the correction
    moves there.

    Parameters
    ----------
    output : KilosortOutput
        With positions of spikes.

    Returns
    -------
    peaks : ndarray, shape (num_spikes,)
        With `sample_index`, `channel_index`, `amplitude` (Kilosort's) and `segment_index`, in the order of time.
    peak_locations : ndarray, shape (num_spikes,)
        With `x` and `y` in um.
    """
    from spikeinterface.core.node_pipeline import base_peak_dtype

    if "y" not in output.spikes:
        refuse("folder", str(output.folder), "one with spike_positions.npy, which Kilosort4 writes", PART)
    spikes = output.spikes.sort_values("sample_index", kind="stable")
    peaks = np.zeros(len(spikes), dtype=base_peak_dtype)
    peaks["sample_index"] = spikes["sample_index"]
    channels = spikes["unit"].map(output.units["channel"].fillna(0).astype("int64"))
    peaks["channel_index"] = channels
    peaks["amplitude"] = spikes.get("amplitude", 1.0)
    locations = np.zeros(len(spikes), dtype=[("x", "float64"), ("y", "float64")])
    locations["x"], locations["y"] = spikes["x"], spikes["y"]
    if output.motion is not None:
        times, corrected = spikes["time_s"].to_numpy(), locations["y"].copy()
        for _round in range(ROUNDS):
            locations["y"] = corrected + output.motion.get_displacement_at_time_and_depth(
                times, locations["y"], segment_index=0
            )
    return peaks, locations


def _drift(output: KilosortOutput, part: str) -> Motion:
    if output.motion is None:
        why = output.missing.get("motion", output.missing.get("ops", "no drift"))
        refuse("folder", str(output.folder), f"one of a run with drift correction; here: {why}", part)
    return output.motion


def _geometry(output: KilosortOutput) -> BaseRecording:
    """Make a recording that has the contacts and the times, and samples that take no room."""
    from spikeinterface.core import NumpyRecording

    frames, fs = output.spikes["sample_index"], output.sampling_frequency
    num_samples = max(int(frames.max()) + 1, round(output.duration_s * fs))
    traces = np.broadcast_to(np.zeros(1, dtype="int16"), (num_samples, len(output.channel_positions)))
    start = float(output.spikes["time_s"].iloc[0] - frames.iloc[0] / fs)
    recording = NumpyRecording([traces], fs, t_starts=[start])
    recording.set_dummy_probe_from_locations(output.channel_positions[:, :2])
    return recording
