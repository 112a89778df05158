"""Measures of a sorting; the names below are loaded when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.metrics.drift import (
        DriftMetrics,
        compare_drift_metrics,
        drift_metrics,
        drift_metrics_from_spikes,
    )

__all__ = ["DriftMetrics", "compare_drift_metrics", "drift_metrics", "drift_metrics_from_spikes"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'steadyspike.metrics' has no attribute {name!r}")
    return getattr(import_module("steadyspike.metrics.drift"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
