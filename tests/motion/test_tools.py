"""Resampling, smoothing, composing, inverting, restricting and comparing motions."""

import numpy as np
import pytest
from spikeinterface.core.motion import Motion

import steadyspike.motion
from steadyspike.motion import (
    compare_motions,
    compose_motions,
    invert_motion,
    resample_motion,
    restrict_motion,
    smooth_motion,
)

WINDOWS = np.array([0.0, 300.0, 700.0, 1000.0])


def wavy(seed=0, num_times=(40, 25), windows=WINDOWS, size_um=30.0, **kwargs):
    """Give a motion of two segments; the second starts late."""
    rng = np.random.default_rng(seed)
    times = [5.0 * segment + 0.5 + np.arange(number) for segment, number in enumerate(num_times)]
    displacement = [size_um * rng.uniform(-1, 1, (t.size, windows.size)) for t in times]
    return Motion(displacement, times, windows, **kwargs)


def rigid(value=3.0, num_times=20, depth=50.0):
    times = np.arange(num_times) + 0.5
    return Motion((value * np.sin(times / 3))[:, np.newaxis], times, np.array([depth]))


def corrected(motion, times, depths, segment):
    """Take a motion out of positions, with SpikeInterface's own interpolation."""
    return depths - motion.get_displacement_at_time_and_depth(times, depths, segment_index=segment)


def random_points(motion, segment, seed=1, number=200):
    rng = np.random.default_rng(seed)
    return rng.choice(motion.temporal_bins_s[segment], number), rng.uniform(-200, 1200, number)


def test_names_are_lazy_and_complete():
    assert {"OnlineMotionEstimator", "load_motion", "resample_motion"} <= set(steadyspike.motion.__all__)
    assert set(steadyspike.motion.__all__) <= set(dir(steadyspike.motion))
    assert all(callable(getattr(steadyspike.motion, name)) for name in steadyspike.motion.__all__)
    with pytest.raises(AttributeError, match="attribute nothing"):
        _ = steadyspike.motion.nothing


def test_no_function_changes_its_input():
    motion = wavy()
    before = motion.copy()
    resample_motion(motion, bin_s=0.5)
    smooth_motion(motion, sigma_s=2, sigma_um=0)
    compose_motions(motion, motion)
    invert_motion(motion)
    restrict_motion(motion, stop_s=20).displacement[0][:] = 7.0
    compare_motions(motion, smooth_motion(motion, sigma_s=2)).difference_um[0][:] = 7.0
    assert motion == before


# resample


def test_resampling_reads_off_the_motion_and_holds_it_outside():
    motion = wavy(direction="x")
    times = [np.array([-5.0, 0.5, 3.2, 1e4]), np.array([0.0, 7.7])]
    depths = np.array([-100.0, 150.0, 2000.0])
    result = resample_motion(motion, temporal_bins_s=times, spatial_bins_um=depths)
    for segment in range(2):
        for i, time in enumerate(times[segment]):
            row = [
                np.interp(time, motion.temporal_bins_s[segment], column)
                for column in motion.displacement[segment].T
            ]
            np.testing.assert_allclose(result.displacement[segment][i], np.interp(depths, WINDOWS, row))
    assert result.direction == "x"


def test_bins_of_one_width_cover_what_the_old_ones_covered():
    result = resample_motion(wavy(), bin_s=3.0)
    np.testing.assert_allclose(result.temporal_bins_s[0], 1.5 + 3.0 * np.arange(14))
    np.testing.assert_allclose(result.temporal_bins_s[1], 6.5 + 3.0 * np.arange(9))
    same = resample_motion(wavy(), bin_s=1.0)
    np.testing.assert_allclose(same.displacement[1], wavy().displacement[1])


def test_one_time_bin_and_one_window_can_be_resampled():
    motion = Motion(np.array([[2.0]]), np.array([4.0]), np.array([100.0]))
    assert resample_motion(motion, bin_s=1.0).displacement[0].tolist() == [[2.0]]
    finer = resample_motion(
        motion, temporal_bins_s=np.array([0.0, 9.0]), spatial_bins_um=np.array([0.0, 500.0])
    )
    np.testing.assert_array_equal(finer.displacement[0], np.full((2, 2), 2.0))


def test_cubic_motions_are_read_off_cubically():
    times = np.arange(20.0)
    motion = Motion(
        np.sin(times)[:, np.newaxis] * np.ones(5), times, np.arange(5.0), interpolation_method="cubic"
    )
    result = resample_motion(motion, bin_s=0.5)
    inside = (result.temporal_bins_s[0] > 2) & (result.temporal_bins_s[0] < 17)
    np.testing.assert_allclose(
        result.displacement[0][inside, 2], np.sin(result.temporal_bins_s[0][inside]), atol=0.01
    )
    assert result.interpolation_method == "cubic"


# smooth


def test_smoothing_is_a_gaussian_with_held_edges():
    motion = wavy(windows=np.array([0.0, 100.0, 200.0]))
    result = smooth_motion(motion, sigma_s=2.0, sigma_um=80.0)
    for segment, values in enumerate(motion.displacement):
        over_time = gaussian_oracle(values, 1.0, 2.0)
        np.testing.assert_allclose(result.displacement[segment], gaussian_oracle(over_time.T, 100.0, 80.0).T)


def gaussian_oracle(values, width, sigma):
    """Smooth along the first axis, one sum for each bin, the first and last value held outside."""
    reach = int(4 * sigma / width + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets * width / sigma) ** 2)
    result = np.empty_like(values)
    for i in range(len(values)):
        result[i] = weights @ values[np.clip(i + offsets, 0, len(values) - 1)] / weights.sum()
    return result


def test_smoothing_a_constant_or_by_nothing_changes_nothing():
    motion = wavy()
    np.testing.assert_array_equal(smooth_motion(motion).displacement[0], motion.displacement[0])
    still = Motion(np.full((30, 1), 4.0), np.arange(30.0), np.array([0.0]))
    np.testing.assert_allclose(smooth_motion(still, sigma_s=5, sigma_um=50).displacement[0], 4.0)


# compose


def test_composing_corrects_by_one_after_the_other():
    first, second = wavy(0), wavy(1)
    both = compose_motions(first, second)
    for segment in range(2):
        times = first.temporal_bins_s[segment]
        for depth in both.spatial_bins_um:
            depths = np.full(times.size, depth)
            once = corrected(first, times, depths, segment)
            twice = corrected(second, times, once, segment)
            np.testing.assert_allclose(corrected(both, times, depths, segment), twice, atol=1e-9)


def test_composing_keeps_the_bins_of_both():
    times = np.array([0.25, 1.75])
    second = Motion(np.ones((2, 2)), times, np.array([100.0, 300.0 + 1e-9]))
    first = Motion(np.zeros((3, 4)), np.arange(3.0), WINDOWS)
    both = compose_motions(first, second)
    assert both.temporal_bins_s[0].tolist() == [0.0, 0.25, 1.0, 1.75, 2.0]
    assert both.spatial_bins_um.tolist() == [0.0, 100.0, 300.0, 700.0, 1000.0]
    np.testing.assert_array_equal(both.displacement[0], 1.0)


@pytest.mark.parametrize("rigid_first", [True, False])
def test_rigid_and_nonrigid_compose_on_the_windows_of_the_nonrigid(rigid_first):
    nonrigid = Motion(np.tile(0.01 * WINDOWS, (20, 1)), rigid().temporal_bins_s[0], WINDOWS)
    pair = (rigid(), nonrigid) if rigid_first else (nonrigid, rigid())
    both = compose_motions(*pair)
    assert both.spatial_bins_um.tolist() == WINDOWS.tolist()
    assert compose_motions(rigid(), rigid(depth=80.0)).spatial_bins_um.tolist() == [50.0]
    moved = rigid().displacement[0]
    # 1 % of the depth that is left after the rigid part, held below the lowest window
    left = np.clip(WINDOWS - moved, 0, 1000) if rigid_first else WINDOWS
    np.testing.assert_allclose(both.displacement[0], moved + 0.01 * left)


# invert


@pytest.mark.parametrize("tolerance_um", [0.5, 0.05])
def test_inverse_takes_positions_back(tolerance_um):
    motion = wavy()
    inverse = invert_motion(motion, tolerance_um=tolerance_um)
    for segment in range(2):
        times, depths = random_points(motion, segment)
        back = corrected(inverse, times, corrected(motion, times, depths, segment), segment)
        assert np.abs(back - depths).max() <= tolerance_um


def test_composing_with_the_inverse_leaves_nothing():
    motion = wavy()
    inverse = invert_motion(motion, tolerance_um=0.1)
    for both, allowed in [((motion, inverse), 0.1), ((inverse, motion), 0.1 * (1 + 60 / 300))]:
        assert max(np.abs(array).max() for array in compose_motions(*both).displacement) <= allowed


def test_inverse_of_rigid_and_of_constant_motions_is_exact():
    np.testing.assert_array_equal(invert_motion(rigid()).displacement[0], -rigid().displacement[0])
    still = Motion(np.full((3, 4), 12.0), np.arange(3.0), WINDOWS)
    inverse = invert_motion(still)
    np.testing.assert_allclose(inverse.displacement[0], -12.0)


def test_folding_tissue_can_not_be_inverted():
    motion = Motion(np.tile([0.0, 0.0, 400.0, 400.0], (3, 1)), np.arange(3.0), WINDOWS)
    with pytest.raises(ValueError, match="folds the tissue"):
        invert_motion(motion)


# restrict


def test_restricting_keeps_bins_from_start_to_before_stop():
    motion = wavy()
    result = restrict_motion(motion, 10.5, 20.5)
    assert [times.tolist() for times in result.temporal_bins_s] == [(10.5 + np.arange(10)).tolist()] * 2
    np.testing.assert_array_equal(result.displacement[1], motion.displacement[1][5:15])
    second = restrict_motion(motion, segment_index=1)
    assert second.num_segments == 1
    np.testing.assert_array_equal(second.displacement[0], motion.displacement[1])


# compare


def test_offsets():
    reference = wavy()
    levels = np.array([1.0, 2.0, 3.0, 10.0])
    motion = Motion([d + levels for d in reference.displacement], reference.temporal_bins_s, WINDOWS)
    assert compare_motions(motion, reference).max_um == pytest.approx(0, abs=1e-9)
    none = compare_motions(motion, reference, offset="none")
    assert none.mean_um == pytest.approx(4.0)
    np.testing.assert_allclose(none.per_window_um, levels)
    overall = compare_motions(motion, reference, offset="global")
    np.testing.assert_allclose(overall.per_window_um, np.abs(levels - 2.5))
    np.testing.assert_allclose(overall.per_time_um[1], 2.5)
    assert [d.shape for d in none.difference_um] == [(40, 4), (25, 4)]
    assert none.correlation == pytest.approx(1.0)


def test_numbers_are_those_of_the_difference():
    motion, reference = wavy(0), wavy(1)
    result = compare_motions(motion, reference, offset="none")
    difference = np.concatenate(motion.displacement) - np.concatenate(reference.displacement)
    np.testing.assert_allclose(np.concatenate(result.difference_um), difference)
    assert result.median_um == pytest.approx(np.median(np.abs(difference)))
    assert result.max_um == pytest.approx(np.abs(difference).max())
    columns = zip(
        np.concatenate(motion.displacement).T, np.concatenate(reference.displacement).T, strict=True
    )
    expected = [np.corrcoef(*pair)[0, 1] for pair in columns]
    np.testing.assert_allclose(result.correlation_per_window, expected)
    assert f"mean {result.mean_um:.2f} um" in repr(result)


def test_rigid_and_still_motions_can_be_compared():
    reference = Motion(np.zeros((20, 4)), rigid().temporal_bins_s[0], WINDOWS)
    result = compare_motions(rigid(), reference)
    assert result.spatial_bins_um.tolist() == WINDOWS.tolist()
    assert np.isnan(result.correlation)
    assert np.isnan(result.correlation_per_window).all()
    one_bin = Motion(np.array([[2.0]]), np.array([4.0]), np.array([100.0]))
    assert compare_motions(one_bin, rigid(), offset="none").difference_um[0].shape == (1, 1)


# what can not work


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: resample_motion(m),
            "resample_motion: bin_s=None; allowed: a number where there are neither",
        ),
        (lambda m: resample_motion(m, bin_s=0), "bin_s=0"),
        (
            lambda m: resample_motion(m, bin_s=1, temporal_bins_s=np.arange(3)),
            "temporal_bins_s=.*None together",
        ),
        (lambda m: resample_motion(m, temporal_bins_s=np.arange(3)), "each of the 2 segment"),
        (lambda m: resample_motion(m, temporal_bins_s=[]), "each of the 2 segment"),
        (lambda m: resample_motion(m, spatial_bins_um=np.array([5.0, 5.0])), "strictly increasing"),
        (lambda m: smooth_motion(m, sigma_s=-1), "smooth_motion: sigma_s=-1; allowed: a number >= 0 s"),
        (lambda m: smooth_motion(m, sigma_um=np.nan), "sigma_um=nan"),
        (lambda m: smooth_motion(m, sigma_um=50), "resample_motion"),
        (lambda m: compose_motions(m, rigid()), "second.num_segments=1; allowed: 2, as first has"),
        (lambda m: compose_motions(m, wavy(direction="x")), "second.direction='x'; allowed: 'y'"),
        (lambda m: compare_motions(m, rigid()), "reference.num_segments=1; allowed: 2"),
        (
            lambda m: compare_motions(m, m, offset="mean"),
            "compare_motions: offset='mean'; allowed: 'per_depth'",
        ),
        (lambda m: compare_motions(m.to_dict(), m), "a spikeinterface.core.motion.Motion"),
        (lambda m: invert_motion(m, tolerance_um=1e-9), "invert_motion: tolerance_um=1e-09; allowed"),
        (lambda m: invert_motion(wavy(interpolation_method="nearest")), "'linear'"),
        (lambda m: restrict_motion(m, 5, 5), "start_s < stop_s"),
        (lambda m: restrict_motion(m, 1000), "holds a bin of segment 0, 0.5 to 39.5 s"),
        (lambda m: restrict_motion(m, segment_index=2), "0 to 1"),
        (lambda m: smooth_motion(Motion(np.full((2, 1), np.nan), np.arange(2.0), np.zeros(1))), "finite um"),
        (
            lambda m: smooth_motion(Motion(np.zeros((2, 2)), np.arange(2.0), np.array([9.0, 3.0]))),
            "spatial_bins_um",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call(wavy())
