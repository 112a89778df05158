"""Where the manipulator was: read from a CSV, from an imposed-motion set, or from the trigger in an NWB file.

The documented layouts, which this is written for:

- Imposed-motion sets of Steinmetz et al. (2021): a folder for each data set with `manip.positions.npy` (um) and
  `manip.timestamps_p1.npy` and `manip.timestamps_p2.npy` (s from the first sample; Neuropixels 1.0 and 2.0), or one
  `manip.timestamps.npy`. Between these points the manipulator moves at one speed. The SpikeGLX files `p1_g0_t0...` and
  `p2_g0_t0...` lie there or in folders below.
- DANDI 000957 (Neuropixels Ultra): `acquisition/ElectricalSeriesAP` and the analog `acquisition/manipulator_trigger`;
  10 moves forward and 9 back in turn, of 25 um at 1 um/s.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.loading_errors import LoadingError

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

COLUMNS = ("time_s", "position_um")
POSITIONS, TIMESTAMPS = "manip.positions.npy", "manip.timestamps*.npy"
AP_SERIES, TRIGGER = "acquisition/ElectricalSeriesAP", "acquisition/manipulator_trigger"
FORWARD, BACK, MOVE_UM, SPEED_UM_S = 10, 9, 25.0, 1.0
TRIGGER_BLOCK = 10_000_000
SMALLEST_UM = 1.0


@dataclass(frozen=True)
class Course:
    """Positions of a manipulator, with straight lines in between.

    Parameters
    ----------
    times_s, positions_um : ndarray, shape (num_points,)
        In s, and in um in the manipulator's own direction and from its own zero.
    source : str
        What it was read from, in words without names of files.
    on_file_clock : bool
        Whether times are those of the file, rather than from the recording's first sample.
    """

    times_s: np.ndarray
    positions_um: np.ndarray
    source: str
    on_file_clock: bool = False

    def __post_init__(self):
        if self.times_s.size != self.positions_um.size or self.times_s.size < 2:
            sizes = f"{self.times_s.size} times and {self.positions_um.size} positions"
            raise LoadingError(f"{self.source} has {sizes}; allowed: as many of both, and two or more")
        if not (np.isfinite(self.times_s).all() and np.isfinite(self.positions_um).all()):
            raise LoadingError(f"{self.source} has numbers that are not finite")
        if (np.diff(self.times_s) < 0).any():
            raise LoadingError(f"{self.source} has times that go back; allowed: increasing times in s")
        span = np.ptp(self.positions_um)
        if span < SMALLEST_UM:
            raise LoadingError(
                f"{self.source} spans {span:g} um; allowed: {SMALLEST_UM:g} um or more. Are positions in um?"
            )

    def at(self, times_s: np.ndarray) -> np.ndarray:
        """Give the positions at some times, in um; before and after the course those of its ends."""
        return np.interp(times_s, self.times_s, self.positions_um)

    def from_first_sample(self, recording: BaseRecording) -> Course:
        """Give the course in s from the first sample of a recording, during which it must move."""
        start_s = recording.get_start_time() or 0.0
        course = self
        if self.on_file_clock:
            course = replace(self, times_s=self.times_s - start_s, on_file_clock=False)
        duration_s = recording.get_duration()
        seen = course.at(np.linspace(0.0, duration_s, 2 + int(duration_s)))
        if np.ptp(seen) < SMALLEST_UM:
            begin, end = course.times_s[[0, -1]]
            raise LoadingError(
                f"{self.source} covers {begin:g} to {end:g} s and does not move within the recording's 0 to "
                f"{duration_s:g} s; times are in s from its first sample"
            )
        return course


def find_course(path: Path, file: Path | None) -> Course:
    """Read the course of a recording: from the file where one is named, else from what lies at or near the path."""
    if not path.exists():
        raise LoadingError(f"{path} does not exist")
    if file is not None:
        return read_csv(file)
    if path.suffix.lower() == ".nwb":
        return read_trigger(path)
    course = _imposed_set(path.absolute())
    if course is None:
        raise LoadingError(
            f"{path} has neither {POSITIONS} and {TIMESTAMPS} at or above it, as imposed-motion sets do, nor is it an "
            f"NWB file with {TRIGGER}; name a CSV with the columns {','.join(COLUMNS)} as --course"
        )
    return course


def reading_hints(path: Path) -> dict[str, Any]:
    """Say how to read an NWB file that holds the spike band beside other series, in the words of `open_recording`."""
    import h5py

    if path.suffix.lower() != ".nwb" or not path.is_file():
        return {}
    with _opened(path) as file:
        if not isinstance(file.get(AP_SERIES), h5py.Group):
            return {}
    return dict(reader="nwb", reader_option=[f"electrical_series_path={AP_SERIES}"])


def read_csv(file: Path) -> Course:
    """Read a course from a CSV file with the columns time_s and position_um."""
    if not file.is_file():
        raise LoadingError(f"--course {file} is no file")
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
            points = [[float(row[name]) for name in COLUMNS] for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise LoadingError(
            f"--course {file} cannot be read ({error}); allowed: a CSV with the columns {','.join(COLUMNS)} and a "
            "number in each"
        ) from None
    times, positions = np.array(points).reshape(-1, 2).T
    return Course(times, positions, "the CSV file")


def read_trigger(path: Path) -> Course:
    """Read the course of DANDI 000957 from the manipulator's trigger: a pulse for each move, or high while forward."""
    with _opened(path) as file:
        if TRIGGER not in file:
            raise LoadingError(f"{path} has no {TRIGGER}; name a CSV as --course")
        group = file[TRIGGER]
        rising, falling = _edges(group["data"])
        if rising.size == FORWARD + BACK:
            edges = rising
        elif rising.size == FORWARD and falling.size >= BACK:
            edges = np.sort(np.concatenate([rising, falling]))[: FORWARD + BACK]
        else:
            raise LoadingError(
                f"{TRIGGER} rises {rising.size} and falls {falling.size} times; allowed: a pulse for each of "
                f"{FORWARD + BACK} moves, or {FORWARD} stretches. Name a CSV as --course"
            )
        if "timestamps" in group:
            starts = group["timestamps"][:][edges]
        else:
            starts = group["starting_time"][()] + edges / group["starting_time"].attrs["rate"]
    times = np.stack([starts, starts + MOVE_UM / SPEED_UM_S], axis=1).ravel()
    moved = MOVE_UM * (np.arange(FORWARD + BACK) % 2 == 0)
    positions = np.stack([MOVE_UM - moved, moved], axis=1).ravel()
    return Course(times, positions, "the trigger in the NWB file", on_file_clock=True)


def _imposed_set(path: Path) -> Course | None:
    start = path if path.is_dir() else path.parent
    folder = next((one for one in (start, *start.parents[:2]) if (one / POSITIONS).is_file()), None)
    if folder is None:
        return None
    files = sorted(folder.glob(TIMESTAMPS))
    probes = _probes(path)
    if len(probes) > 1:
        raise LoadingError(
            f"{path} holds recordings of several probes, {' and '.join(probes)}; name one of them"
        )
    own = [file for file in files if file.stem.endswith(tuple(f"_{probe}" for probe in probes))]
    if len(own or files) != 1:
        listed = ", ".join(file.name for file in files) or "none"
        raise LoadingError(f"{path}: which of {TIMESTAMPS} belongs to it? There are: {listed}")
    times, positions = (
        np.load(file, allow_pickle=False).astype("float64").ravel()
        for file in ((own or files)[0], folder / POSITIONS)
    )
    return Course(times, positions, "the imposed-motion set")


def _probes(path: Path) -> list[str]:
    """Names p1 and p2 of the probes whose files lie at a path, or that it is called after."""
    files = path.rglob("*.ap.*bin") if path.is_dir() else [path]
    names = [file.name for file in files]
    for candidates in (names, [path.name], [path.parent.name]):
        found = {match[1] for name in candidates if (match := re.match(r"n?p([12])(?![0-9])", name, re.I))}
        if found:
            return [f"p{number}" for number in sorted(found)]
    return []


def _opened(path: Path) -> Any:
    import h5py

    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise LoadingError(f"{path} is no NWB file that h5py opens: {error}") from None


def _edges(data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples at which a signal rises and falls through the middle between its extremes; read in blocks."""
    extremes = [(block.min(), block.max()) for _, block in _blocks(data)]
    low, high = (float(edge) for edge in (min(e[0] for e in extremes), max(e[1] for e in extremes)))
    rising, falling, last = [], [], None
    for start, block in _blocks(data):
        is_high = block > (low + high) / 2
        before = np.concatenate([[is_high[0] if last is None else last], is_high[:-1]])
        rising.append(start + np.flatnonzero(is_high & ~before))
        falling.append(start + np.flatnonzero(~is_high & before))
        last = is_high[-1]
    return np.concatenate(rising), np.concatenate(falling)


def _blocks(data: Any) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, data.shape[0], TRIGGER_BLOCK):
        yield start, np.asarray(data[start : start + TRIGGER_BLOCK]).reshape(-1)
