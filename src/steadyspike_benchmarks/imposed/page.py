"""The page that is sent back: a Markdown file and a figure, with no path in them."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.figures import style
from steadyspike.evaluation.figures.raster import depth_limits, draw_raster
from steadyspike.simulation.truth import ERROR_STEP_S, motion_error
from steadyspike_benchmarks.imposed.measures import LEAST_PRESENCE, MOST_VIOLATIONS, STRETCHES, course_motion
from steadyspike_benchmarks.imposed.study import MANIPULATOR, ImposedStudy
from steadyspike_benchmarks.sorting.treatments import OURS
from steadyspike_benchmarks.study_presets import REFERENCE, study_presets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE, FIGURE = "imposed.md", "imposed.png"
PACKAGES = ("steadyspike", "spikeinterface", "probeinterface", "numpy", "torch")
PATH = re.compile(r"(?<!\w)(?:[A-Za-z]:|~)?[\\/]+\w")
NUM_LINES = 5


def write_page(study: ImposedStudy) -> Path:
    """Write the page and its figure into the study's folder, and give the page's path."""
    if any("mean_error_um" in result for result in study.results):
        plot_imposed(study).savefig(study.folder / FIGURE, dpi=130)
    file = study.folder / PAGE
    file.write_text(format_page(study) + "\n", encoding="utf8")
    return file


def format_page(study: ImposedStudy) -> str:
    """Write what is known of a study as one Markdown page."""
    presets = [one for one in study.results if "sorter" not in one]
    units = [one for one in study.results if "sorter" in one]
    measured = [one for one in presets if "mean_error_um" in one]
    parts = ["# Imposed motion", _about(study)]
    if measured:
        parts += [
            f"The manipulator's course spans {measured[0]['true_span_um']:.1f} um; without a correction the mean error "
            f"would be {measured[0]['uncorrected_error_um']:.2f} um.",
            _preset_table(presets),
            "Error: mean absolute distance from the course after one offset. Gain: motion by course, over depths; "
            "below 1 the tissue follows the probe, and the error says so too. With gain: error after fitting gain and "
            "offset at each depth. Lag: delay of the course that is most like the motion; where all agree on one, the "
            "clocks differ. Sharpness: variance of the depth histogram of the preset's own peaks, as seen and "
            "corrected. The manipulator's row takes out the course itself.",
            f"![Raster, and courses of manipulator and presets]({FIGURE})",
        ]
    if units:
        parts += [
            _unit_table(units),
            f"Clean: a ratio of refractory violations of at most {MOST_VIOLATIONS:g}, and spikes in at least "
            f"{100 * LEAST_PRESENCE:g} % of {STRETCHES} stretches. Follow: units whose rate depends on where the "
            "manipulator is, of those that could be judged.",
        ]
    failed = [
        f"- {_name(one)} failed: {without_paths(one['failed'])}" for one in study.results if "failed" in one
    ]
    if absent := [name for name in study_presets() if name not in {one["name"] for one in presets}]:
        failed.append(f"- not run: {', '.join(absent)}")
    return "\n\n".join([*parts, "\n".join(failed)] if failed else parts)


def without_paths(text: str) -> str:
    """Cut a text at the first absolute path in it: these name people and disks, and may hold blanks."""
    found = PATH.search(text)
    return f"{text[: found.start()]}(path)" if found else text


def plot_imposed(study: ImposedStudy) -> Figure:
    """Draw the raster with the manipulator's course on it, and below the courses of manipulator and presets."""
    names = [result["name"] for result in study.results if "mean_error_um" in result]
    shown = OURS if OURS in names else names[0]
    peaks, truth = study.peaks(study_presets()[shown]), study.truth()
    course = course_motion(truth, ERROR_STEP_S)
    times, curve = course.temporal_bins_s[0], course.displacement[0][:, 0]
    with style.settings():
        figure = style.new_figure(11, 7.6)
        raster, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
        limits = depth_limits(study.recording)
        draw_raster(raster, peaks.times_s, peaks.depths_um, peaks.amplitudes, limits)
        for depth in np.linspace(*limits, NUM_LINES + 2)[1:-1]:
            raster.plot(times, depth + curve - np.median(curve), color=style.TRUTH, linewidth=1.6, alpha=0.8)
        raster.set_title("Peaks as recorded, with the manipulator's course")
        raster.set_xlabel("")
        below.plot(
            times, curve - np.median(curve), color=style.TRUTH, linewidth=4, alpha=0.45, label=MANIPULATOR
        )
        _draw_presets(below, study, names, times)
        below.set_title("Manipulator, and the presets' motions (mean over depths)")
        below.set_xlabel("time (s)")
        below.set_ylabel("displacement (µm)")
        below.margins(x=0)
        below.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_presets(axes: Axes, study: ImposedStudy, names: list[str], times: np.ndarray) -> None:
    """Draw ours and SpikeInterface's default apart from the others, which share a colour."""
    still = study.truth(sign=0)
    looks = {OURS: (style.STEADY, 1.6, 3), REFERENCE: ("#e8a33d", 1.4, 2)}
    others = "other presets"
    for name in sorted(names, key=lambda name: name not in looks):
        motion = motion_error(still, study.motion(name), times_s=times, offset_per_depth=True).mean(axis=1)
        colour, width, order = looks.get(name, (style.QUIET, 0.8, 1))
        label = name if name in looks else others
        others = "_nolegend_" if label == others else others
        axes.plot(times, motion - np.median(motion), color=colour, linewidth=width, zorder=order, label=label)


def _about(study: ImposedStudy) -> str:
    recording = study.recording
    probe = recording.get_probegroup().probes[0]
    named = probe.annotations.get("description") or probe.model_name or "not named"
    depths = np.ptp(recording.get_channel_locations()[:, 1])
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    rows = [
        f"- recording: {recording.get_num_channels()} channels, {recording.get_duration():.0f} s, "
        f"{recording.sampling_frequency:g} Hz",
        f"- probe: {named}; contacts over {depths:.0f} um",
        f"- course: {study.course.source}; filters: {without_paths(study.filters)}",
        f"- versions: {packages}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    ]
    return "\n".join(rows)


def _preset_table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| preset | error (um) | with gain (um) | gain | lag (s) | sharpness | verdict | s |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for one in results:
        if "failed" in one:
            lines.append(f"| {one['name']} | fails | | | | | | |")
            continue
        cells = [
            one["name"],
            *[""] * 4,
            f"{one['sharpness_before']:.3f} to {one['sharpness_after']:.3f}",
            "",
            "",
        ]
        if one["name"] != MANIPULATOR:
            low, high = one["gain_range"]
            cells[1:5] = [
                f"{one['mean_error_um']:.2f}",
                f"{one['error_with_gain_um']:.2f}",
                f"{one['gain']:.2f}" + (f" ({low:.2f} to {high:.2f})" if high - low >= 0.01 else ""),
                "" if one["lag_s"] is None else f"{one['lag_s']:.1f}",
            ]
            cells[6:] = [(one["trust"] or {}).get("verdict") or "", f"{one['estimate_s']:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _unit_table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| treatment | sorter | units | clean | follow | s |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for one in results:
        cells = ["fails", "", "", ""]
        if "failed" not in one:
            cells = [
                one["units"],
                one["clean"],
                f"{one['follow']} of {one['rated']}",
                f"{one['seconds']:.0f}",
            ]
        lines.append(f"| {one['name']} | {one['sorter']} | {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _name(result: dict[str, Any]) -> str:
    return f"{result['sorter']} after {result['name']}" if "sorter" in result else result["name"]
