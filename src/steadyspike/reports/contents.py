"""Gather what a report shows of one run: each part by itself, and where one can't be made, why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.evaluation.windows import find_windows, moved_by
from steadyspike.reports import measures, words
from steadyspike.reports.pictures import motion as motion_pictures
from steadyspike.reports.pictures import places, rasters, traces, units
from steadyspike.reports.run import first_line
from steadyspike.reports.spikes import Spikes, Timeline, depth_limits, spikes_of, timeline_of

if TYPE_CHECKING:
    from steadyspike.reports.measures import Step
    from steadyspike.reports.pictures.spec import Picture
    from steadyspike.reports.run import Run

FEWEST_TO_DRAW = 1
MOST_TIMES = 400
FAR_PERCENT = 85.0


@dataclass
class Contents:
    """What the page of one run shows. Tables are lists of rows of two texts."""

    name: str
    headline: words.Headline
    done: list[str]
    losses: str
    lead: Picture | None = None
    sections: list[tuple[str, str, list[Picture]]] = field(default_factory=list)
    recording: list[tuple[str, str]] = field(default_factory=list)
    numbers: list[tuple[str, str]] = field(default_factory=list)
    drift: list[tuple[str, str]] = field(default_factory=list)
    settings: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    times: list[tuple[str, str]] = field(default_factory=list)
    versions: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    code: str = ""
    windows: list[tuple[float, float]] = field(default_factory=list)

    def pictures(self) -> list[Picture]:
        """List all pictures in the order of the page."""
        lead = [self.lead] if self.lead is not None else []
        return lead + [picture for _, _, pictures in self.sections for picture in pictures]


def windows_of(run: Run, spikes: Spikes | None) -> list[tuple[float, float]]:
    """Give the stretches of the probe with most motion and spikes, the best first; none where there are too few."""
    if spikes is None or run.motion is None or len(spikes) < FEWEST_TO_DRAW:
        return []
    return find_windows(spikes.depths_um, run.judged or run.motion, depth_limits(run, spikes))


def contents_of(run: Run, beside: Contents | None = None) -> Contents:
    """Make all parts of the report of a run; `beside` another one it shows the same stretches of the probe."""
    said = words.headline(run)
    loss = words.losses(run.trust) if run.trust is not None and said.kind == words.GOOD else ""
    contents = Contents(run.name, said, words.done(run), loss, missing=list(run.missing))
    timeline = timeline_of(run)
    spikes = None if timeline is None else spikes_of(run, timeline)
    if run.motion is not None and spikes is None:
        contents.missing.append("The spikes are not kept here, so they are not drawn.")
    limits, windows = depth_limits(run, spikes), windows_of(run, spikes)
    if windows and beside is not None:
        windows = beside.windows or windows
    windows = contents.windows = windows or [limits]
    odd: list[str] = []
    if timeline is not None:
        _add_spikes(contents, run, timeline, spikes, windows, limits)
        _add_motion(contents, run, timeline)
        odd = _add_traces(contents, run, timeline, spikes, windows)
        _add_units(contents, run, timeline)
    contents.recording = _recording_table(run) + contents.recording
    contents.numbers = _numbers(run)
    contents.settings = words.settings_tables(run)
    contents.times, contents.versions = _times(run), _versions(run)
    contents.warnings = words.warnings_of(run, odd)
    contents.advice, contents.code = words.how_to_go_on(run, said.kind)
    return contents


def _add_spikes(
    contents: Contents,
    run: Run,
    timeline: Timeline,
    spikes: Spikes | None,
    windows: list[tuple[float, float]],
    limits: tuple[float, float],
) -> None:
    if spikes is None or run.motion is None or len(spikes) < FEWEST_TO_DRAW:
        return
    drawn_motion = run.motion if run.was_corrected else run.judged or run.motion
    drawn = [
        rasters.window_picture(f"window{number}", spikes, drawn_motion, timeline, window)
        for number, window in enumerate(windows)
    ]
    contents.lead = drawn[0]
    drawn = [*drawn[1:], rasters.explorer(spikes, run.motion, timeline, limits, windows)]
    contents.sections.append(("spikes", "Spikes over depth", drawn))
    here = []
    probe = _made(contents, "Contacts", lambda: _probe(run))
    if probe is not None:
        here.append(places.probe_picture(spikes, probe, timeline, windows, limits))
    if np.ptp(spikes.across_um) > 0:
        here.append(places.space_picture(spikes, timeline, windows))
    else:
        contents.missing.append(
            "No place across the probe is known of the spikes, so they are not shown in space."
        )
    if here:
        contents.sections.append(("places", "Where the spikes are", here))


def _probe(run: Run) -> Any:
    chain = run.corrected if run.corrected is not None else run.recording
    if chain is None or not chain.has_channel_location():
        return None
    return measures.probe_of(measures.steps_of_run(run), measures.bad_channels_of(run))


def _add_motion(contents: Contents, run: Run, timeline: Timeline) -> None:
    if run.judged is None:
        return
    drawn = [motion_pictures.motion_picture(run.judged, _fitting(run.deviation, run.judged), timeline)]
    if run.estimate is not None:
        drawn[0].caption += " This is the estimate that was judged; what was corrected is another: see above."
    moves = any(bool(np.any(part)) for part in run.judged.displacement)
    evidence = motion_pictures.evidence_picture(run.judged, run.trust, run.explained, timeline)
    if run.trust is not None and not moves:
        contents.missing.append("No motion was found, so there is no evidence for or against one to show.")
    elif evidence is None:
        contents.missing.append("No evidence is kept of single time bins.")
    else:
        drawn.append(evidence)
    if run.trust is not None and moves:
        drawn.append(motion_pictures.gain_picture(run.trust))
    contents.sections.insert(1 if contents.sections else 0, ("motion", "Motion and evidence", drawn))


def _fitting(values: np.ndarray | None, motion: Any) -> np.ndarray | None:
    """Give values only where they are of the bins of a motion: after a verdict they may be of the other one."""
    shape = (sum(map(len, motion.temporal_bins_s)), motion.spatial_bins_um.size)
    return values if values is not None and values.shape == shape else None


def _add_traces(
    contents: Contents,
    run: Run,
    timeline: Timeline,
    spikes: Spikes | None,
    windows: list[tuple[float, float]],
) -> list[str]:
    """Add what has to be read from the traces; returns what is odd about channels."""
    chain = run.corrected if run.corrected is not None else run.recording
    if chain is None or chain.get_total_samples() == 0:
        return []
    steps = measures.steps_of_run(run)
    unit, drawn, odd = measures.unit_of(steps[0].recording), [], []
    placed = all(step.recording.has_channel_location() for step in steps)
    if placed:
        place = _where(run, timeline, spikes, windows[0], steps)
        excerpts = _made(contents, "Traces", lambda: measures.excerpts_of(steps, place, windows[0]))
        if excerpts:
            start = float(steps[0].recording.sample_index_to_time(place[1], segment_index=place[0]))
            drawn.append(traces.traces_picture(excerpts, start, unit))
    spectra = _made(contents, "Spectra", lambda: measures.spectra_of(steps))
    if spectra:
        drawn.append(traces.spectra_picture(spectra, unit))
    noise = (
        _made(contents, "Noise", lambda: measures.noise_of(run, steps, timeline.offsets_s))
        if placed
        else None
    )
    if noise is not None:
        drawn.append(traces.noise_picture(noise, timeline))
        odd = measures.odd_channels(noise, run.recording if run.recording is not None else chain)
        level = f"{np.median(noise.before):.3g} {noise.unit}"
        contents.recording.append((f"median noise, {noise.labels[0]}", level))
        if noise.after is not None:
            after = f"{np.median(noise.after):.3g} {noise.unit}"
            contents.recording.append((f"median noise, {noise.labels[1]}", after))
            contents.headline = words.with_noise(run, contents.headline, level, after)
    if drawn:
        contents.sections.insert(0, ("traces", "Traces, power and noise", drawn))
    return odd


def _where(
    run: Run,
    timeline: Timeline,
    spikes: Spikes | None,
    window: tuple[float, float],
    steps: list[Step],
) -> tuple[int, int]:
    """Find a segment and sample with large spikes in a window, where the tissue is far from its place."""
    recording = steps[0].recording
    middle = (0, recording.get_num_samples(0) // 2)
    if spikes is None or run.motion is None or not len(spikes) or run.peaks is None:
        return middle
    inside = (spikes.depths_um >= window[0]) & (spikes.depths_um <= window[1]) & (spikes.rank > 0.9)
    times, sizes = spikes.times_s[inside], spikes.amplitudes[inside]
    if not times.size:
        return middle
    far = np.zeros(times.size)
    for index in range(run.motion.num_segments):
        moved = np.abs(moved_by(run.motion, np.array([np.mean(window)]), index, MOST_TIMES)[:, 0])
        own = np.linspace(timeline.starts_s[index], timeline.ends_s[index], moved.size)
        here = (times >= timeline.starts_s[index]) & (times <= timeline.ends_s[index])
        far[here] = np.interp(times[here], own, moved)
    best = int(np.argmax(sizes * (far >= np.percentile(far, FAR_PERCENT))))
    segment = int(np.searchsorted(timeline.starts_s, times[best], side="right") - 1)
    time = times[best] - timeline.offsets_s[segment]
    return segment, int(recording.time_to_sample_index(time, segment_index=segment))


def _add_units(contents: Contents, run: Run, timeline: Timeline) -> None:
    if run.sorting is None:
        return
    analyzer, motion = run.sorting, run.judged
    sorting = getattr(analyzer, "sorting", analyzer)
    contents.recording.append(("units", f"{len(sorting.unit_ids)}"))
    drawn = _made(contents, "Units", lambda: units.rates_picture(run, sorting, timeline))
    if drawn is not None:
        contents.sections.append(("units", "Units", [drawn]))
    if motion is not None and motion.num_segments == sorting.get_num_segments():
        from steadyspike.evaluation.drift import drift_metrics

        found = _made(
            contents, "Drift metrics", lambda: drift_metrics(analyzer, motion, recording=run.recording)
        )
        if found is not None and not np.isfinite(found.recording["value"]).any():
            contents.missing.append(
                "The recording is too short, or its units too silent, to say whether they still depend on the drift."
            )
        elif found is not None:
            contents.drift = [
                (f"{row.signal}, {row.measure}", _dependence(row)) for row in found.recording.itertuples()
            ]


def _dependence(row: Any) -> str:
    if not np.isfinite(row.value):
        return "not known"
    tail = (
        f"p = {row.pvalue:.3g}"
        if row.signal == "population"
        else f"{row.num_significant} of {row.num_units} units depend on the displacement"
    )
    return f"{row.value:.3f}; {tail}"


def _made(contents: Contents, what: str, make: Callable[[], Any]) -> Any:
    """Make a part; where that fails, as on a disk that is gone, the report says so and goes on."""
    try:
        return make()
    except Exception as error:
        contents.missing.append(f"{what} could not be shown: {first_line(error)}")
        return None


def _recording_table(run: Run) -> list[tuple[str, str]]:
    recording = run.recording
    if recording is None:
        return []
    first = measures.steps_of_run(run)[0].recording
    probe = recording.get_probe() if recording.has_probe() else None
    rows = [
        ("recording", str(run.facts.get("request", {}).get("source", run.name))),
        ("duration", words.in_words(recording.get_total_duration())),
        ("segments", str(recording.get_num_segments())),
        ("channels", f"{first.get_num_channels()}" + _kept(first, recording)),
        ("sampling", f"{recording.sampling_frequency:g} Hz, {first.dtype}"),
    ]
    if probe is not None:
        named = [probe.manufacturer, probe.model_name or probe.annotations.get("description")]
        rows.append(("probe", " ".join(str(one) for one in named if one) or "not named"))
        places = recording.get_channel_locations()
        across, along = np.ptp(places, axis=0)[:2]
        rows.append(("contacts", f"{across:.0f} µm across, {along:.0f} µm along the probe"))
    bad = measures.bad_channels_of(run)
    rows.append(("bad channels", ", ".join(map(str, bad)) if bad else "none were called bad"))
    return rows


def _kept(first: Any, recording: Any) -> str:
    number = recording.get_num_channels()
    return f", {number} after preprocessing" if number != first.get_num_channels() else ""


def _numbers(run: Run) -> list[tuple[str, str]]:
    if run.motion is None:
        return []
    rows = [("spikes", "not kept" if run.peaks is None else f"{len(run.peaks):,}")]
    trust = run.trust
    if trust is None:
        return [*rows, ("displacement", f"{words.span_of(run):.1f} µm")]
    return [
        ("verdict", trust.verdict),
        *rows,
        ("displacement (2nd to 98th percentile)", f"{trust.displacement_um:.1f} µm"),
        ("its standard error", f"{trust.error_um:.2f} µm"),
        ("true size, in units of the estimate", f"{trust.scale:.2f}"),
        ("gain of held-out spikes", f"{trust.gain:.4f} ± {trust.gain_error:.4f} nats per spike"),
        ("the same, rigid", f"{trust.rigid_gain:.4f} ± {trust.rigid_gain_error:.4f} nats per spike"),
        ("energy lost as it is", words.percent(trust.loss_without)),
        ("energy lost, corrected", words.percent(trust.loss_with)),
    ]


def _times(run: Run) -> list[tuple[str, str]]:
    times = run.facts.get("run_times") or {}
    rows = [(name.replace("_", " "), words.in_words(seconds)) for name, seconds in times.items()]
    memory = run.facts.get("memory_mb")
    return [*rows, ("largest memory of one process", f"{memory:,.0f} MB")] if memory else rows


def _versions(run: Run) -> list[tuple[str, str]]:
    rows = [(name, str(number)) for name, number in (run.facts.get("versions") or {}).items()]
    if run.facts.get("commit"):
        rows.insert(1, ("steadyspike, commit", str(run.facts["commit"])))
    machine = run.facts.get("machine") or {}
    return rows + [(name, str(value)) for name, value in machine.items()]
