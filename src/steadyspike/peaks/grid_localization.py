"""Localization of peaks on a grid of templates: SpikeInterface's pipeline node around the compiled kernel."""

import functools
import inspect
from typing import Any, Literal

import numpy as np
from pydantic import field_validator
from spikeinterface.postprocessing.localization_tools import get_convolution_weights

from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.kernels.spikes.grid_convolution import locate_on_grid
from steadyspike.kernels.spikes.local_grids import build_local_grids
from steadyspike.peaks.node import LocalizeSteady, check_samples

WEIGHT_DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(get_convolution_weights).parameters.items()
    if parameter.default is not parameter.empty
}
# all contacts that are left out of a template hold less than this fraction of its largest weight
NEGLIGIBLE_WEIGHT = 1e-6


class ConvolutionWeights(Settings):
    """Arguments of SpikeInterface's `get_convolution_weights`, with its defaults."""

    part = "steady_grid_convolution: weight_method"

    mode: Literal["exponential_3d", "gaussian_2d"] = parameter(
        WEIGHT_DEFAULTS["mode"], 'Fall of the weights with distance; "gaussian_2d" is Kilosort\'s'
    )
    z_list_um: float | list[float] = parameter(
        WEIGHT_DEFAULTS["z_list_um"].tolist(),
        'Distances from the probe, for "exponential_3d"',
        unit="um",
        ge=0,
        allowed="one or more numbers >= 0, in um",
    )
    sigma_3d: float = parameter(
        WEIGHT_DEFAULTS["sigma_3d"], 'Length of the decay, for "exponential_3d"', unit="um", gt=0
    )
    sigma_list_um: float | list[float] = parameter(
        WEIGHT_DEFAULTS["sigma_list_um"].tolist(),
        'Standard deviations, for "gaussian_2d"',
        unit="um",
        gt=0,
        allowed="one or more numbers > 0, in um",
    )
    sparsity_threshold: float | None = parameter(
        WEIGHT_DEFAULTS["sparsity_threshold"],
        "Weights below it become 0; None: half the root of the number of contacts, inverted",
        ge=0,
        le=1,
    )

    @field_validator("z_list_um", "sigma_list_um", mode="after")
    @classmethod
    def _one_or_more(cls, values):
        if isinstance(values, list) and not values:
            raise ValueError("empty")
        return values

    def arguments(self) -> dict[str, Any]:
        """Return them as `get_convolution_weights` takes them."""
        lists = ("z_list_um", "sigma_list_um")
        return {**self.values(), **{name: np.atleast_1d(getattr(self, name)) for name in lists}}


class GridConvolutionSettings(Settings):
    """Parameters of `LocalizeSteadyGridConvolution`."""

    part = "steady_grid_convolution"

    radius_um: float = parameter(40.0, "Templates this near to the main channel take part", unit="um", gt=0)
    upsampling_um: float = parameter(5.0, "Step of the grid of templates", unit="um", gt=0)
    sigma_ms: float = parameter(
        0.25, "Standard deviation of the Gaussian prototype. Not used with `prototype`", unit="ms", gt=0
    )
    margin_um: float = parameter(50.0, "How far the grid goes beyond the outermost contacts", unit="um", ge=0)
    prototype: Any = parameter(
        None,
        "Expected waveform, one finite value per sample of the waveforms; None: a Gaussian at the peak",
        type_doc="np.ndarray or None",
    )
    percentile: float = parameter(
        5.0, "Percentage of the best fits that are averaged; 0: the best alone", ge=0, le=100
    )
    peak_sign: Literal["neg", "pos"] = parameter(
        "neg", "Sign of the Gaussian prototype. Not used with `prototype`"
    )
    weight_method: dict[str, Any] = parameter(
        {},
        """Arguments of SpikeInterface's `get_convolution_weights`: "mode" ("exponential_3d", the default, or
        "gaussian_2d" as in Kilosort), "z_list_um" and "sigma_3d" for the first mode, "sigma_list_um" for the second,
        "sparsity_threshold" (0 to 1)""",
        type_doc="dict",
        allowed=", ".join(
            f"{name} ({ConvolutionWeights.allowed(name)})" for name in ConvolutionWeights.model_fields
        ),
    )

    @field_validator("weight_method", mode="after")
    @classmethod
    def _weights(cls, given):
        ConvolutionWeights.of(**given)
        return given


@document
class LocalizeSteadyGridConvolution(LocalizeSteady):
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
    {settings}

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
    params_doc = GridConvolutionSettings.params_doc()

    @takes(GridConvolutionSettings)
    def __init__(self, recording, parents, return_output=True, settings=None):
        weighting = ConvolutionWeights.of(**settings.weight_method).arguments()
        parent = self._begin(recording, parents, return_output, "grid_convolution")
        self.radius_um = settings.radius_um
        self.percentile = settings.percentile
        self._kwargs.update(settings.saved())
        check_samples(parent, self.name)
        self.prototype = self._make_prototype(parent, settings)
        num_channels = len(self.contact_locations)
        self.grids = build_local_grids(
            self.contact_locations,
            functools.partial(get_convolution_weights, **_with_sparsity(weighting, num_channels)),
            settings.radius_um,
            settings.upsampling_um,
            settings.margin_um,
            reach_um=settings.radius_um + _template_reach_um(weighting, settings.radius_um, num_channels),
        )
        self._place(self.grids.contacts, parent.neighbours_mask)
        self._compile(self.prototype.size, int(self.columns.max(initial=-1)) + 1)

    def _make_prototype(self, waveforms_node, settings):
        nbefore, nafter = waveforms_node.nbefore, waveforms_node.nafter
        if settings.prototype is None:
            times_ms = np.arange(-nbefore, nafter) * 1000 / self.recording.get_sampling_frequency()
            sign = -1.0 if settings.peak_sign == "neg" else 1.0
            return sign * np.exp(-(times_ms**2) / (2 * settings.sigma_ms**2))
        given = np.asarray(settings.prototype, dtype=np.float64)
        if given.shape != (nbefore + nafter,) or not np.isfinite(given).all() or not given.any():
            settings.refuse(
                "prototype",
                f"one finite value for each of the {nbefore + nafter} samples of the waveforms, not all zero",
            )
        return given

    def compute(self, traces, peaks, waveforms=None):
        """Localize the peaks of one chunk.

        Fields of the output: x, y, z (um). With the weights "gaussian_2d", z is the mean standard deviation of the
        templates.
        """
        spikes, columns = self._spikes(traces, peaks, waveforms)
        located = locate_on_grid(
            spikes,
            peaks["channel_index"],
            columns,
            self.contact_locations,
            self.prototype,
            self.grids,
            self.percentile,
        )
        return self._located(located)


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
