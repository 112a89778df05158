"""The files of a Kilosort folder, whoever named them: Kilosort 2 to 4, phy, SpikeInterface's export, ALF."""

from __future__ import annotations

import ast
import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {
    "spike_times": ("spike_times.npy", "spikes.samples*.npy"),
    "spike_seconds": ("spikes.times*.npy",),
    "spike_clusters": ("spike_clusters.npy", "spikes.clusters*.npy"),
    "spike_templates": ("spike_templates.npy", "spikes.templates*.npy"),
    "spike_positions": ("spike_positions.npy",),
    "amplitudes": ("amplitudes.npy",),
    "templates": ("templates.npy", "templates.waveforms.npy"),
    "template_channels": (
        "templates_ind.npy",
        "template_ind.npy",
        "templates.waveformsChannels*.npy",
    ),
    "similar_templates": ("similar_templates.npy",),
    "pc_features": ("pc_features.npy",),
    "pc_channels": ("pc_feature_ind.npy",),
    "channel_map": ("channel_map.npy", "channels.rawInd*.npy"),
    "channel_positions": ("channel_positions.npy", "channels.localCoordinates*.npy"),
    "channel_shanks": ("channel_shanks.npy",),
    "whitening": ("whitening_mat_dat.npy", "whitening_mat.npy"),
}
"""Where each array may be, the first that is there counts. A star stands for what phy and ALF put there."""

LARGE = ("pc_features",)
"""Left on the disk, and read where they are used."""


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Read what is there of `NAMES`; arrays of one column, as Kilosort 2 writes them, come as one row."""
    found = {}
    for name, patterns in NAMES.items():
        files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
        if files:
            found[name] = _read(files[0], "r" if name in LARGE else None)
    return found


def _read(file: Path, mmap_mode: Any) -> np.ndarray:
    try:
        array: np.ndarray = np.load(file, mmap_mode=mmap_mode, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{file} is not read: {error}") from error
    return array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array


def read_params(folder: Path) -> dict[str, Any]:
    """Read the assignments of phy's params.py that are plain values; nothing is run."""
    file = folder / "params.py"
    if not file.is_file():
        return {}
    found = {}
    try:
        statements = ast.parse(file.read_text(encoding="utf-8", errors="replace")).body
    except SyntaxError:
        return {}
    for statement in statements:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            try:
                found[statement.targets[0].id] = ast.literal_eval(statement.value)
            except ValueError:
                continue
    return found


def read_cluster_tables(folder: Path) -> dict[str, dict[int, str]]:
    """Read the columns of all tables of clusters by their names: cluster_KSLabel.tsv, cluster_group.tsv, ...

    A column is found by its header, as phy does it, whatever the file is called; where several files have it, the one
    that is named after it counts most and phy's cluster_info.tsv least.
    """
    files = [*folder.glob("cluster_*.tsv"), *folder.glob("cluster_*.csv"), *folder.glob("clusters.*.csv")]
    columns: dict[str, dict[int, str]] = {}
    for file in sorted(files, key=lambda one: (one.stem != "cluster_info", one.name)):
        for name, values in _read_table(file):
            exact = file.stem in (f"cluster_{name}", f"cluster_{name}s")
            if name not in columns or exact or "cluster_info" not in file.stem:
                columns[name] = {**columns.get(name, {}), **values}
    return columns


def _read_table(file: Path) -> Iterable[tuple[str, dict[int, str]]]:
    text = file.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    if not text:
        return
    header, *rows = csv.reader(text, delimiter="\t" if "\t" in text[0] else ",")
    key = next((header.index(name) for name in ("cluster_id", "id") if name in header), None)
    if key is None:
        return
    for position, name in enumerate(header):
        if position != key:
            yield (
                name,
                {
                    int(float(row[key])): row[position]
                    for row in rows
                    if len(row) > max(position, key) and row[key].strip() and row[position].strip()
                },
            )
