"""How far the presets' motion estimates are from a known motion, on simulated recordings.

Every recording is simulated once, held in memory, and given to `compute_motion` with each preset. Results are kept as
one small file each, so that a study that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import BaseRecording, NumpyRecording
from tqdm.auto import tqdm

from steadyspike.benchmark.simulate import SimulatedDrift, simulate_drifting_recording
from steadyspike.benchmark.truth import motion_error

SCENARIOS = ("rigid_zigzag", "nonrigid_gradient", "bump", "random_walk", "few_units")
PROBES = ("np1", "np2")
OUR_PRESETS = ("steady_nonrigid", "steady_rigid", "steady_kilosort")
THEIR_PRESETS = ("dredge_fast", "nonrigid_fast_and_accurate", "kilosort_like", "rigid_fast")


def run_motion_benchmark(
    folder: str | Path,
    *,
    scenarios: Iterable[str] | None = None,
    probes: Iterable[str] | None = None,
    seeds: Iterable[int] = (0, 1, 2),
    duration_s: float = 100.0,
    num_channels: int = 128,
    presets: Iterable[str] | None = None,
    n_jobs: int = 1,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Run presets on simulated drift and keep their errors.

    Parameters
    ----------
    folder : str or Path
        Where results are kept, one JSON file each; results that are there are not computed again.
    scenarios, probes : iterable of str or None
        Of `steadyspike.benchmark.simulate`; None: `SCENARIOS` and `PROBES`.
    seeds : iterable of int, default: (0, 1, 2)
        One recording for each.
    duration_s : float, default: 100.0
        Duration of each recording in s.
    num_channels : int, default: 128
        Contacts of each probe.
    presets : iterable of str or None
        Names of motion presets; None: `OUR_PRESETS` and `THEIR_PRESETS`.
    n_jobs : int, default: 1
        Processes that read and detect.
    progress_bar : bool, default: True
        Show progress.

    Returns
    -------
    results : list of dict
        All results of this study, see `load_results`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    presets = tuple(presets or OUR_PRESETS + THEIR_PRESETS)
    cases = [
        dict(scenario=scenario, probe=probe, seed=seed, duration_s=duration_s, num_channels=num_channels)
        for seed in seeds
        for scenario in scenarios or SCENARIOS
        for probe in probes or PROBES
    ]
    for case in tqdm(cases, desc="motion benchmark", disable=not progress_bar):
        missing = [preset for preset in presets if not _file(folder, case, preset).exists()]
        if missing:
            simulated = simulate_drifting_recording(
                case["scenario"],
                probe=case["probe"],
                seed=case["seed"],
                duration_s=duration_s,
                num_channels=num_channels,
            )
            recording = _in_memory(simulated.recording)
            for preset in missing:
                result = dict(case, preset=preset, **measure_preset(simulated, recording, preset, n_jobs))
                _write(_file(folder, case, preset), result)
    return load_results(folder)


def measure_preset(
    simulated: SimulatedDrift, recording: BaseRecording, preset: str, n_jobs: int = 1
) -> dict[str, Any]:
    """Estimate the motion of one recording with one preset.

    Parameters
    ----------
    simulated : SimulatedDrift
        The truth.
    recording : BaseRecording
        Its traces, wherever they lie.
    preset : str
        Name of a motion preset.
    n_jobs : int, default: 1
        Processes that read and detect.

    Returns
    -------
    result : dict
        "mean_error_um" and "max_error_um" (of the absolute error over times and depths, after removing one offset),
        "num_peaks", and "run_times" in s by step.
    """
    from spikeinterface.preprocessing import compute_motion

    _, info = compute_motion(
        recording,
        preset=preset,
        output_motion_info=True,
        n_jobs=n_jobs,
        chunk_duration="1s",
        progress_bar=False,
    )
    error = np.abs(motion_error(simulated, info["motion"]))
    return dict(
        mean_error_um=float(error.mean()),
        max_error_um=float(error.max()),
        num_peaks=int(info["peaks"].size),
        run_times={step: round(seconds, 3) for step, seconds in info["run_times"].items()},
    )


def load_results(folder: str | Path) -> list[dict[str, Any]]:
    """Read all results of a study, in order of their file names.

    Parameters
    ----------
    folder : str or Path
        The study's folder.

    Returns
    -------
    results : list of dict
        Each with "scenario", "probe", "seed", "duration_s", "num_channels", "preset" and what `measure_preset` gives.
    """
    return [json.loads(file.read_text(encoding="utf8")) for file in sorted(Path(folder).glob("*.json"))]


def format_motion_table(folder: str | Path) -> str:
    """Write a study's errors as Markdown: a row for each scenario and probe, a column for each preset.

    Parameters
    ----------
    folder : str or Path
        The study's folder.

    Returns
    -------
    table : str
        Mean absolute error in um, averaged over seeds; the lowest of each row in bold.
    """
    results = load_results(folder)
    if not results:
        return f"no results in {folder}"
    presets = sorted({result["preset"] for result in results}, key=_preset_order)
    rows = list(_rows(results, presets))
    lines = [
        "| scenario | probe | recordings | " + " | ".join(presets) + " |",
        "|---|---|---|" + "---:|" * len(presets),
    ]
    for scenario, probe, number, errors in rows:
        best = np.nanmin(errors)
        cells = [f"**{error:.2f}**" if error == best else f"{error:.2f}" for error in errors]
        lines.append(f"| {scenario} | {probe} | {number} | " + " | ".join(cells) + " |")
    first = results[0]
    lines.append("")
    lines.append(
        f"Mean absolute error in um after removing one offset; simulated recordings of {first['duration_s']:g} s with "
        f"{first['num_channels']} contacts; one recording for each probe and seed."
    )
    return "\n".join(lines)


def _rows(results: list[dict[str, Any]], presets: list[str]) -> Iterator[tuple[str, str, int, list[float]]]:
    """Mean error of each preset for each scenario and probe, then over both probes, then over all."""
    scenarios = list(dict.fromkeys(SCENARIOS + tuple(result["scenario"] for result in results)))
    probes = sorted({result["probe"] for result in results})
    for scenario in scenarios:
        for probe in [*probes, "all"]:
            chosen = [
                result
                for result in results
                if result["scenario"] == scenario and probe in (result["probe"], "all")
            ]
            if chosen:
                yield _row(scenario, probe, chosen, presets)
    yield _row("all", "all", results, presets)


def _row(
    scenario: str, probe: str, chosen: list[dict[str, Any]], presets: list[str]
) -> tuple[str, str, int, list[float]]:
    errors = []
    for preset in presets:
        values = [result["mean_error_um"] for result in chosen if result["preset"] == preset]
        errors.append(float(np.mean(values)) if values else np.nan)
    number = len({(result["scenario"], result["probe"], result["seed"]) for result in chosen})
    return scenario, probe, number, errors


def _preset_order(preset: str) -> tuple[int, str]:
    known = OUR_PRESETS + THEIR_PRESETS
    return (known.index(preset) if preset in known else len(known), preset)


def _in_memory(lazy: BaseRecording) -> BaseRecording:
    """Hold the traces of a simulated recording, which are slow to make again for every preset."""
    traces = np.empty((lazy.get_num_samples(), lazy.get_num_channels()), dtype="float32")
    step = round(lazy.sampling_frequency)
    for start in range(0, traces.shape[0], step):
        traces[start : start + step] = lazy.get_traces(start_frame=start, end_frame=start + step)
    recording = NumpyRecording([traces], lazy.sampling_frequency, channel_ids=lazy.channel_ids)
    lazy.copy_metadata(recording)
    return recording


def _file(folder: Path, case: dict[str, Any], preset: str) -> Path:
    return folder / "-".join([*(str(value) for value in case.values()), f"{preset}.json"])


def _write(file: Path, result: dict[str, Any]) -> None:
    aside = file.with_suffix(f".{os.getpid()}.tmp")
    aside.write_text(json.dumps(result, indent=1), encoding="utf8")
    os.replace(aside, file)
