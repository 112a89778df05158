"""What methods accept, and whether a preset's values fit.

Names and defaults come from the signatures of the methods themselves, so a preset is held against the installed
SpikeInterface and not against a copy of its documentation. Values of steadyspike's own methods are held against their
declarations (`steadyspike.core.settings`); what the signatures of SpikeInterface's cannot say (a radius is positive, a
direction is x, y or z) is in the tables at the top. Which methods there are is set by `provide`, when they are
registered.

Each check yields problems as pairs ``(key, text)`` and raises nothing, so that a user sees all of them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any, Literal, get_args, get_origin

import numpy as np

from steadyspike.core.arguments import shown
from steadyspike.core.settings import Settings, settings_of

MAX_DEPTH, MAX_LENGTH = 10, 1_000
Problem = tuple[str, str]
Parameters = dict[str, inspect.Parameter]
Choices = Mapping[str, tuple[str, ...]]

STEP_CHOICES: Choices = {
    "border_mode": ("remove_channels", "force_extrapolate", "force_zeros"),
    "spatial_interpolation_method": ("kriging", "idw", "nearest"),
    "reference": ("global", "single", "local"),
    "operator": ("median", "average"),
}
MOTION_CHOICES: Choices = {
    **STEP_CHOICES,
    "direction": ("x", "y", "z"),
    "peak_sign": ("neg", "pos", "both"),
    "win_shape": ("gaussian", "rect", "triangle"),
    "feature": ("ptp", "energy", "peak_voltage"),
    "center_of_mass.feature": ("ptp", "mean", "energy", "peak_voltage"),
    "weight_method.mode": ("exponential_3d", "gaussian_2d"),
    "reference_displacement": ("mean", "median", "time", "mode_search"),
}

POSITIVE = {
    "detect_threshold", "exclude_sweep_ms", "radius_um", "n_peaks", "upsampling_um", "sigma_ms", "sigma_um",
    "p", "max_distance_um", "bin_s", "bin_um", "win_step_um", "win_scale_um", "max_displacement_um",
    "max_disp_um", "time_horizon_s", "num_closest", "interpolation_time_bin_size_s", "freq", "freq_min",
    "freq_max", "filter_order", "num_random_chunks", "chunk_duration_s", "n_neighbors", "psd_hf_threshold",
    "sigma_list_um", "sigma_3d", "num_amp_bins", "num_iterations", "batch_size", "num_shifts_block",
}  # fmt: skip
NOT_NEGATIVE = {
    "margin_ms", "margin_um", "z_list_um", "histogram_depth_smooth_um", "histogram_time_smooth_s",
    "hist_margin_um", "smoothing_sigma",
}  # fmt: skip
INTERVALS = {"percentile": (0, 100), "nyquist_threshold": (0, 1), "mincorr": (0, 1), "corr_threshold": (0, 1)}
RANGED = POSITIVE | NOT_NEGATIVE | INTERVALS.keys()
WHOLE = {"seed", "filter_order", "batch_size"}
WHOLE_PREFIXES = ("num_", "n_")

# steps that pass further arguments on, and the functions that take them in the end
FILTER = ("spikeinterface.preprocessing.filter.FilterRecording",)
BAD_CHANNELS = ("spikeinterface.preprocessing.detect_bad_channels.detect_bad_channels",)
RANDOM_CHUNKS = (
    "spikeinterface.core.recording_tools.get_random_data_chunks",
    "spikeinterface.core.recording_tools.get_random_sample_slices",
)
PASSED_ON = {
    **dict.fromkeys(("bandpass_filter", "highpass_filter", "notch_filter"), FILTER),
    **dict.fromkeys(("detect_and_interpolate_bad_channels", "detect_and_remove_bad_channels"), BAD_CHANNELS),
    **dict.fromkeys(("whiten", "zscore", "center", "normalize_by_quantile"), RANDOM_CHUNKS),
}

RECORDING = {"recording", "parent_recording", "time_series"}
# what compute_motion hands over itself, and what would change the form of what it gets back
FROM_COMPUTE_MOTION = RECORDING | {
    "parents", "noise_levels", "return_output", "return_tensor", "peaks", "peak_locations", "method", "extra",
    "extra_outputs", "progress_bar", "motion", "distances", "lfp_recording",
}  # fmt: skip


@dataclass(frozen=True)
class Methods:
    """What a preset can name: functions that give methods by name, as they are when they are asked for.

    `detectors`, `localizers` and `estimators` are the methods of `detect_peaks`, `localize_peaks` and
    `estimate_motion`, classes; `interpolations` those of `interpolate_motion` beside SpikeInterface's own, which has no
    name, functions; `steps` those of preprocessing pipelines, functions or classes.
    """

    detectors: Callable[[], Mapping[str, Any]]
    localizers: Callable[[], Mapping[str, Any]]
    estimators: Callable[[], Mapping[str, Any]]
    interpolations: Callable[[], Mapping[str, Any]]
    steps: Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Accepted:
    """What one method accepts.

    Its parameters by name; with `is_open` other names are allowed too, because it passes them on unseen. `declared` is
    the declaration of its parameters, where it has one.
    """

    parameters: Parameters
    is_open: bool = False
    declared: type[Settings] | None = None


# the one selection that needs no arrays; its parameters are in no signature
UNIFORM_SELECTION = Accepted(
    {
        name: inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
        for name, default in dict(
            n_peaks=inspect.Parameter.empty, select_per_channel=False, seed=None
        ).items()
    }
)
_provided: list[Methods] = []


def provide(methods: Methods) -> None:
    """Say which methods there are; `steadyspike.integration` does, when it registers."""
    _provided[:] = [methods]


def provided() -> Methods:
    """Return what `provide` was told, when steadyspike was imported."""
    return _provided[0]


def check_motion(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Problem]:
    """Check the five tables of a motion preset against SpikeInterface's methods."""
    methods = _motion_methods()
    for table, values in tables.items():
        if not values and table in ("select_kwargs", "interpolate_motion_kwargs"):
            continue
        if table == "interpolate_motion_kwargs" and "method" not in values:
            from spikeinterface.sortingcomponents.motion import InterpolateMotionRecording

            accepted = _called("", InterpolateMotionRecording)
            yield from check_values(values, accepted, table, "interpolate_motion", MOTION_CHOICES)
        else:
            yield from _check_method(table, values, methods[table])


def check_steps(steps: list[dict[str, Any]]) -> Iterator[Problem]:
    """Check the steps of a preprocessing preset against those that a pipeline can have."""
    known = provided().steps()
    for index, step in enumerate(steps):
        name, key = step["name"], f"steps[{index}]"
        if name not in known:
            yield f"{key}.name", f"{name!r} is no step; {_instead(name, known)}"
            continue
        accepted = _step_parameters(name, known[name])
        yield from check_values(step["params"], accepted, f"{key}.params", name, STEP_CHOICES)


def check_plain(key: str, value: Any, depth: int = 1) -> Iterator[Problem]:
    """Check that a value is plain data, and no more than a preset holds: text, numbers, booleans, lists and tables."""
    if depth > MAX_DEPTH:
        yield key, f"is nested deeper than {MAX_DEPTH} tables and lists, which no preset is"
    elif isinstance(value, Mapping | list | str) and len(value) > MAX_LENGTH:
        yield key, f"has a length of {len(value)}; allowed: up to {MAX_LENGTH}"
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from check_plain(f"{key}.{name}", inner, depth + 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from check_plain(f"{key}[{index}]", inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield key, f"is {value}; allowed: a finite number"
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        yield key, "has more than 64 bits; allowed: a whole number of TOML"
    elif isinstance(value, str) and not value.isascii() and not _is_unicode(value):
        yield key, f"is {value!r}; allowed: text that can be written as UTF-8"
    elif not isinstance(value, str | int | float | bool):
        allowed = "text, a number, true or false, a list or a table"
        yield key, f"is {shown(value)} ({type(value).__name__}); a preset is plain data: {allowed}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def check_values(
    values: Mapping[str, Any], accepted: Accepted, key: str, owner: str, choices: Choices
) -> Iterator[Problem]:
    """Check the names and values given to one method, and that nothing it needs is missing.

    `key` says where in the preset the values stand, `owner` is the name of the method. `choices` are words allowed for
    a parameter that is not declared, under its name or under "owner.name".
    """
    parameters, declared = accepted.parameters, accepted.declared
    for name, value in values.items():
        if declared is not None and name in declared.model_fields:
            if problem := declared.problem(name, value):
                yield f"{key}.{name}", f"is {value!r}; allowed: {problem}"
            continue
        if name in parameters:
            words = choices.get(f"{owner}.{name}", choices.get(name, ()))
            yield from _check_value(f"{key}.{name}", name, value, parameters[name], words)
        elif not accepted.is_open:
            yield f"{key}.{name}", f"is no parameter of {owner!r}; {_instead(name, parameters)}"
    for name, parameter in parameters.items():
        if parameter.default is inspect.Parameter.empty and name not in values:
            yield f"{key}.{name}", f"is missing, and {owner!r} cannot do without it"


def _check_method(
    table: str, values: Mapping[str, Any], methods: Mapping[str, Callable[[], Accepted]]
) -> Iterator[Problem]:
    method = values.get("method")
    if method is None:
        yield f"{table}.method", f"is missing; allowed: {', '.join(methods)}"
    elif not isinstance(method, str) or method not in methods:
        yield f"{table}.method", f"{method!r} is no method; {_instead(method, methods)}"
    else:
        rest = {name: value for name, value in values.items() if name != "method"}
        yield from check_values(rest, methods[method](), table, method, MOTION_CHOICES)


def _check_value(
    key: str, name: str, value: Any, parameter: inspect.Parameter, words: tuple[str, ...]
) -> Iterator[Problem]:
    if get_origin(parameter.annotation) is Literal:
        words = get_args(parameter.annotation)
    default = parameter.default
    if type(value) is type(default) and value == default:
        return
    if callable(default) and default is not inspect.Parameter.empty:
        yield key, "takes a function, which a preset cannot hold; leave it out"
    elif words and value not in words:
        yield key, f"is {value!r}; allowed: {_any_of(map(repr, words))}"
    elif problem := _wrong_type(name, value, default) or _out_of_range(name, value):
        yield key, f"is {value!r}; allowed: {problem}"
    elif name == "weight_method":
        from spikeinterface.postprocessing.localization_tools import get_convolution_weights

        yield from check_values(value, _called("", get_convolution_weights), key, name, MOTION_CHOICES)


def _wrong_type(name: str, value: Any, default: Any) -> str | None:
    """Return what is allowed where the type of a value differs from that of the default."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if name in WHOLE or name.startswith(WHOLE_PREFIXES):
        return None if is_number and isinstance(value, int) else "a whole number"
    if isinstance(default, int | float):
        return None if is_number else "a number"
    if isinstance(default, str) and name in RANGED:
        return None if is_number else f"a number or {default!r}"
    if isinstance(default, str):
        return None if isinstance(value, str) else "text"
    if isinstance(default, list | tuple | np.ndarray):
        return None if isinstance(value, list) else "a list"
    if isinstance(default, Mapping):
        return None if isinstance(value, Mapping) else "a table"
    return None


def _out_of_range(name: str, value: Any) -> str | None:
    """Return what is allowed where a number, or one of a list, is out of its range."""
    if name not in RANGED:
        return None
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        return "a number"
    if name in POSITIVE:
        return None if all(number > 0 for number in numbers) else "a number > 0"
    if name in NOT_NEGATIVE:
        return None if all(number >= 0 for number in numbers) else "a number >= 0"
    low, high = INTERVALS[name]
    return None if all(low <= number <= high for number in numbers) else f"a number >= {low} and <= {high}"


def _any_of(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _instead(name: Any, known: Mapping[str, Any]) -> str:
    close = get_close_matches(name, known, n=1) if isinstance(name, str) else []
    suggestion = f"did you mean {close[0]!r}? " if close else ""
    return f"{suggestion}allowed: {', '.join(known) or 'none'}"


def parameters_of(function: Callable, hidden: set[str] = FROM_COMPUTE_MOTION) -> tuple[Parameters, bool]:
    """Return the named parameters of a function, and whether it takes others in ``**kwargs``."""
    parameters = inspect.signature(function).parameters
    variadic = {name: p for name, p in parameters.items() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    named = {name: p for name, p in parameters.items() if name not in hidden and name not in variadic}
    return named, any(p.kind is p.VAR_KEYWORD for p in variadic.values())


def _motion_methods() -> dict[str, dict[str, Callable[[], Accepted]]]:
    """Return, for each table of a motion preset, how to learn what each of its methods accepts."""
    methods = provided()

    def by_name(accepted: Callable, found: Mapping[str, Any]) -> dict[str, Callable[[], Accepted]]:
        return {name: partial(accepted, name, method) for name, method in found.items()}

    return {
        "detect_kwargs": by_name(_called, methods.detectors()),
        "select_kwargs": {"uniform": lambda: UNIFORM_SELECTION},
        "localize_peaks_kwargs": by_name(_called, methods.localizers()),
        "estimate_motion_kwargs": by_name(_estimator, methods.estimators()),
        "interpolate_motion_kwargs": by_name(_called, methods.interpolations()),
    }


def _called(_: str, method: Callable) -> Accepted:
    return Accepted(parameters_of(method)[0], declared=settings_of(method))


def _estimator(name: str, method_class: Any) -> Accepted:
    from spikeinterface.sortingcomponents.motion import dredge
    from spikeinterface.sortingcomponents.motion.motion_estimation import estimate_motion

    passed_on = {"dredge_ap": dredge.dredge_ap, "dredge_lfp": dredge.dredge_online_lfp}
    specific, _ = parameters_of(passed_on.get(name, method_class.run))
    general, _ = parameters_of(estimate_motion, FROM_COMPUTE_MOTION | {"margin_um"})
    return Accepted({**specific, **general}, declared=settings_of(method_class))


def _step_parameters(name: str, function: Callable) -> Accepted:
    accepted, is_open = parameters_of(function, RECORDING)
    for path in PASSED_ON.get(name, ()):
        module, _, attribute = path.rpartition(".")
        # a function of the same name can hide the module, so that it has to be imported by its path
        passed, _ = parameters_of(getattr(import_module(module), attribute), RECORDING)
        accepted, is_open = {**passed, **accepted}, False
    return Accepted(accepted, is_open, settings_of(function))
