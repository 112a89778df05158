"""Write the traces of a recording so that an interrupted run resumes where it stopped.

`write_traces` fills files chunk by chunk in a work folder, and notes which chunks are there. `move_into_folder` makes
them the binary folder that ``recording.save(format="binary")`` would have written, without copying them.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.folder_settings import (
    SETTINGS,
    check_folder,
    describe_recording,
    read_settings,
    write_settings,
)

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

WHAT = "traces"
DONE = "done.txt"

Chunk = tuple[int, int, int]


def write_traces(
    recording: BaseRecording, work: Path, *, restart: bool = False, job_name: str = "write", **job_kwargs: Any
) -> None:
    """Write the traces of a recording into a work folder, or those that are missing there.

    Parameters
    ----------
    recording : BaseRecording
        Of any number of segments.
    work : Path
        Made if it is not there, continued if it was begun with the same recording and chunks.
    restart : bool, default: False
        Begin anew.
    job_name : str, default: "write"
        For the progress bar.
    **job_kwargs
        SpikeInterface's job arguments.

    Raises
    ------
    OtherSettingsError
        If the folder was begun with another recording or other chunks; the message names the differences.
    FileExistsError
        If the folder holds something else.
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
    check_folder(work, settings, restart, WHAT)
    if not (work / SETTINGS).exists():
        work.mkdir(parents=True, exist_ok=True)
        write_settings(work, settings, WHAT)
    done = set(_chunks_done(work))
    missing = [chunk for chunk in divide_time_series_into_chunks(recording, chunk_size) if chunk not in done]
    if not missing:
        return
    for segment in range(recording.get_num_segments()):
        _file(work, segment).touch()
    with (work / DONE).open("a", encoding="utf8") as noted:

        def note(chunk: Chunk) -> None:
            noted.write(f"{' '.join(map(str, chunk))}\n")
            noted.flush()

        executor = TimeSeriesChunkExecutor(
            recording,
            _write_chunk,
            _open_files,
            (recording, work),
            gather_func=note,
            job_name=job_name,
            **job_kwargs,
        )
        executor.run(slices=missing)


def chunks_written(work: Path) -> int:
    """Count the chunks that a work folder of `write_traces` holds."""
    return len(_chunks_done(work)) if is_traces_folder(work) else 0


def seconds_written(work: Path, sampling_frequency: float) -> float:
    """Sum the durations of the chunks that a work folder of `write_traces` holds."""
    chunks = _chunks_done(work) if is_traces_folder(work) else []
    return sum(stop - start for _, start, stop in chunks) / sampling_frequency


def is_traces_folder(work: Path) -> bool:
    """Whether a folder was begun by `write_traces`."""
    return read_settings(work, WHAT) is not None


def move_into_folder(recording: BaseRecording, work: Path, folder: Path) -> None:
    """Move complete traces from a work folder into a new binary folder of SpikeInterface.

    Parameters
    ----------
    recording : BaseRecording
        The one whose traces `write_traces` wrote.
    work : Path
        With the traces.
    folder : Path
        On the same disk, so that nothing is copied; must not be there.
    """
    from spikeinterface.core import NumpyRecording
    from spikeinterface.core.core_tools import save_provenance_to_folder

    segments = range(recording.get_num_segments())
    # a recording of one sample is saved for what lies around the traces
    one_sample = np.zeros((1, recording.get_num_channels()), recording.get_dtype())
    model = NumpyRecording(
        [one_sample for _ in segments],
        recording.sampling_frequency,
        t_starts=recording.get_segment_t_starts(),
        channel_ids=recording.channel_ids,
    )
    recording.copy_metadata(model)
    if recording.has_probe():
        model.set_probegroup(recording.get_probegroup())
    for segment in segments:
        if recording.has_time_vector(segment):
            model.set_times(recording.get_times(segment)[:1], segment)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The extractor is not serializable to file")
        model.save(folder=folder, format="binary", n_jobs=1, progress_bar=False, verbose=False)
    (folder / "provenance.pkl").unlink(missing_ok=True)
    save_provenance_to_folder(folder, recording, relative_to=folder)
    for segment in segments:
        if recording.has_time_vector(segment):
            recording.get_times(segment).astype("float64").tofile(folder / f"times_cached_seg{segment}.raw")
    for segment in segments:
        os.replace(_file(work, segment), folder / _file(folder, segment).name)


def _file(folder: Path, segment: int) -> Path:
    return folder / f"traces_cached_seg{segment}.raw"


def _chunks_done(work: Path) -> list[Chunk]:
    """Read which chunks are there; a kill may have left part of a line."""
    try:
        text = (work / DONE).read_text(encoding="utf8")
    except FileNotFoundError:
        return []
    lines = text[: text.rfind("\n") + 1].splitlines()
    rows = (line.split() for line in lines)
    return [(int(segment), int(start), int(stop)) for segment, start, stop in rows]


def _open_files(recording: BaseRecording, work: Path) -> dict[str, Any]:
    """Open the files of all segments in a worker, without a buffer that a kill would lose."""
    files = [_file(work, segment).open("r+b", buffering=0) for segment in range(recording.get_num_segments())]
    return dict(recording=recording, files=files)


def _write_chunk(segment: int, start: int, stop: int, worker: dict[str, Any]) -> Chunk:
    recording, file = worker["recording"], worker["files"][segment]
    traces = recording.get_traces(segment_index=segment, start_frame=start, end_frame=stop)
    content = np.ascontiguousarray(traces).data.cast("B")
    file.seek(start * recording.get_num_channels() * traces.dtype.itemsize)
    while content:
        content = content[file.write(content) :]
    return segment, start, stop
