"""Prediction and sample fused: what a lazy DeepInterpolation adds to its prediction where noise cannot explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.kernels.spikes.scale_mixture import expected_spikes
from steadyspike.preprocessing.residual_fit import ResidualFit

if TYPE_CHECKING:
    from steadyspike.preprocessing.residual_fit import Windows


class Fusion:
    """The posterior of a recording's live channels; windows are made when the first traces are read."""

    def __init__(self, fit: ResidualFit, positions: np.ndarray, shank: np.ndarray, live: np.ndarray) -> None:
        self.fit, self.live = fit, live
        self.positions, self.shank = positions[live], shank[live]
        self.levels = np.maximum(np.array(fit.levels)[live], np.finfo("float32").tiny).astype("float32")
        self._windows: Windows | None = None

    @property
    def half(self) -> int:
        """Samples that are needed on each side."""
        return self.fit.half

    def expected(
        self, residual: np.ndarray, prediction: np.ndarray, channels: np.ndarray, before: int, after: int
    ) -> np.ndarray:
        """What is expected of the spikes in the residual of a prediction, both (num_samples, num_channels), normalized.

        `channels` are live ones, all of each shank. `before` and `after` samples are margin, at most `half`; what lacks
        lies beyond the ends of the segment and counts as 0. Returns (num_samples - before - after, num_channels).
        """
        if self._windows is None:
            self._windows = self.fit.windows(self.positions, self.shank)
        windows, half = self._windows, self.half
        places = np.searchsorted(self.live, channels)
        padded = np.zeros((len(channels), len(residual) + 2 * half - before - after), "float32")
        begin = half - before
        padded[:, begin : begin + len(residual)] = (residual / self.levels[places]).T
        lengths = np.diff(windows.offsets)[places]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        members = [windows.members[windows.offsets[place] : windows.offsets[place + 1]] for place in places]
        classes = self.fit.classes(prediction)[before : len(prediction) - after]
        result = np.empty((len(channels), padded.shape[1] - 2 * half), "float32")
        expected_spikes(
            padded,
            np.ascontiguousarray(classes.T),
            windows.kinds[places],
            offsets,
            np.searchsorted(places, np.concatenate(members)),
            half,
            windows.mixture,
            result,
        )
        return result.T * self.levels[places]


def fit_of(given: Any, num_channels: int) -> ResidualFit:
    """Take a fit as a saved chain holds it; `ValueError` if it is none, or one of other channels."""
    from steadyspike.core.arguments import refuse

    if not isinstance(given, dict):
        refuse("fusion", given, "None, or what a saved chain holds", "steady_deepinterpolate")
    fit = ResidualFit.of(**given)
    if len(fit.levels) != num_channels:
        fit.refuse("levels", f"{num_channels} numbers, one for each channel")
    return fit
