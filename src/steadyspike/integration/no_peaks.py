"""Locations of no peaks: SpikeInterface's pipeline has nothing to join then, and raises."""

from __future__ import annotations

from typing import Any

import numpy as np


def no_locations(
    recording: Any, peaks: np.ndarray, method_kwargs: dict[str, Any] | None = None, **given: Any
) -> np.ndarray:
    """Return what `localize_peaks` should for no peaks, after the method has checked its arguments.

    Parameters
    ----------
    recording, peaks, method_kwargs, **given
        As of `localize_peaks`; others than the method's and the window's do not matter.
    """
    from spikeinterface.core.node_pipeline import PeakRetriever
    from spikeinterface.sortingcomponents.peak_localization import get_localization_pipeline_nodes

    arguments = {"method": given.get("method"), **(method_kwargs or {})}
    method = arguments.pop("method") or "center_of_mass"
    if method == "grid_convolution":
        # it would be made of peaks
        arguments.setdefault("prototype", np.ones(1, dtype="float32"))
        arguments.pop("n_peaks", None)
    window = {name: given[name] for name in ("ms_before", "ms_after") if name in given}
    source = PeakRetriever(recording, peaks)
    nodes = get_localization_pipeline_nodes(recording, source, peaks, method, arguments, **window)
    return np.zeros(0, dtype=nodes[-1].get_dtype())
