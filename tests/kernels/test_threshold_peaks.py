import numpy as np
import pytest

from steadyspike.kernels.spikes.spike_snippets import masked_lists
from steadyspike.kernels.spikes.threshold_peaks import (
    DTYPES,
    find_extrema,
    flat_rows,
    largest_around,
    relative_sizes,
)


def drawn(rng, shape, dtype):
    # few different values, so that there are plateaus, draws and samples at the threshold itself
    values = rng.integers(-9, 10, size=shape)
    return (values + 9 if dtype.kind == "u" else values).astype(dtype)


def slow_extrema(traces, first, last, thresholds, signs, sweep, strict):
    found = []
    for t in range(first, last):
        for c in range(traces.shape[1]):
            window = [float(value) for value in traces[t - sweep : t + sweep + 1, c]]
            for sign in {"neg": [-1], "pos": [1], "both": [-1, 1]}[signs]:
                value, *others = (sign * one for one in (window[sweep], *window))
                before, after = others[:sweep], others[sweep + 1 :]
                beyond = value > thresholds[c] if strict else value >= thresholds[c]
                if (
                    beyond
                    and all(value > other for other in before)
                    and all(value >= other for other in after)
                ):
                    found.append((t, c, traces[t, c]))
                    break
    return found


def check_extrema(traces, thresholds, signs, sweep, strict):
    flat, stride = flat_rows(traces)
    first, last = sweep, max(len(traces) - sweep, sweep)
    samples, channels, values = find_extrema(
        flat, stride, traces.shape[1], first, last, thresholds, signs, sweep=sweep, strict=strict
    )
    expected = slow_extrema(traces, first, last, thresholds, signs, sweep, strict)
    assert list(zip(samples, channels, values, strict=True)) == expected
    assert values.dtype == traces.dtype
    return len(expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("signs", ["neg", "pos", "both"])
def test_extrema_against_a_loop(dtype, signs):
    rng = np.random.default_rng(0)
    found = 0
    # rows of 65 samples begin at any bit; 3 x 7 samples are fewer than are compared in one go
    for num_samples, num_channels in ((40, 65), (7, 3), (300, 1), (33, 64), (3, 2), (2, 2)):
        traces = drawn(rng, (num_samples, num_channels), dtype)
        for sweep, strict, threshold in ((1, False, 4.0), (1, True, 4.0), (3, False, 2.5), (1, False, 3.3)):
            thresholds = rng.choice([threshold, 2 * threshold], num_channels)
            found += check_extrema(traces, thresholds, signs, sweep, strict)
    assert (found > 200) == (dtype.kind != "u" or signs != "neg")


def test_extrema_in_some_channels_of_wider_traces():
    rng = np.random.default_rng(1)
    for dtype in map(np.dtype, ("float32", "int16", "uint8")):
        wide = drawn(rng, (200, 12), dtype)
        held = wide[:, 2:11]
        assert flat_rows(held)[1] == 12
        assert check_extrema(held, np.full(9, 5.0), "both", 1, strict=False) > 50


def test_more_extrema_than_there_is_room_for_at_first():
    traces = np.zeros((4001, 3), "float32")
    traces[1::2] = -9.0
    assert check_extrema(traces, np.full(3, 5.0), "neg", 1, strict=False) == 6000


def test_nothing_is_an_extremum_beside_nan():
    traces = np.zeros((9, 70), "float32")
    traces[4] = -9.0
    traces[3, 1] = traces[4, 2] = traces[5, 3] = np.nan
    traces[4, 5] = -np.inf
    with np.errstate(invalid="ignore"):
        assert check_extrema(traces, np.full(70, 5.0), "neg", 1, strict=False) == 67


def slow_largest(samples, channels, sizes, mask, sweep, first, last):
    kept = []
    for i in range(first, last):
        exceeded = False
        for j in range(len(samples)):
            if j == i or abs(samples[j] - samples[i]) > sweep or not mask[channels[i], channels[j]]:
                continue
            exceeded |= sizes[j] > sizes[i] or (sizes[j] == sizes[i] and samples[j] < samples[i])
        if not exceeded:
            kept.append(i)
    return kept


@pytest.mark.parametrize("sweep", [0, 1, 5, 40])
@pytest.mark.parametrize("reach", [0, 1, 3, 20])
def test_largest_extrema_against_a_loop(sweep, reach):
    rng = np.random.default_rng(sweep + 100 * reach)
    order = np.unique(rng.integers(0, 300 * 9, size=250))
    samples, channels = order // 9, order % 9
    sizes = rng.integers(1, 12, size=order.size) / 2.0
    sizes[rng.integers(0, order.size, 5)] = np.inf
    mask = np.abs(np.arange(9)[:, None] - np.arange(9)) <= reach
    lists = masked_lists(mask)
    for first, last in ((0, order.size), (20, 90), (30, 30), (order.size - 1, order.size)):
        kept = largest_around(samples, channels, sizes, *lists, sweep, first, last)
        assert kept.tolist() == slow_largest(samples, channels, sizes, mask, sweep, first, last)


def test_no_extremum():
    none = np.empty(0, np.int64)
    lists = masked_lists(np.ones((3, 3), bool))
    assert largest_around(none, none, np.empty(0), *lists, 3, 0, 0).size == 0
    assert relative_sizes(np.empty(0, "float32"), none, np.ones(3)).size == 0


def test_sizes_are_in_units_of_the_threshold():
    sizes = relative_sizes(np.array([-6, 4], "int16"), np.array([1, 0]), np.array([2.0, 4.0]))
    np.testing.assert_array_equal(sizes, [1.5, 2.0])
