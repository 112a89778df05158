"""Open a recording from whatever SpikeInterface can load or read.

`load_recording` takes a path and finds out what lies there: something SpikeInterface saved (a folder, a JSON
or pickle file, Zarr), or a file or folder of an acquisition system; when nothing fits, the error says what was tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.acquisition import guess_and_read, read
from steadyspike.core.addresses import address_of, check_address, check_options
from steadyspike.core.loading_errors import LoadingError, as_recording, told

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

REMOTE_READERS = ("zarr", "nwb")
PHY_FILES = ("spike_times.npy", "spike_clusters.npy")


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
        return read(reader, path, stream, options)
    if options:
        raise LoadingError(f"options for a reader ({', '.join(options)}) need the reader's name too")
    with told(f"{path} could not be loaded"):
        saved = _load_saved(path, trust_pickle)
    if saved is not None:
        return as_recording(saved, path)
    return guess_and_read(path, stream)


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
    with told(f"{path} could not be loaded"):
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
    with told(address):
        check_options(options)
        check_address(address, options.get("stream_mode"))
        return as_recording(readers[name](address, **options), address)


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
