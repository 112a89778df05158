import numpy as np
import pytest
from scipy.ndimage import convolve1d

from steadyspike.kernels.motion import iterative_template as kernels
from steadyspike.kernels.motion.template_registration import OUTLIERS


def slow_align_outwards(
    time_bins, positions, marks, num_marks, num_points, reach, kernel, start, stop, memory
):
    """The same with whole histograms: every aligned time bin is weighed anew by its distance from the last."""

    def template_of(done, current):
        histogram = np.zeros((num_marks, num_points))
        for order, (t, shift) in enumerate(done):
            weight = np.exp((order - current) / memory)
            for position, mark in zip(positions[time_bins == t], marks[time_bins == t], strict=True):
                place = position - shift
                points = weight * np.maximum(1 - np.abs(np.arange(num_points) - place), 0)
                histogram[mark] += points
        smooth = convolve1d(histogram, kernel, axis=1, mode="constant")
        return convolve1d(smooth, [0.25, 0.5, 0.25], axis=0, mode="constant"), histogram.sum()

    displacement = np.zeros(stop)
    middle = (start + stop) // 2
    shifts = np.arange(-reach, reach + 1)
    for sequence in (range(middle, stop), range(middle, start - 1, -1)):
        done, current = [], 0.0
        for t in sequence:
            template, total = template_of(done, len(done))
            mine = time_bins == t
            if total > 0 and mine.any():
                floor = 0.1 * total / template.size
                curve = -2.0 * (shifts / reach) ** 2
                for position, mark in zip(positions[mine], marks[mine], strict=True):
                    places = np.floor(position - current - shifts + 0.5).astype(int)
                    curve = curve + np.log(template[mark, places] + floor)
                best = int(np.argmax(curve))
                current += shifts[best]
                if 0 < best < curve.size - 1:
                    left, top, right = curve[best - 1 : best + 2]
                    current += 0.5 * (right - left) / (2 * top - left - right)
            displacement[t] = current
            done.append((t, current))
    return displacement


def moving_spikes(seed, num_times=9, per_bin=30, num_marks=3):
    rng = np.random.default_rng(seed)
    units = rng.uniform(30, 70, 8)
    time_bins = np.sort(rng.integers(0, num_times, num_times * per_bin))
    unit = rng.integers(0, 8, time_bins.size)
    truth = np.cumsum(rng.normal(0, 1.5, num_times))
    positions = units[unit] + truth[time_bins] + 0.5 * rng.standard_normal(time_bins.size)
    return time_bins, positions, (unit % num_marks).astype("int32"), truth


def align(time_bins, positions, marks, num_times, start, stop, memory=3.0):
    displacement = np.full(num_times, np.nan)
    first = np.searchsorted(time_bins, np.arange(num_times + 1))
    kernel = kernels._gaussian(1.0)
    kernels.align_outwards(
        first, positions, marks, (3, 100), 6, kernel, start, stop, memory, OUTLIERS, displacement
    )
    return displacement


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("silent", [(), (4,), (0, 1, 6)])
def test_walk_equals_slow_oracle(seed, silent):
    time_bins, positions, marks, truth = moving_spikes(seed)
    keep = ~np.isin(time_bins, silent)
    time_bins, positions, marks = time_bins[keep], positions[keep], marks[keep]
    found = align(time_bins, positions, marks, 9, 0, 9)
    expected = slow_align_outwards(time_bins, positions, marks, 3, 100, 6, kernels._gaussian(1.0), 0, 9, 3.0)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if not silent:
        assert np.abs(found - truth - np.median(found - truth)).max() < 0.6


def test_walk_fills_its_segment_only_and_survives_no_spikes():
    found = align(np.zeros(0, int), np.zeros(0), np.zeros(0, "int32"), 9, 3, 7)
    np.testing.assert_array_equal(found[3:7], 0)
    assert np.isnan(found[[0, 1, 2, 7, 8]]).all()


def test_long_walk_keeps_its_numbers():
    # weights grow without end and are brought back
    time_bins = np.arange(4000)
    positions = 50.0 + 5.0 * np.sin(time_bins / 50)
    found = align(time_bins, positions, np.zeros(4000, "int32"), 4000, 0, 4000, memory=2.0)
    np.testing.assert_allclose(found - found[0], positions - positions[0], atol=1.0)


def test_bridge_interpolates_within_segments():
    displacement = np.array([[1.0], [9.0], [3.0], [5.0], [9.0], [9.0], [9.0]])
    measured = np.array([[1], [0], [1], [1], [0], [0], [0]], dtype=bool)
    bridged = kernels._bridge(displacement, measured, np.array([0, 3, 5, 7]))
    np.testing.assert_allclose(bridged[:, 0], [1, 2, 3, 5, 5, 9, 9])
