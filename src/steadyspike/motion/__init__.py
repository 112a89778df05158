"""Motion estimators, and tools for motions; the names below are loaded when they are first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.motion.comparison import MotionComparison, compare_motions
    from steadyspike.motion.exchange import load_motion, save_motion
    from steadyspike.motion.online import OnlineMotionEstimator
    from steadyspike.motion.tools import (
        compose_motions,
        invert_motion,
        resample_motion,
        restrict_motion,
        smooth_motion,
    )

_MODULES = {
    "MotionComparison": "steadyspike.motion.comparison",
    "OnlineMotionEstimator": "steadyspike.motion.online",
    "compare_motions": "steadyspike.motion.comparison",
    "compose_motions": "steadyspike.motion.tools",
    "invert_motion": "steadyspike.motion.tools",
    "load_motion": "steadyspike.motion.exchange",
    "resample_motion": "steadyspike.motion.tools",
    "restrict_motion": "steadyspike.motion.tools",
    "save_motion": "steadyspike.motion.exchange",
    "smooth_motion": "steadyspike.motion.tools",
}

__all__ = [
    "MotionComparison",
    "OnlineMotionEstimator",
    "compare_motions",
    "compose_motions",
    "invert_motion",
    "load_motion",
    "resample_motion",
    "restrict_motion",
    "save_motion",
    "smooth_motion",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'steadyspike.motion' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
