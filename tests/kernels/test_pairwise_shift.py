import numpy as np
import pytest

from steadyspike.kernels.motion.pairwise_shift import correlate_at_lag, lag_schedule, window_blocks


def slow_correlation(a, b, weights, shift):
    """Correlation of two rasters (num_depths, num_marks) at one shift, with a weight for each depth."""
    product = own = other = 0.0
    for y in range(a.shape[0]):
        own += weights[y] * np.sum(a[y] ** 2)
        if 0 <= y + shift < b.shape[0]:
            product += weights[y] * np.sum(a[y] * b[y + shift])
            other += weights[y] * np.sum(b[y + shift] ** 2)
    norm = np.sqrt(own * other)
    return product / norm if norm > 0 else 0.0


@pytest.mark.parametrize(
    ("num_times", "horizon"), [(0, 5), (1, 5), (2, 5), (50, 3), (50, 1000), (5000, 1000)]
)
def test_lags_increase_and_stay_inside(num_times, horizon):
    lags = lag_schedule(num_times, horizon)
    assert np.all(np.diff(lags) > 0)
    longest = min(horizon, num_times - 1)
    assert np.all((lags >= 1) & (lags <= longest))
    assert list(lags[:8]) == list(range(1, min(8, max(longest, 0)) + 1))


def test_number_of_lags_grows_with_the_logarithm():
    assert lag_schedule(100_000, 100_000).size < 2 * lag_schedule(1_000, 1_000).size


def test_blocks_keep_the_weights():
    windows = np.random.default_rng(0).random((3, 100))
    edges, weights = window_blocks(windows, num_blocks=7)
    np.testing.assert_allclose(weights @ np.diff(edges), windows.sum(axis=1))


@pytest.mark.parametrize("num_marks", [1, 3])
def test_shifts_equal_slow_oracle(num_marks):
    rng = np.random.default_rng(num_marks)
    num_times, num_depths, max_shift, lag = 6, 23, 5, 2
    raster = rng.random((num_times, num_depths, num_marks)).astype("float32")
    raster[3] = 0  # a time bin without spikes
    windows = rng.random((2, num_depths))
    edges, weights = window_blocks(windows, num_blocks=num_depths)
    shifts = np.zeros((num_times, 2), dtype="float32")
    heights = np.zeros((num_times, 2), dtype="float32")
    correlate_at_lag(raster, lag, edges, weights, max_shift, shifts, heights)
    for t in range(num_times - lag):
        for w in range(2):
            values = [
                slow_correlation(raster[t], raster[t + lag], windows[w], shift)
                for shift in range(-max_shift, max_shift + 1)
            ]
            assert heights[t, w] == pytest.approx(max(values), rel=1e-4)
            if max(values) > 0:
                assert abs(shifts[t, w] - (np.argmax(values) - max_shift)) <= 0.5
            else:
                assert shifts[t, w] == 0
    assert not np.any(shifts[num_times - lag :])


def test_known_shift_is_found_between_bins():
    depths = np.arange(80.0)
    profile = np.zeros(80)
    for center in (20.0, 41.0, 63.0):
        profile += np.exp(-0.5 * ((depths - center) / 2) ** 2)
    moved = np.interp(depths - 3.3, depths, profile)
    raster = np.stack([profile, moved])[:, :, None].astype("float32")
    shifts, heights = np.zeros((2, 2, 1), dtype="float32")
    edges, weights = window_blocks(np.ones((1, 80)))
    correlate_at_lag(raster, 1, edges, weights, 10, shifts, heights)
    assert shifts[0, 0] == pytest.approx(3.3, abs=0.05)
    assert heights[0, 0] > 0.98
