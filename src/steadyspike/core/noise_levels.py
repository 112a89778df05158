"""The noise level of each channel: one way to measure it, whatever the sample type.

SpikeInterface's is the median absolute deviation. Of whole numbers that is whole too: noise of 0.8 counts is taken for
1.5, and of 0.5 counts for none. A channel with few values is measured by how many samples lie below each border between
two values instead: for normal noise the normal scores of these shares lie on a line, wherever the borders are.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.voltage import warn_of_counts

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

SEED = 0
LOOKED_AT, FEW_VALUES, FEW_AT_LEAST = 1000, 0.1, 64
"""Of about so many samples, the share (of few samples: the number) of different values that rounded ones stay below."""
MOST_IN_ONE, MOST_AT_END = 0.995, 0.9
"""Share of samples with one value (with the least or largest one), from which on nothing is known of the noise."""
NEAR_STEPS = 2.5
"""Steps from the most frequent value within which others are that its noise explains."""
OUT_OF_REACH = 1e30
"""Level of a channel that is left out: finite, as SpikeInterface's kernels are compiled for finite numbers."""


def noise_levels(recording: BaseRecording, **job_kwargs: Any) -> np.ndarray:
    """Measure the noise level of each channel, as a standard deviation in the unit of the traces.

    Parameters
    ----------
    recording : BaseRecording
        Filtered. The pieces that SpikeInterface draws are read, the same each time.
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    levels : ndarray of float, shape (num_channels,)
        SpikeInterface's (those that the recording has as a property, if any), but `rounded_levels` for channels with
        few different values. 0 for a silent channel.
    """
    from spikeinterface.core import get_noise_levels
    from spikeinterface.core.recording_tools import get_random_sample_slices

    pieces = get_random_sample_slices(recording, seed=SEED)
    rounded = np.array([has_few_values(column) for column in _read(recording, pieces[0]).T], dtype=bool)
    levels = np.zeros(recording.get_num_channels())
    if not rounded.all():
        # sizes of chunks would be taken for an outdated way to ask for other pieces
        jobs = {key: value for key, value in job_kwargs.items() if not key.startswith(("chunk_", "total_"))}
        random = dict(seed=SEED)
        levels = get_noise_levels(
            recording, return_in_uV=False, random_slices_kwargs=random, **{**jobs, "progress_bar": False}
        )
    if rounded.any():
        levels = levels.copy()
        found = np.array([rounded_levels(_read(recording, piece)[:, rounded]) for piece in pieces])
        # a piece that was blanked tells nothing
        levels[rounded] = found.sum(axis=0) / np.maximum(np.count_nonzero(found, axis=0), 1)
    return levels


def without_silent(levels: np.ndarray, recording: BaseRecording) -> np.ndarray:
    """Put silent channels out of the reach of any threshold, and warn which they are.

    Also warns where spikes are no troughs of the counts (`steadyspike.core.voltage.warn_of_counts`).

    Parameters
    ----------
    levels : ndarray of float, shape (num_channels,)
        Noise levels; 0 or not finite for a silent channel.
    recording : BaseRecording
        Of which they are.

    Returns
    -------
    levels : ndarray of float, shape (num_channels,)
        With 1e30 for silent channels.
    """
    warn_of_counts(recording)
    silent = ~(np.isfinite(levels) & (levels != 0))
    if not silent.any():
        return levels
    warnings.warn(
        f"channels {', '.join(map(str, recording.channel_ids[silent]))} are silent (their noise level is 0 or not "
        "finite) and are left out of the detection of peaks; remove or interpolate bad channels first",
        stacklevel=3,
    )
    return np.where(silent, OUT_OF_REACH, levels)


def rounded_levels(traces: np.ndarray) -> np.ndarray:
    """Measure the standard deviation of normal noise in samples that were rounded, to steps of up to 5 times as much.

    The distance of the quartiles, in standard deviations of a normal distribution, of each channel. 0 where nearly all
    samples have one value, or where more than half have one that noise does not explain, as in a recording that was
    blanked.
    """
    ordered = np.sort(np.ascontiguousarray(np.asarray(traces).T), axis=1)
    return np.array([_rounded_level(one[np.isfinite(one)]) for one in ordered])


def _read(recording: BaseRecording, piece: Any) -> np.ndarray:
    segment_index, start, end = piece
    traces: np.ndarray = recording.get_traces(segment_index, start, end)
    return traces


def has_few_values(column: np.ndarray) -> bool:
    """Whether the samples of a channel are rounded so much that its noise level has to heed it."""
    some = column[:: max(column.size // LOOKED_AT, 1)]
    return bool(np.unique(some).size < max(FEW_VALUES * some.size, FEW_AT_LEAST))


def _rounded_level(ordered: np.ndarray) -> float:
    from scipy.special import ndtri

    firsts = np.flatnonzero(np.diff(ordered)) + 1
    if firsts.size == 0:
        return 0.0
    values = ordered[np.append(0, firsts)].astype("float64")
    counts = np.diff(firsts, prepend=0, append=ordered.size)
    steps = np.diff(values)
    most = counts.argmax()
    if counts[most] > ordered.size / 2 and not _is_rounded(values, counts, steps.min(), most):
        return 0.0
    # beyond the outermost borders is half a sample
    borders = np.concatenate(
        [[values[0] - steps.min() / 2], values[1:] - steps / 2, [values[-1] + steps.min() / 2]]
    )
    scores = ndtri(np.concatenate([[0.5], firsts, [ordered.size - 0.5]]) / ordered.size)
    lower, upper = np.interp(ndtri([0.25, 0.75]), scores, borders)
    return float((upper - lower) / (2 * ndtri(0.75)))


def _is_rounded(values: np.ndarray, counts: np.ndarray, step: float, most: np.intp) -> bool:
    """Whether the values around the most frequent one look like those of noise that was rounded."""
    others = counts.sum() - counts[most]
    inside = 0 < most < values.size - 1
    if counts[most] > (MOST_IN_ONE if inside else MOST_AT_END) * counts.sum():
        return False
    if inside and not np.isclose(values[most] - values[most - 1], values[most + 1] - values[most], rtol=1e-3):
        return False
    near = np.abs(values - values[most]) <= NEAR_STEPS * step
    return bool(counts[near].sum() - counts[most] > 0.5 * others)
