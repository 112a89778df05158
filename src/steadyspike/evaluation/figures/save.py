"""Write the figures of a correction as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures.motion_maps import plot_explained_map, plot_motion_map
from steadyspike.evaluation.figures.probe import plot_peaks_on_probe
from steadyspike.evaluation.figures.raster import plot_raster
from steadyspike.evaluation.figures.run_times import plot_run_times
from steadyspike.evaluation.figures.trust import plot_motion_trust

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from spikeinterface import BaseRecording

    from steadyspike.motion.trust import MotionTrust

DOTS_PER_INCH = 150
MOST_PEAKS = 1_000_000
"""Peaks, evenly picked, of which figures show some; all of a day would need gigabytes to be moved."""


def save_figures(
    motion_info: dict[str, Any],
    recording: BaseRecording,
    folder: str | Path,
    *,
    explained: np.ndarray | None = None,
    verdict: MotionTrust | None = None,
) -> list[Path]:
    """Draw a correction and write it as PNG files.

    Parameters
    ----------
    motion_info : dict
        As `spikeinterface.full.correct_motion` gives it with ``output_motion_info=True``.
    recording : BaseRecording
        The recording in which the peaks were found.
    folder : str or Path
        Where to write; made if it is not there.
    explained : ndarray or None, default: None
        ``extra["explained"]`` of the estimator, of the shape of the displacement; segments one after the other.
    verdict : MotionTrust or None, default: None
        As `steadyspike.motion_trust` gives it.

    Returns
    -------
    files : list of Path
        raster.png, motion_map.png, peaks_on_probe.png, run_times.png and, where known, explained.png and verdict.png;
        of several segments one set each, as raster_segment0.png.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    motion_info = _with_fewer_peaks(motion_info)
    preset = str(motion_info["parameters"].get("preset", "this run"))
    motion = motion_info["motion"]
    files = [_save(plot_run_times({Path(preset).stem: motion_info["run_times"]}), folder / "run_times.png")]
    if verdict is not None:
        files.append(_save(plot_motion_trust(verdict, motion), folder / "verdict.png"))
    first = 0
    for segment, displacement in enumerate(motion.displacement):
        suffix = f"_segment{segment}" if len(motion.displacement) > 1 else ""
        which = dict(segment_index=segment)
        figures = {
            "raster": plot_raster(motion_info, recording, **which),
            "motion_map": plot_motion_map(motion, **which),
            "peaks_on_probe": plot_peaks_on_probe(motion_info, recording, **which),
        }
        if explained is not None:
            own = explained[first : first + len(displacement)]
            figures["explained"] = plot_explained_map(motion, own, **which)
        first += len(displacement)
        files += [_save(figure, folder / f"{name}{suffix}.png") for name, figure in figures.items()]
    return files


def _with_fewer_peaks(motion_info: dict[str, Any]) -> dict[str, Any]:
    number = len(motion_info["peaks"])
    if number <= MOST_PEAKS:
        return motion_info
    picked = np.linspace(0, number - 1, MOST_PEAKS).astype("int64")
    return {**motion_info, **{name: motion_info[name][picked] for name in ("peaks", "peak_locations")}}


def _save(figure: Figure, file: Path) -> Path:
    figure.savefig(file, dpi=DOTS_PER_INCH)
    return file
