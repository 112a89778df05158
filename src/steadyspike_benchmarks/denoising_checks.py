"""All artifact checks of denoisers in one table, on drawn noise and on a real recording, each with spikes added.

They are those of `evaluate_deepinterpolation`, at several sizes of spikes. Networks that have seen the samples are
checked by the recipe for a sorter, others as they predict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.denoising.artifacts import LIMITS
from steadyspike.evaluation.denoising.result import CHECKS
from steadyspike.evaluation.denoising.tables import SIZES, markdown_table

if TYPE_CHECKING:
    import pandas as pd
    from spikeinterface import BaseRecording

BUNDLED = {
    "steady-np1": "np1",
    "steady-np1-seeing": "np1",
    "steady-np2": "np2",
    "steady-np2-seeing": "np2",
}
LEVELS, SEEDS = (5.0, 9.0, 15.0), (0, 1, 2, 3)
# so long that a template of a hundred spikes and more is known to a fraction of what its shape may change
FIRST_SEED, DRAWN_S, LEAST_SPIKES = 2_000_000, 2.0, 10
REAL = "real noise"
TITLE = "## Artifact checks"
BIASES = tuple(f"amplitude_bias_{size}" for size in SIZES)
# the same whatever the spikes, which they are measured between
BETWEEN = ("false_samples", "added_correlation")


def way_of(model: Any, share: float | None = None) -> dict[str, Any]:
    """How a model is checked: by the recipe for a sorter where that is made for its network, or with another share."""
    from steadyspike.library.models.references import find_source
    from steadyspike.preprocessing.denoise import RECIPE

    seeing = find_source(model).config().network.name == "seeing"
    recipe = dict(RECIPE) if share is None else {**RECIPE, "recorded_share": share}
    return recipe if seeing else {"output": "prediction", "recorded_share": 0.0}


def check_denoisers(
    models: dict[str, tuple[Any, str]],
    recording: BaseRecording | None = None,
    start_s: float = 0.25,
    levels: Sequence[float] = LEVELS,
    seeds: Sequence[int] = SEEDS,
    tell: Callable[[str], None] = lambda line: None,
    share: float | None = None,
) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Check models on spikes added to drawn noise of their probe, and to a raw recording from `start_s` on.

    `models` are names with a model and the probe whose noise is drawn, "np1" or "np2"; the recording is left out for
    those whose contacts lie otherwise. `share` of the recorded traces is kept by networks that see all samples; None:
    the recipe's. Each seed draws another noise and other spikes. Returns for each place ("drawn noise, np1", ...), name
    (and "linear") and check, with the size of spikes where it matters: "value", "recorded",
    "limit" and "passed"; means over seeds, amplitude biases and gains medians over the units of all.
    """
    from steadyspike_benchmarks.denoising_teachers import drawn_recording

    found = {}
    for probe in dict.fromkeys(probe for _, probe in models.values()):
        own = {name: model for name, (model, its) in models.items() if its == probe}
        tell(f"drawn noise, {probe}")
        noises = {seed: drawn_recording(probe, DRAWN_S, FIRST_SEED + seed) for seed in seeds}
        found[f"drawn noise, {probe}"] = _checked(own, noises, levels, share)
    if recording is not None:
        from steadyspike_benchmarks.denoising_injected import prepare

        ready = prepare(recording)
        later = ready.frame_slice(round(start_s * ready.sampling_frequency), ready.get_num_samples())
        fitting = {name: model for name, (model, _) in models.items() if _fits(model, later)}
        if fitting:
            tell(REAL)
            found[REAL] = _checked(fitting, dict.fromkeys(seeds, later), levels, share)
    return found


def _fits(model: Any, recording: BaseRecording) -> bool:
    from steadyspike.library.models.references import find_source
    from steadyspike.preprocessing.deepinterpolation import layout_for

    try:
        layout_for(find_source(model), recording, np.zeros(recording.get_num_channels(), bool))
    except ValueError:
        return False
    return True


def _checked(
    models: dict[str, Any], noises: dict[int, BaseRecording], levels: Sequence[float], share: float | None
) -> dict[str, dict[str, dict[str, Any]]]:
    import pandas as pd

    tables = [
        (frame.assign(level=level), units.assign(level=level))
        for level in levels
        for seed, noise in noises.items()
        for frame, units in _evaluated(models, noise, level, seed, share)
    ]
    checks, units = (pd.concat(parts) for parts in zip(*tables, strict=True))
    methods = [*models, *(["linear"] if "linear" in set(checks["method"]) else [])]
    return {name: dict(_rows(checks[checks["method"] == name], units, name)) for name in methods}


def _evaluated(
    models: dict[str, Any], noise: BaseRecording, level: float, seed: int, share: float | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Checks and units of all models on the same spikes, those of one way to denoise at a time."""
    from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation
    from steadyspike_benchmarks.denoising_injected import inject

    injected = inject(noise, level, seed)
    ways = {name: way_of(model, share) for name, model in models.items()}
    known: set[str] = set()
    for way in {tuple(one.items()): one for one in ways.values()}.values():
        own = {name: models[name] for name, its in ways.items() if its == way}
        evaluation = evaluate_deepinterpolation(
            *(injected.recording, own, injected.sorting, injected.clean),
            **{"start_s": 0.0, "end_s": float(noise.get_total_duration()), "progress_bar": False},
            **{"min_spikes": LEAST_SPIKES, "seed": seed, **way},
        )
        # the linear interpolation is the same each time
        new = [one[~one["method"].isin(known)] for one in (evaluation.checks, evaluation.units)]
        known |= set(evaluation.units["method"]) - set(own)
        yield new[0], new[1]


def _rows(checks: pd.DataFrame, units: pd.DataFrame, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each check of one method with its values."""
    for check, limit in LIMITS.items():
        if check in BIASES:
            size = check.removeprefix("amplitude_bias_")
            value, recorded = (
                abs(_median(units[(units["method"] == one) & (units["size"] == size)], "amplitude_bias"))
                for one in (name, "raw")
            )
            if not np.isnan(value):
                yield check, _verdict(value, recorded, limit)
            continue
        own = checks[checks["check"] == check]
        parts = (
            {check: own}
            if check in BETWEEN
            else {f"{check}, {level:g}": part for level, part in own.groupby("level")}
        )
        for label, part in parts.items():
            yield label, _verdict(part["value"].mean(), part["recorded"].mean(), limit)
    for level, part in units.groupby("level"):
        gains = [_median(part[part["method"] == one], "gain") for one in (name, "raw")]
        yield f"gain, {level:g}", {"value": gains[0], "recorded": gains[1], "limit": None, "passed": None}


def _median(rows: pd.DataFrame, column: str) -> float:
    known = rows[column].dropna()
    return float(known.median()) if len(known) else float("nan")


def _verdict(value: float, recorded: float, limit: float) -> dict[str, Any]:
    return {
        "value": float(value),
        "recorded": float(recorded),
        "limit": limit,
        "passed": bool(value <= limit),
    }


def checks_table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Write the checks of one place with a column for each method; what has failed is marked."""
    rows = []
    first = next(iter(found.values()))
    for label, one in first.items():
        check, _, level = label.partition(", ")
        words = CHECKS.get(check, check) + (f" (spikes of {level})" if level else "")
        limit = "-" if one["limit"] is None else _shown(check, one["limit"])
        cells = [_cell(check, values[label]) for values in found.values()]
        rows.append([words, limit, _shown(check, one["recorded"]), *cells])
    return markdown_table(["", "at most", "recorded", *found], rows)


def _cell(check: str, one: dict[str, Any]) -> str:
    return _shown(check, one["value"]) + (" (failed)" if one["passed"] is False else "")


def _shown(check: str, value: float) -> str:
    if check in BIASES or check == "violations":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if check == "false_samples" else f"{value:.3f}"


def checks_text(found: dict[str, Any]) -> str:
    """Write the tables of all places, one below the other."""
    return "\n\n".join(f"{place}:\n\n{checks_table(rows)}" for place, rows in found.items())


def with_checks(
    card: str,
    found: dict[str, Any],
    name: str,
    way: dict[str, Any],
    levels: Sequence[float],
    seeds: Sequence[int],
) -> str:
    """Put the checks of one model, made in a way as `way_of` gives it, into a card, in place of those it holds."""
    kept, _, after = card.partition(TITLE)
    _, mark, rest = after.partition("\n## ")
    own = {
        place: {one: rows[one] for one in (name, "linear") if one in rows}
        for place, rows in found.items()
        if name in rows
    }
    share = way["recorded_share"]
    lines = [
        *(TITLE, ""),
        f"Checks of `evaluate_deepinterpolation`, and the gain, with spikes of "
        f"{', '.join(f'{one:g}' for one in levels)} noise levels added, {len(seeds)} seeds,",
        f"{f'with {share:g} of the recorded traces kept' if share else 'as it predicts'}. `linear` is a linear "
        "interpolation. Real noise is the second half of the Neuropixels 2.0 example of spikewrap.",
        *("", checks_text(own), ""),
        *("Made by `python -m steadyspike_benchmarks denoising-checks`.", ""),
    ]
    return kept.rstrip("\n") + "\n\n" + "\n".join(lines) + (f"{mark}{rest}" if mark else "")


def write_cards(
    folder: Path, found: dict[str, Any], levels: Sequence[float], seeds: Sequence[int]
) -> list[Path]:
    """Put the checks into the cards of the bundled models that lie in a folder; returns the cards."""
    from steadyspike.library.hub.artifact import CARD

    cards = []
    for name in BUNDLED:
        if any(name in rows for rows in found.values()):
            path = folder / name / CARD
            card = with_checks(path.read_text("utf-8"), found, name, way_of(name), levels, seeds)
            path.write_text(card, "utf-8")
            cards.append(path)
    return cards
