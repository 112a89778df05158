"""Registration of a stream of spikes: the displacement of each time bin from spikes up to it only.

1. The first time bins are kept and registered as `registration` does it, with all of them in sight. Their corrected
   spikes make the first template, the density over depth and amplitude.
2. Each further bin is predicted from those before (`online_filter`), its spikes are compared with the template around
   the prediction by likelihood, and what they measure at each knot moves the prediction as far as the noise of both
   allows.
3. Its corrected spikes join the template, in which older ones fade.
4. A bin that fits far better elsewhere is accepted only if the next bin says the same.

Memory and time per bin don't depend on how long it goes on.
"""

from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from steadyspike.kernels.motion import (
    motion_prior,
    online_filter,
    raster,
    registration,
    segment_offsets,
    template_registration,
)
from steadyspike.kernels.motion.registration import Registration, RegistrationSettings, Spikes

# Spikes. A warm-up with fewer is no template,
LEAST_WARMUP_SPIKES = 200
# and goes on up to this many times its length.
LONGEST_WARMUP = 10
# Spikes. Time bins of the warm-up with fewer for each knot are joined to wider ones.
LEAST_SPIKES = 3.0
# um, um, and standard deviations of the prediction on top of the first: how far around it measurements look.
LEAST_REACH_UM = 5.0
MOST_REACH_UM = 15.0
REACH_DEVIATIONS = 4.0
# Standard deviations, and nats. A bin is off its prediction if all of it fits better beyond, by so much.
JUMP_DEVIATIONS = 5.0
JUMP_GAIN = 8.0
# Share of the usual gain per spike that has to come back after a jump, as the same units are there.
BACK_SHARE = 0.4
# 1. The template, of fewer spikes than the density of a whole recording, is smoothed so many times as much.
SMOOTH_SHARE = 2.0


@dataclass(frozen=True)
class OnlineSettings:
    """Numbers that steer `OnlineRegistration`; lengths in um, times in time bins.

    `warmup_bins`, at least 2, are registered together at the start, as `warmup` says; the template is laid out as
    there, and its `max_displacement_um` is the farthest jump that is looked for. A spike counts half in the template
    after `half_life_bins` with spikes. `max_segment_displacement_um` is the largest displacement between two segments.
    """

    warmup_bins: int = 60
    half_life_bins: float = 600.0
    max_segment_displacement_um: float = 400.0
    warmup: RegistrationSettings = field(default_factory=RegistrationSettings)


def _silent(iterable, label):
    return iterable


class OnlineRegistration:
    """Registers the spikes of one time bin after the other.

    Depth bins have centers `settings.warmup.bin_um` apart that cover the probe; `windows` (num_knots, num_depths), for
    the warm-up, weighs each in each knot's window; groups are those of `registration.Spikes`; for the others see
    `steadyspike.kernels.motion`.
    """

    def __init__(self, knots_um, depths_um, windows, settings, num_groups=1):
        self.knots_um, self.depths_um, self.windows = knots_um, depths_um, windows
        self.settings, self.num_groups = settings, num_groups
        self.step_um = registration.TEMPLATE_UM
        self.max_um = 2.0 * settings.warmup.max_displacement_um + settings.max_segment_displacement_um
        self.origin_um = float(depths_um[0]) - self.max_um
        self.reach = max(round(settings.warmup.max_displacement_um / self.step_um), 1)
        num_points = int((depths_um[-1] + self.max_um - self.origin_um) / self.step_um) + 2 * self.reach + 4
        self.template = np.zeros((num_groups * settings.warmup.num_marks, num_points))
        self.limits = np.zeros(2)
        self.filter = online_filter.MotionFilter(knots_um.size)
        self.suspect_um = np.nan
        self.usual_gain = 0.0
        self.is_started = False
        self.waiting: list[Spikes] | None = []

    def update(self, depths_um, amplitudes, groups=None):
        """Register the spikes of the next time bin, of any number; without groups, all are in group 0.

        Returns a `Registration` of shape (num_bins, num_knots) of the bins that are now known: none in warm-up, all of
        it when it ends, and then one.
        """
        spikes = self._one_bin(depths_um, amplitudes, groups)
        if self.waiting is None:
            return _joined([self._track(spikes)])
        self.waiting.append(spikes)
        num_spikes = sum(bin.depths_um.size for bin in self.waiting)
        num_bins, wanted = len(self.waiting), self.settings.warmup_bins
        enough = num_spikes >= LEAST_WARMUP_SPIKES or num_bins >= LONGEST_WARMUP * wanted
        return self.flush() if num_bins >= wanted and enough else self._nothing()

    def flush(self):
        """End a warm-up now, with the time bins there are; returns what `update` does."""
        if not self.waiting:
            return self._nothing()
        waiting, self.waiting = self.waiting, None
        if self.is_started:
            self._find_segment(waiting)
            return _joined([self._track(spikes) for spikes in waiting])
        if not any(spikes.depths_um.size for spikes in waiting):
            # nothing to learn from: what comes next is the warm-up
            self.waiting = []
            zeros = np.zeros((len(waiting), self.knots_um.size))
            return Registration(zeros, np.full_like(zeros, np.inf), zeros)
        self.is_started = True
        return self._start(waiting)

    def begin_segment(self):
        """Take what comes next for another segment: the probe may lie anywhere.

        The first time bins wait, as in warm-up, until it is known how far they lie from the template as a whole. Time
        bins of the segment before that still wait are given up: call `flush` first.
        """
        self.waiting = []
        self.suspect_um = np.nan

    def state(self):
        """All that it goes on from, as a dict of arrays; the arguments of the constructor are not in it."""
        waiting = _together(self.waiting or [self._one_bin([], [], None)])
        return {
            "template": self.template,
            "limits": self.limits,
            "suspect_um": np.array(self.suspect_um),
            "usual_gain": np.array(self.usual_gain),
            "is_started": np.array(self.is_started),
            "num_waiting": np.array(-1 if self.waiting is None else len(self.waiting)),
            "waiting_time_bins": waiting.time_bins,
            "waiting_depths_um": waiting.depths_um,
            "waiting_amplitudes": waiting.amplitudes,
            "waiting_groups": waiting.groups,
        } | {f"filter_{name}": values for name, values in self.filter.state().items()}

    def restore(self, state):
        """Go on from what `state` of one made with the same arguments gave."""
        self.template, self.limits = np.array(state["template"]), np.array(state["limits"])
        self.suspect_um, self.usual_gain = float(state["suspect_um"]), float(state["usual_gain"])
        self.is_started = bool(state["is_started"])
        waiting = [state[f"waiting_{name}"] for name in ("time_bins", "depths_um", "amplitudes", "groups")]
        num_waiting = int(state["num_waiting"])
        self.waiting = None
        if num_waiting >= 0:
            edges = np.searchsorted(waiting[0], np.arange(num_waiting + 1))
            self.waiting = [
                self._one_bin(*(values[start:stop] for values in waiting[1:]))
                for start, stop in pairwise(edges)
            ]
        self.filter.restore(
            {name.removeprefix("filter_"): state[name] for name in state if name.startswith("filter_")}
        )

    def _one_bin(self, depths_um, amplitudes, groups):
        depths_um = np.asarray(depths_um, dtype="float32")
        groups = np.zeros(depths_um.size, "int32") if groups is None else np.asarray(groups, "int32")
        amplitudes = np.asarray(amplitudes, dtype="float32")
        return Spikes(np.zeros(depths_um.size, dtype="int32"), depths_um, amplitudes, groups)

    def _nothing(self):
        return Registration(*np.zeros((3, 0, self.knots_um.size)))

    # -- warm-up and segments

    def _start(self, bins):
        """Register the first time bins together, make the template, and let the filter learn from them."""
        spikes = _together(bins)
        self.limits = np.array(raster.amplitude_limits(spikes.amplitudes))
        found = self._register(spikes, len(bins))
        layouts = [self._layout(spikes) for spikes in bins]
        for layout, displacement in zip(layouts, found.displacement, strict=True):
            self._count(layout, displacement, 1.0)
        gains = []
        self.filter.place(found.displacement[0])
        for layout, displacement in zip(layouts, found.displacement, strict=True):
            # a bin is measured against the others
            self._count(layout, displacement, -1.0)
            density = self._log_density()
            self._follow(layout, density)
            curves, counts = self._curves(layout, displacement, density, 0)
            gains.append(curves.sum() / max(counts.sum(), 1.0))
            self._count(layout, displacement, 1.0)
        np.maximum(self.template, 0.0, out=self.template)
        self.usual_gain = float(np.median(gains))
        return found

    def _register(self, spikes, num_bins):
        """Register time bins together, in wider ones where there are few spikes."""
        wanted = LEAST_SPIKES * self.knots_um.size * num_bins / max(spikes.depths_um.size, 1)
        width = int(np.clip(np.ceil(wanted), 1, max(num_bins // 2, 1)))
        spikes = replace(spikes, time_bins=spikes.time_bins // np.int32(width))
        edges = np.array([0, -(-num_bins // width)], dtype="int64")
        windows = np.vstack([self.windows, np.ones((1, self.depths_um.size))])
        pairs = registration.register_pairs(
            spikes, self.depths_um, windows, edges, self.settings.warmup, _silent
        )
        found = registration.refine(
            spikes,
            self.knots_um,
            (float(self.depths_um[0]), float(self.depths_um[-1])),
            registration.first_estimates(pairs.displacement),
            edges,
            self.settings.warmup,
            _silent,
        )
        wide = np.arange(num_bins) // width
        return Registration(found.displacement[wide], found.deviation_um[wide], found.explained[wide])

    def _find_segment(self, bins):
        """Place the filter where the first time bins of a segment, taken as one, fit the template."""
        layout = self._layout(_together(bins, one_bin=True))
        before = self.filter.position.mean()
        position = np.full(self.knots_um.size, before)
        histogram = np.zeros_like(self.template)
        template_registration.corrected_histogram(
            *layout, position[None], self.origin_um, self.step_um, histogram
        )
        position += self._offset(histogram)
        position = self._bent(layout, position, self._log_density())
        self.filter.place(self._limited(position))

    def _offset(self, histogram):
        """Rigid offset of corrected spikes against the template, in um."""
        from scipy.ndimage import gaussian_filter1d

        smooth = segment_offsets.SMOOTH_UM / self.step_um
        first, second = (
            np.sqrt(gaussian_filter1d(counts, smooth, axis=1, mode="constant")).T
            for counts in (self.template, histogram)
        )
        farthest = int(self.settings.max_segment_displacement_um / self.step_um)
        return segment_offsets.best_shift(first, second, farthest)[0] * self.step_um

    # -- one time bin

    def _track(self, spikes):
        """Displacement, standard deviation and `explained` of the next time bin; its spikes join the template."""
        layout = self._layout(spikes)
        if spikes.depths_um.size == 0:
            self.filter.predict()
            zeros = np.zeros(self.knots_um.size)
            return self.filter.position, self.filter.deviation_um, zeros
        density = self._log_density()
        accepted = self._follow(layout, density)
        curves, counts = self._curves(layout, self.filter.position, density, 1)
        gain = np.maximum(curves[0, :, 1], 0.0) / (counts[0] + registration.PSEUDO_SPIKES)
        explained = -np.expm1(-2.0 * gain)
        if accepted:
            whole = float(curves[0, :, 1].sum()) / spikes.depths_um.size
            kept = 0.5 ** (1.0 / self.settings.half_life_bins)
            self.usual_gain = kept * self.usual_gain + (1.0 - kept) * whole
            self.template *= kept
            self._count(layout, self.filter.position, 1.0)
        return self.filter.position, self.filter.deviation_um, explained

    def _follow(self, layout, density):
        """Go one bin on with the filter; returns whether its spikes were accepted."""
        self.filter.predict()
        there = self._elsewhere(layout, density)
        if there is not None:
            agreed = abs(there.mean() - self.suspect_um) < segment_offsets.SMOOTH_UM
            self.suspect_um = float(there.mean())
            if not agreed:
                return False
            self.filter.jump(self._limited(there))
        self.suspect_um = np.nan
        shifts, precision = self._measure(layout, self.filter.position, density, self._usual_reach())
        self.filter.update(self.filter.position + shifts, precision)
        self.filter.position = self._limited(self.filter.position)
        return True

    def _elsewhere(self, layout, density):
        """Where the bin lies if all of it lies far off its prediction; None if it may be where it was predicted."""
        num_spikes = layout[0].size
        curves, _ = self._curves(layout, self.filter.position, density, self.reach)
        whole = curves[0].sum(axis=0, dtype="float64")
        best = int(np.argmax(whole))
        jump_um = (best - self.reach) * self.step_um
        limit_um = JUMP_DEVIATIONS * self.filter.common_deviation_um()
        near = min(1 + int(limit_um / self.step_um), self.reach)
        if abs(best - self.reach) <= near:
            return None
        gain = whole[best] - whole[self.reach - near : self.reach + near + 1].max()
        # other units can be taken for the same ones, displaced: far jumps have to let most spikes fit better
        far = -np.expm1(-abs(jump_um) / registration.MOTION_RANGE_UM)
        if gain < JUMP_GAIN + registration.MOTION_COST * far * num_spikes:
            return None
        needed = BACK_SHARE * self.usual_gain * num_spikes
        there = self.filter.position + jump_um
        if whole[best] < needed:
            # perhaps the windows moved by different amounts
            there = self._bent(layout, there, density)
        fits = self._curves(layout, there, density, 0)[0].sum()
        return there if fits >= needed else None

    def _bent(self, layout, position, density):
        """Displacement around one that is roughly right as a whole, where the windows may differ by much."""
        farthest, apart = round(motion_prior.SPREAD_UM / self.step_um), np.zeros(0)
        together = 1.0 / motion_prior.SPREAD_UM**2
        for reach in (farthest, farthest // 4):
            shifts, precision = self._measure(layout, position, density, reach)
            # a curve of spikes that are not in place yet looks surer than it is
            precision = np.minimum(precision, 1.0 / segment_offsets.SMOOTH_UM**2)
            measured = (shifts[None], precision[None])
            position = position + motion_prior.solve_smooth(*measured, apart, apart, apart, together)[0]
        return position

    def _usual_reach(self):
        """How far around the prediction measurements look, in steps."""
        reach_um = REACH_DEVIATIONS * self.filter.common_deviation_um() + LEAST_REACH_UM
        return max(round(min(reach_um, MOST_REACH_UM) / self.step_um), 1)

    def _limited(self, position):
        return np.clip(position, -self.max_um, self.max_um)

    # -- spikes against the template

    def _layout(self, spikes):
        """Spikes as the kernels of `template_registration` take them."""
        marks = spikes.marks(self.settings.warmup.num_marks, tuple(self.limits))
        lower, upper_weight = template_registration.knot_weights(spikes.depths_um, self.knots_um)
        return spikes.depths_um, spikes.time_bins, marks, lower, upper_weight

    def _count(self, layout, displacement, weight):
        """Add spikes, so many times, to the template."""
        counted = self.template if weight == 1.0 else np.zeros_like(self.template)
        template_registration.corrected_histogram(
            *layout, displacement[None], self.origin_um, self.step_um, counted
        )
        if weight != 1.0:
            self.template += weight * counted

    def _log_density(self):
        density, background = template_registration.log_density(
            self.template,
            SMOOTH_SHARE * self.settings.warmup.template_smooth_um / self.step_um,
            template_registration.SMOOTH_MARKS,
            self.num_groups,
        )
        # relative to the background, a curve is the gain of knowing the depth
        return density - background[:, None].astype("float32")

    def _curves(self, layout, displacement, density, reach):
        curves = np.zeros((1, self.knots_um.size, 2 * reach + 1), dtype="float32")
        counts = np.zeros((1, self.knots_um.size), dtype="float32")
        template_registration.log_likelihood_curves(
            *layout, displacement[None], self.origin_um, self.step_um, density, curves, counts
        )
        return curves, counts

    def _measure(self, layout, displacement, density, reach):
        """Extra shift at each knot (um) and its precision (1/um^2)."""
        curves, _ = self._curves(layout, displacement, density, reach)
        shifts, precision = template_registration.curve_peaks(
            curves, template_registration.prior_precision(reach)
        )
        return shifts[0] * self.step_um, precision[0] / self.step_um**2


def _together(bins, one_bin=False):
    """Join the spikes of several time bins."""
    counts = [spikes.depths_um.size for spikes in bins]
    time_bins = np.repeat(np.arange(len(bins), dtype="int32"), counts)
    return Spikes(
        np.zeros_like(time_bins) if one_bin else time_bins,
        np.concatenate([spikes.depths_um for spikes in bins]),
        np.concatenate([spikes.amplitudes for spikes in bins]),
        np.concatenate([spikes.groups for spikes in bins]),
    )


def _joined(bins):
    return Registration(*(np.array(values) for values in zip(*bins, strict=True)))
