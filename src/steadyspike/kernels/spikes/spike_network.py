"""Forward passes of the spike detectors on a CPU, a sample and a contact at a time.

Every logit is summed in one fixed order, so that it is the same to the last bit in whatever chunk its sample is read.
"""

import numba
import numpy as np

SOFT_LIMIT = np.float32(20.0)


def spike_logits(traces, scales, samples, channels, neighbours, counts, weights, before, arrays):
    """Logits of `steadyspike.networks.detector.LocalSpikeDetector` at candidates.

    `traces` (num_samples, num_channels) count as 0 where they are not finite. Candidates are at `samples` and
    `channels`, int64 (num,), with `before` samples of the window before each, and the rest after it. `weights`, float32
    (num_channels, max_neighbours, spatial), are the spatial weights of the neighbours, `arrays` what
    `LocalSpikeDetector.arrays` returns. Returns float32 (num,); a window that would leave the traces is a `ValueError`.
    """
    traces = np.ascontiguousarray(traces, dtype=np.float32)
    after = len(arrays[0]) - before
    if samples.size and (samples.min() < before or samples.max() + after > len(traces)):
        raise ValueError(
            f"samples go from {samples.min()} to {samples.max()}; with {before} before and {after} after, allowed is "
            f"{before} to {len(traces) - after}"
        )
    scales = np.ascontiguousarray(scales, dtype=np.float32)
    return _spike_logits(traces, scales, samples, channels, neighbours, counts, weights, int(before), *arrays)


@numba.njit(nogil=True, cache=True)
def _spike_logits(
    traces, scales, samples, channels, neighbours, counts, weights, before,
    temporal, temporal_bias, pair_other, pair_own, pair_bias, dense, dense_bias, out, out_bias,
):  # fmt: skip
    num_spatial, num_hidden = weights.shape[2], pair_bias.size
    own, features = np.empty(temporal_bias.size, np.float32), np.empty(temporal_bias.size, np.float32)
    base, hidden = np.empty(num_hidden, np.float32), np.empty(num_hidden, np.float32)
    pooled = np.empty(num_spatial * num_hidden, np.float32)
    merged = np.empty(dense_bias.size, np.float32)
    logits = np.empty(samples.size, np.float32)
    for i in range(samples.size):
        main, first = channels[i], samples[i] - before
        _filter(traces, first, main, scales[main], temporal, temporal_bias, own)
        _accumulate(own, pair_own, pair_bias, base)
        # no `a[:] = b`: for the text of its shape error numba compiles 3 s longer
        for p in range(pooled.size):
            pooled[p] = np.float32(0.0)
        for k in range(counts[main]):
            contact = neighbours[main, k]
            _filter(traces, first, contact, scales[contact], temporal, temporal_bias, features)
            _accumulate(features, pair_other, base, hidden)
            for s in range(num_spatial):
                weight = weights[main, k, s]
                for h in range(num_hidden):
                    pooled[s * num_hidden + h] += weight * max(hidden[h], np.float32(0.0))
        _accumulate(pooled, dense[: pooled.size], dense_bias, merged)
        for f in range(own.size):
            for d in range(merged.size):
                merged[d] += own[f] * dense[pooled.size + f, d]
        total = out_bias[0]
        for d in range(merged.size):
            total += max(merged[d], np.float32(0.0)) * out[d]
        logits[i] = total
    return logits


@numba.njit(nogil=True, cache=True)
def _filter(traces, first, contact, scale, filters, bias, features):
    """Bent waveform of a contact on each filter, and ReLU."""
    for f in range(bias.size):
        features[f] = bias[f]
    for s in range(filters.shape[0]):
        value = np.float32(traces[first + s, contact]) * scale
        # what is not finite counts as silence
        if not abs(value) < np.float32(1e30):
            continue
        value = value / (np.float32(1.0) + abs(value) / SOFT_LIMIT)
        for f in range(bias.size):
            features[f] += value * filters[s, f]
    for f in range(bias.size):
        features[f] = max(features[f], np.float32(0.0))


@numba.njit(nogil=True, cache=True)
def _accumulate(values, matrix, start, result):
    """Write ``start + values @ matrix`` to `result`."""
    for d in range(result.size):
        result[d] = start[d]
    for v in range(values.size):
        value = values[v]
        for d in range(result.size):
            result[d] += value * matrix[v, d]


def yass_logits(traces, scales, neighbours, arrays):
    """Logits of `steadyspike.networks.detector.YassDetector` at every sample that has a whole window.

    `traces` (num_samples, num_channels) count as 0 where they are not finite. `neighbours`, int64 (num_channels,
    num_neighbours), are the nearest contacts of each, itself first, -1 for none. `arrays`, float32, are filters (taps,
    filters) and bias, 1x1 layer (filters, features) and bias, output (features, num_neighbours) and bias (1,). Returns
    float32 (num_samples - taps + 1, num_channels): the first row is that of sample ``taps // 2``.
    """
    scaled = np.asarray(traces).astype(np.float32) * np.asarray(scales, dtype=np.float32)
    scaled[~np.isfinite(scaled)] = 0.0
    return _yass_logits(scaled, neighbours, *arrays)


@numba.njit(nogil=True, cache=True)
def _yass_logits(traces, neighbours, filters, filter_bias, mixing, mixing_bias, out, out_bias):
    taps, num_filters = filters.shape
    num_features, width = out.shape
    rows, num_channels = max(traces.shape[0] - taps + 1, 0), traces.shape[1]
    filtered = np.empty((num_filters, num_channels), np.float32)
    features = np.empty((num_features, num_channels), np.float32)
    logits = np.empty((rows, num_channels), np.float32)
    for t in range(rows):
        for f in range(num_filters):
            row = filtered[f]
            for c in range(num_channels):
                row[c] = filter_bias[f]
            for s in range(taps):
                weight = filters[s, f]
                for c in range(num_channels):
                    row[c] += weight * traces[t + s, c]
        for g in range(num_features):
            row = features[g]
            for c in range(num_channels):
                row[c] = mixing_bias[g]
            for f in range(num_filters):
                weight = mixing[f, g]
                for c in range(num_channels):
                    row[c] += weight * max(filtered[f, c], np.float32(0.0))
        for c in range(num_channels):
            total = out_bias[0]
            for k in range(width):
                other = neighbours[c, k]
                if other >= 0:
                    for g in range(num_features):
                        total += out[g, k] * max(features[g, other], np.float32(0.0))
            logits[t, c] = total
    return logits
