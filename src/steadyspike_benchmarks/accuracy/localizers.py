"""Scenarios for the localizers: median error of the depth of simulated spikes, in um, on several layouts."""

from __future__ import annotations

from functools import cache, partial
from typing import Any

import numpy as np

from .scenarios import Scenario

SAMPLING_FREQUENCY = 30_000.0
NUM_SPIKES = 400
JOBS = dict(n_jobs=1, progress_bar=False)
# Traces have a spike every so many samples.
SPACING = 60
LAYOUTS = {
    "np1": dict(num_columns=2, num_rows=24, pitch_um=20.0, across_um=32.0),
    "np2": dict(num_columns=2, num_rows=24, pitch_um=15.0, across_um=32.0),
    "linear, 50 um": dict(num_columns=1, num_rows=16, pitch_um=50.0, across_um=0.0),
    "linear, 25 um": dict(num_columns=1, num_rows=32, pitch_um=25.0, across_um=0.0),
    "tetrode": dict(num_columns=2, num_rows=2, pitch_um=20.0, across_um=20.0),
    "two contacts": dict(num_columns=1, num_rows=2, pitch_um=25.0, across_um=0.0),
}


def contacts(num_columns: int, num_rows: int, pitch_um: float, across_um: float) -> np.ndarray:
    """Positions of contacts, shape (num_contacts, 2), in um."""
    across, depth = np.meshgrid(across_um * np.arange(num_columns), pitch_um * np.arange(num_rows))
    return np.stack([across.ravel(), depth.ravel()], axis=1)


@cache
def spikes(layout: str, far: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """Make a recording of point sources in noise, its peaks and the sources' positions (x, y, z in um).

    Near sources lie 5 to 40 um from the probe, far ones 40 to 120 um.
    """
    from probeinterface import Probe
    from spikeinterface import NumpyRecording
    from spikeinterface.core.node_pipeline import base_peak_dtype

    rng = np.random.default_rng(0)
    positions = contacts(**LAYOUTS[layout])
    low, high = positions.min(axis=0), positions.max(axis=0)
    sources = np.empty((NUM_SPIKES, 3))
    sources[:, 0] = rng.uniform(low[0] - 10, high[0] + 10, NUM_SPIKES)
    inside = min(30.0, (high[1] - low[1]) / 4)
    sources[:, 1] = rng.uniform(low[1] + inside, high[1] - inside, NUM_SPIKES)
    sources[:, 2] = rng.uniform(40, 120, NUM_SPIKES) if far else rng.uniform(5, 40, NUM_SPIKES)
    distances = np.sqrt(np.square(sources[:, None, :2] - positions).sum(axis=2) + np.square(sources[:, 2:3]))
    sizes = 2500.0 / distances * (sources[:, 2:3] / 20 if far else 1.0)
    times = np.arange(SPACING)
    wave = -np.exp(-0.5 * np.square((times - 25) / 5.0)) + 0.3 * np.exp(-0.5 * np.square((times - 40) / 8.0))
    traces = (sizes[:, None, :] * wave[:, None]).reshape(-1, positions.shape[0])
    traces += 5.0 * rng.standard_normal(traces.shape)
    recording = NumpyRecording([traces.astype("float32")], SAMPLING_FREQUENCY)
    probe = Probe(ndim=2)
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(positions.shape[0]))
    recording.set_probe(probe)
    peaks = np.zeros(NUM_SPIKES, dtype=base_peak_dtype)
    peaks["sample_index"] = SPACING * np.arange(NUM_SPIKES) + 25
    # the peak is where the traces are lowest, as a detector would have it
    peaks["channel_index"] = traces[peaks["sample_index"]].argmin(axis=1)
    peaks["amplitude"] = traces[peaks["sample_index"]].min(axis=1)
    return recording, peaks, sources


def depth_error(layout: str, method: str, far: bool = False, **arguments: Any) -> float:
    """Mean of |depth - truth|, at most 50 um each, in um."""
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks

    import steadyspike  # noqa: F401  (enters the localizers into SpikeInterface's table)

    recording, peaks, sources = spikes(layout, far)
    found = localize_peaks(
        recording, peaks, method=method, ms_before=0.5, ms_after=0.8, method_kwargs=arguments, job_kwargs=JOBS
    )
    return float(np.minimum(np.abs(found["y"] - sources[:, 1]), 50.0).mean())


def _scenarios() -> list[Scenario]:
    made = []

    def add(name, layout, far=False, **arguments):
        error = partial(depth_error, layout, far=far, **arguments)
        made.append(Scenario(f"localization: {name}, {layout}", "localization", "um", error))

    for layout in ("np1", "np2", "linear, 50 um", "linear, 25 um"):
        add("auto", layout, method="steady_auto")
    for layout in ("np1", "linear, 50 um"):
        add("monopolar", layout, method="steady_monopolar")
        add("monopolar, far sources", layout, far=True, method="steady_monopolar")
    for layout in ("tetrode", "two contacts"):
        add("monopolar", layout, method="steady_monopolar")
    return made


SCENARIOS = _scenarios()
