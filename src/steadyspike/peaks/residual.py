"""Localization of sorted spikes after the other units' templates are taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core.node_pipeline import SpikeRetriever, WaveformsNode, run_node_pipeline

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.core.voltage import voltage_signs

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting


class ResidualSettings(Settings):
    """Parameters of `localize_residual`."""

    part = "localize_residual"

    nbefore: int | None = parameter(
        None, "Samples of `templates` before the spike's; needed with `templates`", ge=0
    )
    method: str = parameter(
        "steady_denoised_monopolar",
        "Of SpikeInterface's localization methods",
        allowed="a localization method",
    )
    method_kwargs: dict[str, Any] | None = parameter(
        None, "Arguments of the method", type_doc="dict or None", allowed="a dict, or None"
    )
    ms_before: float = parameter(
        1.0,
        "Of the waveforms, before the spike. The window has to cover that of the method's model",
        unit="ms",
        gt=0,
    )
    ms_after: float = parameter(2.0, "Of the waveforms, from the spike on", unit="ms", gt=0)


class ResidualWaveforms(WaveformsNode):
    """Waveforms of sorted spikes, without what other spikes add to them.

    The traces that it reads are a residual: every spike's template is taken away. Each spike gets its own template
    back: ``waveform = residual + own template``.

    The parent is a `SpikeRetriever`. `templates` (num_units, num_samples, num_channels), in the unit of the traces,
    have `templates_before` samples before the spike's; the waveforms have `nbefore`, and `nafter` from it on.
    """

    def __init__(self, residual, parents, templates, templates_before, nbefore, nafter, return_output=False):
        WaveformsNode.__init__(
            self, residual, nbefore=nbefore, nafter=nafter, parents=parents, return_output=return_output
        )
        templates = np.asarray(templates, dtype="float32")
        # the part of the templates inside the window; zero where it reaches beyond them
        self.templates = np.zeros((len(templates), nbefore + nafter, templates.shape[2]), dtype="float32")
        first = nbefore - templates_before
        start, stop = max(first, 0), min(first + templates.shape[1], nbefore + nafter)
        self.templates[:, start:stop] = templates[:, start - first : stop - first]
        self._kwargs.update(templates=templates, templates_before=templates_before)

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return max(self.nbefore, self.nafter)

    def compute(self, traces, spikes):
        """Give the waveforms of one chunk's spikes, of shape (num_spikes, nbefore + nafter, num_channels)."""
        around = spikes["sample_index"][:, np.newaxis] + np.arange(-self.nbefore, self.nafter)
        return traces[around] + self.templates[spikes["unit_index"]]


@takes(ResidualSettings)
def localize_residual(
    recording: BaseRecording,
    sorting: BaseSorting,
    templates: np.ndarray | None = None,
    *,
    settings: ResidualSettings,
    **job_kwargs: Any,
) -> np.ndarray:
    """Localize the spikes of a sorting on traces from which the templates of all other spikes are taken away.

    A spike that overlaps with another of a nearby unit is drawn to it by any localization. The residual of the
    recording, less the template of every spike, plus the spike's own template, has no other spike in it, as far as the
    sorting is right and spikes are as their templates.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions; the templates must not drift.
    sorting : BaseSorting
        Of the same segments.
    templates : ndarray or None, default: None
        Shape (num_units, num_samples, num_channels), in the unit of the traces; None: mean waveforms of the sorting,
        of the window of `ms_before` and `ms_after`.
    {settings}
    **job_kwargs
        Of SpikeInterface.

    Returns
    -------
    locations : ndarray, shape (num_spikes,)
        In the order of ``sorting.to_spike_vector()``; fields as the method gives them, in um.

    Raises
    ------
    ValueError
        For an unknown method, templates of another shape, or a window that is too short.

    References
    ----------
    Lee et al., "YASS: yet another spike sorter", NeurIPS 2017, for the subtraction of templates before a spike's
    waveform is looked at.
    """
    from spikeinterface.core.core_tools import ms_to_samples
    from spikeinterface.core.generate import InjectTemplatesRecording
    from spikeinterface.core.job_tools import fix_job_kwargs

    from steadyspike.library.presets.checks import provided

    method, nbefore = settings.method, settings.nbefore
    if method not in provided().localizers():
        settings.refuse("method", ", ".join(provided().localizers()))
    window = tuple(
        ms_to_samples(ms, recording.sampling_frequency) for ms in (settings.ms_before, settings.ms_after)
    )
    job_kwargs = fix_job_kwargs(job_kwargs)
    if templates is None:
        templates, nbefore = _mean_waveforms(recording, sorting, window, job_kwargs), window[0]
    templates = np.asarray(templates, dtype="float32")
    shape = (len(sorting.unit_ids), recording.get_num_channels())
    if templates.ndim != 3 or (templates.shape[0], templates.shape[2]) != shape:
        allowed = f"templates of {shape[0]} units, with samples, on {shape[1]} channels"
        refuse(f"templates of shape {templates.shape}", templates, allowed, settings.part)
    if nbefore is None:
        settings.refuse("nbefore", "the samples of `templates` before the spike's, 0 or more")
    traces = recording if recording.get_dtype().kind == "f" else recording.astype("float32")
    residual = InjectTemplatesRecording(sorting, -templates, nbefore=nbefore, parent_recording=traces)
    spikes = _with_main_channels(sorting, recording, templates)
    source = SpikeRetriever(spikes, residual)
    waveforms = ResidualWaveforms(residual, [source], templates, nbefore, *window)
    localizer = provided().localizers()[method](
        residual, parents=[source, waveforms], **(settings.method_kwargs or {})
    )
    located: np.ndarray = run_node_pipeline(
        residual, [source, waveforms, localizer], job_kwargs, job_name=f"localize residual ({method})"
    )
    return located


def _mean_waveforms(
    recording: BaseRecording, sorting: BaseSorting, window: tuple[int, ...], job_kwargs: dict[str, Any]
) -> np.ndarray:
    from spikeinterface.core.waveform_tools import estimate_templates

    found: np.ndarray = estimate_templates(
        recording, sorting.to_spike_vector(), sorting.unit_ids, *window, return_in_uV=False, **job_kwargs
    )
    return found


def _with_main_channels(sorting: BaseSorting, recording: BaseRecording, templates: np.ndarray) -> BaseSorting:
    """Copy of a sorting whose units know the channel on which their template is deepest."""
    from spikeinterface.core import NumpySorting

    main = (templates * voltage_signs(recording)).min(axis=1).argmin(axis=1)
    spikes = NumpySorting(sorting.to_spike_vector(), sorting.sampling_frequency, sorting.unit_ids)
    spikes.set_property("main_channel_id", recording.channel_ids[main])
    return spikes
