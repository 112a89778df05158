import numpy as np
import pytest

from steadyspike.kernels.motion import raster, segment_offsets
from steadyspike.kernels.motion.registration import Spikes

KNOTS_UM = np.array([0.0, 400.0, 800.0])
EDGES = np.array([0, 30, 30, 50, 90])


def windows_of(depths_um):
    return np.exp(-0.5 * ((depths_um - KNOTS_UM[:, None]) / 200.0) ** 2)


def spikes_of(offsets_um, bends_um, num_units=60, num_spikes=12_000, groups=None, seed=0):
    """Units at fixed depths, seen in segments that lie offsets apart and are bent along the probe."""
    rng = np.random.default_rng(seed)
    rest, sizes = rng.uniform(0, 800, num_units), np.exp(rng.uniform(3, 6, num_units))
    unit = rng.integers(0, num_units, num_spikes)
    times = np.sort(rng.integers(0, EDGES[-1], num_spikes))
    segment = np.searchsorted(EDGES, times, side="right") - 1
    place = rest[unit] / 800 - 0.5
    depths = rest[unit] + np.array(offsets_um)[segment] + np.array(bends_um)[segment] * place
    depths += rng.normal(0, 3, num_spikes)
    return Spikes(
        times.astype("int32"),
        depths.astype("float32"),
        sizes[unit].astype("float32"),
        None if groups is None else groups(unit),
    )


def slow_densities(spikes, displacement, low, num_depths):
    """Count spike by spike, share between the two nearest bins, smooth by hand."""
    marks = raster.amplitude_marks(spikes.amplitudes, segment_offsets.NUM_MARKS)
    if spikes.groups is not None:
        marks = marks + segment_offsets.NUM_MARKS * spikes.groups
    num_marks = segment_offsets.NUM_MARKS * spikes.num_groups
    result = np.zeros((len(EDGES) - 1, num_depths, num_marks))
    for time, depth, mark in zip(spikes.time_bins, spikes.depths_um, marks, strict=True):
        segment = np.searchsorted(EDGES, time, side="right") - 1
        corrected = depth - np.interp(depth, KNOTS_UM, displacement[time])
        position = min(max((corrected - low) / segment_offsets.STEP_UM, 0.0), num_depths - 1.001)
        cell = int(position)
        result[segment, cell, mark] += 1 - (position - cell)
        result[segment, cell + 1, mark] += position - cell
    result[:, [0, -1]] = 0
    grid = np.arange(num_depths)
    sigma = segment_offsets.SMOOTH_UM / segment_offsets.STEP_UM
    reach = np.abs(grid[:, None] - grid)
    kernel = np.where(reach <= int(4 * sigma + 0.5), np.exp(-0.5 * (reach / sigma) ** 2), 0.0)
    total = np.exp(-0.5 * (np.arange(-int(4 * sigma + 0.5), int(4 * sigma + 0.5) + 1) / sigma) ** 2).sum()
    smooth = np.einsum("ij,sjm->sim", kernel / total, result)
    return np.sqrt(smooth / np.maximum(np.diff(EDGES), 1)[:, None, None])


@pytest.mark.parametrize("groups", [None, lambda unit: (unit % 2).astype("int32")])
def test_densities_equal_slow_oracle(groups):
    spikes = spikes_of([0, 0, 10, -5], [0, 0, 0, 0], num_spikes=500, groups=groups)
    displacement = np.random.default_rng(1).normal(0, 5, (EDGES[-1], 3))
    limits = (-40.0, 840.0)
    densities = segment_offsets.segment_densities(spikes, KNOTS_UM, displacement, EDGES, limits)
    expected = slow_densities(spikes, displacement, limits[0], densities.shape[1])
    np.testing.assert_allclose(densities, expected, atol=2e-3)
    # the second segment has no time bins
    assert not densities[1].any()


def test_best_shift_equals_trying_all():
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 40, 3)).astype("float32")
    for max_shift in (0, 5, 100):
        shift, height = segment_offsets.best_shift(first, second, max_shift)
        scores = {}
        for tried in range(-min(max_shift, 39), min(max_shift, 39) + 1):
            total = sum(float(first[y] @ second[y + tried]) for y in range(40) if 0 <= y + tried < 40)
            scores[tried] = total / float(np.linalg.norm(first) * np.linalg.norm(second))
        best = max(scores, key=scores.get)
        assert abs(shift - best) <= 0.5
        assert height == pytest.approx(scores[best], rel=1e-4)
    assert segment_offsets.best_shift(np.zeros_like(first), second, 5) == (0.0, 0.0)


@pytest.mark.parametrize("bends", [(0, 0, 0, 0), (0, 0, 30, -20)])
def test_segments_far_apart_are_put_in_place(bends):
    offsets = np.array([0.0, 0.0, 220.0, -150.0])
    spikes = spikes_of(offsets, bends)
    still = np.zeros((EDGES[-1], 3))
    found = segment_offsets.register_segments(
        spikes, KNOTS_UM, windows_of, (-200.0, 1100.0), still, EDGES, 400.0
    )
    for segment in (2, 3):
        middle = found[EDGES[segment]] - found[0]
        # what is seen at a knot was at rest elsewhere
        rest = KNOTS_UM - offsets[segment]
        truth = offsets[segment] + bends[segment] * (rest / 800 - 0.5)
        inside = (rest > 100) & (rest < 700)
        # within the reach of the refinement that follows
        assert np.abs(middle - truth)[inside].max() < 12.0


def test_one_segment_is_left_as_it_is():
    displacement = np.random.default_rng(0).normal(size=(20, 3))
    spikes = Spikes(np.zeros(3, "int32"), np.zeros(3, "float32"), np.ones(3, "float32"))
    found = segment_offsets.register_segments(
        spikes, KNOTS_UM, windows_of, (0.0, 800.0), displacement, np.array([0, 20]), 400.0
    )
    np.testing.assert_array_equal(found, displacement)
    assert found is not displacement


def test_no_spikes_at_all_give_no_offsets():
    spikes = Spikes(np.zeros(0, "int32"), np.zeros(0, "float32"), np.zeros(0, "float32"))
    found = segment_offsets.register_segments(
        spikes, KNOTS_UM, windows_of, (0.0, 800.0), np.zeros((90, 3)), EDGES, 400.0
    )
    assert np.all(found == 0)
