"""The first line of a report tells the truth of every kind of run."""

import numpy as np
import pytest
from report_runs import make_info, make_motion

from steadyspike.reports import words
from steadyspike.reports.run import Run, run_of

STILL = make_motion(0.0)
WRONG = dict(gain=-0.05, gain_error=0.01, reason="The motion does not fit the spikes.")


@pytest.mark.parametrize(
    ("info", "kind", "said", "unsaid"),
    [
        (dict(), words.GOOD, "moved by 12 µm", "all the same"),
        (
            dict(verdict="correct rigidly", motion=make_motion(num_windows=1)),
            words.GOOD,
            "rigid motion was",
            "correct",
        ),
        (dict(verdict="correct rigidly"), words.CAREFUL, "correct rigidly", "confirm"),
        (dict(motion=STILL), words.CAREFUL, "nothing was corrected", "confirm it, and"),
        (
            dict(verdict="do not correct", motion=STILL, displacement_um=0.4),
            words.STILL,
            "is still: the motion that was found spans 0.4 µm, and nothing had to be corrected",
            "failed",
        ),
        (
            dict(verdict="do not correct", motion=STILL, **WRONG),
            words.FAILED,
            "failed: the spikes contradict",
            "all the",
        ),
        (
            dict(verdict="do not correct", **WRONG),
            words.FAILED,
            "corrected all the same: don't sort this",
            "Nothing",
        ),
        (dict(verdict="do not correct", motion=STILL, wild_bins=5), words.FAILED, "failed", "is still"),
        (
            dict(
                verdict="do not correct", motion=STILL, reason="The 3 um of motion are real, but drift blurs."
            ),
            words.STILL,
            "would cost more than it brings; it was left alone",
            "failed",
        ),
        (
            dict(verdict="do not correct", gain=0.001),
            words.CAREFUL,
            "no motion that the spikes confirm",
            "Nothing was",
        ),
        (dict(verdict="cannot tell", num_spikes=20), words.CAREFUL, "too few spikes", "neither"),
        (
            dict(verdict="cannot tell", motion=STILL),
            words.CAREFUL,
            "neither confirm nor exclude it; nothing",
            "few",
        ),
        (
            dict(num_peaks=0, verdict="cannot tell", motion=STILL),
            words.FAILED,
            "No spikes were found",
            "moved",
        ),
    ],
)
def test_the_first_line_is_true(info, kind, said, unsaid):
    found = words.headline(run_of(make_info(**info)))
    assert found.kind == kind
    assert said in found.sentence
    assert unsaid not in found.sentence.replace("corrected", "") or unsaid == "all the"


def test_without_verdict_or_motion_nothing_is_claimed():
    info = make_info()
    del info["motion_trust"]
    found = words.headline(run_of(info))
    assert "has not been judged" in found.sentence
    assert "No motion was estimated" in words.headline(Run("bare")).sentence


def test_the_span_is_that_around_the_median():
    run = Run("one", motion=make_motion(10.0, num_windows=1))
    moved = run.motion.displacement[0][:, 0]
    assert words.span_of(run) == pytest.approx(np.diff(np.percentile(moved, [2, 98]))[0])


@pytest.mark.parametrize(("seconds", "said"), [(3.21, "3.2 s"), (600, "10.0 min"), (36_000, "10.0 h")])
def test_durations_are_read_at_a_glance(seconds, said):
    assert words.in_words(seconds) == said


def test_warnings_are_those_of_the_run_and_of_the_numbers():
    run = run_of(make_info(wild_bins=2, wild_um=50.0, loss_with=0.1))
    run.facts["warnings"] = ["steady_auto: do this.", "steady_auto: do this."]
    found = words.warnings_of(run, ["channel 3: silent"])
    assert found.count("steady_auto: do this.") == 1
    for text in ("Channel 3: silent.", "2 time bins stand up to 50 µm away", "leaves 10 %"):
        assert any(text in one for one in found)


def test_denoising_says_what_became_of_the_noise():
    run = Run("denoised", facts={"request": {"model": "steady-np1"}})
    said = words.headline(run)
    assert "denoised by DeepInterpolation with steady-np1; no motion" in said.sentence
    assert "went from 8 µV to 5 µV" in words.with_noise(run, said, "8 µV", "5 µV").sentence
    moved = run_of(make_info())
    first = words.headline(moved)
    assert words.with_noise(moved, first, "8 µV", "5 µV") is first
