"""Training of the spike detector and the waveform denoiser, on recordings small enough for a test."""

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.library.models.spikes import SpikeDetectorConfig
from steadyspike.training.known_spikes import known_spikes, thinned
from steadyspike.training.own_units import group_large_spikes
from steadyspike.training.spike_detector import label_candidates, train_spike_detector
from steadyspike.training.waveform_denoiser import find_window, train_waveform_denoiser

LOCATIONS = np.array([[x, 20.0 * row] for row in range(6) for x in (0.0, 32.0)])
UNITS = {"a": 2, "b": 9}
PERIOD = 300


@pytest.fixture(scope="module")
def recording_and_sorting():
    """Two units far from each other; the sorting says two samples too early when they fire."""
    rng = np.random.default_rng(0)
    traces = rng.standard_normal((40_000, 12)).astype("float32")
    time = np.arange(-30, 60)
    shape = -np.exp(-(time**2) / 18.0) + 0.4 * np.exp(-((time - 15.0) ** 2) / 60.0)
    trains = {}
    for number, (unit, main) in enumerate(UNITS.items()):
        distances = np.linalg.norm(LOCATIONS - LOCATIONS[main], axis=1)
        template = 12 * shape[:, None] * np.exp(-distances / 20.0)
        trains[unit] = np.arange(400 + 150 * number, 39_500, PERIOD)
        for sample in trains[unit]:
            traces[sample - 30 : sample + 60] += template
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_dummy_probe_from_locations(LOCATIONS)
    early = {unit: train - 2 for unit, train in trains.items()}
    return recording, si.NumpySorting.from_unit_dict([early], 30_000.0), trains


@pytest.fixture(scope="module")
def known(recording_and_sorting):
    return known_spikes(*recording_and_sorting[:2])


def detector_config(**changes):
    from steadyspike.library.models.config import NetworkConfig

    values = dict(
        network=NetworkConfig(name="local_spike_detector", sizes=dict(samples_before=15, samples_after=31)),
        sampling_frequency=30_000.0,
        radius_um=70.0,
        candidate_threshold=2.75,
        candidate_radius_um=35.0,
        candidate_ms=0.2,
        exclude_radius_um=60.0,
        exclude_ms=0.4,
    )
    return SpikeDetectorConfig(**{**values, **changes})


def test_what_is_known_of_a_recording(recording_and_sorting, known):
    trains = recording_and_sorting[2]
    assert known.channels.tolist() == list(UNITS.values())
    for number, train in enumerate(trains.values()):
        # found at the trough, not where the sorting says
        np.testing.assert_array_equal(known.samples[known.units == number], train)
    np.testing.assert_allclose(known.depths, 10.5, rtol=0.1)
    np.testing.assert_allclose(known.traces.std(axis=0)[[0, 7]], 1, rtol=0.3)


def test_a_sparser_probe_in_the_same_place(known):
    sparse = thinned(known, 75.0, seed=0)
    apart = np.linalg.norm(sparse.locations[:, np.newaxis] - sparse.locations, axis=2)
    assert 1 < len(sparse.locations) < 4
    assert apart[np.triu_indices(len(apart), 1)].min() >= 75.0
    kept = [int(np.flatnonzero((known.locations == one).all(axis=1))[0]) for one in sparse.locations]
    np.testing.assert_array_equal(sparse.traces, known.traces[:, kept])
    assert (np.diff(sparse.samples) >= 0).all()
    for unit, (channel, depth) in enumerate(zip(sparse.channels, sparse.depths, strict=True)):
        seen = known.templates[unit][:, kept]
        # units fire on the contact that sees them best, at its trough
        assert depth == pytest.approx(-seen[known.before - 9 : known.before + 10].min(), rel=1e-6)
        assert -sparse.templates[unit, known.before, channel] == pytest.approx(depth, rel=1e-6)


def test_candidates_are_labelled_by_the_spikes(known):
    labelled = label_candidates(known, detector_config(), 2.5)
    spikes = np.flatnonzero(labelled.labels == 1)
    assert abs(spikes.size - known.samples.size) <= 2
    assert labelled.num_missed == known.samples.size - spikes.size
    order = np.argsort(labelled.samples[spikes])
    found, channels = labelled.samples[spikes][order], labelled.channels[spikes][order]
    nearest = np.abs(found[:, None] - known.samples).argmin(axis=1)
    assert np.abs(found - known.samples[nearest]).max() <= 10
    assert (channels == known.channels[known.units[nearest]]).mean() > 0.95
    # near a spike there is no noise to be learnt from, elsewhere there is
    noise = np.flatnonzero(labelled.labels == 0)
    for i in noise[::50]:
        near = np.abs(known.samples - labelled.samples[i]) <= 8
        own = LOCATIONS[known.channels[known.units[near]]]
        assert (np.linalg.norm(own - LOCATIONS[labelled.channels[i]], axis=1) > 35).all()
    assert noise.size > 500
    assert not (label_candidates(known, detector_config(), 50.0).labels == 1).any()


def test_a_detector_learns(recording_and_sorting, tmp_path):
    recording, sorting, trains = recording_and_sorting
    licenses = dict(license_name="mit", data_license="cc-by-4.0")
    model = train_spike_detector(
        recording, sorting, tmp_path / "detector", steps=60, batch_size=256, **licenses
    )
    assert "Licence of the weights: mit. Licence of the training data: cc-by-4.0." in model.card
    assert model.config.extra["data_license"] == "cc-by-4.0"
    assert model.config.extra["held_out"]["recall"] > 0.9
    assert model.config.extra["held_out"]["precision"] > 0.9
    again = train_spike_detector(recording, sorting, steps=60, batch_size=256)
    loaded = steadyspike.load_model(tmp_path / "detector")
    for name, values in again.network.state_dict().items():
        assert (values == loaded.network.state_dict()[name]).all()
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    peaks = detect_peaks(
        recording,
        method="steady_neural",
        method_kwargs=dict(model=tmp_path / "detector"),
        job_kwargs=dict(n_jobs=1, progress_bar=False),
    )
    samples = np.sort(np.concatenate(list(trains.values())))
    assert abs(peaks.size - samples.size) < 0.1 * samples.size
    with pytest.raises(FileExistsError):
        train_spike_detector(recording, sorting, tmp_path / "detector")


def test_the_window_holds_the_spike(known):
    both = np.ones(2, dtype=bool)
    before, number = find_window([known], [both], 0.95)
    squares = [known.templates[unit, :, main] ** 2 for unit, main in enumerate(known.channels)]
    energy = np.mean([one / one.sum() for one in squares], axis=0)
    assert energy.argmax() == known.before
    start = known.before - before
    assert energy[start : start + number].sum() >= 0.95
    assert 3 <= before < 15 < number < 60
    wider = find_window([known], [both], 0.99)
    assert wider[0] >= before
    assert wider[1] > number


@pytest.mark.parametrize("with_sorting", [True, False])
def test_a_denoiser_learns(recording_and_sorting, tmp_path, with_sorting):
    recording, sorting, _ = recording_and_sorting
    given = (sorting,) if with_sorting else ()
    model = train_waveform_denoiser(recording, *given, folder=tmp_path / "denoiser", steps=60, batch_size=128)
    scores = model.config.extra["held_out"]
    assert "Licence of the weights: unknown. Licence of the training data: not told." in model.card
    assert scores["denoised"] < 0.6 * scores["noisy"]
    assert steadyspike.load_model(tmp_path / "denoiser").config == model.config
    with pytest.raises(FileExistsError):
        train_waveform_denoiser(recording, *given, folder=tmp_path / "denoiser")


def test_large_spikes_are_grouped(recording_and_sorting):
    recording, _, trains = recording_and_sorting
    found = group_large_spikes(recording, threshold=5.0)
    samples = found.to_spike_vector()["sample_index"]
    true = np.concatenate(list(trains.values()))
    assert np.abs(samples[:, None] - true).min(axis=1).max() <= 3
    # groups of fewer than 30 are left out
    assert samples.size > 0.7 * true.size
    with pytest.raises(ValueError, match="pass a sorting"):
        group_large_spikes(recording, threshold=40.0)


@pytest.mark.parametrize(
    ("train", "kwargs", "message"),
    [
        (train_spike_detector, dict(steps=0), "steps=0; allowed: a whole number >= 1"),
        (train_spike_detector, dict(batch_size=3), "batch_size=3; allowed: a whole number >= 4"),
        (train_spike_detector, dict(learning_rate=0.0), "learning_rate=0.0; allowed"),
        (train_spike_detector, dict(least_snr=100.0), "least_snr=100.0; allowed"),
        (train_waveform_denoiser, dict(energy=1.0), "energy=1.0; allowed: a number > 0 and < 1"),
        (train_waveform_denoiser, dict(steps=0), "steps=0; allowed: a whole number >= 1"),
    ],
)
def test_plans_that_cannot_work_are_refused(recording_and_sorting, train, kwargs, message):
    with pytest.raises(ValueError, match=f"^{train.__name__}: {message}"):
        train(*recording_and_sorting[:2], **kwargs)


def test_recordings_that_do_not_fit_are_refused(recording_and_sorting):
    recording, sorting, _ = recording_and_sorting
    two = si.append_recordings([recording, recording])
    with pytest.raises(ValueError, match="recording has 2 segments"):
        train_spike_detector(two, sorting)
    with pytest.raises(ValueError, match="there are 2 recordings and 1 sortings"):
        train_spike_detector([recording, recording], sorting)
    other = si.NumpyRecording([recording.get_traces()], 20_000.0)
    with pytest.raises(ValueError, match="sampling frequencies"):
        train_waveform_denoiser([recording, other], [sorting, sorting])
    none = si.NumpySorting.from_unit_dict([{"a": np.zeros(0, dtype="int64")}], 30_000.0)
    with pytest.raises(ValueError, match="sorting has no spikes"):
        train_waveform_denoiser(recording, none)
