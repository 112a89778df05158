"""How closely the preset ``kilosort4`` gives the traces that a run of Kilosort4 has whitened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

PRESET = "kilosort4"
WHITENED, MATRIX = "temp_wh.dat", "whitening_mat.npy"
UV_PER_COUNT = 2.34375
FIELD_POTENTIALS = ((1.3, 150.0, 0.3, 400.0), (8.0, 80.0, 1.0, 250.0), (45.0, 20.0, 0.0, 300.0))
"""Frequency in Hz, amplitude in uV, phase, and length in um over which that changes by 1."""
BORDER = 61
"""Samples at either side of a batch's border that are told apart."""


def make_input(folder: str | Path, seed: int = 11) -> Any:
    """Write 7 s of a simulated Neuropixels 1.0 with 96 contacts, as Kilosort4 reads it.

    Spikes of 40 units and noise, with field potentials of 1.3 to 45 Hz that differ along the probe, common noise of
    8 uV, and an offset on each channel. Returns what `steadyspike.kilosort.prepare` returns.
    """
    import spikeinterface.full as si
    from steadyspike.kilosort import prepare

    from steadyspike.simulation.drift import simulate_drifting_recording

    simulated = simulate_drifting_recording(
        "rigid_zigzag", num_channels=96, duration_s=7.0, num_units=40, seed=seed
    ).recording
    traces, rng = simulated.get_traces().astype("float64"), np.random.default_rng(0)
    times = np.arange(len(traces))[:, None] / simulated.sampling_frequency
    depths = simulated.get_channel_locations()[:, 1]
    for frequency, amplitude_uv, phase, length_um in FIELD_POTENTIALS:
        traces += amplitude_uv * np.sin(2 * np.pi * frequency * times + phase + depths / length_um)
    traces += rng.normal(scale=8.0, size=(len(traces), 1)) + rng.uniform(-60.0, 60.0, len(depths))
    recording = si.NumpyRecording([np.round(traces / UV_PER_COUNT).astype("int16")], 30_000.0)
    recording.set_probe(simulated.get_probe())
    recording.set_channel_gains(UV_PER_COUNT)
    recording.set_channel_offsets(0.0)
    return prepare(recording, folder, n_jobs=1, progress_bar=False)


def compare_with_run(folder: str | Path, recording: BaseRecording) -> dict[str, Any]:
    """Hold what a run wrote with ``save_preprocessed_copy=True`` and no drift correction against the preset.

    Parameters
    ----------
    folder : str or Path
        Of the run's results, with temp_wh.dat.
    recording : BaseRecording
        What it was given, all in one segment.

    Returns
    -------
    found : dict
        Correlations of each channel over all samples, near the borders of batches and elsewhere; "difference", what is
        left after one gain for each channel, relative to the traces, likewise; "matrix", the relative distance of the
        whitening matrices, where the run has written its own.
    """
    import spikeinterface.full as si

    from steadyspike import load_preset

    steps = load_preset(PRESET).steps
    prepared = si.apply_preprocessing_pipeline(recording, steps)
    num_samples, num_channels = recording.get_num_samples(), recording.get_num_channels()
    written = np.memmap(Path(folder) / WHITENED, dtype="int16", mode="r").reshape(-1, num_channels)
    if len(written) < num_samples:
        raise ValueError(
            f"kilosort: {WHITENED} has {len(written)} samples; allowed: at least the recording's {num_samples}"
        )
    theirs = written[:num_samples].astype("float64")
    ours = prepared.get_traces().astype("float64")
    size = steps[0]["params"]["batch_size"]
    places = np.arange(num_samples)
    inner = (places >= BORDER) & (places < num_samples - BORDER)
    near = inner & (np.minimum(places % size, size - places % size) <= BORDER)
    parts = {"all": np.ones(num_samples, bool), "near borders": near, "elsewhere": ~near}
    gains = (theirs * ours).sum(axis=0) / (ours**2).sum(axis=0)
    found: dict[str, Any] = dict(num_batches=-(-num_samples // size), gains=gains, parts={})
    for name, part in parts.items():
        if part.any():
            left = theirs[part] - gains * ours[part]
            difference = left.std(axis=0) / theirs[part].std(axis=0)
            found["parts"][name] = (correlations(theirs[part], ours[part]), difference)
    if (file := Path(folder) / MATRIX).is_file():
        matrix, own = np.load(file), np.array(prepared._kwargs["W"])
        found["matrix"] = float(np.linalg.norm(own - matrix) / np.linalg.norm(matrix))
    return found


def correlations(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of each column of one array with that of the other."""
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    norms = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    return (first * second).sum(axis=0) / norms


def format_comparison(found: dict[str, Any]) -> str:
    """Write the table of a comparison, as Markdown."""
    lines = [
        "| samples | lowest correlation | median | largest difference | median |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (correlation, difference) in found["parts"].items():
        lines.append(
            f"| {name} | {correlation.min():.6f} | {np.median(correlation):.6f} | {100 * difference.max():.2f} % | "
            f"{100 * np.median(difference):.2f} % |"
        )
    gains = found["gains"]
    lines += ["", f"{len(gains)} channels, {found['num_batches']} batches"]
    lines.append(f"counts of the run for one of ours: {gains.min():.2f} to {gains.max():.2f}")
    if "matrix" in found:
        lines.append(f"whitening matrices: {100 * found['matrix']:.2f} % apart")
    return "\n".join(lines)
