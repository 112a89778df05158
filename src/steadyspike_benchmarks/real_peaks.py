"""Motion estimators compared on real peaks with real drift, where nobody knows the truth.

Every estimator gets the same peaks. Two things can be judged without a truth: how far the estimates agree, and how
sharp the depths of the corrected peaks are, for units that keep their place make lines.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.core.aside import folder_aside
from steadyspike_benchmarks import agreement
from steadyspike_benchmarks.peak_folder import RealPeaks, as_spikeinterface, load_peaks

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

    Estimates = dict[tuple[str, str], tuple[Motion, dict[str, float]]]

KINDS = ("rigid", "nonrigid")
STUDY = "study.json"


@dataclass(frozen=True)
class Estimator:
    """One way to estimate motion.

    Parameters
    ----------
    method : str
        Its name in SpikeInterface.
    arguments : dict
        What differs from the method's defaults, beside the windows.
    package : str or None
        A module that has to be there.
    install : str
        What to install where it is not.
    """

    method: str
    arguments: dict[str, Any]
    package: str | None = None
    install: str = ""


ESTIMATORS = {
    "steady_decentralized": Estimator("steady_decentralized", {}),
    "dredge_ap": Estimator("dredge_ap", {}, "torch", "torch"),
    # unless told how far the tissue moves, non-rigid dredge_ap looks no farther than a quarter of win_scale_um
    "dredge_ap_250um": Estimator("dredge_ap", {"max_disp_um": 250.0}, "torch", "torch"),
    "medicine": Estimator("medicine", {}, "medicine", "medicine-neuro"),
    # its 10,000 steps take half an hour on one core; its noise has ended after 2,000
    "medicine_2500_steps": Estimator("medicine", {"training_steps": 2500}, "medicine", "medicine-neuro"),
}
"""Estimators under the names that the benchmark has for them."""


@dataclass(frozen=True)
class Windows:
    """Depth windows of the non-rigid estimates, in um; the defaults are those of the preset `steady_nonrigid`."""

    win_step_um: float = 200.0
    win_scale_um: float = 300.0
    win_margin_um: float = 0.0


def run_real_peaks_benchmark(
    folder: str | Path,
    output: str | Path,
    *,
    estimators: Iterable[str] | None = None,
    kinds: Iterable[str] = KINDS,
    windows: Windows | None = None,
    progress_bar: bool = True,
) -> dict[str, Any]:
    """Estimate the motion of real peaks with several estimators, compare them and draw them.

    Parameters
    ----------
    folder : str or Path
        The peaks, see `load_peaks`.
    output : str or Path
        Where motions, figures (PNG), `results.json` and `results.md` go. A motion that is there is not estimated
        again, so a study that was interrupted goes on where it stopped.
    estimators : iterable of str or None
        Of `ESTIMATORS`; None: all. Those whose package is not installed are left out.
    kinds : iterable of str, default: ("rigid", "nonrigid")
        Which motions.
    windows : Windows or None
        Depth windows of the non-rigid estimates; None: those of the preset `steady_nonrigid`.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : dict
        "sharpness" and "agreement" (see `compare`); "left_out", a list of sentences; "num_peaks", "duration_s" and
        "windows".

    Raises
    ------
    ValueError
        For names that are not known, a folder without peaks (a `LoadingError`), or an output that holds something else.
    """
    windows, kinds = windows or Windows(), list(kinds)
    names, left_out = _installed(list(ESTIMATORS if estimators is None else estimators))
    _refuse_unknown("kinds", kinds, KINDS)
    peaks = load_peaks(folder)
    output = Path(output)
    _begin_study(output, peaks, windows)
    inputs = as_spikeinterface(peaks)
    cases = [(name, kind) for name in names for kind in kinds]
    for name, kind in tqdm(cases, desc="real peaks", disable=not progress_bar):
        if not _folder(output, name, kind).is_dir():
            _estimate(_folder(output, name, kind), ESTIMATORS[name], kind, inputs, windows)
    estimates = {case: load_estimate(_folder(output, *case)) for case in cases}
    results = dict(
        num_peaks=int(peaks.times_s.size),
        duration_s=float(peaks.times_s[-1]),
        windows=asdict(windows),
        left_out=left_out,
        **compare(peaks, estimates),
    )
    (output / "results.json").write_text(json.dumps(results, indent=1), encoding="utf8")
    (output / "results.md").write_text(format_real_peaks_tables(results) + "\n", encoding="utf8")
    from steadyspike_benchmarks.real_peaks_figures import save_real_peaks_figures

    save_real_peaks_figures(peaks, {case: motion for case, (motion, _) in estimates.items()}, output)
    return results


def compare(peaks: RealPeaks, estimates: Estimates) -> dict[str, list[dict[str, Any]]]:
    """Measure the sharpness of every estimate and the agreement of every two of one kind.

    Parameters
    ----------
    peaks : RealPeaks
        The peaks.
    estimates : dict
        Of (name, kind): the motion, and what it took.

    Returns
    -------
    measured : dict of list of dict
        "sharpness": "name", "kind", "sharpness" (see `agreement.sharpness`) and what the estimate took; the first is
        of the peaks as recorded. "agreement": "first", "second", "kind" and what `agreement.measure_agreement` gives.
    """
    limits = agreement.histogram_limits(peaks)
    sharp = [dict(name="as recorded", kind="", sharpness=agreement.sharpness(peaks.depths_um, limits))]
    for (name, kind), (motion, run) in estimates.items():
        value = agreement.sharpness(agreement.corrected_depths(peaks, motion), limits)
        sharp.append(dict(name=name, kind=kind, sharpness=value, **run))
    pairs = []
    for (first, kind), (second, other) in combinations(estimates, 2):
        if kind == other:
            motions = estimates[first, kind][0], estimates[second, kind][0]
            pairs.append(
                dict(first=first, second=second, kind=kind, **agreement.measure_agreement(peaks, *motions))
            )
    return dict(sharpness=sharp, agreement=pairs)


def load_estimate(folder: str | Path) -> tuple[Motion, dict[str, float]]:
    """Read a motion that the benchmark kept, and the "seconds" and "cpu_seconds" that it took."""
    from spikeinterface.core.motion import Motion

    folder = Path(folder)
    return Motion.load(folder / "motion"), json.loads((folder / "run.json").read_text(encoding="utf8"))


def format_real_peaks_tables(results: dict[str, Any]) -> str:
    """Write the results as two Markdown tables.

    Parameters
    ----------
    results : dict
        From `run_real_peaks_benchmark`.

    Returns
    -------
    tables : str
    """
    lines = ["| estimator | motion | sharpness | time (s) | processor time (s) |", "|---|---|---:|---:|---:|"]
    for row in results["sharpness"]:
        times = [f"{row[key]:.1f}" if key in row else "" for key in ("seconds", "cpu_seconds")]
        lines.append(f"| {row['name']} | {row['kind']} | {row['sharpness']:.2f} | {times[0]} | {times[1]} |")
    lines += [
        "",
        "| estimators | motion | correlation | mean difference (um) | at the peaks (um) |",
        "|---|---|---:|---:|---:|",
    ]
    for row in results["agreement"]:
        lines.append(
            f"| {row['first']}, {row['second']} | {row['kind']} | {row['correlation']:.3f} | "
            f"{row['mean_difference_um']:.1f} | {row['mean_difference_at_peaks_um']:.1f} |"
        )
    windows = ", ".join(f"{key}={value:g}" for key, value in results["windows"].items())
    lines += [
        "",
        f"{results['num_peaks']:,} peaks in {results['duration_s']:.0f} s; bin_s=1, {windows}. Sharpness: variance of "
        f"the depth histogram ({agreement.HISTOGRAM_BIN_UM:g} um bins) in units of its squared mean. Correlation and "
        f"mean absolute difference on a grid of {agreement.GRID_STEP_S:g} s and {agreement.GRID_STEP_UM:g} um after "
        "removing the offset at each depth, and of the corrected depths of the peaks.",
        *results["left_out"],
    ]
    return "\n".join(lines)


def _installed(names: list[str]) -> tuple[list[str], list[str]]:
    """Give the estimators that can run here, and a sentence for each of the others."""
    _refuse_unknown("estimators", names, ESTIMATORS)
    here = [name for name in names if ESTIMATORS[name].package is None or find_spec(ESTIMATORS[name].package)]
    return here, [
        f"{name} is left out: it needs `pip install {ESTIMATORS[name].install}`."
        for name in names
        if name not in here
    ]


def _refuse_unknown(argument: str, names: list[str], allowed: Iterable[str]) -> None:
    wrong = [name for name in names if name not in allowed]
    if wrong or not names:
        raise ValueError(f"{argument}={names} cannot work; allowed: {', '.join(allowed)}")


def _begin_study(output: Path, peaks: RealPeaks, windows: Windows) -> None:
    """Say what the folder is a study of, or refuse one that is of something else."""
    study = dict(
        num_peaks=int(peaks.times_s.size), depth_sum_um=round(float(peaks.depths_um.sum())), **asdict(windows)
    )
    file = output / STUDY
    if not file.is_file():
        if output.is_dir() and any(output.iterdir()):
            raise ValueError(f"{output} holds something else; choose another folder")
        output.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(study, indent=1), encoding="utf8")
    elif json.loads(file.read_text(encoding="utf8")) != study:
        raise ValueError(f"{output} holds a study of other peaks or windows; choose another folder")


def _estimate(
    folder: Path,
    estimator: Estimator,
    kind: str,
    inputs: tuple[Any, np.ndarray, np.ndarray],
    windows: Windows,
) -> None:
    """Estimate one motion and put it into its folder when it is complete."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    import steadyspike  # noqa: F401  (enters the estimator into SpikeInterface's table)

    arguments = dict(method=estimator.method, rigid=kind == "rigid", win_shape="gaussian", bin_s=1.0)
    arguments |= asdict(windows) | estimator.arguments
    if estimator.package is None:
        # compiled beforehand, on few peaks
        recording, peaks, locations = inputs
        estimate_motion(recording, peaks[:2000], locations[:2000], **arguments)
    _seed()
    start, cpu_start = time.perf_counter(), time.process_time()
    motion = estimate_motion(*inputs, **arguments)
    run = dict(seconds=time.perf_counter() - start, cpu_seconds=time.process_time() - cpu_start)
    with folder_aside(folder) as unfinished:
        motion.save(unfinished / "motion")
        (unfinished / "run.json").write_text(json.dumps(run), encoding="utf8")


def _seed() -> None:
    """Seed what medicine draws from."""
    import torch

    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)


def _folder(output: Path, name: str, kind: str) -> Path:
    return output / f"{name}-{kind}"
