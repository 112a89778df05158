"""Parameters of a part, declared once.

A part (a node, an estimator, a localization, a training) declares its parameters as fields of a frozen class::

    class MonopolarSettings(Settings):
        part = "steady_monopolar"

        radius_um: float = parameter(75.0, "Contacts this near to the main channel take part", unit="um", gt=0)
        feature: Literal["ptp", "energy"] = parameter("ptp", "What is fitted")

and a function that works on them takes one object::

    @takes(MonopolarSettings)
    def localize(recording, settings): ...

    localize(recording, radius_um=50.0)

A class takes them in its constructor, and has the table put into its own docstring::

    @document
    class Localizer:
        @takes(MonopolarSettings)
        def __init__(self, recording, settings): ...

From the declaration derive the signature of `localize`, the table in its docstring, `Settings.params_doc` for
SpikeInterface's help, the checks with their errors, and what a preset may hold.
"""

from __future__ import annotations

import functools
import inspect
import operator
import re
import textwrap
import types
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, NoReturn, Self, TypeVar, Union, cast, get_args, get_origin

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from steadyspike.core.arguments import refuse, shown

BOUNDS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
PLACEHOLDER, REST = "{settings}", "parameters"
UNCHANGED: Any = object()
Result = TypeVar("Result")
Target = TypeVar("Target")


def parameter(
    default: Any,
    doc: str,
    *,
    unit: str | None = None,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    type_doc: str | None = None,
    allowed: str | None = None,
) -> Any:
    """Declare a parameter as a field of `Settings`.

    ``...`` is the default of a parameter that must be given. `doc` says what it is, in a line or a few, without type,
    default, unit and range, which are added. Without a `unit` it has none, or the sentence says it. `gt`, `ge`, `lt`
    and `le` bound a number, or each number of a sequence: above, at least, below, at most. `type_doc` and `allowed` say
    the type and what is allowed in words, where the annotation and the bounds do not say it well.
    """
    bounds = {name: bound for name, bound in dict(gt=gt, ge=ge, lt=lt, le=le).items() if bound is not None}
    extra: dict[str, Any] = dict(unit=unit, bounds=bounds, type_doc=type_doc, allowed=allowed)
    return Field(default, description=" ".join(doc.split()), json_schema_extra=extra, validate_default=False)


def parameter_of(settings_class: type[Settings], name: str, default: Any = UNCHANGED) -> Any:
    """Declare the parameter of another part once more, with a default of its own if one is given."""
    field = settings_class.model_fields[name]
    extra = _extra(field)
    return parameter(
        field.default if default is UNCHANGED else default,
        field.description or "",
        unit=extra["unit"],
        type_doc=extra["type_doc"],
        allowed=extra["allowed"],
        **extra["bounds"],
    )


class Settings(BaseModel):
    """Base of the parameters of a part: unknown names are refused, types are kept, nothing changes afterwards.

    Numbers of numpy are taken as Python's, whole numbers where a number is asked for, and the other way round
    where nothing is lost; so are lists, tuples and arrays as each other. True and False are no numbers, and NaN and
    infinity are never allowed.
    """

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )
    part: ClassVar[str]
    """What errors call the part: the name by which users know it."""

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Check values and hold them.

        Raises `ValueError` for every value that is not allowed: ``part: name=value; allowed: what``.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise ValueError(cls._told(error, values)) from None

    @classmethod
    def problem(cls, name: str, value: Any) -> str | None:
        """Return what is allowed for a parameter if this value is not, else None."""
        value = _plain(value, cls.model_fields[name])
        try:
            cls.__pydantic_validator__.validate_assignment(cls.model_construct(), name, value)
        except ValidationError as error:
            # a rule that joins several parameters is none of this one's
            return cls.allowed(name) if any(details["loc"] for details in error.errors()) else None
        return None

    @classmethod
    def allowed(cls, name: str) -> str:
        """Say which values a parameter may have."""
        return _allowed(cls.model_fields[name])

    @classmethod
    def parameters(cls, kind: Any) -> list[inspect.Parameter]:
        """Return the parameters as those of a function, of one of the kinds of `inspect.Parameter`."""
        return [
            inspect.Parameter(name, kind, default=_default(field), annotation=field.annotation)
            for name, field in cls.model_fields.items()
        ]

    @classmethod
    def fields(cls) -> dict[str, FieldInfo]:
        """Return the fields by the keywords that callers may use."""
        return dict(cls.model_fields)

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the defaults by the same keywords."""
        return {name: _default(one) for name, one in cls.fields().items() if not one.is_required()}

    def to(self, settings_class: type[Other], **changes: Any) -> Other:
        """Make settings of another part: `changes`, then values of the same name from here, then its defaults."""
        shared = {name: value for name, value in self.values().items() if name in settings_class.model_fields}
        return settings_class.of(**{**shared, **changes})

    @classmethod
    def params_doc(cls, indent: int = 4) -> str:
        """Write the table of the parameters as numpydoc and SpikeInterface's `params_doc` have it."""
        return "\n".join(line for name in cls.model_fields for line in cls._described(name, indent))

    @classmethod
    def _described(cls, name: str, indent: int) -> list[str]:
        """Write the lines of one parameter."""
        field, spaces = cls.model_fields[name], " " * (indent + 4)
        extra, default = _extra(field), _default(field)
        members = sorted(_members(field.annotation), key=lambda one: one is type(None))
        kind = extra["type_doc"] or " or ".join(_type_name(member) for member in members)
        if not field.is_required():
            kind += f', default: "{default}"' if isinstance(default, str) else f", default: {default!r}"
        # unit and range belong to what is said first: "Lower corner, in Hz; > 0. None makes a lowpass."
        first, mark, more = re.match(r"(.*?)(\. |; |$)(.*)", (field.description or "").rstrip(".")).groups()  # type: ignore[union-attr]
        if extra["unit"] and f"in {extra['unit']}" not in first:
            first += f", in {extra['unit']}"
        bounds = _bounds_text(extra)
        text = f"{first}{'; ' if bounds else ''}{bounds}{mark}{more}."
        lines = textwrap.wrap(text, 116, initial_indent=spaces, subsequent_indent=spaces)
        return [" " * indent + f"{name} : {kind}", *lines]

    def values(self) -> dict[str, Any]:
        """Return the values by name, as they are."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def saved(self, **resolved: Any) -> dict[str, Any]:
        """Return the values by name as a part saves them, with those that it has resolved ("auto", None) in place."""
        unknown = resolved.keys() - type(self).model_fields.keys()
        if unknown:
            raise TypeError(f"{self.part} has no parameter {', '.join(sorted(unknown))}")
        return {**self.values(), **resolved}

    def refuse(self, name: str, allowed: str) -> NoReturn:
        """Raise the error for a value that does not go with others or the data: ``part: name=value; allowed: what``."""
        refuse(name, getattr(self, name), allowed, part=self.part)

    @model_validator(mode="before")
    @classmethod
    def _of_numpy(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        return {
            name: _plain(value, cls.model_fields[name]) if name in cls.model_fields else value
            for name, value in values.items()
        }

    @field_validator("*", mode="after")
    @classmethod
    def _within_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        bounds = _extra(cls.model_fields[cast(str, info.field_name)])["bounds"]
        for number in value if isinstance(value, list | tuple | np.ndarray) else (value,):
            is_number = isinstance(number, int | float) and not isinstance(number, bool)
            if is_number and not all(
                getattr(operator, name)(number, limit) for name, limit in bounds.items()
            ):
                raise ValueError("out of bounds")
        return value

    @classmethod
    def _told(cls, error: ValidationError, values: Mapping[str, Any]) -> str:
        return "\n".join(dict.fromkeys(cls._in_words(details, values) for details in error.errors()))

    @classmethod
    def _in_words(cls, details: Any, values: Mapping[str, Any]) -> str:
        where, said = details["loc"], details["msg"].removeprefix("Value error, ")
        if not where or said.startswith(f"{cls.part}: "):
            return f"{cls.part}: {said.removeprefix(f'{cls.part}: ')}"
        name = str(where[0])
        if details["type"] == "extra_forbidden":
            close = get_close_matches(name, cls.model_fields, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            return f"{cls.part}: {name} is no parameter; {hint}allowed: {', '.join(cls.model_fields)}"
        if details["type"] == "missing" and len(where) == 1:
            return f"{cls.part}: {name} is missing; allowed: {cls.allowed(name)}"
        return f"{cls.part}: {name}={shown(values[name])}; allowed: {cls.allowed(name)}"


def takes(
    settings_class: type[Settings], *, argument: str = "settings"
) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Let a function take the parameters of settings one by one, and give it them as one object.

    `argument` of the function holds the object. In the signature that callers see, the parameters stand in its place,
    by keyword only if it is, and in the docstring in the place of a line ``{settings}``. Where some are groups
    (`steadyspike.core.setting_groups`), callers may pass the parameters of these one by one too.
    """
    grouped = settings_class.fields().keys() - settings_class.model_fields.keys()

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        own = inspect.signature(function)
        others = list(own.parameters.values())
        position = list(own.parameters).index(argument)
        variadic = next((one.name for one in others if one.kind is one.VAR_KEYWORD), REST)
        rest = [inspect.Parameter(REST, inspect.Parameter.VAR_KEYWORD)] if grouped else []
        parameters = settings_class.parameters(others[position].kind)
        signature = own.replace(parameters=[*others[:position], *parameters, *others[position + 1 :], *rest])

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Result:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise TypeError(f"{function.__qualname__}: {error}") from None
            values = {name: given.pop(name) for name in settings_class.model_fields if name in given}
            passed_on = given.pop(variadic, {})
            values |= {name: passed_on.pop(name) for name in grouped if name in passed_on}
            if rest and passed_on:
                name, known = next(iter(passed_on)), {*signature.parameters, *grouped} - {REST}
                close = get_close_matches(name, known, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise TypeError(f"{settings_class.part}() takes no argument {name!r}{hint}")
            return function(**given, **passed_on, **{argument: settings_class.of(**values)})

        call.__signature__ = signature  # type: ignore[attr-defined]
        call.__settings__ = settings_class  # type: ignore[attr-defined]
        return document(call, settings_class)

    return decorate


def document(target: Target, settings_class: type[Settings] | None = None) -> Target:
    """Put the table of the parameters in the place of the line ``{settings}`` of a docstring.

    `target` is a function or class; without `settings_class` the declaration is the one of it, or of its constructor.
    """
    declared = settings_of(target) if settings_class is None else settings_class
    if declared is not None and target.__doc__ and PLACEHOLDER in target.__doc__:
        line = next(line for line in target.__doc__.splitlines() if line.strip() == PLACEHOLDER)
        indent = len(line) - len(line.lstrip())
        target.__doc__ = target.__doc__.replace(line, declared.params_doc(indent))
    return target


def settings_of(function: Any) -> type[Settings] | None:
    """Return the declaration behind a function, a class or its constructor; None: it has none."""
    for target in (function, getattr(function, "__init__", None), getattr(function, "run", None)):
        found = getattr(target, "__settings__", None)
        if found is not None:
            return cast(type[Settings], found)
    return None


def _default(field: FieldInfo) -> Any:
    return inspect.Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)


def _extra(field: FieldInfo) -> dict[str, Any]:
    extra = field.json_schema_extra
    is_ours = isinstance(extra, dict) and "bounds" in extra
    return cast(dict, extra) if is_ours else dict(unit=None, bounds={}, type_doc=None, allowed=None)


def _bounds_text(extra: Mapping[str, Any]) -> str:
    return " and ".join(f"{BOUNDS[name]} {bound:g}" for name, bound in extra["bounds"].items())


def _plain(value: Any, field: FieldInfo) -> Any:
    """Take numpy's scalars as Python's, and a number without a fraction for a whole one where that is asked for."""
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    members = _members(field.annotation)
    if isinstance(value, float) and value.is_integer() and int in members and float not in members:
        return int(value)
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim == 1):
        kinds = [get_origin(member) or member for member in members]
        plain = [one.item() if isinstance(one, np.generic) else one for one in value]
        if tuple in kinds or list in kinds:
            return tuple(plain) if tuple in kinds else plain
    return value


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(inner for one in get_args(annotation) for inner in _members(one))
    return (annotation,)


Other = TypeVar("Other", bound=Settings)
WORDS = {float: "a number", int: "a whole number", bool: "True or False", str: "text", type(None): "None"}


def _allowed(field: FieldInfo) -> str:
    extra = _extra(field)
    if extra["allowed"]:
        return str(extra["allowed"])
    bounds = _bounds_text(extra)
    limits = f" {bounds}{' ' + extra['unit'] if extra['unit'] else ''}" if bounds else ""
    parts: list[str] = []
    for member in sorted(_members(field.annotation), key=lambda one: one is type(None)):
        if get_origin(member) is Literal:
            parts += map(repr, get_args(member))
        else:
            words = WORDS.get(member, _type_name(member))
            parts.append(
                words + (limits if member in (int, float) or get_origin(member) in (list, tuple) else "")
            )
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} or {parts[-1]}"


def _type_name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " | ".join(f'"{one}"' if isinstance(one, str) else repr(one) for one in get_args(annotation))
    if origin in (list, tuple):
        inner = [one for one in get_args(annotation) if one is not ...]
        return f"{origin.__name__} of {' and '.join(dict.fromkeys(map(_type_name, inner)))}"
    if annotation is type(None):
        return "None"
    return getattr(annotation, "__name__", str(annotation))
