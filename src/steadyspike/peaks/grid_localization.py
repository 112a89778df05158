"""Localization of peaks on a grid of templates: SpikeInterface's pipeline node around the compiled kernel."""

import functools
import inspect

import numpy as np
from spikeinterface.core.node_pipeline import PipelineNode, WaveformsNode, find_parent_of_type
from spikeinterface.postprocessing.localization_tools import get_convolution_weights
from spikeinterface.postprocessing.unit_locations import dtype_localize_by_method
from spikeinterface.sortingcomponents.peak_localization.base import LocalizeBase

from steadyspike.kernels.spikes.contact_features import neighbour_columns
from steadyspike.kernels.spikes.grid_convolution import locate_on_grid
from steadyspike.kernels.spikes.local_grids import build_local_grids

PEAK_SIGNS = ("neg", "pos")
MODES = ("exponential_3d", "gaussian_2d")
WEIGHT_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(get_convolution_weights).parameters.items()
    if parameter.default is not parameter.empty
}
# all contacts that are left out of a template hold less than this fraction of its largest weight
NEGLIGIBLE_WEIGHT = 1e-6


class LocalizeSteadyGridConvolution(LocalizeBase):
    """Localize peaks by comparison with templates on a grid, all peaks of a chunk in one compiled call.

    The method, the weights and the results are those of SpikeInterface's "grid_convolution". Each contact's
    waveform is projected on a prototype; each template, a source at a grid point at one of a few distances
    from the probe, is compared with the projections; the best few percent are averaged, weighted by their fit.

    Two things differ. `localize_peaks` estimates a prototype from the data for a method called
    "grid_convolution" only, so here the Gaussian is used unless a `prototype` is given (`compute_motion` uses
    the Gaussian for both). And a peak that fits no template is placed on its main channel, in the nearest
    plane, where SpikeInterface places it at the origin of the probe.

    Parameters
    ----------
    recording : BaseRecording
        The recording, with contact positions.
    parents : list of PipelineNode
        The peak source and a `WaveformsNode`, dense or sparse.
    return_output : bool, default: True
        Whether the pipeline returns the locations.
    radius_um : float, default: 40.0
        Templates this near to the main channel take part, in um; above 0.
    upsampling_um : float, default: 5.0
        Step of the grid, in um; above 0.
    sigma_ms : float, default: 0.25
        Standard deviation of the Gaussian prototype, in ms; above 0. Not used with `prototype`.
    margin_um : float, default: 50.0
        How far the grid goes beyond the outermost contacts, in um; not negative.
    prototype : np.ndarray | None, default: None
        Expected waveform, one value per sample of the waveforms, finite; None for a Gaussian at the peak.
    percentile : float, default: 5.0
        Percentage of the best fits that are averaged, 0 (the best alone) to 100.
    peak_sign : "neg" | "pos", default: "neg"
        Sign of the Gaussian prototype. Not used with `prototype`.
    weight_method : dict, default: {}
        Arguments of SpikeInterface's `get_convolution_weights`: "mode" ("exponential_3d", the default, or
        "gaussian_2d" as in Kilosort), "z_list_um" and "sigma_3d" for the first mode, "sigma_list_um" for the
        second, "sparsity_threshold" (0 to 1).

    Raises
    ------
    ValueError
        For a parameter outside its range, or contact positions that are not finite.
    TypeError
        Without a `WaveformsNode` among the parents.

    References
    ----------
    Pachitariu, Sridhar, Pennington, Stringer, "Spike sorting with Kilosort4", Nature Methods 2024.
    """

    name = "steady_grid_convolution"
    params_doc = """
    radius_um : float, default: 40.0
        Templates this near to the main channel take part, in um.
    upsampling_um : float, default: 5.0
        Step of the grid of templates, in um.
    sigma_ms : float, default: 0.25
        Standard deviation of the Gaussian prototype, in ms.
    margin_um : float, default: 50.0
        How far the grid goes beyond the outermost contacts, in um.
    prototype : np.ndarray | None, default: None
        Expected waveform, one value per sample of the waveforms; None for a Gaussian at the peak.
    percentile : float, default: 5.0
        Percentage of the best fits that are averaged, 0 to 100.
    peak_sign : "neg" | "pos", default: "neg"
        Sign of the Gaussian prototype.
    weight_method : dict, default: {}
        Arguments of `get_convolution_weights`: mode ("exponential_3d" or "gaussian_2d"), z_list_um, sigma_3d,
        sigma_list_um, sparsity_threshold.
    """

    def __init__(
        self,
        recording,
        parents,
        return_output=True,
        radius_um=40.0,
        upsampling_um=5.0,
        sigma_ms=0.25,
        margin_um=50.0,
        prototype=None,
        percentile=5.0,
        peak_sign="neg",
        weight_method={},  # noqa: B006 as SpikeInterface's; never changed
    ):
        _check_numbers(radius_um, upsampling_um, sigma_ms, margin_um, percentile)
        if peak_sign not in PEAK_SIGNS:
            raise ValueError(f"peak_sign is {peak_sign!r}; allowed are {', '.join(map(repr, PEAK_SIGNS))}")
        weighting = _checked_weight_method(weight_method)
        if not np.isfinite(recording.get_channel_locations()).all():
            raise ValueError(
                "recording has contact positions that are NaN or infinite; allowed are finite ones"
            )
        # not LocalizeBase.__init__: it keeps two channels x channels matrices that nothing here needs
        PipelineNode.__init__(self, recording, return_output=return_output, parents=parents)
        self.recording = recording
        self.contact_locations = recording.get_channel_locations()
        self.radius_um = radius_um
        self.percentile = percentile
        self._kwargs.update(
            radius_um=radius_um,
            upsampling_um=upsampling_um,
            sigma_ms=sigma_ms,
            margin_um=margin_um,
            prototype=prototype,
            percentile=percentile,
            peak_sign=peak_sign,
            weight_method=weight_method,
        )
        self._dtype = np.dtype(dtype_localize_by_method["grid_convolution"])
        waveforms_node = find_parent_of_type(self.parents, WaveformsNode)
        if waveforms_node is None:
            raise TypeError(f"{self.name} needs a {WaveformsNode.__name__} among its parents")
        self.prototype = self._make_prototype(waveforms_node, prototype, sigma_ms, peak_sign)
        num_channels = len(self.contact_locations)
        self.grids = build_local_grids(
            self.contact_locations,
            functools.partial(get_convolution_weights, **_with_sparsity(weighting, num_channels)),
            radius_um,
            upsampling_um,
            margin_um,
            reach_um=radius_um + _template_reach_um(weighting, radius_um, num_channels),
        )
        self.columns = neighbour_columns(self.grids.contacts, waveforms_node.neighbours_mask)
        self._compile(recording.get_dtype())

    def _make_prototype(self, waveforms_node, prototype, sigma_ms, peak_sign):
        nbefore, nafter = waveforms_node.nbefore, waveforms_node.nafter
        if prototype is None:
            times_ms = np.arange(-nbefore, nafter) * 1000 / self.recording.get_sampling_frequency()
            sign = -1.0 if peak_sign == "neg" else 1.0
            return sign * np.exp(-(times_ms**2) / (2 * sigma_ms**2))
        given = np.asarray(prototype, dtype=np.float64)
        if given.shape != (nbefore + nafter,) or not np.isfinite(given).all() or not given.any():
            raise ValueError(
                f"prototype has shape {given.shape} and values {given}; allowed is one finite value for each of "
                f"the {nbefore + nafter} samples of the waveforms, not all zero"
            )
        return given

    def _compile(self, dtype):
        """Compile (or load) the kernel once, before SpikeInterface starts workers that would each do so."""
        no_peaks = np.zeros(0, dtype=[("channel_index", "int64")])
        num_columns = int(self.columns.max(initial=-1)) + 1
        self.compute(None, no_peaks, np.zeros((0, self.prototype.size, num_columns), dtype=dtype))

    def compute(self, traces, peaks, waveforms):
        """Localize the peaks of one chunk.

        Parameters
        ----------
        traces : np.ndarray
            Not used; the pipeline hands it to every node.
        peaks : np.ndarray
            The peaks; the field "channel_index" is read.
        waveforms : np.ndarray
            Shape (num_peaks, num_samples, num_channels), or the sparse layout of the parent.

        Returns
        -------
        np.ndarray
            One row per peak with the fields x, y, z (um). With the weights "gaussian_2d", z is the mean
            standard deviation of the templates.
        """
        located = locate_on_grid(
            waveforms,
            peaks["channel_index"],
            self.columns,
            self.contact_locations,
            self.prototype,
            self.grids,
            self.percentile,
        )
        locations = np.empty(len(located), dtype=self._dtype)
        for column, field in enumerate(self._dtype.names or ()):
            locations[field] = located[:, column]
        return locations


def _check_numbers(radius_um, upsampling_um, sigma_ms, margin_um, percentile):
    positive = {"radius_um": radius_um, "upsampling_um": upsampling_um, "sigma_ms": sigma_ms}
    for name, value in positive.items():
        if not 0 < value < np.inf:
            raise ValueError(f"{name} is {value}; allowed is a finite number above 0")
    if not 0 <= margin_um < np.inf:
        raise ValueError(f"margin_um is {margin_um}; allowed is a finite number of at least 0")
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentile is {percentile}; allowed is 0 to 100")


def _checked_weight_method(weight_method):
    """Return the arguments of `get_convolution_weights` with its defaults filled in."""
    unknown = sorted(set(weight_method) - set(WEIGHT_DEFAULTS))
    if unknown:
        raise ValueError(f"weight_method has {unknown}; allowed are {', '.join(map(repr, WEIGHT_DEFAULTS))}")
    weighting = {**WEIGHT_DEFAULTS, **weight_method}
    if weighting["mode"] not in MODES:
        raise ValueError(
            f"weight_method has mode {weighting['mode']!r}; allowed are {', '.join(map(repr, MODES))}"
        )
    for name, lowest in (("z_list_um", "at least"), ("sigma_list_um", "above")):
        values = weighting[name] = np.atleast_1d(np.asarray(weighting[name], dtype=np.float64))
        fits = values >= 0 if lowest == "at least" else values > 0
        if values.ndim != 1 or values.size == 0 or not (fits & (values < np.inf)).all():
            raise ValueError(
                f"weight_method has {name} {values}; allowed are one or more finite numbers {lowest} 0"
            )
    if not 0 < weighting["sigma_3d"] < np.inf:
        raise ValueError(
            f"weight_method has sigma_3d {weighting['sigma_3d']}; allowed is a finite number above 0"
        )
    threshold = weighting["sparsity_threshold"]
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"weight_method has sparsity_threshold {threshold}; allowed is 0 to 1, or None")
    return weighting


def _with_sparsity(weighting, num_channels):
    """Fill in the threshold that SpikeInterface takes for a whole probe; a local grid sees fewer contacts."""
    if weighting["sparsity_threshold"] is not None:
        return weighting
    return {**weighting, "sparsity_threshold": 0.5 / np.sqrt(num_channels)}


def _template_reach_um(weighting, radius_um, num_channels):
    """Distance from a template beyond which all contacts together have no weight to speak of.

    The weights fall off with the distance ``d`` as ``exp(-sqrt(d^2 + z^2) / sigma)`` or as
    ``exp(-d^2 / (2 sigma^2))``, and the main channel is at `radius_um` or nearer.
    """
    decay = np.log(np.sqrt(num_channels) / NEGLIGIBLE_WEIGHT)
    if weighting["mode"] == "gaussian_2d":
        return float(np.sqrt(radius_um**2 + 2 * weighting["sigma_list_um"].max() ** 2 * decay))
    z = weighting["z_list_um"].max()
    return float(np.sqrt((np.hypot(radius_um, z) + weighting["sigma_3d"] * decay) ** 2 - z**2))
