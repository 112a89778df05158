"""Peaks of simulated recordings, found once for each recording and kept: estimators are tuned on them.

A study's folder holds `recordings/<case>/truth.npz` and `recordings/<case>/peaks-<key>.npz`, where the key stands for
how peaks were found and localized. `load_case` gives them as `estimate_motion` takes them::

    case = load_case("study", StudyCase("bumps", "np1", seed=0), "steady_nonrigid")
    motion = estimate_motion(case.recording, case.peaks, case.peak_locations, **case.preset.estimate_motion_kwargs)
    error = motion_error(case.truth, motion)
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import written_aside
from steadyspike.simulation.drift import DriftTruth, in_memory, make_noise, simulate_drifting_recording
from steadyspike.simulation.probes import build_probe, find_probe
from steadyspike.simulation.scenarios import find_scenario
from steadyspike_benchmarks.code_version import code_key, module_key, settings_key
from steadyspike_benchmarks.study_presets import StudyPreset, study_presets

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

NOISE_SLICES = dict(num_chunks_per_segment=20, seed=0)


@dataclass(frozen=True)
class StudyCase:
    """One simulated recording of a study.

    Parameters
    ----------
    scenario, probe : str
        Keys of `SCENARIOS` and `PROBES`.
    seed : int, default: 0
        Of the simulation.
    num_channels : int or None, default: None
        Contacts; None: the probe's usual number.
    duration_s : float, default: 100.0
        In s.
    """

    scenario: str
    probe: str = "np1"
    seed: int = 0
    num_channels: int | None = None
    duration_s: float = 100.0

    def __post_init__(self):
        find_scenario(self.scenario)
        object.__setattr__(self, "num_channels", find_probe(self.probe, self.num_channels)[1])
        object.__setattr__(self, "duration_s", float(self.duration_s))

    @property
    def name(self) -> str:
        """What the case's folder and results are called."""
        return f"{self.scenario}-{self.probe}-{self.num_channels}ch-{self.duration_s:g}s-{self.seed}"

    def simulate(self) -> Any:
        """Simulate the recording; see `simulate_drifting_recording`."""
        return simulate_drifting_recording(
            self.scenario,
            probe=self.probe,
            num_channels=self.num_channels,
            duration_s=self.duration_s,
            seed=self.seed,
        )

    def stand_in(self) -> BaseRecording:
        """Give noise with the recording's contacts and times, for estimators, which do not read traces."""
        probe = build_probe(self.probe, self.num_channels)
        return make_noise(probe, (6.0, 8.0), self.duration_s, 30_000.0, self.seed)


@dataclass(frozen=True)
class LoadedCase:
    """What a study keeps of one recording.

    Attributes
    ----------
    recording : BaseRecording
        Contacts and times; its traces are noise.
    peaks, peak_locations : ndarray, shape (num_peaks,)
        As `detect_peaks` and `localize_peaks` give them.
    truth : DriftTruth
        For `steadyspike.simulation.truth`.
    preset : StudyPreset
        By which the peaks were found; has `estimate_motion_kwargs`.
    code : str
        Key of the code that made the peaks.
    """

    recording: BaseRecording
    peaks: np.ndarray
    peak_locations: np.ndarray
    truth: DriftTruth
    preset: StudyPreset
    code: str


def list_cases(folder: str | Path) -> list[StudyCase]:
    """List the recordings of which a study holds peaks."""
    files = sorted(Path(folder).glob("recordings/*/truth.npz"))
    infos = [_read_truth(file).info for file in files]
    return [
        StudyCase(*(info[key] for key in ("scenario", "probe", "seed", "num_channels", "duration_s")))
        for info in infos
    ]


def load_case(folder: str | Path, case: StudyCase, preset: str | StudyPreset) -> LoadedCase:
    """Load the peaks that a preset finds in a recording.

    Parameters
    ----------
    folder : str or Path
        The study's.
    case : StudyCase
        The recording.
    preset : str or StudyPreset
        Its detection and localization count.

    Returns
    -------
    loaded : LoadedCase

    Raises
    ------
    FileNotFoundError
        If the study does not hold these peaks.
    """
    if isinstance(preset, str):
        preset = study_presets()[preset]
    preset = settled(case, preset)
    file = _peaks_file(folder, case, preset)
    if not file.is_file():
        raise FileNotFoundError(
            f"{file} is not there: the study has no peaks for {preset.name} on {case.name}"
        )
    with np.load(file) as stored:
        peaks, locations, code = stored["peaks"], stored["peak_locations"], str(stored["code"])
    return LoadedCase(case.stand_in(), peaks, locations, load_truth(folder, case), preset, code)


def settled(case: StudyCase, preset: StudyPreset) -> StudyPreset:
    """Give the preset with the localization that it chooses for the recording's probe, which others may share."""
    return settled_at(build_probe(case.probe, case.num_channels).contact_positions, preset)


def settled_at(contact_positions: np.ndarray, preset: StudyPreset) -> StudyPreset:
    """Do as `settled` for contacts at these positions in um, of shape (num_contacts, 2)."""
    from steadyspike.peaks.auto_localization import choose_localization

    if preset.localize_peaks_kwargs != dict(method="steady_auto"):
        return preset
    return replace(preset, localize_peaks_kwargs=choose_localization(contact_positions))


def load_truth(folder: str | Path, case: StudyCase) -> DriftTruth:
    """Load what is true about a recording of a study."""
    return _read_truth(_folder(folder, case) / "truth.npz")


def peaks_code(preset: StudyPreset) -> str:
    """Give the key of the code that finds and localizes peaks, and simulates them."""
    from spikeinterface.sortingcomponents.peak_detection.method_list import detect_peak_methods
    from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

    detector = detect_peak_methods[preset.detect_kwargs["method"]]
    localizer = peak_localization_methods[preset.localize_peaks_kwargs["method"]]
    simulation = module_key("steadyspike.simulation.drift")
    return settings_key([code_key(detector), code_key(localizer), simulation])


def make_peaks(
    folder: str | Path,
    case: StudyCase,
    presets: Iterable[StudyPreset],
    *,
    refresh: bool = False,
    n_jobs: int = 1,
) -> float:
    """Find the peaks that presets need, if the study does not have them.

    The recording is simulated at most once; presets that detect alike share detection, and those that also localize
    alike share everything.

    Parameters
    ----------
    folder : str or Path
        The study's.
    case : StudyCase
        The recording.
    presets : iterable of StudyPreset
        Whose peaks.
    refresh : bool, default: False
        Make again what other code made.
    n_jobs : int, default: 1
        Processes that detect and localize.

    Returns
    -------
    seconds : float
        Spent; 0 where nothing was to be done.
    """
    start = time.perf_counter()
    wanted = [settled(case, preset) for preset in presets]
    missing = {_peaks_file(folder, case, preset): preset for preset in wanted}
    missing = {file: preset for file, preset in missing.items() if not _is_usable(file, preset, refresh)}
    if not missing:
        return 0.0
    simulated = case.simulate()
    recording = in_memory(simulated.recording)
    write_aside(_folder(folder, case) / "truth.npz", lambda file: _save_truth(file, simulated.truth))
    find_peaks(recording, missing, dict(n_jobs=n_jobs, progress_bar=False))
    return time.perf_counter() - start


def find_peaks(recording: BaseRecording, wanted: dict[Path, StudyPreset], jobs: dict[str, Any]) -> None:
    """Find and localize the peaks of settled presets, by the file that each is written to.

    Presets that detect alike share detection. `jobs` are SpikeInterface's job arguments.
    """
    noise_levels = _noise_levels(recording)
    groups: dict[str, dict[Path, StudyPreset]] = {}
    for file, preset in wanted.items():
        groups.setdefault(settings_key(preset.detect_kwargs), {})[file] = preset
    for group in groups.values():
        peaks, locations = _detect_and_localize(recording, list(group.values()), noise_levels, jobs)
        for (file, preset), own in zip(group.items(), locations, strict=True):
            arrays = dict(peaks=peaks, peak_locations=own, code=peaks_code(preset))
            write_aside(file, lambda aside, arrays=arrays: np.savez(aside, **arrays))


def peaks_name(preset: StudyPreset) -> str:
    """Name the file of a settled preset's peaks, which others that find the same share."""
    key = settings_key([preset.detect_kwargs, preset.localize_peaks_kwargs])
    return f"peaks-{preset.localize_peaks_kwargs['method']}-{key}.npz"


def write_aside(file: Path, write: Callable[[Any], None]) -> None:
    """Write a file next to its place and rename it, so that it is complete or absent."""
    with written_aside(file) as aside, aside.open("wb") as stream:
        write(stream)


def _detect_and_localize(
    recording: BaseRecording, presets: list[StudyPreset], noise_levels: np.ndarray, jobs: dict[str, Any]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Detect once and localize once for each preset, with the nodes that `compute_motion` makes."""
    from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, run_node_pipeline
    from spikeinterface.sortingcomponents.peak_detection.method_list import detect_peak_methods
    from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

    detect = dict(presets[0].detect_kwargs)
    detector = detect_peak_methods[detect.pop("method")]
    if detector.need_noise_levels:
        detect["noise_levels"] = noise_levels
    peaks_node = detector(recording, **detect)
    waveforms = ExtractDenseWaveforms(recording, parents=[peaks_node], ms_before=0.1, ms_after=0.3)
    nodes = [peaks_node, waveforms]
    for preset in presets:
        localize = dict(preset.localize_peaks_kwargs)
        localizer = peak_localization_methods[localize.pop("method")]
        nodes.append(localizer(recording, parents=[peaks_node, waveforms], return_output=True, **localize))
    jobs = dict(jobs, chunk_duration="1s")
    peaks, *locations = run_node_pipeline(
        recording, nodes, jobs, job_name="detect and localize", gather_mode="memory", squeeze_output=False
    )
    return peaks, locations


def _noise_levels(recording: BaseRecording) -> np.ndarray:
    from spikeinterface.core import get_noise_levels

    return get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=NOISE_SLICES, n_jobs=1, progress_bar=False
    )


def _folder(folder: str | Path, case: StudyCase) -> Path:
    return Path(folder) / "recordings" / case.name


def _peaks_file(folder: str | Path, case: StudyCase, preset: StudyPreset) -> Path:
    return _folder(folder, case) / peaks_name(preset)


def _is_usable(file: Path, preset: StudyPreset, refresh: bool) -> bool:
    if not file.is_file():
        return False
    if not refresh:
        return True
    with np.load(file) as stored:
        return str(stored["code"]) == peaks_code(preset)


def _save_truth(file: Any, truth: DriftTruth) -> None:
    np.savez(
        file,
        unit_locations=truth.unit_locations,
        displacement_vector=truth.displacement_vector,
        displacement_sampling_frequency=truth.displacement_sampling_frequency,
        depth_range_um=truth.depth_range_um,
        depth_factors=truth.depth_factors,
        info=json.dumps(truth.info),
    )


def _read_truth(file: Path) -> DriftTruth:
    with np.load(file) as stored:
        return DriftTruth(
            stored["unit_locations"],
            stored["displacement_vector"],
            float(stored["displacement_sampling_frequency"]),
            tuple(stored["depth_range_um"].tolist()),
            tuple(stored["depth_factors"].tolist()),
            json.loads(str(stored["info"])),
        )
