"""Simulated drifting recordings whose motion is known exactly.

A recording is built with SpikeInterface's `generate_drifting_recording` on a slice of a real Neuropixels
layout. Each scenario states how the tissue moves: a displacement in time, scaled along the probe by a line in
depth. What `true_motion` answers comes from that same description, so it has no fitting error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface import BaseRecording, BaseSorting

PROBE_PART_NUMBERS = {"np1": "NP1000", "np2": "NP2003"}
"""Part number of each probe name: Neuropixels 1.0, and Neuropixels 2.0 with a single shank."""

SAMPLING_FREQUENCY = 30_000.0
DISPLACEMENT_SAMPLING_FREQUENCY = 5.0
DISPLACEMENT_STEP_UM = 1.0
UNITS_PER_CHANNEL = 0.6


@dataclass(frozen=True)
class DriftScenario:
    """How the tissue moves in one simulated recording.

    Parameters
    ----------
    doc : str
        What happens, in one line.
    drift_mode : {"zigzag", "bump", "random_walk"} or None
        Shape of the displacement in time, under SpikeInterface's names. None: still.
    amplitude_um : float
        Distance between the two extreme displacements where the drift is largest, in um.
    depth_factors : tuple of float
        Factor on the displacement at the lowest and at the highest contact; in between it follows a line.
    units_per_channel : float
        Number of units for each channel, when the caller does not say how many units.
    """

    doc: str
    drift_mode: str | None
    amplitude_um: float = 30.0
    depth_factors: tuple[float, float] = (1.0, 1.0)
    units_per_channel: float = UNITS_PER_CHANNEL


SCENARIOS: dict[str, DriftScenario] = {
    "rigid_zigzag": DriftScenario("The whole probe moves up and down at about 1 um/s", "zigzag"),
    "nonrigid_gradient": DriftScenario(
        "A zigzag that shrinks from the bottom of the probe to its top", "zigzag", 40.0, (1.0, 0.3)
    ),
    "bump": DriftScenario(
        "Sudden steps that stay for a while, larger at the top of the probe", "bump", 30.0, (0.4, 1.0)
    ),
    "random_walk": DriftScenario("The whole probe wanders", "random_walk"),
    "few_units": DriftScenario(
        "A zigzag of the whole probe seen by few units", "zigzag", units_per_channel=UNITS_PER_CHANNEL / 5
    ),
    "still": DriftScenario("Nothing moves", None, 0.0),
}


@dataclass(frozen=True)
class SimulatedDrift:
    """A simulated recording together with everything that is true about it.

    Attributes
    ----------
    recording, static_recording : BaseRecording
        The same units and noise with and without drift; lazy, float32, in uV.
    sorting : BaseSorting
        The true spike trains.
    unit_locations : ndarray, shape (num_units, 3)
        Resting positions in um.
    unit_displacements : ndarray, shape (num_times, num_units, 2)
        Displacement along x and y in um, sampled at `displacement_sampling_frequency`.
    displacement_sampling_frequency : float
        In Hz.
    displacement_vector : ndarray, shape (num_times,)
        Displacement along y in um where the depth factor is 1.
    depth_range_um : tuple of float
        Depths of the lowest and the highest contact, in um.
    depth_factors : tuple of float
        Factors on the displacement at these two depths.
    info : dict
        Scenario, probe, seed and sizes, in plain numbers and words.
    """

    recording: BaseRecording
    static_recording: BaseRecording
    sorting: BaseSorting
    unit_locations: np.ndarray
    unit_displacements: np.ndarray
    displacement_sampling_frequency: float
    displacement_vector: np.ndarray
    depth_range_um: tuple[float, float]
    depth_factors: tuple[float, float]
    info: dict[str, Any] = field(default_factory=dict)


def build_probe(probe: str = "np1", num_channels: int = 128) -> Probe:
    """Build the lowest contacts of a Neuropixels probe without the internet.

    Parameters
    ----------
    probe : {"np1", "np2"}, default: "np1"
        Neuropixels 1.0 (staggered columns, 20 um pitch) or 2.0 (aligned columns, 15 um pitch, one shank).
    num_channels : int, default: 128
        Number of contacts, counted from the tip; 2 to 384.

    Returns
    -------
    probe : probeinterface.Probe
        With device channel indices 0 to `num_channels` - 1.

    Raises
    ------
    ValueError
        For another probe name or number of channels.
    """
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    if probe not in PROBE_PART_NUMBERS:
        raise ValueError(f"probe={probe!r} is not known; allowed: {', '.join(PROBE_PART_NUMBERS)}")
    if not 2 <= num_channels <= 384:
        raise ValueError(f"num_channels={num_channels} must be between 2 and 384")
    built = build_neuropixels_probe(PROBE_PART_NUMBERS[probe]).get_slice(np.arange(num_channels))
    built.set_device_channel_indices(np.arange(num_channels))
    return built


def simulate_drifting_recording(
    scenario: str = "rigid_zigzag",
    *,
    probe: str = "np1",
    num_channels: int = 128,
    duration_s: float = 100.0,
    num_units: int | None = None,
    seed: int = 0,
    amplitude_um: float | None = None,
    sampling_frequency: float = SAMPLING_FREQUENCY,
    firing_rates: tuple[float, float] = (2.0, 8.0),
    noise_levels: tuple[float, float] = (6.0, 8.0),
) -> SimulatedDrift:
    """Simulate a recording that drifts in a known way.

    Unit ``u`` at rest at depth ``z_u`` is displaced by ``d(t) * f(z_u)``, where ``d`` is the scenario's
    displacement and ``f`` its depth factor. Noise and spikes are made when traces are read, so memory holds
    the displaced templates only: about ``amplitude_um * num_units * num_channels * 480`` bytes.

    Parameters
    ----------
    scenario : str, default: "rigid_zigzag"
        A key of `SCENARIOS`.
    probe : {"np1", "np2"}, default: "np1"
        Neuropixels 1.0 or 2.0.
    num_channels : int, default: 128
        Contacts from the tip upwards; 2 to 384.
    duration_s : float, default: 100.0
        At least 2 s. The drift starts after 5 % of it, at 5 s at the latest.
    num_units : int or None, default: None
        None: the scenario's number of units per channel, at least 4.
    seed : int, default: 0
        Seeds positions, templates, spike trains, noise and drift.
    amplitude_um : float or None, default: None
        Largest peak-to-peak displacement in um; None: the scenario's.
    sampling_frequency : float, default: 30000.0
        In Hz.
    firing_rates : tuple of float, default: (2.0, 8.0)
        Range of the units' firing rates in Hz.
    noise_levels : tuple of float, default: (6.0, 8.0)
        Range of the channels' noise standard deviations in uV.

    Returns
    -------
    simulated : SimulatedDrift

    Raises
    ------
    ValueError
        For an unknown scenario or probe, or sizes out of range.
    """
    from spikeinterface.generation import generate_drifting_recording

    drift = _get_scenario(scenario)
    if duration_s < 2:
        raise ValueError(f"duration_s={duration_s} must be at least 2")
    amplitude_um = drift.amplitude_um if amplitude_um is None else float(amplitude_um)
    if amplitude_um < 0:
        raise ValueError(f"amplitude_um={amplitude_um} must not be negative")
    built_probe = build_probe(probe, num_channels)
    if num_units is None:
        num_units = max(4, round(drift.units_per_channel * num_channels))
    if num_units < 1:
        raise ValueError(f"num_units={num_units} must be at least 1")

    depths = built_probe.contact_positions[:, 1]
    depth_range_um = (float(depths.min()), float(depths.max()))
    unit_locations = _draw_unit_locations(num_units, built_probe.contact_positions, seed)
    vector = _displacement_vector(drift, amplitude_um, duration_s, seed)
    unit_factors = _depth_factor(unit_locations[:, 1], depth_range_um, drift.depth_factors)
    unit_displacements = np.zeros((vector.size, num_units, 2))
    unit_displacements[:, :, 1] = vector[:, np.newaxis] * unit_factors

    static_recording, recording, sorting = generate_drifting_recording(
        num_units=num_units,
        duration=duration_s,
        sampling_frequency=sampling_frequency,
        probe=built_probe,
        unit_locations=unit_locations,
        displacement_data=_displacement_data(vector, unit_factors, unit_displacements),
        generate_templates_kwargs=dict(
            ms_before=1.0,
            ms_after=3.0,
            mode="ellipsoid",
            unit_params=dict(
                alpha=(100.0, 500.0),
                spatial_decay=(10.0, 45.0),
                ellipse_shrink=(0.4, 1.0),
                ellipse_angle=(0.0, 2 * np.pi),
            ),
        ),
        generate_sorting_kwargs=dict(firing_rates=firing_rates, refractory_period_ms=4.0),
        noise=_make_noise(built_probe, noise_levels, duration_s, sampling_frequency, seed),
        seed=seed,
    )
    return SimulatedDrift(
        recording=recording,
        static_recording=static_recording,
        sorting=sorting,
        unit_locations=unit_locations,
        unit_displacements=unit_displacements,
        displacement_sampling_frequency=DISPLACEMENT_SAMPLING_FREQUENCY,
        displacement_vector=vector,
        depth_range_um=depth_range_um,
        depth_factors=drift.depth_factors,
        info=dict(
            scenario=scenario,
            probe=probe,
            num_channels=num_channels,
            num_units=num_units,
            duration_s=float(duration_s),
            amplitude_um=amplitude_um,
            seed=seed,
        ),
    )


def _get_scenario(scenario: str) -> DriftScenario:
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario={scenario!r} is not known; allowed: {', '.join(SCENARIOS)}")
    return SCENARIOS[scenario]


def _draw_unit_locations(num_units: int, contact_positions: np.ndarray, seed: int) -> np.ndarray:
    import warnings

    from spikeinterface.core.generate import generate_unit_locations

    with warnings.catch_warnings():
        # many units on a short probe cannot all keep their distance; that is as wanted
        warnings.simplefilter("ignore")
        return generate_unit_locations(
            num_units,
            contact_positions,
            maximum_z=45.0,
            minimum_distance=18.0,
            seed=seed,
        )


def _make_noise(
    probe: Probe, noise_levels: tuple[float, float], duration_s: float, sampling_frequency: float, seed: int
) -> BaseRecording:
    from steadyspike.benchmark.noise import CorrelatedNoiseRecording

    levels = np.random.default_rng(seed).uniform(*noise_levels, size=probe.get_contact_count())
    noise = CorrelatedNoiseRecording(
        probe.contact_positions, levels, round(duration_s * sampling_frequency), sampling_frequency, seed=seed
    )
    noise.set_probe(probe)
    return noise


def _displacement_vector(
    drift: DriftScenario, amplitude_um: float, duration_s: float, seed: int
) -> np.ndarray:
    """Make the displacement in um at `DISPLACEMENT_SAMPLING_FREQUENCY`, within half the amplitude."""
    from spikeinterface.generation.drifting_generator import make_one_displacement_vector

    if drift.drift_mode is None or amplitude_um == 0:
        return np.zeros(int(np.ceil(DISPLACEMENT_SAMPLING_FREQUENCY * duration_s)))
    shape = make_one_displacement_vector(
        drift_mode=drift.drift_mode,
        duration=duration_s,
        displacement_sampling_frequency=DISPLACEMENT_SAMPLING_FREQUENCY,
        t_start_drift=min(5.0, 0.05 * duration_s),
        # one sweep takes half a period: about 1 um/s in recordings of a few minutes, faster in shorter ones
        period_s=min(2.0 * amplitude_um, 0.6 * duration_s),
        bump_interval_s=(min(30.0, duration_s / 8), min(90.0, duration_s / 4)),
        seed=seed,
    )
    return np.asarray(shape, dtype=float) * amplitude_um


def _depth_factor(
    depths_um: np.ndarray, depth_range_um: tuple[float, float], depth_factors: tuple[float, float]
) -> np.ndarray:
    low, high = depth_range_um
    return depth_factors[0] + (depth_factors[1] - depth_factors[0]) * (depths_um - low) / (high - low)


def _displacement_data(
    vector: np.ndarray, unit_factors: np.ndarray, unit_displacements: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]:
    """Arrange a displacement as `generate_drifting_recording` takes it."""
    vectors = np.zeros((vector.size, 2, 1))
    vectors[:, 1, 0] = vector
    lowest, highest = unit_displacements[:, :, 1].min(), unit_displacements[:, :, 1].max()
    num_steps = int(np.ceil((highest - lowest) / DISPLACEMENT_STEP_UM)) + 1
    steps = np.zeros((num_steps, 2))
    steps[:, 1] = np.linspace(lowest, highest, num_steps)
    return unit_displacements, vectors, unit_factors[:, np.newaxis], DISPLACEMENT_SAMPLING_FREQUENCY, steps
