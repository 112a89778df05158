"""What `evaluate_deepinterpolation` returns."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import folder_aside, refuse_existing
from steadyspike.core.plain import plain_json
from steadyspike.evaluation.denoising.artifacts import FALSE_LEVELS
from steadyspike.evaluation.denoising.tables import (
    ERROR_COLUMNS,
    LOSS_COLUMNS,
    MEDIANS,
    SIZES,
    markdown_table,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

NAMES = {
    "mse": "held-out loss: mean squared",
    "mae": "held-out loss: mean absolute",
    "charbonnier": "held-out loss: Charbonnier",
    "rms_error": "error against clean traces (noise = 1)",
    "rms_error_in_spikes": "... within spikes",
    "rms_error_outside": "... outside spikes",
    "noise_reduction": "noise reduction between spikes",
    "num_units": "units measured",
    "median_abs_amplitude_bias": "median absolute amplitude bias",
    "median_amplitude_bias": "median amplitude bias",
    "median_gain": "median gain of the template",
    "median_shape_bias": "median shape bias",
    "median_smearing": "median smearing",
    "median_violations": "median share of refractory violations",
    "median_template_snr": "median template SNR",
    "median_d_prime_self": "median d', own template",
    "median_d_prime_true": "median d', true template",
}
BY_SIZE = ("median_abs_amplitude_bias", "median_d_prime_self", "median_d_prime_true")
CHECKS = {
    "false_samples": f"samples beyond {FALSE_LEVELS:g} levels between spikes, per s and channel, more than recorded",
    "amplitude_bias_large": "amplitude bias of large units",
    "amplitude_bias_medium": "amplitude bias of medium units",
    "amplitude_bias_small": "amplitude bias of small units",
    "shape_bias": "shape bias",
    "smearing": "smearing, more than recorded",
    "added_correlation": "correlation added between the nearest channels",
    "violations": "share of refractory violations, more than recorded",
}
SETTINGS_FILE, TEXT_FILE = "evaluation.json", "evaluation.md"


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A few ms of traces.

    `traces` (num_samples, num_channels) are those of each method, and "clean" if it is known, less the center of each
    channel, from `start_s` on in s from the start of the segment. `noise` is that of each channel, 0 where it is not
    evaluated; `channel` the index of the extremum channel of the unit that fires in the middle.
    """

    traces: Mapping[str, np.ndarray]
    segment_index: int
    start_s: float
    sampling_frequency: float
    noise: np.ndarray
    channel: int | None = None


@dataclass(frozen=True, eq=False, repr=False)
class DenoisingEvaluation:
    """How well models denoise a recording; the measures are defined in `evaluate_deepinterpolation`.

    Attributes
    ----------
    summary : pandas.DataFrame
        One row per method: `method`, the losses `mse`, `mae`, `charbonnier` (NaN for "raw", which would predict
        itself), `rms_error`, `rms_error_in_spikes`, `rms_error_outside`, `noise_reduction`, `num_units` (measured), and
        medians over the units: `median_abs_amplitude_bias` and `median_` with each measure of `units`.
    by_size : pandas.DataFrame
        One row per method and size of units ("small", "medium", "large"): `num_units` and the same medians.
    units : pandas.DataFrame
        One row per unit and method: `unit_id`, `method`, `channel_id` (extremum channel), `num_spikes`, `size`,
        `reference_amplitude` (in the recording's units), `reference_snr`, `amplitude_bias`, `gain`, `shape_bias`,
        `smearing`, `violations`, `template_snr`, `d_prime_self`, `d_prime_true`. NaN where a unit has too few spikes,
        or where noise-free traces are needed and were not given.
    checks : pandas.DataFrame
        Checks for artifacts, one row for each method and each that can be made: `method`, `check`, `value`, what the
        measure is of the recording itself (`recorded`), `limit` and whether it is `passed`. Empty without a sorting.
    templates : dict of ndarray, shape (num_units, num_samples)
        Template of each unit on its extremum channel, of each method and of "clean".
    excerpt : Excerpt
        A few ms of traces to look at.
    settings : dict
        What it was computed with.
    notes : tuple of str
        What a reader has to know.
    """

    summary: pd.DataFrame
    by_size: pd.DataFrame
    units: pd.DataFrame
    checks: pd.DataFrame
    templates: Mapping[str, np.ndarray]
    excerpt: Excerpt
    settings: dict[str, Any]
    notes: tuple[str, ...] = field(default=())

    def __repr__(self) -> str:
        methods = ", ".join(self.summary["method"])
        return f"DenoisingEvaluation of {methods}; print it for its tables"

    def __str__(self) -> str:
        return self.to_markdown()

    def to_markdown(self) -> str:
        """Write the tables as Markdown; measures that no method has are left out."""
        methods = list(self.summary["method"])
        rows = []
        for column in (*LOSS_COLUMNS, *ERROR_COLUMNS, "noise_reduction", "num_units", *MEDIANS):
            values = self.summary[column].to_numpy(dtype="float64")
            if column == "num_units" and not values.any():
                continue
            if np.isnan(values).all():
                continue
            rows.append([NAMES[column], *(_shown(column, value) for value in values)])
        parts = [markdown_table(["", *methods], rows)]
        sizes = self._size_rows()
        if sizes:
            columns = [name for name in methods if name in set(self.by_size["method"])]
            parts.append(markdown_table(["", "units", *columns], sizes))
        if len(self.checks):
            parts.append(self._checks_text())
        span = f"{self.settings['start_s']:g} s to {self.settings['end_s']:g} s were evaluated"
        parts.append("\n".join(f"- {note}." for note in (span, *self.notes)))
        return "\n\n".join(parts) + "\n"

    def _checks_text(self) -> str:
        """Checks for artifacts as a table, with what has failed marked."""
        found = self.checks.set_index(["check", "method"])
        methods = list(dict.fromkeys(self.checks["method"]))
        rows = []
        for check in dict.fromkeys(self.checks["check"]):
            cells = []
            for method in methods:
                if (check, method) not in found.index:
                    cells.append("-")
                    continue
                one = found.loc[(check, method)]
                cells.append(_shown(check, one["value"]) + ("" if one["passed"] else " (failed)"))
            limit = _shown(check, float(found.loc[check]["limit"].iloc[0]))
            rows.append([CHECKS[check], limit, *cells])
        return markdown_table(["checks for artifacts", "at most", *methods], rows)

    def _size_rows(self) -> list[list[str]]:
        low, high = self.settings["snr_classes"]
        ranges = (f"SNR < {low:g}", f"SNR {low:g} to {high:g}", f"SNR >= {high:g}")
        rows = []
        for column in BY_SIZE:
            for size, limits in zip(SIZES, ranges, strict=True):
                own = self.by_size[self.by_size["size"] == size]
                values = own[column].to_numpy(dtype="float64")
                if np.isnan(values).all():
                    continue
                label = f"{NAMES[column]}, {size} ({limits})"
                shown = (_shown(column, value) for value in values)
                rows.append([label, str(int(own["num_units"].max())), *shown])
        return rows

    def plot(self) -> Figure:
        """Draw the measures (`steadyspike.evaluation.figures.plot_denoising_evaluation`)."""
        from steadyspike.evaluation.figures.denoising import plot_denoising_evaluation

        return plot_denoising_evaluation(self)

    def plot_traces(self) -> Figure:
        """Draw a few ms of traces (`steadyspike.evaluation.figures.plot_denoised_traces`)."""
        from steadyspike.evaluation.figures.denoising import plot_denoised_traces

        return plot_denoised_traces(self)

    def plot_templates(self) -> Figure:
        """Draw templates of some units (`steadyspike.evaluation.figures.plot_denoised_templates`)."""
        from steadyspike.evaluation.figures.denoising import plot_denoised_templates

        return plot_denoised_templates(self)

    def save(self, folder: str | Path, overwrite: bool = False) -> list[Path]:
        """Write tables, settings and figures to a folder: whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Where to.
        overwrite : bool, default: False
            Whether an evaluation that is already there is replaced. Any other folder is never replaced.

        Returns
        -------
        files : list of Path
            summary.csv, by_size.csv, units.csv, checks.csv, evaluation.json (settings, summary and notes),
            evaluation.md, and the figures measures.png, traces.png and, where there are units, templates.png.

        Raises
        ------
        FileExistsError
            If `folder` exists, and `overwrite` is False or it is no evaluation.
        """
        folder = Path(folder).absolute()
        refuse_existing(folder, SETTINGS_FILE, overwrite, "evaluation")
        with folder_aside(folder, SETTINGS_FILE) as new:
            self._write(new)
        return sorted(folder.iterdir())

    def _write(self, folder: Path) -> None:
        from steadyspike.evaluation.figures.save import DOTS_PER_INCH

        for name in ("summary", "by_size", "units", "checks"):
            getattr(self, name).to_csv(folder / f"{name}.csv", index=False)
        content = {
            "settings": self.settings,
            "notes": list(self.notes),
            "summary": self.summary.to_dict("records"),
            "by_size": self.by_size.to_dict("records"),
            "checks": self.checks.to_dict("records"),
        }
        text = json.dumps(plain_json(content), indent=2, allow_nan=False)
        (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")
        (folder / TEXT_FILE).write_text(self.to_markdown(), encoding="utf-8")
        figures = {"measures": self.plot(), "traces": self.plot_traces()}
        if (self.by_size["num_units"] > 0).any():
            figures["templates"] = self.plot_templates()
        for name, figure in figures.items():
            figure.savefig(folder / f"{name}.png", dpi=DOTS_PER_INCH)


def _shown(column: str, value: float) -> str:
    if np.isnan(value):
        return "-"
    if column == "num_units":
        return str(int(value))
    if "amplitude_bias" in column:
        return f"{100 * value:.1f} %"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.3f}"
