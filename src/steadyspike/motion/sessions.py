"""Motion within and between sessions of one implant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import refuse, shown
from steadyspike.core.environment import shows_progress
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.motion.estimators import ESTIMATORS

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

# Contacts of two sessions are the same ones if they lie closer than this.
SAME_PLACE_UM = 1.0
REMEDIES = {
    "num_channels": "contacts must be the same",
    "channel_ids": "rename or select channels",
    "sampling_frequency": "resample one of them",
    "dtype": "si.astype makes them agree",
}
"""What sessions have in common, and what to do where they do not."""


@dataclass(frozen=True)
class SessionMotions:
    """The motion of some sessions, in one frame of reference.

    Attributes
    ----------
    recordings : list of BaseRecording
        The sessions.
    motions : list of Motion, or list of list of Motion
        Of each session; with ``shanks="separate"`` a list of the motions of its shanks.
    peaks, peak_locations : ndarray, shape (num_peaks,)
        Peaks of all sessions; "segment_index" counts through all segments.
    extra : dict, or list of dict
        What the estimator tells besides: "explained" and "displacement_sd_um" of shape (num_times, num_windows),
        segments one after the other, and more (see the estimator); with ``shanks="separate"`` one for each shank.
    interpolate_motion_kwargs : dict
        How the preset corrects.
    """

    recordings: list[BaseRecording]
    motions: list[Any]
    peaks: np.ndarray
    peak_locations: np.ndarray
    extra: Any
    interpolate_motion_kwargs: dict[str, Any]

    @property
    def offsets_um(self) -> np.ndarray:
        """Median displacement of each session relative to the first.

        Of shape (num_sessions, num_windows), or with ``shanks="separate"`` (num_shanks, num_sessions, num_windows).
        """
        if isinstance(self.motions[0], Motion):
            return _offsets_um(self.motions)
        return np.array([_offsets_um(of_shank) for of_shank in zip(*self.motions, strict=True)])

    @property
    def recordings_corrected(self) -> list[BaseRecording]:
        """Each session corrected, lazily, by `steadyspike.interpolate_motion` (or `interpolate_motion_by_shank`)."""
        from steadyspike.preprocessing.motion_by_shank import interpolate_motion_by_shank
        from steadyspike.preprocessing.motion_interpolation import interpolate_motion

        shared = isinstance(self.motions[0], Motion)
        correct = interpolate_motion if shared else interpolate_motion_by_shank
        return [
            correct(recording, motion, **self.interpolate_motion_kwargs)
            for recording, motion in zip(self.recordings, self.motions, strict=True)
        ]

    @property
    def recording_corrected(self) -> BaseRecording:
        """All sessions corrected, lazily, as the segments of one recording."""
        from spikeinterface.core import append_recordings

        corrected = self.recordings_corrected
        return corrected[0] if len(corrected) == 1 else append_recordings(corrected)


class SessionSettings(Settings):
    """Parameters of `estimate_motion_sessions`."""

    part = "estimate_motion_sessions"

    shanks: Literal["shared", "separate"] = parameter(
        "shared",
        """"shared": all shanks move alike; their spikes are pooled, and those of one shank are never taken for those of
        another. "separate": each shank has a motion of its own. For a recording of one shank both are the same""",
    )


@takes(SessionSettings)
def estimate_motion_sessions(
    recordings: BaseRecording | Sequence[BaseRecording],
    peaks: np.ndarray | Sequence[np.ndarray] | None = None,
    peak_locations: np.ndarray | Sequence[np.ndarray] | None = None,
    *,
    preset: str = "steady_auto",
    settings: SessionSettings,
    folder: str | None = None,
    detect_kwargs: dict[str, Any] | None = None,
    localize_peaks_kwargs: dict[str, Any] | None = None,
    estimate_motion_kwargs: dict[str, Any] | None = None,
    interpolate_motion_kwargs: dict[str, Any] | None = None,
    progress_bar: bool | None = None,
    **job_kwargs: Any,
) -> SessionMotions:
    """Estimate the motion within and between sessions of one implant.

    Each segment is registered within itself, the segments are put in place as wholes by the correlation of their spike
    densities over depth and amplitude (rigidly over any distance, then window by window), and all time bins are
    registered together to the density of all spikes. The hours or days between the sessions don't matter.

    Parameters
    ----------
    recordings : BaseRecording or sequence of BaseRecording
        One recording of several segments, or recordings with the same contacts and sampling frequency; each may have
        several segments.
    peaks, peak_locations : ndarray, or sequence of ndarray, or None
        Peaks and locations of one recording with "segment_index", or of each recording. None: they are detected and
        localized as the preset says.
    preset : str, default: "steady_auto"
        Motion preset whose estimator is one of steadyspike's.
    {settings}
    folder : str, Path or None
        Where detected peaks are kept, so that an interrupted run goes on; None keeps them in memory.
    detect_kwargs, localize_peaks_kwargs, estimate_motion_kwargs, interpolate_motion_kwargs : dict or None
        Change the preset, as in `si.correct_motion`. `max_segment_displacement_um` in `estimate_motion_kwargs` (default
        400) is how far sessions may lie from one another.
    progress_bar : bool or None, default: None
        Show progress. None: as SpikeInterface's global job arguments say.
    **job_kwargs
        As everywhere in SpikeInterface.

    Returns
    -------
    sessions : SessionMotions
        With one motion for each recording, and the corrected recordings.

    Raises
    ------
    ValueError
        If the recordings don't fit together, if only one of `peaks` and `peak_locations` is given or their number does
        not fit, if the preset's estimator can't take several segments, or for another value of `shanks`.

    Examples
    --------
    >>> sessions = steadyspike.estimate_motion_sessions([monday, tuesday])  # doctest: +SKIP
    >>> sessions.recording_corrected  # doctest: +SKIP
    """
    import spikeinterface.full as si

    progress_bar = shows_progress(progress_bar)
    sessions = list(recordings) if isinstance(recordings, list | tuple) else [recordings]
    check_sessions(sessions)
    shanks = settings.shanks
    parameters = si.get_motion_parameters_preset(preset)
    estimate = {**parameters["estimate_motion_kwargs"], **(estimate_motion_kwargs or {})}
    _check_estimator(estimate.get("method"))
    if (peaks is None) != (peak_locations is None):
        name, given = ("peaks", peaks) if peak_locations is None else ("peak_locations", peak_locations)
        refuse(name, given, "peaks and peak_locations both, or none of them", settings.part)
    together = sessions[0] if len(sessions) == 1 else si.append_recordings(sessions)
    if peaks is None:
        peaks, peak_locations = _find_peaks(
            together,
            folder,
            preset=preset,
            detect_kwargs=detect_kwargs or {},
            localize_peaks_kwargs=localize_peaks_kwargs or {},
            progress_bar=progress_bar,
            **job_kwargs,
        )
    else:
        peaks, peak_locations = _join_peaks(sessions, peaks, peak_locations)
    estimate["progress_bar"] = progress_bar
    motions, extra = _estimate(together, peaks, peak_locations, shanks, estimate)
    by_session = [_split(motion, sessions) for motion in motions]
    correct = {**parameters["interpolate_motion_kwargs"], **(interpolate_motion_kwargs or {})}
    correct.pop("method", None)
    return SessionMotions(
        sessions,
        by_session[0] if shanks == "shared" else [list(each) for each in zip(*by_session, strict=True)],
        peaks,
        peak_locations,
        extra[0] if shanks == "shared" else extra,
        correct,
    )


def _find_peaks(recording: BaseRecording, folder: str | None, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
    import tempfile

    from steadyspike.peaks.on_disk import compute_peaks

    if folder is not None:
        return compute_peaks(recording, folder, **kwargs)
    with tempfile.TemporaryDirectory() as aside:
        peaks, peak_locations = compute_peaks(recording, Path(aside) / "peaks", **kwargs)
        return np.array(peaks), np.array(peak_locations)


def _estimate(
    recording: BaseRecording,
    peaks: np.ndarray,
    peak_locations: np.ndarray,
    shanks: str,
    estimate: dict[str, Any],
) -> tuple[list[Motion], list[dict[str, Any]]]:
    """Estimate one motion for all shanks, or one for each, with what the estimator tells besides."""
    from spikeinterface.sortingcomponents.motion import motion_estimation

    of_channels = (
        shank_of_channels(recording) if shanks == "separate" else np.zeros(recording.get_num_channels())
    )
    motions, extras = [], []
    for shank in np.unique(of_channels):
        channels = np.flatnonzero(of_channels == shank)
        part, mine, places = recording, peaks, peak_locations
        if channels.size < of_channels.size:
            part = recording.select_channels(recording.channel_ids[channels])
            chosen = np.isin(peaks["channel_index"], channels)
            mine, places = peaks[chosen], peak_locations[chosen]
            mine["channel_index"] = np.searchsorted(channels, mine["channel_index"])
        motion, extra = motion_estimation.estimate_motion(part, mine, places, extra_outputs=True, **estimate)
        motions.append(motion)
        extras.append(extra)
    return motions, extras


def _offsets_um(motions: Sequence[Motion]) -> np.ndarray:
    medians = [np.median(np.concatenate(motion.displacement), axis=0) for motion in motions]
    return np.array(medians) - medians[0]


def check_sessions(sessions: list[BaseRecording]) -> None:
    """Refuse recordings that are not sessions of one implant."""
    part = SessionSettings.part
    if not sessions:
        refuse("recordings", sessions, "at least one recording", part)
    first = sessions[0]
    for number, recording in enumerate(sessions[1:], start=1):
        for fact, remedy in REMEDIES.items():
            expected, found = (getattr(one, f"get_{fact}")() for one in (first, recording))
            if not np.array_equal(found, expected):
                allowed = f"{shown(expected)}, as recordings[0] has; {remedy}"
                refuse(f"recordings[{number}].{fact}", found, allowed, part)
        apart = np.abs(recording.get_channel_locations() - first.get_channel_locations()).max()
        if apart > SAME_PLACE_UM:
            allowed = f"the same contacts as recordings[0]; these lie up to {apart:.0f} um from them"
            refuse(f"recordings[{number}]", recording, allowed, part)


def _check_estimator(method: Any) -> None:
    if method not in ESTIMATORS:
        allowed = f"{', '.join(sorted(ESTIMATORS))}, as any other takes one segment only"
        refuse("method", method, allowed, SessionSettings.part)


def _join_peaks(
    sessions: list[BaseRecording], peaks: Any, peak_locations: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Make one array of the peaks of all sessions, with segments counted through."""
    part = SessionSettings.part
    if isinstance(peaks, np.ndarray):
        peaks, peak_locations = [peaks], [peak_locations]
    for name, given in (("peaks", peaks), ("peak_locations", peak_locations)):
        if len(given) != len(sessions):
            refuse(name, given, f"one array for each of the {len(sessions)} recordings", part)
    joined, first_segment = [], 0
    for number, (recording, mine, places) in enumerate(zip(sessions, peaks, peak_locations, strict=True)):
        if len(mine) != len(places):
            refuse(f"peak_locations[{number}]", places, f"one for each of the {len(mine)} peaks", part)
        mine = mine.copy()
        mine["segment_index"] += first_segment
        first_segment += recording.get_num_segments()
        joined.append(mine)
    return np.concatenate(joined), np.concatenate(list(peak_locations))


def _split(motion: Motion, sessions: list[BaseRecording]) -> list[Motion]:
    """Cut a motion of all segments into one for each session."""
    motions, first = [], 0
    for recording in sessions:
        mine = slice(first, first + recording.get_num_segments())
        motions.append(
            Motion(
                motion.displacement[mine],
                motion.temporal_bins_s[mine],
                motion.spatial_bins_um,
                direction=motion.direction,
            )
        )
        first = mine.stop
    return motions
