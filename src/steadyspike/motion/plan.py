"""Time bins and depth windows that suit a recording's spikes."""

from __future__ import annotations

from dataclasses import dataclass

from steadyspike.motion.problem import MOST_TIME_BINS
from steadyspike.motion.settings import WindowSettings

# s. Durations of time bins to choose from.
TIME_BINS_S = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
# Spikes per time bin and window below which a displacement is mostly guessed, and from which longer bins tell no more.
SPIKES_PER_BIN = 2.0
ENOUGH_SPIKES = 20.0
# Time bins that a recording has at least, unless spikes are too few for that.
LEAST_BINS = 10
# s, and spikes on the whole probe: the shortest time bins in which motion between those is followed.
FINEST_BIN_S = 0.1
SPIKES_PER_FINER_BIN = 10.0
# Windows are farther apart where there would be more than these.
MAX_WINDOWS = 40
# Spikes per second and window below which there are fewer windows.
WINDOW_RATE_HZ = 1.0


@dataclass(frozen=True)
class Plan:
    """Windows for a probe and its spikes, and durations of time bins to choose from."""

    rigid: bool
    win_step_um: float
    win_scale_um: float
    bins_s: tuple[float, ...]


def plan_estimation(extent_um, peaks_per_s, duration_s, rigid=False):
    """Choose windows, and the time bins to try.

    Windows are 200 um apart, as those of SpikeInterface's `estimate_motion`, farther on probes so long that there would
    be more than 40, or where a window would see less than one spike per second; shorter probes have one at each end,
    since tissue bends within them too. Time bins are those in which a window sees from 2 to 20 spikes; which of them is
    best, the spikes say, because that depends on how they scatter.

    `extent_um` is the distance between the outermost contacts along the direction of the motion, `peaks_per_s` counts
    those of the whole probe, `duration_s` is that of the longest segment. `rigid` asks for one window.
    """
    usual_um = WindowSettings.model_fields["win_step_um"].default
    step_um = max(min(usual_um, extent_um) or usual_um, extent_um / MAX_WINDOWS)
    most_windows = max(int(peaks_per_s / WINDOW_RATE_HZ), 1)
    step_um = max(step_um, extent_um / max(most_windows - 1, 0.5))
    # a window at each end and every step between
    num_windows = int(extent_um // step_um) + 1 if step_um > 0 else 1
    rigid = rigid or num_windows == 1
    rate = peaks_per_s / (1 if rigid else num_windows)
    first, last = (
        next((i for i, bin_s in enumerate(TIME_BINS_S) if rate * bin_s >= spikes), len(TIME_BINS_S) - 1)
        for spikes in (SPIKES_PER_BIN, ENOUGH_SPIKES)
    )
    longer = (bin_s for bin_s in TIME_BINS_S[first + 1 : last + 1] if duration_s >= LEAST_BINS * bin_s)
    return Plan(rigid, step_um, 1.5 * step_um, (TIME_BINS_S[first], *longer))


def finer_bin(bin_s: float, peaks_per_s: float, duration_s: float) -> float | None:
    """Give the duration of time bins in which motion between bins of `bin_s` can be followed, or None.

    They divide `bin_s` evenly, last 0.1 s or more, and see 10 spikes on the whole probe. `duration_s` is that of all
    segments together.
    """
    of_spikes_s = SPIKES_PER_FINER_BIN / max(peaks_per_s, 1e-9)
    shortest_s = max(FINEST_BIN_S, of_spikes_s, 1.01 * duration_s / MOST_TIME_BINS)
    parts = int(bin_s / shortest_s)
    return bin_s / parts if parts > 1 else None
