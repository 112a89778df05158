"""Files for Kilosort4's own window: samples as int16, contacts, and what to set there."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.arguments import contact_positions
from steadyspike.core.aside import locking, refuse_existing, written_aside
from steadyspike.core.noise_levels import noise_levels
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.sorting.parameters import SorterParameters, parameters

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

PART = "prepare"
BINARY, PROBE, SETTINGS = "traces_cached_seg0.raw", "kilosort_probe.json", "kilosort_settings.json"
NOISE_COUNTS = 25.0
"""Counts that the noise of scaled samples has: rounding then adds under a thousandth of its variance, and 1,300 times
the noise fits into int16."""
LIMIT = 32767


@dataclass(frozen=True)
class KilosortInput:
    """What `prepare` wrote.

    Attributes
    ----------
    folder : Path
        A recording that ``si.load(folder)`` reads, with the two files below in it.
    binary : Path
        The samples, int16, all channels of a time beside each other: Kilosort's "Select Binary File".
    probe : Path
        Kilosort's "Select Probe Layout", "other...".
    settings : dict
        What to set there.
    scale : float
        What the samples were multiplied by before they were rounded.
    reasons : list of str
        Why.
    """

    folder: Path
    binary: Path
    probe: Path
    settings: dict[str, Any]
    scale: float
    reasons: list[str] = field(repr=False)

    def __repr__(self) -> str:
        told = ", ".join(f"{name} {value}" for name, value in self.settings.items())
        lines = [f"KilosortInput: {self.binary}", f"  probe: {self.probe}", f"  set: {told}"]
        return "\n".join([*lines, *(f"  {reason}" for reason in self.reasons)])


@locking
def prepare(
    recording: BaseRecording, folder: str | Path, *, overwrite: bool = False, **job_kwargs: Any
) -> KilosortInput:
    """Write a recording as Kilosort4's own window reads it.

    Samples of int16 stay as they are. Others are scaled so that the noise has 25 counts, rounded, and saturate; the
    gains of what is written tell what a count is, so ``si.load(folder)`` gives the same voltages, and
    ``read_output(results, si.load(folder))`` amplitudes in uV. Segments are put behind each other.

    Parameters
    ----------
    recording : BaseRecording
        With a probe. Not whitened: Kilosort's window can't leave its own whitening out.
    folder : str or Path
        Must not exist, unless it is one of these and `overwrite` is set.
    overwrite : bool, default: False
        Replace it then.
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    written : KilosortInput

    Raises
    ------
    FileExistsError
        If the folder exists.
    ValueError
        If the recording has no probe, or is whitened.
    """
    from spikeinterface.core import concatenate_recordings

    folder = Path(folder).expanduser().absolute()
    refuse_existing(folder, PROBE, overwrite, "input of Kilosort")
    positions = contact_positions(recording, PART)
    chosen = parameters("kilosort4", recording)
    if chosen["skip_kilosort_preprocessing"]:
        raise ValueError(
            f"{PART}: the recording is whitened; allowed: one before whitening, as Kilosort's window can't leave out "
            "its own (si.run_sorter can: see steadyspike.sorting.parameters)"
        )
    shanks = shank_of_channels(recording)
    if recording.get_num_segments() > 1:
        recording = concatenate_recordings([recording])
    rounded, scale = _as_int16(recording, **job_kwargs)
    settings = _settings(recording, chosen)
    reasons = [
        f"{choice.parameter}: {choice.reason}"
        for choice in chosen.choices
        if choice.parameter != "skip_kilosort_preprocessing"
    ]
    with written_aside(folder, PROBE) as aside:
        rounded.save(folder=aside, format="binary", **job_kwargs)
        if scale != 1.0:
            _warn_of_saturated(aside / BINARY)
        (aside / PROBE).write_text(json.dumps(_probe(positions, shanks)), encoding="utf-8")
        content = dict(binary=BINARY, probe=PROBE, scale=scale, settings=settings, reasons=reasons)
        (aside / SETTINGS).write_text(json.dumps(content, indent=2), encoding="utf-8")
    return KilosortInput(folder, folder / BINARY, folder / PROBE, settings, scale, reasons)


def _as_int16(recording: BaseRecording, **job_kwargs: Any) -> tuple[BaseRecording, float]:
    """Scale, round and saturate, with gains that tell what was done; int16 is left as it is."""
    from spikeinterface.preprocessing import astype, clip, scale, unsigned_to_signed

    if recording.get_dtype() == "uint16":
        recording = unsigned_to_signed(recording)
    if recording.get_dtype() == "int16":
        return recording, 1.0
    levels = noise_levels(recording, **job_kwargs)
    known = levels[np.isfinite(levels) & (levels > 0)]
    factor = NOISE_COUNTS / float(np.median(known)) if known.size else 1.0
    scaled = scale(recording, gain=factor, offset=0.0, dtype="float32")
    rounded = astype(clip(scaled, a_min=-LIMIT, a_max=LIMIT), "int16", round=True)
    gains = recording.get_channel_gains()
    if gains is not None:
        rounded.set_channel_gains(np.asarray(gains) / factor)
        rounded.set_channel_offsets(recording.get_channel_offsets())
    return rounded, factor


def _settings(recording: BaseRecording, chosen: SorterParameters) -> dict[str, Any]:
    """What to set in Kilosort's window, by its names there."""
    settings: dict[str, Any] = {
        "n_chan_bin": recording.get_num_channels(),
        "fs": float(recording.sampling_frequency),
        "data_dtype": "int16",
        "do_CAR": chosen["do_CAR"],
    }
    if not chosen["do_correction"]:
        settings["nblocks"] = 0
    if "highpass_cutoff" in chosen:
        settings["highpass_cutoff"] = chosen["highpass_cutoff"]
    return settings


def _probe(positions: np.ndarray, shanks: np.ndarray) -> dict[str, Any]:
    """Contacts as Kilosort's documentation has them: rows of the file, x and y in um, shanks."""
    return {
        "chanMap": list(range(len(positions))),
        "xc": positions[:, 0].tolist(),
        "yc": positions[:, 1].tolist(),
        "kcoords": shanks.tolist(),
        "n_chan": len(positions),
    }


def _warn_of_saturated(file: Path) -> None:
    samples = np.memmap(file, dtype="int16", mode="r")
    piece = 2**24
    number = sum(
        int((np.abs(samples[start : start + piece]) == LIMIT).sum())
        for start in range(0, samples.size, piece)
    )
    if number:
        warnings.warn(
            f"{number} samples ({number / samples.size:.2g} of all) are more than {LIMIT / NOISE_COUNTS:.0f} times the "
            "noise and saturate: look for artifacts",
            stacklevel=3,
        )
