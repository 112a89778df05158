"""steady_neural in SpikeInterface's calls: the same peaks whatever the chunks, and what it refuses."""

import pickle

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.sortingcomponents.peak_detection import detect_peak_methods, detect_peaks

import steadyspike
from steadyspike.evaluation.detection import score_detection
from steadyspike.library.models.config import ModelError, NetworkConfig
from steadyspike.library.models.spike_finders import noise_scales
from steadyspike.library.models.spikes import SpikeDetectorConfig, SpikeDetectorModel
from steadyspike.networks import make_network
from steadyspike.peaks.detection import DetectSteadyNeural
from steadyspike.simulation.spiky import simulate_spiky_recording
from steadyspike_benchmarks.neural import LEAST_SNR

JOBS = dict(n_jobs=1, progress_bar=False)


@pytest.fixture(scope="module")
def spiky():
    return simulate_spiky_recording("np1", 20.0, 3, duration_s=2.0, num_channels=24)


@pytest.fixture(scope="module")
def two_segments(spiky):
    halves = [spiky.recording.frame_slice(0, 20_001), spiky.recording.frame_slice(20_001, 60_000)]
    return si.append_recordings(halves)


def detect(recording, jobs=JOBS, **kwargs):
    return detect_peaks(recording, method="steady_neural", method_kwargs=kwargs, job_kwargs=jobs)


def yass_model(neighbours=6):
    import torch

    torch.manual_seed(1)
    network = make_network("yass_detector", dict(neighbours=neighbours, taps=21)).eval()
    config = SpikeDetectorConfig(
        network=NetworkConfig(name="yass_detector", sizes=network.sizes),
        sampling_frequency=30_000.0,
        radius_um=45.0,
        probability=0.52,
        exclude_radius_um=45.0,
        exclude_ms=0.17,
    )
    return SpikeDetectorModel(network, config)


def test_it_is_in_the_table():
    assert detect_peak_methods["steady_neural"] is DetectSteadyNeural


@pytest.mark.parametrize("which", ["bundled", "yass"])
@pytest.mark.parametrize(
    "jobs",
    [
        dict(n_jobs=1, chunk_size=7_001),
        dict(n_jobs=1, chunk_size=997),
        dict(n_jobs=2, chunk_size=9_000, pool_engine="thread"),
        dict(n_jobs=2, chunk_size=12_000, pool_engine="process", mp_context="spawn"),
    ],
    ids=["7001", "997", "threads", "processes"],
)
def test_any_chunks_give_the_same_peaks(two_segments, jobs, which):
    if which == "yass" and "pool_engine" in jobs:
        pytest.skip("as for the bundled model")
    kwargs = dict(
        noise_levels=np.full(24, 15.0), model="steady-detector" if which == "bundled" else yass_model()
    )
    whole = detect(two_segments, dict(n_jobs=1, chunk_size=60_000, progress_bar=False), **kwargs)
    assert whole.size > 50
    assert set(whole["segment_index"]) == {0, 1}
    order = np.lexsort((whole["channel_index"], whole["sample_index"], whole["segment_index"]))
    np.testing.assert_array_equal(order, np.arange(whole.size))
    np.testing.assert_array_equal(detect(two_segments, dict(jobs, progress_bar=False), **kwargs), whole)
    for peak in whole[::17]:
        traces = two_segments.get_traces(
            int(peak["segment_index"]), int(peak["sample_index"]), int(peak["sample_index"]) + 1
        )
        assert traces[0, peak["channel_index"]] == peak["amplitude"]


def test_it_finds_more_than_a_threshold(spiky):
    spikes = spiky.sorting.to_spike_vector()

    def f1(peaks):
        return score_detection(
            peaks,
            spikes["sample_index"],
            spiky.channels[spikes["unit_index"]],
            spiky.recording.get_channel_locations(),
            counts=spiky.snr[spikes["unit_index"]] >= LEAST_SNR,
        ).f1

    by_threshold = [
        f1(
            detect_peaks(
                spiky.recording,
                method="locally_exclusive",
                method_kwargs=dict(detect_threshold=threshold, noise_levels=spiky.noise_levels),
                job_kwargs=JOBS,
            )
        )
        for threshold in np.arange(3.5, 6.0, 0.5)
    ]
    assert f1(detect(spiky.recording, noise_levels=spiky.noise_levels)) > max(by_threshold)


def line_with_spikes(num_contacts, pitch_um, snr=9.0):
    """Noise of 300 to 6000 Hz and 50 spikes of known place, on contacts in a line."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((30_000, num_contacts)).astype("float32")
    traces = steadyspike.bandpass_filter(si.NumpyRecording([noise], 30_000.0)).get_traces().copy()
    traces /= traces.std(axis=0)
    locations = np.column_stack([np.zeros(num_contacts), pitch_um * np.arange(num_contacts)])
    samples, channels = 300 + 580 * np.arange(50), rng.integers(0, num_contacts, 50)
    ms = np.arange(-30, 60) / 30
    shape = -np.exp(-(ms**2) / 0.03) + 0.35 * np.exp(-((ms - 0.45) ** 2) / 0.125)
    for sample, channel in zip(samples, channels, strict=True):
        distances = np.sqrt(np.square(locations - locations[channel]).sum(axis=1) + 20.0**2)
        traces[sample - 30 : sample + 60] += np.outer(shape, snr * 20 / distances).astype("float32")
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_dummy_probe_from_locations(locations)
    return recording, samples, channels


@pytest.mark.parametrize(
    ("num_contacts", "pitch_um"), [(1, 10.0), (8, 71.0), (8, 160.0), (8, 50.0), (8, 20.0)]
)
def test_spikes_are_found_whatever_neighbours_there_are(num_contacts, pitch_um):
    recording, samples, channels = line_with_spikes(num_contacts, pitch_um)
    peaks = detect(recording, noise_levels=np.ones(num_contacts))
    near = np.abs(peaks["sample_index"] - samples[:, np.newaxis]) <= 6
    found = (near & (peaks["channel_index"] == channels[:, np.newaxis])).any(axis=1)
    assert found.mean() >= 0.94
    # neighbors 20 um away see the same spike within the radius of duplicates
    assert (~near.any(axis=0)).sum() <= 3


def test_an_offset_and_unsigned_samples_change_nothing(spiky):
    levels = spiky.noise_levels
    expected = detect(spiky.recording, noise_levels=levels)
    assert DetectSteadyNeural(spiky.recording, noise_levels=levels).offsets is None
    for offset, gain, dtype in ((-3e4, 1.0, "float32"), (32_768.0, 20.0, "uint16")):
        moved = si.scale(spiky.recording, gain=gain, offset=offset, dtype=dtype)
        found = detect(moved, noise_levels=levels * gain)
        assert abs(found.size - expected.size) <= 0.02 * expected.size
        assert np.isin(found["sample_index"], expected["sample_index"]).mean() > 0.97
        same = np.isin(expected["sample_index"], found["sample_index"])
        assert found["amplitude"].mean() == pytest.approx(gain * expected["amplitude"][same].mean(), rel=0.02)


def test_sign_dtype_and_units_do_not_matter(spiky):
    levels = spiky.noise_levels
    expected = detect(spiky.recording, noise_levels=levels)
    turned = detect(si.scale(spiky.recording, gain=-1.0), noise_levels=levels, peak_sign="pos")
    np.testing.assert_array_equal(turned["sample_index"], expected["sample_index"])
    np.testing.assert_array_equal(turned["amplitude"], -expected["amplitude"])
    counts = si.scale(spiky.recording, gain=50.0, dtype="int16")
    found = detect(counts, noise_levels=levels * 50)
    assert abs(found.size - expected.size) <= 2
    same = np.isin(found["sample_index"], expected["sample_index"])
    assert same.mean() > 0.98
    fewer = detect(spiky.recording, noise_levels=levels, probability=0.9)
    assert 0 < fewer.size < expected.size


def test_dead_and_broken_channels_have_no_peaks(spiky):
    levels = spiky.noise_levels.copy()
    levels[[2, 5]] = 0.0, np.nan
    traces = spiky.recording.get_traces().copy()
    traces[:, 5] = np.nan
    traces[:, 2] = 0.0
    broken = si.NumpyRecording([traces], 30_000.0)
    broken.set_probe(spiky.recording.get_probe())
    peaks = detect(broken, noise_levels=levels)
    assert peaks.size > 50
    assert not np.isin(peaks["channel_index"], [2, 5]).any()
    silent = si.NumpyRecording([np.zeros((500, 24), "float32")], 30_000.0)
    silent.set_probe(spiky.recording.get_probe())
    assert detect(silent, noise_levels=np.ones(24)).size == 0
    # shorter than the margins
    assert detect(silent.frame_slice(0, 7), noise_levels=np.ones(24)).size == 0
    assert noise_scales(broken, levels)[[2, 5]].tolist() == [0, 0]


def test_other_sampling_frequencies(spiky):
    faster = simulate_spiky_recording(
        "np1", 20.0, 3, duration_s=2.0, num_channels=24, sampling_frequency=36_000.0
    )
    as_recorded = si.NumpyRecording([faster.recording.get_traces()], 36_000.0)
    as_recorded.set_probe(faster.recording.get_probe())
    spikes = faster.sorting.to_spike_vector()
    scores = score_detection(
        detect(as_recorded, noise_levels=faster.noise_levels),
        spikes["sample_index"],
        faster.channels[spikes["unit_index"]],
        as_recorded.get_channel_locations(),
        counts=faster.snr[spikes["unit_index"]] >= LEAST_SNR,
    )
    assert scores.f1 > 0.8
    slow = si.NumpyRecording([as_recorded.get_traces()], 2500.0)
    slow.set_probe(as_recorded.get_probe())
    with pytest.raises(ValueError, match=r"2500 Hz; allowed for this model, trained at 30000 Hz: 6000 Hz"):
        detect(slow, noise_levels=faster.noise_levels)
    with pytest.raises(ValueError, match=r"36000 Hz; this model takes 30000 Hz"):
        detect(as_recorded, noise_levels=np.ones(24), model=yass_model())


def test_slower_sampling_finds_the_same_spikes(spiky):
    from scipy.signal import resample_poly

    expected = detect(spiky.recording, noise_levels=spiky.noise_levels)
    for down in (2, 4):
        traces = resample_poly(spiky.recording.get_traces(), 1, down, axis=0).astype("float32")
        slower = si.NumpyRecording([traces], 30_000.0 / down)
        slower.set_probe(spiky.recording.get_probe())
        found = detect(slower, noise_levels=spiky.noise_levels)
        # 15 kHz once found hundreds in noise
        assert found.size == pytest.approx(expected.size, rel=0.1)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(probability=1.0), "steady_neural: probability=1.0"),
        (dict(peak_sign="both"), "peak_sign='both'"),
        (dict(noise_levels=np.ones(3)), r"noise_levels=array\(\[1., 1., 1.\]\); allowed: one for each of 24"),
        (dict(model=3), "model=3 is no SpikeDetectorModel"),
        (dict(model="steady-detectr"), "did you mean 'steady-detector'"),
    ],
)
def test_what_cannot_work_is_refused(spiky, kwargs, message):
    with pytest.raises((ValueError, ModelError), match=message):
        DetectSteadyNeural(spiky.recording, **{"noise_levels": np.ones(24), **kwargs})


def test_the_node_travels_to_other_processes(spiky):
    node = DetectSteadyNeural(spiky.recording, noise_levels=spiky.noise_levels)
    traces = spiky.recording.get_traces(end_frame=5000)
    again = pickle.loads(pickle.dumps(node))
    np.testing.assert_array_equal(again.compute(traces, 0, 0, 0, 0)[0], node.compute(traces, 0, 0, 0, 0)[0])


def test_bundled_detector_tells_where_it_is_from():
    model = steadyspike.load_model("steady-detector")
    assert isinstance(model, SpikeDetectorModel)
    assert "simulated recordings" in model.card
    assert model.config.extra["held_out"]["precision"] > 0.9


@pytest.mark.parametrize("turned", ["all", "every second"])
def test_the_sign_of_the_voltage_counts_and_not_that_of_the_counts(spiky, turned):
    signs = np.where((np.arange(24) % 2 == 0) | (turned == "all"), -1.0, 1.0)
    recording = si.NumpyRecording([spiky.recording.get_traces() * signs.astype("float32")], 30_000.0)
    recording.set_probe(spiky.recording.get_probe())
    recording.set_channel_gains(0.5 * signs)
    recording.set_channel_offsets(0.0)
    expected = detect(spiky.recording, noise_levels=spiky.noise_levels)
    peaks = detect(recording, noise_levels=spiky.noise_levels)
    assert peaks.size > 50
    for field in ("sample_index", "channel_index"):
        np.testing.assert_array_equal(peaks[field], expected[field])
    np.testing.assert_array_equal(peaks["amplitude"], expected["amplitude"] * signs[peaks["channel_index"]])
