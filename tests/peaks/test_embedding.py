"""Embeddings, clusters and their figures."""

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import base_peak_dtype
from waveform_sets import one_thread  # noqa: F401

import steadyspike
from steadyspike.evaluation.figures.embedding import plot_embedding
from steadyspike.peaks.embedding import aligned_waveforms, peak_waveforms

QUIET = dict(n_jobs=1, progress_bar=False)


def shapes(delay=0.0, num_samples=40, num_channels=4):
    """Waveforms of three units, (3, num_samples, num_channels), smooth, with their trough at 15 + delay."""
    time = np.arange(num_samples) - 15 - delay
    unit = np.array([[1, 0.4, 0.2, 0.1], [0.2, 1.2, 0.3, 0.3], [0.3, 0.1, 0.5, 0.9]])[:, :num_channels]
    wave = -np.exp(-(time**2) / 6) + 0.3 * np.exp(-((time - 8) ** 2) / 20)
    return 100 * wave[None, :, None] * unit[:, None]


def three_units(seed=0, count=60, jitter=0.0):
    rng = np.random.default_rng(seed)
    units = np.repeat([0, 1, 2], count)
    delays = rng.uniform(-jitter, jitter, len(units))
    waveforms = np.array([shapes(delay)[unit] for unit, delay in zip(units, delays, strict=True)])
    return (waveforms + 4 * rng.standard_normal(waveforms.shape)).astype("float32"), units


def test_alignment_takes_out_delays():
    delays = np.array([-2.3, -0.5, 0.0, 0.25, 1.8])
    waveforms = np.array([shapes(delay)[0] for delay in delays])
    aligned = steadyspike.peaks.align_waveforms(waveforms, 15)
    np.testing.assert_allclose(aligned, np.repeat(aligned[2:3], 5, axis=0), atol=4.0)
    np.testing.assert_allclose(aligned[2], waveforms[2], atol=4.0)
    broken = waveforms.copy()
    broken[1, 4, 0] = np.nan
    again = steadyspike.peaks.align_waveforms(broken, 15)
    assert np.isnan(again[1]).any()
    np.testing.assert_array_equal(again[[0, 2, 3, 4]], aligned[[0, 2, 3, 4]])
    assert steadyspike.peaks.align_waveforms(waveforms[:0], 15).shape == (0, 40, 4)
    for wrong in (dict(nbefore=40), dict(nbefore=-1), dict(nbefore=15, reach=0)):
        with pytest.raises(ValueError, match=r"nbefore|reach"):
            steadyspike.peaks.align_waveforms(waveforms, **wrong)


def test_principal_components_are_those_of_the_covariance():
    waveforms, _ = three_units()
    embedding = steadyspike.peaks.embed_waveforms(waveforms, num_dimensions=3)
    flat = waveforms.reshape(len(waveforms), -1).astype("float64")
    values, vectors = np.linalg.eigh(np.cov(flat.T))
    expected = (flat - flat.mean(axis=0)) @ vectors[:, ::-1][:, :3]
    np.testing.assert_allclose(np.abs(embedding.points), np.abs(expected), rtol=1e-3, atol=1e-2)
    assert embedding.explained == pytest.approx(values[::-1][:3].sum() / values.sum(), rel=1e-4)
    np.testing.assert_allclose(embedding.transform(waveforms[:5]), embedding.points[:5], atol=1e-3)


def test_autoencoder_does_as_well_as_principal_components(tmp_path):
    waveforms, units = three_units(count=150)
    options = dict(batch_size=64, learning_rate=1e-2, max_epochs=30)
    embedding = steadyspike.peaks.embed_waveforms(
        waveforms, "autoencoder", num_dimensions=3, seed=1, **options
    )
    assert embedding.explained > 0.8
    clusters = steadyspike.peaks.cluster_embedding(embedding.points)
    assert steadyspike.peaks.cluster_agreement(clusters, units)["adjusted_rand"] > 0.9
    model = embedding.model
    model.save(tmp_path / "model")
    again = steadyspike.load_model(tmp_path / "model")
    np.testing.assert_array_equal(again.transform(waveforms), embedding.points)
    assert f"| latent numbers | {3} |" in again.card
    assert again.reconstruct(waveforms).shape == waveforms.shape
    reused = steadyspike.peaks.embed_waveforms(waveforms, "autoencoder", model=again)
    np.testing.assert_array_equal(reused.points, embedding.points)


@pytest.mark.parametrize("method", ["hdbscan", "dbscan"])
def test_clusters_are_the_units(method):
    waveforms, units = three_units()
    points = steadyspike.peaks.embed_waveforms(waveforms).points
    clusters = steadyspike.peaks.cluster_embedding(points, method)
    agreement = steadyspike.peaks.cluster_agreement(clusters, units)
    assert agreement["clusters"] == agreement["units"] == 3
    assert agreement["adjusted_rand_clustered"] == 1.0
    assert agreement["clustered"] > 0.85
    points[4] = np.nan
    assert steadyspike.peaks.cluster_embedding(points, method)[4] == -1


def test_few_points_are_in_no_cluster():
    for method in ("hdbscan", "dbscan"):
        assert (steadyspike.peaks.cluster_embedding(np.zeros((3, 2)), method) == -1).all()
        assert steadyspike.peaks.cluster_embedding(np.zeros((0, 2)), method).shape == (0,)


def test_agreement():
    from sklearn.metrics import adjusted_rand_score

    labels = np.array([0, 0, 1, -1, 1, 2, -1])
    truth = np.array([5, 5, 6, 6, 6, -1, -1])
    agreement = steadyspike.peaks.cluster_agreement(labels, truth)
    assert agreement["adjusted_rand"] == pytest.approx(adjusted_rand_score(truth[:5], labels[:5]))
    assert agreement["adjusted_rand_clustered"] == 1.0
    assert agreement["clustered"] == pytest.approx(4 / 5)
    assert (agreement["clusters"], agreement["units"]) == (2, 2)
    with pytest.raises(ValueError, match="shapes"):
        steadyspike.peaks.cluster_agreement(labels, truth[:3])


def some_peaks(samples, segment=0, channel=0):
    peaks = np.zeros(len(samples), base_peak_dtype)
    peaks["sample_index"], peaks["segment_index"], peaks["channel_index"] = samples, segment, channel
    return peaks


def test_units_of_peaks_against_a_plain_loop():
    rng = np.random.default_rng(0)
    spikes = [{unit: np.sort(rng.integers(0, 3000, 40)) for unit in "abc"} for _ in range(2)]
    sorting = si.NumpySorting.from_unit_dict(spikes, 10_000)
    peaks = np.concatenate([some_peaks(np.sort(rng.integers(0, 3000, 60)), segment) for segment in (0, 1)])
    found = steadyspike.peaks.units_of_peaks(peaks, sorting, max_ms=0.7)
    for peak, unit in zip(peaks, found, strict=True):
        times = spikes[peak["segment_index"]]
        nearest = {name: np.abs(times[name] - peak["sample_index"]).min() for name in "abc"}
        if min(nearest.values()) > 7:
            assert unit == -1
        else:
            assert nearest["abc"[unit]] == min(nearest.values())
    assert (found == -1).any()
    assert (found >= 0).any()
    empty = si.NumpySorting.from_unit_dict([{}], 10_000)
    assert (steadyspike.peaks.units_of_peaks(peaks, empty) == -1).all()
    with pytest.raises(ValueError, match="max_ms"):
        steadyspike.peaks.units_of_peaks(peaks, sorting, max_ms=-1)


@pytest.fixture(scope="module")
def recorded():
    waveforms, units = three_units(seed=2, count=40, jitter=0.5)
    order = np.random.default_rng(1).permutation(len(units))
    samples = 100 + 60 * np.arange(len(units))
    traces = 4 * np.random.default_rng(3).standard_normal((samples[-1] + 100, 4)).astype("float32")
    for sample, spike in zip(samples, order, strict=True):
        traces[sample - 15 : sample + 25] = waveforms[spike]
    recording = si.NumpyRecording([traces], 20_000)
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0], [0, 20], [21, 1], [20, 22.5]]))
    peaks = some_peaks(samples, channel=np.array([0, 1, 3])[units[order]])
    return recording, peaks, units[order], waveforms[order]


def test_waveforms_of_peaks(recorded):
    recording, peaks, _, waveforms = recorded
    whole = peak_waveforms(recording, peaks, ms_before=0.75, ms_after=1.25, chunk_size=777, **QUIET)
    np.testing.assert_array_equal(whole, waveforms)
    two = peak_waveforms(recording, peaks, ms_before=0.75, ms_after=1.25, num_channels=2, **QUIET)
    places = recording.get_channel_locations()
    nearest = np.array([np.argsort(np.hypot(*(places - one).T), kind="stable")[:2] for one in places])
    channels = nearest[peaks["channel_index"]]
    np.testing.assert_array_equal(two, np.take_along_axis(waveforms, channels[:, None, :], axis=2))
    assert peak_waveforms(recording, peaks[:0], **QUIET).shape == (0, 30, 4)
    for wrong in (dict(ms_before=-1.0), dict(ms_after=0.0), dict(num_channels=0), dict(num_channels=5)):
        with pytest.raises(ValueError, match=next(iter(wrong)) + "|4 channels"):
            peak_waveforms(recording, peaks, **wrong)


def test_peaks_embedded_and_clustered(recorded):
    recording, peaks, units, _ = recorded
    embedding = steadyspike.peaks.embed_peaks(recording, peaks, num_dimensions=4, **QUIET)
    clusters = steadyspike.peaks.cluster_embedding(embedding.points)
    assert steadyspike.peaks.cluster_agreement(clusters, units)["adjusted_rand"] > 0.9
    waveforms = aligned_waveforms(recording, peaks, **QUIET)
    assert waveforms.shape == (len(peaks), 30, 4)
    np.testing.assert_allclose(embedding.transform(waveforms), embedding.points, atol=1e-3)
    unaligned = steadyspike.peaks.embed_peaks(recording, peaks, num_dimensions=4, align=False, **QUIET)
    assert unaligned.explained < embedding.explained


@pytest.mark.parametrize("dimensions", [(0, 1), (0, 2, 1)])
def test_figures(tmp_path, dimensions):
    waveforms, units = three_units(count=20)
    points = steadyspike.peaks.embed_waveforms(waveforms).points
    figure = plot_embedding(points, units - 1, waveforms=waveforms, dimensions=dimensions, title="units")
    figure.savefig(tmp_path / "embedding.png", dpi=40)
    assert len(figure.axes) == 2
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {"none", "0", "1"}
    assert len(plot_embedding(points, dimensions=dimensions).axes) == 1
    with pytest.raises(ValueError, match="dimensions"):
        plot_embedding(points, dimensions=(0, 3))
    with pytest.raises(ValueError, match="must fit"):
        plot_embedding(points, units[:4])


@pytest.mark.parametrize(
    ("function", "kwargs", "message"),
    [
        ("embed", dict(method="tsne"), "method='tsne'"),
        ("embed", dict(num_dimensions=0), "num_dimensions=0"),
        ("embed", dict(num_dimensions=1000), "num_dimensions=1000"),
        ("embed", dict(model=3), "autoencoder"),
        ("cluster", dict(method="kmeans"), "method='kmeans'"),
        ("cluster", dict(eps=0.0), "eps"),
        ("cluster", dict(min_samples=0), "min_samples"),
        ("cluster", dict(min_cluster_size=1), "min_cluster_size"),
        ("train", dict(num_dimensions=0), "num_dimensions"),
        ("train", dict(learning_rate=-1.0), "learning_rate"),
        ("train", dict(patience=0), "patience"),
    ],
)
def test_what_cannot_work_is_refused(function, kwargs, message):
    functions = dict(
        embed=steadyspike.peaks.embed_waveforms,
        cluster=lambda values, **k: steadyspike.peaks.cluster_embedding(values[:, :2, 0], **k),
        train=steadyspike.train_waveform_autoencoder,
    )
    with pytest.raises(ValueError, match=message):
        functions[function](three_units(count=10)[0], **kwargs)
    with pytest.raises(ValueError, match=r"20 (finite )?waveforms|20 or more"):
        steadyspike.train_waveform_autoencoder(three_units(count=5)[0])
