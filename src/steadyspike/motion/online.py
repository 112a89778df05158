"""Motion of a running recording: spikes come in packets, the displacement is known as soon as a time bin is over."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from pydantic import model_validator
from spikeinterface import BaseRecording
from spikeinterface.core.motion import Motion

from steadyspike.core.arguments import refuse
from steadyspike.core.aside import written_aside
from steadyspike.core.moved import LAST_RELEASE
from steadyspike.core.probe_layout import shank_of_channels
from steadyspike.core.settings import document, parameter, takes
from steadyspike.kernels.motion.online_registration import OnlineRegistration
from steadyspike.kernels.motion.registration import Registration, RegistrationSettings
from steadyspike.motion.online_recording import KnownBins, check_warmup, online_settings
from steadyspike.motion.problem import MIN_EXTENT_UM, check_layout, windows_on
from steadyspike.motion.settings import DepthSettings, WindowSettings

NAME = "OnlineMotionEstimator"
FORMAT = "steadyspike online motion 1"
BIN_UM = 4.0
# A gap of more time bins than this is taken for a wrong clock.
LONGEST_GAP_BINS = 200_000
SPIKE_FIELDS = ("times_s", "depths_um", "amplitudes", "shanks")
SPIKE_TYPES = ("float64", "float32", "float32", "int32")


@dataclass(frozen=True)
class OnlineEstimate:
    """Displacement of one time bin.

    At the center of the bin, `time_s`, arrays are (num_windows,): corrected depth = depth - `displacement_um`; its
    standard deviation `sd_um` grows while there are no spikes; `explained` is the generalized coefficient of
    determination (pseudo-R2) of the bin's spikes: from 0, no spikes or none that fit, towards 1, as in
    `steady_decentralized`.
    """

    time_s: float
    displacement_um: np.ndarray
    sd_um: np.ndarray
    explained: np.ndarray

    @property
    def trust(self) -> np.ndarray:
        """What `explained` was called in 0.1.0."""
        text = f"OnlineEstimate.trust is now explained; the old name works up to steadyspike {LAST_RELEASE}"
        warnings.warn(text, DeprecationWarning, stacklevel=2)
        return self.explained


class OnlineEstimatorSettings(WindowSettings, DepthSettings):
    """Parameters of `OnlineMotionEstimator`."""

    part = NAME

    warmup_s: float = parameter(
        60.0,
        """Duration of the warm-up, at least two time bins. It goes on, up to ten times as long, where it sees fewer
        than 200 spikes""",
        unit="s",
        gt=0,
    )
    half_life_s: float = parameter(
        600.0, "Time with spikes after which a spike counts half in the density", unit="s", gt=0
    )
    num_shanks: int | None = parameter(
        None,
        "Spikes of different shanks are never taken for each other; None: those of the recording, or 1",
        ge=1,
    )
    start_s: float = parameter(0.0, "Start of the first time bin", unit="s")

    @model_validator(mode="after")
    def _warms_up(self) -> Self:
        check_warmup(self, "warmup_s")
        return self


@document
class OnlineMotionEstimator:
    """Estimates the motion of a stream of spikes, bin by bin, from spikes so far only.

    The spikes of the first `warmup_s` are kept and registered together as `steady_decentralized` does it. From then on
    each time bin is registered, as soon as it is over, to the density of the corrected spikes before it, in which a
    spike counts half after `half_life_s`. A jump is followed from the second time bin after it, when two agree. Memory
    and time per bin stay the same, but for the result itself: 24 to 48 bytes per time bin and window.

    Parameters
    ----------
    contact_depths_um : array_like of float, shape (num_channels,), or BaseRecording
        Positions of the contacts along the direction of the motion in um, or a recording with a probe.
    {settings}

    Raises
    ------
    ValueError
        For an argument outside its range, or contacts on which no motion can be seen.

    Examples
    --------
    >>> estimator = OnlineMotionEstimator(20.0 * np.arange(192))
    >>> estimator.push(np.array([0.1, 0.2]), np.array([800.0, 1500.0]), np.array([-60.0, -90.0]))
    >>> estimator.advance(1.0)
    >>> estimator.latest is None
    True
    """

    @takes(OnlineEstimatorSettings)
    def __init__(self, contact_depths_um: Any, *, settings: OnlineEstimatorSettings) -> None:
        depths, shanks = _contacts(contact_depths_um, settings.direction)
        self.bin_s, self.direction = settings.bin_s, settings.direction
        self.num_shanks = settings.num_shanks or shanks
        self._arguments = {**settings.values(), "num_shanks": self.num_shanks}
        self._contact_depths_um = depths
        margin_um = settings.hist_margin_um
        depth_bins = np.arange(depths.min() - margin_um, depths.max() + margin_um + BIN_UM, BIN_UM)
        windows, self.window_centers_um = windows_on(depths, settings)(depth_bins)
        steered = online_settings(
            RegistrationSettings(
                bin_um=BIN_UM,
                time_smooth_bins=0.5 / self.bin_s,
                max_displacement_um=settings.max_displacement_um,
                max_segment_displacement_um=settings.max_segment_displacement_um,
            ),
            self.bin_s,
            settings.warmup_s,
            settings.half_life_s,
        )
        self._registration = OnlineRegistration(
            self.window_centers_um, depth_bins, windows, steered, self.num_shanks
        )
        # for each segment: its start, the time bins that are over, and what is known of them
        self._starts_s = [settings.start_s]
        self._num_bins = [0]
        self._found = [KnownBins(self.window_centers_um.size)]
        self._open: list[tuple[np.ndarray, ...]] = []
        self._skipped: list[tuple[float, float]] = []
        #: Number of spikes that came after their time bin was over, and were not used.
        self.num_late = 0

    # -- spikes in

    def push(self, spike_times_s: Any, depths_um: Any, amplitudes: Any, shanks: Any = None) -> None:
        """Take in a packet of spikes; a time bin is over when a spike of a later one comes.

        Parameters
        ----------
        spike_times_s : array_like of float, shape (num_spikes,)
            Times in s, in any order. Spikes of a time bin that is over already are counted in `num_late` and not used.
        depths_um : array_like of float, shape (num_spikes,)
            Locations along the direction of the motion in um; spikes where it is not finite are left out.
        amplitudes : array_like of float, shape (num_spikes,)
            Amplitudes, in any unit and of either sign, but always the same.
        shanks : array_like of int or None, default: None
            Shank of each spike, from 0; None: all on shank 0.

        Raises
        ------
        ValueError
            For arrays of different shapes, times that are not finite, or shanks that are not there.
        """
        given = (
            spike_times_s,
            depths_um,
            amplitudes,
            np.zeros(np.shape(depths_um)) if shanks is None else shanks,
        )
        packet = [np.asarray(values, dtype) for values, dtype in zip(given, SPIKE_TYPES, strict=True)]
        names = ("spike_times_s", *SPIKE_FIELDS[1:])
        for name, values in zip(names, packet, strict=True):
            if values.shape != packet[0].shape or values.ndim != 1:
                refuse(name, values, f"one dimension, as many as spike_times_s: {packet[0].shape}", NAME)
        if not np.isfinite(packet[0]).all():
            refuse("spike_times_s", packet[0], "finite times in s", NAME)
        if packet[0].size == 0:
            return
        if packet[3].min() < 0 or packet[3].max() >= self.num_shanks:
            refuse("shanks", packet[3], f"0 to {self.num_shanks - 1}", NAME)
        bins = self._bins(packet[0])
        self._check_gap(int(bins.max()))
        self.num_late += int(np.count_nonzero(bins < self._num_bins[-1]))
        usable = np.isfinite(packet[1]) & (bins >= self._num_bins[-1])
        self._open.append(tuple(values[usable] for values in packet))
        self._close(int(bins.max()))

    def advance(self, time_s: float) -> None:
        """Say that all spikes up to a time (s) have come: time bins that end there or before are over."""
        if not np.isfinite(time_s):
            refuse("time_s", time_s, "a finite time in s", NAME)
        until = int(self._bins(np.array(time_s)))
        self._check_gap(until)
        self._close(until)

    def skip(self, start_s: float, stop_s: float) -> None:
        """Leave out spikes from `start_s` until before `stop_s` (s), an artifact say, if their time bin is not over."""
        if not (np.isfinite([start_s, stop_s]).all() and start_s < stop_s):
            refuse("start_s, stop_s", (start_s, stop_s), "finite times in s, the first smaller", NAME)
        self._skipped.append((float(start_s), float(stop_s)))

    def finish(self) -> None:
        """End the segment: the open time bin is over if it has spikes, and a warm-up ends with what there is."""
        if any(packet[0].size for packet in self._open):
            self._close(self._num_bins[-1] + 1)
        self._found[-1].add(self._registration.flush())

    def begin_segment(self, start_s: float) -> None:
        """End the segment and begin another, with time bins from `start_s`: the probe may lie anywhere.

        How far is searched for, up to `max_segment_displacement_um`, when `warmup_s` of the segment are over.
        """
        if not np.isfinite(start_s):
            refuse("start_s", start_s, "a finite time in s", NAME)
        self.finish()
        self._registration.begin_segment()
        self._skipped = []
        if self._num_bins[-1] == 0:
            self._starts_s[-1] = float(start_s)
            return
        self._starts_s.append(float(start_s))
        self._num_bins.append(0)
        self._found.append(KnownBins(self.window_centers_um.size))

    def _bins(self, times_s):
        return np.floor((times_s - self._starts_s[-1]) / self.bin_s).astype("int64")

    def _check_gap(self, until):
        if until - self._num_bins[-1] > LONGEST_GAP_BINS:
            last_s = self._starts_s[-1] + until * self.bin_s
            allowed = (
                f"leaps of up to {LONGEST_GAP_BINS} time bins, and this is one of {until - self._num_bins[-1]}; call "
                "begin_segment after so long a pause"
            )
            refuse("spike_times_s", last_s, allowed, NAME)

    def _close(self, until):
        """Register all time bins before this one."""
        if until <= self._num_bins[-1]:
            return
        spikes = [np.concatenate(values) for values in zip(*self._open, strict=True)] or [
            np.zeros(0, dtype) for dtype in SPIKE_TYPES
        ]
        order = np.argsort(spikes[0], kind="stable")
        spikes = [values[order] for values in spikes]
        bins = self._bins(spikes[0])
        self._open = [tuple(values[bins >= until] for values in spikes)]
        used = bins < until
        for start_s, stop_s in self._skipped:
            used &= (spikes[0] < start_s) | (spikes[0] >= stop_s)
        bins, spikes = bins[used], [values[used] for values in spikes]
        first = self._num_bins[-1]
        for start, stop in np.searchsorted(bins, np.arange(first, until)[:, None] + [0, 1]):
            self._num_bins[-1] += 1
            found = self._registration.update(*(values[start:stop] for values in spikes[1:]))
            self._found[-1].add(found)
        now_s = self._starts_s[-1] + until * self.bin_s
        self._skipped = [period for period in self._skipped if period[1] > now_s]

    # -- motion out

    @property
    def latest(self) -> OnlineEstimate | None:
        """The newest estimate; None before the warm-up is over."""
        for start_s, found in zip(self._starts_s[::-1], self._found[::-1], strict=True):
            if found.size:
                time_s = start_s + (found.size - 0.5) * self.bin_s
                return OnlineEstimate(time_s, *found.values[:, -1].copy())
        return None

    def displacement_at(self, depths_um: Any) -> np.ndarray:
        """Newest displacement at some depths (um), linear between the windows' centers; 0 before there is one."""
        latest = self.latest
        if latest is None:
            return np.zeros(np.shape(depths_um))
        return np.interp(depths_um, self.window_centers_um, latest.displacement_um)

    def motion(self) -> Motion:
        """Motion of all time bins that are over; those of an unfinished warm-up stand still.

        Raises
        ------
        ValueError
            If no time bin is over yet.
        """
        if self._num_bins[0] == 0:
            raise ValueError(f"{NAME}: no time bin is over yet, so there is no motion")
        displacement, times_s = [], []
        last = np.zeros(self.window_centers_um.size)
        for segment, num_bins in enumerate(self._num_bins):
            if num_bins == 0:
                continue
            known = self._found[segment].values[0]
            last = known[-1] if len(known) else last
            displacement.append(np.vstack([known, np.tile(last, (num_bins - len(known), 1))]))
            times_s.append(self._starts_s[segment] + (np.arange(num_bins) + 0.5) * self.bin_s)
        return Motion(displacement, times_s, self.window_centers_um, direction=self.direction)

    # -- to and from disk

    def save(self, path: str | Path) -> Path:
        """Write all of it to an .npz file, from which `load` goes on; aside first, so that it is complete or absent.

        Parameters
        ----------
        path : str or Path
            The file, which is replaced if it is there.

        Returns
        -------
        path : Path
        """
        path = Path(path).absolute()
        spikes = [np.concatenate(values) for values in zip(*self._open, strict=True)]
        arrays = {f"open_{name}": values for name, values in zip(SPIKE_FIELDS, spikes, strict=False)}
        arrays |= {f"registration_{name}": values for name, values in self._registration.state().items()}
        arrays |= {f"segment{segment}": found.values for segment, found in enumerate(self._found)}
        arrays |= dict(
            format=np.array(FORMAT),
            arguments=np.array(json.dumps(self._arguments)),
            contact_depths_um=self._contact_depths_um,
            starts_s=np.array(self._starts_s),
            num_bins=np.array(self._num_bins),
            skipped_s=np.array(self._skipped).reshape(-1, 2),
            num_late=np.array(self.num_late),
        )
        with written_aside(path) as aside, aside.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        return path

    @classmethod
    def load(cls, path: str | Path) -> OnlineMotionEstimator:
        """Go on from what `save` wrote: the same spikes give the same estimates, to the last bit.

        Parameters
        ----------
        path : str or Path
            The file.

        Raises
        ------
        ValueError
            If it is not a file of `save`.
        """
        content = np.load(path, allow_pickle=False)
        arrays = {}
        if isinstance(content, np.lib.npyio.NpzFile):
            with content:
                arrays = dict(content)
        if str(arrays.get("format")) != FORMAT:
            refuse("path", str(path), f"a file that {NAME}.save wrote", NAME)
        self = cls(arrays["contact_depths_um"], **json.loads(str(arrays["arguments"])))
        prefix = "registration_"
        self._registration.restore(
            {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
        )
        self._starts_s = arrays["starts_s"].tolist()
        self._num_bins = arrays["num_bins"].tolist()
        self._skipped = [tuple(period) for period in arrays["skipped_s"].tolist()]
        self.num_late = int(arrays["num_late"])
        self._found = [KnownBins(self.window_centers_um.size) for _ in self._starts_s]
        for segment, found in enumerate(self._found):
            found.add(Registration(*arrays[f"segment{segment}"]))
        if "open_times_s" in arrays:
            self._open = [tuple(arrays[f"open_{name}"] for name in SPIKE_FIELDS)]
        return self


def _contacts(given, direction):
    """Positions of the contacts along the direction, and the number of shanks."""
    if isinstance(given, BaseRecording):
        return check_layout(NAME, given, direction), int(shank_of_channels(given).max(initial=0)) + 1
    depths = np.asarray(given, dtype="float64")
    if (
        depths.ndim != 1
        or depths.size == 0
        or not np.isfinite(depths).all()
        or np.ptp(depths) < MIN_EXTENT_UM
    ):
        refuse("contact_depths_um", given, "a recording, or finite positions in um that differ", NAME)
    return depths, 1
