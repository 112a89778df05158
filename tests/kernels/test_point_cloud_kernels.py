import numpy as np

from steadyspike.kernels.motion import kernel_correlation
from steadyspike.kernels.motion import point_cloud as kernels
from steadyspike.kernels.motion.registration import Spikes


def test_features_are_scaled_by_their_spread():
    rng = np.random.default_rng(0)
    columns = [5 + 2 * rng.standard_normal(4000), np.full(4000, 3.0), 100 * rng.standard_normal(4000)]
    columns[0][0] = np.nan
    features = kernels.scaled_features(columns, 0.5)
    assert features.shape == (4000, 2)
    np.testing.assert_allclose(features.std(axis=0), 2.0, rtol=0.1)
    assert features[0, 0] == 0
    assert np.isfinite(features).all()
    grouped = kernels.scaled_features([np.zeros(3)], 0.5, groups=np.array([0, 0, 1]))
    assert kernel_correlation._likeness(*grouped[[0, 1]], 3.0) == 1.0
    assert kernel_correlation._likeness(*grouped[[1, 2]], 3.0) == 0.0
    assert kernels.scaled_features([np.zeros(0)], 0.5).shape == (0, 0)


def test_thinning_keeps_evenly_spread_spikes():
    cloud_of_spike = np.repeat([0, 1, 3], [3, 100, 7])
    kept = kernels._thinned(cloud_of_spike, 4, 10)
    assert np.bincount(cloud_of_spike[kept]).tolist() == [3, 10, 0, 7]
    assert np.ptp(np.diff(kept[3:13])) <= 1


def test_merged_bins_hold_enough_spikes():
    bins = np.repeat(np.arange(100), 4)
    assert kernels.merged_bins(bins, 100, 1, 4.0) == 1
    assert kernels.merged_bins(bins, 100, 2, 4.0) == 2
    assert kernels.merged_bins(bins, 100, 50, 40.0) == 10
    assert kernels.merged_bins(bins, 100, 50, 0.0) == 1
    assert kernels.merged_bins(np.zeros(0, int), 100, 50, 8.0) == 1


def test_merged_clouds_stay_in_their_segment():
    rng = np.random.default_rng(0)
    edges = np.array([0, 7, 9, 14])
    spikes = Spikes(
        rng.integers(0, 14, 300).astype("int32"),
        rng.uniform(0, 100, 300).astype("float32"),
        np.full(300, -50.0),
    )
    built = kernels._Clouds(
        spikes, np.zeros((300, 0), "float32"), np.array([50.0]), (0.0, 100.0), edges, 3, 1000
    )
    assert built.edges.tolist() == [0, 3, 4, 6]
    depths, *_, first = built.corrected(np.zeros((6, 1)))
    expected = [[0, 1, 2], [3, 4, 5], [6], [7, 8], [9, 10, 11], [12, 13]]
    for cloud, bins in enumerate(expected):
        mine = np.sort(spikes.depths_um[np.isin(spikes.time_bins, bins)])
        np.testing.assert_array_equal(depths[first[cloud] : first[cloud + 1]], mine)
    coarse = np.array([[0.0], [3.0], [6.0], [9.0], [1.0], [2.0]])
    full = kernels._on_all_bins(coarse, built.edges, edges, 3)
    np.testing.assert_allclose(full[:7, 0] - full[0, 0], [0, 0, 1, 2, 3, 4.5, 6], atol=1e-9)
    np.testing.assert_allclose(full[9:, 0] - full[9, 0], [0, 0, 0.4, 0.8, 1.0], atol=1e-9)
