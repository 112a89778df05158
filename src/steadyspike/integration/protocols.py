"""What SpikeInterface expects of a part before it may enter a table.

SpikeInterface calls its parts without looking at them first, so that one which does not fit fails deep inside
a run. Each function here returns what a part lacks, or None where it fits.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

RUN_ARGUMENTS = [
    "recording", "peaks", "peak_locations", "direction", "rigid", "win_shape", "win_step_um", "win_scale_um",
    "win_margin_um", "verbose", "progress_bar", "extra",
]  # fmt: skip
NODE_ARGUMENTS = {"recording", "parents", "return_output"}
DETECTOR_ATTRIBUTES = ("need_noise_levels", "preferred_mp_context", "need_first_call_before_pipeline")


def node_of(function: Any) -> Any:
    """Return the class behind a function that SpikeInterface made from a class; None behind any other."""
    if not inspect.isfunction(function):
        return None
    return inspect.getclosurevars(function).nonlocals.get("source_class")


def lacking_as_step(name: str, function: Any) -> str | None:
    """Check a function for the table of pipeline steps, whose keys are function names."""
    if getattr(function, "__name__", None) != name:
        return f"the name {name}"
    return _lacking_as_recording_function(function)


def lacking_as_class(name: str, function: Any) -> str | None:
    """Check a function for the table whose keys are the names of the classes behind the functions."""
    if getattr(node_of(function), "__name__", None) != name:
        return f"a class {name} behind it"
    return _lacking_as_recording_function(function)


def lacking_as_localizer(name: str, localizer: Any) -> str | None:
    """Check a localization method: a pipeline node that can do without further arguments."""
    from spikeinterface.core.node_pipeline import PipelineNode

    if not isinstance(localizer, type) or not issubclass(localizer, PipelineNode):
        return "PipelineNode as base class"
    parameters = inspect.signature(localizer).parameters
    if not parameters.keys() >= NODE_ARGUMENTS:
        return f"the parameters {', '.join(sorted(NODE_ARGUMENTS))}"
    others = (parameter for name, parameter in parameters.items() if name not in NODE_ARGUMENTS)
    return _lacking_as_method(name, localizer) or _lacking_defaults(others)


def lacking_as_detector(name: str, detector: Any) -> str | None:
    """Check a peak detection method: a pipeline node that can do without further arguments."""
    from spikeinterface.core.node_pipeline import PeakDetector

    if not isinstance(detector, type) or not issubclass(detector, PeakDetector):
        return "PeakDetector as base class"
    for attribute in DETECTOR_ATTRIBUTES:
        if not hasattr(detector, attribute):
            return f"the attribute {attribute}"
    parameters = inspect.signature(detector).parameters
    others = (parameter for name, parameter in parameters.items() if name != "recording")
    return _lacking_as_method(name, detector) or _lacking_defaults(others)


def lacking_as_estimator(name: str, estimator: Any) -> str | None:
    """Check a motion estimator: a class with a method ``run`` that SpikeInterface calls by position."""
    if not isinstance(getattr(estimator, "need_peak_location", None), bool):
        return "need_peak_location, True or False"
    if not callable(getattr(estimator, "run", None)):
        return "the class method run()"
    parameters = list(inspect.signature(estimator.run).parameters.values())
    first, others = parameters[: len(RUN_ARGUMENTS)], parameters[len(RUN_ARGUMENTS) :]
    if [parameter.name for parameter in first] != RUN_ARGUMENTS:
        return f"a run() whose parameters start with {', '.join(RUN_ARGUMENTS)}"
    return _lacking_as_method(name, estimator) or _lacking_defaults(others)


def _lacking_as_recording_function(function: Any) -> str | None:
    from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor

    node = node_of(function)
    if not isinstance(node, type) or not issubclass(node, BasePreprocessor):
        return "a class derived from BasePreprocessor behind it"
    first = next(iter(inspect.signature(function).parameters), None)
    return None if first == "recording" else "'recording' as first parameter"


def _lacking_as_method(name: str, method: Any) -> str | None:
    if getattr(method, "name", None) != name:
        return f"the attribute name = {name!r}"
    return None if isinstance(getattr(method, "params_doc", None), str) else "the text params_doc"


def _lacking_defaults(parameters: Iterable[inspect.Parameter]) -> str | None:
    named = (p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
    missing = [parameter.name for parameter in named if parameter.default is parameter.empty]
    return f"a default for {', '.join(missing)}" if missing else None
