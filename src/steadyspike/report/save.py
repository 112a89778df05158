"""Write the figures of a correction as PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.report.motion_maps import plot_motion_map, plot_trust_map
from steadyspike.report.probe import plot_peaks_on_probe
from steadyspike.report.raster import plot_raster
from steadyspike.report.run_times import plot_run_times

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

DOTS_PER_INCH = 150


def save_figures(
    motion_info: dict[str, Any],
    recording: BaseRecording,
    folder: str | Path,
    *,
    trust: np.ndarray | None = None,
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
    trust : ndarray or None, default: None
        Trust in the motion, 0 to 1, of the shape of its displacement.

    Returns
    -------
    files : list of Path
        raster.png, motion_map.png, peaks_on_probe.png, run_times.png and, where it is known, trust.png.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    preset = str(motion_info["parameters"].get("preset", "this run"))
    figures = {
        "raster.png": plot_raster(motion_info, recording),
        "motion_map.png": plot_motion_map(motion_info["motion"]),
        "peaks_on_probe.png": plot_peaks_on_probe(motion_info, recording),
        "run_times.png": plot_run_times({Path(preset).stem: motion_info["run_times"]}),
    }
    if trust is not None:
        figures["trust.png"] = plot_trust_map(motion_info["motion"], trust)
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=DOTS_PER_INCH)
    return [folder / name for name in figures]
