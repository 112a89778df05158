"""Scenarios for the motion from the local field potential: mean error of the displacement, in um."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .scenarios import Scenario

RATE_HZ = 250.0
PITCH_UM = 20.0
# Standard deviation of the sources' extent over depth, in um.
SOURCE_UM = 60.0


def pulsation(times_s):
    """A heartbeat and a slow drift."""
    return 5 * np.sin(2 * np.pi * 1.3 * times_s) + 15 * np.sin(2 * np.pi * times_s / 20)


def jumps(times_s):
    """A jump of 30 um and one back."""
    return 30.0 * ((times_s > 1.5) & (times_s < 2.5))


@cache
def simulated(
    motion_of=pulsation,
    durations_s=(4.0,),
    num_rows=32,
    offsets_um=(0.0,),
    stretch=0.0,
    noise=0.05,
    loud=0,
    seed=0,
) -> tuple[Any, list[np.ndarray]]:
    """Slow waves of a few sources at rest in the tissue, seen by contacts that move against it, and the truth."""
    from probeinterface import generate_linear_probe
    from scipy.interpolate import CubicSpline
    from spikeinterface import NumpyRecording

    rng = np.random.default_rng(seed)
    depths_um = PITCH_UM * np.arange(num_rows)
    grid_um = np.arange(-400, depths_um[-1] + 400, 10.0)
    smooth = np.exp(-0.5 * ((grid_um[:, None] - grid_um) / SOURCE_UM) ** 2)
    places = CubicSpline(grid_um, smooth @ rng.standard_normal((grid_um.size, 6)))
    traces, truths = [], []
    for duration_s, offset_um in zip(durations_s, offsets_um, strict=True):
        times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
        rates, phases = rng.uniform(0.3, 3, (6, 5, 1)), rng.uniform(0, 2 * np.pi, (6, 5, 1))
        waves = np.sin(2 * np.pi * rates * times_s + phases).sum(axis=1) / 2.0 ** np.arange(6)[:, None]
        truth = offset_um + motion_of(times_s)[:, None] * (1 + stretch * (depths_um / depths_um[-1] - 0.5))
        values = np.einsum("jt,tnj->tn", waves, places(depths_um - truth))
        values /= values.std()
        values += noise * rng.standard_normal(values.shape)
        # contacts with another gain or much noise
        values[:, 2 : 2 + 5 * loud : 5] += 14.0 * rng.standard_normal((times_s.size, loud))
        traces.append(values.astype("float32"))
        truths.append(truth)
    recording = NumpyRecording(traces, RATE_HZ)
    probe = generate_linear_probe(num_rows, ypitch=PITCH_UM)
    probe.set_device_channel_indices(np.arange(num_rows))
    recording.set_probe(probe)
    return recording, truths


def mean_error(simulation: dict[str, Any], **arguments: Any) -> float:
    """Mean of |estimate - truth| after removing one offset for each depth."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike  # noqa: F401  (enters the estimators into SpikeInterface's table)

    recording, truths = simulated(**simulation)
    motion = estimate_motion(
        recording, method="steady_decentralized_lfp", progress_bar=False, **dict(rigid=True) | arguments
    )
    depths_um = PITCH_UM * np.arange(truths[0].shape[1])
    difference = np.concatenate(
        [
            motion.get_displacement_at_time_and_depth(times, depths_um, segment_index=segment, grid=True).T
            - truth
            for segment, (times, truth) in enumerate(zip(motion.temporal_bins_s, truths, strict=True))
        ]
    )
    return float(np.abs(difference - np.median(difference, axis=0)).mean())


def _scenario(name, simulation, **arguments):
    return Scenario(f"lfp: {name}", "lfp", "um", partial(mean_error, simulation, **arguments))


SCENARIOS = [
    _scenario("pulsation", {}),
    _scenario("noise", dict(noise=1.0)),
    _scenario("pairs", {}, refine_iterations=0),
    _scenario("jumps", dict(motion_of=jumps, noise=0.3)),
    _scenario(
        "loud contacts", dict(loud=2, noise=0.2, durations_s=(2.0, 2.0), offsets_um=(0.0, 90.0), num_rows=48)
    ),
    _scenario(
        "stretch",
        dict(num_rows=64, stretch=1.2, durations_s=(3.0,)),
        rigid=False,
        win_step_um=400.0,
        win_scale_um=400.0,
        win_margin_um=0.0,
    ),
    _scenario("segments", dict(durations_s=(2.0, 2.0), offsets_um=(0.0, 90.0), num_rows=48)),
]
