"""Files and folders of acquisition systems: known by the names of files, and read by SpikeInterface's readers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.addresses import address_of
from steadyspike.core.loading_errors import LoadingError, as_recording, told
from steadyspike.core.settings import Settings, parameter

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

SEARCH_DEPTH = 4


@dataclass(frozen=True)
class Reader:
    """A format and the file names that give it away.

    `name` is a key of SpikeInterface's `recording_extractor_full_dict`, `patterns` are lower case. `takes_folder` says
    whether the format is opened by its folder rather than by the matching file.
    """

    name: str
    patterns: tuple[str, ...]
    takes_folder: bool = False


READERS = (
    Reader("spikeglx", ("*.ap.bin", "*.ap.meta", "*.lf.bin", "*.lf.meta"), takes_folder=True),
    Reader("openephysbinary", ("structure.oebin",), takes_folder=True),
    Reader("openephyslegacy", ("*.continuous",), takes_folder=True),
    Reader("nwb", ("*.nwb",)),
    Reader("compressedbinaryibl", ("*.cbin",), takes_folder=True),
    Reader("intan", ("*.rhd", "*.rhs")),
    Reader("blackrock", ("*.ns6", "*.ns5")),
    Reader("spikegadgets", ("*.rec",)),
    Reader("neuralynx", ("*.ncs",), takes_folder=True),
    Reader("tdt", ("*.tsq",), takes_folder=True),
    Reader("maxwell", ("*.raw.h5",)),
    Reader("biocam", ("*.brw",)),
    Reader("mearec", ("*.h5",)),
    Reader("mcsh5", ("*.h5",)),
    Reader("plexon2", ("*.pl2",)),
    Reader("plexon", ("*.plx",)),
    Reader("ced", ("*.smrx", "*.smr")),
    Reader("edf", ("*.edf",)),
    Reader("neuronexus", ("*.xdat.json",)),
    Reader("alphaomega", ("*.mpx",), takes_folder=True),
    Reader("mda", ("raw.mda",), takes_folder=True),
)


def reader_names() -> list[str]:
    """List the formats that `load_recording` accepts as `reader`."""
    from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict

    return sorted({*recording_extractor_full_dict, "openephys"} - {"numpy", "binaryfolder"})


def guess_and_read(path: Path, stream: str | None) -> BaseRecording:
    """Read what the names of files speak for; raises `LoadingError` with all that was tried."""
    failures = []
    for reader, target in _guesses(path):
        try:
            return read(reader, target, stream, {})
        except LoadingError as error:
            failures.append(str(error))
    if failures:
        raise LoadingError(f"{path} could not be read. Tried: " + " | ".join(failures))
    raise LoadingError(
        f"{path} looks like nothing that SpikeInterface saved or reads. "
        f"Tried: a saved folder, .json, .pkl, Zarr, {', '.join(reader.name for reader in READERS)}. "
        "A raw file needs --reader binary and --reader-option sampling_frequency=..., num_channels=... "
        "and dtype=...."
    )


def read(reader: str, path: Path, stream: str | None, options: dict[str, Any]) -> BaseRecording:
    """Read a file or folder with the reader of a name, one of `reader_names`; raises `LoadingError`."""
    from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict as readers

    if reader not in reader_names():
        raise LoadingError(f"reader {reader!r} is not known; allowed: {', '.join(reader_names())}")
    reader = _of_openephys(reader, path)
    if reader == "binary":
        _check_binary(path, options)
    with told(reader):
        chosen = _choose_stream(reader, path, stream)
        return as_recording(readers[reader](path, **chosen, **options), path)


def spike_streams(path: str | Path, reader: str | None = None) -> list[str]:
    """List the streams of action potentials of an acquisition system's file or folder, one for each probe.

    `reader` is that of `load_recording`. Empty where there is nothing to choose from, as in what SpikeInterface saved.
    Raises `LoadingError` if nothing is there, or it cannot be read.
    """
    if address_of(path) is not None:
        return []
    path = Path(path).expanduser()
    if not path.exists():
        raise LoadingError(f"{path} does not exist")
    for name, target in _guesses(path) if reader is None else [(reader, path)]:
        with told(name):
            names = _streams(_of_openephys(name, target), target)[0]
        if names:
            return [name for name in names if _holds_spikes(name)]
    return []


def _guesses(path: Path) -> Iterator[tuple[str, Path]]:
    """Give the formats that the file names speak for, and what to open for each."""
    names = _file_names(path)
    for reader in READERS:
        found = [name for name in names if any(fnmatch(name.name.lower(), p) for p in reader.patterns)]
        if not found:
            continue
        if not reader.takes_folder and len(found) > 1:
            listed = ", ".join(str(name) for name in found[:5])
            raise LoadingError(f"{path} holds several recordings ({reader.name}): name one of {listed}")
        if path.is_file():
            target = path.parent if reader.takes_folder else path
        else:
            target = path if reader.takes_folder else found[0]
        yield reader.name, target


def _file_names(path: Path) -> list[Path]:
    """List the file, or the files in a folder and its subfolders to `SEARCH_DEPTH`."""
    if path.is_file():
        return [path]
    found: list[Path] = []
    for folder, subfolders, files in os.walk(path):
        if len(Path(folder).relative_to(path).parts) >= SEARCH_DEPTH:
            subfolders.clear()
        found += [Path(folder) / name for name in sorted(files)]
    return found


def _of_openephys(reader: str, path: Path) -> str:
    """Name the one of Open Ephys' formats that lies there; other readers as they are."""
    if reader != "openephys":
        return reader
    is_legacy = any(name.suffix == ".continuous" for name in _file_names(path))
    return "openephyslegacy" if is_legacy else "openephysbinary"


class _BinaryOptions(Settings):
    """What must be known of a file that holds nothing but samples."""

    part = "binary"

    sampling_frequency: float = parameter(..., "Of the samples", unit="Hz", gt=0)
    num_channels: int = parameter(..., "How many there are", ge=1)
    dtype: str = parameter(..., "Of a sample", allowed="a type of numpy, such as int16")


def _check_binary(path: Path, options: Mapping[str, Any]) -> None:
    """Refuse a binary file of which too little is known, and warn where it cannot be as it is said to be."""
    given = {name: options[name] for name in _BinaryOptions.model_fields if name in options}
    try:
        if "dtype" in given:
            given["dtype"] = np.dtype(given["dtype"]).str
        known = _BinaryOptions.of(**given)
    except TypeError:
        raise LoadingError(
            f"binary: dtype={given['dtype']!r}; allowed: {_BinaryOptions.allowed('dtype')}"
        ) from None
    except ValueError as error:
        raise LoadingError(f"{error}. Give it as --reader-option name=value (reader_options)") from None
    frame = known.num_channels * np.dtype(known.dtype).itemsize
    left = (path.stat().st_size - int(options.get("file_offset", 0))) % frame if path.is_file() else 0
    if left:
        warnings.warn(
            f"{path} ends with {left} bytes that are no sample of {known.num_channels} channels: are num_channels and "
            "dtype right?",
            stacklevel=4,
        )


def _choose_stream(reader: str, path: Path, stream: str | None) -> dict[str, str]:
    """Turn a stream's name or id, or none, into the reader's argument."""
    names, ids = _streams(reader, path)
    if not names:
        return {} if stream is None else {"stream_name": stream}
    listed = ", ".join(
        name if name == key else f"{name} (id {key})" for name, key in zip(names, ids, strict=True)
    )
    if stream is None:
        if len(names) < 2:
            return {}
        spikes = [name for name in names if _holds_spikes(name)]
        if len(spikes) == 1:
            return {"stream_name": spikes[0]}
        raise LoadingError(f"{path} holds several streams, choose one with --stream: {listed}")
    if stream in names:
        return {"stream_name": stream}
    if stream in ids:
        return {"stream_id": stream}
    raise LoadingError(f"{path} has no stream {stream!r}; it has {listed}")


def _streams(reader: str, path: Path) -> tuple[list[str], list[str]]:
    """List names and ids of all streams; none of a format that has no such thing."""
    from spikeinterface.extractors.neoextractors import neo_recording_class_dict

    if reader not in neo_recording_class_dict:
        return [], []
    names, ids = neo_recording_class_dict[reader].get_streams(path)
    return [str(name) for name in names], [str(one) for one in ids]


def _holds_spikes(stream: str) -> bool:
    return stream.lower().endswith((".ap", "-ap")) or "amplifier" in stream.lower()
