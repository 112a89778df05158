"""Write the traces of a recording so that an interrupted run, or one that a crash ended, resumes where it stopped."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import remove, written_aside
from steadyspike.core.identity import describe_recording, digest
from steadyspike.core.probe_layout import attach_probe
from steadyspike.core.unfinished import Notes, OtherSettingsError, WorkFolder

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

DONE, TRACES = "done.txt", "traces"
# of a chunk that is on the disk already; what a crash loses are whole blocks of the file system
PIECE_BYTES, NUM_PIECES = 4096, 16

Chunk = tuple[int, int, int]


def save_recording(
    recording: BaseRecording,
    folder: Path,
    work: WorkFolder,
    *,
    anew: bool = False,
    job_name: str = "write",
    **job_kwargs: Any,
) -> float:
    """Write the binary folder that ``recording.save(format="binary")`` writes, or what is missing of it.

    A chunk is noted in the work folder when it is on the disk, with a digest of pieces of it: what a crash of the
    machine took is found, and written again. `folder` is in a folder in the work folder that stands for the one to
    come; the work folder was begun, and is locked. Where another recording, or other chunks, were begun, raises
    `OtherSettingsError`, which names the differences, or begins anew with `anew`. Returns the seconds of the recording
    that were there already.
    """
    from spikeinterface.core.job_tools import (
        TimeSeriesChunkExecutor,
        divide_time_series_into_chunks,
        ensure_chunk_size,
        fix_job_kwargs,
    )

    job_kwargs = fix_job_kwargs(job_kwargs)
    sizes = {key: value for key, value in job_kwargs.items() if key.startswith(("chunk_", "total_"))}
    chunk_size = ensure_chunk_size(recording, n_jobs=job_kwargs["n_jobs"], **sizes)
    settings = dict(recording=describe_recording(recording), chunk_size=chunk_size)
    traces = WorkFolder(work.path / TRACES, TRACES, work.begin_anew)
    try:
        goes_on = traces.check(settings)
    except OtherSettingsError:
        if not anew:
            raise
        goes_on = False
    if not goes_on:
        traces.discard()
        remove(folder, work.marker)
        traces.begin(settings)
    if not folder.exists():
        _describe(recording, folder, work)
    chunks = divide_time_series_into_chunks(recording, chunk_size)
    files = _size_files(recording, folder)
    notes = Notes(traces.path / DONE)
    done = _whole_chunks(notes, set(chunks), files, _frame_bytes(recording))
    missing = [chunk for chunk in chunks if chunk not in done]
    if missing:
        with notes.appending(list(done.values())) as note:
            executor = TimeSeriesChunkExecutor(
                recording,
                _write_chunk,
                _open_files,
                (recording, files),
                gather_func=note,
                job_name=job_name,
                **job_kwargs,
            )
            executor.run(slices=missing)
    return sum(stop - start for _, start, stop in done) / recording.sampling_frequency


def seconds_noted(work: Path, sampling_frequency: float) -> float:
    """Sum the durations of the chunks that `save_recording` noted in a work folder."""
    noted = [line.split() for line in Notes(work / TRACES / DONE).read()]
    return sum(int(stop) - int(start) for _, start, stop, _ in noted) / sampling_frequency


def _describe(recording: BaseRecording, folder: Path, work: WorkFolder) -> None:
    """Write what lies around the traces, into a new folder."""
    from spikeinterface.core import NumpyRecording

    segments = range(recording.get_num_segments())
    # a recording of one sample is saved, and its traces make room
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
    with written_aside(folder) as new:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
            model.save(folder=new, format="binary", n_jobs=1, progress_bar=False, verbose=False)
        remove(new / "provenance.pkl", work.marker)
        # as deep as the folder will lie, so that relative paths hold there
        dump_chain(recording, new / "provenance", relative_to=folder.parent)
        for segment in segments:
            if recording.has_time_vector(segment):
                recording.get_times(segment).astype("float64").tofile(new / f"times_cached_seg{segment}.raw")


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


def _frame_bytes(recording: BaseRecording) -> int:
    return int(recording.get_num_channels() * np.dtype(recording.get_dtype()).itemsize)


def _size_files(recording: BaseRecording, folder: Path) -> list[Path]:
    """Give the files of all segments, of the size that they will have."""
    files = []
    for segment in range(recording.get_num_segments()):
        files.append(folder / f"traces_cached_seg{segment}.raw")
        with files[-1].open("ab") as file:
            file.truncate(recording.get_num_samples(segment) * _frame_bytes(recording))
    return files


def _whole_chunks(notes: Notes, chunks: set[Chunk], files: list[Path], frame_bytes: int) -> dict[Chunk, str]:
    """Read which chunks are noted and on the disk."""
    done = {}
    for line in notes.read():
        segment, start, stop, noted = line.split()
        chunk = (int(segment), int(start), int(stop))
        if chunk not in chunks:
            continue
        with files[chunk[0]].open("rb", buffering=0) as file:

            def read(first: int, size: int, file: Any = file, start: int = chunk[1]) -> bytes:
                file.seek(start * frame_bytes + first)
                return bytes(file.read(size))

            if _digest_pieces(read, (chunk[2] - chunk[1]) * frame_bytes) == noted:
                done[chunk] = line
    return done


def _digest_pieces(read: Callable[[int, int], bytes | memoryview], size: int) -> str:
    firsts = np.unique(np.linspace(0, max(size - PIECE_BYTES, 0), NUM_PIECES).astype(int))
    return digest(b"".join(bytes(read(int(first), min(PIECE_BYTES, size))) for first in firsts))[:16]


def _open_files(recording: BaseRecording, files: list[Path]) -> dict[str, Any]:
    """Open the files of all segments in a worker, without a buffer that a kill would lose."""
    return dict(recording=recording, files=[file.open("r+b", buffering=0) for file in files])


def _write_chunk(segment: int, start: int, stop: int, worker: dict[str, Any]) -> str:
    """Write a chunk, and give the note of it when it is on the disk."""
    recording, file = worker["recording"], worker["files"][segment]
    traces = recording.get_traces(segment_index=segment, start_frame=start, end_frame=stop)
    content = np.ascontiguousarray(traces).reshape(-1).view("uint8").data
    found = _digest_pieces(lambda first, size: content[first : first + size], len(content))
    file.seek(start * recording.get_num_channels() * traces.dtype.itemsize)
    left = content
    while left:
        left = left[file.write(left) :]
    os.fsync(file.fileno())
    return f"{segment} {start} {stop} {found}"
