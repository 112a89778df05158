"""Traces into rows of a network's input, and its output back into traces: each value is touched once on each way."""

import numba
import numpy as np


@numba.njit(nogil=True, cache=True)
def fill_rows(
    traces: np.ndarray,
    first: int,
    center: np.ndarray,
    scale: np.ndarray,
    source: np.ndarray,
    largest: float,
    rows: np.ndarray,
) -> None:
    """Normalize traces and put each channel where a network wants it.

    `traces` (num_samples, num_channels) are of any type; what is made of them, (traces - center) / scale, is computed
    in the type of `center` and `scale` (num_channels,), 0 where it is not finite and at most `largest` in size. Row t
    of `rows` (num_images, num_rows, num_places), float32, takes sample `first` + t, or 0 where there is none;
    `source` (num_images, num_places) tells the channel of each place, num_channels where there is none.
    """
    num_samples, num_channels = traces.shape
    num_images, num_rows, num_places = rows.shape
    precise, limit = np.empty(num_channels, center.dtype), np.float32(largest)
    ready = np.zeros(num_channels + 1, np.float32)
    for row in range(num_rows):
        sample = first + row
        if sample < 0 or sample >= num_samples:
            rows[:, row] = 0
            continue
        for channel in range(num_channels):
            precise[channel] = traces[sample, channel]
        for channel in range(num_channels):
            value = np.float32((precise[channel] - center[channel]) / scale[channel])
            # NaN and infinite numbers alone are not below infinity
            ready[channel] = min(max(value, -limit), limit) if abs(value) < np.inf else np.float32(0)
        for image in range(num_images):
            for place in range(num_places):
                rows[image, row, place] = ready[source[image, place]]


@numba.njit(nogil=True, cache=True)
def take_rows(rows: np.ndarray, images: np.ndarray, places: np.ndarray, traces: np.ndarray) -> None:
    """Take each channel from its place in `rows` (num_images, num_rows, num_places).

    `images` and `places` are those of the channels; `traces` (num_rows, num_channels) is what is written.
    """
    for row in range(traces.shape[0]):
        for channel in range(traces.shape[1]):
            traces[row, channel] = rows[images[channel], row, places[channel]]


@numba.njit(nogil=True, cache=True)
def add_residual(
    traces: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    share: float,
    most: float,
    predicted: np.ndarray,
) -> None:
    """Move predictions (num_samples, num_channels), float32, towards what was recorded, by a share; in place.

    `traces` are of any type; they are normalized as (traces - center) / scale in float64. A residual that is not below
    `most` in size counts as none.
    """
    part = np.float32(share)
    for row in range(traces.shape[0]):
        for channel in range(traces.shape[1]):
            own = (np.float64(traces[row, channel]) - center[channel]) / scale[channel]
            residual = own - np.float64(predicted[row, channel])
            kept = np.float32(residual) if abs(residual) < most else np.float32(0)
            predicted[row, channel] += part * kept
