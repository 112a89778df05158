"""Where the chunks of a recording are written to: the folders that ``recording.save`` makes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import flush, remove
from steadyspike.core.chunk_runs import Chunk
from steadyspike.core.identity import digest
from steadyspike.core.probe_layout import attach_probe

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

    from steadyspike.core.unfinished import WorkFolder

# of a chunk that is on the disk already; what a crash loses are whole blocks of the file system
PIECE_BYTES, NUM_PIECES = 4096, 16


def check_zarr() -> None:
    """Raise `ValueError` where SpikeInterface cannot write Zarr, before anything is computed."""
    import zarr

    if int(zarr.__version__.partition(".")[0]) > 2:
        raise ValueError(
            f"format='zarr' needs zarr-python 2, and {zarr.__version__} is installed, with which SpikeInterface reads "
            "Zarr and does not write it; allowed: binary"
        )


def one_sample_of(recording: BaseRecording) -> BaseRecording:
    """Make a recording of one sample that has all else of another one: its traces make room when it is saved."""
    from spikeinterface.core import NumpyRecording

    segments = range(recording.get_num_segments())
    one_sample = np.zeros((1, recording.get_num_channels()), recording.get_dtype())
    model = NumpyRecording(
        [one_sample for _ in segments],
        recording.sampling_frequency,
        t_starts=recording.get_segment_t_starts(),
        channel_ids=recording.channel_ids,
    )
    recording.copy_metadata(model)
    if recording.has_probe():
        attach_probe(model, recording.get_probegroup())
    for segment in segments:
        if recording.has_time_vector(segment):
            model.set_times(recording.get_times(segment)[:1], segment)
    return model


def dump_chain(recording: BaseRecording, file: Path, relative_to: Path | None = None) -> Path | None:
    """Write what a recording is made of as JSON, or else as a pickle; return the file, or None if neither is possible.

    Paths in it become relative to a folder, where one is given and they lie on the same disk.
    """
    if recording.check_serializability("json"):
        file = file.with_name(f"{file.name}.json")
        recording.dump_to_json(file, relative_to=relative_to)
    elif recording.check_serializability("pickle"):
        file = file.with_name(f"{file.name}.pkl")
        recording.dump_to_pickle(file, relative_to=relative_to)
    else:
        return None
    return file


def digest_pieces(read: Callable[[int, int], bytes | memoryview], size: int) -> str:
    """Digest pieces of something of a size in bytes, which ``read(first, size)`` gives."""
    firsts = np.unique(np.linspace(0, max(size - PIECE_BYTES, 0), NUM_PIECES).astype(int))
    return digest(b"".join(bytes(read(int(first), min(PIECE_BYTES, size))) for first in firsts))[:16]


class BinaryStore:
    """Where chunks go: files of samples, one for each segment."""

    def __init__(self, recording: BaseRecording, folder: Path) -> None:
        self.recording, self.folder = recording, folder
        self.frame_bytes = recording.get_num_channels() * np.dtype(recording.get_dtype()).itemsize

    def begin(self, new: Path, work: WorkFolder) -> None:
        """Write what lies around the traces, into a new folder that will take the place of `folder`."""
        recording = self.recording
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
            model = one_sample_of(recording)
            model.save(folder=new, format="binary", n_jobs=1, progress_bar=False, verbose=False)
        remove(new / "provenance.pkl", work.marker)
        # as deep as the folder will lie, so that relative paths hold there
        dump_chain(recording, new / "provenance", relative_to=self.folder.parent)
        for segment in range(recording.get_num_segments()):
            if recording.has_time_vector(segment):
                recording.get_times(segment).astype("float64").tofile(new / f"times_cached_seg{segment}.raw")

    def arguments(self) -> tuple[Any, ...]:
        """Give the files the size that they will have, and what `open` takes."""
        files = [self._file(segment) for segment in range(self.recording.get_num_segments())]
        for segment, file in enumerate(files):
            with file.open("ab") as stream:
                stream.truncate(self.recording.get_num_samples(segment) * self.frame_bytes)
        return self.recording, files

    def reader(self, chunk: Chunk) -> tuple[Callable[[int, int], bytes], int]:
        """Give what reads pieces of a chunk that is on the disk, and its size in bytes."""
        segment, start, stop = chunk

        def read(first: int, size: int) -> bytes:
            try:
                with self._file(segment).open("rb", buffering=0) as file:
                    file.seek(start * self.frame_bytes + first)
                    return file.read(size)
            except FileNotFoundError:
                return b""

        return read, (stop - start) * self.frame_bytes

    def _file(self, segment: int) -> Path:
        return self.folder / f"traces_cached_seg{segment}.raw"

    @staticmethod
    def open(recording: BaseRecording, files: list[Path]) -> dict[str, Any]:
        """Open the files of all segments in a worker, without a buffer that a kill would lose."""
        opened = [file.open("r+b", buffering=0) for file in files]
        return dict(recording=recording, write=BinaryStore.write, files=opened)

    @staticmethod
    def write(segment: int, start: int, traces: np.ndarray, worker: dict[str, Any]) -> str:
        """Write a chunk, and give its digest when it is on the disk."""
        file = worker["files"][segment]
        content = traces.reshape(-1).view("uint8").data
        found = digest_pieces(lambda first, size: content[first : first + size], len(content))
        file.seek(start * traces.shape[1] * traces.dtype.itemsize)
        left = content
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
        return found


class ZarrStore:
    """Where chunks go: a Zarr array for each segment, as ``recording.save(format="zarr")`` makes it."""

    def __init__(self, recording: BaseRecording, folder: Path, chunk_size: int) -> None:
        self.recording, self.folder, self.chunk_size = recording, folder, chunk_size

    def begin(self, new: Path, work: WorkFolder | None = None) -> None:
        """Write what lies around the traces, into a new folder that will take the place of `folder`."""
        from spikeinterface.core.core_tools import check_json
        from spikeinterface.core.zarrextractors import super_zarr_open

        recording = self.recording
        model, jobs = one_sample_of(recording), dict(n_jobs=1, progress_bar=False, verbose=False)
        model.save(folder=new, format="zarr", chunk_size=self.chunk_size, **jobs)
        group = super_zarr_open(str(new), mode="r+")
        if recording.check_serializability("json"):
            chain = recording.to_dict(recursive=True, relative_to=None)
            group.attrs["provenance"] = check_json(chain)
        for segment in range(recording.get_num_segments()):
            for name in (f"traces_seg{segment}", f"times_seg{segment}"):
                if name in group:
                    self._enlarge(group, name, segment)
            if recording.has_time_vector(segment):
                group[f"times_seg{segment}"][:] = recording.get_times(segment)

    def _enlarge(self, group: Any, name: str, segment: int) -> None:
        """Make an array anew, for all samples."""
        old = group[name]
        shape = (self.recording.get_num_samples(segment), *old.shape[1:])
        group.create_dataset(
            name=name,
            shape=shape,
            chunks=(self.chunk_size, *old.chunks[1:]),
            dtype=old.dtype,
            filters=old.filters,
            compressor=old.compressor,
            overwrite=True,
        )

    def arguments(self) -> tuple[Any, ...]:
        """Give what `open` takes."""
        return self.recording, str(self.folder), self.chunk_size

    def reader(self, chunk: Chunk) -> tuple[Callable[[int, int], bytes], int]:
        """Give what reads pieces of a chunk that is on the disk, and its size in bytes."""
        content = b""
        with suppress(FileNotFoundError):
            content = _file(self.folder, chunk[0], chunk[1], self.chunk_size).read_bytes()
        return (lambda first, size: content[first : first + size]), len(content)

    @staticmethod
    def open(recording: BaseRecording, folder: str, chunk_size: int) -> dict[str, Any]:
        """Open the arrays of all segments in a worker."""
        from spikeinterface.core.zarrextractors import super_zarr_open

        group = super_zarr_open(folder, mode="r+")
        arrays = [group[f"traces_seg{segment}"] for segment in range(recording.get_num_segments())]
        return dict(
            recording=recording,
            write=ZarrStore.write,
            arrays=arrays,
            folder=Path(folder),
            chunk_size=chunk_size,
        )

    @staticmethod
    def write(segment: int, start: int, traces: np.ndarray, worker: dict[str, Any]) -> str:
        """Write a chunk, and give the digest of its file when it is on the disk."""
        worker["arrays"][segment][start : start + len(traces)] = traces
        file = _file(worker["folder"], segment, start, worker["chunk_size"])
        flush(file)
        content = file.read_bytes()
        return digest_pieces(lambda first, size: content[first : first + size], len(content))


def _file(folder: Path, segment: int, start: int, chunk_size: int) -> Path:
    return folder / f"traces_seg{segment}" / f"{start // chunk_size}.0"
