"""Online registration of a recording that is already there, as if it were running."""

from __future__ import annotations

import numpy as np

from steadyspike.kernels.motion.online_registration import OnlineRegistration, OnlineSettings
from steadyspike.kernels.motion.registration import Registration
from steadyspike.motion.problem import as_motion

FIELDS = ("displacement", "deviation_um", "explained")


class KnownBins:
    """Displacement, standard deviation and `explained` of a segment's time bins, in an array that grows by doubling."""

    def __init__(self, num_windows):
        self.size = 0
        self._rows = np.zeros((len(FIELDS), 64, num_windows))

    @property
    def values(self):
        """Array of shape (3, num_times, num_windows)."""
        return self._rows[:, : self.size]

    def add(self, found):
        """Append a registration of some time bins."""
        stop = self.size + found.displacement.shape[0]
        if stop > self._rows.shape[1]:
            more = np.zeros((len(FIELDS), max(stop, self._rows.shape[1]), self._rows.shape[2]))
            self._rows = np.concatenate([self._rows, more], axis=1)
        for row, name in zip(self._rows, FIELDS, strict=True):
            row[self.size : stop] = getattr(found, name)
        self.size = stop


def check_warmup(settings, name):
    """Refuse settings with a warm-up, the parameter of this name, of less than two time bins."""
    if getattr(settings, name) < 2 * settings.bin_s:
        settings.refuse(name, f"at least two time bins, {2 * settings.bin_s} s")


def online_settings(warmup, bin_s, warmup_s, half_life_s):
    """Settings of `OnlineRegistration` from those of its warm-up and times in s."""
    return OnlineSettings(
        warmup_bins=max(round(warmup_s / bin_s), 2),
        half_life_bins=half_life_s / bin_s,
        max_segment_displacement_um=warmup.max_segment_displacement_um,
        warmup=warmup,
    )


def register_online(problem, settings, bin_s, warmup_s, extra, half_life_s=600.0):
    """Register a recording as if it were running: each time bin from spikes up to it only, but for warm-ups.

    `settings` register the warm-up; `extra` is filled as by `problem.finish`.
    """
    spikes = problem.spikes
    depth_bins = problem.depth_bins(settings.bin_um)
    online = OnlineRegistration(
        problem.centers_um,
        depth_bins,
        problem.windows_of(depth_bins),
        online_settings(settings, bin_s, warmup_s, half_life_s),
        spikes.num_groups,
    )
    is_sorted = not np.any(np.diff(spikes.time_bins) < 0)
    order = slice(None) if is_sorted else np.argsort(spikes.time_bins, kind="stable")
    values = [spikes.depths_um[order], spikes.amplitudes[order]]
    if spikes.groups is not None:
        values.append(spikes.groups[order])
    edges = np.searchsorted(spikes.time_bins[order], np.arange(problem.times.num_times + 1))
    borders = set(problem.times.segment_edges[1:-1].tolist())
    found = KnownBins(problem.centers_um.size)
    for time in problem.progress(range(problem.times.num_times), "online registration"):
        if time in borders:
            found.add(online.flush())
            online.begin_segment()
        found.add(online.update(*(value[edges[time] : edges[time + 1]] for value in values)))
    found.add(online.flush())
    return as_motion(problem, Registration(*found.values), extra)
