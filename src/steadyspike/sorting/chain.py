"""What has been done to a recording: the steps of its lazy chain, and of the chain that a saved one came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.probe_layout import shank_of_channels

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

# our nodes bear SpikeInterface's names behind this
OURS = "Steady"
BATCHES = "BatchFilterRecording"
FILTERS = (
    "BandpassFilterRecording",
    "HighpassFilterRecording",
    "GaussianFilterRecording",
    "FilterRecording",
    BATCHES,
)
REFERENCES = ("CommonReferenceRecording", "HighpassSpatialFilterRecording")
CORRECTIONS = ("InterpolateMotionRecording", "InterpolateMotionByShankRecording")
DENOISERS = ("DeepInterpolatedRecording", "DeepInterpolateRecording")
STANDARDS = ("ZScoreRecording", "NormalizeByQuantileRecording")
SAVED = ("BinaryFolderRecording", "ZarrRecordingExtractor")


@dataclass(frozen=True)
class Chain:
    """What the chain of a recording has done, and what its probe is like.

    Attributes
    ----------
    filtered : bool
        Whether slow signals are taken away, by a highpass or bandpass filter.
    freq_min : float or None
        Highest lower corner of these filters, in Hz; None where none is known.
    referenced, whitened, standardized, phase_shifted, denoised, corrected : bool
        Common reference (or a highpass filter across channels), whitening, division by each channel's noise,
        correction of sampling times, DeepInterpolation, interpolation of motion.
    int_scale : float or None
        What the whitened samples were multiplied by.
    needs_phase_shift : bool
        Whether the channels are sampled one after the other and nothing has corrected that.
    origin_unknown : bool
        Whether there is a saved folder that does not tell where it came from, so that more may have been done.
    num_channels, num_shanks : int
    spacing_um : float
        Median distance of a contact to the nearest of its shank; NaN for one contact, or without a probe.
    steps : tuple of str
        Classes of the nodes, the first one first.
    """

    filtered: bool
    freq_min: float | None
    referenced: bool
    whitened: bool
    standardized: bool
    phase_shifted: bool
    denoised: bool
    corrected: bool
    int_scale: float | None
    needs_phase_shift: bool
    origin_unknown: bool
    num_channels: int
    num_shanks: int
    spacing_um: float
    steps: tuple[str, ...] = field(repr=False)


def chain_of(recording: BaseRecording) -> Chain:
    """Tell what has been done to a recording.

    Nodes of SpikeInterface and ours count, also those before a ``save()``, as long as the saved folder tells where it
    came from. A recording that says of itself that it is filtered is taken to be.

    Parameters
    ----------
    recording : BaseRecording

    Returns
    -------
    chain : Chain
    """
    nodes = list(_nodes(recording))
    names = {name for name, _ in nodes}
    corners = [corner for corner in map(_corner, nodes) if corner is not None]
    known = [corner for corner in corners if np.isfinite(corner)]
    scales = [kwargs.get("int_scale") for name, kwargs in nodes if name == "WhitenRecording"]
    shifts = recording.get_property("inter_sample_shift")
    shifted = "PhaseShiftRecording" in names
    shanks = _shanks(recording)
    return Chain(
        filtered=bool(corners) or bool(recording.is_filtered()),
        freq_min=max(known) if known else None,
        referenced=not names.isdisjoint(REFERENCES)
        or any(name == BATCHES and kwargs["reference"] for name, kwargs in nodes),
        whitened=bool(scales),
        standardized=not names.isdisjoint(STANDARDS),
        phase_shifted=shifted,
        denoised=not names.isdisjoint(DENOISERS),
        corrected=not names.isdisjoint(CORRECTIONS),
        int_scale=scales[0] if scales else None,
        needs_phase_shift=shifts is not None and bool(np.ptp(shifts) > 0) and not shifted,
        origin_unknown=any(name in SAVED and _provenance(kwargs) is None for name, kwargs in nodes),
        num_channels=recording.get_num_channels(),
        num_shanks=len(np.unique(shanks)),
        spacing_um=_spacing(recording, shanks),
        steps=tuple(name for name, _ in reversed(nodes)),
    )


def _nodes(found: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give class and arguments of a recording and of all that it was made from, the last first.

    `found` is a recording, or the dict that describes one in a file.
    """
    described = isinstance(found, Mapping)
    name = (found["class"] if described else type(found).__name__).rpartition(".")[2].removeprefix(OURS)
    kwargs = found.get("kwargs", {}) if described else found._kwargs
    yield name, kwargs
    parents = [parent for value in kwargs.values() for parent in _recordings(value)]
    if not parents:
        parents = _recordings(_provenance(kwargs))
    for parent in parents:
        yield from _nodes(parent)


def _recordings(value: Any) -> list[Any]:
    from spikeinterface.core import BaseRecording

    if isinstance(value, BaseRecording) or (isinstance(value, Mapping) and "class" in value):
        return [value]
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [one for each in inner for one in _recordings(each)]


def _provenance(kwargs: Mapping[str, Any]) -> Any:
    """Read what a saved folder says of where it came from; None: it does not."""
    folder = kwargs.get("folder_path")
    if not isinstance(folder, str | Path):
        return None
    for file, key in (("provenance.json", None), (".zattrs", "provenance")):
        try:
            content = json.loads((Path(folder) / file).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return content if key is None else content.get(key)
    return None


def _corner(node: tuple[str, Mapping[str, Any]]) -> float | None:
    """Lower corner of a filter in Hz, NaN where it is not told; None: the node takes no slow signals away."""
    name, kwargs = node
    if name not in FILTERS:
        return None
    corner = kwargs.get("freq_min")
    if name == "FilterRecording":
        corner = np.min(kwargs["band"])
    return None if corner is None else float(corner)


def _shanks(recording: BaseRecording) -> np.ndarray:
    if recording.has_probe():
        return shank_of_channels(recording)
    return np.zeros(recording.get_num_channels(), dtype="int32")


def _spacing(recording: BaseRecording, shanks: np.ndarray) -> float:
    from scipy.spatial import KDTree

    if not recording.has_probe():
        return float("nan")
    contacts, nearest = recording.get_channel_locations(), []
    for shank in np.unique(shanks):
        own = contacts[shanks == shank]
        if len(own) > 1:
            nearest.append(KDTree(own).query(own, k=2)[0][:, 1])
    return float(np.median(np.concatenate(nearest))) if nearest else float("nan")
