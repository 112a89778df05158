import numpy as np
import pytest
from matplotlib.colors import to_rgba
from spikeinterface.core.motion import Motion

from steadyspike.evaluation.figures.trust import VERDICT_COLOURS, plot_motion_trust
from steadyspike.motion.trust import VERDICTS, MotionTrust


def make_trust(verdict="correct", error=0.01, loss=0.2, scale=30.0):
    rng = np.random.default_rng(0)
    return MotionTrust(
        verdict=verdict,
        reason="With 12.0 um of motion taken out, held-out spikes gain 0.100 +- 0.010 nats each.",
        trust=[rng.uniform(size=(20, 3)), rng.uniform(size=(10, 3))],
        evidence=[30 * rng.standard_normal((20, 3)), scale * rng.standard_normal((10, 3))],
        displacement_um=12.0,
        gain=0.1,
        gain_error=error,
        rigid_gain=0.08,
        rigid_gain_error=error,
        rigid_advantage=-0.02,
        rigid_advantage_error=error,
        fitted_parameters=5.0,
        rigid_fitted_parameters=2.0,
        scale=1.0,
        error_um=0.5,
        loss_without=loss,
        loss_with=loss / 4,
        rigid_loss_with=loss / 3,
        num_spikes=1000,
        num_spikes_used=1000,
    )


def make_motion(num_windows=3):
    bins = [np.arange(20.0), np.arange(10.0)]
    values = [np.random.default_rng(1).standard_normal((part.size, num_windows)) for part in bins]
    return Motion(values, bins, 100.0 * np.arange(num_windows))


def texts_of(figure):
    found = [text.get_text() for part in (figure, *figure.subfigs) for text in part.texts]
    return " ".join([*found, figure.get_suptitle()])


@pytest.mark.parametrize("verdict", VERDICTS)
def test_figure_tells_the_verdict_and_its_reason(verdict):
    figure = plot_motion_trust(make_trust(verdict), make_motion())
    shown = texts_of(figure)
    assert verdict.capitalize() in shown
    assert "12.0 µm of motion" in shown
    assert "0.100 ± 0.010" in shown


@pytest.mark.parametrize("segment_index", [0, 1])
def test_map_holds_the_evidence_of_its_segment(segment_index):
    trust = make_trust()
    figure = plot_motion_trust(trust, make_motion(), segment_index=segment_index)
    np.testing.assert_allclose(evidence_image(figure).get_array(), trust.evidence[segment_index].T)


def evidence_image(figure):
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "What held-out spikes say")
    return axes.collections[0]


def bars_of(figure):
    titles = ("Gain of held-out spikes", "Waveform energy lost")
    return {
        axes.get_title(loc="left"): axes.patches
        for axes in figure.axes
        if axes.get_title(loc="left") in titles
    }


def test_weak_evidence_looks_weak():
    figure = plot_motion_trust(make_trust("cannot tell", scale=0.2), make_motion(), segment_index=1)
    image = evidence_image(figure)
    shades = image.cmap(image.norm(image.get_array()))[..., :3]
    assert shades.min() > 0.8  # near white, wherever it points


@pytest.mark.parametrize("verdict", VERDICTS)
def test_only_what_the_verdict_advises_has_its_colour(verdict):
    figure = plot_motion_trust(make_trust(verdict))
    advised = dict(zip(("correct rigidly", "correct", "do not correct"), range(3), strict=True))
    for patches in bars_of(figure).values():
        for place, patch in enumerate(patches):
            coloured = patch.get_facecolor() == to_rgba(VERDICT_COLOURS[verdict])
            assert coloured == (advised.get(verdict) == place)


def test_bars_are_the_gains_and_the_losses():
    figure = plot_motion_trust(make_trust())
    bars = {name: [patch.get_width() for patch in patches] for name, patches in bars_of(figure).items()}
    np.testing.assert_allclose(bars["Gain of held-out spikes"], [0.08, 0.1])
    np.testing.assert_allclose(bars["Waveform energy lost"], [20 / 3, 5.0, 20.0])


def test_unknown_numbers_are_drawn_as_unknown(tmp_path):
    figure = plot_motion_trust(make_trust("cannot tell", error=np.inf, loss=np.nan), make_motion())
    axes = next(axes for axes in figure.axes if axes.get_title(loc="left") == "Waveform energy lost")
    assert [text.get_text().strip() for text in axes.texts] == ["?", "?", "?"]
    figure.savefig(tmp_path / "trust.png")
