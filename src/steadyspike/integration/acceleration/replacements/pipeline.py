"""Localization in SpikeInterface's pipeline, straight from the traces.

Localizers look at a few channels of each spike, but the waveforms that they are given hold all, which takes longer to
copy than the spikes take to localize. Where nothing else wants these waveforms they are not made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, PipelineNode

from steadyspike.integration.acceleration import patching
from steadyspike.integration.acceleration.calls import NotCoveredError, measured, upstreams_own
from steadyspike.integration.acceleration.declarations import replaces
from steadyspike.integration.acceleration.replacements.localization import (
    center_of_mass_of,
    determined_channels,
    grid_convolution_of,
    monopolar_triangulation_of,
)
from steadyspike.integration.acceleration.replacements.monopoles import check_solver
from steadyspike.integration.acceleration.replacements.snippets import Snippets, in_traces
from steadyspike.kernels.spikes.spike_snippets import DTYPES

LOCALIZERS: dict[str, Callable[[Any, np.ndarray, Snippets], np.ndarray]] = {
    "center_of_mass": center_of_mass_of,
    "monopolar_triangulation": monopolar_triangulation_of,
    "grid_convolution": grid_convolution_of,
}
MODULE = "spikeinterface.sortingcomponents.peak_localization."


class NoWaveforms(PipelineNode):
    """Stand in for `ExtractDenseWaveforms` where its waveforms are not read.

    Its margin is that of the extractor, so that the traces reach as far.
    """

    def __init__(self, extractor: Any):
        super().__init__(extractor.time_series, return_output=False, parents=extractor.parents)
        self.extractor = extractor

    def get_margin(self) -> int:
        """Samples that are read beyond each end of a chunk."""
        return int(self.extractor.get_margin())

    def compute(self, traces: np.ndarray, peaks: np.ndarray) -> None:
        """Make no waveforms."""


class LocalizerInTraces(PipelineNode):
    """Localize as a node of SpikeInterface's does, by the samples in the traces.

    The extractor says how far the waveforms reach; the parents are the source of peaks, and `NoWaveforms`.
    """

    def __init__(self, localizer: Any, extractor: Any, parents: list[PipelineNode]):
        super().__init__(localizer.time_series, return_output=localizer.return_output, parents=parents)
        self.localizer, self.extractor = localizer, extractor

    def get_dtype(self) -> Any:
        """Return the type of the locations."""
        return self.localizer.get_dtype()

    def compute(self, traces: np.ndarray, peaks: np.ndarray, waveforms: None) -> np.ndarray:
        """Localize the peaks of a chunk."""
        name = self.localizer.name
        with measured(name) as outcome:
            with outcome.attempt():
                spikes = in_traces(
                    traces, peaks["sample_index"], self.extractor.nbefore, self.extractor.nafter
                )
                return LOCALIZERS[name](self.localizer, peaks, spikes)
            with upstreams_own():
                return self.localizer.compute(traces, peaks, self.extractor.compute(traces, peaks))


@replaces(
    "spikeinterface.core.node_pipeline",
    "_init_peak_pipeline",
    name="node_pipeline",
    sources=("fb5f71f88881895c",),
    helpers=(
        "_compute_peak_pipeline_chunk",
        "PipelineNode.__init__",
        "ExtractDenseWaveforms.__init__",
        "ExtractDenseWaveforms.get_margin",
        "ExtractDenseWaveforms.compute",
    ),
)
def started_pipeline(time_series: Any, nodes: list[Any], skip_after_n_peaks_per_worker: float | None) -> dict:
    """Do what `_init_peak_pipeline` does, with nodes that do the same without dense waveforms.

    Covered: localizers that are accelerated and have all that they want from the source of peaks and a dense extractor,
    which has no other children.
    """
    lean = _lean_nodes(nodes)
    return {
        "time_series": time_series,
        "nodes": lean,
        "max_margin": max(node.get_margin() for node in lean),
        "skip_after_n_peaks_per_worker": skip_after_n_peaks_per_worker,
        "num_peaks": 0,
    }


def _lean_nodes(nodes: list[Any]) -> list[Any]:
    replaced: dict[Any, Any] = {}
    for extractor in nodes:
        if type(extractor) is not ExtractDenseWaveforms:
            continue
        children = [node for node in nodes if extractor in (node.parents or ())]
        if extractor.return_output or not children or not all(_is_lean(node, extractor) for node in children):
            continue
        stand_in = replaced[extractor] = NoWaveforms(extractor)
        for node in children:
            replaced[node] = LocalizerInTraces(node, extractor, [node.parents[0], stand_in])
    if not replaced:
        raise NotCoveredError("no dense waveforms that only accelerated localizers read")
    if any(parent in replaced and node not in replaced for node in nodes for parent in node.parents or ()):
        raise NotCoveredError("other nodes that read locations")
    return [replaced.get(node, node) for node in nodes]


def _is_lean(node: Any, extractor: Any) -> bool:
    """Tell whether a child of a dense extractor is a localizer of SpikeInterface's that is accelerated."""
    kind = type(node)
    if not kind.__module__.startswith(MODULE) or getattr(node, "name", None) not in LOCALIZERS:
        return False
    # the type itself, and only while its method is replaced
    if not patching.is_taken(kind.__module__, f"{kind.__name__}.compute"):
        return False
    num_channels = len(node.contact_locations)
    plain = len(node.parents) == 2 and node.parents[1] is extractor and extractor.parents == [node.parents[0]]
    fits = extractor.nbefore + extractor.nafter > 0 and node.contact_locations.shape[1] == 2
    usual = node.time_series.get_dtype() in DTYPES and node.time_series.get_num_channels() == num_channels
    return bool(
        plain
        and fits
        and usual
        and np.isfinite(node.contact_locations).all()
        and _is_covered(node, extractor)
    )


def _is_covered(node: Any, extractor: Any) -> bool:
    if node.name == "grid_convolution":
        return bool(np.size(node.prototype) == extractor.nbefore + extractor.nafter)
    if node.name == "monopolar_triangulation":
        try:
            check_solver(node.max_distance_um, node.optimizer)
            determined_channels(node)
        except NotCoveredError:
            return False
    return node.feature != "peak_voltage" or extractor.nafter > 0
