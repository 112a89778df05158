"""Weights of the templates of "grid_convolution"."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
from spikeinterface.postprocessing import localization_tools

from steadyspike.acceleration.calls import NotCoveredError
from steadyspike.kernels.template_weights import sparse_weights

DEFAULTS: dict[str, Any] = {
    name: parameter.default
    for name, parameter in inspect.signature(localization_tools.get_convolution_weights).parameters.items()
}


def convolution_weights(
    distances: np.ndarray,
    z_list_um: Any = DEFAULTS["z_list_um"],
    sigma_list_um: Any = DEFAULTS["sigma_list_um"],
    sparsity_threshold: float | None = None,
    sigma_3d: float = 2.5,
    mode: str = "exponential_3d",
) -> tuple[np.ndarray, Any]:
    """Do what `get_convolution_weights` does.

    Covered: thresholds of sparsity from 1e-6 to 1, positive scales.
    """
    distances = np.asarray(distances)
    if mode not in ("exponential_3d", "gaussian_2d"):
        raise NotCoveredError(f"mode={mode!r}")
    if distances.dtype != np.float64 or distances.ndim != 2 or not distances.size:
        raise NotCoveredError(f"distances of {distances.dtype}")
    threshold = 0.5 / np.sqrt(distances.shape[0]) if sparsity_threshold is None else sparsity_threshold
    if not 1e-6 <= threshold <= 1:
        raise NotCoveredError(f"sparsity_threshold={sparsity_threshold}")
    spread = mode == "gaussian_2d"
    factors = sigma_list_um if spread else z_list_um
    planes = np.asarray(factors, dtype=np.float64)
    scales = planes if spread else np.array([sigma_3d])
    if planes.ndim != 1 or not np.isfinite(planes).all() or not (scales > 0).all():
        raise NotCoveredError("scales that are not above 0")
    return sparse_weights(distances, planes, float(sigma_3d), spread, threshold), factors
