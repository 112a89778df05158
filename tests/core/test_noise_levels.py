import warnings

import numpy as np
import pytest
import spikeinterface as si

from steadyspike.core.noise_levels import OUT_OF_REACH, noise_levels, rounded_levels, without_silent
from steadyspike.core.normalization import measure_normalization


@pytest.mark.parametrize("counts", [0.3, 0.5, 0.8, 1.0, 1.3, 2.0, 3.0, 5.0, 10.0])
def test_rounding_does_not_bend_the_level(counts):
    rng = np.random.default_rng(0)
    # wherever the mean lies between two whole numbers, and with spikes on 1 % of the samples
    exact = rng.normal(rng.uniform(size=8), counts, size=(10_000, 8))
    spikes = rng.random(exact.shape) < 0.01
    assert rounded_levels(np.round(exact).astype("int16")) / counts == pytest.approx(1.0, abs=0.06)
    assert rounded_levels(np.round(exact - 8 * counts * spikes)) / counts == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_levels_of_a_recording(dtype):
    rng = np.random.default_rng(1)
    levels = np.array([0.4, 0.8, 1.7, 6.0, 40.0])
    traces = np.round(rng.normal(32_768.0 if dtype == "uint16" else 0.0, levels, size=(20_000, 5)))
    recording = si.NumpyRecording([traces.astype(dtype)], 30_000.0)
    assert noise_levels(recording, n_jobs=1) / levels == pytest.approx(1.0, abs=0.03)
    np.testing.assert_array_equal(noise_levels(recording), noise_levels(recording))
    # SpikeInterface's, which are whole numbers before the last factor
    assert np.abs(si.get_noise_levels(recording, return_in_uV=False)[:3] / levels[:3] - 1).min() > 0.1


def test_levels_of_exact_samples_are_those_of_spikeinterface():
    traces = np.random.default_rng(0).normal(scale=3.0, size=(20_000, 3)).astype("float32")
    recording = si.NumpyRecording([traces], 30_000.0)
    levels = noise_levels(recording)
    again = si.get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=dict(seed=0), force_recompute=True
    )
    np.testing.assert_array_equal(levels, again)


@pytest.mark.parametrize("num_samples", [1, 2, 50, 500])
def test_short_recordings(num_samples):
    traces = np.random.default_rng(0).normal(scale=3.0, size=(num_samples, 4)).round().astype("int16")
    levels = noise_levels(si.NumpyRecording([traces], 30_000.0))
    assert levels.shape == (4,)
    assert np.isfinite(levels).all()


def silent(name):
    """Samples of a channel that tells nothing about noise."""
    rng = np.random.default_rng(0)
    column = np.zeros(10_000)
    if name == "glitches":
        column[::1000] = rng.normal(scale=300.0, size=10).round()
    elif name == "one percent saturated":
        column[::100] = 32_767
    elif name == "blanked for most of the time":
        column[:4000] = rng.normal(scale=20.0, size=4000)
    elif name == "saturated":
        column += 32_767
        column[:4000] -= np.abs(rng.normal(scale=20.0, size=4000)).round()
    elif name == "not finite":
        column += np.nan
    return column


@pytest.mark.parametrize(
    "name",
    ["zeros", "glitches", "one percent saturated", "blanked for most of the time", "saturated", "not finite"],
)
def test_what_is_no_noise_has_no_level(name):
    assert rounded_levels(silent(name)[:, None]).tolist() == [0.0]


def recording_of(dtype="float32", gain=1.0):
    recording = si.NumpyRecording([np.zeros((5, 4), dtype)], 30_000.0, channel_ids=[10, 20, 30, 40])
    recording.set_channel_gains(gain)
    return recording


def test_silent_channels_are_named_and_put_out_of_reach():
    levels = np.array([1.0, 0.0, np.nan, 2.0])
    with pytest.warns(UserWarning, match="channels 20, 30 are silent"):
        found = without_silent(levels, recording_of())
    np.testing.assert_array_equal(found, [1.0, OUT_OF_REACH, OUT_OF_REACH, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert without_silent(np.ones(4), recording_of()).tolist() == [1.0] * 4


def test_spikes_that_are_no_troughs_of_the_counts_are_told():
    with pytest.warns(UserWarning, match=r"peaks where the gain is negative.*scale_to_uV.*peak_sign=\"pos\""):
        without_silent(np.ones(4), recording_of(gain=[1.0, 1.0, -1.0, 1.0]))
    with pytest.warns(UserWarning, match=r"unsigned samples lie far from 0: filter"):
        without_silent(np.ones(4), recording_of("uint16"))


@pytest.mark.parametrize("counts", [0.3, 0.8, 2.0, 5.0])
def test_the_normalization_of_networks_is_not_bent_either(counts):
    traces = np.random.default_rng(0).normal(100.3, counts, size=(30_000, 3)).round().astype("int16")
    center, scale = measure_normalization(si.NumpyRecording([traces], 30_000.0))
    assert scale / counts == pytest.approx(1.0, abs=0.04)
    assert center == pytest.approx(100.3, abs=0.5)
