"""Cut-outs of threshold crossings, channel by channel: the front end of the older work on single electrodes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from spikeinterface.core import get_chunk_with_margin
from spikeinterface.core.job_tools import TimeSeriesChunkExecutor, fix_job_kwargs
from spikeinterface.core.node_pipeline import base_peak_dtype

from steadyspike.core.aside import folder_aside
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.kernels.spikes.event_pairs import outside_refractory

ARRAYS = ("peaks", "waveforms")
SETTINGS = "settings.json"
CHUNK_ARGUMENTS = ("chunk_size", "chunk_duration", "chunk_memory", "total_memory")


class CutSpikesSettings(Settings):
    """Parameters of `cut_spikes`."""

    part = "cut_spikes"

    threshold: float = parameter(4.0, "In standard deviations", gt=0)
    block_s: float = parameter(
        10.0,
        """Length of the blocks in s, in which the standard deviation is measured. A last block of less than half of it
        is measured with the one before""",
        unit="s",
        gt=0,
    )
    refractory_ms: float = parameter(
        1.0, "Crossings within this time after a spike of their channel are none", unit="ms", ge=0
    )
    ms_before: float = parameter(0.35, "Of the waveforms, before the crossing", unit="ms", ge=0)
    ms_after: float = parameter(
        1.05,
        "Of the waveforms, from the crossing on. At 30 kHz the defaults are the 42 samples of the zebra finch work",
        unit="ms",
        gt=0,
    )
    peak_sign: Literal["neg", "pos", "both"] = parameter("neg", "Which crossings count")


@dataclass(frozen=True)
class CutoutSettings:
    """How spikes were cut out, as it is saved; the windows of `cut_spikes` in samples."""

    threshold: float
    block_s: float
    refractory_ms: float
    nbefore: int
    nafter: int
    peak_sign: str
    sampling_frequency: float


@dataclass(frozen=True, eq=False)
class SpikeCutouts:
    """Threshold crossings and their waveforms, in order of segment and time.

    Parameters
    ----------
    peaks : ndarray, shape (num_spikes,)
        As SpikeInterface's, with sample_index (of the crossing), channel_index, amplitude (the largest excursion
        within the waveform from the crossing on) and segment_index.
    waveforms : ndarray of float32, shape (num_spikes, num_samples)
        On the channel of each.
    settings : CutoutSettings
    """

    peaks: np.ndarray
    waveforms: np.ndarray
    settings: CutoutSettings

    def save(self, folder: str | Path) -> None:
        """Save as ``peaks.npy``, ``waveforms.npy`` and ``settings.json`` in a new folder: whole or not at all."""
        folder = Path(folder).expanduser().absolute()
        if folder.exists():
            raise FileExistsError(f"{folder} exists already; allowed: a new folder")
        with folder_aside(folder) as new:
            for name in ARRAYS:
                np.save(new / f"{name}.npy", getattr(self, name))
            (new / SETTINGS).write_text(json.dumps(asdict(self.settings), indent=1), encoding="utf8")

    @classmethod
    def load(cls, folder: str | Path) -> SpikeCutouts:
        """Load what `save` has written."""
        folder = Path(folder).expanduser()
        settings = json.loads((folder / SETTINGS).read_text(encoding="utf8"))
        peaks, waveforms = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS)
        return cls(peaks, waveforms, CutoutSettings(**settings))


@takes(CutSpikesSettings, argument="asked")
def cut_spikes(recording: Any, *, asked: CutSpikesSettings, **job_kwargs: Any) -> SpikeCutouts:
    r"""Cut out the waveforms of threshold crossings on each channel alone.

    A spike is where a channel first passes its threshold, :math:`\theta\,\sigma_{cb}` beyond its mean
    :math:`\mu_{cb}`, with :math:`\mu_{cb}` and :math:`\sigma_{cb}` the mean and standard deviation of channel
    :math:`c` in the block of time :math:`b`: the threshold follows noise that changes. A crossing within the refractory
    period of the last spike of its channel is not one. What comes out depends on neither chunks nor jobs, because
    blocks are counted from the start of each segment.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, as by the presets "spike_front_end_50hz" and "spike_front_end_60hz".
    {settings}
    **job_kwargs
        SpikeInterface's job arguments; the length of chunks is that of the blocks.

    Returns
    -------
    cutouts : SpikeCutouts
        With `save`. Spikes whose waveform would reach beyond the segment are left out.

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    per_ms = recording.sampling_frequency / 1000
    settings = CutoutSettings(
        threshold=asked.threshold,
        block_s=asked.block_s,
        refractory_ms=asked.refractory_ms,
        nbefore=round(asked.ms_before * per_ms),
        nafter=max(1, round(asked.ms_after * per_ms)),
        peak_sign=asked.peak_sign,
        sampling_frequency=float(recording.sampling_frequency),
    )
    parts = _run(recording, settings, job_kwargs)
    peaks = np.concatenate([np.empty(0, base_peak_dtype), *(part[0] for part in parts)])
    width = settings.nbefore + settings.nafter
    waveforms = np.concatenate([np.empty((0, width), "float32"), *(part[1] for part in parts)])
    whole = np.concatenate([np.empty(0, bool), *(part[2] for part in parts)])
    kept = _choose(peaks, round(asked.refractory_ms * per_ms))
    kept = kept[whole[kept]]
    return SpikeCutouts(peaks[kept], waveforms[kept], settings)


def _run(recording: Any, settings: CutoutSettings, job_kwargs: dict[str, Any]) -> list[Any]:
    jobs = {key: value for key, value in fix_job_kwargs(job_kwargs).items() if key not in CHUNK_ARGUMENTS}
    size = max(1, round(settings.block_s * recording.sampling_frequency))
    slices = [
        block
        for segment in range(recording.get_num_segments())
        for block in _blocks(recording, segment, size)
    ]
    parts: list[Any] = []
    executor = TimeSeriesChunkExecutor(
        recording,
        _cut_block,
        _open,
        (recording, settings),
        gather_func=parts.append,
        job_name="cut spikes",
        chunk_size=size,
        **jobs,
    )
    executor.run(slices)
    return parts


def _blocks(recording: Any, segment: int, size: int) -> list[tuple[int, int, int]]:
    """Divide a segment; a last block of less than half the size joins the one before."""
    length = recording.get_num_samples(segment)
    starts = np.arange(0, length, size)
    if len(starts) > 1 and length - starts[-1] < size / 2:
        starts = starts[:-1]
    stops = [*starts[1:], length][: len(starts)]
    return [(segment, int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)]


def _open(recording: Any, settings: CutoutSettings) -> dict[str, Any]:
    return dict(recording=recording, settings=settings)


def _cut_block(segment: int, start: int, stop: int, worker: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """Find all crossings of a block, their waveforms, and whether these are wholly inside the segment."""
    recording, settings = worker["recording"], worker["settings"]
    # one sample more before, as a crossing is told by the sample that precedes it
    margin = max(settings.nbefore, settings.nafter, 1)
    traces, left, right = get_chunk_with_margin(
        recording.segments[segment], start, stop, None, margin, add_zeros=False
    )
    traces = traces.astype("float32", copy=False)
    block = traces[left : len(traces) - right]
    samples, channels = _crossings(traces, left, block, settings)
    rows = samples[:, np.newaxis] + left + np.arange(-settings.nbefore, settings.nafter)
    whole = (rows[:, 0] >= 0) & (rows[:, -1] < len(traces))
    waveforms = traces[np.clip(rows, 0, len(traces) - 1), channels[:, np.newaxis]]
    after = waveforms[:, settings.nbefore :]
    extreme = np.nanargmax(np.abs(np.nan_to_num(after)), axis=1) if len(after) else np.empty(0, "int64")
    peaks = np.zeros(len(samples), base_peak_dtype)
    peaks["sample_index"], peaks["channel_index"] = samples + start, channels
    peaks["amplitude"] = after[np.arange(len(after)), extreme]
    peaks["segment_index"] = segment
    return peaks, waveforms, whole


def _crossings(
    traces: np.ndarray, left: int, block: np.ndarray, settings: CutoutSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Return samples (of the block) and channels where a threshold is first passed, in order of time."""
    finite = np.isfinite(block)
    clean = block if finite.all() else np.where(finite, block, np.nan)
    with np.errstate(invalid="ignore"):
        mean = np.nanmean(clean, axis=0, dtype="float64") if len(block) else 0.0
        limit = settings.threshold * np.nanstd(clean, axis=0, dtype="float64")
        around = traces[max(left - 1, 0) : left + len(block)] - mean
        beyond = {
            "neg": lambda: around < -limit,
            "pos": lambda: around > limit,
            "both": lambda: np.abs(around) > limit,
        }[settings.peak_sign]()
    if left == 0:
        # what is beyond from the first sample of a segment on has not crossed
        beyond = np.concatenate([beyond[:1], beyond])
    samples, channels = np.nonzero(beyond[1:] & ~beyond[:-1])
    return samples, channels


def _choose(peaks: np.ndarray, period: int) -> np.ndarray:
    """Return the peaks outside the refractory period of their channel, in order of segment, time and channel."""
    fields = (peaks["sample_index"], peaks["channel_index"], peaks["segment_index"])
    order = np.lexsort(fields)
    channels = peaks["channel_index"].astype("int64") + (
        (peaks["channel_index"].max(initial=0) + 1) * peaks["segment_index"].astype("int64")
    )
    kept = order[outside_refractory(fields[0][order].astype("int64"), channels[order], period)]
    return kept[np.lexsort([field[kept] for field in (fields[1], fields[0], fields[2])])]
