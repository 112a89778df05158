"""Units with drifting templates added to noise, by SpikeInterface's own recordings.

It is what SpikeInterface's `generate_drifting_recording` does since 0.105 with all that it is given; older series make
their own probe, units and noise there, but have the same parts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

DisplacementData = tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]
"""Displacements of units, vectors over time, factors of units, sampling frequency in Hz of both, and steps in um."""

TEMPLATES: dict[str, Any] = dict(
    ms_before=1.0,
    ms_after=3.0,
    mode="ellipsoid",
    unit_params=dict(
        alpha=(100.0, 500.0),
        spatial_decay=(10.0, 45.0),
        ellipse_shrink=(0.4, 1.0),
        ellipse_angle=(0.0, 2 * np.pi),
    ),
)
"""Parameters of SpikeInterface's `generate_templates`; amplitudes in uV, lengths in um."""


def inject_drifting_units(
    noise: BaseRecording,
    sorting: BaseSorting,
    unit_locations: np.ndarray,
    displacement_data: DisplacementData,
    amplitude_factor: np.ndarray | None,
    seed: int,
) -> tuple[BaseRecording, BaseRecording]:
    """Make the same recording without and with drift.

    `noise` has a probe; `unit_locations` (num_units, 3) are in um; `displacement_data` is what
    `generate_drifting_recording` takes under this name, and `amplitude_factor` one number for each spike, or None for
    spikes of one size. The sorting gets the properties "gt_unit_locations" and "max_channel_index".
    """
    from spikeinterface.generation.drift_tools import InjectDriftingTemplatesRecording

    _, vectors, factors, displacement_frequency, steps = displacement_data
    probe = noise.get_probe()
    contacts = probe.contact_positions
    sorting.set_property("gt_unit_locations", unit_locations)
    distances = np.linalg.norm(unit_locations[:, None, :2] - contacts[None], axis=2)
    sorting.set_property("max_channel_index", np.argmin(distances, axis=1))
    templates = _moved_templates(probe, unit_locations, steps, noise.sampling_frequency, seed)

    def inject(vectors: np.ndarray, factors: np.ndarray) -> BaseRecording:
        return InjectDriftingTemplatesRecording(
            sorting=sorting,
            parent_recording=noise,
            drifting_templates=templates,
            displacement_vectors=[vectors],
            displacement_sampling_frequency=displacement_frequency,
            displacement_unit_factor=factors,
            num_samples=[noise.get_num_samples()],
            amplitude_factor=amplitude_factor,
        )

    return inject(np.zeros_like(vectors), np.zeros_like(factors)), inject(vectors, factors)


def _moved_templates(
    probe: Any, unit_locations: np.ndarray, steps: np.ndarray, sampling_frequency: float, seed: int
) -> Any:
    """Templates of all units at each step of the displacement, not interpolated but made anew."""
    from spikeinterface.core import Templates
    from spikeinterface.generation import generate_templates
    from spikeinterface.generation.drift_tools import DriftingTemplates

    # drawn from the same seed, so that a unit is the same at each step
    parameters = {**TEMPLATES, "sampling_frequency": sampling_frequency, "seed": seed}

    def at(step: np.ndarray) -> np.ndarray:
        moved = unit_locations.copy()
        moved[:, :2] += step
        made: np.ndarray = generate_templates(probe.contact_positions, moved, **parameters)
        return made

    static = Templates(
        templates_array=at(np.zeros(2)),
        sampling_frequency=sampling_frequency,
        nbefore=round(TEMPLATES["ms_before"] * sampling_frequency / 1000.0),
        probe=probe,
        is_in_uV=True,
    )
    templates = DriftingTemplates.from_static_templates(static)
    templates.templates_array_moved = np.stack([at(step) for step in steps])
    templates.displacements = steps
    return templates
