"""How far the presets' motion estimates are from a known motion, on simulated recordings.

Every recording is simulated once; its peaks are kept (see `steadyspike_benchmarks.study_peaks`), so that an estimator
that changed is measured again without a recording. Results are kept as one small file each, with keys of the code that
made them, so that a study that was interrupted goes on where it stopped, and what is out of date is seen.

A study's folder holds `recordings/` (truth and peaks), `results/` (JSON), `motions/` (the estimates), and the tables
and figures that `python -m steadyspike_benchmarks motion` writes.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.simulation.scenarios import SCENARIOS
from steadyspike_benchmarks import estimation
from steadyspike_benchmarks.code_version import code_key
from steadyspike_benchmarks.study_peaks import (
    LoadedCase,
    StudyCase,
    load_case,
    make_peaks,
    peaks_code,
    settled,
    write_aside,
)
from steadyspike_benchmarks.study_presets import StudyPreset, choose_presets, study_presets

if TYPE_CHECKING:
    from spikeinterface.core.motion import Motion

DEFAULT_PROBES = ("np1", "np2")


@dataclass(frozen=True)
class StudyOptions:
    """How a study is run.

    Parameters
    ----------
    medicine_steps : int or None, default: None
        Training steps of `medicine`; None: its 10,000, which take many minutes for each recording.
    medicine_python : str or None, default: None
        A Python that has the package medicine, where this one has not.
    upstream_localization : bool, default: False
        See `study_presets`.
    refresh : bool, default: False
        Measure again what other code measured; otherwise it is kept, and marked in the tables.
    estimate_only : bool, default: False
        Simulate nothing: leave out recordings whose peaks are not there.
    n_jobs : int, default: 1
        Processes that detect and localize.
    """

    medicine_steps: int | None = None
    medicine_python: str | None = None
    upstream_localization: bool = False
    refresh: bool = False
    estimate_only: bool = False
    n_jobs: int = 1

    def presets(self) -> dict[str, StudyPreset]:
        """List the presets of a study with these options; see `study_presets`."""
        return study_presets(
            medicine_steps=self.medicine_steps, upstream_localization=self.upstream_localization
        )


def run_motion_benchmark(
    folder: str | Path,
    *,
    scenarios: Iterable[str] | None = None,
    probes: Iterable[str] | None = None,
    seeds: Iterable[int] = (0, 1, 2),
    duration_s: float = 100.0,
    num_channels: int | None = None,
    presets: Iterable[str] | None = None,
    options: StudyOptions | None = None,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Run presets on simulated drift and keep their errors, times, memory and verdicts.

    Parameters
    ----------
    folder : str or Path
        Where the study is kept; what is there is not computed again.
    scenarios, probes : iterable of str or None
        Of `steadyspike.simulation.drift`; None: all scenarios, and "np1" and "np2".
    seeds : iterable of int, default: (0, 1, 2)
        One recording for each.
    duration_s : float, default: 100.0
        Duration of each recording in s.
    num_channels : int or None, default: None
        Contacts of each probe; None: the probe's usual number.
    presets : iterable of str or None
        Names of motion presets; None: all of ours and of SpikeInterface's.
    options : StudyOptions or None
        How; None: the defaults.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : list of dict
        All results of this study, see `load_results`.

    Raises
    ------
    ValueError
        For a scenario, probe or preset that is not known, or sizes out of range.
    """
    options = options or StudyOptions()
    chosen = choose_presets(None if presets is None else list(presets), options.presets())
    cases = [
        StudyCase(scenario, probe, seed, num_channels, duration_s)
        for seed in seeds
        for probe in probes or DEFAULT_PROBES
        for scenario in scenarios or SCENARIOS
    ]
    folder = Path(folder)
    runnable = _runnable(list(chosen.values()), options, folder)
    warm: set[str] = set()
    for case in tqdm(cases, desc="motion benchmark", disable=not progress_bar):
        waiting = [preset for preset in runnable if _needs(folder, case, preset, options)]
        if waiting and not options.estimate_only:
            make_peaks(folder, case, waiting, refresh=options.refresh, n_jobs=options.n_jobs)
        for preset in waiting:
            try:
                loaded = load_case(folder, case, preset)
            except FileNotFoundError:
                continue
            _update(folder, case, preset, loaded, options, warm)
    return load_results(folder)


def measure_preset(
    case: LoadedCase, preset: StudyPreset, options: StudyOptions | None = None
) -> tuple[dict[str, Any], Motion | None]:
    """Estimate the motion of one recording with one preset.

    Parameters
    ----------
    case : LoadedCase
        Its peaks and its truth.
    preset : StudyPreset
        The estimator and its arguments.
    options : StudyOptions or None
        Where medicine is.

    Returns
    -------
    result : dict
        What `estimation.measure` gives, or "failed", a sentence, where the estimator raises; "code" and "peaks_code".
    motion : Motion or None
        The estimate.
    """
    python = options.medicine_python if options else None
    result = dict(code=estimation.estimator_code(preset), peaks_code=case.code)
    try:
        estimate = estimation.estimate(case, preset, medicine_python=python)
        return dict(result, **estimation.measure(case, estimate)), estimate.motion
    except Exception as error:  # a preset that does not run is a result
        return dict(result, failed=f"{type(error).__name__}: {error}"), None


def load_results(folder: str | Path) -> list[dict[str, Any]]:
    """Read all results of a study, in order of their file names.

    Parameters
    ----------
    folder : str or Path
        The study's folder.

    Returns
    -------
    results : list of dict
        Each with "scenario", "probe", "seed", "duration_s", "num_channels", "preset", "ours" and what `measure_preset`
        gives; "trust", what `estimation.judge` gives, where it was asked.
    """
    files = sorted((Path(folder) / "results").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf8")) for file in files]


def load_motion(folder: str | Path, result: dict[str, Any]) -> Motion | None:
    """Load the estimate of one result of a study, or None where it failed."""
    from spikeinterface.core.motion import Motion

    case = _case_of(result)
    file = Path(folder) / "motions" / f"{case.name}-{result['preset']}.npz"
    if not file.is_file():
        return None
    with np.load(file) as stored:
        return Motion([stored["displacement"]], [stored["temporal_bins_s"]], stored["spatial_bins_um"])


def _case_of(result: dict[str, Any]) -> StudyCase:
    return StudyCase(*(result[key] for key in ("scenario", "probe", "seed", "num_channels", "duration_s")))


def stale_results(results: list[dict[str, Any]], presets: dict[str, StudyPreset]) -> list[str]:
    """List the presets of whose results some were made by other code than there is now."""
    stale = {
        result["preset"]
        for result in results
        if (preset := presets.get(result["preset"])) and _is_stale(result, preset)
    }
    return sorted(stale)


def _update(
    folder: Path,
    case: StudyCase,
    preset: StudyPreset,
    loaded: LoadedCase,
    options: StudyOptions,
    warm: set[str],
) -> None:
    """Measure a preset, or only ask for a verdict where everything else is there."""
    result = _read(folder, case, preset)
    if result is None or (options.refresh and _is_stale(result, preset)):
        if preset.name not in warm:
            _warm_up(loaded, preset)
            warm.add(preset.name)
        measured, motion = measure_preset(loaded, preset, options)
        about = dict(scenario=case.scenario, probe=case.probe, seed=case.seed)
        about |= dict(num_channels=case.num_channels, duration_s=case.duration_s)
        result = dict(about, preset=preset.name, ours=preset.ours, **measured)
    else:
        motion = load_motion(folder, result)
    if motion is not None:
        arrays = dict(
            displacement=motion.displacement[0],
            temporal_bins_s=motion.temporal_bins_s[0],
            spatial_bins_um=motion.spatial_bins_um,
        )
        write_aside(
            folder / "motions" / f"{case.name}-{preset.name}.npz", lambda file: np.savez(file, **arrays)
        )
        verdict = estimation.judge(loaded, motion)
        if verdict is not None:
            result["trust"] = verdict
    write_aside(
        _file(folder, case, preset), lambda file: file.write(json.dumps(result, indent=1).encode("utf8"))
    )


def _warm_up(loaded: LoadedCase, preset: StudyPreset) -> None:
    # where it fails, the measurement will say so
    with contextlib.suppress(Exception):
        estimation.warm_up(loaded, preset)


def _needs(folder: Path, case: StudyCase, preset: StudyPreset, options: StudyOptions) -> bool:
    result = _read(folder, case, preset)
    if result is None:
        return True
    if "failed" in result:
        return options.refresh and _is_stale(result, preset)
    motion_trust = estimation.find_motion_trust()
    if motion_trust is not None:
        trust = result.get("trust")
        if trust is None or (options.refresh and trust["code"] != code_key(motion_trust)):
            return True
    return options.refresh and _is_stale(result, preset)


def _is_stale(result: dict[str, Any], preset: StudyPreset) -> bool:
    return (result.get("code"), result.get("peaks_code")) != (
        estimation.estimator_code(preset),
        peaks_code(settled(_case_of(result), preset)),
    )


def _runnable(presets: list[StudyPreset], options: StudyOptions, folder: Path) -> list[StudyPreset]:
    """Give the presets whose packages are there, and write down which are not."""
    try:
        estimation.find_medicine(options.medicine_python)
        left_out: dict[str, str] = {}
    except estimation.MissingPackageError as error:
        left_out = {preset.name: str(error) for preset in presets if preset.method == "medicine"}
    text = json.dumps(left_out, indent=1).encode("utf8")
    write_aside(folder / "left_out.json", lambda file: file.write(text))
    return [preset for preset in presets if preset.name not in left_out]


def _read(folder: Path, case: StudyCase, preset: StudyPreset) -> dict[str, Any] | None:
    file = _file(folder, case, preset)
    return json.loads(file.read_text(encoding="utf8")) if file.is_file() else None


def _file(folder: Path, case: StudyCase, preset: StudyPreset) -> Path:
    return folder / "results" / f"{case.name}-{preset.name}.json"
