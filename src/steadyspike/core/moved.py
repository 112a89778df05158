"""Old paths of public objects, which work for one release with a `DeprecationWarning`.

A module of `MOVED` no longer exists. Importing it gives a stand-in that finds each name in the first of its new modules
that has it. The table names modules as text: nothing is imported before it is used.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

LAST_RELEASE = "0.2"
"""The release in which old paths work for the last time."""

MODELS, HUB = "steadyspike.library.models", "steadyspike.library.hub"
MOVED: dict[str, tuple[str, ...]] = {
    "steadyspike.acceleration": ("steadyspike.integration.acceleration",),
    "steadyspike.acceleration.calls": ("steadyspike.integration.acceleration.calls",),
    "steadyspike.acceleration.switch": ("steadyspike.integration.acceleration.switch",),
    "steadyspike.benchmark": ("steadyspike_benchmarks", "steadyspike.simulation"),
    "steadyspike.benchmark.embedding": ("steadyspike_benchmarks.embedding",),
    "steadyspike.benchmark.motion": ("steadyspike_benchmarks.motion",),
    "steadyspike.benchmark.neural_recordings": (
        "steadyspike.simulation.spiky",
        "steadyspike_benchmarks.neural_recordings",
    ),
    "steadyspike.benchmark.simulate": ("steadyspike.simulation.drift",),
    "steadyspike.benchmark.simulate_denoising": ("steadyspike.simulation.noisy",),
    "steadyspike.benchmark.study_peaks": ("steadyspike_benchmarks.study_peaks",),
    "steadyspike.benchmark.truth": ("steadyspike.simulation.truth",),
    "steadyspike.benchmark.verdicts": ("steadyspike_benchmarks.verdicts",),
    "steadyspike.embedding": ("steadyspike.peaks.clusters",),
    "steadyspike.hub": ("steadyspike.library.sharing", f"{HUB}.client"),
    "steadyspike.hub_reference": (f"{HUB}.reference",),
    "steadyspike.keras_model": (f"{MODELS}.keras.model",),
    "steadyspike.keras_weights": (f"{MODELS}.keras.weights",),
    "steadyspike.legacy": (f"{MODELS}.legacy.waveforms",),
    "steadyspike.legacy_import": (f"{MODELS}.legacy.convert",),
    "steadyspike.legacy_yass": (f"{MODELS}.legacy.yass",),
    "steadyspike.metrics": ("steadyspike.evaluation",),
    "steadyspike.metrics.denoising": ("steadyspike.evaluation.denoising.evaluate",),
    "steadyspike.metrics.detection": ("steadyspike.evaluation.detection",),
    "steadyspike.metrics.drift": ("steadyspike.evaluation.drift",),
    "steadyspike.metrics.spike_classification": ("steadyspike.evaluation.spike_classification",),
    "steadyspike.model_folder": (f"{MODELS}.folder", f"{MODELS}.config"),
    "steadyspike.models": (f"{MODELS}.deepinterpolation", f"{MODELS}.folder"),
    "steadyspike.motion.segments": ("steadyspike.motion.estimators",),
    "steadyspike.normalization": ("steadyspike.core.normalization",),
    "steadyspike.presets": ("steadyspike.library.presets.presets",),
    "steadyspike.register": ("steadyspike.integration.register",),
    "steadyspike.report": ("steadyspike.evaluation.figures",),
    "steadyspike.report.embedding": ("steadyspike.evaluation.figures.embedding",),
    "steadyspike.report.spike_classifier": ("steadyspike.evaluation.figures.spike_classifier",),
    "steadyspike.spike_models": (f"{MODELS}.spikes",),
    "steadyspike.waveform_models": (f"{MODELS}.waveforms",),
}
"""Old path of a module, and the modules in which its public names are now."""

MOVED_NAMES = {
    "DeepInterpolationModel": "steadyspike.library",
    "DenoiseWaveforms": "steadyspike.peaks",
    "SpikeClassifier": "steadyspike.library",
    "SpikeDetectorModel": "steadyspike.library",
    "WaveformAutoencoderModel": "steadyspike.library",
    "WaveformDenoiserModel": "steadyspike.library",
    "align_waveforms": "steadyspike.peaks",
    "cluster_agreement": "steadyspike.peaks",
    "cluster_embedding": "steadyspike.peaks",
    "cut_spikes": "steadyspike.peaks",
    "drift_metrics": "steadyspike.evaluation",
    "embed_peaks": "steadyspike.peaks",
    "embed_waveforms": "steadyspike.peaks",
    "evaluate_spike_classifier": "steadyspike.evaluation",
    "localize_residual": "steadyspike.peaks",
    "score_detection": "steadyspike.evaluation",
    "units_of_peaks": "steadyspike.peaks",
}
"""Names that were ``steadyspike.<name>``, and where they are now."""


NOW_FUNCTIONS = {"steadyspike.report": "steadyspike.reports.write"}
"""Old modules whose name is a function's now, and where that is: the stand-in takes its place, and can be called."""


class _Callable(ModuleType):
    """The stand-in of a module of `NOW_FUNCTIONS`."""

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        function = getattr(import_module(NOW_FUNCTIONS[self.__name__]), self.__name__.rpartition(".")[2])
        return function(*arguments, **named)


class _Finder(MetaPathFinder):
    """Finds the modules of `MOVED`, after all other finders."""

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        is_package = any(name.startswith(f"{fullname}.") for name in MOVED)
        return ModuleSpec(fullname, _Loader(), is_package=is_package)


class _Loader(Loader):
    """Makes the stand-in of a module."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make one that can be called where a function has the name now; else let Python make an empty one."""
        return _Callable(spec.name) if spec.name in NOW_FUNCTIONS else None

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and let names be found in the new modules."""
        old = module.__name__
        new = MOVED[old]

        def find(name: str) -> Any:
            if not name.startswith("__"):
                for path in new:
                    found = import_module(path)
                    if hasattr(found, name):
                        return getattr(found, name)
            raise AttributeError(f"module {old!r} has no attribute {name!r}; it is now {' and '.join(new)}")

        module.__getattr__ = find  # type: ignore[method-assign]
        _warn(old, " and ".join(new), stacklevel=3)


def watch() -> None:
    """Let the modules of `MOVED` be imported; doing so again is harmless."""
    if not any(type(finder).__name__ == _Finder.__name__ for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def moved(name: str) -> Any:
    """Return what ``steadyspike.<name>`` was, with a warning.

    Raises `AttributeError` if it never was anything.
    """
    if f"steadyspike.{name}" in MOVED:
        return import_module(f"steadyspike.{name}")
    if name not in MOVED_NAMES:
        raise AttributeError(f"module 'steadyspike' has no attribute {name!r}")
    _warn(f"steadyspike.{name}", f"{MOVED_NAMES[name]}.{name}", stacklevel=4)
    return getattr(import_module(MOVED_NAMES[name]), name)


def _warn(old: str, new: str, stacklevel: int) -> None:
    text = f"{old} is now {new}; the old path works up to steadyspike {LAST_RELEASE}"
    warnings.warn(text, DeprecationWarning, stacklevel=stacklevel)
