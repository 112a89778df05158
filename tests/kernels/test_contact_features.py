import numpy as np
import pytest
from spikeinterface.postprocessing.localization_tools import (
    enforce_decrease_shells_data,
    make_radial_order_parents,
)

from steadyspike.kernels.spikes.contact_features import (
    FEATURES,
    enforce_radial_decrease,
    neighbour_lists,
    shell_radii,
    spike_features,
)
from steadyspike.kernels.spikes.spike_samples import in_waveforms

STAGGERED = np.array([[16.0 * ((3 * i) % 4), 20.0 * (i // 2)] for i in range(40)])
LINEAR = np.array([[0.0, 25.0 * i] for i in range(12)])


def neighbour_oracle(locations, radius_um):
    lists = []
    for here in locations:
        distances = [np.hypot(*(there - here)) for there in locations]
        near = [i for i, distance in enumerate(distances) if distance <= radius_um]
        lists.append(sorted(near, key=lambda i: distances[i]))
    return lists


def waveform_features(waveforms, *arguments, **keywords):
    return spike_features(in_waveforms(waveforms), *arguments, **keywords)


def feature_oracle(waveform, feature, peak_index):
    waveform = waveform.astype("float64")
    if feature == "ptp":
        return waveform.max() - waveform.min()
    if feature == "energy":
        return np.sqrt((waveform**2).sum())
    return abs(waveform[peak_index])


@pytest.mark.parametrize("radius_um", [0.5, 45.0, 1e6])
def test_neighbours_are_those_in_reach_nearest_first(radius_um):
    neighbours, counts = neighbour_lists(STAGGERED, radius_um)
    expected = neighbour_oracle(STAGGERED, radius_um)
    assert neighbours.shape == (len(STAGGERED), max(map(len, expected)))
    for row, count, near in zip(neighbours, counts, expected, strict=True):
        np.testing.assert_array_equal(row[:count], near)
        assert (row[count:] == -1).all()


def test_neighbours_are_only_those_allowed():
    allowed = np.random.default_rng(0).random((len(STAGGERED), len(STAGGERED))) < 0.5
    neighbours, counts = neighbour_lists(STAGGERED, 60.0, allowed)
    for channel, near in enumerate(neighbour_oracle(STAGGERED, 60.0)):
        expected = [i for i in near if allowed[channel, i]]
        np.testing.assert_array_equal(neighbours[channel, : counts[channel]], expected)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
def test_features_match_the_oracle(feature, dtype):
    rng = np.random.default_rng(1)
    waveforms = (100 + 50 * rng.standard_normal((30, 9, len(STAGGERED)))).clip(0, 255).astype(dtype)
    channels = rng.integers(0, len(STAGGERED), 30)
    neighbours, counts = neighbour_lists(STAGGERED, 45.0)
    features = waveform_features(waveforms, channels, neighbours, counts, feature, peak_index=3)
    for i, channel in enumerate(channels):
        near = neighbours[channel, : counts[channel]]
        expected = [feature_oracle(waveforms[i, :, c], feature, 3) for c in near]
        np.testing.assert_allclose(features[i, : counts[channel]], expected, rtol=1e-6)
        assert (features[i, counts[channel] :] == 0).all()


def test_peak_to_peak_of_int16_does_not_wrap():
    waveforms = np.array([[[-30_000], [30_000]]], dtype="int16")
    lists = neighbour_lists(np.zeros((1, 2)), 1.0)
    assert waveform_features(waveforms, np.array([0]), *lists)[0, 0] == 60_000


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_bad_sample_spoils_only_its_contact(feature, bad):
    waveforms = np.random.default_rng(2).standard_normal((1, 5, len(LINEAR)))
    waveforms[0, 2, 4] = bad
    neighbours, counts = neighbour_lists(LINEAR, 60.0)
    features = waveform_features(waveforms, np.array([5]), neighbours, counts, feature, peak_index=2)
    np.testing.assert_array_equal(np.isfinite(features[0, : counts[5]]), neighbours[5, : counts[5]] != 4)


def test_any_memory_layout_gives_the_same_features():
    rng = np.random.default_rng(3)
    waveforms = rng.standard_normal((6, 7, len(LINEAR))).astype("float32")
    channels = np.arange(6)
    lists = neighbour_lists(LINEAR, 60.0)
    expected = waveform_features(waveforms, channels, *lists)
    for same in (np.asfortranarray(waveforms), np.repeat(waveforms, 2, axis=2)[:, :, ::2]):
        np.testing.assert_array_equal(waveform_features(same, channels, *lists), expected)


@pytest.mark.parametrize("shape", [(0, 5, 12), (3, 0, 12)])
def test_no_peaks_and_no_samples(shape):
    lists = neighbour_lists(LINEAR, 60.0)
    features = waveform_features(np.zeros(shape, "float32"), np.arange(shape[0]), *lists)
    np.testing.assert_array_equal(features, np.zeros((shape[0], lists[0].shape[1])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": "slope"}, "feature is 'slope'"),
        ({"channels": np.array([0, 12])}, "channels goes from 0 to 12"),
        ({"channels": np.array([-1, 0])}, "channels goes from -1"),
        ({"channels": np.array([0])}, "one per spike"),
        ({"waveforms": np.zeros((2, 5, 3), "float32")}, "the waveforms have 3 columns"),
        ({"feature": "peak_voltage", "peak_index": 5}, "peak_index is 5; allowed is 0 to 4"),
    ],
)
def test_what_cannot_work_is_refused(change, message):
    neighbours, counts = neighbour_lists(LINEAR, 60.0)
    arguments = {"waveforms": np.zeros((2, 5, 12), "float32"), "channels": np.array([0, 1])}
    arguments |= {"columns": neighbours, "counts": counts} | change
    with pytest.raises(ValueError, match=message):
        waveform_features(**arguments)


@pytest.mark.parametrize("locations", [STAGGERED, LINEAR, np.array([[0.0, 0.0], [3.0, 4.0]])])
def test_shell_radii_are_the_first_and_third_ring(locations):
    shells = shell_radii(locations)
    for here, shell in zip(locations, shells, strict=True):
        rings = np.unique(np.round(np.linalg.norm(locations - here, axis=1), 6))[1:][:3]
        np.testing.assert_allclose(shell, [rings[0], rings[-1]], atol=1e-6)


def test_shell_radii_of_one_contact_and_of_contacts_at_one_place():
    np.testing.assert_array_equal(shell_radii(np.zeros((1, 2))), [[0.0, 0.0]])
    np.testing.assert_array_equal(shell_radii(np.ones((3, 2))), np.zeros((3, 2)))


@pytest.mark.parametrize("locations", [STAGGERED, LINEAR])
@pytest.mark.parametrize("radius_um", [55.0, 110.0])
def test_radial_decrease_is_what_spikeinterface_would_enforce(locations, radius_um):
    """The function is the reference: SpikeInterface's localizer calls it and drops the copy it returns."""
    rng = np.random.default_rng(4)
    distances = np.linalg.norm(locations[:, None] - locations[None], axis=2)
    parents = make_radial_order_parents(locations, distances <= radius_um)
    neighbours, counts = neighbour_lists(locations, radius_um)
    channels = rng.integers(0, len(locations), 60)
    features = rng.random((60, neighbours.shape[1]))
    cut = features.copy()
    enforce_radial_decrease(cut, channels, neighbours, counts, locations, shell_radii(locations))
    for i, channel in enumerate(channels):
        order = np.argsort(neighbours[channel, : counts[channel]])
        expected = enforce_decrease_shells_data(features[i][order], channel, parents)
        np.testing.assert_allclose(cut[i][order], expected, rtol=1e-12)
    assert (cut < features).any()


def test_radial_decrease_passes_over_a_dead_contact():
    neighbours, counts = neighbour_lists(LINEAR, 80.0)
    features = np.array([[5.0, np.nan, 4.0, 6.0, 3.0, 9.0, 8.0]])
    enforce_radial_decrease(features, np.array([6]), neighbours, counts, LINEAR, shell_radii(LINEAR))
    # nearest first: 6, 5, 7, 4, 8, 3, 9; the third ring reaches 75 um, so across the main channel too
    np.testing.assert_array_equal(features, [[5.0, np.nan, 4.0, 5.0, 3.0, 5.0, 5.0]])
