"""How a motion and a sorting compare with the course of a manipulator."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.simulation.drift import DISPLACEMENT_SAMPLING_FREQUENCY, DriftTruth
from steadyspike.simulation.truth import ERROR_STEP_S, motion_error, true_displacement
from steadyspike_benchmarks import agreement
from steadyspike_benchmarks.imposed.course import Course
from steadyspike_benchmarks.peak_folder import RealPeaks

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting
    from spikeinterface.core.motion import Motion

LONGEST_LAG_S = 30.0
MOST_VIOLATIONS, LEAST_PRESENCE, STRETCHES = 0.5, 0.9, 20
"""A unit is clean with at most this ratio of refractory violations and spikes in at least this share of stretches."""


def as_truth(course: Course, recording: BaseRecording, sign: int) -> DriftTruth:
    """Say what would be true if the tissue kept its place while the manipulator moved the probe."""
    duration_s = recording.get_duration()
    rate = DISPLACEMENT_SAMPLING_FREQUENCY
    positions = course.at((np.arange(int(np.ceil(duration_s * rate))) + 0.5) / rate)
    depths = recording.get_channel_locations()[:, 1]
    return DriftTruth(
        unit_locations=np.zeros((0, 3)),
        displacement_vector=sign * (positions - positions[0]),
        displacement_sampling_frequency=rate,
        depth_range_um=(float(depths.min()), float(depths.max())),
        depth_factors=(1.0, 1.0),
        info=dict(duration_s=duration_s),
    )


def compare_with_course(truth: DriftTruth, motion: Motion) -> dict[str, Any]:
    """Fit the course to a motion: the tissue may follow the probe partly, and less at some depths than at others.

    Returns
    -------
    fitted : dict
        "gain", the median over depths of the motion by the course (1: the tissue stays where it is), "gain_range" over
        depths, "error_with_gain_um", the mean absolute error after fitting gain and offset at each depth, and "lag_s",
        by which the course has to be delayed to be most like the motion; None where the motion is still.
    """
    times = np.arange(0.5 * ERROR_STEP_S, truth.info["duration_s"], ERROR_STEP_S)
    # against a truth of zeros, the error is the motion itself
    still = replace(truth, displacement_vector=np.zeros_like(truth.displacement_vector))
    motions = motion_error(still, motion, times_s=times, offset_per_depth=True)
    course = _displacement(truth, times)
    course = course - course.mean()
    gains = course @ motions / (course @ course)
    rest = motions - gains * course[:, np.newaxis]
    return dict(
        gain=float(np.median(gains)),
        gain_range=[float(gains.min()), float(gains.max())],
        error_with_gain_um=float(np.abs(rest - np.median(rest, axis=0)).mean()),
        lag_s=_lag(truth, times, motions.mean(axis=1)),
    )


def sharpness(peaks: RealPeaks, motion: Motion | None = None) -> float:
    """Tell how sharp the raster is, as seen or with a motion taken out; see `agreement.sharpness`."""
    depths = peaks.depths_um if motion is None else agreement.corrected_depths(peaks, motion)
    return agreement.sharpness(depths, agreement.histogram_limits(peaks))


def course_motion(truth: DriftTruth, bin_s: float = 1.0) -> Motion:
    """Give the course as a rigid motion."""
    from spikeinterface.core.motion import Motion

    times = np.arange(0.5 * bin_s, truth.info["duration_s"], bin_s)
    return Motion(
        [_displacement(truth, times)[:, np.newaxis]], [times], np.array([np.mean(truth.depth_range_um)])
    )


def unit_measures(found: BaseSorting, truth: DriftTruth) -> dict[str, int]:
    """Count the units that were found, without knowing the true ones.

    Returns
    -------
    counts : dict
        "units"; "clean", those with few refractory violations that fire throughout; and "follow", those whose rate
        depends on where the manipulator is (`steadyspike.evaluation.drift_metrics`), of "rated".
    """
    from steadyspike.evaluation import drift_metrics

    if found.get_num_units() == 0:
        return dict(units=0, clean=0, follow=0, rated=0)
    duration_s = truth.info["duration_s"]
    trains = [found.get_unit_spike_train(unit) / found.get_sampling_frequency() for unit in found.unit_ids]
    rates = drift_metrics(found, course_motion(truth)).recording.set_index(["signal", "measure"])
    return dict(
        units=len(trains),
        clean=sum(_is_clean(train, duration_s) for train in trains),
        follow=int(rates.loc[("rate", "xi"), "num_significant"]),
        rated=int(rates.loc[("rate", "xi"), "num_units"]),
    )


def _is_clean(times_s: np.ndarray, duration_s: float) -> bool:
    from spikeinterface.metrics.quality.misc_metrics import isi_violations, presence_ratio

    present = presence_ratio(times_s, np.linspace(0.0, duration_s, STRETCHES + 1))
    return bool(present >= LEAST_PRESENCE and isi_violations([times_s], duration_s)[0] <= MOST_VIOLATIONS)


def _lag(truth: DriftTruth, times: np.ndarray, motion: np.ndarray) -> float | None:
    if np.ptp(motion) == 0:
        return None
    longest = min(LONGEST_LAG_S, truth.info["duration_s"] / 4)
    lags = ERROR_STEP_S * np.arange(1, int(longest / ERROR_STEP_S) + 1)
    # from small to large, so that of those that are alike the smallest counts
    lags = np.concatenate([[0.0], np.stack([lags, -lags], axis=1).ravel()])
    shifted = [_displacement(truth, times - lag) for lag in lags]
    alike = [np.corrcoef(course, motion)[0, 1] if np.ptp(course) > 0 else -1.0 for course in shifted]
    return float(lags[int(np.argmax(alike))])


def _displacement(truth: DriftTruth, times: np.ndarray) -> np.ndarray:
    return true_displacement(truth, times, np.array([truth.depth_range_um[0]]))[:, 0]
