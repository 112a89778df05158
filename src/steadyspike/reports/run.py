"""What a report is about: a recording, its motion, and what is known of how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import refuse
from steadyspike.core.unfinished import FINISHED
from steadyspike.motion.info import DEVIATION, ESTIMATE, EXPLAINED, VERDICT, load_motion_info

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting, SortingAnalyzer

    from steadyspike.motion.trust import MotionTrust

PART = "report"
MARKER, MOTION_INFO = FINISHED, "motion_info"
LAZY, TRACES = "recording.json", "recording"
SORTINGS = ("analyzer", "sorting", "sorter")
"""Where the units of a folder may be, the richest first."""


@dataclass
class Run:
    """All that a report may tell of; None, or empty, where it is not known.

    Attributes
    ----------
    name : str
        What the run is called.
    motion, estimate : Motion or None
        The motion that was corrected, and the one that the verdict judged.
    recording, corrected : BaseRecording or None
        In which the peaks were found; and as it came out.
    written : BaseRecording or None
        The same, where its traces were written: quicker to read.
    peaks, locations : ndarray or None
        Peaks and where they are, in um.
    explained, deviation : ndarray, shape (num_times, num_windows), or None
        Evidence and standard deviation (um) of the estimate; segments one after the other.
    trust : MotionTrust or None
        The verdict.
    sorting : SortingAnalyzer, BaseSorting or None
        Units.
    facts : dict
        What the run wrote of itself: "command", "request", "result", "versions", "machine", "commit", "warnings",
        "memory_mb", and "parameters" and "run_times" as in a motion info.
    missing : list of str
        What can't be told, in sentences.
    folder : Path or None
        Where it lies.
    opens : str
        Name of what `si.load` opens there as the recording; "" where there is none.
    """

    name: str
    motion: Motion | None = None
    estimate: Motion | None = None
    recording: BaseRecording | None = None
    corrected: BaseRecording | None = None
    written: BaseRecording | None = None
    peaks: np.ndarray | None = None
    locations: np.ndarray | None = None
    explained: np.ndarray | None = None
    deviation: np.ndarray | None = None
    trust: MotionTrust | None = None
    sorting: SortingAnalyzer | BaseSorting | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    folder: Path | None = None
    opens: str = ""

    @property
    def was_corrected(self) -> bool:
        """Whether the motion that was corrected moves anything."""
        return self.motion is not None and any(bool(np.any(part)) for part in self.motion.displacement)

    @property
    def judged(self) -> Motion | None:
        """The motion that the verdict is about."""
        return self.motion if self.estimate is None else self.estimate


def run_of(
    source: Any,
    *,
    name: str | None = None,
    recording: BaseRecording | None = None,
    corrected: BaseRecording | None = None,
    sorting: SortingAnalyzer | BaseSorting | None = None,
) -> Run:
    """Gather what is known: of a folder that steadyspike or SpikeInterface wrote, a motion info or a `Motion`."""
    if isinstance(source, str | Path):
        run = _of_folder(Path(source).expanduser(), recording)
    elif isinstance(source, Motion):
        run = Run("motion", motion=source, recording=recording)
    elif isinstance(source, Mapping) and "motion" in source:
        run = _of_info(source, recording)
    else:
        refuse("source", source, "a folder, a motion_info dict, or a Motion", PART)
    run.name = name or run.name
    run.sorting = run.sorting if sorting is None else sorting
    run.corrected = run.corrected if corrected is None else corrected
    return _completed(run)


def _of_info(info: Mapping[str, Any], recording: BaseRecording | None) -> Run:
    parameters = info.get("parameters") or {}
    return Run(
        str(parameters.get("preset", "motion")),
        motion=info["motion"],
        estimate=_another(info.get(ESTIMATE), info["motion"]),
        recording=recording,
        peaks=info.get("peaks"),
        locations=info.get("peak_locations"),
        explained=info.get(EXPLAINED),
        deviation=info.get(DEVIATION),
        trust=info.get(VERDICT),
        facts={"parameters": parameters, "run_times": dict(info.get("run_times") or {})},
    )


def _another(estimate: Motion | None, motion: Motion) -> Motion | None:
    """Give the estimate only where it is another motion than what was returned."""
    return None if estimate is None or estimate is motion or estimate == motion else estimate


def _of_folder(folder: Path, recording: BaseRecording | None) -> Run:
    if not folder.is_dir():
        raise FileNotFoundError(f"{PART}: {folder} is no folder")
    marker = folder / MARKER
    inner = folder / MOTION_INFO
    inner = inner if inner.is_dir() else folder
    if (inner / "parameters.json").is_file():
        run = _of_info(load_motion_info(inner), recording)
    elif marker.is_file():
        run = Run(folder.name, recording=recording)
    else:
        allowed = f"a folder with {MARKER} or {MOTION_INFO}, or a motion info"
        refuse("source", str(folder), allowed, PART)
    run.name, run.folder = folder.absolute().name, folder
    if marker.is_file():
        run.facts |= json.loads(marker.read_text(encoding="utf8"))
        # of more steps than those of the motion info
        run.facts["run_times"] = run.facts.get("result", {}).get("run_times") or run.facts.get(
            "run_times", {}
        )
    _load_recordings(run, folder)
    _load_sorting(run, folder)
    return run


def _load_recordings(run: Run, folder: Path) -> None:
    """Open what a folder holds of the recording: lazily, or else the traces."""
    import spikeinterface.full as si

    file = folder / LAZY if (folder / LAZY).is_file() else folder / TRACES
    if not file.exists():
        if run.recording is None:
            run.missing.append(f"There is no {LAZY} here, so traces, power and noise are not shown.")
        return
    run.opens = file.name
    try:
        relative = file.suffix and json.loads(file.read_text(encoding="utf8")).get("relative_paths")
        run.corrected = si.load(file, base_folder=folder if relative else None)
    except Exception as error:
        run.missing.append(
            f"The recording could not be opened, so traces, power and noise are not shown: {first_line(error)}"
        )
        return
    parent = run.corrected.get_parent()
    if run.recording is None:
        run.recording = run.corrected if parent is None else parent
    if (folder / TRACES).is_dir() and file.name == LAZY:
        run.written = si.load(folder / TRACES)


def _load_sorting(run: Run, folder: Path) -> None:
    import spikeinterface.full as si

    for name in SORTINGS:
        place = folder / name
        if not place.is_dir():
            continue
        try:
            run.sorting = si.read_sorter_folder(place, False) if name == "sorter" else si.load(place)
            return
        except Exception as error:
            run.missing.append(f"The units in {name}/ could not be opened: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Write an error in one line."""
    lines = str(error).splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"


def _completed(run: Run) -> Run:
    """Add what can be computed: the verdict, and the corrected recording."""
    if run.motion is None:
        return run
    known = run.recording is not None and run.peaks is not None and run.locations is not None
    if run.trust is None and known and _fits(run):
        from steadyspike.motion.trust import motion_trust

        run.trust = motion_trust(run.recording, run.judged, run.peaks, run.locations)
    if run.trust is None:
        run.missing.append("No verdict is kept here, and without recording and spikes none can be given.")
    if run.corrected is None and run.was_corrected and _fits(run):
        try:
            run.corrected = _interpolated(run)
        except Exception as error:
            run.missing.append(f"The traces could not be corrected: {first_line(error)}")
    return run


def _interpolated(run: Run) -> BaseRecording:
    """Correct as the preset of the run does, with our node whatever the preset, as `steadyspike correct` does."""
    from spikeinterface.preprocessing import get_motion_parameters_preset, get_motion_presets

    from steadyspike.preprocessing.motion_interpolation import interpolate_motion

    preset = (run.facts.get("parameters") or {}).get("preset")
    known = get_motion_parameters_preset(preset) if preset in get_motion_presets() else {}
    chosen = dict(known.get("interpolate_motion_kwargs", {}))
    chosen.pop("method", None)
    return interpolate_motion(run.recording, run.motion, **chosen)


def _fits(run: Run) -> bool:
    return (
        run.recording is not None
        and run.motion is not None
        and run.recording.get_num_segments() == run.motion.num_segments
        and run.recording.has_channel_location()
    )
