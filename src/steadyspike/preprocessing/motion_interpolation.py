"""Lazy correction of motion: traces interpolated to where the contacts would be without motion."""

import numpy as np
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.arguments import contact_positions
from steadyspike.core.probe_layout import attach_probe
from steadyspike.core.settings import document, takes
from steadyspike.core.voltage import warn_of_unlike_scales, zero_counts
from steadyspike.kernels.channels.banded_weights import apply_weights
from steadyspike.kernels.channels.spatial_interpolation import STILL_UM, DisplacementWeights, bin_runs
from steadyspike.preprocessing.dtypes import cast_traces, resolve_output_dtype
from steadyspike.preprocessing.motion_arguments import (
    InterpolationSettings,
    checked_motion,
    make_interpolators,
    sigma_for,
    time_bins_for,
)
from steadyspike.preprocessing.trace_covariance import TraceCovariance, covariance_of

# Times at once when the borders are checked: bounds the memory of long motions.
TIMES_PER_CHECK = 2000


@document
class SteadyInterpolateMotionRecording(BasePreprocessor):
    r"""Read the traces where the contacts would be without motion.

    Every contact is moved by the displacement at its depth, and its trace is a weighted sum of those around it,
    :math:`y_i(t) = \sum_j w_{ij} x_j(t)`. The weights of "wiener" are those of least expected error for spikes,

    .. math:: w_i = k_i \, (K + \lambda_i N)^{-1},

    with the covariances :math:`K` of spikes and :math:`N` of noise between contacts, and :math:`k_i` that of spikes
    between moved contact and contacts. Both are fitted to up to 40 s of the recording as functions of the distances
    across and along the motion. As the tissue moves past the contacts, these also see what rests between them: the
    covariance of spikes is then fitted to each stretch of tissue, by expectation maximization, and weights follow the
    units that rest nearby. :math:`\lambda_i` is found for each contact and displacement, so that its noise keeps one
    level, 0.95 of its own or what it can have between contacts: thresholds, whitening and templates of sorters assume
    that. The displacement is interpolated between the motion's time bins, in steps of at most 1 um. Where it is zero
    throughout, the traces are those of the recording.

    The others are SpikeInterface's, with its results, and constant within each time bin. For "kriging"

    .. math:: W = K(m, c) \, (K(c, c) + 10^{-6} I)^{-1}

    for contacts :math:`c`, moved contacts :math:`m`, covariance :math:`K(a, b) = \exp(-(|a - b| / \sigma)^p)`, and
    each row of :math:`W` divided by its sum.

    Parameters
    ----------
    recording : BaseRecording
        Recording with a probe, of any sample type.
    motion : Motion, or dict as of `Motion.to_dict`
        Estimated motion, one segment for each segment of the recording. Displacements in um, times in s as of
        `recording.sample_index_to_time`. Samples before the first and after the last time bin take that bin's
        displacement; a motion with one time bin or one spatial bin is constant along it. The node keeps a
        copy.
    {settings}

    Raises
    ------
    ValueError
        If an argument or the motion can't work, if the recording has no probe or another number of segments
        than the motion, or if "remove_channels" would remove all channels.

    Notes
    -----
    What differs from SpikeInterface's node: all channels are kept by default (SpikeInterface:
    "remove_channels"), and weights are those of "wiener", because that keeps spikes and the noise level better;
    "kriging" is Gaussian by default (SpikeInterface: ``p=1``); integers are accepted; several segments work in every
    border mode; the node, with the motion inside, can be saved as JSON; "idw" weights sum to 1 outside the probe too
    (SpikeInterface leaves the plain inverse distances there, a gain of 1 / distance); a motion with two time bins, or
    with integer times, has its bin edges halfway. As there, the displacement of a bin is taken at the middle of its
    edges, which for the first and last bin is a quarter of a bin off the center.

    Beyond the outermost contacts nothing is known: weights fall to 0 with the distance there, and the noise level with
    them. Trust the channels that lie as far inside the probe as the tissue moves.

    The smallest weights of a channel, together below 1e-6, are dropped. A NaN or infinite sample makes NaN of
    the channels which keep a weight on its channel (those within about 200 um with the default arguments), at
    this sample only, and changes no others: remove or interpolate dead channels first. Filter first: a constant
    offset is kept where the weights sum to 1 ("kriging" within the probe, "idw", "nearest"), and the covariances of
    "wiener" are those of filtered traces. Unsigned samples are taken from the counts that stand for no voltage, by gain
    and offset, or from the middle of their range without them.

    References
    ----------
    .. [1] Pachitariu, M., Sridhar, S., Pennington, J., Stringer, C. (2024). Spike sorting with Kilosort4.
       Nature Methods 21, 914-921.
    .. [2] Garcia, S., Windolf, C., Boussard, J., Dichter, B., Buccino, A. P., Yger, P. (2024). A modular
       implementation to handle and benchmark drift correction for high-density extracellular recordings.
       eNeuro 11(2).
    """

    @takes(InterpolationSettings)
    def __init__(self, recording, motion, settings):
        output_dtype = resolve_output_dtype(recording, settings)
        positions = contact_positions(recording, settings.part)
        sigma_um = sigma_for(settings, positions)
        motion = checked_motion(motion, recording, positions.shape[1])
        time_bins, edges_s = time_bins_for(settings, recording, motion)
        warn_of_unlike_scales(recording, settings.part)

        # a copy holds the interpolators: a saved chain should not carry scipy's objects
        field = motion.copy()
        make_interpolators(field)
        depths = positions[:, motion.dim]
        targets = np.arange(len(positions))
        if settings.border_mode == "remove_channels":
            targets = np.flatnonzero(always_inside(field, depths, edges_s))
            if targets.size == 0:
                settings.refuse(
                    "border_mode",
                    "'force_extrapolate' or 'force_zeros', as this would remove all channels: each leaves the probe "
                    "at some time",
                )
        channel_ids = recording.channel_ids[targets]
        BasePreprocessor.__init__(self, recording, channel_ids=channel_ids, dtype=output_dtype)
        if settings.border_mode == "remove_channels":
            keep_contacts(self, recording, targets)

        weights, covariance = self._weights(
            recording, field, positions, targets, output_dtype, settings, sigma_um
        )
        zeros = zero_counts(recording)
        for segment_index, parent_segment in enumerate(recording.segments):
            self.add_recording_segment(
                SteadyInterpolateMotionRecordingSegment(
                    parent_segment,
                    segment_index,
                    field,
                    depths,
                    edges_s[segment_index],
                    weights,
                    output_dtype,
                    zeros,
                )
            )

        self._kwargs = dict(
            recording=recording,
            motion=motion,
            **settings.saved(
                sigma_um=sigma_um,
                covariance=None if covariance is None else covariance.values(),
                **time_bins,
                dtype=output_dtype.name,
            ),
        )

    def _weights(self, recording, motion, positions, targets, output_dtype, settings, sigma_um):
        """Weights for any displacement, and the covariance that "wiener" has them from; none where nothing moves."""
        dimension = motion.dim
        extrapolate = settings.border_mode == "force_extrapolate"
        # integers of 32 bits need the digits of float64
        dtype = np.result_type(output_dtype, "float32")
        if settings.spatial_interpolation_method == "wiener" and nothing_moves(motion):
            return None, None
        if settings.spatial_interpolation_method != "wiener":
            weights = DisplacementWeights(
                positions,
                dimension,
                settings.spatial_interpolation_method,
                sigma_um,
                settings.p,
                settings.num_closest,
                settings.sparse_thresh,
                extrapolate=extrapolate,
                targets=targets,
                dtype=dtype,
            )
            return weights, None
        if settings.covariance is None:
            covariance = covariance_of(recording, positions, dimension, motion, settings.part)
        else:
            covariance = TraceCovariance.of(**settings.covariance)
        return covariance.weights(positions, dimension, extrapolate, targets, dtype), covariance


class SteadyInterpolateMotionRecordingSegment(BasePreprocessorSegment):
    """One segment of `SteadyInterpolateMotionRecording`."""

    def __init__(
        self, parent_recording_segment, segment_index, motion, depths, edges_s, weights, output_dtype, zeros
    ):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.segment_index = segment_index
        self.motion = motion
        self.depths = depths
        self.edges_s = edges_s
        self.weights = weights
        self.output_dtype = output_dtype
        self.dtype = np.result_type(output_dtype, "float32")
        self.zeros = zeros

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Corrected traces of shape (num_samples, num_channels)."""
        start_frame = 0 if start_frame is None else start_frame
        end_frame = self.get_num_samples() if end_frame is None else end_frame
        if self.weights is None:
            traces = self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)
            return cast_traces(traces, self.output_dtype)
        rows = None  # all of them, without a copy
        if not (
            channel_indices is None or (isinstance(channel_indices, slice) and channel_indices == slice(None))
        ):
            rows = np.arange(len(self.weights.targets))[channel_indices]

        parent = self.parent_recording_segment
        traces = parent.get_traces(start_frame, end_frame, slice(None))
        times = parent.sample_index_to_time(np.arange(start_frame, end_frame))
        return cast_traces(self.corrected(traces, times, rows), self.output_dtype)

    def corrected(self, traces, times, rows) -> np.ndarray:
        """Rows of the corrected traces (None: all) of samples at some times in s, in the type of the weights."""
        if self.weights is None:
            return traces if rows is None else traces[:, rows]
        num_channels = len(self.weights.targets) if rows is None else len(rows)
        corrected = np.empty((len(traces), num_channels), dtype=self.weights.dtype)
        if self.zeros is not None:
            traces = traces - self.zeros.astype(self.weights.dtype)
        for start, end, time_bin in bin_runs(times, self.edges_s):
            weights = self.weights.at(self.displacement(time_bin))
            apply_weights(traces[start:end], weights, rows, corrected[start:end])
        if self.zeros is not None:
            targets = self.weights.targets if rows is None else self.weights.targets[rows]
            corrected += self.zeros[targets].astype(corrected.dtype)
        return corrected

    def displacement(self, time_bin) -> np.ndarray:
        """Displacement of each contact in um, at the middle of a time bin."""
        middle = 0.5 * (self.edges_s[time_bin] + self.edges_s[time_bin + 1])
        times = np.full(len(self.depths), middle)
        return self.motion.get_displacement_at_time_and_depth(times, self.depths, self.segment_index)


def keep_contacts(recording, parent, indices) -> None:
    """Give `recording` the parent's probe, cut to the channels of these indices, with the parent's groups."""
    probegroup = parent.get_probegroup().get_slice(indices)
    probegroup.set_global_device_channel_indices(np.arange(len(indices)))
    attach_probe(recording, probegroup, check_overlap=False)
    groups = parent.get_property("group")
    recording.set_property("group", None if groups is None else groups[indices])


def nothing_moves(motion) -> bool:
    """Whether the displacement is zero throughout."""
    return all(np.abs(displacement).max(initial=0.0) <= STILL_UM for displacement in motion.displacement)


def always_inside(motion, depths, edges_s) -> np.ndarray:
    """Whether each depth stays between the outermost depths in all segments."""
    unique_depths, inverse = np.unique(depths, return_inverse=True)
    inside = np.ones(len(unique_depths), dtype=bool)
    for segment_index, segment_edges in enumerate(edges_s):
        times = motion.temporal_bins_s[segment_index]
        if motion.interpolation_method != "linear":
            # other methods can overshoot between the motion's own time bins
            times = np.concatenate([times, 0.5 * (segment_edges[1:] + segment_edges[:-1])])
        for start in range(0, len(times), TIMES_PER_CHECK):
            displacement = motion.get_displacement_at_time_and_depth(
                times[start : start + TIMES_PER_CHECK], unique_depths, segment_index, grid=True
            )
            moved = unique_depths[:, None] + displacement
            inside &= ((moved >= depths.min() - STILL_UM) & (moved <= depths.max() + STILL_UM)).all(axis=1)
    return inside[inverse]


interpolate_motion = define_function_handling_dict_from_class(
    source_class=SteadyInterpolateMotionRecording, name="steady_interpolate_motion"
)
