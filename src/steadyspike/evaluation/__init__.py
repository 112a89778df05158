"""Measures of a sorting and of denoising; the names below are loaded when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation
    from steadyspike.evaluation.denoising.result import DenoisingEvaluation
    from steadyspike.evaluation.drift import (
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
    "DenoisingEvaluation": "steadyspike.evaluation.denoising.result",
    "evaluate_deepinterpolation": "steadyspike.evaluation.denoising.evaluate",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'steadyspike.evaluation' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "steadyspike.evaluation.drift")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
