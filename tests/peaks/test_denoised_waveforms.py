"""Denoised waveforms and localization on them, in SpikeInterface's node pipelines."""

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    ExtractSparseWaveforms,
    PeakRetriever,
    WaveformsNode,
    run_node_pipeline,
)
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike
from steadyspike.library.models.config import ModelError, NetworkConfig
from steadyspike.library.models.spikes import WaveformDenoiserConfig, WaveformDenoiserModel
from steadyspike.networks import make_network
from steadyspike.peaks.denoised_localization import LocalizeSteadyDenoisedMonopolar
from steadyspike.peaks.localization import LocalizeSteadyMonopolar
from steadyspike.peaks.residual import ResidualWaveforms
from steadyspike.peaks.waveforms import DenoiseWaveforms
from steadyspike.simulation.spiky import simulate_spiky_recording
from steadyspike_benchmarks.neural import _matched_peaks

JOBS = dict(n_jobs=1, progress_bar=False)
METHOD = "steady_denoised_monopolar"


@pytest.fixture(scope="module")
def spiky():
    return simulate_spiky_recording("np1", 12.0, 3, duration_s=2.0, num_channels=32)


@pytest.fixture(scope="module")
def matched(spiky):
    return _matched_peaks(spiky)


@pytest.fixture(scope="module")
def single_channel():
    import torch

    torch.manual_seed(0)
    network = make_network("yass_denoiser", dict(num_samples=41)).eval()
    config = WaveformDenoiserConfig(
        network=NetworkConfig(name="yass_denoiser", sizes=network.sizes),
        sampling_frequency=30_000.0,
        samples_before=12,
        num_samples=41,
    )
    return WaveformDenoiserModel(network, config)


def pipeline(spiky, peaks, extract, *last, jobs=JOBS):
    """Run source -> extraction -> nodes, each made with the one before as its waveforms."""
    nodes = [PeakRetriever(spiky.recording, peaks)]
    nodes.append(extract(spiky.recording, parents=[nodes[0]], ms_before=1.5, ms_after=2.5))
    for make, kwargs in last:
        nodes.append(make(spiky.recording, parents=[nodes[0], nodes[-1]], **kwargs))
    return run_node_pipeline(spiky.recording, nodes, jobs, squeeze_output=True)


def errors(spiky, located, units):
    xy = np.stack([located["x"], located["y"]], axis=1)
    return np.median(np.linalg.norm(xy - spiky.unit_locations[units], axis=1))


def test_an_offset_changes_nothing(spiky, matched):
    peaks = matched[0]
    moved = si.scale(spiky.recording, gain=1.0, offset=4096.0)
    expected, found = (
        localize_peaks(one, peaks, method=METHOD, job_kwargs=JOBS) for one in (spiky.recording, moved)
    )
    np.testing.assert_allclose(found["y"], expected["y"], atol=3.0)


def test_it_is_nearer_to_the_truth(spiky, matched):
    peaks, units = matched
    assert len(peaks) > 60
    ours = errors(spiky, localize_peaks(spiky.recording, peaks, method=METHOD, job_kwargs=JOBS), units)
    for other in ("steady_monopolar", "center_of_mass", "steady_grid_convolution"):
        assert ours < errors(
            spiky, localize_peaks(spiky.recording, peaks, method=other, job_kwargs=JOBS), units
        )


@pytest.mark.parametrize(
    "jobs",
    [
        dict(n_jobs=1, chunk_size=997),
        dict(n_jobs=2, chunk_size=9_000, pool_engine="thread"),
        dict(n_jobs=2, chunk_size=20_000, pool_engine="process", mp_context="spawn"),
    ],
    ids=["997", "threads", "processes"],
)
def test_any_chunks_give_the_same_locations(spiky, matched, jobs):
    peaks = matched[0]
    one = localize_peaks(spiky.recording, peaks, method=METHOD, job_kwargs=dict(JOBS, chunk_size=60_000))
    other = localize_peaks(spiky.recording, peaks, method=METHOD, job_kwargs=dict(jobs, progress_bar=False))
    np.testing.assert_array_equal(one, other)
    assert all(np.isfinite(one[name]).all() for name in one.dtype.names)


@pytest.mark.parametrize("extract", [ExtractDenseWaveforms, ExtractSparseWaveforms])
def test_localizers_behind_the_node_see_what_the_localizer_in_one_sees(spiky, matched, extract):
    peaks = matched[0]
    denoised = (DenoiseWaveforms, {})
    in_one = localize_peaks(spiky.recording, peaks, method=METHOD, job_kwargs=JOBS)
    behind = pipeline(
        spiky, peaks, extract, denoised, (LocalizeSteadyMonopolar, dict(radius_um=50.0, feature="energy"))
    )
    for name in ("x", "y", "z", "alpha"):
        np.testing.assert_allclose(behind[name], in_one[name], rtol=1e-5, atol=1e-3)
    for grid in ("grid_convolution", "steady_grid_convolution"):
        make = si_method(grid)
        assert np.isfinite(pipeline(spiky, peaks, ExtractDenseWaveforms, denoised, (make, {}))["y"]).all()


def si_method(name):
    from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

    return peak_localization_methods[name]


@pytest.mark.parametrize("extract", [ExtractDenseWaveforms, ExtractSparseWaveforms])
def test_denoised_waveforms_have_less_noise(spiky, matched, extract):
    peaks, units = matched
    waveforms = pipeline(spiky, peaks, extract, (DenoiseWaveforms, dict(return_output=True)))
    model = steadyspike.load_model("steady-denoiser")
    before, number = model.config.samples_before, model.config.num_samples
    assert waveforms.shape[:2] == (len(peaks), number)
    mean = {unit: np.median(waveforms[units == unit], axis=0) for unit in np.unique(units)}
    raw = pipeline(spiky, peaks, extract, (Untouched, dict(model=model)))
    spread = {"raw": [], "denoised": []}
    for name, some in (("raw", raw), ("denoised", waveforms)):
        for unit in mean:
            own = some[units == unit]
            # spikes of a unit that were found on one channel have one layout
            same = peaks["channel_index"][units == unit]
            own = own[same == np.bincount(same).argmax()]
            if len(own) > 5:
                spread[name].append(np.square(own - np.median(own, axis=0)).mean())
    assert np.mean(spread["denoised"]) < 0.5 * np.mean(spread["raw"])
    # a spike still is where the window says
    deepest = waveforms.min(axis=2).argmin(axis=1)
    assert abs(np.median(deepest) - before) <= 1


class Untouched(WaveformsNode):
    """The window of a model, without denoising."""

    def __init__(self, recording, parents, model):
        config = model.config
        WaveformsNode.__init__(
            self,
            recording,
            nbefore=config.samples_before,
            nafter=config.num_samples - config.samples_before,
            parents=parents,
            return_output=True,
        )
        self.first = parents[1].nbefore - config.samples_before

    def compute(self, traces, peaks, waveforms):
        return waveforms[:, self.first : self.first + self.nbefore + self.nafter]


def test_single_channel_networks_see_every_contact_by_itself(spiky, matched, single_channel):
    import torch

    peaks = matched[0][:20]
    given = dict(model=single_channel, noise_levels=spiky.noise_levels)
    waveforms = pipeline(
        spiky, peaks, ExtractDenseWaveforms, (DenoiseWaveforms, dict(given, return_output=True))
    )
    raw = pipeline(spiky, peaks, ExtractDenseWaveforms, (Untouched, dict(model=single_channel)))
    scaled = torch.from_numpy((raw / spiky.noise_levels).transpose(0, 2, 1).reshape(-1, 41).astype("float32"))
    with torch.no_grad():
        expected = single_channel.network(scaled).numpy().reshape(20, 32, 41).transpose(0, 2, 1)
    np.testing.assert_allclose(waveforms, expected * spiky.noise_levels, rtol=1e-3, atol=1e-3)
    located = localize_peaks(spiky.recording, peaks, method=METHOD, method_kwargs=given, job_kwargs=JOBS)
    assert np.isfinite(located["x"]).all()


def test_dead_and_broken_channels(spiky, matched):
    peaks = matched[0]
    traces = spiky.recording.get_traces().copy()
    traces[:, 5] = np.nan
    broken = si.NumpyRecording([traces], 30_000.0)
    broken.set_probe(spiky.recording.get_probe())
    levels = spiky.noise_levels.copy()
    levels[[2, 5]] = 0.0, np.nan
    located = localize_peaks(
        broken, peaks, method=METHOD, method_kwargs=dict(noise_levels=levels), job_kwargs=JOBS
    )
    assert all(np.isfinite(located[name]).all() for name in located.dtype.names)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(radius_um=0.0), "steady_denoised_monopolar: radius_um=0.0"),
        (dict(max_distance_um=0.5), "max_distance_um=0.5"),
        (dict(feature="area"), "feature='area'"),
        (dict(noise_levels=np.ones(3)), r"noise_levels=array\(\[1., 1., 1.\]\); allowed: one for each of 32"),
        (dict(model="steady-detector"), "no WaveformDenoiserModel"),
    ],
)
def test_what_cannot_work_is_refused(spiky, kwargs, message):
    source = PeakRetriever(spiky.recording, np.zeros(0, dtype=[("sample_index", "int64")]))
    extract = ExtractDenseWaveforms(spiky.recording, parents=[source], ms_before=1.5, ms_after=2.5)
    with pytest.raises((ValueError, ModelError), match=message):
        LocalizeSteadyDenoisedMonopolar(spiky.recording, [source, extract], **kwargs)


def test_windows_and_parents_are_checked(spiky):
    source = PeakRetriever(spiky.recording, np.zeros(0, dtype=[("sample_index", "int64")]))
    short = ExtractDenseWaveforms(spiky.recording, parents=[source], ms_before=0.1, ms_after=0.3)
    with pytest.raises(ValueError, match="extract them with ms_before="):
        DenoiseWaveforms(spiky.recording, [source, short])
    for make in (DenoiseWaveforms, LocalizeSteadyDenoisedMonopolar):
        with pytest.raises(TypeError, match="WaveformsNode"):
            make(spiky.recording, [source])
    # the localizer reads the traces itself
    assert LocalizeSteadyDenoisedMonopolar(spiky.recording, [source, short]).get_margin() > short.nbefore


# residuals --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overlapping():
    """Two units 60 um apart that fire together half of the time, with little noise."""
    rng = np.random.default_rng(0)
    locations = np.array([[x, 20.0 * row] for row in range(12) for x in (0.0, 32.0)])
    places = np.array([[16.0, 90.0, 20.0], [16.0, 150.0, 20.0]])
    time = np.arange(-45, 75)
    shape = -np.exp(-(time**2) / 18.0) + 0.3 * np.exp(-((time - 15.0) ** 2) / 100.0)
    distances = np.linalg.norm(places[:, None, :2] - locations, axis=2)
    sizes = 4000.0 / np.hypot(distances, places[:, 2:])
    templates = (sizes[:, None] * shape[:, None]).astype("float32")
    first = np.arange(200, 58_000, 400)
    second = first + np.where(np.arange(first.size) % 2, 4, 200)
    sorting = si.NumpySorting.from_unit_dict([{"a": first, "b": second}], 30_000.0)
    noise = si.NumpyRecording([rng.standard_normal((60_000, 24)).astype("float32") * 4], 30_000.0)
    noise.set_dummy_probe_from_locations(locations)
    recording = si.InjectTemplatesRecording(sorting, templates, nbefore=45, parent_recording=noise)
    return recording, sorting, templates, places


def test_the_other_units_spikes_are_taken_away(overlapping):
    recording, sorting, templates, places = overlapping
    spikes = sorting.to_spike_vector()
    truth = places[spikes["unit_index"], :2]
    main = templates.min(axis=1).argmin(axis=1)

    def error(located, which):
        xy = np.stack([located["x"], located["y"]], axis=1)
        return np.median(np.linalg.norm(xy - truth, axis=1)[which])

    peaks = np.zeros(spikes.size, dtype=PEAKS)
    peaks["sample_index"], peaks["channel_index"] = spikes["sample_index"], main[spikes["unit_index"]]
    kwargs = dict(method_kwargs=dict(noise_levels=np.full(24, 4.0)))
    together = np.isin(np.arange(spikes.size), overlapping_spikes(spikes))
    assert 50 < together.sum() < spikes.size
    plain = localize_peaks(recording, peaks, method=METHOD, job_kwargs=JOBS, **kwargs)
    residual = steadyspike.peaks.localize_residual(
        recording, sorting, templates, nbefore=45, **kwargs, **JOBS
    )
    assert error(residual, together) < 0.7 * error(plain, together)
    # where no other spike is near there is nothing to take away
    for name in residual.dtype.names:
        np.testing.assert_allclose(residual[name][~together], plain[name][~together], rtol=1e-3, atol=0.05)
    estimated = steadyspike.peaks.localize_residual(recording, sorting, ms_before=1.2, **kwargs, **JOBS)
    assert error(estimated, together) < error(plain, together)
    chunked = steadyspike.peaks.localize_residual(
        recording, sorting, templates, nbefore=45, **kwargs, n_jobs=2, chunk_size=7001, pool_engine="thread"
    )
    for name in residual.dtype.names:
        np.testing.assert_allclose(chunked[name], residual[name], rtol=1e-4, atol=1e-3)


PEAKS = [
    ("sample_index", "int64"),
    ("channel_index", "int64"),
    ("amplitude", "float64"),
    ("segment_index", "int64"),
]


def overlapping_spikes(spikes):
    near = np.flatnonzero(np.diff(spikes["sample_index"]) < 100)
    return np.union1d(near, near + 1)


def test_residual_waveforms_are_residual_and_own_template(overlapping):
    recording, _, templates, _ = overlapping
    source = PeakRetriever(recording, np.zeros(0, dtype=PEAKS))
    node = ResidualWaveforms(recording, [source], templates, 45, 60, 90)
    traces = np.random.default_rng(0).standard_normal((400, 24)).astype("float32")
    spikes = np.zeros(2, dtype=[("sample_index", "int64"), ("unit_index", "int64")])
    spikes["sample_index"], spikes["unit_index"] = (100, 300), (1, 0)
    waveforms = node.compute(traces, spikes)
    padded = np.pad(templates, ((0, 0), (15, 15), (0, 0)))
    for i, (sample, unit) in enumerate(((100, 1), (300, 0))):
        np.testing.assert_allclose(waveforms[i], traces[sample - 60 : sample + 90] + padded[unit])
    narrow = ResidualWaveforms(recording, [source], templates, 45, 20, 30)
    np.testing.assert_array_equal(narrow.templates, templates[:, 25:75])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(method="nearest"), "method='nearest'"),
        (dict(ms_before=0.0), "localize_residual: ms_before=0.0"),
        (dict(templates=np.zeros((2, 10, 3)), nbefore=4), r"templates of shape \(2, 10, 3\)=.*24 channels"),
        (dict(templates=np.zeros((2, 10, 24))), "nbefore=None"),
    ],
)
def test_residual_localization_refuses(overlapping, kwargs, message):
    with pytest.raises(ValueError, match=message):
        steadyspike.peaks.localize_residual(*overlapping[:2], **kwargs)


def test_the_sign_of_the_voltage_counts_and_not_that_of_the_counts(spiky, matched):
    signs = np.where(np.arange(32) % 2 == 0, -1.0, 1.0)
    recording = si.NumpyRecording([spiky.recording.get_traces() * signs.astype("float32")], 30_000.0)
    recording.set_probe(spiky.recording.get_probe())
    recording.set_channel_gains(0.5 * signs)
    recording.set_channel_offsets(0.0)
    levels = dict(noise_levels=spiky.noise_levels)
    expected, found = (
        localize_peaks(one, matched[0], method=METHOD, method_kwargs=levels, job_kwargs=JOBS)
        for one in (spiky.recording, recording)
    )
    for name in ("x", "y", "z"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-3)
