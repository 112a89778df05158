"""Reference and highpass of one batch of traces at once, in the frequency domain.

The gain at the frequency f is that of a Butterworth filter of the order N that runs forward and backward,

    |H(f)|^2 = 1 / (1 + (tan(pi f1 / fs) / tan(pi f / fs))^(2 N))

with the corner f1 and the sampling frequency fs. The batch is taken for one period, so that its end reaches around to
its beginning: what is to be kept should have some milliseconds at either side.
"""

import numpy as np

from steadyspike.kernels.channels.median import subtract_reference


def zero_phase_gain(frequencies, corner, sampling_frequency, order):
    """Gain of a Butterworth highpass that runs forward and backward: 0 at 0 Hz, a half at the corner.

    `frequencies` (any shape), `corner` and `sampling_frequency` are in Hz; `order` is that of one pass.
    """
    warped = np.tan(np.pi * np.asarray(frequencies, dtype="float64") / sampling_frequency)
    with np.errstate(divide="ignore", over="ignore"):
        ratio = np.tan(np.pi * corner / sampling_frequency) / np.abs(warped)
        return 1.0 / (1.0 + ratio ** (2 * order))


def subtract_means(traces, dtype="float32"):
    """Subtract the mean of each channel from `traces` (num_samples, num_channels), of any real type.

    What is not finite counts as the mean of its channel, and becomes 0. Returns `dtype`, "float32" or "float64".
    """
    finite = np.isfinite(traces)
    counts = np.maximum(finite.sum(axis=0), 1)
    known = traces if finite.all() else np.where(finite, traces, 0)
    centered = known - known.sum(axis=0, dtype="float64") / counts
    if known is not traces:
        centered[~finite] = 0.0
    return centered.astype(dtype, copy=False)


def subtract_lower_median(traces):
    """Subtract, at each sample, the median of the channels; of an even number the lower of the middle two.

    `traces` (num_samples, num_channels) are finite, of float32 or float64. The type stays.
    """
    num_channels = traces.shape[1]
    if num_channels % 2 == 0:
        # with its smallest value twice, the median of a sample is the lower of the middle two
        traces = np.hstack([traces, traces.min(axis=1, keepdims=True)])
    everything = np.arange(traces.shape[1])
    return subtract_reference(traces, [everything], everything[:num_channels], dtype=traces.dtype.name)


def highpass_batch(traces, corner, sampling_frequency, order=3):
    """Take the highpass of `traces` (num_samples, num_channels), which are finite, of float32 or float64.

    The other arguments are those of `zero_phase_gain`. The type stays.
    """
    from scipy.fft import irfft, rfft

    size = len(traces)
    if traces.size == 0:
        return traces
    gain = zero_phase_gain(np.fft.rfftfreq(size, 1.0 / sampling_frequency), corner, sampling_frequency, order)
    spectrum = rfft(np.ascontiguousarray(traces.T), axis=1)
    spectrum *= gain.astype(traces.dtype)
    return np.ascontiguousarray(irfft(spectrum, size, axis=1).T)
