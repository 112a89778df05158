"""What a folder of Kilosort holds: units, spikes, templates and drift, with what is missing said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.sorting.refractory import (
    AUTO_THRESHOLDS,
    CROSS_THRESHOLDS,
    RefractoryTest,
    correlogram,
    refractory_test,
)

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface import BaseSorting
    from spikeinterface.core.motion import Motion


@dataclass(frozen=True, eq=False)
class KilosortOutput:
    """What `read_output` found in a folder of Kilosort.

    Attributes
    ----------
    folder : Path
        Where it was read.
    sampling_frequency : float
        In Hz.
    duration_s : float
        Of the recording that was given; else of Kilosort's batches, which end up to one batch after the recording; else
        the time of the last spike.
    units : pandas.DataFrame
        One row for each cluster that has spikes, by its number:

        * `channel`: number of the contact (row of `channel_positions`) on which the unit's template is largest peak to
          peak; without templates the first one of its PC features. A unit that was merged in phy has the template of
          most of its spikes;
        * `shank`;
        * `x`, `y`: median of its spikes' positions, in um, where Kilosort saw them: after its own correction;
        * `num_spikes`, and `firing_rate` in Hz, over `duration_s`;
        * `amplitude`: median of Kilosort's amplitudes of its spikes, which have no unit: in Kilosort4 the norm of a
          whitened spike, before it the factor on the template;
        * `amplitude_uV`: peak to peak on the largest channel of Kilosort4's template before whitening; NaN without a
          recording that tells what its counts are;
        * `snr`: largest value of Kilosort4's whitened template, which is in noise levels;
        * `contamination`: Kilosort's estimate, 0 is clean and 1 chance (its ContamPct over 100). NaN for 10 spikes and
          fewer, where Kilosort4 writes 0 without having looked;
        * `label`: what counts: phy's group where a unit has one, else Kilosort's; `kilosort_label`: "good" or "mua";
        * `q`, `r`, `refractory`: the two tests of the autocorrelogram (`steadyspike.sorting.refractory_test`), by these
          spike times and the run's own threshold of Q.
    spikes : pandas.DataFrame
        In the order of the files, one row for each spike: `sample_index`, `time_s`, `unit`, `template`, and where they
        are there `amplitude`, `x` and `y` in um.
    motion : Motion or None
        Kilosort's drift, as `load_motion` reads it: ``corrected position = position - displacement``.
    templates : ndarray, shape (num_templates, num_samples, num_channels), or None
        In Kilosort4 mean waveforms, whitened, filtered and after its drift correction; sparse ones of phy are laid out
        on all channels.
    pc_features : ndarray, shape (num_spikes, num_components, num_near_channels), or None
        Left on the disk until it is used. `pc_channels` (num_templates, num_near_channels) are the contacts of each
        template.
    similarity : ndarray, shape (num_templates, num_templates), or None
        Correlation of each two templates.
    channel_positions : ndarray, shape (num_channels, 2)
        In um.
    channel_map, shanks : ndarray, shape (num_channels,)
        Row of the binary file that each contact was read from, and its shank.
    whitening : ndarray, shape (num_channels, num_channels), or None
        What Kilosort multiplied the filtered samples of all channels by.
    settings : dict
        Kilosort's settings, from ops.npy and params.py; plain values only.
    missing : dict of str to str
        What is not there, and what does not follow from that.
    """

    folder: Path
    sampling_frequency: float
    duration_s: float
    units: pd.DataFrame = field(repr=False)
    spikes: pd.DataFrame = field(repr=False)
    motion: Motion | None
    templates: np.ndarray | None = field(repr=False)
    pc_features: np.ndarray | None = field(repr=False)
    pc_channels: np.ndarray | None = field(repr=False)
    similarity: np.ndarray | None = field(repr=False)
    channel_positions: np.ndarray = field(repr=False)
    channel_map: np.ndarray = field(repr=False)
    shanks: np.ndarray = field(repr=False)
    whitening: np.ndarray | None = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    missing: dict[str, str] = field(repr=False)

    def __repr__(self) -> str:
        labels = ", ".join(f"{number} {name}" for name, number in self.units["label"].value_counts().items())
        lines = [
            f"KilosortOutput: {len(self.units)} units ({labels or 'no labels'}), {len(self.spikes)} spikes, "
            f"{len(self.channel_positions)} channels, {self.duration_s:g} s in {self.folder}"
        ]
        if self.motion is not None:
            displacement = self.motion.displacement[0]
            lines.append(f"  drift {np.ptp(displacement):.1f} um, {displacement.shape[1]} block(s)")
        return "\n".join([*lines, *(f"  missing: {text}" for text in self.missing.values())])

    def train(self, unit: int) -> np.ndarray:
        """Give the spike times of a unit, in samples."""
        if unit not in self.units.index:
            raise ValueError(f"unit={unit!r} is not there; allowed: a number from units.index")
        frames = self.spikes["sample_index"].to_numpy()[self.spikes["unit"].to_numpy() == unit]
        return np.sort(frames)

    def correlogram(self, unit: int, other: int | None = None) -> np.ndarray:
        """Count spikes around those of a unit, in bins of 1 ms: its own, or those of another.

        See `steadyspike.sorting.correlogram`.
        """
        others = None if other is None else self.train(other)
        return correlogram(self.train(unit), self.sampling_frequency, others)

    def refractory(self, unit: int, other: int | None = None) -> RefractoryTest:
        """Test whether a unit is refractory, or whether two are to each other, as pieces of one neuron are.

        See `steadyspike.sorting.refractory_test`; the thresholds of Q are those of the run.
        """
        return refractory_test(self.correlogram(unit, other), thresholds(self.settings, other is not None))

    def to_sorting(self) -> BaseSorting:
        """Give the units and spikes as a sorting of SpikeInterface, with the columns of `units` as properties."""
        from spikeinterface.core import NumpySorting

        sorting: BaseSorting = NumpySorting.from_samples_and_labels(
            [self.spikes["sample_index"].to_numpy()],
            [self.spikes["unit"].to_numpy()],
            self.sampling_frequency,
            unit_ids=self.units.index.to_numpy(),
        )
        for name, column in self.units.items():
            values = column.astype("float64") if name in ("channel", "shank") else column
            if values.notna().any():
                sorting.set_property(
                    name, values.fillna("").to_numpy(str) if values.dtype == object else values
                )
        return sorting


def thresholds(settings: Mapping[str, Any], of_two: bool = False) -> tuple[float, float]:
    """Thresholds of Q and R for a unit, or for two, with those of Q that the run was given."""
    name, defaults = ("ccg_threshold", CROSS_THRESHOLDS) if of_two else ("acg_threshold", AUTO_THRESHOLDS)
    return float(settings.get(name) or defaults[0]), defaults[1]
