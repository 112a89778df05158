"""Peaks and their locations kept on disk, block by block, so that an interrupt loses one block at most."""

from __future__ import annotations

from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core.job_tools import (
    divide_time_series_into_chunks,
    ensure_chunk_size,
    fix_job_kwargs,
    job_keys,
)
from spikeinterface.core.node_pipeline import (
    ExtractDenseWaveforms,
    PipelineNode,
    _compute_peak_pipeline_chunk,
    _init_peak_pipeline,
    check_graph,
)

from steadyspike.core.arguments import refuse
from steadyspike.core.aside import clear_unfinished, folder_aside, locked, remove, written_aside
from steadyspike.core.chunk_runs import run_chunks, split_client
from steadyspike.core.identity import describe_recording
from steadyspike.core.noise_levels import noise_levels, without_silent
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.core.unfinished import WorkFolder

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

Slice = tuple[int, int, int]

BLOCKS = "blocks"
OUTPUTS = ("peaks", "peak_locations")
NOISE_LEVELS = "noise_levels"
# how the work is divided does not change what it gives
BLOCK_S = ("block_s",)
# what compute_motion cuts out for every localization method
WAVEFORM_MS = dict(ms_before=0.1, ms_after=0.3)
# arguments of the nodes that are not the user's
FROM_HERE = ("return_output", "noise_levels")
COPY_ROWS = 1_000_000


class ComputePeaksSettings(Settings):
    """Parameters of `compute_peaks`."""

    part = "compute_peaks"

    preset: str | Path = parameter(
        "steady_nonrigid", "A motion preset, or the path of one, of which detection and localization are used"
    )
    detect_kwargs: dict[str, Any] | None = parameter(
        None, "Changes of the preset's detection", type_doc="dict or None", allowed="a dict, or None"
    )
    localize_peaks_kwargs: dict[str, Any] | None = parameter(
        None, "Changes of the preset's localization", type_doc="dict or None", allowed="a dict, or None"
    )
    block_s: float = parameter(
        20.0,
        """Seconds of recording in one block; at least one chunk. A folder that was begun with other blocks goes on with
        those""",
        unit="s",
        gt=0,
    )
    overwrite: bool = parameter(False, "Begin anew where the folder was made by this function")
    verbose: bool = parameter(False, "Print how much is there already")


@takes(ComputePeaksSettings, argument="asked")
def compute_peaks(
    recording: BaseRecording, folder: str | Path, *, asked: ComputePeaksSettings, **job_kwargs: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Detect and localize peaks as `compute_motion` does, and keep them on disk.

    The recording is worked through by SpikeInterface's own pipeline. A block that is done is renamed into the folder
    when it is on the disk, so that after an interrupt, or a crash of the machine, the same call goes on with the next
    block. At the end the blocks are joined; until they are deleted they take their space twice.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions; of any number of segments.
    folder : str or Path
        Where peaks are kept: made if it is not there, continued if it was begun with the same recording and settings.
        The recording is known by its chain and by what the recordings that it begins with hold, wherever they lie.
    {settings}
    **job_kwargs
        SpikeInterface's job arguments, such as ``n_jobs``, ``pool_engine``, ``chunk_duration`` and ``progress_bar``;
        and ``client``, a `distributed.Client` (or an executor of `concurrent.futures`) whose workers do the chunks, and
        see the recording's files under the same paths.

    Returns
    -------
    peaks : ndarray, shape (num_peaks,)
        Memory map, read only: peaks.npy in the folder. Ordered by segment and chunk; the same as those of
        `compute_motion` with the same noise levels and chunks.
    peak_locations : ndarray, shape (num_peaks,)
        Memory map, read only: peak_locations.npy. Positions in um.

    Raises
    ------
    ValueError
        For a preset that selects peaks, an argument outside its range, or (`OtherSettingsError`) a folder of other
        settings; the message names the differences.
    TypeError
        For an argument that is none.
    FileExistsError
        If the folder holds something else, or (`InUseError`) another process is writing it.
    RuntimeError
        If a chunk fails, with its time range, or the client's scheduler is lost; what is done stays.

    Notes
    -----
    Noise levels, where the recording does not have them as a property, are computed with a fixed seed and kept in
    noise_levels.npy.
    """
    client, job_kwargs = split_client(job_kwargs)
    unknown = sorted(job_kwargs.keys() - set(job_keys))
    if unknown:
        raise TypeError(f"compute_peaks() got an unexpected keyword argument {unknown[0]!r}")
    detect, localize = peak_parameters(
        asked.preset, asked.detect_kwargs or {}, asked.localize_peaks_kwargs or {}
    )
    job_kwargs = fix_job_kwargs(job_kwargs)
    _, chunk_size = divide_into_blocks(recording, asked.block_s, job_kwargs)
    settings = dict(
        recording=describe_recording(recording),
        detect_kwargs=detect,
        localize_peaks_kwargs=localize,
        chunk_size=chunk_size,
        block_s=asked.block_s,
    )
    work = peaks_folder(Path(folder))
    if asked.overwrite or finished_peaks(work.path) is None or not work.check(settings, BLOCK_S):
        with locked(work.path):
            if asked.overwrite:
                work.discard()
            if not work.check(settings, BLOCK_S):
                work.begin(settings)
            blocks, _ = divide_into_blocks(recording, float((work.settings() or {})["block_s"]), job_kwargs)
            if finished_peaks(work.path) is None:
                told = job_kwargs, client, asked.verbose
                _compute_blocks(recording, work.path, blocks, detect, localize, *told)
                for name in reversed(OUTPUTS):
                    _join(work.path, len(blocks), name)
    if (work.path / BLOCKS).exists():
        # what is complete may lie where nothing can be written, or be cleaned by another run
        with suppress(OSError), locked(work.path):
            _clean(work)
    peaks, locations = (np.load(_file(work.path, name), mmap_mode="r") for name in OUTPUTS)
    return peaks, locations


def peaks_folder(folder: Path) -> WorkFolder:
    """Give a folder as `compute_peaks` knows it."""
    return WorkFolder(folder, "peaks")


def finished_blocks(folder: Path) -> int:
    """Count the blocks whose peaks are in a folder; joined, they count as one."""
    if peaks_folder(folder).settings() is None:
        return 0
    if finished_peaks(folder) is not None:
        return 1
    return sum(1 for _ in (folder / BLOCKS).glob("[0-9]*"))


def finished_peaks(folder: Path) -> np.ndarray | None:
    """Give the peaks of a folder that is complete, else None."""
    is_ours = peaks_folder(folder).settings() is not None
    is_complete = is_ours and all(_file(folder, name).exists() for name in OUTPUTS)
    return np.load(_file(folder, OUTPUTS[0]), mmap_mode="r") if is_complete else None


def peak_parameters(
    preset: str | Path, detect_kwargs: dict[str, Any], localize_peaks_kwargs: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give the parameters of detection and localization of a motion preset, with changes.

    Where these name another method, nothing of the preset's step is left. Refused are presets that select peaks between
    the two steps, which is done on all peaks at once, and changes that cannot work.
    """
    from spikeinterface.preprocessing import get_motion_parameters_preset

    from steadyspike.library.presets.checks import check_motion

    parameters = get_motion_parameters_preset(preset)
    if parameters["select_kwargs"]:
        allowed = "a preset that does not select peaks, which needs all of them at once"
        refuse("preset", preset, allowed, ComputePeaksSettings.part)
    changed = []
    for step, changes in (("detect_kwargs", detect_kwargs), ("localize_peaks_kwargs", localize_peaks_kwargs)):
        method = parameters[step]["method"]
        problems = list(check_motion({step: {"method": method, **changes}}))
        if problems:
            raise ValueError("; ".join(f"{key}: {text}" for key, text in problems))
        given = {**parameters[step], **changes} if changes.get("method", method) == method else changes
        changed.append({key: value for key, value in given.items() if key not in FROM_HERE})
    return changed[0], changed[1]


def divide_into_blocks(
    recording: BaseRecording, block_s: float, job_kwargs: dict[str, Any]
) -> tuple[list[list[Slice]], int]:
    """Divide a recording into blocks of chunks (segment, first frame, end), and give the frames in a chunk.

    A block lies in one segment and takes at most `block_s`, unless a chunk, whose size the job arguments tell, is
    longer.
    """
    sizes = {key: value for key, value in job_kwargs.items() if key.startswith(("chunk_", "total_"))}
    chunk_size = ensure_chunk_size(recording, n_jobs=job_kwargs["n_jobs"], **sizes)
    per_block = max(int(block_s * recording.sampling_frequency / chunk_size), 1)
    blocks = []
    for _, chunks in groupby(
        divide_time_series_into_chunks(recording, chunk_size), key=lambda chunk: chunk[0]
    ):
        of_segment = list(chunks)
        blocks += [of_segment[first : first + per_block] for first in range(0, len(of_segment), per_block)]
    return blocks, chunk_size


def peak_nodes(
    recording: BaseRecording, detect: dict[str, Any], localize: dict[str, Any], levels: np.ndarray
) -> list[PipelineNode]:
    """Build the nodes of SpikeInterface's pipeline as `compute_motion` does, from what `peak_parameters` gives.

    The first and the last give output: peaks and their locations.
    """
    from steadyspike.library.presets.checks import provided

    detect, localize = dict(detect), dict(localize)
    detector = provided().detectors()[detect.pop("method")]
    if detector.need_noise_levels:
        detect["noise_levels"] = without_silent(levels, recording)
    source = detector(recording, **detect)
    waveforms = ExtractDenseWaveforms(recording, parents=[source], return_output=False, **WAVEFORM_MS)
    localizer = provided().localizers()[localize.pop("method")]
    return [
        source,
        waveforms,
        localizer(recording, parents=[source, waveforms], return_output=True, **localize),
    ]


def _compute_blocks(
    recording: BaseRecording,
    folder: Path,
    blocks: list[list[Slice]],
    detect: dict[str, Any],
    localize: dict[str, Any],
    job_kwargs: dict[str, Any],
    client: Any,
    verbose: bool,
) -> None:
    """Compute the blocks that are not there."""
    missing = {index: chunks for index, chunks in enumerate(blocks) if not _block(folder, index).is_dir()}
    if verbose and len(missing) < len(blocks):
        print(f"compute_peaks: {len(blocks) - len(missing)} of {len(blocks)} blocks are there already")
    if not missing:
        return
    nodes = peak_nodes(recording, detect, localize, _noise_levels(recording, folder, job_kwargs))
    check_graph(nodes)
    if nodes[0].need_first_call_before_pipeline:
        nodes[0]._first_call_before_pipeline()
    run_chunks(
        recording,
        _compute_peak_pipeline_chunk,
        _init_peak_pipeline,
        (recording, nodes, None),
        [chunk for chunks in missing.values() for chunk in chunks],
        _Blocks(folder, missing),
        "detect and localize",
        client,
        **job_kwargs,
    )


class _Blocks:
    """Takes the output of one chunk after the other, and puts each block in its place when it is complete."""

    def __init__(self, folder: Path, missing: dict[int, list[Slice]]) -> None:
        self.folder = folder
        self.missing = iter([(index, len(chunks)) for index, chunks in missing.items()])
        self.gathered: list[tuple[np.ndarray, ...]] = []
        self.index, self.size = next(self.missing, (0, 0))

    def __call__(self, outputs: tuple[np.ndarray, ...]) -> None:
        self.gathered.append(outputs)
        if len(self.gathered) < self.size:
            return
        with folder_aside(_block(self.folder, self.index)) as unfinished:
            for name, parts in zip(OUTPUTS, zip(*self.gathered, strict=True), strict=True):
                np.save(unfinished / f"{name}.npy", np.concatenate(parts))
        self.gathered = []
        self.index, self.size = next(self.missing, (0, 0))


def _noise_levels(recording: BaseRecording, folder: Path, job_kwargs: dict[str, Any]) -> np.ndarray:
    """Give the noise levels that the folder was begun with."""
    file = _file(folder, NOISE_LEVELS)
    if not file.exists():
        with written_aside(file) as unfinished:
            np.save(unfinished, noise_levels(recording, **job_kwargs))
    return np.load(file)


def _join(folder: Path, num_blocks: int, name: str) -> None:
    """Join the blocks of one output into one file, complete or absent."""
    parts = [np.load(_block(folder, index) / f"{name}.npy", mmap_mode="r") for index in range(num_blocks)]
    size = sum(part.size for part in parts)
    with written_aside(_file(folder, name)) as unfinished:
        joined = np.lib.format.open_memmap(unfinished, mode="w+", dtype=parts[0].dtype, shape=(size,))
        end = 0
        for part in parts:
            for first in range(0, part.size, COPY_ROWS):
                piece = part[first : first + COPY_ROWS]
                joined[end : end + piece.size] = piece
                end += piece.size
        joined.flush()


def _clean(work: WorkFolder) -> None:
    """Delete the blocks, and what interrupted runs left."""
    remove(work.path / BLOCKS, work.marker)
    for name in (BLOCKS, *(f"{name}.npy" for name in (*OUTPUTS, NOISE_LEVELS))):
        clear_unfinished(work.path / name)


def _block(folder: Path, index: int) -> Path:
    return folder / BLOCKS / f"{index:06d}"


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"
