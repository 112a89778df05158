"""Parameters that motion estimators share, each declared once, and the form in which SpikeInterface calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.core.settings import Settings, parameter, takes

if TYPE_CHECKING:
    from steadyspike.kernels.motion.registration import RegistrationSettings

# s. No recording is sampled at more than 100 kHz, and none lasts longer than a few months.
SHORTEST_BIN_S, LONGEST_BIN_S = 1e-5, 1e7


class WindowSettings(Settings):
    """Arguments of SpikeInterface's `estimate_motion` that say where motion is estimated."""

    part = "estimate_motion"

    direction: Literal["x", "y", "z"] = parameter("y", "Direction of the motion")
    rigid: bool = parameter(False, "One window for the whole probe instead of several")
    win_shape: Literal["gaussian", "rect", "triangle"] = parameter("gaussian", "Shape of the windows")
    win_step_um: float = parameter(200.0, "Distance of the windows' centers", unit="um", gt=0)
    win_scale_um: float = parameter(
        300.0, "Standard deviation of a Gaussian window, width of another", unit="um", gt=0
    )
    win_margin_um: float | None = parameter(
        None,
        "How far beyond the outermost contacts windows are centered, negative: inside of them; None: "
        "``-win_scale_um / 2``",
        unit="um",
    )


class PeriodSettings(Settings):
    """What is left out."""

    periods: object = parameter(
        None,
        "Times to leave out (artifacts, silence): tuples (start_s, stop_s), or (segment_index, start_s, stop_s), or "
        "what SpikeInterface's detectors of artifacts return",
        type_doc="None, sequence of tuple or ndarray",
        allowed="None, tuples (start_s, stop_s) or (segment_index, start_s, stop_s), or an array of artifacts",
    )


class RangeSettings(Settings):
    """Time bins, and how far to look."""

    bin_s: float = parameter(1.0, "Duration of the time bins", unit="s", ge=SHORTEST_BIN_S, le=LONGEST_BIN_S)
    max_displacement_um: float = parameter(
        100.0, "Largest displacement between two time bins of a segment", unit="um", gt=0
    )
    max_segment_displacement_um: float = parameter(
        400.0, "Largest displacement between two segments", unit="um", gt=0
    )


class DepthSettings(RangeSettings):
    """The same, and which spikes are used."""

    hist_margin_um: float = parameter(
        40.0, "How far beyond the outermost contacts peaks are used", unit="um", ge=0
    )


class EstimatorSettings(PeriodSettings, RangeSettings):
    """What every estimator takes."""

    reference_displacement: Literal["midrange", "mean", "median"] = parameter(
        "midrange",
        """Which displacement is called zero at each depth: spikes can't tell a stretch of the tissue that was always
        there. "midrange" is the middle between the 2nd and the 98th percentile over time, which keeps the correction
        as small as possible""",
    )


class RefinedSettings(EstimatorSettings, DepthSettings):
    """What every estimator takes that refines a first estimate by maximum likelihood."""

    negligible_um: float = parameter(
        0.5,
        """A motion whose range (2nd to 98th percentile over time) is smaller than this in every window is returned as
        no motion at all, since to interpolate would cost more than it brings""",
        unit="um",
        ge=0,
    )
    refine_iterations: int = parameter(
        8,
        "Rounds of registration to the density of all peaks by maximum likelihood; 0 keeps the first estimate",
        ge=0,
    )

    def registration(self, **others: Any) -> RegistrationSettings:
        """Give the numbers that steer the registration of arrays; `others` are those that one estimator adds."""
        from steadyspike.kernels.motion.registration import RegistrationSettings

        return RegistrationSettings(
            max_displacement_um=self.max_displacement_um,
            max_segment_displacement_um=self.max_segment_displacement_um,
            reference=self.reference_displacement,
            refine_iterations=self.refine_iterations,
            negligible_um=self.negligible_um,
            **others,
        )


class PairSettings(RefinedSettings):
    """What every estimator takes that compares pairs of time bins."""

    time_horizon_s: float | None = parameter(
        1000.0, "Time bins farther apart than this are not compared; None: no limit", unit="s", gt=0
    )
    corr_threshold: float = parameter(0.1, "Pairs of time bins that correlate less are left out", ge=0, lt=1)

    def horizon_bins(self, bin_s: float, num_times: int) -> int:
        """Give the largest lag of a pair in time bins."""
        horizon_s = np.inf if self.time_horizon_s is None else self.time_horizon_s
        return int(min(horizon_s / bin_s, num_times))


class MotionEstimator:
    """A motion estimator in the form that SpikeInterface's `estimate_motion` calls.

    A subclass names its parameters in `settings_class` and estimates in `estimate`; `name`, `params_doc` and `run`
    derive from these.
    """

    settings_class: ClassVar[type[Settings]]
    name: ClassVar[str]
    params_doc: ClassVar[str]
    run: ClassVar[Callable[..., Motion]]
    need_peak_location: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "settings_class" in vars(cls):
            cls.name = cls.settings_class.part
            cls.params_doc = f"\n{cls.settings_class.params_doc()}\n"
            cls.run = classmethod(takes(cls.settings_class)(_run))  # type: ignore[assignment]

    @classmethod
    def estimate(
        cls,
        recording: Any,
        peaks: np.ndarray | None,
        peak_locations: np.ndarray | None,
        windows: WindowSettings,
        settings: Any,
        verbose: bool,
        progress_bar: bool,
        extra: dict[str, Any] | None,
    ) -> Motion:
        """Estimate the motion; see `run`."""
        raise NotImplementedError


def _run(
    cls,
    recording,
    peaks,
    peak_locations,
    direction,
    rigid,
    win_shape,
    win_step_um,
    win_scale_um,
    win_margin_um,
    verbose,
    progress_bar,
    extra,
    settings,
):
    """Estimate the motion; called by SpikeInterface's `estimate_motion`.

    Parameters
    ----------
    recording : BaseRecording
        Its times and contact positions are used, and its traces by estimators that need no peaks.
    peaks : ndarray, shape (num_peaks,)
        Peaks of `detect_peaks`, with "sample_index", "amplitude" and, for several segments, "segment_index".
    peak_locations : ndarray, shape (num_peaks,)
        Locations of `localize_peaks` in um, with a field for the direction. Peaks whose location is NaN or infinite
        are left out.
    direction, rigid, win_shape, win_step_um, win_scale_um, win_margin_um
        Direction of the motion and windows, as in `estimate_motion`.
    verbose : bool
        Print the size of the problem.
    progress_bar : bool
        Show progress.
    extra : dict or None
        Filled, where given, as the class says.
    {settings}

    Returns
    -------
    motion : Motion
        Bridged where `periods` are left out.

    Raises
    ------
    ValueError
        For an argument outside its range, or contacts on which no motion can be seen.
    """
    windows = WindowSettings.of(
        direction=direction,
        rigid=rigid,
        win_shape=win_shape,
        win_step_um=win_step_um,
        win_scale_um=win_scale_um,
        win_margin_um=win_margin_um,
    )
    return cls.estimate(recording, peaks, peak_locations, windows, settings, verbose, progress_bar, extra)
