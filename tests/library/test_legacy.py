"""Published networks convert, and give what a plain forward pass in numpy gives."""

import pickle

import numpy as np
import pytest
import torch
from waveform_sets import need_zebra_finch, one_thread  # noqa: F401

from steadyspike.library.models.config import ModelError
from steadyspike.library.models.folder import load_model
from steadyspike.library.models.legacy.convert import import_model
from steadyspike.library.models.legacy.waveforms import (
    ZEBRA_FINCH_MEAN,
    ZEBRA_FINCH_PEAK,
    ZEBRA_FINCH_SCALE,
    convert_legacy,
)
from steadyspike.library.models.waveforms import SpikeClassifier, WaveformAutoencoderModel


def relu(values):
    return np.maximum(values, 0)


def convolve(signal, weight, bias):
    """(batch, in, time) by (out, in, taps), without padding."""
    taps = weight.shape[2]
    windows = np.stack([signal[:, :, k : signal.shape[2] - taps + 1 + k] for k in range(taps)])
    return np.einsum("kbit,oik->bot", windows, weight) + bias[:, None]


def pool(signal):
    half = signal.shape[2] // 2
    return np.maximum(signal[:, :, 0 : 2 * half : 2], signal[:, :, 1 : 2 * half : 2])


def dense(values, weights, name):
    return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def cnn(w, x):
    hidden = pool(relu(convolve(x[:, None], w["conv1.weight"], w["conv1.bias"])))
    hidden = pool(relu(convolve(hidden, w["conv2.weight"], w["conv2.bias"]))).reshape(len(x), -1)
    hidden = (hidden - hidden.mean(1, keepdims=True)) / np.sqrt(hidden.var(1, keepdims=True) + 1e-5)
    hidden = hidden * w["layer_norm1.weight"] + w["layer_norm1.bias"]
    return dense(relu(dense(hidden, w, "fc1")), w, "fc2")


def gru_layer(w, name, x):
    """Gates in torch's order: reset, update, new."""
    wi, wh = w[f"{name}.weight_ih_l0"], w[f"{name}.weight_hh_l0"]
    bi, bh = w[f"{name}.bias_ih_l0"], w[f"{name}.bias_hh_l0"]
    state, states = np.zeros((len(x), wh.shape[1])), []
    for t in range(x.shape[1]):
        r_in, z_in, n_in = np.split(x[:, t] @ wi.T + bi, 3, axis=1)
        r_state, z_state, n_state = np.split(state @ wh.T + bh, 3, axis=1)
        reset, update = (1 / (1 + np.exp(-v)) for v in (r_in + r_state, z_in + z_state))
        state = (1 - update) * np.tanh(n_in + reset * n_state) + update * state
        states.append(state)
    return np.stack(states, axis=1)


def gru(w, x):
    hidden = gru_layer(w, "gru2", gru_layer(w, "gru1", x[:, :, None]))[:, -1]
    return dense(relu(dense(hidden, w, "fc1")), w, "fc2")


def autoencoder(w, x):
    latent = dense(relu(dense(x, w, "encoder.0")), w, "encoder.2")
    return latent, dense(relu(dense(latent, w, "decoder.0")), w, "decoder.2")


def read(path):
    return {name: values.double().numpy() for name, values in torch.load(path, weights_only=True).items()}


def standardized(waveforms):
    return (waveforms - ZEBRA_FINCH_MEAN) / ZEBRA_FINCH_SCALE


def zebra_channel(folder, channel):
    parts = [np.load(folder / f"channel_{kind}_{channel}.npy") for kind in ("background", "spikes")]
    return np.concatenate(parts), np.repeat([0, 1], [len(part) for part in parts])


@pytest.mark.parametrize(
    ("name", "forward", "accuracy", "macro_f1"),
    [("cnn", cnn, 0.9837, 0.8761), ("gru", gru, 0.9746, 0.8257)],
)
def test_published_classifiers(name, forward, accuracy, macro_f1):
    from sklearn.metrics import accuracy_score, f1_score

    folder = need_zebra_finch()
    model = convert_legacy(folder / f"best_{name}_model.pth")
    waveforms, labels = zebra_channel(folder, 40)
    expected = forward(read(folder / f"best_{name}_model.pth"), standardized(waveforms))
    found = model.predict(waveforms)
    np.testing.assert_array_equal(found, expected.argmax(axis=1))
    np.testing.assert_allclose(
        model.decision_function(waveforms), expected[:, 1] - expected[:, 0], rtol=1e-3, atol=1e-3
    )
    assert round(accuracy_score(labels, found), 4) == accuracy
    assert round(f1_score(labels, found, average="macro"), 4) == macro_f1


def test_published_autoencoder():
    folder = need_zebra_finch()
    model = convert_legacy(folder / "best_autoencoder_model.pth")
    waveforms, _ = zebra_channel(folder, 40)
    latent, output = autoencoder(read(folder / "best_autoencoder_model.pth"), standardized(waveforms))
    assert isinstance(model, WaveformAutoencoderModel)
    np.testing.assert_allclose(model.transform(waveforms), latent, rtol=1e-3, atol=1e-4)
    restored = standardized(model.reconstruct(waveforms)[:, :, 0])
    np.testing.assert_allclose(restored, output, rtol=1e-3, atol=1e-4)


def test_normalization_is_that_of_the_training_channels():
    folder = need_zebra_finch()
    waveforms = np.concatenate([zebra_channel(folder, channel)[0] for channel in (9, 16, 33)])
    assert waveforms.mean() == pytest.approx(ZEBRA_FINCH_MEAN, rel=1e-6)
    assert waveforms.std() == pytest.approx(ZEBRA_FINCH_SCALE, rel=1e-6)
    spikes = np.concatenate([np.load(folder / f"channel_spikes_{channel}.npy") for channel in (9, 16, 33)])
    assert np.bincount(np.abs(spikes).argmax(axis=1)).argmax() == ZEBRA_FINCH_PEAK


def test_import_command_takes_the_sampling_frequency(tmp_path):
    from steadyspike.library.models.legacy.convert import ImportOptions, import_model

    checkpoint(tmp_path / "cnn.pth", "waveform_cnn", num_samples=42)
    model = import_model(tmp_path / "cnn.pth", tmp_path / "model", ImportOptions(sampling_frequency=25_000.0))
    assert model.config.sampling_frequency == 25_000
    assert model.config.nbefore == ZEBRA_FINCH_PEAK


def checkpoint(path, name, **sizes):
    """Save random weights as the published files hold them; returns them in float64."""
    from steadyspike.networks import make_network

    torch.manual_seed(3)
    network = make_network(name, sizes)
    torch.save(network.state_dict(), path)
    return {key: values.double().numpy() for key, values in network.state_dict().items()}


@pytest.mark.parametrize(("name", "forward"), [("waveform_cnn", cnn), ("waveform_gru", gru)])
def test_any_weights_of_these_networks(tmp_path, name, forward):
    weights = checkpoint(tmp_path / "some.pth", name, num_samples=42, hidden=20)
    model = convert_legacy(tmp_path / "some.pth", kind=f"zebra_finch_{name.removeprefix('waveform_')}")
    waveforms = 100 * np.random.default_rng(0).standard_normal((30, 42))
    expected = forward(weights, standardized(waveforms))
    np.testing.assert_allclose(
        model.decision_function(waveforms), expected[:, 1] - expected[:, 0], rtol=1e-3, atol=1e-4
    )
    model.save(tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert isinstance(again, SpikeClassifier)
    assert again.card == model.card
    assert "apache-2.0" in again.card
    np.testing.assert_array_equal(again.predict_proba(waveforms), model.predict_proba(waveforms))


class Evil:
    def __reduce__(self):
        return print, ("this ran",)


def test_files_that_cannot_be_converted(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match=r"nothing\.pth"):
        convert_legacy(tmp_path / "nothing.pth")
    torch.save({"strange.weight": torch.zeros(2)}, tmp_path / "strange.pth")
    with pytest.raises(ModelError, match=r"strange\.weight"):
        convert_legacy(tmp_path / "strange.pth")
    checkpoint(tmp_path / "cnn.pth", "waveform_cnn", num_samples=42)
    with pytest.raises(ModelError, match="no zebra_finch_gru"):
        convert_legacy(tmp_path / "cnn.pth", kind="zebra_finch_gru")
    with pytest.raises(ValueError, match="allowed: zebra_finch_cnn"):
        convert_legacy(tmp_path / "cnn.pth", kind="other")
    weights = torch.load(tmp_path / "cnn.pth", weights_only=True)
    del weights["fc2.bias"]
    torch.save(weights, tmp_path / "part.pth")
    with pytest.raises(ModelError, match=r"fc2\.bias"):
        convert_legacy(tmp_path / "part.pth")
    torch.save({"conv1.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError):
        convert_legacy(tmp_path / "evil.pth")
    assert "this ran" not in capsys.readouterr().out


def test_published_detectors_go_the_same_way():
    yass = need_zebra_finch().parent / "yass_weights"
    assert convert_legacy(yass / "detect_np1.pt").config.kind == "spike_detector"
    assert convert_legacy(yass / "denoise.pt").config.kind == "waveform_denoiser"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no checkpoint of torch: it is empty"),
        (b"hello\nworld", "is no checkpoint of torch: it begins with b'hello"),
        (b"<!DOCTYPE html><html>", "it is a web page and not the file itself; download it anew"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a pointer of Git LFS .* run: git lfs pull",
        ),
        (pickle.dumps({"model": print}), r"could run code; save its state_dict\(\)"),
    ],
    ids=["empty", "text", "page", "pointer", "pickle"],
)
def test_what_is_no_checkpoint_is_told_without_advice_to_run_it(tmp_path, content, words):
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        import_model(tmp_path / "weights.pt", tmp_path / "model")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "model").exists()
