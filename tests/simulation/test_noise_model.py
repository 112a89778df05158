import numpy as np
import pytest
from spikeinterface.core import load

from steadyspike.evaluation.figures.noise import plot_noise
from steadyspike.evaluation.noise import noise_distances, summarize_noise
from steadyspike.simulation.modelled_noise import ModelledNoiseRecording
from steadyspike.simulation.noise_model import NoiseModel, fit_noise, measured_noise
from steadyspike.simulation.noisy import simulate_noisy_recording
from steadyspike.simulation.probes import build_probe, sample_shifts

PROBE = build_probe("np2", 32)
TURNS = np.unique(sample_shifts("np2", 32), return_inverse=True)[1]


def known_model():
    place = np.linspace(0, 1, 129)
    own, shank, phase = 0.3 + 0 * place, 0.1 * np.exp(-place / 0.05), 0.05 + 0 * place
    near, far = 0.5 * np.exp(-place / 0.2), 0.5 * np.exp(-place / 0.1)
    return NoiseModel(30_000.0, (25.0, 100.0), np.array([own, shank, phase, near, far]))


def drawn(model, num_samples=30_000, **kwargs):
    noise = ModelledNoiseRecording(PROBE.contact_positions, np.full(32, 8.0), num_samples, model, **kwargs)
    noise.set_probe(PROBE)
    return noise


@pytest.fixture(scope="module")
def noise():
    return drawn(known_model(), phase=TURNS, seed=2)


def test_noise_has_the_covariances_of_its_model(noise):
    traces, model = noise.get_traces() / 8.0, known_model()
    found = [np.mean(traces[lag:] * traces[: len(traces) - lag]) for lag in range(6)]
    np.testing.assert_allclose(found, model.correlation(lags=6), atol=0.02)
    apart = np.linalg.norm(PROBE.contact_positions[0] - PROBE.contact_positions[4])
    together = np.mean([np.mean(traces[:, one] * traces[:, one + 4]) for one in range(28)])
    assert together == pytest.approx(model.correlation(apart, same_phase=False)[0], abs=0.02)
    # the same converter's turn, far away on the probe
    assert np.mean(traces[:, 0] * traces[:, 1]) > model.correlation(32.0, same_phase=False)[0]


def test_a_fit_finds_the_model_again(noise):
    model = known_model()
    fit = fit_noise(noise, lengths_um=model.lengths_um)
    np.testing.assert_allclose(fit.correlation(lags=8), model.correlation(lags=8), atol=0.03)
    for apart in (15.0, 60.0, 120.0):
        expected = model.correlation(apart, 4, same_phase=False)
        np.testing.assert_allclose(fit.correlation(apart, 4, same_phase=False), expected, atol=0.04)
    with pytest.raises(ValueError, match="too few"):
        fit_noise(noise, end_s=0.02)


def test_noise_is_the_same_whatever_is_read_and_after_json(noise, tmp_path):
    whole = noise.get_traces(end_frame=9000)
    for start, end in ((0, 1), (3990, 4100), (8999, 9000), (70, 70)):
        part = noise.get_traces(start_frame=start, end_frame=end)
        np.testing.assert_allclose(part, whole[start:end], atol=1e-3)
    noise.dump_to_json(tmp_path / "noise.json")
    np.testing.assert_allclose(load(tmp_path / "noise.json").get_traces(end_frame=9000), whole, atol=1e-4)
    assert not np.allclose(drawn(known_model(), seed=3).get_traces(end_frame=50), whole[:50])


def test_shanks_share_nothing_but_the_converter():
    model = NoiseModel(30_000.0, (50.0,), np.tile([[0.0], [1.0], [0.0], [1.0]], 33))
    traces = drawn(model, 9000, shank=np.repeat([0, 1], 16)).get_traces()
    correlation = np.corrcoef(traces.T)
    assert correlation[:16, :16].min() > 0.4
    assert np.abs(correlation[:16, 16:]).max() < 0.1


def test_other_colours_are_drawn_around_a_model():
    model, rng = measured_noise(), np.random.default_rng(0)
    lags = np.array([model.varied(rng).correlation(lags=2)[1] for _ in range(20)])
    # what was measured on the real recording: `denoising-noise`
    assert model.correlation(lags=2)[1] == pytest.approx(0.68, abs=0.02)
    assert model.correlation(15.0, same_phase=False)[0] == pytest.approx(0.47, abs=0.05)
    assert 0.03 < lags.std() < 0.2
    assert model.varied(rng).spectra.sum() == pytest.approx(1)
    flat = model.flat_below(400.0)
    assert flat.spectra[:, 1].sum() > 10 * model.spectra[:, 1].sum()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (dict(spectra=np.ones((2, 9))), "a row for each part"),
        (dict(spectra=-np.ones((3, 9))), "none below 0"),
        (dict(lengths_um=(0.0,), spectra=np.ones((4, 9))), "must be above 0"),
    ],
)
def test_models_that_cannot_be_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        NoiseModel(**{**dict(sampling_frequency=3e4, lengths_um=(), spectra=np.ones((3, 9))), **change})
    with pytest.raises(ValueError, match=r"phase has shape \(2,\)"):
        drawn(known_model(), phase=[0, 1])


def test_recordings_are_simulated_with_measured_noise_and_a_highpass():
    simulated = [
        simulate_noisy_recording(
            "np2", num_channels=16, duration_s=2.0, num_units=3, seed=seed, noise="varied"
        )
        for seed in (0, 1)
    ]
    for one in simulated:
        traces, clean = one.recording.get_traces(), one.clean.get_traces()
        power = np.abs(np.fft.rfft(traces - clean, axis=0)) ** 2
        assert power[:200].mean() < 1e-3 * power[800:2000].mean()
        assert one.recording.is_filtered()
    # seeds that are odd have channels sampled in turn
    assert [type(one.recording.get_parent()).__name__.startswith("SteadyPhase") for one in simulated] == [
        False,
        True,
    ]


def test_a_figure_shows_noises_beside_each_other(noise):
    shank, traces = np.zeros(32, int), noise.get_traces(end_frame=9000) / 8.0
    summary = summarize_noise(traces, PROBE.contact_positions, shank, 30_000.0)
    white = np.random.default_rng(0).standard_normal(traces.shape)
    other = summarize_noise(white, PROBE.contact_positions, shank, 30_000.0)
    apart = noise_distances(summary, other)
    assert noise_distances(summary, summary)["spectrum (dB)"] == 0
    assert apart["spectrum (dB)"] > 1
    assert apart["variance"] == pytest.approx(1, abs=0.05)
    assert summary.lagged[0, :4] == pytest.approx(known_model().correlation(lags=4), abs=0.06)
    figure = plot_noise({"measured": summary, "white": other})
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert {"measured", "white"} <= set(titles)
    spectra = figure.axes[0]
    np.testing.assert_allclose(spectra.lines[0].get_ydata(), summary.spectra[0])
