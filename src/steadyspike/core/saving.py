"""Write the traces of a recording so that an interrupted run, or one that a crash ended, resumes where it stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import remove, written_aside
from steadyspike.core.chunk_runs import Chunk, run_chunks, split_client
from steadyspike.core.identity import describe_recording
from steadyspike.core.stores import BinaryStore, ZarrStore, digest_pieces
from steadyspike.core.unfinished import Notes, OtherSettingsError, WorkFolder

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

DONE, TRACES = "done.txt", "traces"
ZARR = ".zarr"


def save_recording(
    recording: BaseRecording,
    folder: Path,
    work: WorkFolder,
    *,
    anew: bool = False,
    job_name: str = "write",
    **job_kwargs: Any,
) -> float:
    """Write the folder that ``recording.save`` writes, or what is missing of it: binary, or Zarr if its name ends so.

    A chunk is noted in the work folder when it is on the disk, with a digest of pieces of it: what a crash of the
    machine took is found, and written again. `folder` is in a folder in the work folder that stands for the one to
    come; the work folder was begun, and is locked. Where another recording, or other chunks, were begun, raises
    `OtherSettingsError`, which names the differences, or begins anew with `anew`. The job arguments may hold a
    ``client``; see `steadyspike.core.chunk_runs`. Returns the seconds of the recording that were there already.
    """
    from spikeinterface.core.job_tools import divide_time_series_into_chunks

    client, job_kwargs = split_client(job_kwargs)
    chunk_size, job_kwargs = chunk_size_of(recording, job_kwargs)
    settings = dict(recording=describe_recording(recording), chunk_size=chunk_size)
    store: Any = BinaryStore(recording, folder)
    if folder.suffix == ZARR:
        settings["format"] = ZARR
        store = ZarrStore(recording, folder, chunk_size)
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
        with written_aside(folder) as new:
            store.begin(new, work)
    chunks = divide_time_series_into_chunks(recording, chunk_size)
    notes = Notes(traces.path / DONE)
    done = _whole_chunks(notes, set(chunks), store.reader)
    missing = [chunk for chunk in chunks if chunk not in done]
    if missing:
        with notes.appending(list(done.values())) as note:
            how = _write_chunk, store.open, store.arguments()
            run_chunks(recording, *how, missing, note, job_name, client, **job_kwargs)
    return sum(stop - start for _, start, stop in done) / recording.sampling_frequency


def chunk_size_of(recording: BaseRecording, job_kwargs: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Give the samples of a chunk, and job arguments with SpikeInterface's defaults."""
    from spikeinterface.core.job_tools import ensure_chunk_size, fix_job_kwargs

    job_kwargs = fix_job_kwargs(job_kwargs)
    sizes = {key: value for key, value in job_kwargs.items() if key.startswith(("chunk_", "total_"))}
    return ensure_chunk_size(recording, n_jobs=job_kwargs["n_jobs"], **sizes), job_kwargs


def seconds_noted(work: Path, sampling_frequency: float) -> float:
    """Sum the durations of the chunks that `save_recording` noted in a work folder."""
    noted = [line.split() for line in Notes(work / TRACES / DONE).read()]
    return sum(int(stop) - int(start) for _, start, stop, _ in noted) / sampling_frequency


def _write_chunk(segment: int, start: int, stop: int, worker: dict[str, Any]) -> str:
    """Write a chunk, and give the note of it when it is on the disk."""
    traces = worker["recording"].get_traces(segment_index=segment, start_frame=start, end_frame=stop)
    found = worker["write"](segment, start, np.ascontiguousarray(traces), worker)
    return f"{segment} {start} {stop} {found}"


def _whole_chunks(
    notes: Notes, chunks: set[Chunk], reader: Callable[[Chunk], tuple[Callable[[int, int], bytes], int]]
) -> dict[Chunk, str]:
    """Read which chunks are noted and on the disk."""
    done = {}
    for line in notes.read():
        segment, start, stop, noted = line.split()
        chunk = (int(segment), int(start), int(stop))
        if chunk in chunks and digest_pieces(*reader(chunk)) == noted:
            done[chunk] = line
    return done
