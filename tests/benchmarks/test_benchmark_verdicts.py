import json

import numpy as np
import pytest

from steadyspike_benchmarks import verdicts
from steadyspike_benchmarks.verdicts import VerdictCase

SMALL = verdicts.PeakSettings("np1", 32, 20, 100.0, 60.0, 5.0, 1.0, 20.0)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(verdicts, "draw_settings", lambda rng: SMALL)


@pytest.mark.parametrize("tissue", [*verdicts.STILL, *verdicts.DRIFTS])
def test_peaks_move_as_their_tissue_does(tissue):
    simulated = verdicts.simulate_verdict_peaks(tissue, SMALL, np.random.default_rng(0))
    times = simulated.peaks["sample_index"] / verdicts.SAMPLING_FREQUENCY
    assert (np.diff(times) >= 0).all()
    assert 0 <= times[0] <= times[-1] < SMALL.duration_s
    # a clock finer than the motion: the whole range is there, and only where the tissue drifts
    clock = np.linspace(0, SMALL.duration_s, 2000)
    moved = simulated.displacement(clock, np.zeros(1))
    size = 0.0 if tissue in verdicts.STILL else SMALL.drift_um
    assert np.ptp(moved) <= size + 1e-9
    assert np.ptp(moved) >= 0.3 * size
    assert np.ptp(simulated.peak_locations["y"]) > 200


def test_study_is_kept_and_goes_on(small, tmp_path):
    cases = [VerdictCase("still", "walk", 0), VerdictCase("step", "estimated", 0)]
    results = verdicts.run_verdict_study(tmp_path, cases, progress_bar=False)
    assert [row["verdict"] for row in results] == ["do not correct", "correct"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-estimated-0.json", "still-walk-0.json"]
    file = tmp_path / "still-walk-0.json"
    file.write_text(json.dumps(dict(results[0], verdict="cannot tell")))
    again = verdicts.run_verdict_study(tmp_path, cases, progress_bar=False)
    assert [row["verdict"] for row in again] == ["cannot tell", "correct"]
    table = verdicts.format_confusion_table(again)
    assert "| still | walk | do not correct | 0 | 0 | 0 | 1 | 0 % |" in table
    assert "| step | estimated | correct | 1 | 0 | 0 | 0 | 100 % |" in table


@pytest.mark.parametrize("kind", ["constant", "walk", "wobbly"])
def test_wrong_motions_are_wrong_as_they_say(kind):
    rng = np.random.default_rng(0)
    simulated = verdicts.simulate_verdict_peaks("sine", SMALL, rng)
    motion = verdicts.make_motion(kind, simulated, rng)
    moved = motion.displacement[0]
    if kind == "constant":
        assert (moved == 7.0).all()
    elif kind == "walk":
        assert moved.std() == pytest.approx(5.0)
    else:
        truth = simulated.displacement(motion.temporal_bins_s[0][:, None], motion.spatial_bins_um)
        assert (moved - truth).std() == pytest.approx(6.0)
        np.testing.assert_allclose((moved - truth).mean(axis=1), 0.0, atol=1e-9)


def test_no_seeds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="num_seeds=0"):
        verdicts.run_verdict_study(tmp_path, num_seeds=0)
