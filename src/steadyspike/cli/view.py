"""``steadyspike view``: look at a result in a viewer that is installed; none of our own."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors, say

if TYPE_CHECKING:
    from steadyspike.reports.run import Run

EXAMPLES = """
[bold]Example[/bold]

  steadyspike view corrected

Units are shown by SpikeInterface's viewer; traces, motion and spikes by ephyviewer. Both come with
pip install "steadyspike[view]". In a notebook, SpikeInterface's widgets show the same:
si.plot_traces(recording, backend="ipywidgets") and si.plot_motion_info(motion_info, recording).
"""

ANALYZER = "analyzer"
GUI, TRACES = "spikeinterface_gui", "ephyviewer"
DEPTH_BINS, MOST_SPIKES, SPIKE_SIZE = 48, 200_000, 2.5
BEFORE_S, SHOWN_S = 0.3, 1.0
SHOWN_CHANNELS = 24
"""Traces that can be told from each other; the others are switched on in the viewer."""
WINDOW = (1280, 960)


def view(
    folder: Annotated[
        Path, typer.Argument(help="What steadyspike correct, sort or denoise wrote.", show_default=False)
    ],
    debug: Debug = False,
) -> None:
    """Open units in SpikeInterface's viewer; traces of each step, motion and spikes in ephyviewer."""
    with clear_errors(debug):
        has_units = (folder / ANALYZER).is_dir()
        if has_units and find_spec(GUI) is not None:
            _view_units(folder / ANALYZER)
        elif find_spec(TRACES) is not None:
            if has_units:
                say(f"[yellow]note[/yellow]: units are shown by {GUI}, which is not installed")
            _view_traces(folder)
        else:
            wanted = GUI if has_units else TRACES
            raise UsageError(
                f"{wanted} is not installed; pip install 'steadyspike[view]', or open {folder / 'report.html'} in a "
                "browser"
            )


def _view_units(folder: Path) -> None:
    import spikeinterface.full as si
    from spikeinterface_gui import run_mainwindow

    run_mainwindow(si.load_sorting_analyzer(folder))


def _view_traces(folder: Path) -> None:
    import ephyviewer

    from steadyspike.reports.run import run_of

    run = run_of(folder)
    if run.recording is None and run.motion is None:
        raise UsageError(f"{folder} holds neither a recording nor a motion")
    application = ephyviewer.mkQApp()
    window = window_of(run)
    window.show()
    application.exec()


def window_of(run: Run) -> Any:
    """Make ephyviewer's window of a run: its first segment."""
    import ephyviewer

    window = ephyviewer.MainViewer(show_auto_scale=True)
    window.setWindowTitle(f"steadyspike view {run.name}")
    window.resize(*WINDOW)
    for view in (*_trace_views(run), *_motion_views(run)):
        window.add_view(view, location="bottom", orientation="vertical")
    window.navigation_toolbar.spinbox_xsize.setValue(SHOWN_S)
    if run.recording is not None:
        # what is shown begins a while before the time that is looked for
        window.seek(float(run.recording.sample_index_to_time(0)) + BEFORE_S)
    return window


def _trace_views(run: Run) -> list[Any]:
    """Show traces as recorded, before and after the last step, channels by depth."""
    import ephyviewer
    from spikeinterface.preprocessing import depth_order

    from steadyspike.reports.measures import steps_of_run

    if run.recording is None:
        return []
    steps, middle_um = steps_of_run(run), liveliest_depth(run)
    views = []
    for step in dict.fromkeys([steps[0], *steps[-2:]]):
        recording = depth_order(step.recording, flip=True)
        source = ephyviewer.SpikeInterfaceRecordingSource(recording=recording)
        view = ephyviewer.TraceViewer(source=source, name=step.label)
        for channel in hidden_channels(recording.get_channel_locations()[:, 1], middle_um):
            view.by_channel_params[f"ch{channel}", "visible"] = False
        view.params["scale_mode"] = "same_for_all"
        view.auto_scale()
        views.append(view)
    return views


def liveliest_depth(run: Run) -> float | None:
    """Give the middle of the stretch of the probe, in um, that a report shows first; None where there is none."""
    from steadyspike.reports.contents import windows_of
    from steadyspike.reports.spikes import spikes_of, timeline_of

    timeline = timeline_of(run)
    windows = windows_of(run, None if timeline is None else spikes_of(run, timeline))
    return float(np.mean(windows[0])) if windows else None


def hidden_channels(depths_um: np.ndarray, middle_um: float | None) -> np.ndarray:
    """Give the indices of all but the channels around a depth, or around the middle of the probe."""
    middle = np.median(depths_um) if middle_um is None else middle_um
    return np.sort(np.argsort(np.abs(depths_um - middle), kind="stable")[SHOWN_CHANNELS:])


def _motion_views(run: Run) -> list[Any]:
    """Show the displacement in each window, and spikes as trains of depth bins."""
    import ephyviewer

    if run.motion is None:
        return []
    times, windows = run.motion.temporal_bins_s[0], run.motion.spatial_bins_um
    views = []
    if times.size > 1 and run.was_corrected:
        source = ephyviewer.InMemoryAnalogSignalSource(
            np.asarray(run.motion.displacement[0], dtype="float32"),
            1.0 / float(np.median(np.diff(times))),
            float(times[0]),
            channel_names=[f"{depth:.0f} um" for depth in windows],
        )
        view = ephyviewer.TraceViewer(source=source, name="motion (um)")
        view.params["scale_mode"] = "same_for_all"
        view.auto_scale()
        views.append(view)
    trains = spike_trains(run)
    if trains:
        source = ephyviewer.InMemorySpikeSource(all_spikes=trains)
        view = ephyviewer.SpikeTrainViewer(source=source, name="spikes by depth")
        # names of so many rows lie over each other
        view.params["display_labels"], view.params["scatter_size"] = False, SPIKE_SIZE
        views.append(view)
    return views


def spike_trains(run: Run) -> list[dict[str, Any]]:
    """Give the times of the spikes of the first segment in bins of depth, the highest first."""
    from steadyspike.reports.spikes import spikes_of, timeline_of

    timeline = timeline_of(run)
    spikes = None if timeline is None else spikes_of(run, timeline)
    if timeline is None or spikes is None or not len(spikes):
        return []
    first = np.flatnonzero(spikes.times_s <= timeline.ends_s[0])
    first = first[np.linspace(0, first.size - 1, min(first.size, MOST_SPIKES)).astype("int64")]
    low, high = float(spikes.depths_um.min()), float(spikes.depths_um.max())
    edges = np.linspace(low, high, DEPTH_BINS + 1)
    bins = np.clip(np.digitize(spikes.depths_um[first], edges) - 1, 0, DEPTH_BINS - 1)
    order = np.argsort(spikes.times_s[first], kind="stable")
    times, bins = spikes.times_s[first][order] - timeline.offsets_s[0], bins[order]
    return [
        {"time": times[bins == one], "name": f"{edges[one]:.0f} um"} for one in reversed(range(DEPTH_BINS))
    ]
