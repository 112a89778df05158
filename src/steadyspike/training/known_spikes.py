"""Recordings whose spikes are known, as networks of spikes are trained on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

MOST_SPIKES = 300
TROUGH_MS = 0.3
BORDER_MS = 4.0


@dataclass(frozen=True)
class KnownSpikes:
    """Traces in noise levels, and the spikes in them.

    `traces` (num_samples, num_channels) are float32, and as `templates` and `depths` in noise levels; `locations` in
    um. `samples`, ordered in time, are those of the trough on the unit's main channel, `units` the index of the unit of
    each spike. `templates` (num_units, num_template_samples, num_channels) are median waveforms with the trough on the
    main channel at the sample `before`; `channels` (num_units,) says where each is deepest, and `depths` how deep.
    """

    traces: np.ndarray
    locations: np.ndarray
    samples: np.ndarray
    units: np.ndarray
    templates: np.ndarray
    before: int
    channels: np.ndarray
    depths: np.ndarray
    num_spikes: np.ndarray
    sampling_frequency: float


def known_spikes(
    recording: BaseRecording, sorting: BaseSorting, ms_before: float = 1.5, ms_after: float = 2.5
) -> KnownSpikes:
    """Read a recording and its spikes into memory.

    The recording is filtered, with contact positions, of one segment; the spikes are the true ones of a simulation, or
    those of a curated sorting. Templates reach from `ms_before` to `ms_after`. Raises `ValueError` for several
    segments, another number of them in `sorting`, or no spikes.
    """
    from steadyspike.library.models.spike_finders import noise_scales

    if recording.get_num_segments() != 1 or sorting.get_num_segments() != 1:
        raise ValueError(
            f"recording has {recording.get_num_segments()} segments and sorting {sorting.get_num_segments()}; "
            "allowed is 1: join them with si.concatenate_recordings and si.concatenate_sortings"
        )
    frequency = recording.sampling_frequency
    before, after, border, near = (
        round(ms * frequency / 1000) for ms in (ms_before, ms_after, BORDER_MS, TROUGH_MS)
    )
    spikes = sorting.to_spike_vector()
    inside = (spikes["sample_index"] >= border) & (
        spikes["sample_index"] < recording.get_num_samples() - border
    )
    spikes = spikes[inside]
    if not spikes.size:
        raise ValueError(f"sorting has no spikes that are {BORDER_MS:g} ms or more inside the recording")
    traces = recording.get_traces().astype("float32") * noise_scales(recording)
    np.nan_to_num(traces, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    num_units = len(sorting.unit_ids)
    templates = np.zeros((num_units, before + after, traces.shape[1]), dtype="float32")
    for unit in range(num_units):
        own = spikes["sample_index"][spikes["unit_index"] == unit]
        if own.size:
            # evenly over the recording
            chosen = own[np.linspace(0, own.size - 1, min(own.size, MOST_SPIKES)).astype(int)]
            templates[unit] = np.median(traces[chosen[:, np.newaxis] + np.arange(-before, after)], axis=0)
    channels, shifts, depths = _deepest(templates, before, near)
    # a sorting may place a unit's spikes a little off their trough
    templates = np.stack([np.roll(one, -shift, axis=0) for one, shift in zip(templates, shifts, strict=True)])
    return KnownSpikes(
        traces=traces,
        locations=recording.get_channel_locations(),
        samples=spikes["sample_index"] + shifts[spikes["unit_index"]],
        units=spikes["unit_index"].astype(np.int64),
        templates=templates,
        before=before,
        channels=channels,
        depths=depths,
        num_spikes=np.bincount(spikes["unit_index"], minlength=num_units),
        sampling_frequency=frequency,
    )


def _deepest(templates: np.ndarray, before: int, near: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the main channel of each template, how far from `before` its trough is there, and how deep."""
    middle = templates[:, before - near : before + near + 1]
    channels = middle.min(axis=1).argmin(axis=1)
    own = middle[np.arange(len(templates)), :, channels]
    return channels, own.argmin(axis=1) - near, -own.min(axis=1)


def thinned(known: KnownSpikes, spacing_um: float, seed: int) -> KnownSpikes:
    """Keep contacts that are at least so far apart, as a sparser probe in the same place would have them.

    `seed` is that of the order in which contacts are tried.
    """
    kept: list[int] = []
    for channel in np.random.default_rng(seed).permutation(len(known.locations)):
        distances = np.linalg.norm(known.locations[kept] - known.locations[channel], axis=1)
        if (distances >= spacing_um).all():
            kept.append(int(channel))
    kept.sort()
    templates = known.templates[:, :, kept]
    near = round(TROUGH_MS * known.sampling_frequency / 1000)
    channels, shifts, depths = _deepest(templates, known.before, near)
    samples = known.samples + shifts[known.units]
    order = np.argsort(samples, kind="stable")
    return replace(
        known,
        traces=np.ascontiguousarray(known.traces[:, kept]),
        locations=known.locations[kept],
        samples=samples[order],
        units=known.units[order],
        templates=np.stack(
            [np.roll(one, -shift, axis=0) for one, shift in zip(templates, shifts, strict=True)]
        ),
        channels=channels,
        depths=depths,
    )


def as_lists(recordings: Any, sortings: Any) -> tuple[list[Any], list[Any]]:
    """Make lists of one or several recordings and sortings, as many of one as of the other.

    Raises `ValueError` if there are not as many, or none, or sampling frequencies differ.
    """
    recordings = list(recordings) if isinstance(recordings, list | tuple) else [recordings]
    sortings = list(sortings) if isinstance(sortings, list | tuple) else [sortings]
    if len(recordings) != len(sortings) or not recordings:
        raise ValueError(
            f"there are {len(recordings)} recordings and {len(sortings)} sortings; allowed is one sorting for each "
            "of one or more recordings"
        )
    frequencies = {float(recording.sampling_frequency) for recording in recordings}
    if len(frequencies) > 1:
        raise ValueError(f"recordings have sampling frequencies {sorted(frequencies)} Hz; allowed is one")
    return recordings, sortings
