"""Motions from other programs, and back to them.

All come in as, and go out of, a `Motion`: ``corrected position = position - displacement``, in um and s. How
each program writes that down:

=============  =======================================  ==================  ====================  ==============
format         what it is on disk                       displacement        times                 sign
=============  =======================================  ==================  ====================  ==============
spikeinterface folder of `Motion.save`, or a            (times, windows),   bin centres           as ours
               motion_info folder                       for each segment
dredge         .npz with the arrays of DREDge's         (windows, times),   bin centres or edges  as ours
               motion estimate; the estimate itself     (times,) if rigid
medicine       folder with motion.npy, time_bins.npy    (times, windows)    where it is read off  as ours
               and depth_bins.npy
kilosort4      folder with ops.npy (read only)          dshift: (batches,   batches of            the other way
                                                        blocks)             batch_size samples
=============  =======================================  ==================  ====================  ==============

Nothing is unpickled freely.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import refuse
from steadyspike.core.aside import written_aside
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.motion.grids import checked_motion
from steadyspike.motion.plain_pickle import read_object_npy
from steadyspike.motion.tools import restrict_motion
from steadyspike.preprocessing.motion_arguments import MOTION_KEYS

# DREDge leaves the depth out of a rigid estimate; a motion with one window holds at every depth.
RIGID_DEPTH_UM = 0.0


class LoadingSettings(Settings):
    """Parameters of `load_motion`."""

    part = "load_motion"

    format: str | None = parameter(
        None, "A key of `FORMATS`; None: found out from the names of the files or attributes"
    )


class SavingSettings(Settings):
    """Parameters of `save_motion`."""

    part = "save_motion"

    format: str = parameter(
        ...,
        """As `load_motion` reads them, but for "kilosort4": Kilosort4 has no way to take in a motion that it did not
        estimate. Save the corrected recording and sort that with ``do_correction=False`` (SpikeInterface) or
        ``nblocks=0``""",
    )


@takes(LoadingSettings)
def load_motion(path_or_object: Any, *, settings: LoadingSettings) -> Motion:
    """Load a motion that SpikeInterface, DREDge, MEDiCINe or Kilosort4 estimated.

    Parameters
    ----------
    path_or_object : str, Path or object
        A folder or file (see the notes), a `Motion` or its dict, a motion_info dict, or a motion estimate of
        DREDge: anything with `displacement` and `time_bin_centers_s`.
    {settings}

    Returns
    -------
    motion : Motion
        In um and s, ``corrected position = position - displacement``. Several segments from SpikeInterface;
        from the others, which have one time axis, one segment.

    Raises
    ------
    FileNotFoundError
        If there is no such path.
    ValueError
        If it is none of these, or its arrays don't fit each other; if a Kilosort ops.npy holds more than
        plain values.

    Notes
    -----
    spikeinterface
        A folder of `Motion.save`, or one with peaks, locations and motion of ``correct_motion(folder=...)``,
        older ones too.
    dredge
        An .npz with the estimate's arrays under its own names: `displacement`, and `time_bin_centers_s` or
        `time_bin_edges_s`; if non-rigid `spatial_bin_centers_um` or `spatial_bin_edges_um`. A pickled
        estimate is not read: load it where you trust it and give the object.
    medicine
        The `output_dir` of a run. MEDiCINe knows the times it was given: from SpikeInterface these start at
        0, whatever the recording's `t_start` is.
    kilosort4
        A results folder, or its ops.npy. A batch of `batch_size` samples stands for its middle, and times
        start at 0 of the data that Kilosort read (at `tmin`, if that was set). Kilosort states what is added
        to a depth, so the sign is turned: in a recording that moved from -16 to +19 um, Kilosort 4.1.7 wrote
        +23 to -4 um.
    """
    part, format = settings.part, settings.format
    if format is not None and format not in FORMATS:
        settings.refuse("format", ", ".join(map(repr, FORMATS)))
    if isinstance(path_or_object, str | os.PathLike):
        path = Path(path_or_object)
        if not path.exists():
            raise FileNotFoundError(f"there is no motion at {path}")
        found = format or _format_of_path(path)
        return checked_motion(f"{part}: {path}", FORMATS[found].read(path))
    return checked_motion(part, _from_object(path_or_object, format))


@takes(SavingSettings)
def save_motion(
    motion: Motion,
    path: str | Path,
    *,
    settings: SavingSettings,
    segment_index: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a motion in the format of another program.

    It is written aside and then renamed, so it is there whole or not at all.

    Parameters
    ----------
    motion : Motion
        What to write.
    path : str or Path
        A folder for "spikeinterface" and "medicine", a file for "dredge" (".npz" is added to a name without
        it). Its parent is made if it is not there.
    {settings}
    segment_index : int or None, default: None
        Write this segment only. "dredge" and "medicine" have one time axis and need it where a motion has
        several segments.
    overwrite : bool, default: False
        Replace what is at `path`.

    Returns
    -------
    path : Path
        What was written.

    Raises
    ------
    ValueError
        If the format can't hold the motion.
    FileExistsError
        If something is at `path` and `overwrite` is False.
    """
    part, format = settings.part, settings.format
    write = FORMATS[format].write if format in FORMATS else None
    if write is None:
        writable = ", ".join(repr(name) for name, one in FORMATS.items() if one.write is not None)
        settings.refuse("format", f"{writable} (Kilosort4 takes in no motion: sort the corrected recording)")
    motion = checked_motion(part, motion)
    if segment_index is not None:
        motion = restrict_motion(motion, segment_index=segment_index)
    if format != "spikeinterface" and motion.num_segments > 1:
        allowed = f"one of the {motion.num_segments} segments, as {format} has one time axis"
        refuse("segment_index", segment_index, allowed, part)
    path = Path(path).absolute()
    if format == "dredge" and path.suffix != ".npz":
        path = path.with_name(f"{path.name}.npz")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already; overwrite=True replaces it")
    with written_aside(path, next(iter(FORMATS[format].signs), ())) as aside:
        write(motion, aside)
    return path


def _format_of_path(path: Path) -> str:
    if path.is_file():
        kinds = {"ops.npy": "kilosort4", path.with_suffix(".npz").name: "dredge"}
        if path.name in kinds:
            return kinds[path.name]
        allowed = "an .npz file, an ops.npy or a folder; a pickle is not read"
        refuse("path_or_object", str(path), allowed, LoadingSettings.part)
    for name, known in FORMATS.items():
        if any(all((path / file).exists() for file in files) for files in known.signs):
            return name
    signs = [f"{' and '.join(files)} ({name})" for name, known in FORMATS.items() for files in known.signs]
    refuse("path_or_object", str(path), f"a folder with {', or '.join(signs)}", LoadingSettings.part)


def _from_object(content: Any, format: str | None) -> Motion:
    if isinstance(content, Mapping) and isinstance(content.get("motion"), Motion):
        content = content["motion"]
    is_ours, is_theirs = format in (None, "spikeinterface"), format in (None, "dredge")
    if isinstance(content, Motion) and is_ours:
        return content
    if isinstance(content, Mapping) and set(MOTION_KEYS) <= set(content) and is_ours:
        return Motion.from_dict(content)
    if hasattr(content, "displacement") and hasattr(content, "time_bin_centers_s") and is_theirs:
        return _from_dredge({name: getattr(content, name, None) for name in _DREDGE_NAMES})
    allowed = "a path, a Motion, a motion_info dict, or an object with displacement and time_bin_centers_s"
    allowed = allowed if format is None else f"{allowed}, as format={format!r} has it"
    refuse("path_or_object", content, allowed, LoadingSettings.part)


def _read_spikeinterface(path: Path) -> Motion:
    folder = path / "motion" if (path / "motion").is_dir() else path
    if (folder / "spikeinterface_info.json").is_file():
        return Motion.load(folder)
    # what SpikeInterface before 0.101 wrote
    names = ("motion.npy", "temporal_bins.npy", "spatial_bins.npy")
    displacement, times, windows = (np.load(folder / name, allow_pickle=False) for name in names)
    return Motion(displacement, times, windows)


_DREDGE_NAMES = (
    "displacement",
    "time_bin_centers_s",
    "time_bin_edges_s",
    "spatial_bin_centers_um",
    "spatial_bin_edges_um",
)


def _read_dredge(path: Path) -> Motion:
    if path.is_dir():
        refuse("path_or_object", str(path), "an .npz file for format='dredge'", LoadingSettings.part)
    with np.load(path, allow_pickle=False) as arrays:
        if "displacement" not in arrays:
            allowed = f"an .npz with displacement; it holds {', '.join(arrays) or 'nothing'}"
            refuse("path_or_object", str(path), allowed, LoadingSettings.part)
        return _from_dredge({name: arrays[name] for name in _DREDGE_NAMES if name in arrays})


def _from_dredge(arrays: Mapping[str, Any]) -> Motion:
    if arrays["displacement"] is None:
        raise ValueError(
            "the motion estimate has no displacement of its own; allowed: one that is not composed"
        )
    displacement = np.atleast_2d(np.asarray(arrays["displacement"], dtype="float64"))
    times = _centres(arrays, "time_bin_centers_s", "time_bin_edges_s")
    windows = _centres(arrays, "spatial_bin_centers_um", "spatial_bin_edges_um")
    if times is None:
        raise ValueError("the motion estimate has no times; allowed: time_bin_centers_s or time_bin_edges_s")
    if windows is None and displacement.shape[0] == 1:
        windows = np.array([RIGID_DEPTH_UM])
    if windows is None or displacement.shape != (windows.size, times.size):
        size = "none" if windows is None else windows.size
        raise ValueError(
            f"the displacement has shape {displacement.shape}; allowed: (windows, times) = ({size}, {times.size})"
        )
    return Motion(displacement.T, times, windows)


def _centres(arrays: Mapping[str, Any], centres_name: str, edges_name: str) -> np.ndarray | None:
    if arrays.get(centres_name) is not None:
        return np.atleast_1d(np.asarray(arrays[centres_name], dtype="float64"))
    if arrays.get(edges_name) is not None:
        edges = np.asarray(arrays[edges_name], dtype="float64")
        return 0.5 * (edges[1:] + edges[:-1])
    return None


def _write_dredge(motion: Motion, path: Path) -> None:
    arrays = {"displacement": motion.displacement[0].T, "time_bin_centers_s": motion.temporal_bins_s[0]}
    if motion.spatial_bins_um.size == 1:
        arrays["displacement"] = arrays["displacement"][0]
    with open(path, "wb") as stream:
        np.savez(stream, **arrays, spatial_bin_centers_um=motion.spatial_bins_um)


_MEDICINE_FILES = ("motion.npy", "time_bins.npy", "depth_bins.npy")


def _read_medicine(path: Path) -> Motion:
    arrays = [np.load(path / name, allow_pickle=False) for name in _MEDICINE_FILES]
    displacement, times, windows = (np.asarray(array, dtype="float64") for array in arrays)
    return Motion(displacement, times, windows)


def _write_medicine(motion: Motion, path: Path) -> None:
    path.mkdir()
    arrays = (motion.displacement[0], motion.temporal_bins_s[0], motion.spatial_bins_um)
    for name, array in zip(_MEDICINE_FILES, arrays, strict=True):
        np.save(path / name, array)


def _read_kilosort(path: Path) -> Motion:
    file = path / "ops.npy" if path.is_dir() else path
    ops = read_object_npy(file)
    if not isinstance(ops, dict) or ops.get("dshift") is None:
        raise ValueError(f"{file} holds no dshift: Kilosort ran without drift correction (nblocks=0)")
    values = {**(ops.get("settings") or {}), **ops}
    batch_size = values.get("batch_size") or values.get("NT")
    missing = [name for name in ("fs", "yblk") if values.get(name) is None]
    if missing or not batch_size:
        raise ValueError(
            f"{file} has no {', '.join(missing) or 'batch_size'}; allowed: an ops.npy of Kilosort4"
        )
    dshift = np.asarray(ops["dshift"], dtype="float64")
    dshift = dshift.reshape(len(dshift), -1)
    windows = np.atleast_1d(np.asarray(values["yblk"], dtype="float64"))
    batch_s = float(batch_size) / float(values["fs"])
    times = float(values.get("tmin") or 0.0) + batch_s * (np.arange(len(dshift)) + 0.5)
    # Kilosort adds dshift to the depths; rigid registration has one column, whatever the blocks are
    windows = windows if dshift.shape[1] > 1 else windows.mean(keepdims=True)
    return Motion(-dshift, times, windows)


@dataclass(frozen=True)
class Format:
    """A way to write a motion down.

    ``read(path)`` gives the motion and ``write(motion, path)`` makes a file or folder; without it, the other program
    takes in no motion. A folder is known by its files: all those of one of the tuples of `signs`.
    """

    read: Callable[[Path], Motion]
    write: Callable[[Motion, Path], None] | None
    signs: tuple[tuple[str, ...], ...] = ()


FORMATS = {
    "spikeinterface": Format(
        _read_spikeinterface,
        lambda motion, path: motion.save(path),
        signs=(("spikeinterface_info.json",), ("motion",), ("motion.npy", "spatial_bins.npy")),
    ),
    "dredge": Format(_read_dredge, _write_dredge),
    "medicine": Format(_read_medicine, _write_medicine, signs=(_MEDICINE_FILES,)),
    "kilosort4": Format(_read_kilosort, None, signs=(("ops.npy",),)),
}
"""Formats of `load_motion` and `save_motion` by name."""
