import numpy as np
import pytest
from scipy.signal import welch
from spikeinterface.core import load

from steadyspike.simulation.coloured_noise import ColouredNoiseRecording
from steadyspike.simulation.noisy import (
    SIZES,
    load_noisy_recording,
    simulate_noisy_recording,
)

TINY = dict(num_channels=8, duration_s=2.0, num_units=5)


def noise(levels=(5.0, 8.0, 8.0, 8.0), **kwargs):
    positions = [[0.0, 0.0], [0.0, 20.0], [0.0, 40.0], [0.0, 400.0]]
    return ColouredNoiseRecording(positions, levels, 60_000, **kwargs)


def test_noise_has_the_levels_spectra_and_correlations_that_it_states():
    traces = noise(seed=3).get_traces()
    np.testing.assert_allclose(traces.std(axis=0), [5, 8, 8, 8], rtol=0.03)
    frequencies, power = welch(traces[:, 1], 30_000, nperseg=2048)
    slow, middle, fast = (
        power[(frequencies >= low) & (frequencies < high)].mean()
        for low, high in ((0, 50), (500, 1500), (8000, 14_000))
    )
    # high-passed, coloured, and not low-passed
    assert slow < 0.05 * middle
    assert fast < 0.5 * middle
    assert fast > 0.1 * middle
    correlation = np.corrcoef(traces.T)
    expected = 0.1 + 0.45 * np.exp(-np.array([20, 40, 400]) / 40)
    np.testing.assert_allclose(correlation[0, 1:], expected, atol=0.03)
    assert np.corrcoef(traces[1:, 1], traces[:-1, 1])[0, 1] > 0.2


def test_noise_is_the_same_whatever_is_read_and_after_json(tmp_path):
    recording = noise(seed=1)
    whole = recording.get_traces()
    for start, end in ((0, 1), (999, 1002), (31, 4000), (59_990, 60_000), (70, 70)):
        np.testing.assert_allclose(
            recording.get_traces(start_frame=start, end_frame=end), whole[start:end], atol=2e-3
        )
    assert np.array_equal(
        recording.get_traces(start_frame=5, end_frame=9, channel_ids=[2, 0]),
        recording.get_traces(start_frame=5, end_frame=9)[:, [2, 0]],
    )
    recording.dump_to_json(tmp_path / "noise.json")
    np.testing.assert_array_equal(load(tmp_path / "noise.json").get_traces(end_frame=50), whole[:50])
    assert not np.allclose(noise(seed=2).get_traces(end_frame=50), whole[:50])


@pytest.mark.parametrize(
    ("name", "value"),
    [("levels", (1.0, 0.0, 1.0, 1.0)), ("levels", (1.0,)), ("shares", (0.5, 0.5, 0.5))]
    + [("spatial_decay_um", 0.0), ("sampling_frequency", 3000.0)],
)
def test_noise_refuses(name, value):
    with pytest.raises(ValueError, match=name):
        noise(**{name: value})


def test_simulation_is_clean_plus_noise_with_the_stated_amplitudes():
    simulated = simulate_noisy_recording("np1", **TINY, seed=4, amplitude_um=0.0, firing_rates=(20.0, 30.0))
    noisy, clean = simulated.recording.get_traces(), simulated.clean.get_traces()
    assert noisy.dtype == clean.dtype == np.float32
    assert list(simulated.recording.channel_ids) == list(simulated.clean.channel_ids)
    levels = (noisy - clean).std(axis=0)
    assert levels.min() > 5.5
    assert levels.max() < 10.5
    assert np.ptp(levels) > 0.5
    largest = simulated.units[simulated.units["snr"].argmax()]
    train = simulated.sorting.get_unit_spike_train(largest["unit_id"])
    train = train[(train > 40) & (train < 59_900)]
    troughs = [clean[time - 30 : time + 30, largest["channel"]].min() for time in train]
    assert -np.median(troughs) == pytest.approx(largest["amplitude_uV"], rel=0.1)
    for unit in simulated.units:
        low, high = SIZES[unit["size"]]
        assert low <= unit["snr"] < high
        assert unit["snr"] == pytest.approx(unit["amplitude_uV"] / unit["noise_uV"])


def test_simulation_drifts_and_does_not_depend_on_chunks():
    simulated = simulate_noisy_recording("np2", **TINY, seed=1)
    whole = simulated.recording.get_traces()
    np.testing.assert_allclose(
        simulated.recording.get_traces(start_frame=12_345, end_frame=13_000), whole[12_345:13_000], atol=2e-3
    )
    still = simulate_noisy_recording("np2", **TINY, seed=1, amplitude_um=0.0)
    assert np.abs(still.clean.get_traces() - simulated.clean.get_traces()).max() > 1.0


def test_simulation_is_saved_and_loaded(tmp_path):
    simulated = simulate_noisy_recording("np1", **TINY, seed=2).in_memory()
    saved = simulated.saved(tmp_path / "one")
    for loaded in (saved, load_noisy_recording(tmp_path / "one")):
        np.testing.assert_array_equal(loaded.recording.get_traces(), simulated.recording.get_traces())
        np.testing.assert_array_equal(loaded.clean.get_traces(), simulated.clean.get_traces())
        np.testing.assert_array_equal(loaded.units, simulated.units)
        assert loaded.info == simulated.info
        assert loaded.recording.has_probe()
        first = loaded.sorting.get_unit_spike_train(loaded.units["unit_id"][0])
        assert np.array_equal(first, simulated.sorting.get_unit_spike_train(simulated.units["unit_id"][0]))
    assert simulated.saved(tmp_path / "two", with_clean=False).clean is None
    with pytest.raises(FileExistsError):
        simulated.saved(tmp_path / "one")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["one", "two"]


def test_simulation_refuses_amplitudes_that_cannot_be():
    with pytest.raises(ValueError, match="amplitudes_uV"):
        simulate_noisy_recording(**TINY, amplitudes_uV=(0.0, 10.0))
