"""What changes when a tuned number is changed: every one times 3 and times 1/3, on the scenarios of `accuracy`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike_benchmarks.accuracy import SCENARIOS
from steadyspike_benchmarks.accuracy.constants import Constant, changed
from steadyspike_benchmarks.accuracy.registry import TUNED

FACTORS = (1 / 3, 3.0)
# An error may grow by this share, and by this much in its unit, before a scenario notices: sums in another order, on
# another processor or with another NumPy, change the errors by a few percent where an estimate hangs in the balance.
MARGIN = 0.1
MARGIN_ABSOLUTE = 0.005
RECORD = "errors.json"


def recorded_errors() -> dict[str, float]:
    """Errors of all scenarios when they were last recorded (``sensitivity --record``)."""
    return json.loads(files("steadyspike_benchmarks.accuracy").joinpath(RECORD).read_text(encoding="utf8"))


def record_errors(errors: dict[str, float]) -> None:
    """Write the errors where `recorded_errors` reads them."""
    rounded = {name: float(f"{error:.4g}") for name, error in errors.items()}
    place = Path(str(files("steadyspike_benchmarks.accuracy").joinpath(RECORD)))
    place.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf8")


def bound(error: float) -> float:
    """Give the largest error that a scenario may have, from the recorded one."""
    return error * (1.0 + MARGIN) + MARGIN_ABSOLUTE


def measure_scenarios(constants: Iterable[Constant]) -> dict[str, float]:
    """Give the error of each scenario on which some of the constants are judged, by name."""
    groups = {group for constant in constants for group in constant.groups}
    return {scenario.name: _quiet(scenario.error) for scenario in SCENARIOS if scenario.group in groups}


@dataclass(frozen=True)
class Change:
    """What a constant times a factor does.

    Parameters
    ----------
    constant : Constant
        Which.
    factor : float
        Times this.
    value, changed_value : Any
        Before and after.
    errors : dict of str to float
        Of each scenario of its groups; infinite where the computation failed.
    base : dict of str to float
        The same, unchanged.
    """

    constant: Constant
    factor: float
    value: Any
    changed_value: Any
    errors: dict[str, float]
    base: dict[str, float]

    @property
    def noticed_by(self) -> list[str]:
        """Scenarios whose error leaves its bound, the most hurt first."""
        worse = [name for name, error in self.errors.items() if error > bound(self.base[name])]
        return sorted(worse, key=lambda name: self.base[name] / self.errors[name])


def measure_changes(
    constants: Iterable[Constant], base: dict[str, float], tell: Callable[[str], None] = lambda line: None
) -> list[Change]:
    """Change each constant by each factor and compute the scenarios of its groups.

    Parameters
    ----------
    constants : iterable of Constant
        Which.
    base : dict of str to float
        Errors of the scenarios with nothing changed.
    tell : callable, default: say nothing
        Told about each change when it is done.

    Returns
    -------
    changes : list of Change
    """
    changes = []
    for constant in constants:
        for factor in FACTORS:
            value = getattr(constant.place, constant.name)
            with changed(constant, factor) as after:
                mine = [scenario for scenario in SCENARIOS if scenario.group in constant.groups]
                errors = {scenario.name: _or_infinite(scenario.error) for scenario in mine}
            changes.append(Change(constant, factor, value, after, errors, base))
        tell(_row(constant, changes[-len(FACTORS) :]))
    return changes


def _quiet(error: Callable[[], float]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return error()


def _or_infinite(error: Callable[[], float]) -> float:
    # a value out of its range may break what is computed with it in any way
    try:
        value = _quiet(error)
    except Exception:
        return float("inf")
    return value if np.isfinite(value) else float("inf")


def format_scenarios(base: dict[str, float]) -> str:
    """Write the error of each scenario as a Markdown table."""
    lines = ["| scenario | what happens | error | unit |", "|---|---|---:|---|"]
    measured = [scenario for scenario in SCENARIOS if scenario.name in base]
    lines += [f"| {s.name} | {s.what} | {base[s.name]:.3g} | {s.unit} |" for s in measured]
    return "\n".join(lines)


def format_table(changes: list[Change]) -> str:
    """Write what each constant does, times 1/3 and times 3, as a Markdown table; "no" marks what nothing notices."""
    lines = [
        "| constant | value | unit | times 1/3 | times 3 | noticed |",
        "|---|---:|---|---|---|---|",
    ]
    by_constant: dict[Constant, list[Change]] = {}
    for change in changes:
        by_constant.setdefault(change.constant, []).append(change)
    lines += [_row(constant, own) for constant, own in by_constant.items()]
    return "\n".join(lines)


def _row(constant: Constant, changes: list[Change]) -> str:
    where = constant.module.rpartition(".")[2]
    noticed = "yes" if any(change.noticed_by for change in changes) else "**no**"
    cells = [f"`{where}.{constant.name}`", _in_words(changes[0].value), constant.unit]
    return "| " + " | ".join([*cells, *(_effect(change) for change in changes), noticed]) + " |"


def _in_words(value: Any) -> str:
    return ", ".join(f"{item:g}" for item in value) if isinstance(value, tuple) else f"{value:g}"


def _effect(change: Change) -> str:
    """Largest growth of the error of any scenario, and how many notice."""
    if change.value == change.changed_value:
        return "the same value"
    if change.noticed_by:
        worst = change.noticed_by[0]
        more = len(change.noticed_by) - 1
        return f"{worst} {_growth(change, worst)}" + (f" and {more} more" if more else "")
    better = min(change.errors, key=lambda name: change.errors[name] / max(change.base[name], 1e-9))
    if change.errors[better] < change.base[better] / (1.0 + MARGIN) - MARGIN_ABSOLUTE:
        return f"none worse; {better} {_growth(change, better)}"
    return "none"


def _growth(change: Change, name: str) -> str:
    before, after = change.base[name], change.errors[name]
    if not np.isfinite(after):
        return "fails"
    if before < MARGIN_ABSOLUTE:
        return f"{before:.2g} -> {after:.2g}"
    return f"{100 * (after / before - 1):+.0f} %"


def choose(names: list[str] | None) -> list[Constant]:
    """Constants whose name, or module and name, begins or ends so; all for None.

    Raises
    ------
    ValueError
        For a name that is not among them.
    """
    if not names:
        return list(TUNED)
    chosen = []
    for name in names:
        mine = [c for c in TUNED if name == c.name or f"{c.module}.{c.name}".endswith(f".{name}")]
        if not mine:
            raise ValueError(f"sensitivity: constant={name!r}; allowed: {', '.join(c.name for c in TUNED)}")
        chosen += mine
    return chosen
