"""Tables of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.denoising.artifacts import FALSE_LEVELS, smearing
from steadyspike.evaluation.denoising.units import SELF, TRUE, UnitEvents, UnitSums, compare_templates

if TYPE_CHECKING:
    import pandas as pd

SIZES = ("small", "medium", "large")
LOSS_COLUMNS = ("mse", "mae", "charbonnier")
ERROR_COLUMNS = ("rms_error", "rms_error_in_spikes", "rms_error_outside")
MEASURES = (
    "amplitude_bias",
    "gain",
    "shape_bias",
    "smearing",
    "violations",
    "template_snr",
    "d_prime_self",
    "d_prime_true",
)
UNIT_COLUMNS = (
    *("unit_id", "method", "channel_id", "num_spikes", "size", "reference_amplitude", "reference_snr"),
    *MEASURES,
)
MEDIANS = ("median_abs_amplitude_bias", *(f"median_{name}" for name in MEASURES))


def unit_table(
    inputs: Any,
    units: Sequence[UnitEvents],
    references: Sequence[np.ndarray],
    sums: Mapping[str, UnitSums | None],
    noise: Mapping[str, np.ndarray],
    scale: np.ndarray,
    settings: Any,
) -> pd.DataFrame:
    """One row for each unit and method; `UNIT_COLUMNS`."""
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, gathered in sums.items():
        if gathered is None:
            continue
        templates, d_primes = gathered.templates(), [gathered.d_primes(kind) for kind in (SELF, TRUE)]
        for index, unit in enumerate(units):
            row = {
                "unit_id": inputs.sorting.unit_ids[index],
                "method": name,
                "num_spikes": unit.num_spikes,
                **_reference(inputs, unit, references[index], scale, settings),
            }
            if unit.num_spikes >= settings.min_spikes and unit.channels.size:
                row |= _measures(unit, templates[index], references[index], noise[name])
                least = FALSE_LEVELS * noise[name][unit.main]
                row["violations"] = gathered.repeated(index, row.get("reference_amplitude", np.nan), least)
                row |= {"d_prime_self": d_primes[SELF][index], "d_prime_true": d_primes[TRUE][index]}
            rows.append(row)
    table = pd.DataFrame(rows, columns=list(UNIT_COLUMNS))
    numbers = ["reference_amplitude", "reference_snr", *MEASURES]
    return table.astype(dict.fromkeys(numbers, "float64"))


def _reference(
    inputs: Any, unit: UnitEvents, reference: np.ndarray, scale: np.ndarray, settings: Any
) -> dict[str, Any]:
    """What a unit is like, whatever the method; nothing of units with too few spikes."""
    if unit.num_spikes < settings.min_spikes or unit.main not in unit.channels:
        return {}
    own = reference[:, unit.channels == unit.main][:, 0]
    amplitude = float(own[np.abs(own).argmax()])
    snr = abs(amplitude) / scale[unit.main]
    return {
        "channel_id": inputs.recording.channel_ids[unit.main],
        "size": SIZES[int(np.searchsorted(settings.snr_classes, snr, side="right"))],
        "reference_amplitude": amplitude,
        "reference_snr": snr,
    }


def _measures(
    unit: UnitEvents, template: np.ndarray, reference: np.ndarray, noise: np.ndarray
) -> dict[str, float]:
    if unit.main not in unit.channels:
        return {}
    main = int(np.flatnonzero(unit.channels == unit.main)[0])
    bias, gain, shape = compare_templates(template, reference, main)
    with np.errstate(divide="ignore", invalid="ignore"):
        snr = float(np.abs(template[:, main]).max() / noise[unit.main])
    return {
        **{"amplitude_bias": bias, "gain": gain, "shape_bias": shape},
        "smearing": smearing(template, reference),
        "template_snr": snr,
    }


def _medians(rows: pd.DataFrame) -> dict[str, float]:
    """Medians over the units that have a measure."""

    def median(values: Any) -> float:
        known = values.to_numpy(dtype="float64")
        known = known[~np.isnan(known)]
        return float(np.median(known)) if known.size else np.nan

    return {
        "median_abs_amplitude_bias": median(rows["amplitude_bias"].abs()),
        **{f"median_{name}": median(rows[name]) for name in MEASURES},
    }


def summary_table(
    gathered: Mapping[str, Any], units: pd.DataFrame, noise: Mapping[str, np.ndarray], live: np.ndarray
) -> pd.DataFrame:
    """One row for each method: losses, errors, noise reduction, and medians over the units."""
    import pandas as pd

    rows = []
    for name, part in gathered.items():
        own = units[units["method"] == name]
        errors = part.errors.values()
        rows.append(
            {
                "method": name,
                **part.losses.means(),
                **errors,
                "noise_reduction": _reduction(noise.get("raw"), noise.get(name), live),
                "num_units": int(own["size"].notna().sum()),
                **_medians(own),
            }
        )
    return pd.DataFrame(rows)


def _reduction(before: np.ndarray | None, after: np.ndarray | None, live: np.ndarray) -> float:
    if before is None or after is None:
        return np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = before[live] / after[live]
    ratios = ratios[~np.isnan(ratios)]
    return float(np.median(ratios)) if ratios.size else np.nan


def size_table(units: pd.DataFrame) -> pd.DataFrame:
    """One row for each method and size of units: number of units, and medians over them."""
    import pandas as pd

    rows = []
    for name in dict.fromkeys(units["method"]):
        for size in SIZES:
            own = units[(units["method"] == name) & (units["size"] == size)]
            rows.append({"method": name, "size": size, "num_units": len(own), **_medians(own)})
    return pd.DataFrame(rows, columns=["method", "size", "num_units", *MEDIANS])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table as Markdown, padded so that it reads well as text."""
    lines = [list(header), *[list(row) for row in rows]]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    padded = [
        [cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells)]
        for cells in (zip(line, widths, strict=True) for line in lines)
    ]
    rule = ["-" * (width - 1) + ":" if column else "-" * width for column, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (padded[0], rule, *padded[1:]))
