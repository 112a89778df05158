"""Write the motion benchmark's tables and figures into its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.simulation.scenarios import SCENARIOS
from steadyspike.simulation.truth import ERROR_STEP_S, true_displacement
from steadyspike_benchmarks.motion import load_motion, load_results
from steadyspike_benchmarks.motion_tables import AUTO, format_motion_table, mean_errors
from steadyspike_benchmarks.study_peaks import StudyCase, load_truth
from steadyspike_benchmarks.study_presets import REFERENCE, StudyPreset

EXAMPLES = ("nonrigid_gradient", "bumps", "steps", "sessions", "bursting", "rate_changes")
DOTS_PER_INCH = 150


def write_motion_report(folder: str | Path, presets: dict[str, StudyPreset] | None = None) -> str:
    """Write `results.md`, `errors.png` and `examples.png` into the folder of a study, as far as it has results.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    presets : dict of str to StudyPreset or None
        See `format_motion_table`.

    Returns
    -------
    tables : str
        What `results.md` holds.
    """
    from steadyspike_benchmarks.figures.motion import plot_motion_errors, plot_motion_examples

    folder = Path(folder)
    tables = format_motion_table(folder, presets)
    results = load_results(folder)
    if not results:
        return tables
    (folder / "results.md").write_text(tables + "\n", encoding="utf8")
    errors = errors_by_scenario(results)
    ours = {result["preset"] for result in results if result["ours"]}
    plot_motion_errors(errors, ours).savefig(folder / "errors.png", dpi=DOTS_PER_INCH)
    examples = example_curves(folder, results)
    if examples:
        plot_motion_examples(examples, ours).savefig(folder / "examples.png", dpi=DOTS_PER_INCH)
    return tables


def errors_by_scenario(results: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Give, for each scenario, the mean error in um of each preset that was measured on all its recordings."""
    found = {result["scenario"] for result in results}
    scenarios = [name for name in SCENARIOS if name in found]
    chosen = {name: [r for r in results if r["scenario"] == name] for name in scenarios}
    return {
        name: {preset: error for preset, (error, complete) in mean_errors(own).items() if complete}
        for name, own in chosen.items()
    }


def example_curves(folder: str | Path, results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the true and estimated displacement in the middle of the probe for some recordings.

    Parameters
    ----------
    folder : str or Path
        The study's folder.
    results : list of dict
        Its results.

    Returns
    -------
    examples : dict of str to dict
        For each scenario of `EXAMPLES`, of its first recording: "times_s", "truth", and under "estimates" the curve of
        `steady_auto` (or `steady_nonrigid`) and of `dredge_fast`, all without their medians.
    """
    measured = {(r["scenario"], r["preset"]): r for r in reversed(results) if "failed" not in r}
    names = {preset for _, preset in measured}
    ours = AUTO if AUTO in names else "steady_nonrigid"
    examples = {}
    for scenario in EXAMPLES:
        shown = [name for name in (REFERENCE, ours) if (scenario, name) in measured]
        if not shown:
            continue
        first = measured[scenario, shown[-1]]
        case = StudyCase(*(first[key] for key in ("scenario", "probe", "seed", "num_channels", "duration_s")))
        truth = load_truth(folder, case)
        times = np.arange(0.5 * ERROR_STEP_S, case.duration_s, ERROR_STEP_S)
        depth = np.array([np.mean(truth.depth_range_um)])
        curves = {}
        for name in shown:
            motion = load_motion(folder, dict(first, preset=name))
            if motion is not None:
                curves[name] = _at_depth(motion, times, depth)
        true_curve = true_displacement(truth, times, depth)[:, 0]
        examples[scenario] = dict(times_s=times, truth=_centred(true_curve), estimates=curves)
    return examples


def _at_depth(motion: Any, times: np.ndarray, depth: np.ndarray) -> np.ndarray:
    if motion.displacement[0].shape[1] == 1:
        return _centred(np.interp(times, motion.temporal_bins_s[0], motion.displacement[0][:, 0]))
    return _centred(motion.get_displacement_at_time_and_depth(times, depth, segment_index=0, grid=True)[0])


def _centred(curve: np.ndarray) -> np.ndarray:
    return curve - np.median(curve)
