"""Lazy DeepInterpolation: each sample predicted from those around it, so that independent noise stays behind."""

import warnings

import numpy as np
from spikeinterface.core.core_tools import define_function_handling_dict_from_class
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.core.arguments import channel_indices, contact_positions
from steadyspike.core.settings import document, takes
from steadyspike.core.voltage import voltage_signs, warn_of_unlike_scales
from steadyspike.kernels.channels.image_rows import add_residual
from steadyspike.preprocessing.deepinterpolation_arguments import DeepInterpolateSettings
from steadyspike.preprocessing.dtypes import cast_traces, resolve_output_dtype
from steadyspike.preprocessing.fusion import Fusion, fit_of
from steadyspike.preprocessing.residual_fit import fit_residual

# a network meets waveforms stretched by this much in any recording
RATE_TOLERANCE = 0.02
# integers in the noise level that integer traces must have; below, rounding is a noise of its own
LEAST_STEPS = 2.0
# standard deviations on both sides that an integer type has to hold
RANGE = 4.0
# residuals beyond this are artefacts, as for the network
HIDDEN = 1e6


@document
class SteadyDeepInterpolateRecording(BasePreprocessor):
    r"""Replace each sample by what a network predicts from the samples before and after it (DeepInterpolation).

    .. math:: y_c(t) = \mu_c + \sigma_c \, f\left(\frac{x(t - a) - \mu}{\sigma}, \ldots,
              \frac{x(t - g - 1) - \mu}{\sigma},\ \frac{x(t + g + 1) - \mu}{\sigma}, \ldots,
              \frac{x(t + b) - \mu}{\sigma}\right)

    with the network :math:`f`, which reads all channels of a shank, the gap of :math:`g` samples on each side that it
    never sees, and center :math:`\mu_c` and scale :math:`\sigma_c` of each channel; the scale counts as negative where
    the gain is, as networks know spikes by the sign of the voltage. Noise that is independent from sample to sample
    cannot be predicted, and is left out.

    Parameters
    ----------
    recording : BaseRecording
        Recording with a probe, of any sample type; filtered and referenced as those that the network was trained on.
    model : str, Path, DeepInterpolationModel, KerasModel or dict
        A bundled name, the path of a model folder, a reference to the Hugging Face Hub ("hf:owner/name@revision"), or a
        model loaded from one of them; the path of a Keras file, or a
        `steadyspike.library.models.keras.model.KerasModel` (or its dict), which tells how to use one. A saved
        recording holds the commit on the Hub.
    {settings}

    Returns
    -------
    SteadyDeepInterpolateRecording
        The lazy, denoised recording.

    Raises
    ------
    ValueError
        If an argument cannot work, the recording has no probe, or the model was trained for another layout of
        contacts or a sampling frequency that differs by more than 2 %.
    FileNotFoundError
        If the model is a path where there is nothing.

    Notes
    -----
    Within the network's context of the ends of a segment, what lies beyond the ends is taken as the channel's center,
    so that every sample is predicted. So are NaN, infinite samples, and those beyond 10^6 times the scale: they hide
    what they stand for, and the output is finite. Bad channels pass through, NaN included. Shanks are images of their
    own.

    The result does not depend on the chunks that are read (to 1e-5). On a GPU, and in half precision, blocks of a
    fixed length are computed, so that short reads cost as much as a block. A read of some channels computes the
    shanks that these lie on.

    A model is loaded when traces are first read, once for each process. Where a GPU, several
    threads or TensorFlow compute, worker processes are spawned.

    References
    ----------
    .. [1] Lecoq, J., Oliver, M., Siegle, J. H., Orlova, N., Ledochowitsch, P., Koch, C. (2021). Removing independent
       noise in systems neuroscience data using DeepInterpolation. Nature Methods 18, 1401-1408.
    """

    @takes(DeepInterpolateSettings)
    def __init__(self, recording, model, settings):
        from steadyspike.library.models.inference import resolve_device
        from steadyspike.library.models.references import check_unchanged, find_source

        computes = resolve_device(settings.device)
        if settings.fusion is not None and settings.output == "prediction":
            settings.refuse("fusion", 'None where output="prediction"')
        output_dtype = resolve_output_dtype(recording, settings)
        bad = bad_channels(recording, settings.bad_channel_ids)
        given = [channel_values(settings, name, recording.get_num_channels()) for name in ("center", "scale")]
        source = find_source(model)
        check_unchanged(source, settings.model_sha256)
        check_output(source, settings)
        positions = contact_positions(recording, settings.part)
        check_sampling_frequency(source, recording)
        warn_of_unlike_filters(source, recording)
        layout_for(source, recording, bad)
        center, scale = normalization_for(source, recording, *given)
        if given[1] is None and source.normalization != "none" and recording.get_dtype().kind == "f":
            check_integers(settings, output_dtype, center[scale > 0], scale[scale > 0])

        BasePreprocessor.__init__(self, recording, dtype=output_dtype)
        tensorflow = source.keras is not None and source.keras.backend == "tensorflow"
        if computes != "cpu" or settings.num_threads > 1 or tensorflow:
            # neither a GPU nor a pool of threads outlives a fork
            self._preferred_mp_context = "spawn"
        layout = layout_for(source, recording, bad | (scale == 0))
        signed_scale = scale * voltage_signs(recording)
        fusion = None
        if settings.output == "posterior":
            fit = fit_for(source, recording, settings, layout, center, scale, signed_scale)
            fusion = Fusion(fit, positions, layout.shank, np.flatnonzero(~layout.dead))
        for parent_segment in recording.segments:
            self.add_recording_segment(
                SteadyDeepInterpolateRecordingSegment(
                    parent_segment, layout, center, signed_scale, output_dtype, source, settings, fusion
                )
            )
        named = settings.bad_channel_ids is not None
        self._kwargs = dict(
            recording=recording,
            model=source.saved,
            **settings.saved(
                fusion=None if fusion is None else fusion.fit.values(),
                dtype=output_dtype.name,
                bad_channel_ids=list(recording.channel_ids[bad]) if named else None,
                center=center.tolist(),
                scale=scale.tolist(),
                model_sha256=source.sha256,
            ),
        )


class SteadyDeepInterpolateRecordingSegment(BasePreprocessorSegment):
    """Reads a chunk once with the network's context, and predicts it block by block."""

    def __init__(
        self, parent_recording_segment, layout, center, scale, output_dtype, source, settings, fusion
    ):
        BasePreprocessorSegment.__init__(self, parent_recording_segment)
        self.fusion = fusion
        self.layout = layout
        self.center = center
        self.scale = scale
        self.output_dtype = output_dtype
        self.source = source
        self.settings = settings

    def get_traces(self, start_frame, end_frame, channel_indices):
        """Denoised traces of shape (num_samples, num_channels)."""
        start = 0 if start_frame is None else start_frame
        end = self.get_num_samples() if end_frame is None else end_frame
        channels = np.arange(self.layout.num_channels)
        wanted = channels if channel_indices is None else channels[channel_indices]
        dead = self.layout.dead
        if end <= start or not wanted.size:
            return np.empty((max(end - start, 0), wanted.size), self.output_dtype)
        shanks = np.unique(self.layout.shank[wanted[~dead[wanted]]])
        live = np.flatnonzero(~dead & np.isin(self.layout.shank, shanks))
        read = np.union1d(live, wanted)
        if not live.size:
            traces = self._parent(start, end, read)
            return cast_traces(traces[:, np.searchsorted(read, wanted)], self.output_dtype)
        traces, low, denoised = self._denoised(start, end, read, live)

        shown = ~dead[wanted]
        result = self._in_units(denoised, live, wanted[shown])
        if not shown.all():
            both = np.empty((end - start, wanted.size), result.dtype)
            both[:, shown] = result
            both[:, ~shown] = traces[start - low : end - low, np.searchsorted(read, wanted[~shown])]
            result = both
        return cast_traces(result, self.output_dtype)

    def _denoised(self, start, end, read, live):
        """Traces with their first sample, and what the live channels become, normalized."""
        share, margin = self.settings.recorded_share, 0 if self.fusion is None else self.fusion.half
        begin, stop = max(0, start - margin), min(self.get_num_samples(), end + margin)
        traces, low, predicted, first = self._predicted(begin, stop, read, live)
        denoised = predicted[start - first : end - first]
        if self.fusion is None and not share:
            return traces, low, denoised
        samples = traces[begin - low : stop - low]
        if live.size != read.size:
            samples = samples[:, np.searchsorted(read, live)]
        if self.fusion is None:
            add_residual(samples, self.center[live], self.scale[live], share, HIDDEN, denoised)
            return traces, low, denoised
        around = predicted[begin - first : stop - first]
        residual = (samples - self.center[live]) / self.scale[live] - around
        # what the network takes as hidden is not known here either
        residual[~(np.abs(residual) < HIDDEN)] = 0
        own = residual[start - begin : end - begin].astype("float32")
        missed = self.fusion.expected(residual, around, live, start - begin, stop - end)
        denoised, own = denoised + missed, own - missed
        return traces, low, denoised + np.float32(share) * own

    def _in_units(self, predicted, live, channels):
        """Some of the live channels in the recording's units; may overwrite `predicted`."""
        columns = np.searchsorted(live, channels)
        if not np.array_equal(columns, np.arange(live.size)):
            predicted = predicted[:, columns]
        result = predicted.astype(np.result_type(self.output_dtype, "float32"), copy=False)
        result *= self.scale[channels].astype(result.dtype)
        result += self.center[channels].astype(result.dtype)
        return result

    def _predicted(self, start, end, read, live):
        """Traces with their first sample, and predictions of the live channels with theirs."""
        from steadyspike.library.models.inference import (
            TraceImages,
            backend_of,
            predict_traces,
            torch_threads,
        )

        settings = self.settings
        backend = backend_of(self.source, settings.device, settings.precision)
        images = TraceImages.of(self.layout, live, self.center, self.scale)
        with torch_threads(settings.num_threads):
            block = backend.block_frames(images.mask.shape, settings.memory_limit_mb)
            first, last = start // block * block, -(-end // block) * block
            before, after = backend.context
            # half precision begins anew where anything in a block overflows, also in what nobody asked for
            reach = (first, last) if backend.half else (start, end)
            low, high = max(0, reach[0] - before), min(self.get_num_samples(), reach[1] + after)
            traces = self._parent(low, high, read)
            own = traces if live.size == read.size else traces[:, np.searchsorted(read, live)]
            predicted = predict_traces(backend, images, own, first - low, last - first, block)
        return traces, low, predicted, first

    def _parent(self, start, end, channels):
        everything = channels.size == self.layout.num_channels
        return self.parent_recording_segment.get_traces(start, end, slice(None) if everything else channels)


def bad_channels(recording, bad_channel_ids) -> np.ndarray:
    """Whether each channel is among those named."""
    bad = np.zeros(recording.get_num_channels(), dtype=bool)
    if bad_channel_ids is not None:
        bad[channel_indices("bad_channel_ids", bad_channel_ids, recording, DeepInterpolateSettings.part)] = (
            True
        )
    return bad


def channel_values(settings, name, num_channels):
    """Return center or scale as an array, None as None."""
    values = getattr(settings, name)
    if values is None:
        return None
    array = np.asarray(values, dtype="float64")
    fits = array.shape == (num_channels,) and np.isfinite(array).all()
    if not fits or (name == "scale" and array.min() < 0):
        lowest = ", none below 0" if name == "scale" else ""
        settings.refuse(name, f"{num_channels} finite numbers{lowest}, one for each channel")
    return array


def check_output(source, settings):
    """Refuse to fuse samples with what a network made of them."""
    if settings.output != "posterior" or source.keras is not None:
        return
    if source.config().network.name == "seeing":
        settings.refuse(
            "output", f'"prediction" with {source.name!r}, whose network has seen the samples already'
        )


def check_sampling_frequency(source, recording):
    """Refuse a model that was trained at another rate."""
    trained = source.sampling_frequency
    rate = recording.get_sampling_frequency()
    if trained is not None and abs(rate - trained) > RATE_TOLERANCE * trained:
        raise ValueError(
            f"{DeepInterpolateSettings.part}: model={source.name!r} was trained at {trained:g} Hz and recording has "
            f"{rate:g} Hz; allowed: within {RATE_TOLERANCE:.0%}. Resample the recording, or fine-tune the model on it "
            "(init_from=)"
        )


def warn_of_unlike_filters(source, recording):
    """Warn where a model knows filtered recordings and gets one that is not, or the other way round."""
    from steadyspike.library.models.provenance import ModelUseWarning, filter_mismatch

    unlike = None if source.keras is not None else filter_mismatch(source.config().extra, recording)
    if unlike is not None:
        warnings.warn(f"model={source.name!r}: {unlike}", ModelUseWarning, stacklevel=4)


def layout_for(source, recording, dead):
    """Lay the recording out for the model; refuse one that was trained for other probes."""
    from steadyspike.core.probe_layout import layout_of

    if source.keras is not None:
        return source.keras.layout(recording, dead)
    trained = source.config().layout.to_type()
    layout = layout_of(recording, dead=dead, arrangement=trained.arrangement)
    unlike = trained.mismatch(layout.type)
    if unlike is not None:
        raise ValueError(
            f"{DeepInterpolateSettings.part}: model={source.name!r} cannot denoise recording, whose contacts lie "
            f"otherwise: {unlike}; allowed: a model for this probe, or one that you train"
        )
    return layout


def normalization_for(source, recording, center, scale):
    """Center and scale of each channel: those given, and measured where one is not."""
    from steadyspike.core.normalization import measure_normalization

    if center is None or scale is None:
        if source.normalization != "channel":
            warn_of_unlike_scales(recording, DeepInterpolateSettings.part, stacklevel=5)
        measured = measure_normalization(recording, source.normalization)
        center = measured[0] if center is None else center
        scale = measured[1] if scale is None else scale
    return center, scale


def fit_for(source, recording, settings, layout, center, scale, signed_scale):
    """What prediction and sample are fused by: given, or fitted to pieces of the recording."""
    if settings.fusion is not None:
        return fit_of(settings.fusion, recording.get_num_channels())
    prediction = SteadyDeepInterpolateRecording(
        recording,
        source.saved,
        **settings.saved(
            output="prediction",
            recorded_share=0.0,
            dtype="float32",
            center=center,
            scale=scale,
            model_sha256=source.sha256,
        ),
    )
    return fit_residual(
        recording,
        prediction,
        contact_positions(recording, settings.part),
        layout.shank,
        np.where(layout.dead, 0.0, signed_scale),
    )


def check_integers(settings, dtype, center, scale):
    """Refuse integers where the noise of the recording is hardly one, or that cannot hold where it lies."""
    if dtype.kind == "f" or not scale.size:
        return
    limits, typical = np.iinfo(dtype), float(np.median(scale))
    if typical < LEAST_STEPS:
        settings.refuse(
            "dtype",
            "None or a float, as integers would round away what is there: the noise of this recording is "
            f"{typical:.2g} in its own units, and needs to be {LEAST_STEPS:g} or more",
        )
    low, high = np.median(center - RANGE * scale), np.median(center + RANGE * scale)
    if low < limits.min or high > limits.max:
        settings.refuse(
            "dtype", f"one that holds {low:.6g} to {high:.6g}, where the noise of this recording lies"
        )


deepinterpolate = define_function_handling_dict_from_class(
    source_class=SteadyDeepInterpolateRecording, name="steady_deepinterpolate"
)
