"""Parameters in groups, for a part that has too many for one list.

A group is settings of its own, and a part declares it as a field::

    class OptimizerSettings(Group):
        part = "OptimizerSettings"

        max_steps: int = parameter(5000, "Steps in all", ge=1)

    class TrainingSettings(GroupedSettings):
        part = "train"

        optimizer: OptimizerSettings = group(OptimizerSettings, "How weights are fitted")
        devices: int = parameter(1, "How many devices", ge=1)

    @takes(TrainingSettings)
    def train(recording, *, settings): ...

Callers give a group as an object or as a dict, or its parameters one by one, whatever is handier::

    train(recording, optimizer=OptimizerSettings(max_steps=100))
    train(recording, optimizer={"max_steps": 100})
    train(recording, max_steps=100)
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from steadyspike.core.arguments import shown
from steadyspike.core.settings import Settings, document, parameter


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
        groups = cls.groups().values()
        return dict(cls.model_fields) | {
            word: one.model_fields[name] for one in groups for word, name in one.keywords().items()
        }

    @classmethod
    def parameters(cls, kind: Any) -> list[inspect.Parameter]:
        """Return the groups and the other parameters as those of a function."""
        kinds = {name: f"{one.__name__} | dict" for name, one in cls.groups().items()}
        shared = super().parameters(kind)
        return [one.replace(annotation=kinds.get(one.name, one.annotation)) for one in shared]

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
        words = {name: word for word, name in group_class.plain.items()}
        lines = []
        for line in text.splitlines():
            name, equals, value = line.removeprefix(f"{group_class.part}: ").partition("=")
            lines.append(f"{cls.part}: {words.get(name, name) if equals else name}{equals}{value}")
        return "\n".join(lines)

    @classmethod
    def _described(cls, name: str, indent: int) -> list[str]:
        """Describe a group with all that it holds."""
        groups = cls.groups()
        if name not in groups:
            return super()._described(name, indent)
        heading, *text = super()._described(name, indent)
        heading = heading.rsplit(", default: ", 1)[0]
        return [heading, *text, "", groups[name].params_doc(indent + 4), ""]
