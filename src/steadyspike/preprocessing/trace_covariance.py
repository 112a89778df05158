"""Covariance of spikes and noise: fitted to up to 40 s of a recording, and kept by a saved chain as numbers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from pydantic import model_validator
from threadpoolctl import threadpool_limits

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, parameter
from steadyspike.kernels.channels.spatial_interpolation import distance_to_nearest
from steadyspike.kernels.channels.tissue_covariance import Lattice, Tissue, TissueMoments, fit_patch
from steadyspike.kernels.channels.tissue_weights import TissueWeights
from steadyspike.kernels.channels.trace_covariance import (
    Mixture,
    TraceMoments,
    fit_mixture,
    noise_between,
    separations,
)
from steadyspike.kernels.channels.wiener_weights import WienerWeights

# Read to fit: chunks spread over the recording, at most so many of this length, until there are so many spikes for
# each channel.
NUM_CHUNKS, CHUNK_S = 160, 0.25
ENOUGH_SPIKES = 50
# Coprime to the number of chunks, so that the first few are spread too.
CHUNK_STEP = 63
# Digits that a saved chain keeps of factors of the order of 1.
DECIMALS = 3
# With fewer spikes the fit would follow single units.
FEWEST_SPIKES = 100
# Width and height of a footprint where none can be fitted, in um, or in pitches of sparser contacts.
DEFAULT_LENGTH_UM, DEFAULT_LENGTH_PITCHES = 20.0, 0.6
# Share of the noise that each contact has for itself, without which a mixture could not be inverted.
LEAST_OWN_NOISE = 0.02

PARTS = ("widths_um", "heights_um", "weights")


class TraceCovariance(Settings):
    """Covariances of spikes and noise, those of `kernels.channels.trace_covariance` in plain numbers."""

    part = "covariance"

    spikes_widths_um: list[float] = parameter(..., "Width of each part of the spikes' covariance", gt=0)
    spikes_heights_um: list[float] = parameter(..., "Height of each part, along the motion", gt=0)
    spikes_weights: list[float] = parameter(..., "Weight of each part", ge=0)
    noise_widths_um: list[float] = parameter(..., "Width of each part of the noise's covariance", gt=0)
    noise_heights_um: list[float] = parameter(..., "Height of each part, along the motion", gt=0)
    noise_weights: list[float] = parameter(..., "Weight of each part", ge=0)
    noise_own: float = parameter(..., "Share of the noise that no other contact sees", gt=0, le=1)
    noise_levels: list[float] = parameter(..., "Noise level of each channel, relative to their mean", gt=0)
    tissue: list[list[list[float]]] = parameter(
        [],
        "Factors of the spikes' covariance in each patch of tissue, at its points; none: the same everywhere",
    )

    @model_validator(mode="after")
    def _as_many_of_each(self) -> Self:
        for name in ("spikes", "noise"):
            widths, heights, weights = (getattr(self, f"{name}_{key}") for key in PARTS)
            if not len(widths) == len(heights) == len(weights):
                self.refuse(f"{name}_weights", f"as many as {name}_widths_um and {name}_heights_um")
        if not sum(self.spikes_weights) > 0:
            self.refuse("spikes_weights", "one above 0 at least")
        return self

    @classmethod
    def from_mixtures(
        cls, spikes: Mixture, noise: Mixture, levels: np.ndarray, tissue: list[np.ndarray]
    ) -> TraceCovariance:
        """Write two mixtures, the noise level of each channel, and factors of patches, as plain numbers."""
        values: dict[str, Any] = {}
        for name, mixture in (("spikes", spikes), ("noise", noise)):
            columns = (*mixture.lengths_um.T, mixture.weights)
            values |= {f"{name}_{key}": column.tolist() for key, column in zip(PARTS, columns, strict=True)}
        own = max(noise.own, LEAST_OWN_NOISE)
        factors = [np.round(one, DECIMALS).tolist() for one in tissue]
        return cls.of(**values, noise_own=own, noise_levels=(levels / levels.mean()).tolist(), tissue=factors)

    def _mixture(self, name: str, own: float = 0.0) -> Mixture:
        widths, heights, weights = (np.array(getattr(self, f"{name}_{key}")) for key in PARTS)
        return Mixture(np.stack([widths, heights], axis=1), weights, own)

    def weights(self, positions, dimension, extrapolate, targets, dtype) -> WienerWeights:
        """Weights of contacts (num_channels, num_dimensions) that move along a dimension, for some of them."""
        if len(self.noise_levels) != len(positions):
            refuse("noise_levels", self.noise_levels, f"{len(positions)}, one for each channel", self.part)
        arguments = (
            positions,
            dimension,
            self._mixture("spikes"),
            self._mixture("noise", self.noise_own),
            np.array(self.noise_levels),
            targets,
            dtype,
            extrapolate,
        )
        if not self.tissue:
            return WienerWeights(*arguments)
        return TissueWeights(*arguments, factors=self._factors(Tissue(positions, dimension)))

    def _factors(self, tissue: Tissue) -> list[np.ndarray]:
        num_patches, num_points = len(tissue.depths), len(tissue.points)
        fits = {len(factor) == num_points for patch in self.tissue for factor in patch}
        if len(self.tissue) != num_patches or not fits <= {True}:
            allowed = f"factors of {num_patches} patches of {num_points} points, or none"
            refuse("tissue", self.tissue, allowed, self.part)
        return [np.reshape(patch, (-1, num_points)) for patch in self.tissue]


@threadpool_limits.wrap(limits=1, user_api="blas")
def covariance_of(
    recording: Any, positions: np.ndarray, dimension: int, motion: Any, part: str
) -> TraceCovariance:
    """Fit the covariances of spikes and noise to a recording, of which up to 40 s are read.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with spikes.
    positions : array (num_channels, num_dimensions)
        Contacts in um.
    dimension : int
        Along which they move.
    motion : Motion
        How the tissue moves.
    part : str
        Who asks, for the warning where there are too few spikes to fit.
    """
    tissue = TissueMoments(Tissue(positions, dimension))
    moments = TraceMoments(positions, dimension, recording.sampling_frequency, tissue)
    for traces, segment, time_s in _chunks(recording):
        times = np.full(len(positions), time_s)
        moments.add(
            traces, motion.get_displacement_at_time_and_depth(times, positions[:, dimension], segment)
        )
        if moments.num_spikes >= ENOUGH_SPIKES * len(positions):
            break
    across, along = separations(positions, dimension)
    spikes, noise = moments.means()
    levels = np.sqrt(np.diag(noise))
    heard = levels > 0
    levels[~heard] = levels[heard].mean() if heard.any() else 1.0
    signal_fit, noise_fit = _default_signal(positions), Mixture(np.empty((0, 2)), np.empty(0), 1.0)
    if heard.any():
        correlation = noise / np.outer(levels, levels)
        counts = moments.counts["noise"] * np.outer(heard, heard)
        noise_fit = fit_mixture(correlation, counts, across, along, own=True) or noise_fit
    if moments.num_spikes >= FEWEST_SPIKES:
        signal_fit = fit_mixture(spikes, moments.counts["spikes"], across, along) or signal_fit
    else:
        warnings.warn(
            f"{part}: {moments.num_spikes} spikes in the {moments.num_samples / recording.sampling_frequency:.1f} s "
            "that were read are too few to fit their covariance; the weights are those of a general footprint. "
            "Filter the recording first, or give covariance= of a similar recording",
            stacklevel=4,
        )
    return TraceCovariance.from_mixtures(
        signal_fit, noise_fit, levels, _fit_tissue(tissue, signal_fit, noise_fit, levels)
    )


def _fit_tissue(
    moments: TissueMoments, signal: Mixture, noise: Mixture, levels: np.ndarray
) -> list[np.ndarray]:
    """Factors of each patch; none at all where the contacts form no columns."""
    tissue = moments.tissue
    if not len(tissue.points):
        return []
    between = noise_between(noise, tissue.positions, tissue.dimension, levels)
    lattice = Lattice(tissue, signal)
    factors = [fit_patch(moments.means(patch), lattice, between) for patch in range(len(tissue.depths))]
    return factors if any(map(len, factors)) else []


def _default_signal(positions) -> Mixture:
    length = DEFAULT_LENGTH_UM
    if len(positions) > 1:
        length = max(length, DEFAULT_LENGTH_PITCHES * float(np.median(distance_to_nearest(positions))))
    return Mixture(np.array([[length, length]]), np.ones(1))


def _chunks(recording) -> Iterator[tuple[np.ndarray, int, float]]:
    """Traces of chunks spread evenly over the samples of all segments, with segment and time of their middles."""
    sizes = [recording.get_num_samples(index) for index in range(recording.get_num_segments())]
    ends = np.cumsum(sizes)
    length = min(round(CHUNK_S * recording.sampling_frequency), max(sizes))
    number = min(NUM_CHUNKS, int(ends[-1]) // max(length, 1))
    starts = np.linspace(0, ends[-1] - length, number).astype(int)
    order = CHUNK_STEP * np.arange(NUM_CHUNKS) % NUM_CHUNKS
    for start in starts[order[order < number]]:
        segment = int(np.searchsorted(ends, start, side="right"))
        first = start - (ends[segment] - sizes[segment])
        traces = recording.get_traces(segment, first, min(first + length, sizes[segment]))
        if len(traces):
            middle = recording.sample_index_to_time(first + len(traces) // 2, segment_index=segment)
            yield traces, segment, float(middle)
