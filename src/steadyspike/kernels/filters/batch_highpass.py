"""Reference and highpass of one batch of traces at once, in the frequency domain.

The gain at the frequency f is that of a Butterworth filter of the order N that runs forward and backward,

    |H(f)|^2 = 1 / (1 + (tan(pi f1 / fs) / tan(pi f / fs))^(2 N))

with the corner f1 and the sampling frequency fs. Zeros follow the batch, so that its end does not reach around to its
beginning.
"""

import numpy as np

from steadyspike.kernels.channels.median import subtract_reference

# of the corner, and for each order: after so long the filter has forgotten
SETTLED_PERIODS = 1


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


def highpass_batch(centered, corner, sampling_frequency, order=3, reference=True):
    """Subtract the median of the channels from traces that lie around zero, and take the highpass.

    `centered` (num_samples, num_channels) is what `subtract_means` gives; `reference` says whether the median over the
    channels of each sample is subtracted. The other arguments are those of `zero_phase_gain`. The type stays.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    num_samples, num_channels = centered.shape
    if num_samples == 0 or num_channels == 0:
        return centered
    if reference:
        centered = subtract_reference(centered, [np.arange(num_channels)], dtype=centered.dtype.name)
    settled = int(np.ceil(SETTLED_PERIODS * order * sampling_frequency / corner))
    size = next_fast_len(num_samples + settled, real=True)
    gain = zero_phase_gain(np.fft.rfftfreq(size, 1.0 / sampling_frequency), corner, sampling_frequency, order)
    spectrum = rfft(np.ascontiguousarray(centered.T), size, axis=1)
    spectrum *= gain.astype(centered.dtype)
    return np.ascontiguousarray(irfft(spectrum, size, axis=1)[:, :num_samples].T)
