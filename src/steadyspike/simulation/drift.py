"""Simulated drifting recordings whose motion is known exactly.

A recording is built as by SpikeInterface's `generate_drifting_recording`, on a real layout of contacts. Each scenario
states how the tissue moves: a displacement in time, scaled along the probe by a line in depth. What `true_motion`
answers comes from that same description, so it has no fitting error.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.probe_layout import attach_probe
from steadyspike.simulation.probes import PROBES, build_probe, find_probe
from steadyspike.simulation.scenarios import (
    DISPLACEMENT_SAMPLING_FREQUENCY,
    SCENARIOS,
    DriftScenario,
    displacement_curve,
    find_scenario,
)

if TYPE_CHECKING:
    from probeinterface import Probe
    from spikeinterface import BaseRecording, BaseSorting

    from steadyspike.simulation.injection import DisplacementData

__all__ = [
    "PROBES",
    "SCENARIOS",
    "DriftScenario",
    "DriftTruth",
    "SimulatedDrift",
    "build_probe",
    "simulate_drifting_recording",
]

SAMPLING_FREQUENCY = 30_000.0
LARGEST_STEP_UM, STEPS_PER_AMPLITUDE = 1.0, 10
"""Templates are made for displacements this far apart: 1 um, or a tenth of a smaller amplitude."""


@dataclass(frozen=True)
class DriftTruth:
    """What is true about the motion of a simulated recording; small, and kept where the traces are not.

    Attributes
    ----------
    unit_locations, displacement_vector, displacement_sampling_frequency, depth_range_um, depth_factors, info
        As in `SimulatedDrift`.
    """

    unit_locations: np.ndarray
    displacement_vector: np.ndarray
    displacement_sampling_frequency: float
    depth_range_um: tuple[float, float]
    depth_factors: tuple[float, float]
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SimulatedDrift(DriftTruth):
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
        Scenario, probe, seed and sizes, in plain numbers and words; with "artifact_periods_s", a list of [beginning,
        end], where the scenario has artifacts.
    """

    recording: BaseRecording
    static_recording: BaseRecording
    sorting: BaseSorting
    unit_displacements: np.ndarray

    @property
    def truth(self) -> DriftTruth:
        """The part of this that `steadyspike.simulation.truth` needs."""
        return DriftTruth(*(getattr(self, one.name) for one in fields(DriftTruth)))


def simulate_drifting_recording(
    scenario: str = "rigid_zigzag",
    *,
    probe: str = "np1",
    num_channels: int | None = None,
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
    probe : str, default: "np1"
        A key of `PROBES`.
    num_channels : int or None, default: None
        Contacts from the tip upwards, at least 2; None: the probe's usual number, 128 for "np1".
    duration_s : float, default: 100.0
        At least 2 s. The drift starts after 5 % of it, at 5 s at the latest.
    num_units : int or None, default: None
        None: as many as the scenario and the probe say, at least 4.
    seed : int, default: 0
        Seeds positions, templates, spike trains, noise and drift.
    amplitude_um : float or None, default: None
        Largest peak-to-peak displacement in um; None: the scenario's.
    sampling_frequency : float, default: 30000.0
        In Hz.
    firing_rates : tuple of float, default: (2.0, 8.0)
        Range of the units' mean firing rates in Hz.
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
    from steadyspike.simulation.injection import inject_drifting_units
    from steadyspike.simulation.spike_trains import draw_spike_trains

    drift = find_scenario(scenario)
    kind, num_channels = find_probe(probe, num_channels)
    if duration_s < 2:
        raise ValueError(f"duration_s={duration_s} must be at least 2")
    amplitude_um = drift.amplitude_um if amplitude_um is None else float(amplitude_um)
    if amplitude_um < 0:
        raise ValueError(f"amplitude_um={amplitude_um} must not be negative")
    if num_units is None:
        num_units = max(4, round(drift.unit_density * kind.units_per_channel * num_channels))
    if num_units < 1:
        raise ValueError(f"num_units={num_units} must be at least 1")

    built_probe = build_probe(probe, num_channels)
    depths = built_probe.contact_positions[:, 1]
    depth_range_um = (float(depths.min()), float(depths.max()))
    unit_locations = _draw_unit_locations(num_units, built_probe, seed)
    vector = displacement_curve(drift, amplitude_um, duration_s, seed)
    unit_factors = _depth_factor(unit_locations[:, 1], depth_range_um, drift.depth_factors)
    unit_displacements = np.zeros((vector.size, num_units, 2))
    unit_displacements[:, :, 1] = vector[:, np.newaxis] * unit_factors
    sorting, amplitude_factor = draw_spike_trains(
        drift.firing, unit_locations[:, 1], duration_s, sampling_frequency, firing_rates, seed
    )

    static_recording, recording = inject_drifting_units(
        make_noise(built_probe, noise_levels, duration_s, sampling_frequency, seed),
        sorting,
        unit_locations,
        _displacement_data(vector, unit_factors, unit_displacements, seed),
        amplitude_factor,
        seed,
    )
    info = dict(
        scenario=scenario,
        probe=probe,
        num_channels=num_channels,
        num_units=num_units,
        duration_s=float(duration_s),
        amplitude_um=amplitude_um,
        seed=seed,
        sampling_frequency=float(sampling_frequency),
    )
    if drift.artifacts:
        from steadyspike.simulation.artifacts import ArtifactRecording

        recording, static_recording = (
            ArtifactRecording(each, seed=seed) for each in (recording, static_recording)
        )
        info["artifact_periods_s"] = recording.periods_s.tolist()
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
        info=info,
    )


def make_noise(
    probe: Probe, noise_levels: tuple[float, float], duration_s: float, sampling_frequency: float, seed: int
) -> BaseRecording:
    """Make the lazy noise of a simulated recording, with levels drawn from a range in uV."""
    from steadyspike.simulation.noise import CorrelatedNoiseRecording

    levels = np.random.default_rng(seed).uniform(*noise_levels, size=probe.get_contact_count())
    noise = CorrelatedNoiseRecording(
        probe.contact_positions, levels, round(duration_s * sampling_frequency), sampling_frequency, seed=seed
    )
    attach_probe(noise, probe)
    return noise


def _draw_unit_locations(num_units: int, probe: Probe, seed: int) -> np.ndarray:
    """Draw units around each shank, as many around one as around another."""
    contacts = probe.contact_positions
    if probe.shank_ids is None:
        return _draw_around(num_units, contacts, seed)
    shanks = np.unique(probe.shank_ids)
    parts = np.array_split(np.arange(num_units), shanks.size)
    return np.concatenate(
        [
            _draw_around(part.size, contacts[probe.shank_ids == shank], seed + 1000 * number)
            for number, (shank, part) in enumerate(zip(shanks, parts, strict=True))
            if part.size
        ]
    )


def _draw_around(num_units: int, contact_positions: np.ndarray, seed: int) -> np.ndarray:
    import warnings

    from spikeinterface.core.generate import generate_unit_locations

    with warnings.catch_warnings():
        # many units on a short probe cannot all keep their distance; that is as wanted
        warnings.simplefilter("ignore")
        return generate_unit_locations(
            num_units, contact_positions, maximum_z=45.0, minimum_distance=18.0, seed=seed
        )


def _depth_factor(
    depths_um: np.ndarray, depth_range_um: tuple[float, float], depth_factors: tuple[float, float]
) -> np.ndarray:
    low, high = depth_range_um
    return depth_factors[0] + (depth_factors[1] - depth_factors[0]) * (depths_um - low) / (high - low)


def _displacement_data(
    vector: np.ndarray, unit_factors: np.ndarray, unit_displacements: np.ndarray, seed: int
) -> DisplacementData:
    """Arrange a displacement as `generate_drifting_recording` takes it."""
    lowest, highest = unit_displacements[:, :, 1].min(), unit_displacements[:, :, 1].max()
    step_um = min(LARGEST_STEP_UM, max((highest - lowest) / STEPS_PER_AMPLITUDE, 0.1))
    num_steps = int(np.ceil((highest - lowest) / step_um)) + 1
    steps = np.zeros((num_steps, 2))
    steps[:, 1] = np.linspace(lowest, highest, num_steps)
    # a second motion, which stays: each unit has a place of its own between two steps, or all would jump at once
    vectors = np.zeros((vector.size, 2, 2))
    vectors[:, 1] = np.column_stack([vector, np.ones(vector.size)])
    places_um = step_um * np.random.default_rng(seed).uniform(-0.5, 0.5, unit_factors.size)
    factors = np.column_stack([unit_factors, places_um])
    return unit_displacements, vectors, factors, DISPLACEMENT_SAMPLING_FREQUENCY, steps


def in_memory(lazy: BaseRecording) -> BaseRecording:
    """Hold the traces of a simulated recording, which would be made again for every preset."""
    from spikeinterface.core import NumpyRecording

    return NumpyRecording.from_recording(lazy, n_jobs=1, chunk_duration="1s", progress_bar=False)
