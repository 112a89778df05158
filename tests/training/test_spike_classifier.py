"""Training, calibration and choice of classifiers of waveforms."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from waveform_sets import need_zebra_finch, one_thread, spikes_and_noise  # noqa: F401

import steadyspike
from steadyspike.networks import make_network
from steadyspike.training.decisions import choose_threshold, classification_scores, fit_calibration


@pytest.fixture(scope="module")
def model():
    return steadyspike.train_spike_classifier(*spikes_and_noise(0), seed=0)


def test_discriminant_is_a_gaussian_of_each_class():
    from scipy.stats import multivariate_normal

    waveforms, labels = spikes_and_noise(1, num_samples=20, num_channels=2)
    values = (waveforms / 30).reshape(len(waveforms), -1).astype("float64")
    weights = np.where(labels == 1, 3.0, 1.0)
    network = make_network("waveform_discriminant", dict(num_samples=20, num_channels=2, components=4))
    network.fit(
        torch.from_numpy(waveforms / 30), torch.from_numpy(labels), torch.from_numpy(weights), shrinkage=0.3
    )
    centred = values - np.average(values, axis=0, weights=weights)
    _, vectors = np.linalg.eigh(np.cov(values.T, aweights=weights, bias=True))
    reduced = centred @ vectors[:, -4:]
    logits = []
    for kind in (0, 1):
        own, share = reduced[labels == kind], weights[labels == kind]
        covariance = np.cov(own.T, aweights=share, bias=True) + 0.3 * np.eye(4)
        density = multivariate_normal(np.average(own, axis=0, weights=share), covariance)
        logits.append(density.logpdf(reduced) + np.log(share.sum() / weights.sum()))
    with torch.no_grad():
        found = network(torch.from_numpy(waveforms / 30)).numpy()
    np.testing.assert_allclose(found[:, 1] - found[:, 0], logits[1] - logits[0], rtol=1e-3, atol=1e-3)


def test_has_the_methods_of_scikit_learn(model):
    waveforms, labels = spikes_and_noise(7)
    probabilities = model.predict_proba(waveforms)
    assert probabilities.shape == (len(labels), 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(model.classes_, [0, 1])
    np.testing.assert_array_equal(
        model.predict(waveforms) == 1, probabilities[:, 1] >= np.float32(model.config.threshold)
    )
    assert np.mean(model.predict(waveforms) == labels) > 0.98
    # one channel may be left out of the shape, and the type does not matter
    np.testing.assert_allclose(
        model.predict_proba(waveforms[:, :, 0].astype("float64")), probabilities, atol=1e-5
    )
    assert model.predict_proba(waveforms[:0]).shape == (0, 2)
    assert model.predict(waveforms[:0]).shape == (0,)


def test_seed_decides_everything(model):
    again = steadyspike.train_spike_classifier(*spikes_and_noise(0), seed=0)
    other = steadyspike.train_spike_classifier(*spikes_and_noise(0), seed=1)
    waveforms = spikes_and_noise(7)[0]
    np.testing.assert_array_equal(again.predict_proba(waveforms), model.predict_proba(waveforms))
    assert np.abs(other.predict_proba(waveforms) - model.predict_proba(waveforms)).max() > 0
    before = torch.get_rng_state()
    steadyspike.train_spike_classifier(*spikes_and_noise(0), network="cnn", max_epochs=1)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("network", ["cnn", "gru"])
def test_published_networks_train_too(network):
    model = steadyspike.train_spike_classifier(
        *spikes_and_noise(0, num_noise=300),
        validation=spikes_and_noise(1, num_noise=300),
        **dict(network=network, max_epochs=8, learning_rate=1e-2, batch_size=64, seed=3),
    )
    assert (
        steadyspike.evaluation.evaluate_spike_classifier(model, *spikes_and_noise(2), repeats=1).macro_f1
        > 0.9
    )
    assert model.config.extra["training"]["best_epoch"] <= 8
    assert not model.network.training


@pytest.mark.parametrize("labels", [["noise", "spike"], [False, True], [3, 7]])
def test_labels_of_any_type(tmp_path, labels):
    waveforms, truth = spikes_and_noise(0, num_channels=3)
    model = steadyspike.train_spike_classifier(waveforms, np.array(labels)[truth])
    model.save(tmp_path / "model")
    again = steadyspike.library.SpikeClassifier.load(tmp_path / "model")
    found = again.predict(waveforms)
    assert set(found) == set(labels)
    assert again.classes_.dtype == np.array(labels).dtype
    assert np.mean(found == np.array(labels)[truth]) > 0.95


def test_model_folder_and_card(model, tmp_path):
    model.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "test_input.safetensors",
        "test_output.safetensors",
    }
    again = steadyspike.load_model(tmp_path / "model")
    waveforms = spikes_and_noise(7)[0]
    np.testing.assert_array_equal(again.predict_proba(waveforms), model.predict_proba(waveforms))
    assert again.config == model.config
    scores = json.loads((tmp_path / "model" / "config.json").read_text())["extra"]["scores"]["validation"]
    assert f"| macro_f1 | {scores['macro_f1']:.4f} |" in again.card
    with pytest.raises(ValueError, match="no WaveformAutoencoderModel"):
        steadyspike.library.WaveformAutoencoderModel.load(tmp_path / "model")


def test_validation_is_what_choices_are_made_on():
    train, validation = spikes_and_noise(0), spikes_and_noise(1, offset=40.0, num_spikes=200)
    model = steadyspike.train_spike_classifier(*train, validation=validation, spike_fractions=None)
    log_odds = model.decision_function(validation[0])
    truth = validation[1] == 1
    threshold = np.log(model.config.threshold / (1 - model.config.threshold))
    best = max(macro_f1(truth, log_odds >= limit) for limit in np.append(log_odds, np.inf))
    assert macro_f1(truth, log_odds >= threshold) == pytest.approx(best)
    assert model.config.spike_fraction == pytest.approx(truth.mean())
    assert model.config.extra["training"]["validation"] == "given"


def test_decided_on_all_waveforms():
    train, validation = spikes_and_noise(0), spikes_and_noise(1, offset=40.0, num_spikes=200)
    model = steadyspike.train_spike_classifier(
        *train, validation=validation, decide_on="all", spike_fractions=None
    )
    truth = np.concatenate([train[1], validation[1]]) == 1
    log_odds = model.decision_function(np.concatenate([train[0], validation[0]]))
    threshold = np.log(model.config.threshold / (1 - model.config.threshold))
    best = max(macro_f1(truth, log_odds >= limit) for limit in np.append(log_odds[::3], np.inf))
    assert macro_f1(truth, log_odds >= threshold) >= best
    assert "and by those trained on" in model.card


def test_samples_that_are_not_finite_count_as_the_mean(model):
    waveforms = spikes_and_noise(7)[0][:50]
    broken, mended = waveforms.copy(), waveforms.copy()
    broken[3, 5], broken[4, 6:9], broken[5] = np.nan, np.inf, np.nan
    mended[3, 5], mended[4, 6:9], mended[5] = (model.config.mean,) * 3
    np.testing.assert_allclose(model.predict_proba(broken), model.predict_proba(mended), atol=1e-5)
    with_nan = spikes_and_noise(0)[0].copy()
    with_nan[::9, 3] = np.nan
    trained = steadyspike.train_spike_classifier(with_nan, spikes_and_noise(0)[1])
    assert np.isfinite(trained.predict_proba(with_nan)).all()


def macro_f1(truth, found, spike_weight=1.0):
    hits, missed = spike_weight * np.sum(truth & found), spike_weight * np.sum(truth & ~found)
    false_alarms, rejected = np.sum(~truth & found), np.sum(~truth & ~found)
    spike_f1 = 2 * hits / (2 * hits + missed + false_alarms)
    return (spike_f1 + 2 * rejected / (2 * rejected + missed + false_alarms)) / 2


@pytest.mark.parametrize("fractions", [None, (0.01, 0.5), (0.2, 0.2)])
def test_threshold_is_the_best_of_all(fractions):
    rng = np.random.default_rng(0)
    truth = rng.random(120) < 0.3
    log_odds = np.round(rng.normal(2.0 * truth, 1.0), 1)
    shares = [truth.mean()] if fractions is None else np.geomspace(*fractions, 9)

    def score(limit):
        found = log_odds >= limit
        weights = [p / (1 - p) * (~truth).sum() / truth.sum() for p in shares]
        return np.mean([macro_f1(truth, found, weight) for weight in weights])

    limit, value = choose_threshold(log_odds, truth, fractions)
    assert value == pytest.approx(max(score(one) for one in np.unique(log_odds)))
    assert score(limit) == pytest.approx(value)


def test_threshold_where_all_are_alike():
    limit, _ = choose_threshold(np.zeros(10), np.arange(10) < 3, (0.01, 0.5))
    assert np.isfinite(limit)


def test_calibration_finds_what_was_done_to_the_log_odds():
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-1.0, 2.0, 40_000)
    truth = rng.random(40_000) < 1 / (1 + np.exp(-log_odds))
    temperature, bias = fit_calibration(5.0 * log_odds - 3.0, truth)
    assert temperature == pytest.approx(5.0, rel=0.05)
    assert bias == pytest.approx(3.0, abs=0.2)
    separated = np.linspace(-5, 5, 40)
    temperature, bias = fit_calibration(separated, separated > 0)
    assert 0 < temperature < np.inf
    assert np.isfinite(bias)


def test_scores():
    truth = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool)
    found = np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    scores = classification_scores(truth, found, np.array([3.0, 2, -1, 1, -2, -3, -4, -5]))
    assert scores["accuracy"] == pytest.approx(6 / 8)
    assert scores["spike_precision"] == pytest.approx(2 / 3)
    assert scores["spike_recall"] == pytest.approx(2 / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert scores["average_precision"] == pytest.approx((1 + 1 + 3 / 4) / 3)


def test_evaluation_of_any_classifier_and_its_figure(model, tmp_path):
    from sklearn.linear_model import LogisticRegression

    from steadyspike.evaluation.figures.spike_classifier import plot_classifier_scores

    waveforms, labels = spikes_and_noise(2)
    flat = waveforms[:, :, 0]
    logistic = LogisticRegression(max_iter=300).fit(spikes_and_noise(0)[0][:, :, 0], spikes_and_noise(0)[1])
    scores = {
        "ours": steadyspike.evaluation.evaluate_spike_classifier(model, flat, labels, repeats=1),
        "logistic": steadyspike.evaluation.evaluate_spike_classifier(logistic, flat, labels, repeats=1),
    }
    ours = scores["ours"]
    found = model.predict(waveforms)
    np.testing.assert_array_equal(
        ours.confusion, [[np.sum((labels == a) & (found == b)) for b in (0, 1)] for a in (0, 1)]
    )
    assert ours.num_waveforms == len(labels)
    assert ours.us_per_waveform > 0
    assert 0 <= ours.calibration_error < 0.1
    assert len(ours.precision) == len(ours.recall)
    plot_classifier_scores(scores, title="both").savefig(tmp_path / "scores.png", dpi=40)
    with pytest.raises(ValueError, match="is empty"):
        plot_classifier_scores({})
    with pytest.raises(ValueError, match="repeats=0"):
        steadyspike.evaluation.evaluate_spike_classifier(model, flat, labels, repeats=0)
    with pytest.raises(ValueError, match="labels have the value"):
        steadyspike.evaluation.evaluate_spike_classifier(model, flat, labels + 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(network="mlp"), "network='mlp'"),
        (dict(class_weight="some"), "class_weight='some'"),
        (dict(unit="mV"), "unit='mV'"),
        (dict(decide_on="test"), "decide_on='test'"),
        (dict(noise=-1.0), "noise=-1.0"),
        (dict(noise=np.nan), "noise=nan"),
        (dict(amplitude_jitter=-0.1), "amplitude_jitter=-0.1"),
        (dict(seed=-1), "seed=-1"),
        (dict(max_epochs=0), "max_epochs=0"),
        (dict(batch_size=1.5), "batch_size=1.5"),
        (dict(learning_rate=0.0), r"learning_rate=0\.0"),
        (dict(spike_fractions=(0.0, 0.5)), "spike_fractions"),
        (dict(spike_fractions=(0.5, 0.1)), "spike_fractions"),
        (dict(nbefore=42), "nbefore=42"),
        (dict(sampling_frequency=0.0), "sampling_frequency"),
        (dict(network_kwargs=dict(components=100)), "components=100"),
        (dict(network_kwargs=dict(shrinkage=0.0)), "shrinkage"),
        (dict(network_kwargs=dict(width=3)), "width"),
        (dict(labels=np.zeros(680, int)), "two different"),
        (dict(labels=np.arange(680) % 3), "two different"),
        (dict(labels=np.zeros(5, int)), "one for each waveform"),
        (dict(labels=(np.arange(680) == 4)), "at least 2"),
        (dict(waveforms=np.zeros((680, 42))), "all alike"),
        (dict(waveforms=np.zeros((680, 4, 4, 4))), "shape"),
        (dict(waveforms=np.zeros((680, 42), complex)), "complex"),
        (dict(validation=(np.zeros((9, 40)), np.arange(9) % 2)), "samples and channels"),
        (dict(validation=(np.zeros((9, 42)), np.arange(9) % 2 + 1)), "value 2"),
        (dict(validation=(np.zeros((9, 42)), np.zeros(9, int))), "validation labels need"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_work_is_refused(change, message):
    waveforms, labels = spikes_and_noise(0)
    arguments = {"waveforms": waveforms, "labels": labels, **change}
    with pytest.raises(ValueError, match=message):
        steadyspike.train_spike_classifier(arguments.pop("waveforms"), arguments.pop("labels"), **arguments)


def test_waveforms_of_other_sizes_are_refused(model):
    with pytest.raises(ValueError, match="allowed: 42 samples and 1 channels"):
        model.predict(np.zeros((3, 41)))
    with pytest.raises(ValueError, match="num_samples=10"):
        make_network("waveform_cnn", dict(num_samples=10))


def test_on_real_waveforms():
    from steadyspike_benchmarks.classifier import load_channels

    folder = need_zebra_finch()
    model = steadyspike.train_spike_classifier(
        *load_channels(folder, (9, 16, 33)), validation=load_channels(folder, (11,)), seed=0
    )
    assert (
        steadyspike.evaluation.evaluate_spike_classifier(
            model, *load_channels(folder, (40,)), repeats=1
        ).macro_f1
        > 0.93
    )


def test_importing_the_parts_loads_no_torch():
    script = (
        "import sys, steadyspike; steadyspike.train_spike_classifier, steadyspike.classify_peaks, "
        "steadyspike.peaks.embed_peaks, steadyspike.peaks.cut_spikes; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
