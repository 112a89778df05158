"""Run the study: correct, sort, score, and keep each result as one small file, so that it can be gone on with."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike_benchmarks.sorting.bound import best_linear
from steadyspike_benchmarks.sorting.cases import HybridCase, SimulatedCase, TrueUnits
from steadyspike_benchmarks.sorting.scores import noise_scores, spike_error, unit_scores, with_same_rest
from steadyspike_benchmarks.sorting.treatments import SWITCHES, Treatment
from steadyspike_benchmarks.study_peaks import write_aside

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting
    from spikeinterface.core.motion import Motion

SORTERS = ("lupin", "tridesclous2", "spykingcircus2")
"""SpikeInterface's own, which run on a CPU; others that are installed can be named too."""

VERDICT = (
    "verdict",
    "reason",
    "displacement_um",
    "gain",
    "gain_error",
    "error_um",
    "loss_without",
    "loss_with",
)
"""Of `MotionTrust`, kept beside the scores of the traces."""

RECORDINGS = ("recording", "static", "spikes", "static_spikes", "noise")
"""Of `TrueUnits`."""

KNOWN_DEPTHS = 20
"""Along the probe, at which the true motion is given."""

Case = SimulatedCase | HybridCase
Estimate = tuple["Motion", dict[str, Any]]
MotionKey = tuple[str, str, str | None, bool]
"""By what it was estimated, and on what: preset, arguments, the model, and whether it was filtered."""


def run_sorting_benchmark(
    folder: str | Path,
    cases: Iterable[Case],
    chosen: Iterable[Treatment],
    sorters: Iterable[str] = SORTERS,
    *,
    n_jobs: int = 1,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Sort recordings after each treatment, and keep the scores.

    Parameters
    ----------
    folder : str or Path
        Where results are kept; what is there is not computed again.
    cases : iterable of SimulatedCase or HybridCase
        The recordings.
    chosen : iterable of Treatment
        See `treatments`; "static" is left out where there is no such recording.
    sorters : iterable of str, default: SORTERS
        Names as of `spikeinterface.sorters.run_sorter`; none: only scores of traces.
    n_jobs : int, default: 1
        Processes of the sorters.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : list of dict
        See `load_results`.
    """
    folder, chosen, sorters = Path(folder), list(chosen), list(sorters)
    for case in tqdm(list(cases), desc="sorting benchmark", disable=not progress_bar):
        waiting = [treatment for treatment in chosen if _missing(folder, case, treatment, sorters)]
        if not waiting:
            continue
        motions: dict[MotionKey, Estimate] = {}
        with tempfile.TemporaryDirectory(prefix="steadyspike-sorting-") as place:
            made = _written(case.make(), Path(place))
            for treatment in tqdm(waiting, desc=case.name, leave=False, disable=not progress_bar):
                if treatment.static and made.static is None:
                    continue
                _treat(folder, case, made, treatment, motions, sorters, n_jobs)
    return load_results(folder)


def _written(made: TrueUnits, place: Path) -> TrueUnits:
    """Keep recordings on the disk: every treatment reads them, and to simulate them takes longer than to read them."""
    kept = {
        name: one.save(folder=place / name, n_jobs=1, progress_bar=False)
        for name in RECORDINGS
        if (one := getattr(made, name)) is not None
    }
    return replace(made, **kept)


def load_results(folder: str | Path) -> list[dict[str, Any]]:
    """Read all results of a study: one of traces for each case and treatment, one of units for each sorter of these."""
    files = sorted((Path(folder) / "results").glob("*.json"))
    return [json.loads(file.read_text(encoding="utf8")) for file in files]


def _treat(
    folder: Path,
    case: Case,
    made: TrueUnits,
    treatment: Treatment,
    motions: dict[MotionKey, Estimate],
    sorters: list[str],
    n_jobs: int,
) -> None:
    """Correct one recording, score its traces, and sort it."""
    about = dict(case=case.name, group=case.group, seed=case.seed, treatment=treatment.name)
    try:
        recording = treatment.prepared(made.static if treatment.static else made.recording)
        motion, judged = None, {}
        if treatment.true_motion:
            motion = known_motion(made)
        elif treatment.preset is not None:
            how = json.dumps([treatment.estimation, treatment.denoising])
            key = (treatment.preset, how, treatment.model, treatment.switches is not None)
            if key not in motions:
                motions[key] = _estimate(recording, treatment)
            motion, judged = motions[key]
        truly = best_linear(recording, made) if treatment.knows_truth else None
        recording = treatment.interpolated(recording, motion, truly)
        if not _file(folder, case, treatment, "traces").is_file():
            scores = _trace_scores(made, treatment, motion, recording, case.seed)
            _keep(folder, case, treatment, "traces", dict(about, **judged, **scores))
    except Exception as error:  # a treatment that does not run is a result
        failed = dict(about, failed=sentence(error))
        for name in ("traces", *sorters):
            _keep(folder, case, treatment, name, dict(failed, **_of_sorter(name)))
        return
    with tempfile.TemporaryDirectory(prefix="steadyspike-sorting-") as place:
        waiting = [name for name in sorters if not _file(folder, case, treatment, name).is_file()]
        if waiting:
            written = recording.save(folder=Path(place) / "traces", n_jobs=1, progress_bar=False)
        for sorter in waiting:
            found = _sort(written, made, sorter, Path(place), n_jobs, treatment.switches)
            result = dict(about, **_of_sorter(sorter), **found)
            _keep(folder, case, treatment, sorter, result)


def known_motion(made: TrueUnits) -> Motion:
    """Give the true motion, a bin for each displacement that was simulated; `ValueError` where it is not known."""
    from steadyspike.simulation.truth import true_motion

    if made.truth is None:
        raise ValueError("the true motion is known of simulated recordings only")
    period_s = 1.0 / made.truth.displacement_sampling_frequency
    times = np.arange(period_s / 2, made.recording.get_total_duration(), period_s)
    depths = made.recording.get_channel_locations()[:, 1]
    return true_motion(made.truth, times, np.linspace(depths.min(), depths.max(), KNOWN_DEPTHS))


def _estimate(recording: BaseRecording, treatment: Treatment) -> Estimate:
    """Estimate the motion, and ask `motion_trust` what it says before anything is sorted."""
    from steadyspike import motion_trust

    motion, info = treatment.estimated(recording)
    trust = motion_trust(recording, motion, info["peaks"], info["peak_locations"])
    numbers = trust.to_dict()
    return motion, {name: numbers[name] for name in VERDICT}


def _trace_scores(
    made: TrueUnits, treatment: Treatment, motion: Motion | None, treated: BaseRecording, seed: int
) -> dict[str, Any]:
    """Scores that need no sorter; none of a network, and of a median, which do not treat spikes and noise apart."""
    if made.spikes is None or treatment.model is not None or treatment.switches is not None:
        return {}
    if treatment.static:
        return dict(snr=made.snr, lowest_snr=made.lowest_snr, spike_error=0.0)
    moved = motion if motion is None or made.truth is None else with_same_rest(motion, made.truth)
    spikes = treatment.interpolated(made.spikes, moved, treated)
    error = spike_error(spikes, made.static_spikes, made.sorting, seed)
    noise = noise_scores(treatment.interpolated(made.noise, motion, treated), made.noise)
    return dict(snr=made.snr, spike_error=error, **noise)


def find_units(
    recording: BaseRecording, sorter: str, place: Path, n_jobs: int, switches: str | None = None
) -> BaseSorting:
    """Sort a written recording; `place` is a folder for what the sorter writes, `switches` are of `SWITCHES`."""
    from spikeinterface.sorters import run_sorter

    parameters = {} if switches is None else SWITCHES[switches](sorter, recording)
    if sorter in SORTERS:
        parameters["job_kwargs"] = dict(n_jobs=n_jobs, progress_bar=False)
    return run_sorter(sorter, recording, folder=place / sorter, verbose=False, **parameters)


def _sort(
    recording: BaseRecording,
    made: TrueUnits,
    sorter: str,
    place: Path,
    n_jobs: int,
    switches: str | None = None,
) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        found = find_units(recording, sorter, place, n_jobs, switches)
        scores = unit_scores(found, made.sorting, made.all_known)
    except Exception as error:  # a sorter that fails is a result
        return dict(failed=sentence(error))
    return dict(scores, seconds=round(time.perf_counter() - start, 1))


def _of_sorter(name: str) -> dict[str, str]:
    return {} if name == "traces" else dict(sorter=name)


def sentence(error: Exception) -> str:
    """Give the last line of an error, which says what it is."""
    return f"{type(error).__name__}: {str(error).strip().splitlines()[-1] if str(error).strip() else ''}"


def _missing(folder: Path, case: Case, treatment: Treatment, sorters: list[str]) -> bool:
    return any(not _file(folder, case, treatment, name).is_file() for name in ("traces", *sorters))


def _keep(folder: Path, case: Case, treatment: Treatment, name: str, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=1).encode("utf8")
    write_aside(_file(folder, case, treatment, name), lambda file: file.write(text))


def _file(folder: Path, case: Case, treatment: Treatment, name: str) -> Path:
    plain = "".join(letter if letter.isalnum() or letter in "._=-" else "_" for letter in treatment.name)
    return folder / "results" / f"{case.name}--{plain}--{name}.json"
