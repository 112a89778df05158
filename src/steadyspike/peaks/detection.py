"""Detection of spikes by a network, as a peak detection method of SpikeInterface."""

from typing import Any, Literal

import numpy as np
from spikeinterface.core.node_pipeline import PeakDetector

from steadyspike.core.arguments import finite_locations
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.library.models.find import pin_model
from steadyspike.library.models.spike_finders import FINDERS, PEAK_SIGNS, noise_scales
from steadyspike.peaks.waveforms import offsets_for


class NeuralDetectionSettings(Settings):
    """Parameters of `DetectSteadyNeural`."""

    part = "steady_neural"

    model: Any = parameter(
        "steady-detector",
        """The name of a bundled model, a model folder, a reference to the Hugging Face Hub ("hf:owner/name@revision",
        of which the commit is kept), or a loaded model. The published YASS detectors, converted with
        `steadyspike.library.models.legacy.yass.convert_yass_detector`, look at every sample of every contact and take
        much longer""",
        type_doc="str, Path or SpikeDetectorModel",
    )
    probability: float | None = parameter(
        None, "From which on a candidate is a spike; None: the model's, usually 0.5", gt=0, lt=1
    )
    peak_sign: Literal["neg", "pos"] = parameter(
        "neg", "Whether spikes are troughs or peaks. For peaks the traces are turned over"
    )
    noise_levels: Any = parameter(
        None,
        """Noise level of each channel, in the unit of the traces; `detect_peaks` estimates it if it is not given. A
        channel whose level is 0 or not finite is dead: there are no spikes on it""",
        type_doc="np.ndarray",
    )


@document
class DetectSteadyNeural(PeakDetector):
    """Detect spikes with a network that sees the contacts around each candidate.

    Candidates are troughs of at least 2.75 noise levels that nothing nearby exceeds. A small network judges each by
    its waveforms on the contacts within 70 um, and of spikes within 0.4 ms and 60 um of each other the deepest stays.
    What is found does not depend on the chunks: each candidate is computed in the same order of operations from the
    same samples.

    The bundled model was trained on simulated Neuropixels 1.0 and 2.0 recordings after a bandpass filter (300 to
    6000 Hz), half of them with so few contacts that a spike is seen by few or by one, so that it serves probes of any
    spacing; `steadyspike.train_spike_detector` trains one for other data. Traces have to be filtered; an offset, as of
    unsigned samples, is taken off. They are looked at as if sampled at the model's frequency.

    Parameters
    ----------
    recording : BaseRecording
        Filtered, with contact positions.
    {settings}
    return_output : bool, default: True
        Whether the pipeline returns the peaks.

    Raises
    ------
    ValueError
        For a parameter outside its range, contact positions that are not finite, or a sampling frequency that the
        model cannot be used with: less than a fifth of the model's.
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
    params_doc = NeuralDetectionSettings.params_doc()

    @takes(NeuralDetectionSettings)
    def __init__(self, recording, settings, return_output=True):
        locations = finite_locations(recording, self.name)
        levels = settings.noise_levels
        if levels is None or np.shape(levels) != (len(locations),):
            settings.refuse("noise_levels", f"one for each of {len(locations)} channels")
        model = pin_model(settings.model)
        PeakDetector.__init__(self, recording, return_output=return_output)
        self.recording = recording
        self._kwargs.update(settings.saved(model=model))
        # only who uses a model waits for what its files need
        from steadyspike.library.models.spikes import SpikeDetectorModel, spike_model

        model = spike_model(model, SpikeDetectorModel)
        self.finder = FINDERS[model.config.network.name](
            model,
            locations,
            noise_scales(recording, levels) * np.float32(PEAK_SIGNS[settings.peak_sign]),
            recording.get_sampling_frequency(),
            model.config.probability if settings.probability is None else settings.probability,
        )
        self.offsets = offsets_for(recording, levels)
        # compile (or load) once, before SpikeInterface starts workers that would each do so
        self._find(np.zeros((2 * self.finder.margin + 1, len(locations)), recording.get_dtype()))

    def get_margin(self):
        """Samples that are read beyond each end of a chunk."""
        return self.finder.margin

    def compute(self, traces, start_frame, end_frame, segment_index, max_margin):
        """Detect the spikes of one chunk: peaks ordered by sample, from the start of `traces`, and then channel."""
        traces, found = self._find(traces)
        peaks = np.zeros(found.samples.size, dtype=self.get_dtype())
        peaks["sample_index"] = found.samples
        peaks["channel_index"] = found.channels
        peaks["amplitude"] = traces[found.samples, found.channels]
        peaks["segment_index"] = segment_index
        return (peaks,)

    def _find(self, traces):
        """Return traces without offset, and the spikes in them."""
        if self.offsets is not None:
            traces = traces - self.offsets
        return traces, self.finder.find(traces)
