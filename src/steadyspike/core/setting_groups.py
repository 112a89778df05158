"""Parameters in groups, for a part that has too many for one list.

A group is settings of its own, and a part declares it as a field::

    class OptimizerSettings(Group):
        part = "OptimizerSettings"

        max_steps: int = parameter(5000, "Steps in all", ge=1)

    class TrainingSettings(GroupedSettings):
        part = "train"

        optimizer: OptimizerSettings = group(OptimizerSettings, "How weights are fitted")
        devices: int = parameter(1, "How many devices", ge=1)

    @takes_groups(TrainingSettings)
    def train(recording, *, settings): ...

Callers give a group as an object or as a dict, or its parameters one by one, whatever is handier::

    train(recording, optimizer=OptimizerSettings(max_steps=100))
    train(recording, optimizer={"max_steps": 100})
    train(recording, max_steps=100)
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from steadyspike.core.arguments import shown
from steadyspike.core.settings import Settings, document, parameter

Returned = TypeVar("Returned")
REST = "parameters"


class Group(Settings):
    """Base of a group; unlike other settings it is made by users, so that its constructor says what is wrong.

    `plain` names the keywords that stand for a parameter under another name than in the group.
    """

    plain: ClassVar[Mapping[str, str]] = {}

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ValueError(self._told(error, values)) from None

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Put the table of the parameters in the place of the line ``{settings}`` of the docstring."""
        document(cls, cls)

    @classmethod
    def keywords(cls) -> dict[str, str]:
        """Return the plain keywords, and the parameter of the group that each is."""
        renamed = {name: keyword for keyword, name in cls.plain.items()}
        return {renamed.get(name, name): name for name in cls.model_fields}

    def given(self) -> dict[str, Any]:
        """Return the values that were given, without those that are defaults."""
        return {name: value for name, value in self.values().items() if name in self.model_fields_set}

    def __repr_args__(self) -> Any:
        """Show what was given."""
        return list(self.given().items())

    @classmethod
    def _described(cls, name: str, indent: int) -> list[str]:
        """Describe a parameter, with its plain keyword where that is another."""
        words = [word for word, field in cls.plain.items() if field == name]
        spaces = " " * (indent + 4)
        return super()._described(name, indent) + [f"{spaces}As a plain keyword: `{word}`." for word in words]


def group(group_class: type[Group], doc: str) -> Any:
    """Declare a group as a field of `GroupedSettings`."""
    kind = f"{group_class.__name__} or dict"
    return parameter(
        group_class(), doc, type_doc=kind, allowed=f"{kind} of {', '.join(group_class.model_fields)}"
    )


class GroupedSettings(Settings):
    """Settings of which some fields are groups."""

    @classmethod
    def groups(cls) -> dict[str, type[Group]]:
        """Return the groups by name."""
        return {
            name: field.annotation
            for name, field in cls.model_fields.items()
            if isinstance(field.annotation, type) and issubclass(field.annotation, Group)
        }

    @classmethod
    def keywords(cls) -> dict[str, str]:
        """Return the plain keywords of all groups, and the group of each."""
        return {keyword: name for name, one in cls.groups().items() for keyword in one.keywords()}

    @classmethod
    def fields(cls) -> dict[str, FieldInfo]:
        """Return all parameters by the keywords that callers may use, those of the groups too."""
        fields = dict(cls.model_fields)
        for one in cls.groups().values():
            fields |= {word: one.model_fields[name] for word, name in one.keywords().items()}
        return fields

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the defaults by the same keywords."""
        fields = cls.fields().items()
        return {
            name: field.get_default(call_default_factory=True)
            for name, field in fields
            if not field.is_required()
        }

    @classmethod
    def of(cls, **values: Any) -> Self:
        """Check values and hold them; groups as objects or dicts, or their parameters by plain keywords."""
        groups, problems = cls.groups(), []
        settings = {name: value for name, value in values.items() if name not in {**groups, **cls.keywords()}}
        for name, one in groups.items():
            plain = {word: values[word] for word in one.keywords() if word in values and word != name}
            try:
                settings[name] = cls._gathered(name, one, values.get(name), plain)
            except ValueError as error:
                problems.append(str(error))
        if problems:
            raise ValueError("\n".join(problems))
        return super().of(**settings)

    @classmethod
    def _gathered(cls, name: str, group_class: type[Group], given: Any, plain: Mapping[str, Any]) -> Group:
        """Make a group of what was given for it as a whole and by plain keywords."""
        keywords = group_class.keywords()
        if isinstance(given, Group):
            given = given.given()
        elif given is not None and not isinstance(given, Mapping) and name in keywords:
            # a keyword with the name of the group, as network="blindspot"
            given = {keywords[name]: given}
        if not isinstance(given, Mapping | None):
            raise ValueError(f"{cls.part}: {name}={shown(given)}; allowed: {cls.allowed(name)}")
        values = dict(given or {})
        for word, value in plain.items():
            if keywords[word] in values:
                there = f"{name} says {keywords[word]}={shown(values[keywords[word]])}"
                raise ValueError(f"{cls.part}: {word}={shown(value)}; allowed: only one of both, and {there}")
            values[keywords[word]] = value
        try:
            return group_class(**values)
        except ValueError as error:
            raise ValueError(cls._retold(str(error), group_class)) from None

    @classmethod
    def _retold(cls, text: str, group_class: type[Group]) -> str:
        """Put the part that was called, and the keywords that its callers know, into the errors of a group."""
        lines = [line.removeprefix(f"{group_class.part}: ") for line in text.splitlines()]
        for word, name in group_class.plain.items():
            lines = [
                word + line.removeprefix(name) if line.startswith(f"{name}=") else line for line in lines
            ]
        return "\n".join(f"{cls.part}: {line}" for line in lines)

    @classmethod
    def _described(cls, name: str, indent: int) -> list[str]:
        """Describe a group with all that it holds."""
        groups = cls.groups()
        if name not in groups:
            return super()._described(name, indent)
        heading, *text = super()._described(name, indent)
        heading = heading.rsplit(", default: ", 1)[0]
        return [heading, *text, "", groups[name].params_doc(indent + 4), ""]


def takes_groups(
    settings_class: type[GroupedSettings], *, argument: str = "settings"
) -> Callable[[Callable[..., Returned]], Callable[..., Returned]]:
    """Let a function take groups, or their parameters one by one, and give it all as one object.

    Parameters
    ----------
    settings_class : type
        The declaration.
    argument : str, default: "settings"
        Which keyword of the function holds the object. In the signature that callers see, the groups and parameters
        stand in its place, and in the docstring in the place of a line ``{settings}``.
    """

    def decorate(function: Callable[..., Returned]) -> Callable[..., Returned]:
        own = inspect.signature(function)
        others = list(own.parameters.values())
        position = list(own.parameters).index(argument)
        kinds = {name: f"{one.__name__} | dict" for name, one in settings_class.groups().items()}
        declared = [
            one.replace(annotation=kinds.get(one.name, one.annotation))
            for one in settings_class.parameters(others[position].kind)
        ]
        rest = inspect.Parameter(REST, inspect.Parameter.VAR_KEYWORD)
        known = {*settings_class.model_fields, *settings_class.keywords()}

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Returned:
            values = {name: kwargs.pop(name) for name in list(kwargs) if name in known}
            for name in kwargs:
                if name not in own.parameters:
                    close = get_close_matches(name, {*known, *own.parameters}, n=1)
                    hint = f"; did you mean {close[0]}?" if close else ""
                    raise TypeError(f"{settings_class.part}() takes no argument {name!r}{hint}")
            return function(*args, **kwargs, **{argument: settings_class.of(**values)})

        call.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[*others[:position], *declared, *others[position + 1 :], rest]
        )
        call.__settings__ = settings_class  # type: ignore[attr-defined]
        document(call, settings_class)
        return call

    return decorate
