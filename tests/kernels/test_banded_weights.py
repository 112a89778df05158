import numpy as np
import pytest

from steadyspike.kernels.channels import banded_weights as kernel


def band(num_channels=130, width=6, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(num_channels, num_channels))
    distance = np.abs(np.subtract.outer(np.arange(num_channels), np.arange(num_channels)))
    weights[(distance > width) | (rng.random(weights.shape) < 0.3)] = 0.0
    return weights


def slow_apply(traces, weights, rows):
    """The sum over channels with a weight, sample by sample, in float64."""
    corrected = np.zeros((len(traces), len(rows)))
    for t, sample in enumerate(traces):
        for i, row in enumerate(rows):
            for j in np.flatnonzero(weights[row]):
                corrected[t, i] += weights[row, j] * float(sample[j])
    corrected[~np.isfinite(corrected)] = np.nan
    return corrected


def apply(traces, weights, targets=None, order=None, rows=None, dtype="float32"):
    targets = np.arange(len(weights)) if targets is None else targets
    banded = kernel.band_weights(weights, targets, order, dtype)
    num_rows = len(weights) if rows is None else len(rows)
    corrected = np.full((len(traces), num_rows), 7.0, dtype=dtype)
    kernel.apply_weights(traces, banded, rows, corrected)
    return corrected


def shuffled(num_channels=130, seed=3):
    return np.random.default_rng(seed).permutation(num_channels)


def weights_and_order(ordered):
    """A band as it is, or one that shows only once the channels are in the right order."""
    if ordered:
        return band(), None
    order = shuffled()
    place = np.argsort(order)
    return band()[place][:, place], order


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32", "float64"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("rows", [None, [5], [129, 0, 3, 3], []])
def test_product_equals_the_loops(dtype, ordered, rows):
    traces = np.random.default_rng(1).normal(scale=50.0, size=(40, 130)) + 200.0
    traces = traces.astype(dtype)
    weights, order = weights_and_order(ordered)
    # nine blocks of 16 rows, each of 12 sources more than rows at most
    assert len(kernel.band_weights(weights, np.arange(130), order, "float32").sources) <= 9 * (16 + 12)
    rows = None if rows is None else np.array(rows, dtype="int64")
    expected = slow_apply(traces, weights, range(130) if rows is None else rows)
    value = apply(traces, weights, order=order, rows=rows, dtype="float64")
    np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-9)
    value = apply(traces, weights, order=order, rows=rows)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, expected, atol=2e-6 * np.abs(weights).sum(axis=1).max() * 400)


@pytest.mark.parametrize("ordered", [True, False])
def test_fewer_targets_than_channels(ordered):
    targets = np.array([2, 8, 33, 34, 60])
    traces = np.random.default_rng(1).normal(size=(50, 130))
    weights, order = weights_and_order(ordered)
    weights = weights[targets]
    value = apply(traces, weights, targets, order, dtype="float64")
    np.testing.assert_allclose(value, slow_apply(traces, weights, range(5)), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("some_rows", [False, True])
def test_samples_that_are_not_finite_reach_only_rows_with_a_weight(bad, ordered, some_rows):
    traces = np.random.default_rng(1).normal(size=(600, 130)).astype("float32")
    clean = traces.copy()
    traces[:, 41] = bad
    traces[300, 10] = bad
    weights, order = weights_and_order(ordered)
    reached = np.flatnonzero(weights[:, 41])
    rows = np.append(reached[:2], (reached[0] + 65) % 130) if some_rows else None
    value = apply(traces, weights, order=order, rows=rows)
    chosen = weights if rows is None else weights[rows]
    touched = np.zeros(value.shape, dtype=bool)
    touched[:, chosen[:, 41] != 0] = True
    touched[300, chosen[:, 10] != 0] = True
    assert touched.any()
    assert not touched.all()
    np.testing.assert_array_equal(np.isnan(value), touched)
    untouched = apply(clean, weights, order=order, rows=rows)
    np.testing.assert_array_equal(value[~touched], untouched[~touched])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("num_samples", [1, 7, 40])
def test_every_digit_is_that_of_the_sum_in_the_order_of_the_channels(dtype, ordered, num_samples):
    """So it depends on nothing else: no product is fused with its sum, and none is summed apart."""
    traces = np.random.default_rng(1).normal(size=(num_samples, 130)).astype(dtype)
    weights, order = weights_and_order(ordered)
    expected = np.zeros((num_samples, 130), dtype=dtype)
    for channel, column in enumerate(weights.astype(dtype).T):
        expected += traces[:, channel, None] * column
    np.testing.assert_array_equal(apply(traces, weights, order=order, dtype=dtype), expected)
    rows = np.array([129, 0, 3, 3])
    value = apply(traces, weights, order=order, rows=rows, dtype=dtype)
    np.testing.assert_array_equal(value, expected[:, rows])


@pytest.mark.filterwarnings("error")
def test_finite_samples_may_overflow():
    traces = np.zeros((9, 130), dtype="float32")
    traces[4, 20] = 3e38
    weights = np.zeros((130, 130))
    weights[20, 20], weights[21, 20] = 2.0, -2.0
    value = apply(traces, weights)
    assert value[4, 20] == np.inf
    assert value[4, 21] == -np.inf
    assert np.isfinite(value).sum() == value.size - 2


@pytest.mark.parametrize("ordered", [True, False])
def test_any_cut_in_time_gives_the_same_samples(ordered):
    traces = np.random.default_rng(1).normal(size=(1500, 130)).astype("float32")
    weights, order = weights_and_order(ordered)
    expected = apply(traces, weights, order=order)
    for size in (97, 256, 700):
        parts = [apply(traces[start : start + size], weights, order=order) for start in range(0, 1500, size)]
        np.testing.assert_array_equal(np.concatenate(parts), expected)
    for sample in (0, 1, 255, 511, 512, 1499):
        value = apply(traces[sample : sample + 1], weights, order=order)
        np.testing.assert_array_equal(value, expected[sample : sample + 1])


@pytest.mark.parametrize("order", ["F", "strided"])
def test_any_memory_layout(order):
    traces = np.random.default_rng(1).normal(size=(300, 130)).astype("float32")
    layout = np.asfortranarray(traces) if order == "F" else np.repeat(traces, 2, axis=1)[:, ::2]
    np.testing.assert_array_equal(apply(layout, band()), apply(traces, band()))


def test_nothing_to_compute():
    assert apply(np.zeros((0, 130), dtype="float32"), band()).shape == (0, 130)
    weights = np.zeros((130, 130))
    traces = np.full((5, 130), np.nan)
    np.testing.assert_array_equal(apply(traces, weights), 0.0)


def test_weights_without_a_band():
    weights = np.random.default_rng(0).normal(size=(130, 130))
    traces = np.random.default_rng(1).normal(size=(50, 130))
    np.testing.assert_allclose(apply(traces, weights, dtype="float64"), traces @ weights.T, atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1])
def test_dropped_weights_are_the_smallest_and_negligible(seed):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(30, 80)) * 10.0 ** rng.uniform(-12, 0, size=(30, 80))
    weights[3] = 0.0
    kept = kernel.drop_small(weights.copy(), 1e-6)
    for row, original in zip(kept, weights, strict=True):
        dropped = np.abs(original[row == 0])
        allowed = 1e-6 * min(1.0, np.abs(original).sum())
        assert dropped.sum() <= allowed
        assert (row[row != 0] == original[row != 0]).all()
        if original.any():
            smallest = np.abs(row[row != 0]).min()
            assert dropped.max(initial=0.0) < smallest
            assert dropped.sum() + smallest > allowed


def test_scattered_channels_are_brought_into_order_and_good_orders_kept():
    index = np.arange(96)
    positions = np.stack([32.0 * (index % 2), 20.0 * (index // 2)], axis=1)
    assert kernel.narrow_order(positions) is None
    assert kernel.narrow_order(positions[::-1]) is None
    place = shuffled(96)
    order = kernel.narrow_order(positions[place])
    assert sorted(order) == list(range(96))
    jumps = np.abs(np.diff(positions[place][order], axis=0)).max()
    assert jumps <= 60.0


def test_four_shanks_are_brought_together():
    index = np.arange(96)
    positions = np.stack([250.0 * (index % 4), 15.0 * (index // 4)], axis=1)
    shanks = positions[kernel.narrow_order(positions), 0]
    assert (np.diff(shanks) != 0).sum() == 3


@pytest.mark.parametrize("num_channels", [1, 2, 5])
def test_few_channels(num_channels):
    positions = np.stack([np.zeros(num_channels), 20.0 * np.arange(num_channels)], axis=1)
    assert kernel.narrow_order(positions) is None
    traces = np.random.default_rng(0).normal(size=(9, num_channels))
    weights = np.random.default_rng(1).normal(size=(num_channels, num_channels))
    np.testing.assert_allclose(apply(traces, weights, dtype="float64"), traces @ weights.T, atol=1e-12)
