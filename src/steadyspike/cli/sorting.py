"""The work behind ``steadyspike sort``, in stages that are kept after an interrupt."""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.cli import correction, reading
from steadyspike.cli.correction import Correction
from steadyspike.cli.errors import UsageError, said_warnings, say
from steadyspike.cli.notes import Notes
from steadyspike.cli.output import DONE, RECORDING, stage, worked_on, write_marker
from steadyspike.cli.reporting import add_report
from steadyspike.core.environment import job_defaults

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting, SortingAnalyzer

    from steadyspike.core.unfinished import WorkFolder
    from steadyspike.library.models.references import ModelSource

AUTO, NONE = "auto", "none"
SORTER, ANALYZER, SCRIPT, DRIFT = "sorter", "analyzer", "sort.py", "drift_metrics.csv"
CORRECTED, SORTED, ANALYZED = "corrected", "sorted", "analyzed"
"""Stages."""

OF_CORRECTION = ("recording.json", "motion_info", "figures")

EXTENSIONS: dict[str, dict[str, Any]] = {
    "random_spikes": {},
    "noise_levels": {},
    "waveforms": {},
    "templates": {},
    "spike_amplitudes": {},
    "spike_locations": {},
    "unit_locations": {},
    "correlograms": {},
    "template_similarity": {},
    "template_metrics": {},
    "quality_metrics": {},
}
"""Of the analyzer: what SpikeInterface's viewer and its export to phy show, and "drift" among the metrics needs."""

DRIFT_BIN_S, LEAST_BINS = 5.0, 20
"""Of the drift metrics: with fewer bins no p-value is below 0.05."""

SCRIPT_TEXT = '''"""Sorts what steadyspike prepared beside it, and computes what a viewer of units needs."""

from pathlib import Path

import spikeinterface.full as si

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    recording = si.load(here / "{recording}")
    parameters = {parameters}
    sorting = si.run_sorter("{sorter}", recording, folder=here / "{folder}", verbose=True, **parameters)
    analyzer = si.create_sorting_analyzer(
        sorting, recording, format="binary_folder", folder=here / "{analyzer}"
    )
    analyzer.compute({extensions})
    print(analyzer)
'''


@dataclass(frozen=True)
class Request:
    """What shall be done with a recording; the words are those of the command line."""

    source: Path
    output: Path
    sorter: str
    options: dict[str, Any] = field(default_factory=dict)
    preset: str = "steady_auto"
    preprocess: str = "none"
    denoise: str | None = None
    figures: bool = True
    overwrite: bool = False
    job_kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sorted:
    """What was done; `script` is what goes on where the sorter is not installed."""

    output: Path
    files: list[str]
    sorter: str
    parameters: dict[str, Any]
    correction: Correction | None = None
    num_units: int = 0
    script: str | None = None


def check_sorter(sorter: str, options: dict[str, Any]) -> None:
    """Raise unless SpikeInterface knows a sorter of this name, and that these arguments."""
    from spikeinterface.sorters import get_default_sorter_params
    from spikeinterface.sorters.sorterlist import archived_sorters, sorter_dict

    if sorter not in sorter_dict or sorter in archived_sorters():
        known = ", ".join(sorted(set(sorter_dict) - set(archived_sorters())))
        raise UsageError(f"--sorter {sorter} is unknown; allowed: {known}")
    with warnings.catch_warnings(action="ignore"):
        known_options = get_default_sorter_params(sorter)
    wrong = [name for name in options if name not in known_options]
    # what is not installed may not tell its arguments
    if wrong and known_options:
        raise UsageError(
            f"--sorter-option {', '.join(wrong)}: {sorter} has no such argument; allowed: {', '.join(known_options)}"
        )


def is_installed(sorter: str) -> bool:
    """Whether the sorter can run here."""
    from spikeinterface.sorters.sorterlist import sorter_dict

    return bool(sorter_dict[sorter].is_installed())


def choose_preset(recording: BaseRecording, preset: str) -> str:
    """Give the motion preset that a choice stands for, or "none"; raises `UsageError`."""
    from steadyspike.sorting import chain_of

    if preset == AUTO:
        return NONE if chain_of(recording).corrected else "steady_auto"
    if preset != NONE:
        preset = reading.pin_preset(preset)
        correction.check_preset(preset)
    return preset


def check_segments(recording: BaseRecording, sorter: str, preset: str) -> None:
    """Raise if the recording has several segments, and the preset's estimator or the sorter takes one."""
    from spikeinterface.sorters.sorterlist import sorter_dict

    from steadyspike.cli import estimation

    if preset != NONE:
        estimation.check_segments(recording, preset, {})
    number = recording.get_num_segments()
    if number > 1 and not sorter_dict[sorter].handle_multi_segment:
        raise UsageError(
            f"the recording has {number} segments, and {sorter} takes one; choose one with --segment, or another "
            "--sorter"
        )


def denoised(recording: BaseRecording, source: ModelSource) -> BaseRecording:
    """Denoise lazily, after saying what a model expects and does not find."""
    import steadyspike
    from steadyspike.cli.denoising import ARGUMENTS
    from steadyspike.cli.errors import refusals
    from steadyspike.library.models.provenance import ModelUseWarning

    with refusals(*ARGUMENTS), said_warnings(ModelUseWarning):
        return steadyspike.deepinterpolate(recording, source.saved, model_sha256=source.sha256)


def corrected_already(work: Path) -> bool:
    """Whether an interrupted run has corrected the motion."""
    return (work / CORRECTED / DONE).is_file()


def run(recording: BaseRecording, request: Request, notes: Notes) -> Sorted:
    """Correct and sort a recording, and write the output folder.

    The recording has a probe, and is preprocessed; `notes` are those of the steps before.
    """

    def finished(work: Path) -> bool:
        return correction.finished(work) or corrected_already(work)

    kept = (RECORDING, *OF_CORRECTION, SORTER, ANALYZER, DRIFT)
    with (
        worked_on(request.output, request.overwrite, finished, correction.KEPT, kept) as (work, folder),
        job_defaults(**request.job_kwargs),
    ):
        done = _sort(recording, request, work, folder, notes)
        before = {} if done.correction is None else done.correction.run_times
        content = {
            "command": "sort",
            "request": asdict(request),
            "result": asdict(done),
            "run_times": {**before, **notes.times_s},
            **notes.facts(),
        }
        write_marker(folder, content)
        if request.figures:
            done.files.extend(add_report(folder, request.output, recording))
            write_marker(folder, {**content, "result": asdict(done)})
    return done


def _sort(recording: BaseRecording, request: Request, work: WorkFolder, folder: Path, notes: Notes) -> Sorted:
    import spikeinterface.full as si

    from steadyspike.core.identity import describe_recording

    corrected = _correct(recording, request, work, folder, notes)
    ready = si.load(folder / RECORDING)
    parameters = _parameters(ready, request)
    done = Sorted(request.output, [], request.sorter, parameters, corrected)
    if not is_installed(request.sorter):
        script = script_for(request.sorter, parameters)
        (folder / SCRIPT).write_text(script, encoding="utf8")
        return replace(done, script=script, files=_files(folder))
    settings = dict(recording=describe_recording(ready), sorter=request.sorter, parameters=parameters)
    with notes.timed("sort"):
        stage(
            work, SORTED, settings, [folder / SORTER], lambda: _run_sorter(ready, request, parameters, folder)
        )
    sorting = si.read_sorter_folder(folder / SORTER, register_recording=False)
    if sorting.get_num_units():
        settings.update(spikes=sorting.to_spike_vector(), extensions=EXTENSIONS)
        made = [folder / ANALYZER, folder / DRIFT]
        with notes.timed("analyze"):
            stage(work, ANALYZED, settings, made, lambda: _analyze(sorting, ready, folder))
    return replace(done, num_units=int(sorting.get_num_units()), files=_files(folder))


def _files(folder: Path) -> list[str]:
    return sorted(f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir())


def _correct(
    recording: BaseRecording, request: Request, work: WorkFolder, folder: Path, notes: Notes
) -> Correction | None:
    """Correct the motion, or only write the traces."""
    from steadyspike.core.identity import describe_recording
    from steadyspike.core.saving import save_recording

    asked = correction.Request(
        source=request.source,
        output=request.output,
        preset=request.preset,
        preprocess=request.preprocess,
        save_as="binary",
        figures=request.figures,
        job_kwargs=request.job_kwargs,
    )

    def do() -> dict[str, Any]:
        if request.preset == NONE:
            save_recording(
                recording, folder / RECORDING, work, anew=True, job_name="write", **request.job_kwargs
            )
            return {}
        found = asdict(correction.correct_into(folder, recording, asked, work, notes))
        return {**found, "output": str(request.output)}

    settings = dict(recording=describe_recording(recording), preset=request.preset, figures=request.figures)
    made = [folder / name for name in OF_CORRECTION]
    found = stage(work, CORRECTED, settings, made, do)
    return Correction(**{**found, "output": request.output}) if found else None


def _parameters(recording: BaseRecording, request: Request) -> dict[str, Any]:
    """Choose the sorter's arguments by what was done, and tell them."""
    from steadyspike.sorting import parameters
    from steadyspike.sorting.advice import ADVISERS

    if request.sorter not in ADVISERS:
        say(
            f"[yellow]note[/yellow]: what {request.sorter} does by itself is not known here; see that it does nothing "
            "twice, with --sorter-option"
        )
        return dict(request.options)
    with warnings.catch_warnings(action="ignore"):
        chosen = parameters(request.sorter, recording)
    for choice in chosen.choices:
        if choice.parameter not in request.options:
            say(f"[bold]{choice.parameter}[/bold] {choice.value}: {choice.reason}")
    for text in chosen.warnings:
        say(f"[yellow]note[/yellow]: {text}")
    return {**chosen, **request.options}


def _run_sorter(
    recording: BaseRecording, request: Request, parameters: dict[str, Any], folder: Path
) -> dict[str, Any]:
    import spikeinterface.full as si

    place = folder / SORTER
    try:
        si.run_sorter(request.sorter, recording, folder=place, with_output=False, **parameters)
    except Exception as error:
        # the last line of its traceback, which SpikeInterface puts into the message
        lines = [line.strip() for line in str(error).partition("Spike sorting failed.")[0].splitlines()]
        told = next((line for line in reversed(lines) if line), type(error).__name__)
        raise RuntimeError(f"{request.sorter} failed: {told}; its log is in {place}") from error
    # the folder is moved when all is done
    recording.dump(place / "spikeinterface_recording.json", relative_to=place)
    return {}


def _analyze(sorting: BaseSorting, recording: BaseRecording, folder: Path) -> dict[str, Any]:
    """Make the analyzer, and the drift metrics where there is a motion to depend on."""
    import spikeinterface.full as si

    with warnings.catch_warnings(action="ignore"):
        # of metrics that some units have too few spikes for
        analyzer = si.create_sorting_analyzer(
            sorting, recording, format="binary_folder", folder=folder / ANALYZER
        )
        analyzer.compute(EXTENSIONS)
    _save_drift_metrics(analyzer, folder)
    return {}


def _save_drift_metrics(analyzer: SortingAnalyzer, folder: Path) -> None:
    import spikeinterface.full as si

    from steadyspike.evaluation import drift_metrics

    if not (folder / "motion_info").is_dir():
        return
    motion = si.load_motion_info(folder / "motion_info")["motion"]
    if any(np.ptp(displacement) > 0 for displacement in motion.displacement):
        bin_s = min(DRIFT_BIN_S, analyzer.get_total_duration() / LEAST_BINS)
        drift_metrics(analyzer, motion, bin_s=bin_s).units.to_csv(folder / DRIFT)


def script_for(sorter: str, parameters: dict[str, Any]) -> str:
    """Write the script that sorts what was prepared, beside it."""
    return SCRIPT_TEXT.format(
        recording=RECORDING,
        parameters=parameters,
        sorter=sorter,
        folder=SORTER,
        analyzer=ANALYZER,
        extensions=EXTENSIONS,
    )
