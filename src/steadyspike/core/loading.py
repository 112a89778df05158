"""Open a recording from whatever SpikeInterface can load or read.

`load_recording` takes a path and finds out what lies there: something SpikeInterface saved (a folder, a JSON
or pickle file, Zarr), or a file or folder of an acquisition system. The guess is made from file names only;
when no guess works, the error says what was tried.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.addresses import address_of, check_address, check_options
from steadyspike.core.settings import Settings, parameter

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

SEARCH_DEPTH = 4
REMOTE_READERS = ("zarr", "nwb")
PHY_FILES = ("spike_times.npy", "spike_clusters.npy")


class LoadingError(ValueError):
    """A path that could not be opened as a recording; the message says what was tried."""


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


def load_recording(
    path: str | Path,
    *,
    reader: str | None = None,
    stream: str | None = None,
    reader_options: dict[str, Any] | None = None,
    trust_pickle: bool = False,
) -> BaseRecording:
    """Open a recording from a path.

    `path` is a folder, JSON or pickle file or Zarr that SpikeInterface saved, or a file or folder of an acquisition
    system. `reader`, one of `reader_names` such as "spikeglx", is guessed if None; `stream` is the name or id of the
    one to read where there are several, None the only one with action potentials. `reader_options` are further
    arguments for the reader, such as ``{"sampling_frequency": 30000.0}`` for "binary". Opening a pickle runs the code
    inside it: it must be trusted. Raises `LoadingError` if nothing is there, nothing fits, a choice is missing, or a
    pickle is not trusted.

    Zarr at an address (``s3://``, ``gs://``, ``http://``, ``https://``) is read where it lies, and so is NWB over HTTP,
    with ``stream_mode="remfile"`` if the options give none. Keys and the endpoint come from the environment;
    `reader_options` with keys are refused.
    """
    options = dict(reader_options or {})
    if (address := address_of(path)) is not None:
        return _load_remote(address, reader, stream, options)
    path = Path(path).expanduser()
    if not path.exists():
        raise LoadingError(f"{path} does not exist")
    if reader is not None:
        return _read(reader, path, stream, options)
    if options:
        raise LoadingError(f"options for a reader ({', '.join(options)}) need the reader's name too")
    with _told(f"{path} could not be loaded"):
        saved = _load_saved(path, trust_pickle)
    if saved is not None:
        return _as_recording(saved, path)
    return _guess_and_read(path, stream)


def load_sorting(path: str | Path, sampling_frequency: float, *, trust_pickle: bool = False) -> BaseSorting:
    """Open a sorting from a path.

    `path` is a sorting or a SortingAnalyzer that SpikeInterface saved, or the folder of a Kilosort or Phy, with
    spike_times.npy and spike_clusters.npy; nothing else is read there, as its params.py would be run.
    `sampling_frequency` in Hz, the recording's, is for files that hold none. Opening a pickle runs the code inside it:
    it must be trusted. Raises `LoadingError` if nothing is there, nothing fits, or a pickle is not trusted.
    """
    from spikeinterface import BaseSorting, NumpySorting, SortingAnalyzer

    path = Path(path).expanduser()
    if not path.exists():
        raise LoadingError(f"{path} does not exist")
    files = [path / name for name in PHY_FILES]
    with _told(f"{path} could not be loaded"):
        if all(file.is_file() for file in files):
            times, labels = (np.load(file, allow_pickle=False).ravel() for file in files)
            return NumpySorting.from_samples_and_labels([times.astype("int64")], [labels], sampling_frequency)
        saved = _load_saved(path, trust_pickle)
    if isinstance(saved, SortingAnalyzer):
        return saved.sorting
    if not isinstance(saved, BaseSorting):
        what = "looks like nothing" if saved is None else f"holds a {type(saved).__name__}, not a sorting"
        raise LoadingError(
            f"{path} {what}; allowed: a sorting or SortingAnalyzer that SpikeInterface saved, "
            f"or a folder with {' and '.join(PHY_FILES)}"
        )
    return saved


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
        with _told(name):
            names = _streams(_of_openephys(name, target), target)[0]
        if names:
            return [name for name in names if _holds_spikes(name)]
    return []


def reader_names() -> list[str]:
    """List the formats that `load_recording` accepts as `reader`."""
    from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict

    return sorted({*recording_extractor_full_dict, "openephys"} - {"numpy", "binaryfolder"})


def _load_remote(
    address: str, reader: str | None, stream: str | None, options: dict[str, Any]
) -> BaseRecording:
    """Open what lies at an address."""
    from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict as readers

    name = reader or ("nwb" if address.lower().endswith(".nwb") else "zarr")
    if name not in REMOTE_READERS:
        raise LoadingError(
            f"{address}: reader {name!r} needs files on this machine; "
            f"allowed at an address: {', '.join(REMOTE_READERS)}"
        )
    if stream is not None:
        raise LoadingError(
            f"{address}: streams are not told apart there; of several in an NWB file, choose one with "
            "--reader-option electrical_series_path=..."
        )
    if name == "nwb" and not address.startswith("http"):
        raise LoadingError(
            f"{address}: SpikeInterface reads NWB over HTTP only; give the https:// address of it"
        )
    if name == "nwb":
        options.setdefault("stream_mode", "remfile")
    elif address.startswith("http"):
        # without any, SpikeInterface gives those of S3, which HTTP refuses
        options.setdefault("storage_options", {"simple_links": True})
    with _told(address):
        check_options(options)
        check_address(address, options.get("stream_mode"))
        return _as_recording(readers[name](address, **options), Path(address))


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Make a `LoadingError` of any other error."""
    try:
        yield
    except LoadingError:
        raise
    except Exception as error:
        raise LoadingError(f"{what}: {type(error).__name__}: {error}") from error


def _as_recording(loaded: Any, path: Path) -> BaseRecording:
    from spikeinterface import BaseRecording

    if not isinstance(loaded, BaseRecording):
        raise LoadingError(f"{path} holds a {type(loaded).__name__}, not a recording")
    return loaded


def _load_saved(path: Path, trust_pickle: bool) -> Any:
    """Load what SpikeInterface saved; None where the path holds something else."""
    import spikeinterface as si

    suffix = path.suffix.lower()
    if suffix != path.suffix and suffix in (".json", ".pkl", ".pickle"):
        raise LoadingError(
            f"{path}: SpikeInterface reads it with the end of its name in small letters; rename it"
        )
    if path.is_file() and suffix == ".json" and not path.name.lower().endswith(".xdat.json"):
        _check_classes(path)
        return si.load(path, base_folder=True)
    if suffix in (".pkl", ".pickle") and path.is_file():
        if not trust_pickle:
            raise LoadingError(
                f"{path} is a pickle, and opening a pickle runs any code inside it. If you trust who made it, "
                "allow it with --trust-pickle (trust_pickle=True); better, save the recording as JSON."
            )
        return si.load(path, base_folder=True)
    if path.is_dir() and (path / "si_folder.json").is_file():
        _check_classes(path / "si_folder.json")
        return si.load(path)
    if path.is_dir() and (path / "spikeinterface_info.json").is_file():
        return si.load(path)
    for name in ("cached.json", "cached.pkl", "cached.pickle"):
        if path.is_dir() and (path / name).is_file():
            return _load_saved(path / name, trust_pickle)
    if path.is_dir() and any((path / name).exists() for name in (".zgroup", ".zattrs", "zarr.json")):
        from spikeinterface.extractors import read_zarr

        _check_zarr(path)
        return read_zarr(path)
    return None


def _check_zarr(path: Path) -> None:
    """Refuse the format Zarr 3 where the library cannot read it."""
    import zarr

    if (path / "zarr.json").is_file() and int(zarr.__version__.partition(".")[0]) < 3:
        raise LoadingError(
            f"{path} is of the format Zarr 3, which zarr-python {zarr.__version__} cannot read; SpikeInterface takes "
            "zarr-python 3 from Python 3.14 on"
        )


def _check_classes(json_file: Path) -> None:
    """Refuse a saved chain that names anything but SpikeInterface objects: loading calls what is named."""
    import importlib

    from spikeinterface.core.base import BaseExtractor

    try:
        content = json.loads(json_file.read_text(encoding="utf8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LoadingError(f"{json_file} is not readable as JSON: {error}") from None
    for name in sorted(set(_named_classes(content))):
        module, _, attribute = name.rpartition(".")
        try:
            named = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError):
            raise LoadingError(f"{json_file} needs {name}, which is not installed") from None
        if not (isinstance(named, type) and issubclass(named, BaseExtractor)):
            raise LoadingError(f"{json_file} names {name}, which is no SpikeInterface object; not loaded")


def _named_classes(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        if isinstance(content.get("class"), str) and "kwargs" in content:
            yield content["class"]
        for value in content.values():
            yield from _named_classes(value)
    elif isinstance(content, list):
        for value in content:
            yield from _named_classes(value)


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


def _guess_and_read(path: Path, stream: str | None) -> BaseRecording:
    failures = []
    for reader, target in _guesses(path):
        try:
            return _read(reader, target, stream, {})
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


def _read(reader: str, path: Path, stream: str | None, options: dict[str, Any]) -> BaseRecording:
    from spikeinterface.extractors.extractor_classes import recording_extractor_full_dict as readers

    if reader not in reader_names():
        raise LoadingError(f"reader {reader!r} is not known; allowed: {', '.join(reader_names())}")
    reader = _of_openephys(reader, path)
    if reader == "binary":
        _check_binary(path, options)
    with _told(reader):
        chosen = _choose_stream(reader, path, stream)
        return _as_recording(readers[reader](path, **chosen, **options), path)


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
