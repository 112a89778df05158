"""Probes for simulated recordings, built without the internet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from probeinterface import Probe


@dataclass(frozen=True)
class ProbeKind:
    """A kind of probe, of which as many contacts as wanted are built from the tip upwards.

    Where the caller does not say how many contacts there are, it has `num_channels` of its `most_channels`.
    `part_number` is that of the Neuropixels catalogue; None: a line of contacts, `pitch_um` apart. `units_per_channel`
    is a number of units for each contact: dense probes see less new tissue with every contact. `sampled_in_turn` are
    the channels that a converter takes one after the other, and the turns of a sample; None: not told.
    """

    doc: str
    num_channels: int
    most_channels: int
    part_number: str | None = None
    pitch_um: float = 50.0
    units_per_channel: float = 0.6
    sampled_in_turn: tuple[int, int] | None = None


PROBES: dict[str, ProbeKind] = {
    "np1": ProbeKind("Neuropixels 1.0, 20 um between rows", 128, 384, "NP1000", sampled_in_turn=(12, 13)),
    "np2": ProbeKind(
        "Neuropixels 2.0 with one shank, 15 um between rows", 128, 384, "NP2003", sampled_in_turn=(16, 16)
    ),
    "np2_4shank": ProbeKind(
        *("Neuropixels 2.0, contacts spread evenly over four shanks", 192, 384, "NP2013"),
        sampled_in_turn=(16, 16),
    ),
    "linear16": ProbeKind("One line of contacts, 50 um apart", 16, 64, units_per_channel=1.5),
    "np1_384": ProbeKind("Neuropixels 1.0 as it records", 384, 384, "NP1000"),
    "ultra": ProbeKind("Neuropixels Ultra, 8 columns, 6 um", 384, 384, "NP1100", units_per_channel=0.1),
    "nhp": ProbeKind("Neuropixels NHP, two columns 87 um apart", 384, 4416, "NP1030"),
}
"""The probes of the benchmark; what recordings of them take grows with their contacts."""


def build_probe(probe: str = "np1", num_channels: int | None = None) -> Probe:
    """Build the lowest contacts of a probe without the internet.

    `probe` is a key of `PROBES`; contacts are counted from the tip, in equal parts on each shank, at least 2 and at
    most what the probe has (384 of most), None: the usual number. Device channel indices are 0 to `num_channels` - 1.
    Raises `ValueError` for another name or number.
    """
    from probeinterface import generate_linear_probe
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    kind, num_channels = find_probe(probe, num_channels)
    if kind.part_number is None:
        built = generate_linear_probe(num_channels, ypitch=kind.pitch_um)
    else:
        whole = build_neuropixels_probe(kind.part_number)
        built = whole.get_slice(_lowest_contacts(whole, num_channels))
    built.set_device_channel_indices(np.arange(num_channels))
    return built


def sample_shifts(probe: str, num_channels: int | None = None) -> np.ndarray:
    """How much later than the first each channel is sampled, in samples; 0 where the kind of probe does not tell."""
    kind, num_channels = find_probe(probe, num_channels)
    channels, turns = kind.sampled_in_turn or (1, 1)
    # two converters, of odd and of even channels, at a time
    return np.arange(num_channels) // 2 % channels / turns


def find_probe(probe: str, num_channels: int | None) -> tuple[ProbeKind, int]:
    """Give the kind of probe and the number of its contacts, or raise `ValueError`; see `build_probe`."""
    if probe not in PROBES:
        raise ValueError(f"probe={probe!r} is not known; allowed: {', '.join(PROBES)}")
    kind = PROBES[probe]
    if num_channels is None:
        return kind, kind.num_channels
    if not 2 <= num_channels <= kind.most_channels:
        raise ValueError(
            f"num_channels={num_channels} must be between 2 and {kind.most_channels} for {probe}"
        )
    return kind, int(num_channels)


def _lowest_contacts(whole: Probe, num_channels: int) -> np.ndarray:
    if whole.shank_ids is None:
        return np.arange(num_channels)
    shanks = [np.flatnonzero(whole.shank_ids == shank) for shank in np.unique(whole.shank_ids)]
    parts = np.array_split(np.arange(num_channels), len(shanks))
    return np.concatenate([shank[: part.size] for shank, part in zip(shanks, parts, strict=True)])
