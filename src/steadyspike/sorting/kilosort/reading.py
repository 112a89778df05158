"""Read a results folder of Kilosort, of whatever version, and whoever has written to it since."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.arguments import refuse
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.motion.exchange import load_motion
from steadyspike.motion.plain_pickle import NotPlainError, read_object_npy
from steadyspike.sorting.kilosort.files import read_arrays, read_cluster_tables, read_params
from steadyspike.sorting.kilosort.output import KilosortOutput, thresholds
from steadyspike.sorting.kilosort.units import on_all_channels, template_sizes, template_table, unit_table

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface import BaseRecording
    from spikeinterface.core.motion import Motion

PART = "read_output"
NOT_THERE = {
    "templates": "no templates.npy: no channel by amplitude, no size in noise levels or uV",
    "pc_features": "no pc_features.npy",
    "spike_positions": "no spike_positions.npy (Kilosort before version 4): units have their templates' positions",
    "amplitudes": "no amplitudes.npy",
    "labels": "no cluster_KSLabel.tsv and no cluster_group.tsv: units have no label",
    "contamination": "no cluster_ContamPct.tsv: see q for an estimate of the contamination",
}


def read_output(folder: str | Path, recording: BaseRecording | None = None) -> KilosortOutput:
    """Read a results folder of Kilosort 2, 2.5, 3 or 4, also one that phy or SpikeInterface has written to.

    Nothing is unpickled freely and params.py is not run.

    Parameters
    ----------
    folder : str or Path
        With spike_times.npy and its like; a folder of SpikeInterface's `run_sorter` does as well.
    recording : BaseRecording or None, default: None
        What was sorted. It tells the duration, when it starts, and what its counts are in uV.

    Returns
    -------
    output : KilosortOutput

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no spikes, its arrays don't fit each other, or the recording is another one.
    """
    folder = _results_folder(Path(folder))
    arrays, params, tables = read_arrays(folder), read_params(folder), read_cluster_tables(folder)
    ops, missing = _read_ops(folder)
    settings = {**params, **{name: value for name, value in ops.items() if _is_plain(value)}}
    fs = _sampling_frequency(folder, settings, recording)
    spikes = _spikes(folder, arrays, fs, recording)
    positions, shanks = _contacts(folder, arrays, ops, recording, missing)
    templates = arrays.get("templates")
    if templates is not None:
        templates = on_all_channels(templates, arrays.get("template_channels"), len(positions))
    known = template_table(templates, arrays.get("pc_channels"), positions, shanks)
    if templates is not None and "Th_universal" in settings:
        gains = None if recording is None else recording.get_channel_gains()
        known["snr"], known["amplitude_uV"] = template_sizes(templates, arrays.get("whitening"), gains)
    motion = _motion(folder, ops, recording, missing)
    duration_s = _duration(settings, spikes, fs, recording)
    units = unit_table(spikes, known, tables, fs, duration_s, thresholds(settings))
    absent = {"labels": not {"KSLabel", "group"} & set(tables), "contamination": "ContamPct" not in tables}
    missing |= {name: text for name, text in NOT_THERE.items() if absent.get(name, name not in arrays)}
    if recording is None:
        missing["amplitude_uV"] = "no recording was given, which tells what counts are in uV"
    return KilosortOutput(
        folder=folder,
        sampling_frequency=fs,
        duration_s=duration_s,
        units=units,
        spikes=spikes,
        motion=motion,
        templates=templates,
        pc_features=arrays.get("pc_features"),
        pc_channels=arrays.get("pc_channels"),
        similarity=arrays.get("similar_templates"),
        channel_positions=positions,
        channel_map=arrays.get("channel_map", np.arange(len(positions))),
        shanks=shanks,
        whitening=arrays.get("whitening"),
        settings=settings,
        missing=missing,
    )


def _results_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    inner = folder / "sorter_output"
    return inner if inner.is_dir() else folder


def _read_ops(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Read ops.npy, and say so where that can't be done: spikes and units don't need it."""
    if not (folder / "ops.npy").is_file():
        return {}, {"ops": "no ops.npy (Kilosort before version 4): no settings and no drift"}
    try:
        ops = read_object_npy(folder / "ops.npy")
    except NotPlainError as error:
        return {}, {"ops": str(error)}
    if not isinstance(ops, dict):
        return {}, {"ops": f"ops.npy holds a {type(ops).__name__}, no settings"}
    nested = ops.get("settings")
    return {**(nested if isinstance(nested, dict) else {}), **ops}, {}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float | bool | np.number | np.bool_)


def _sampling_frequency(folder: Path, settings: Mapping[str, Any], recording: BaseRecording | None) -> float:
    told = float(settings.get("fs") or settings.get("sample_rate") or 0.0)
    if recording is None:
        if not told:
            allowed = "a folder with ops.npy or params.py, which tell the sampling frequency, or a recording"
            refuse("folder", str(folder), allowed, PART)
        return told
    own = float(recording.sampling_frequency)
    if told and not np.isclose(own, told, rtol=1e-3):
        refuse("recording.sampling_frequency", own, f"{told:g} Hz, that of the folder", PART)
    return own


def _spikes(
    folder: Path, arrays: Mapping[str, np.ndarray], fs: float, recording: BaseRecording | None
) -> pd.DataFrame:
    import pandas as pd

    frames = arrays.get("spike_times")
    if frames is None and "spike_seconds" in arrays:
        frames = np.rint(arrays["spike_seconds"] * fs)
    units = arrays.get("spike_clusters", arrays.get("spike_templates"))
    if frames is None or units is None:
        allowed = "one with spike_times.npy and with spike_clusters.npy or spike_templates.npy"
        refuse("folder", str(folder), allowed, PART)
    columns = {
        "sample_index": frames.astype("int64"),
        "unit": units.astype("int64"),
        "template": arrays.get("spike_templates", units).reshape(len(units), -1)[:, 0].astype("int64"),
    }
    if "amplitudes" in arrays:
        columns["amplitude"] = arrays["amplitudes"]
    if "spike_positions" in arrays:
        columns["x"], columns["y"] = arrays["spike_positions"][:, 0], arrays["spike_positions"][:, 1]
    sizes = {name: len(values) for name, values in columns.items()}
    if len(set(sizes.values())) > 1:
        told = ", ".join(f"{number} of {name}" for name, number in sizes.items())
        refuse("folder", str(folder), f"one whose files have as many spikes each; here {told}", PART)
    start = 0.0 if recording is None else float(recording.sample_index_to_time(0))
    spikes = pd.DataFrame(columns)
    spikes.insert(1, "time_s", spikes["sample_index"] / fs + start)
    return spikes


def _contacts(
    folder: Path,
    arrays: Mapping[str, np.ndarray],
    ops: Mapping[str, Any],
    recording: BaseRecording | None,
    missing: dict[str, str],
) -> tuple[np.ndarray, np.ndarray]:
    """Give the contacts' positions and shanks, numbered from 0."""
    positions = arrays.get("channel_positions")
    if positions is None and recording is not None:
        positions = recording.get_channel_locations()
    if positions is None:
        allowed = "a folder with channel_positions.npy, or a recording with a probe"
        refuse("folder", str(folder), allowed, PART)
    shanks = arrays.get("channel_shanks", ops.get("kcoords"))
    if shanks is None and recording is not None and recording.get_num_channels() == len(positions):
        shanks = shank_of_channels(recording)
    if shanks is None or len(shanks) != len(positions):
        shanks = np.zeros(len(positions))
        told = "no channel_shanks.npy, and no kcoords in ops.npy: all contacts are taken for one shank's"
        missing["channel_shanks"] = told
    return np.asarray(positions, dtype="float64"), np.asarray(shanks).astype("int64")


def _motion(
    folder: Path, ops: Mapping[str, Any], recording: BaseRecording | None, missing: dict[str, str]
) -> Motion | None:
    if not ops:
        return None
    try:
        motion = load_motion(folder, format="kilosort4")
    except ValueError as error:
        missing["motion"] = str(error)
        return None
    if recording is not None:
        motion.temporal_bins_s[0] += float(recording.sample_index_to_time(0))
    return motion


def _duration(
    settings: Mapping[str, Any], spikes: pd.DataFrame, fs: float, recording: BaseRecording | None
) -> float:
    if recording is not None:
        return float(recording.get_total_duration())
    batches, size = settings.get("Nbatches"), settings.get("batch_size") or settings.get("NT")
    if batches and size:
        return float(batches) * float(size) / fs
    return float(spikes["sample_index"].max() / fs) if len(spikes) else float("nan")
