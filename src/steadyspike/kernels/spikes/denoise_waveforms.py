"""Waveforms around spikes: cut out of traces, and denoised, on a CPU.

A spike's result depends on nothing but its own samples and is summed in one fixed order, so that it is the same to
the last bit in whatever chunk or batch it comes.
"""

import numba
import numpy as np

from steadyspike.kernels.spikes.spike_network import _accumulate

LARGEST = np.float32(1e30)


def gather_waveforms(traces, samples, channels, columns, counts, before, num_samples):
    """Cut the waveforms on the contacts around each spike out of traces.

    `samples` and `channels` (num_spikes,) are trough and main channel of each spike, `columns` (num_channels,
    max_neighbours) the contacts to read for each main channel and `counts` how many of each row; `before` of the
    `num_samples` samples are before the trough. Returns float32 (num_spikes, num_samples, max_neighbours); zero
    outside the traces, after the last neighbour, and where a sample is not finite.
    """
    traces = np.ascontiguousarray(traces, dtype=np.float32)
    samples, channels = np.asarray(samples, dtype=np.int64), np.asarray(channels, dtype=np.int64)
    return _gather(traces, samples, channels, columns, counts, int(before), int(num_samples))


def select_waveforms(waveforms, channels, columns, counts, first, num_samples):
    """Cut the waveforms on the contacts around each spike out of waveforms that have more contacts or samples.

    `columns` are those of `waveforms` (num_spikes, num_given_samples, num_columns) to read for each main channel, -1
    for a silent one; `num_samples` are taken from `first` on. Otherwise as `gather_waveforms`.
    """
    waveforms = np.ascontiguousarray(waveforms, dtype=np.float32)
    if first < 0 or first + num_samples > waveforms.shape[1]:
        raise ValueError(
            f"first is {first} and num_samples {num_samples}; allowed is to stay in {waveforms.shape[1]} samples"
        )
    firsts = np.arange(len(waveforms)) * waveforms.shape[1] + first
    rows = waveforms.reshape(-1, waveforms.shape[2])
    return _gather(rows, firsts, np.asarray(channels, dtype=np.int64), columns, counts, 0, int(num_samples))


@numba.njit(nogil=True, cache=True)
def _finite(value):
    return value if abs(value) < LARGEST else np.float32(0.0)


@numba.njit(nogil=True, cache=True)
def _gather(traces, samples, channels, columns, counts, before, num_samples):
    out = np.zeros((samples.size, num_samples, columns.shape[1]), np.float32)
    for i in range(samples.size):
        main = channels[i]
        for s in range(num_samples):
            t = samples[i] - before + s
            if 0 <= t < traces.shape[0]:
                for k in range(counts[main]):
                    if columns[main, k] >= 0:
                        out[i, s, k] = _finite(traces[t, columns[main, k]])
    return out


def denoise_local(waveforms, channels, neighbours, counts, scales, weights, arrays):
    """Forward pass of `steadyspike.networks.denoiser.LocalWaveformDenoiser`.

    `waveforms` (num_spikes, num_samples, max_neighbours) are those of `gather_waveforms`, the own contact first,
    `weights` (num_channels, max_neighbours, spatial) the network's spatial weights of the neighbours, float32,
    `arrays` what its method of this name returns; for the others see `steadyspike.kernels.spikes`. Returns float32 of
    the shape and in the unit of `waveforms`, zero after the last neighbour.
    """
    waveforms = np.ascontiguousarray(waveforms, dtype=np.float32)
    scales = np.ascontiguousarray(scales, dtype=np.float32)
    channels = np.asarray(channels, dtype=np.int64)
    return _denoise_local(waveforms, channels, neighbours, counts, scales, weights, *arrays)


@numba.njit(nogil=True, cache=True)
def _denoise_local(
    waveforms, channels, neighbours, counts, scales, weights, temporal, temporal_bias,
    pair_other, pair_own, pair_noise, pair_bias, summary, summary_bias,
    merge_other, merge_own, merge_noise, merge_summary, merge_spatial, merge_bias, shape, shape_bias,
):  # fmt: skip
    width, num_samples = waveforms.shape[2], waveforms.shape[1]
    num_spatial, num_hidden = weights.shape[2], pair_bias.size
    features = np.empty((width, temporal_bias.size), np.float32)
    base, hidden = np.empty(num_hidden, np.float32), np.empty(num_hidden, np.float32)
    pooled, merged_base = np.empty(num_spatial * num_hidden, np.float32), np.empty(num_hidden, np.float32)
    total, wave = np.empty(num_hidden, np.float32), np.empty(num_samples, np.float32)
    out = np.zeros(waveforms.shape, np.float32)
    for i in range(waveforms.shape[0]):
        main = channels[i]
        size = np.float32(1.0)
        for s in range(num_samples):
            size = max(size, abs(waveforms[i, s, 0] * scales[main]))
        noise = np.float32(1.0) / size
        for k in range(counts[main]):
            _project(
                waveforms[i], k, scales[neighbours[main, k]] * noise, temporal, temporal_bias, features[k]
            )
        _begin(pair_bias, pair_noise, noise, base)
        _add_product(features[0], pair_own, base)
        _fill(pooled, np.float32(0.0))
        for k in range(counts[main]):
            _accumulate(features[k], pair_other, base, hidden)
            for s in range(num_spatial):
                weight = weights[main, k, s]
                for h in range(num_hidden):
                    pooled[s * num_hidden + h] += weight * max(hidden[h], np.float32(0.0))
        _accumulate(pooled, summary, summary_bias, total)
        _relu(total)
        _begin(merge_bias, merge_noise, noise, merged_base)
        _add_product(features[0], merge_own, merged_base)
        _add_product(total, merge_summary, merged_base)
        for k in range(counts[main]):
            scale = scales[neighbours[main, k]]
            if scale == 0.0:
                continue
            _accumulate(features[k], merge_other, merged_base, hidden)
            _add_product(weights[main, k], merge_spatial, hidden)
            _relu(hidden)
            _accumulate(hidden, shape, shape_bias, wave)
            for s in range(num_samples):
                out[i, s, k] = wave[s] * size / scale
    return out


# No `a[:] = b` in these kernels: for the text of its shape error numba compiles 3 s longer.


@numba.njit(nogil=True, cache=True)
def _project(waveform, k, scale, filters, bias, features):
    for f in range(bias.size):
        features[f] = bias[f]
    for s in range(filters.shape[0]):
        value = waveform[s, k] * scale
        for f in range(bias.size):
            features[f] += value * filters[s, f]


@numba.njit(nogil=True, cache=True)
def _begin(bias, matrix_row, value, result):
    for d in range(result.size):
        result[d] = bias[d] + value * matrix_row[d]


@numba.njit(nogil=True, cache=True)
def _add_product(values, matrix, result):
    for v in range(values.size):
        value = values[v]
        for d in range(result.size):
            result[d] += value * matrix[v, d]


@numba.njit(nogil=True, cache=True)
def _relu(result):
    for d in range(result.size):
        result[d] = max(result[d], np.float32(0.0))


def denoise_yass(waveforms, channels, neighbours, counts, scales, arrays):
    """Forward pass of `steadyspike.networks.denoiser.YassDenoiser`, each contact by itself.

    `arrays` is what the network's method of this name returns; the others, and what is returned, as of
    `denoise_local`.
    """
    waveforms = np.ascontiguousarray(waveforms, dtype=np.float32)
    scales = np.ascontiguousarray(scales, dtype=np.float32)
    return _denoise_yass(waveforms, np.asarray(channels, dtype=np.int64), neighbours, counts, scales, *arrays)


@numba.njit(nogil=True, cache=True)
def _denoise_yass(
    waveforms, channels, neighbours, counts, scales, first, first_bias, second, second_bias, last, last_bias
):
    num_samples = waveforms.shape[1]
    one_size = num_samples - first.shape[1] + 1
    two_size = one_size - second.shape[2] + 1
    values = np.empty(num_samples, np.float32)
    one = np.empty((first.shape[0], one_size), np.float32)
    two = np.empty((second.shape[0], two_size), np.float32)
    wave = np.empty(num_samples, np.float32)
    out = np.zeros(waveforms.shape, np.float32)
    for i in range(waveforms.shape[0]):
        for k in range(counts[channels[i]]):
            scale = scales[neighbours[channels[i], k]]
            if scale == 0.0:
                continue
            for s in range(num_samples):
                values[s] = waveforms[i, s, k] * scale
            for f in range(first.shape[0]):
                _fill(one[f], first_bias[f])
                _correlate(values, first[f], one[f])
                _relu(one[f])
            for g in range(second.shape[0]):
                _fill(two[g], second_bias[g])
                for f in range(first.shape[0]):
                    _correlate(one[f], second[g, f], two[g])
                _relu(two[g])
            for s in range(num_samples):
                wave[s] = last_bias[s]
            for g in range(second.shape[0]):
                _add_product(two[g], last[g], wave)
            for s in range(num_samples):
                out[i, s, k] = wave[s] / scale
    return out


@numba.njit(nogil=True, cache=True)
def _fill(result, value):
    for d in range(result.size):
        result[d] = value


@numba.njit(nogil=True, cache=True)
def _correlate(values, taps, result):
    for j in range(taps.size):
        tap = taps[j]
        for t in range(result.size):
            result[t] += tap * values[t + j]
