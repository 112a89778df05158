"""What a report reads of the traces: pieces only, so that a day takes no longer than a minute."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.reports.run import Run

MAD_TO_SD = 1.4826
NOISE_PIECES, NOISE_S = 48, 0.1
SPECTRUM_PIECES, SPECTRUM_S, SPECTRUM_CHANNELS = 6, 1.0, 64
SPECTRUM_POINTS, WELCH_SAMPLES = 220, 8192
EXCERPT_MS, EXCERPT_CHANNELS, MOST_SAMPLES = 20.0, 24, 600
MOST_STEPS = 5
NOISE_MOST_S, SPECTRA_MOST_S, FEWEST_PIECES = 8.0, 16.0, 2
"""Seconds for a measure of all steps, and pieces that are read however long it takes: a network may be slow."""
NOISY, QUIET = 3.0, 0.25
"""Times the median noise above and below which a channel is named."""

UNSEEN = ("ChannelSlice", "FrameSlice", "Astype", "SelectSegment", "UnsignedToSigned", "AppendSegment")
WORDS = {
    "BandpassFilter": "bandpass",
    "HighpassFilter": "highpass",
    "CommonReference": "common reference",
    "HighpassSpatialFilter": "spatial highpass",
    "PhaseShift": "phase shift",
    "InterpolateMotion": "motion corrected",
    "InterpolateMotionByShank": "motion corrected",
    "InterpolateBadChannels": "bad channels interpolated",
    "RemoveBadChannels": "bad channels removed",
    "DetectAndInterpolateBadChannels": "bad channels interpolated",
    "DetectAndRemoveBadChannels": "bad channels removed",
    "DeepInterpolated": "DeepInterpolation",
    "DeepInterpolate": "DeepInterpolation",
    "Scale": "scaled",
    "Whiten": "whitened",
}


@dataclass(frozen=True)
class Step:
    """A recording in the chain and what was done last, in words."""

    label: str
    recording: BaseRecording


@dataclass(frozen=True)
class Probe:
    """Where contacts are, um, and which channels were called bad."""

    channel_ids: np.ndarray
    across_um: np.ndarray
    depths_um: np.ndarray
    bad: np.ndarray


@dataclass(frozen=True)
class Noise:
    """Noise levels (num_times, num_channels) at times of a `Timeline`, before and after the last step, in `unit`."""

    times_s: np.ndarray
    depths_um: np.ndarray
    before: np.ndarray
    after: np.ndarray | None
    labels: tuple[str, str]
    unit: str


@dataclass(frozen=True)
class Spectrum:
    """Median power over channels of a step, per Hz."""

    label: str
    frequencies_hz: np.ndarray
    power: np.ndarray


@dataclass(frozen=True)
class Excerpt:
    """Traces (num_samples, num_channels) of a step from `start_s` on, channels by depth."""

    label: str
    rate_hz: float
    traces: np.ndarray
    depths_um: np.ndarray


def steps_of(recording: BaseRecording) -> list[Step]:
    """List the chain from the raw recording on; what changes no sample is left out, and the middle of a long one."""
    nodes, node = [], recording
    while node is not None:
        nodes.append(node)
        parent = node.get_parent()
        same = parent is not None and parent.sampling_frequency == node.sampling_frequency
        node = parent if same and parent.get_num_segments() == node.get_num_segments() else None
    nodes.reverse()
    steps = [Step("as recorded", nodes[0])]
    for node in nodes[1:]:
        name = re.sub(r"^Steady|Recording$", "", type(node).__name__)
        if name in UNSEEN and len(steps) == 1 and not steps[0].recording.has_scaleable_traces():
            # gains may only be known from here on
            steps = [Step(steps[0].label, node)]
        elif name not in UNSEEN:
            words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
            steps.append(Step(WORDS.get(name, words), node))
    return steps if len(steps) <= MOST_STEPS else [steps[0], *steps[1 - MOST_STEPS :]]


def steps_of_run(run: Run) -> list[Step]:
    """List the chain of a run; an interpolation by no motion changes no sample, and is left out."""
    steps = steps_of(run.corrected if run.corrected is not None else run.recording)
    if run.motion is not None and not run.was_corrected and steps[-1].label == WORDS["InterpolateMotion"]:
        steps.pop()
    if run.written is not None:
        steps[-1] = Step(steps[-1].label, run.written)
    return steps


def measured(
    pieces: list[tuple[int, int, int]], measure: Callable[[tuple[int, int, int]], Any], most_s: float
) -> tuple[list[tuple[int, int, int]], list[Any]]:
    """Measure pieces in random order until all are done or time is up; give those that were, in their order."""
    start, found = time.perf_counter(), {}
    for index in np.random.default_rng(0).permutation(len(pieces)):
        found[int(index)] = measure(pieces[index])
        if time.perf_counter() - start > most_s and len(found) >= FEWEST_PIECES:
            break
    done = sorted(found)
    return [pieces[index] for index in done], [found[index] for index in done]


def unit_of(recording: BaseRecording) -> str:
    """Give the unit in which `read` returns traces."""
    return "µV" if recording.has_scaleable_traces() else "units of the recording"


def read(recording: BaseRecording, segment: int, start: int, end: int, channels: Any = None) -> np.ndarray:
    """Read traces in uV where gains are known, float32."""
    traces = recording.get_traces(
        segment_index=segment,
        start_frame=max(start, 0),
        end_frame=min(end, recording.get_num_samples(segment)),
        channel_ids=channels,
        return_in_uV=recording.has_scaleable_traces(),
    )
    return np.asarray(traces, dtype="float32")


def pieces_of(recording: BaseRecording, number: int, seconds: float) -> list[tuple[int, int, int]]:
    """Spread pieces (segment, first frame, end) evenly over all segments, as many as are there without overlap."""
    lengths = np.array([recording.get_num_samples(i) for i in range(recording.get_num_segments())])
    size = int(seconds * recording.sampling_frequency)
    size = max(1, min(size, int(lengths.max(initial=1))))
    per_segment = np.maximum(1, np.rint(number * lengths / max(lengths.sum(), 1))).astype(int)
    pieces = []
    for segment, (length, most) in enumerate(zip(lengths, per_segment, strict=True)):
        if length < size:
            continue
        starts = np.unique(np.linspace(0, length - size, min(most, length // size)).astype("int64"))
        pieces += [(segment, int(start), int(start) + size) for start in starts]
    return pieces


def noise_of(run: Run, steps: list[Step], offsets_s: np.ndarray) -> Noise | None:
    """Measure the noise of each channel in pieces: 1.4826 times the median absolute deviation."""
    before, after = (steps[-2], steps[-1]) if len(steps) > 1 else (steps[-1], None)
    of_two = run.recording is not None and run.corrected is not None
    if of_two and (run.motion is None or run.was_corrected):
        before = Step(before.label, run.recording)
    pieces = pieces_of(before.recording, NOISE_PIECES, NOISE_S)
    if not pieces:
        return None
    same = after is not None and after.recording.get_num_channels() == before.recording.get_num_channels()
    read_of = [before.recording, *([after.recording] if after is not None and same else [])]
    pieces, found = measured(
        pieces, lambda piece: [_deviation(read(one, *piece)) for one in read_of], NOISE_MOST_S
    )
    levels = np.swapaxes(np.array(found), 0, 1)
    times = [
        before.recording.sample_index_to_time((start + end) // 2, segment_index=segment) + offsets_s[segment]
        for segment, start, end in pieces
    ]
    return Noise(
        np.asarray(times, dtype="float64"),
        before.recording.get_channel_locations()[:, 1],
        levels[0],
        levels[1] if len(levels) > 1 else None,
        (before.label, "" if after is None else after.label),
        unit_of(before.recording),
    )


def _deviation(traces: np.ndarray) -> np.ndarray:
    from steadyspike.kernels.channels.column_statistics import column_median_deviations

    _, deviations = column_median_deviations(traces)
    return MAD_TO_SD * deviations


def spectra_of(steps: list[Step]) -> list[Spectrum]:
    """Measure the power of each step by Welch's method: median over channels, mean over pieces."""
    from scipy.signal import welch

    found = []
    for step in steps:
        recording = step.recording
        pieces = pieces_of(recording, SPECTRUM_PIECES, SPECTRUM_S)[:SPECTRUM_PIECES]
        count = recording.get_num_channels()
        chosen = recording.channel_ids[
            np.unique(np.linspace(0, count - 1, min(count, SPECTRUM_CHANNELS)).astype(int))
        ]

        def power(
            piece: tuple[int, int, int], recording: BaseRecording = recording, chosen: np.ndarray = chosen
        ) -> tuple[np.ndarray, np.ndarray]:
            traces = read(recording, *piece, channels=chosen)
            size = min(WELCH_SAMPLES, len(traces))
            frequencies, powers = welch(traces, recording.sampling_frequency, nperseg=size, axis=0)
            return frequencies, np.median(powers, axis=1)

        _, powers = measured(pieces, power, SPECTRA_MOST_S / len(steps))
        if powers and powers[0][0].size > 2:
            mean = np.mean([one for _, one in powers], axis=0)
            found.append(Spectrum(step.label, *_thinned(powers[0][0][1:], mean[1:])))
    return found


def _thinned(frequencies: np.ndarray, power: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average a spectrum in bins of equal width on a logarithmic axis."""
    edges = np.geomspace(frequencies[0], frequencies[-1] * 1.001, SPECTRUM_POINTS + 1)
    bins = np.digitize(frequencies, edges)
    number = np.bincount(bins, minlength=SPECTRUM_POINTS + 2)
    full = number > 0
    means = [
        np.bincount(bins, weights=one, minlength=full.size)[full] / number[full]
        for one in (frequencies, power)
    ]
    return means[0], means[1]


def excerpts_of(steps: list[Step], place: tuple[int, int], window_um: tuple[float, float]) -> list[Excerpt]:
    """Cut a few ms around a sample (segment, frame) out of each step, of channels around the middle of a window."""
    found = []
    for step in steps:
        recording = step.recording
        half = int(EXCERPT_MS / 2000 * recording.sampling_frequency)
        depths = recording.get_channel_locations()[:, 1]
        nearest = np.argsort(np.abs(depths - np.mean(window_um)), kind="stable")[:EXCERPT_CHANNELS]
        nearest = nearest[np.lexsort((nearest, depths[nearest]))]
        segment, frame = place
        frame = max(min(frame, recording.get_num_samples(segment) - half), half)
        traces = read(recording, segment, frame - half, frame + half, recording.channel_ids[nearest])
        every = max(1, len(traces) // MOST_SAMPLES)
        found.append(
            Excerpt(step.label, recording.sampling_frequency / every, traces[::every], depths[nearest])
        )
    return found


def probe_of(steps: list[Step], bad: list[Any]) -> Probe:
    """Tell where the contacts of the raw recording are, and which were called bad."""
    first = next(step.recording for step in steps if step.recording.has_channel_location())
    ids, places = first.channel_ids, first.get_channel_locations()
    named = {str(one) for one in bad}
    return Probe(ids, places[:, 0], places[:, 1], np.array([str(one) in named for one in ids], dtype=bool))


def bad_channels_of(run: Run) -> list[Any]:
    """List the channels that the chain left out or replaced."""
    found: list[Any] = []
    node = run.corrected if run.corrected is not None else run.recording
    while node is not None:
        bad = node._kwargs.get("bad_channel_ids")
        found += [] if bad is None else [one for one in np.asarray(bad).tolist() if one not in found]
        node = node.get_parent()
    return found


def odd_channels(noise: Noise, recording: BaseRecording) -> list[str]:
    """Name channels that are silent, much noisier or much quieter than the others, in sentences."""
    levels = np.median(noise.before, axis=0)
    usual = float(np.median(levels))
    kinds = {
        "silent": levels == 0,
        f"noisier than {NOISY:g} times the median": levels > NOISY * usual,
        f"quieter than {QUIET:g} of the median": (levels > 0) & (levels < QUIET * usual),
    }
    return [
        f"{_listed(recording.channel_ids[which])}: {kind}" for kind, which in kinds.items() if which.any()
    ]


def _listed(ids: np.ndarray, most: int = 12) -> str:
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return ", ".join(map(str, ids[:most])) + more
