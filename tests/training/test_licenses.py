"""Cards say the licence of the weights and that of the data; what could break a card is refused before training."""

import pytest
import yaml
from training_signals import FAST, recording_of
from waveform_sets import one_thread, spikes_and_noise  # noqa: F401

import steadyspike
from steadyspike.library.hub.cards import complete_card, license_of
from steadyspike.training import run
from steadyspike.training.settings import DeepInterpolationTraining

TRAINERS = {
    "train_deepinterpolation": (None, "nowhere"),
    "train_spike_detector": (None, None),
    "train_waveform_denoiser": (None,),
    "train_spike_classifier": (None, None),
    "train_waveform_autoencoder": (None,),
}
CANNOT_BE = ["", "  ", "two\nlines", "a" * 101, "a | b", "<b>", "\x1b[2J", 3]


@pytest.mark.parametrize("text", CANNOT_BE)
@pytest.mark.parametrize("name", ["license_name", "data_license"])
def test_what_is_no_short_line_is_refused(name, text):
    with pytest.raises(ValueError, match=f"{name}=.*allowed: one line of up to 100 characters"):
        DeepInterpolationTraining.of(**{name: text})


@pytest.mark.parametrize("trainer", TRAINERS)
def test_it_is_refused_before_anything_else(trainer):
    for name in ("license_name", "data_license"):
        with pytest.raises(ValueError, match=f"{name}='two\\\\nlines'"):
            getattr(steadyspike, trainer)(*TRAINERS[trainer], **{name: "two\nlines"})


def check_card(model, weights, data):
    assert f"Licence of the weights: {weights}. Licence of the training data: {data}." in model.card
    assert license_of(model.card) == (None if weights == "unknown" else weights)
    assert f"training data: {data}." in complete_card(model.card, (), model.usage, "lab/one")


def test_deepinterpolation(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RIDGE_ROWS", 10_000)
    fast = {**FAST, "max_steps": 1}
    licenses = dict(license_name="cc-by-4.0", data_license="cc0-1.0, DANDI 000123")
    model = steadyspike.train_deepinterpolation(recording_of(), tmp_path / "model", **fast, **licenses)
    assert model.config.extra["data_license"] == licenses["data_license"]
    check_card(model, *licenses.values())


@pytest.mark.usefixtures("one_thread")
def test_waveforms():
    waveforms, labels = spikes_and_noise(0)
    named = dict(license_name="other: ask us", data_license="cc-by-4.0")
    for licenses, told in (({}, ("unknown", "not told")), (named, tuple(named.values()))):
        classifier = steadyspike.train_spike_classifier(waveforms, labels, **licenses)
        autoencoder = steadyspike.train_waveform_autoencoder(waveforms, max_epochs=1, **licenses)
        for model in (classifier, autoencoder):
            check_card(model, *told)
            metadata = yaml.safe_load(model.card.split("---\n")[1])
            assert metadata["license"] == told[0]
            assert model.config.extra["data_license"] == licenses.get("data_license")
