"""Detection of spikes by a network, as a peak detection method of SpikeInterface."""

import numpy as np
from spikeinterface.core.node_pipeline import PeakDetector

from steadyspike.library.models.find import pin_model
from steadyspike.library.models.spike_finders import FINDERS, PEAK_SIGNS, noise_scales

DEFAULT_DETECTOR = "steady-detector"


class DetectSteadyNeural(PeakDetector):
    """Detect spikes with a network that sees the contacts around each candidate.

    Candidates are troughs of at least 2.75 noise levels that nothing nearby exceeds. A small network judges each by
    its waveforms on the contacts within 70 um, and of spikes within 0.4 ms and 60 um of each other the deepest stays.
    What is found does not depend on the chunks: each candidate is computed in the same order of operations from the
    same samples.

    The bundled model was trained on simulated Neuropixels 1.0 and 2.0 recordings after a bandpass filter (300 to
    6000 Hz); `steadyspike.train_spike_detector` trains one for other data. Traces have to be filtered.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions.
    model : str, Path or SpikeDetectorModel, default: "steady-detector"
        The name of a bundled model, a model folder, a reference to the Hugging Face Hub ("hf:owner/name@revision", of
        which the commit is kept), or a loaded model. The published YASS detectors, converted with
        `steadyspike.library.models.legacy.yass.convert_yass_detector`, look at every sample of every contact and
        take much longer.
    probability : float | None, default: None
        From which on a candidate is a spike, 0 to 1 exclusive; None: the model's, usually 0.5.
    peak_sign : "neg" | "pos", default: "neg"
        Whether spikes are troughs or peaks. For peaks the traces are turned over.
    noise_levels : np.ndarray
        Noise level of each channel, in the unit of the traces; `detect_peaks` estimates it if it is not given. A
        channel whose level is 0 or not finite is dead: there are no spikes on it.
    return_output : bool, default: True
        Whether the pipeline returns the peaks.

    Raises
    ------
    ValueError
        For a parameter outside its range, contact positions that are not finite, or a sampling frequency that the
        model cannot be used with.
    ModelError
        If `model` is no spike detector.

    References
    ----------
    Lee, Carlson, Shokri, Yao, Goetz, Hagen, Batty, Chichilnisky, Einevoll, Paninski, "YASS: yet another spike sorter",
    NeurIPS 2017, for detection by a convolution over time and one over neighbouring contacts.
    """

    name = "steady_neural"
    engine = "numba"
    need_noise_levels = True
    preferred_mp_context = None
    need_first_call_before_pipeline = False
    params_doc = """
    model: str, Path or SpikeDetectorModel, default: "steady-detector"
        The name of a bundled model, a model folder, a reference to the Hub, or a loaded model.
    probability: float | None, default: None
        From which on a candidate is a spike, 0 to 1; None: the model's.
    peak_sign: "neg" | "pos", default: "neg"
        Sign of the peak.
    noise_levels : array, optional
        Estimated noise levels to use, if already computed.
    """

    def __init__(
        self,
        recording,
        model=DEFAULT_DETECTOR,
        probability=None,
        peak_sign="neg",
        noise_levels=None,
        return_output=True,
    ):
        if probability is not None and not 0 < probability < 1:
            raise ValueError(f"probability is {probability}; allowed is above 0 and below 1")
        if peak_sign not in PEAK_SIGNS:
            raise ValueError(f"peak_sign is {peak_sign!r}; allowed are {', '.join(map(repr, PEAK_SIGNS))}")
        locations = recording.get_channel_locations()
        if not np.isfinite(locations).all():
            raise ValueError(
                "recording has contact positions that are NaN or infinite; allowed are finite ones"
            )
        if noise_levels is None or np.shape(noise_levels) != (len(locations),):
            raise ValueError(
                f"noise_levels has shape {np.shape(noise_levels)}; allowed is one for each of {len(locations)} channels"
            )
        model = pin_model(model)
        PeakDetector.__init__(self, recording, return_output=return_output)
        self.recording = recording
        self._kwargs.update(
            model=model, probability=probability, peak_sign=peak_sign, noise_levels=noise_levels
        )
        # only who uses a model waits for what its files need
        from steadyspike.library.models.spikes import SpikeDetectorModel, spike_model

        model = spike_model(model, SpikeDetectorModel)
        self.finder = FINDERS[model.config.network.name](
            model,
            locations,
            noise_scales(noise_levels) * np.float32(PEAK_SIGNS[peak_sign]),
            recording.get_sampling_frequency(),
            model.config.probability if probability is None else probability,
        )
        # compile (or load) once, before SpikeInterface starts workers that would each do so
        self.finder.find(np.zeros((2 * self.finder.margin + 1, len(locations)), recording.get_dtype()))

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return self.finder.margin

    def compute(self, traces, start_frame, end_frame, segment_index, max_margin):
        """Detect the spikes of one chunk.

        Parameters
        ----------
        traces : np.ndarray
            Shape (num_samples, num_channels), with the margin at both ends.
        start_frame, end_frame, max_margin : int
            Not used; the pipeline hands them to every detector.
        segment_index : int
            Of the chunk.

        Returns
        -------
        tuple of np.ndarray
            The peaks, ordered by sample and then channel; "sample_index" counts from the start of `traces`, and
            "amplitude" is the trace there.
        """
        found = self.finder.find(traces)
        peaks = np.zeros(found.samples.size, dtype=self.get_dtype())
        peaks["sample_index"] = found.samples
        peaks["channel_index"] = found.channels
        peaks["amplitude"] = traces[found.samples, found.channels]
        peaks["segment_index"] = segment_index
        return (peaks,)
