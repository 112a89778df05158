"""Forward passes on a CPU against the torch networks, and the published weights against plain numpy."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from steadyspike.kernels.spikes.contact_features import neighbour_lists
from steadyspike.kernels.spikes.denoise_waveforms import (
    denoise_local,
    denoise_yass,
    gather_waveforms,
    select_waveforms,
)
from steadyspike.kernels.spikes.spike_network import spike_logits, yass_logits
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.legacy.yass import convert_yass_denoiser, convert_yass_detector
from steadyspike.library.models.spike_finders import nearest, neighbour_weights
from steadyspike.networks.denoiser import LocalWaveformDenoiser, YassDenoiser
from steadyspike.networks.detector import LocalSpikeDetector, YassDetector

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = Path(os.environ.get("STEADYSPIKE_DATA", ROOT.parent / "shared" / "data")) / "yass_weights"
needs_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason=f"the published weights are not in {WEIGHTS}")

LOCATIONS = np.array([[x + 16 * (row % 2), 20.0 * row] for row in range(6) for x in (0.0, 32.0)])
CHANNELS = len(LOCATIONS)


@pytest.fixture(scope="module")
def traces():
    rng = np.random.default_rng(0)
    made = (3 * rng.standard_normal((400, CHANNELS))).astype("float32")
    made[150] *= 30
    return made


def seeded(make, **sizes):
    torch.manual_seed(0)
    return make(**sizes).eval()


def layout(traces, radius_um, before, after, number=50):
    rng = np.random.default_rng(1)
    neighbours, counts = neighbour_lists(LOCATIONS, radius_um)
    samples = rng.integers(before, len(traces) - after + 1, size=number)
    samples[:2] = before, len(traces) - after
    return samples, rng.integers(0, CHANNELS, size=number), neighbours, counts


def torch_weights(network, neighbours, channels):
    return torch.from_numpy(neighbour_weights(network, LOCATIONS, neighbours)[channels])


def cut(traces, samples, channels, neighbours, before, after, scales):
    """Waveforms (spikes, contacts, samples) in noise levels, zero for contacts that do not exist."""
    contacts = neighbours[channels]
    waveforms = np.zeros((samples.size, contacts.shape[1], before + after), "float32")
    for i, k in np.argwhere(contacts >= 0):
        one = traces[samples[i] - before : samples[i] + after, contacts[i, k]]
        waveforms[i, k] = one * scales[contacts[i, k]]
    return waveforms


def test_local_detector_as_torch_has_it(traces):
    network = seeded(
        LocalSpikeDetector, samples_before=7, samples_after=12, filters=5, hidden=4, spatial=3, dense=6
    )
    samples, channels, neighbours, counts = layout(traces, 45.0, 7, 12)
    scales = np.linspace(0.2, 0.5, CHANNELS).astype("float32")
    scales[3] = 0.0
    weights = neighbour_weights(network, LOCATIONS, neighbours)
    given = (samples, channels, neighbours, counts, weights, 7, network.arrays())
    logits = spike_logits(traces, scales, *given)
    waveforms = torch.from_numpy(cut(traces, samples, channels, neighbours, 7, 12, scales))
    with torch.no_grad():
        expected = network(waveforms, torch_weights(network, neighbours, channels)).numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(expected) > 0.01
    broken = traces.copy()
    broken[50:60] = np.nan
    assert np.isfinite(spike_logits(broken, scales, *given)).all()
    silent = np.where(np.isnan(broken), 0, broken)
    np.testing.assert_array_equal(spike_logits(broken, scales, *given), spike_logits(silent, scales, *given))
    with pytest.raises(ValueError, match="allowed is 7 to 388"):
        spike_logits(traces, scales, samples + 1, *given[1:])


def test_local_detector_does_not_care_where_its_sample_lies(traces):
    network = seeded(LocalSpikeDetector, samples_before=7, samples_after=12)
    samples, channels, neighbours, counts = layout(traces, 45.0, 7, 12)
    weights = neighbour_weights(network, LOCATIONS, neighbours)
    ones = np.ones(CHANNELS)

    def logits(part, at):
        return spike_logits(part, ones, at, channels, neighbours, counts, weights, 7, network.arrays())

    longer = np.concatenate([np.full((31, CHANNELS), 9, "float32"), traces])
    np.testing.assert_array_equal(logits(traces, samples), logits(longer, samples + 31))


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.8, 1.5])
def test_filters_are_resampled_to_another_rate(ratio):
    network = seeded(LocalSpikeDetector, samples_before=20, samples_after=30, filters=3)
    # filters as smooth as trained ones, of a smooth waveform
    time = (np.arange(50) - 20) / 30
    smooth = torch.tensor(np.stack([np.exp(-((time - s) ** 2) / 0.08) for s in (-0.2, 0.1, 0.3)]))
    network.temporal.weight.data = smooth.float()

    def waveform(at):
        return np.exp(-(at**2) / 0.05) - 0.5 * np.exp(-((at - 0.3) ** 2) / 0.1)

    before, after = network.window(ratio)
    filters = network.arrays(ratio)[0]
    assert filters.shape == (before + after, 3)
    at = np.arange(-before, after) / (30 * ratio)
    np.testing.assert_allclose(
        waveform(at) @ filters, waveform(time) @ smooth.numpy().T, rtol=0.03, atol=0.02
    )


def test_yass_detector_as_torch_has_it(traces):
    network = seeded(YassDetector, neighbours=9, filters=4, features=3, taps=11)
    neighbours = nearest(LOCATIONS, 45.0, 9)
    assert (neighbours < 0).any()
    scales = np.linspace(0.2, 0.5, CHANNELS).astype("float32")
    logits = yass_logits(traces, scales, neighbours, network.arrays())
    with torch.no_grad():
        expected = network(torch.from_numpy(traces * scales), torch.from_numpy(neighbours)).numpy()[5:-5]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert yass_logits(traces[:10], scales, neighbours, network.arrays()).shape == (0, CHANNELS)


def test_local_denoiser_as_torch_has_it(traces):
    network = seeded(LocalWaveformDenoiser, samples_before=7, num_samples=19, filters=5, hidden=6, spatial=3)
    samples, channels, neighbours, counts = layout(traces, 45.0, 7, 12)
    scales = np.linspace(0.2, 0.5, CHANNELS).astype("float32")
    weights = neighbour_weights(network, LOCATIONS, neighbours)
    waveforms = gather_waveforms(traces, samples, channels, neighbours, counts, 7, 19)
    near = (waveforms, channels, neighbours, counts)
    denoised = denoise_local(*near, scales, weights, network.arrays())
    cut_out = cut(traces, samples, channels, neighbours, 7, 12, scales)
    present = neighbours[channels] >= 0
    units = np.where(present, scales[neighbours[channels]], 1)[:, None]
    np.testing.assert_allclose((waveforms * units).transpose(0, 2, 1), cut_out, rtol=1e-5)
    with torch.no_grad():
        expected = network(torch.from_numpy(cut_out), torch_weights(network, neighbours, channels)).numpy()
    expected = np.where(present[:, :, None], expected, 0).transpose(0, 2, 1) / units
    np.testing.assert_allclose(denoised, expected, rtol=1e-3, atol=1e-3)
    assert np.ptp(expected) > 0.1
    # each spike by itself
    alone = denoise_local(
        waveforms[5:6], channels[5:6], neighbours, counts, scales, weights, network.arrays()
    )
    np.testing.assert_array_equal(alone[0], denoised[5])
    # a dead contact comes out silent
    scales[2] = 0
    dead = denoise_local(*near, scales, weights, network.arrays())
    assert np.isfinite(dead).all()
    assert not dead.transpose(0, 2, 1)[neighbours[channels] == 2].any()


def test_yass_denoiser_as_torch_has_it(traces):
    network = seeded(YassDenoiser, num_samples=31, filters=(3, 2), taps=(5, 11))
    samples, channels, neighbours, counts = layout(traces, 30.0, 7, 24)
    scales = np.linspace(0.2, 0.5, CHANNELS).astype("float32")
    waveforms = gather_waveforms(traces, samples, channels, neighbours, counts, 7, 31)
    denoised = denoise_yass(waveforms, channels, neighbours, counts, scales, network.arrays())
    cut_out = cut(traces, samples, channels, neighbours, 7, 24, scales)
    with torch.no_grad():
        expected = network(torch.from_numpy(cut_out.reshape(-1, 31))).numpy().reshape(cut_out.shape)
    present = neighbours[channels] >= 0
    units = np.where(present, scales[neighbours[channels]], 1)[:, :, None]
    expected = np.where(present[:, :, None], expected / units, 0)
    np.testing.assert_allclose(denoised, expected.transpose(0, 2, 1), rtol=1e-3, atol=1e-4)


def test_waveforms_are_cut_out(traces):
    samples, channels, neighbours, counts = layout(traces, 45.0, 7, 12)
    samples[:3] = 2, len(traces) - 1, 60
    broken = traces.copy()
    broken[60, channels[2]] = np.inf
    waveforms = gather_waveforms(broken, samples, channels, neighbours, counts, 7, 19)
    padded = np.pad(broken, ((50, 50), (0, 0)))
    padded[~np.isfinite(padded)] = 0
    for i in range(samples.size):
        for k in range(neighbours.shape[1]):
            contact = neighbours[channels[i], k]
            expected = padded[samples[i] + 43 : samples[i] + 62, contact] if contact >= 0 else np.zeros(19)
            np.testing.assert_array_equal(waveforms[i, :, k], expected)
    dense = np.stack([padded[s + 40 : s + 70] for s in samples])
    again = select_waveforms(dense, channels, neighbours, counts, 3, 19)
    np.testing.assert_array_equal(again, waveforms)
    with pytest.raises(ValueError, match="first is 12"):
        select_waveforms(dense, channels, neighbours, counts, 12, 19)


# The description beside the published weights, in plain numpy ------------------------------------------------------


def relu(values):
    return np.maximum(values, 0)


def plain_detector(path, traces, locations):
    """Logits of every sample and contact."""
    weights = {name: one.numpy().astype("float64") for name, one in read(path).items()}
    first, second = weights["temporal_filter1.0.weight"], weights["temporal_filter2.0.weight"]
    half = first.shape[2] // 2
    padded = np.pad(traces.astype("float64"), ((half, half), (0, 0)))
    filtered = np.stack(
        [
            sum(first[f, 0, k, 0] * padded[k : k + len(traces)] for k in range(first.shape[2]))
            + weights["temporal_filter1.0.bias"][f]
            for f in range(first.shape[0])
        ]
    )
    features = np.tensordot(second[:, :, 0, 0], relu(filtered), axes=1)
    features = relu(features + weights["temporal_filter2.0.bias"][:, None, None])
    width = weights["out.weight"].shape[1] // 8
    out = weights["out.weight"][0].reshape(8, width)
    logits = np.full(traces.shape, weights["out.bias"][0])
    for channel in range(traces.shape[1]):
        distances = np.linalg.norm(locations - locations[channel], axis=1)
        order = np.argsort(distances, kind="stable")
        for k, other in enumerate(order[distances[order] <= 70.0][:width]):
            for g in range(8):
                logits[:, channel] += out[g, k] * features[g, :, other]
    return logits


def plain_denoiser(path, waveforms):
    weights = {name: one.numpy().astype("float64") for name, one in read(path).items()}

    def convolve(values, name):
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        length = values.shape[2] - kernel.shape[2] + 1
        slid = np.stack([values[:, :, j : j + length] for j in range(kernel.shape[2])], axis=3)
        return relu(np.einsum("nclj,fcj->nfl", slid, kernel) + bias[:, None])

    hidden = convolve(convolve(waveforms[:, None].astype("float64"), "conv1.0"), "conv2.0")
    return hidden.reshape(len(hidden), -1) @ weights["out.weight"].T + weights["out.bias"]


def read(path):
    return torch.load(path, map_location="cpu", weights_only=True)


@needs_weights
@pytest.mark.parametrize(("probe", "neighbours"), [("np1", 14), ("np2", 18)])
def test_published_detectors_as_their_description_has_them(probe, neighbours, tmp_path):
    from steadyspike import load_model
    from steadyspike.simulation.probes import build_probe

    path = WEIGHTS / f"detect_{probe}.pt"
    model = convert_yass_detector(path)
    model.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    locations = build_probe(probe, 24).contact_positions
    rng = np.random.default_rng(0)
    made = rng.standard_normal((300, 24)).astype("float32")
    made[100:130, 5:12] -= 12 * np.hanning(30)[:, None]
    listed = nearest(locations, model.config.radius_um, neighbours)
    logits = yass_logits(made, np.ones(24), listed, model.network.arrays())
    expected = plain_detector(path, made, locations)
    np.testing.assert_allclose(logits, expected[60:-60], rtol=1e-3, atol=2e-3)
    labels, expected_labels = logits > 0, expected[60:-60] > 0
    assert (labels == expected_labels)[np.abs(expected[60:-60]) > 0.01].all()
    assert labels[40:70].any()
    # the spike is found; noise of this kind is often called one too (docs/neural.md)
    assert labels[40:70, 5:12].mean() > 2 * labels[100:].mean()


@needs_weights
def test_published_denoiser_as_its_description_has_it(tmp_path):
    from steadyspike import load_model

    path = WEIGHTS / "denoise.pt"
    model = convert_yass_denoiser(path)
    model.save(tmp_path / "model")
    model = load_model(tmp_path / "model")
    assert (model.config.samples_before, model.config.num_samples) == (42, 121)
    rng = np.random.default_rng(0)
    time = np.arange(121) - 42.0
    spike = -10 * np.exp(-(time**2) / 40) + 3 * np.exp(-((time - 15) ** 2) / 150)
    clean = spike * np.linspace(0, 1, 12)[:, None]
    noisy = clean + rng.standard_normal((12, 121))
    expected = plain_denoiser(path, noisy)
    single = np.arange(12)[:, None], np.ones(12, dtype="int64")
    given = noisy[:, :, None].astype("float32")
    denoised = denoise_yass(given, np.arange(12), *single, np.ones(12), model.network.arrays())[:, :, 0]
    np.testing.assert_allclose(denoised, expected, rtol=1e-4, atol=1e-4)
    correlation = [np.corrcoef(*pair)[0, 1] for pair in zip(expected[4:], clean[4:], strict=True)]
    assert min(correlation) > 0.8


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        convert_yass_detector(tmp_path / "absent.pt")
    other = tmp_path / "other.pt"
    torch.save({"weight": torch.zeros(3)}, other)
    with pytest.raises(ModelError, match="is no YASS detector"):
        convert_yass_detector(other)
    with pytest.raises(ModelError, match="is no YASS denoiser"):
        convert_yass_denoiser(other)
    torch.save(torch.nn.Linear(2, 2), other)
    with pytest.raises(ModelError, match="holds more than plain weights"):
        convert_yass_detector(other)
    other.write_text("nothing")
    with pytest.raises(ModelError, match="is no checkpoint of torch"):
        convert_yass_denoiser(other)
