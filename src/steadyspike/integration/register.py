"""Enter steadyspike's parts into SpikeInterface's own tables.

This is the only file that touches SpikeInterface's private tables. ``import steadyspike`` calls `register`,
and so does loading a saved recording with one of our nodes, because its class path imports the package.

Five tables get entries: pipeline steps, the class-to-function table behind them, detection and localization methods,
and motion estimators. The table of detection methods is in a package whose import loads torch: it gets its entry when
other code imports it (`steadyspike.integration.late_import`). Five things in SpikeInterface are wrapped or
replaced, because no table exists there:

- the dictionary of motion presets becomes a `MotionPresetTable`, which finds a preset by its file's path too, or on the
  Hugging Face Hub;
- ``interpolate_motion``, with which `si.correct_motion` ends, hands calls with
  ``method="steady_interpolate_motion"`` to our lazy node and leaves all others as they were;
- ``estimate_motion``, which refuses recordings of several segments, hands those to our estimators if one is asked for;
- ``get_noise_levels``, as `compute_motion` calls it, puts silent channels, whose level of 0 stops it, out of reach;
- ``_get_default_motion_params`` learns the defaults of that method, for `si.get_motion_parameters_preset`.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from steadyspike.core.environment import check_spikeinterface_version
from steadyspike.core.settings import settings_of
from steadyspike.integration import late_import, protocols
from steadyspike.integration.compatibility import adapt
from steadyspike.library.hub.reference import EXAMPLE
from steadyspike.library.presets import checks as preset_checks
from steadyspike.library.presets.files import PresetError, UnknownPresetError, bundled_files, read_toml
from steadyspike.motion.estimators import ESTIMATORS

STEPS_TABLE = "spikeinterface.preprocessing.pipeline.pp_names_to_functions"
CLASSES_TABLE = "spikeinterface.preprocessing.preprocessing_classes.preprocessor_dict"
DETECTION_TABLE = "spikeinterface.sortingcomponents.peak_detection.method_list.detect_peak_methods"
LATE_TABLES = (DETECTION_TABLE,)
"""Tables whose import takes long; nothing is in them before other code has imported them."""
LOCALIZATION_TABLE = (
    "spikeinterface.sortingcomponents.peak_localization.method_list.peak_localization_methods"
)
ESTIMATION_TABLE = "spikeinterface.sortingcomponents.motion.motion_estimation.estimate_motion_methods"
PRESETS_TABLE = "spikeinterface.preprocessing.motion.motion_options_preset"
INTERPOLATION_FUNCTIONS = (
    "spikeinterface.sortingcomponents.motion.interpolate_motion",
    "spikeinterface.sortingcomponents.motion.motion_interpolation.interpolate_motion",
)
ESTIMATION_FUNCTIONS = (
    "spikeinterface.sortingcomponents.motion.estimate_motion",
    "spikeinterface.sortingcomponents.motion.motion_estimation.estimate_motion",
)
SEGMENTS_TARGET = "steadyspike.motion.estimators.estimate_motion_of_segments"
NOISE_FUNCTION = "spikeinterface.preprocessing.motion.get_noise_levels"
SILENT_TARGET = "steadyspike.core.noise_levels.without_silent"
DEFAULTS_FUNCTION = "spikeinterface.preprocessing.motion._get_default_motion_params"

INTERPOLATION_METHOD = "steady_interpolate_motion"
INTERPOLATION_TARGET = "steadyspike.preprocessing.motion_interpolation.interpolate_motion"


class NameTakenError(RuntimeError):
    """A name that steadyspike registers is held by other code."""


@dataclass(frozen=True)
class Part:
    """An object of ours and its entry in one of SpikeInterface's tables.

    `table` and `target`, the object, are paths as in an import statement.
    """

    table: str
    name: str
    target: str


def _step(name: str, module: str, node: str) -> tuple[Part, Part]:
    target = f"steadyspike.preprocessing.{module}.{name.removeprefix('steady_')}"
    return Part(STEPS_TABLE, name, target), Part(CLASSES_TABLE, node, target)


LOCALIZERS = {
    "steady_auto": "auto_localization.LocalizeSteadyAuto",
    "steady_monopolar": "localization.LocalizeSteadyMonopolar",
    "steady_grid_convolution": "grid_localization.LocalizeSteadyGridConvolution",
    "steady_denoised_monopolar": "denoised_localization.LocalizeSteadyDenoisedMonopolar",
}
PARTS: tuple[Part, ...] = (
    *_step("steady_bandpass_filter", "bandpass", "SteadyBandpassFilterRecording"),
    *_step("steady_phase_shift", "phase_shift", "SteadyPhaseShiftRecording"),
    *_step("steady_common_reference", "common_reference", "SteadyCommonReferenceRecording"),
    *_step("steady_batch_filter", "batch_filter", "SteadyBatchFilterRecording"),
    *_step("steady_whiten", "whitening", "SteadyWhitenRecording"),
    *_step("steady_deepinterpolate", "deepinterpolation", "SteadyDeepInterpolateRecording"),
    *_step(INTERPOLATION_METHOD, "motion_interpolation", "SteadyInterpolateMotionRecording"),
    *_step(f"{INTERPOLATION_METHOD}_by_shank", "motion_by_shank", "SteadyInterpolateMotionByShankRecording"),
    Part(DETECTION_TABLE, "steady_neural", "steadyspike.peaks.detection.DetectSteadyNeural"),
    *(Part(LOCALIZATION_TABLE, name, f"steadyspike.peaks.{path}") for name, path in LOCALIZERS.items()),
    *(Part(ESTIMATION_TABLE, name, target) for name, target in ESTIMATORS.items()),
)


def register() -> None:
    """Enter every part into SpikeInterface's tables; doing so again is harmless.

    Nothing is entered unless everything can be.

    Raises
    ------
    UnsupportedSpikeInterfaceError
        If the installed SpikeInterface is outside the supported series.
    NameTakenError
        If a name is held by other code.
    TypeError
        If a part does not have what SpikeInterface expects of it.
    """
    check_spikeinterface_version()
    adapt()
    late = [part for part in PARTS if part.table in LATE_TABLES and not _is_imported(part.table)]
    now = [part for part in PARTS if part not in late]
    presets = _preset_table()
    _enter(now)
    for table in {part.table for part in late}:
        own = [part for part in late if part.table == table]
        late_import.after_import(table.rpartition(".")[0], functools.partial(_enter, own))
    _assign(PRESETS_TABLE, presets)
    for path, (wrap, _, _) in WRAPPERS.items():
        _wrap_once(path, wrap)
    _extend_docs(presets)
    preset_checks.provide(METHODS)


def _enter(parts: Iterable[Part]) -> None:
    """Enter parts, unless one lacks what SpikeInterface expects or its name is held by other code."""
    for part in parts:
        obj = _resolve(part.target)
        lacking = LACKING[part.table](part.name, obj)
        if lacking is not None:
            raise TypeError(f"{part.target} cannot be {part.name!r} in {part.table}: it lacks {lacking}")
        holder = _resolve(part.table).get(part.name)
        if holder is not None and not _is_ours(holder):
            raise NameTakenError(
                f"{part.name!r} in {part.table} is held by {_owner(holder)}, and steadyspike needs it for "
                f"{_owner(obj)}. Both cannot be imported into one process"
            )
    for part in parts:
        _resolve(part.table)[part.name] = _resolve(part.target)


def _steps() -> dict[str, Any]:
    """Return the steps by name: the class of a node where it declares its parameters, and else its function."""
    functions = _resolve(STEPS_TABLE)
    nodes = {name: protocols.node_of(function) for name, function in functions.items()}
    return {name: nodes[name] if settings_of(nodes[name]) else one for name, one in functions.items()}


METHODS = preset_checks.Methods(
    detectors=lambda: _resolve(DETECTION_TABLE),
    localizers=lambda: _resolve(LOCALIZATION_TABLE),
    estimators=lambda: _resolve(ESTIMATION_TABLE),
    interpolations=lambda: {INTERPOLATION_METHOD: _steps()[INTERPOLATION_METHOD]},
    steps=_steps,
)
"""What presets are checked against."""


class MotionPresetTable(dict[str, Any]):
    """SpikeInterface's motion presets, ours among them, and any other by the path of its TOML file or by its reference.

    `si.correct_motion` looks a preset up with plain ``table[preset]``; a path is no key and gets here by
    `__missing__`. The file is read and checked at each look-up, so an edited file needs no new session.
    """

    ours: frozenset[str] = frozenset()

    def __missing__(self, ref: str | Path) -> dict[str, Any]:
        from steadyspike.library.presets.presets import MotionPreset, load_preset

        if not isinstance(ref, str | Path):
            raise KeyError(ref)
        try:
            preset = load_preset(ref)
        except UnknownPresetError:
            names = ", ".join(name for name in self if name)
            raise KeyError(
                f"no motion preset {ref!r}; allowed: {names}, the path of a TOML file, or {EXAMPLE}"
            ) from None
        if not isinstance(preset, MotionPreset):
            raise PresetError(
                f"{ref}: kind: is 'preprocessing'; allowed: 'motion', to correct motion with it"
            )
        return preset.parameters


class Registry(dict[str, dict[str, str]]):
    """What steadyspike entered where: path of SpikeInterface's table, to name, to path of our object."""

    def __repr__(self) -> str:
        width = max((len(name) for entries in self.values() for name in entries), default=0)
        lines = []
        for table, entries in self.items():
            lines.append(table)
            lines += [f"    {name:<{width}}  {target}" for name, target in entries.items()]
        return "\n".join(lines)


def registered() -> Registry:
    """Tell what of steadyspike is in which of SpikeInterface's tables, as they stand now.

    Returns
    -------
    registry : Registry
        A dictionary: path of the table, to name, to path of the object (or of the file, for a preset). It
        prints as a list.
    """
    registry = Registry()
    for part in PARTS:
        # an entry of a late table is made when the table is imported
        late = part.table in LATE_TABLES and not _is_imported(part.table)
        if late or _is_ours(_resolve(part.table).get(part.name)):
            registry.setdefault(part.table, {})[part.name] = part.target
    table = _resolve(PRESETS_TABLE)
    files = bundled_files("motion")
    ours = [name for name in getattr(table, "ours", ()) if name in table]
    if ours:
        registry[PRESETS_TABLE] = {name: str(files[name]) for name in sorted(ours)}
    for path, (_, name, target) in WRAPPERS.items():
        if _is_wrapped(_resolve(path)):
            registry[path] = {name: target}
    return registry


def _resolve(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def _is_imported(path: str) -> bool:
    return path.rpartition(".")[0] in sys.modules


def _assign(path: str, value: Any) -> None:
    module, _, name = path.rpartition(".")
    setattr(import_module(module), name, value)


def _owner(obj: Any) -> str:
    """Return module and name of an object; of its class, for a function that SpikeInterface made from one."""
    obj = protocols.node_of(obj) or obj
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    return f"{named.__module__}.{named.__qualname__}"


def _is_ours(obj: Any) -> bool:
    return _owner(obj).split(".")[0] == "steadyspike"


LACKING: dict[str, Callable[[str, Any], str | None]] = {
    DETECTION_TABLE: protocols.lacking_as_detector,
    STEPS_TABLE: protocols.lacking_as_step,
    CLASSES_TABLE: protocols.lacking_as_class,
    LOCALIZATION_TABLE: protocols.lacking_as_localizer,
    ESTIMATION_TABLE: protocols.lacking_as_estimator,
}


def _preset_table() -> MotionPresetTable:
    """Return SpikeInterface's presets with ours added; unchecked, as our tests check the bundled files."""
    current = _resolve(PRESETS_TABLE)
    known_as_ours: frozenset[str] = getattr(current, "ours", frozenset())
    files = bundled_files("motion")
    for name in files.keys() & current.keys() - known_as_ours:
        doc = current[name].get("doc", "no doc")
        raise NameTakenError(
            f"{name!r} in {PRESETS_TABLE} is held by a preset of other code ({doc}), and steadyspike needs "
            f"it for {files[name]}. Both cannot be imported into one process"
        )
    table = current if isinstance(current, MotionPresetTable) else MotionPresetTable(current)
    for name, file in files.items():
        content = read_toml(file)
        table[name] = {key: value for key, value in content.items() if key not in ("schema", "kind", "name")}
    table.ours = frozenset(files)
    return table


def _wrap_once(path: str, wrap: Callable[[Callable], Callable]) -> None:
    function = _resolve(path)
    if not _is_wrapped(function):
        wrapper = wrap(function)
        wrapper._steadyspike_wraps = path  # type: ignore[attr-defined]
        _assign(path, wrapper)


def _is_wrapped(function: Any) -> bool:
    """Whether our wrapper is there, perhaps inside another one."""
    while function is not None:
        if hasattr(function, "_steadyspike_wraps"):
            return True
        function = getattr(function, "__wrapped__", None)
    return False


def _dispatching(original: Callable) -> Callable:
    """Make `interpolate_motion` hand calls that ask for our method to our node."""

    @functools.wraps(original)
    def interpolate_motion(*args: Any, **kwargs: Any) -> Any:
        if kwargs.get("method") != INTERPOLATION_METHOD:
            return original(*args, **kwargs)
        del kwargs["method"]
        return _resolve(INTERPOLATION_TARGET)(*args, **kwargs)

    return interpolate_motion


def _taking_segments(original: Callable) -> Callable:
    """Make `estimate_motion` take recordings of several segments where the method is ours."""

    @functools.wraps(original)
    def estimate_motion(recording: Any, *args: Any, **kwargs: Any) -> Any:
        given = inspect.signature(original).bind_partial(recording, *args, **kwargs).arguments
        if given.get("method") not in ESTIMATORS or recording.get_num_segments() == 1:
            return original(recording, *args, **kwargs)
        return _resolve(SEGMENTS_TARGET)(recording, *args, **kwargs)

    return estimate_motion


def _leaving_silent_out(original: Callable) -> Callable:
    """Make `compute_motion`, which divides by noise levels, leave channels out that have none."""

    @functools.wraps(original)
    def get_noise_levels(recording: Any, *args: Any, **kwargs: Any) -> Any:
        return _resolve(SILENT_TARGET)(original(recording, *args, **kwargs), recording)

    return get_noise_levels


def _knowing_our_defaults(original: Callable) -> Callable:
    """Make `get_motion_parameters_preset` find the defaults of our interpolation."""

    @functools.wraps(original)
    def _get_default_motion_params() -> dict[str, Any]:
        parameters = original()
        declared = settings_of(_steps()[INTERPOLATION_METHOD])
        parameters["interpolate_motion_kwargs"][INTERPOLATION_METHOD] = (
            declared.defaults() if declared else {}
        )
        return parameters

    return _get_default_motion_params


WRAPPERS: dict[str, tuple[Callable[[Callable], Callable], str, str]] = {
    **dict.fromkeys(INTERPOLATION_FUNCTIONS, (_dispatching, INTERPOLATION_METHOD, INTERPOLATION_TARGET)),
    NOISE_FUNCTION: (_leaving_silent_out, "silent channels", SILENT_TARGET),
    DEFAULTS_FUNCTION: (_knowing_our_defaults, INTERPOLATION_METHOD, INTERPOLATION_TARGET),
    **dict.fromkeys(ESTIMATION_FUNCTIONS, (_taking_segments, "several segments", SEGMENTS_TARGET)),
}
"""Path of a function that is wrapped: how, and what of ours is then called for what."""


def _extend_docs(presets: MotionPresetTable) -> None:
    """List our presets in the help of the functions that take one, below SpikeInterface's."""
    from spikeinterface.preprocessing import motion

    theirs = motion._doc_presets
    ours = "".join(f"    * {name}: {presets[name]['doc']}\n" for name in sorted(presets.ours))
    for function in (motion.correct_motion, motion.compute_motion):
        doc = function.__doc__
        if doc is not None and theirs + ours not in doc:
            function.__doc__ = doc.replace(theirs, theirs + ours, 1)
