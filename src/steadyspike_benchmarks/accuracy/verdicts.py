"""Scenarios for the verdict of `motion_trust`: 1 where it is wrong, and how far its numbers are from the truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np

from . import peaks as sets
from .scenarios import Scenario

NUM_WINDOWS = 5


def sine(size_um: float, period_s: float = 100.0) -> sets.MotionOf:
    """Make a rigid sine of a peak-to-peak size."""
    return lambda times_s, depths_um: 0.5 * size_um * np.sin(2 * np.pi * times_s / period_s) + 0.0 * depths_um


@cache
def _peaks(motion_of: sets.MotionOf, duration_s: float = 100.0, **settings: Any) -> sets.PeakSet:
    return sets.make_peaks(motion_of, duration_s, **dict(num_channels=48, num_units=30) | settings)


def judge(
    peak_set: sets.PeakSet,
    motion_of: sets.MotionOf,
    bin_s: float = 1.0,
    wobble_um: float = 0.0,
) -> Any:
    """Judge a motion on 5 windows, perhaps with slow noise that is another one in each window."""
    from spikeinterface.core.motion import Motion

    from steadyspike.motion.trust import motion_trust

    contacts = peak_set.recording.get_channel_locations()[:, 1]
    times = np.arange(0.5 * bin_s, peak_set.recording.get_duration(), bin_s)
    windows = np.linspace(contacts.min(), contacts.max(), NUM_WINDOWS)
    displacement = motion_of(times[:, np.newaxis], windows) + wobble_um * wobble(times.size)
    motion = Motion([displacement], [times], windows)
    return motion_trust(peak_set.recording, motion, peak_set.peaks, peak_set.peak_locations)


def wobble(num_times: int) -> np.ndarray:
    """Slow noise of a standard deviation of one, without a mean over the windows."""
    from scipy.ndimage import gaussian_filter1d

    noise = np.random.default_rng(0).standard_normal((num_times, NUM_WINDOWS))
    noise = gaussian_filter1d(noise, 8.0, axis=0)
    noise -= noise.mean(axis=1, keepdims=True)
    return noise / noise.std()


SLOW = sine(16.0)
SMALL, MEDIUM, WEAK = sine(1.0), sine(4.0), sine(6.0)
EIGHTH, THIRD, HALF, MOST = (sine(16.0 * share) for share in (1 / 8, 1 / 3, 1 / 2, 0.8))


def with_jumps(motion_of: sets.MotionOf, seconds: tuple[float, ...], size_um: float = 30.0) -> sets.MotionOf:
    """Move by so much more in single seconds."""
    return lambda times_s, depths_um: (
        motion_of(times_s, depths_um) + size_um * np.isin(np.floor(times_s), seconds)
    )


def _is_wrong(verdict: str, trust: Any) -> float:
    return float(trust.verdict != verdict)


def _says_too_small(expected: bool, trust: Any) -> float:
    return float(("times as far" in trust.reason) != expected)


def verdict_cases() -> dict[str, tuple[Callable[[Any], float], Callable[[], Any]]]:
    """Name each case, and give what it asks of the judgement and how to get that."""
    clear = dict(jitter_um=3.0, num_units=20)
    sparse = dict(probe="linear16", num_channels=16, **clear)

    def case(tissue, motion_of=None, bin_s=1.0, wobble_um=0.0, duration_s=100.0, **settings):
        def run():
            made = _peaks(tissue, duration_s, **settings)
            return judge(made, motion_of or tissue, bin_s, wobble_um)

        return run

    wrong = lambda verdict: partial(_is_wrong, verdict)  # noqa: E731
    return {
        "too few spikes": (wrong("cannot tell"), case(SLOW, rate_hz=0.09, **clear)),
        "just enough spikes": (wrong("correct"), case(SLOW, rate_hz=0.3, **clear)),
        "three times": (wrong("cannot tell"), case(SLOW, bin_s=33.5, rate_hz=2.0, **clear)),
        "eight times": (wrong("correct"), case(SLOW, bin_s=13.0, rate_hz=2.0, **clear)),
        "small motion": (wrong("do not correct"), case(SMALL, rate_hz=10.0)),
        "4 um": (wrong("correct"), case(MEDIUM, rate_hz=3.0)),
        "4 um, contacts 50 um apart": (wrong("do not correct"), case(MEDIUM, rate_hz=6.0, **sparse)),
        "weak evidence": (wrong("correct"), case(MEDIUM, rate_hz=1.2, jitter_um=8.0)),
        "a hint": (wrong("cannot tell"), case(MEDIUM, rate_hz=0.5, jitter_um=8.0, seed=5)),
        "no hint": (wrong("do not correct"), case(MEDIUM, rate_hz=0.5, jitter_um=8.0, seed=7)),
        "a little wobble": (wrong("correct"), case(SLOW, wobble_um=1.7)),
        "wobble": (wrong("correct rigidly"), case(SLOW, wobble_um=3.0)),
        "a third of it": (wrong("correct"), case(SLOW, THIRD)),
        "half, said": (partial(_says_too_small, True), case(SLOW, HALF)),
        "four fifths, not said": (partial(_says_too_small, False), case(SLOW, MOST)),
        "wild bins": (wrong("do not correct"), case(SLOW, with_jumps(SLOW, (20, 50)), rate_hz=0.4, **clear)),
        "wild bins of more spikes": (
            wrong("do not correct"),
            case(SLOW, with_jumps(SLOW, (20, 50)), rate_hz=2.0, **clear),
        ),
        "one wild bin of many": (
            wrong("correct"),
            case(SLOW, with_jumps(SLOW, (50,)), duration_s=1500.0, rate_hz=0.4, **clear),
        ),
        "jumps that are there": (
            wrong("correct"),
            case(with_jumps(SLOW, (20, 50)), with_jumps(SLOW, (20, 50)), rate_hz=1.0, **clear),
        ),
        "still, a walk": (wrong("do not correct"), case(sets.still, sets.random_walk(0.3, 100, 2))),
    }


def case_error(name: str) -> float:
    """Whether the verdict of a case is wrong."""
    is_wrong, run = verdict_cases()[name]
    return is_wrong(run())


def loss_error() -> float:
    """Natural log of how wrong the predicted loss is for a motion a third as large as the true one."""
    made = _peaks(SLOW)
    return float(abs(np.log(judge(made, THIRD).loss_without / judge(made, SLOW).loss_without)))


def source_loss_error() -> float:
    """Natural log of how wrong the loss by a drift of 15 um is, for many point sources 5 to 35 um from the probe."""
    from steadyspike.kernels.channels.waveform_loss import waveform_losses

    rng = np.random.default_rng(0)
    contacts = sets.stand_in([1.0], "np1", 96).get_channel_locations()
    sources = np.stack([rng.uniform(0, 60, 500), rng.uniform(200, 700, 500)], axis=1)
    far = np.exp(rng.uniform(np.log(5), np.log(35), 500))[:, np.newaxis]

    def seen(moved_um):
        across, depth = contacts.T
        distance = np.hypot(across - sources[:, :1], depth - sources[:, 1:] - moved_um)
        return 1.0 / np.hypot(distance, far), distance

    (before, distance), (after, _) = seen(0.0), seen(15.0)
    near = distance < 100.0
    lost = (np.square(after - before) * near).sum(axis=1) / (np.square(before) * near).sum(axis=1)
    without, _ = waveform_losses(contacts, 1, np.array([15.0]), np.array([15.0]), 0.5)
    return float(abs(np.log(without / lost.mean())))


def error_bar_error() -> float:
    """Natural log of how wrong the error of the displacement is, for a wobble of 2 um (and the noise of none)."""
    made = _peaks(SLOW, rate_hz=6.0)
    return float(abs(np.log(judge(made, SLOW, wobble_um=2.0).error_um / 2.0)))


def standard_error_error() -> float:
    """Natural log of how wrong the gain's standard error is, from how much the gain differs between recordings."""
    gains, errors = [], []
    for seed in range(12):
        made = _peaks(SLOW, num_channels=32, num_units=15, rate_hz=2.0, seed=seed)
        trust = judge(made, SLOW)
        gains.append(trust.gain)
        errors.append(trust.gain_error)
    return float(abs(np.log(np.mean(errors) / np.std(gains, ddof=1))))


def power_error(**settings: Any) -> float:
    """Standard error of the gain in parts of the gain of a true motion."""
    trust = judge(_peaks(MEDIUM, **settings), MEDIUM)
    return trust.gain_error / max(trust.gain, 1e-3)


def snapped_error() -> float:
    """As `power_error`, of depths that are drawn to the rows and to the places between two rows."""
    made = _peaks(MEDIUM, rate_hz=3.0)
    locations = made.peak_locations.copy()
    locations["y"] -= 1.5 * np.sin(4 * np.pi * locations["y"] / 20.0)
    trust = judge(sets.PeakSet(made.recording, made.peaks, locations, made.motions, made.rest_um), MEDIUM)
    return trust.gain_error / max(trust.gain, 1e-3)


def fitted_noise() -> float:
    """Gain in standard errors, and 6, of a motion that is the mean error of the depths in each time bin and window."""
    from spikeinterface.core.motion import Motion

    from steadyspike.motion.trust import motion_trust

    excess = []
    for seed in range(3):
        made = _peaks(sets.still, num_channels=32, num_units=20, rate_hz=1.0, seed=seed)
        times = np.arange(0.5, 100.0)
        second = (made.peaks["sample_index"] / sets.SAMPLING_FREQUENCY).astype("int64")
        noise = made.peak_locations["y"] - made.rest_um
        mean = np.bincount(second, weights=noise) / np.maximum(np.bincount(second), 1)
        motion = Motion([mean[:, np.newaxis]], [times], np.array([150.0]))
        trust = motion_trust(made.recording, motion, made.peaks, made.peak_locations)
        excess.append(max(trust.gain / trust.gain_error + 6.0, 0.0))
    return float(np.mean(excess))


def _scenario(name: str, error: Callable[[], float], unit: str, group: str = "evidence") -> Scenario:
    return Scenario(f"{group}: {name}", group, unit, error)


SCENARIOS = [
    *(_scenario(name, partial(case_error, name), "wrong", "verdict") for name in verdict_cases()),
    _scenario("loss of a small estimate", loss_error, "log", "verdict"),
    _scenario("sources that move by 15 um", source_loss_error, "log", "loss"),
    _scenario("error of the displacement", error_bar_error, "log"),
    _scenario("standard error", standard_error_error, "log"),
    _scenario("power", partial(power_error, rate_hz=2.0, jitter_um=6.0), "1"),
    _scenario("power, sharp units", partial(power_error, rate_hz=2.0, jitter_um=1.5, num_units=150), "1"),
    _scenario("power, drawn to contacts", partial(power_error, rate_hz=3.0, lattice_um=1.0), "1"),
    _scenario("power, snapped to contacts", snapped_error, "1"),
    _scenario("a motion fitted to noise", fitted_noise, "sd"),
]
