"""Measures of a sorting and of denoising; the names below are loaded when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.metrics.denoising import evaluate_deepinterpolation
    from steadyspike.metrics.denoising_result import DenoisingEvaluation
    from steadyspike.metrics.drift import (
        DriftMetrics,
        compare_drift_metrics,
        drift_metrics,
        drift_metrics_from_spikes,
    )

__all__ = [
    "DenoisingEvaluation",
    "DriftMetrics",
    "compare_drift_metrics",
    "drift_metrics",
    "drift_metrics_from_spikes",
    "evaluate_deepinterpolation",
]

_MODULES = {
    "DenoisingEvaluation": "steadyspike.metrics.denoising_result",
    "evaluate_deepinterpolation": "steadyspike.metrics.denoising",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'steadyspike.metrics' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "steadyspike.metrics.drift")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
