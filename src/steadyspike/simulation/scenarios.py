"""What happens to the tissue and the spikes in each simulated recording.

The displacement of every scenario is one curve in time, scaled along the probe by a line in depth. Names and shapes
of "zigzag" and "random_walk" are SpikeInterface's; the other curves are made here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

DISPLACEMENT_SAMPLING_FREQUENCY = 5.0


@dataclass(frozen=True)
class DriftScenario:
    """How the tissue moves, and how units fire, in one simulated recording.

    `curve` is the shape of the displacement in time (None: still), and `amplitude_um` the distance between its two
    extremes where the drift is largest. `depth_factors` scale it at the lowest and at the highest contact; in between
    they follow a line. `unit_density` is a factor on the probe's usual number of units. `firing` is "steady", in
    "bursts", or "changing": units start, stop and wax and wane. With `artifacts` there are transients common to all
    channels and silent or saturated periods.
    """

    doc: str
    curve: str | None
    amplitude_um: float = 30.0
    depth_factors: tuple[float, float] = (1.0, 1.0)
    unit_density: float = 1.0
    firing: str = "steady"
    artifacts: bool = False


SCENARIOS: dict[str, DriftScenario] = {
    "rigid_zigzag": DriftScenario("The whole probe moves up and down at about 1 um/s", "zigzag"),
    "nonrigid_gradient": DriftScenario(
        "A zigzag that shrinks from the bottom of the probe to its top", "zigzag", 40.0, (1.0, 0.3)
    ),
    "bumps": DriftScenario(
        "Smooth bumps up and down, larger at the top of the probe", "bumps", 30.0, (0.4, 1.0)
    ),
    "steps": DriftScenario(
        "Sudden steps that stay for a while, larger at the top of the probe", "steps", 30.0, (0.4, 1.0)
    ),
    "random_walk": DriftScenario("The whole probe wanders", "random_walk"),
    "sessions": DriftScenario(
        "One jump, as between two sessions, and little drift before and after it",
        "sessions",
        30.0,
        (1.0, 0.7),
    ),
    "few_units": DriftScenario("A zigzag of the whole probe seen by few units", "zigzag", unit_density=0.2),
    "bursting": DriftScenario("A zigzag seen by units that fire in bursts", "zigzag", firing="bursts"),
    "small_drift": DriftScenario("The whole probe wanders slowly over 4 um", "wander", 4.0),
    "still": DriftScenario("Nothing moves", None, 0.0),
    "rate_changes": DriftScenario(
        "Nothing moves; units start, stop, and wax and wane along the probe", None, 0.0, firing="changing"
    ),
    "artifacts": DriftScenario(
        "Nothing moves; common transients, silent and saturated periods", None, 0.0, artifacts=True
    ),
}


def find_scenario(scenario: str) -> DriftScenario:
    """Give a scenario by its name, or raise `ValueError`."""
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario={scenario!r} is not known; allowed: {', '.join(SCENARIOS)}")
    return SCENARIOS[scenario]


def displacement_curve(drift: DriftScenario, amplitude_um: float, duration_s: float, seed: int) -> np.ndarray:
    """Make the displacement in um, within half the amplitude, where the depth factor is 1.

    It is sampled at `DISPLACEMENT_SAMPLING_FREQUENCY`.
    """
    num_times = int(np.ceil(DISPLACEMENT_SAMPLING_FREQUENCY * duration_s))
    if drift.curve is None or amplitude_um == 0:
        return np.zeros(num_times)
    times = np.arange(num_times) / DISPLACEMENT_SAMPLING_FREQUENCY
    rng = np.random.default_rng(seed)
    if drift.curve == "bumps":
        shape = _bumps(times, duration_s, rng)
    elif drift.curve == "sessions":
        shape = _sessions(times, duration_s, rng)
    elif drift.curve == "wander":
        shape = _between_halves(_slow_waves(times, duration_s, rng))
    else:
        shape = _upstream_curve(drift.curve, amplitude_um, duration_s, seed)
    return np.asarray(shape, dtype=float) * amplitude_um


def _upstream_curve(curve: str, amplitude_um: float, duration_s: float, seed: int) -> np.ndarray:
    from spikeinterface.generation.drifting_generator import make_one_displacement_vector

    return make_one_displacement_vector(
        # what SpikeInterface calls bumps are steps
        drift_mode="bump" if curve == "steps" else curve,
        duration=duration_s,
        displacement_sampling_frequency=DISPLACEMENT_SAMPLING_FREQUENCY,
        t_start_drift=min(5.0, 0.05 * duration_s),
        # one sweep takes half a period: about 1 um/s in recordings of a few minutes, faster in shorter ones
        period_s=min(2.0 * amplitude_um, 0.6 * duration_s),
        bump_interval_s=(min(30.0, duration_s / 8), min(90.0, duration_s / 4)),
        seed=seed,
    )


def _bumps(times: np.ndarray, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """Raised cosines of random times, widths, heights and signs; the first two have opposite signs."""
    number = max(3, round(duration_s / 20.0))
    centers = (np.arange(number) + rng.uniform(0.25, 0.75, number)) * duration_s / number
    widths = rng.uniform(0.5, 1.2, number) * min(20.0, duration_s / number)
    heights = rng.uniform(0.5, 1.0, number) * np.where(rng.random(number) < 0.5, -1.0, 1.0)
    heights[:2] = np.array([1.0, -1.0]) * np.abs(heights[:2])
    phase = np.clip((times[:, np.newaxis] - centers) / widths, -0.5, 0.5)
    return _between_halves(np.sum(heights * 0.5 * (1.0 + np.cos(2 * np.pi * phase)), axis=1))


def _sessions(times: np.ndarray, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    """One step near the middle, nine tenths of the whole; slow waves make up the rest."""
    jump = np.where(times < rng.uniform(0.35, 0.65) * duration_s, -0.45, 0.45) * rng.choice([-1.0, 1.0])
    return jump + 0.1 * _between_halves(_slow_waves(times, duration_s, rng))


def _slow_waves(times: np.ndarray, duration_s: float, rng: np.random.Generator) -> np.ndarray:
    periods, phases = duration_s / np.array([0.7, 1.6, 3.1]), rng.uniform(0, 2 * np.pi, 3)
    return np.sin(2 * np.pi * times[:, np.newaxis] / periods + phases) @ np.array([1.0, 0.6, 0.3])


def _between_halves(curve: np.ndarray) -> np.ndarray:
    """Shift and scale a curve to lie between -0.5 and 0.5."""
    return (curve - curve.min()) / np.ptp(curve) - 0.5
