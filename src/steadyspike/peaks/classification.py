"""Peaks told from noise by their waveforms: a function, and nodes for SpikeInterface's pipelines.

`classify_peaks` labels peaks that were detected. In a pipeline, `ClassifyPeaks` labels each peak, and `KeepSpikes`
drops noise before any node behind it, such as a localizer, sees it::

    detector = LocallyExclusivePeakDetector(recording, noise_levels=...)
    spikes = KeepSpikes(recording, parents=[detector], model=model, return_output=True)
    waveforms = ExtractDenseWaveforms(recording, ms_before=0.3, ms_after=0.5, parents=[spikes])
    localizer = LocalizeSteadyMonopolar(recording, parents=[spikes, waveforms])
    detector.return_output = False
    peaks, locations = run_node_pipeline(recording, [detector, spikes, waveforms, localizer], job_kwargs)
"""

from __future__ import annotations

from contextlib import nullcontext
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core import get_channel_distances
from spikeinterface.core.node_pipeline import (
    PeakRetriever,
    PeakSource,
    PipelineNode,
    WaveformsNode,
    find_parent_of_type,
    run_node_pipeline,
)

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, document, parameter, takes
from steadyspike.library.hub.reference import EXAMPLE
from steadyspike.library.models.find import pin_model
from steadyspike.library.models.waveforms import SpikeClassifier

LABEL_DTYPE = np.dtype([("probability", "float32"), ("is_spike", "bool")])


class ClassifierSettings(Settings):
    """Parameters of the nodes that classify peaks, and of `classify_peaks`."""

    part = "classify_peaks"

    model: Any = parameter(
        ...,
        """A model; or the name of a bundled one, a folder, or a reference to the Hugging Face Hub
        ("hf:owner/name@revision", of which the commit is kept)""",
        type_doc="SpikeClassifier, str or Path",
    )
    nbefore: int | None = parameter(None, "Samples of a waveform before the peak; None: as in training", ge=0)


class _ClassifierNode(PipelineNode):
    """Gives a classifier the waveform of each peak: from a parent that has waveforms, or cut out of the traces."""

    _compute_has_extended_signature = True

    def __init__(self, recording, parents, return_output, settings):
        if not any(isinstance(parent, PeakSource | KeepSpikes) for parent in parents or ()):
            raise TypeError(f"{type(self).__name__} needs a PeakSource, or KeepSpikes, as its first parent")
        model = pin_model(settings.model)
        PipelineNode.__init__(self, recording, return_output=return_output, parents=parents)
        self.recording = recording
        self.model = load_classifier(model)
        self.nbefore = find_nbefore(self.model, settings)
        self.nafter = self.model.config.num_samples - self.nbefore
        check_rate(recording, self.model)
        self.channels = nearest_channels(recording, self.model.config.num_channels)
        self.gains, self.offsets = microvolts(recording, self.model)
        self.first, self.columns = self._read_waveform_layout(parents)
        self._kwargs.update(settings.saved(model=model))

    def get_margin(self):
        """Samples that the waveforms reach beyond a chunk."""
        return max(self.nbefore, self.nafter)

    def _read_waveform_layout(self, parents):
        """Note where in the waveforms of the last parent, dense or sparse, those of the model lie; None: cut them."""
        source = find_parent_of_type(parents, WaveformsNode)
        if source is None:
            return None, None
        if parents[-1] is not source:
            raise TypeError(f"{type(self).__name__} needs its {WaveformsNode.__name__} as its last parent")
        if source.nbefore < self.nbefore or source.nafter < self.nafter:
            raise ValueError(
                f"{ClassifierSettings.part}: waveforms have {source.nbefore} samples before the peak and "
                f"{source.nafter} from it on; allowed: {self.nbefore} and {self.nafter} or more, as the model needs"
            )
        columns = self.channels
        if source.neighbours_mask is not None:
            mask = source.neighbours_mask
            if not np.take_along_axis(mask, self.channels, axis=1).all():
                raise ValueError(
                    f"{ClassifierSettings.part}: waveforms do not hold the {self.channels.shape[1]} channels nearest "
                    "to each; allowed: a larger radius_um"
                )
            # a sparse waveform holds the channels of its mask, in order, without gaps
            columns = np.take_along_axis(np.cumsum(mask, axis=1) - 1, self.channels, axis=1)
        return source.nbefore - self.nbefore, columns

    def _waveforms(self, traces, peaks, others):
        """Return waveforms (num_peaks, num_samples, num_channels) on the contacts nearest to each peak's."""
        channels = self.channels[peaks["channel_index"]]
        if self.first is None:
            waveforms = cut_waveforms(traces, peaks["sample_index"], channels, self.nbefore, self.nafter)
        else:
            window = others[-1][:, self.first : self.first + self.nbefore + self.nafter]
            columns = self.columns[peaks["channel_index"]]
            waveforms = np.take_along_axis(window, columns[:, np.newaxis, :], axis=2)
        if self.gains is not None:
            waveforms = (
                waveforms * self.gains[channels][:, np.newaxis] + self.offsets[channels][:, np.newaxis]
            )
        return waveforms

    def _log_odds(self, traces, peaks, others):
        from steadyspike.library.models.inference import torch_threads

        if not len(peaks):
            return np.zeros(0, "float32")
        # a worker that was forked must not wait for threads that only its parent has
        with torch_threads(1) if parent_process() else nullcontext():
            return self.model.decision_function(self._waveforms(traces, peaks, others))


@document
class ClassifyPeaks(_ClassifierNode):
    """Label each peak as spike or noise.

    Parameters
    ----------
    recording : BaseRecording
        With positions of its contacts, if the model takes more than one channel.
    parents : list of PipelineNode
        A `PeakSource`, or `KeepSpikes`; and a `WaveformsNode`, dense or sparse, if its waveforms are to be classified,
        such as denoised ones. Without one, they are cut out of the traces.
    return_output : bool, default: True
        Whether the pipeline returns the labels: an array with the fields "probability" and "is_spike".
    {settings}

    Raises
    ------
    ValueError
        If the model does not fit the recording.
    TypeError
        Without a source of peaks among the parents.
    """

    @takes(ClassifierSettings)
    def __init__(self, recording, parents=None, return_output=True, *, settings):
        _ClassifierNode.__init__(self, recording, parents, return_output, settings)

    def get_dtype(self):
        """Type of the labels."""
        return LABEL_DTYPE

    def compute(self, traces, start_frame, end_frame, segment_index, max_margin, peaks, *others):
        """Label the peaks of one chunk."""
        log_odds = self._log_odds(traces, peaks, others)
        labels = np.empty(len(peaks), LABEL_DTYPE)
        labels["probability"] = self.model.probability(log_odds)
        labels["is_spike"] = self.model.decide(log_odds)
        return labels


@document
class KeepSpikes(_ClassifierNode):
    """Drop peaks that are noise, for all nodes that have this one as parent in place of the peak source.

    Parameters
    ----------
    recording : BaseRecording
        With positions of its contacts, if the model takes more than one channel.
    parents : list of PipelineNode
        A `PeakSource`; and a `WaveformsNode`, dense or sparse, if its waveforms are to be classified, such as denoised
        ones. Without one, they are cut out of the traces.
    return_output : bool, default: False
        Whether the pipeline returns the peaks that are left. Behind a `PeakDetector`, that one must then have
        ``return_output=False``, because the pipeline takes its first output for the detected peaks.
    {settings}

    Raises
    ------
    ValueError
        If the model does not fit the recording.
    TypeError
        Without a source of peaks among the parents.
    """

    @takes(ClassifierSettings)
    def __init__(self, recording, parents=None, return_output=False, *, settings):
        _ClassifierNode.__init__(self, recording, parents, return_output, settings)
        if return_output and isinstance(parents[0], PeakRetriever):
            raise ValueError(
                "return_output=True cannot be behind a PeakRetriever, whose sample indices the pipeline leaves as "
                "they are in a chunk; allowed: False, with classify_peaks to choose the peaks"
            )

    def get_dtype(self):
        """Type of the peaks."""
        return self.parents[0].get_dtype()

    def compute(self, traces, start_frame, end_frame, segment_index, max_margin, peaks, *others):
        """Return the peaks of one chunk that are spikes."""
        return (peaks[self.model.decide(self._log_odds(traces, peaks, others))],)


@takes(ClassifierSettings)
def classify_peaks(
    recording: Any, peaks: np.ndarray, settings: ClassifierSettings, **job_kwargs: Any
) -> np.ndarray:
    """Tell which peaks are spikes, by their waveforms.

    Parameters
    ----------
    recording : BaseRecording
        As it was when the peaks were detected: filtered, in the units that the model was trained on.
    peaks : ndarray
        As `spikeinterface.sortingcomponents.peak_detection.detect_peaks` gives them, in order of segment and time.
    {settings}
    **job_kwargs
        SpikeInterface's job arguments.

    Returns
    -------
    labels : ndarray, shape (num_peaks,)
        With the fields "probability" (of being a spike) and "is_spike" (at the model's threshold):
        ``peaks[labels["is_spike"]]`` are what to localize.

    Raises
    ------
    ValueError
        If the model does not fit the recording, or peaks are not in order.
    """
    from spikeinterface.core.job_tools import fix_job_kwargs

    check_order(settings.part, peaks)
    source = PeakRetriever(recording, peaks)
    node = ClassifyPeaks(recording, parents=[source], **settings.values())
    if not len(peaks):
        return np.empty(0, LABEL_DTYPE)
    labels = run_node_pipeline(
        recording, [source, node], fix_job_kwargs(job_kwargs), job_name="classify peaks"
    )
    return np.asarray(labels)


def check_order(part: str, peaks: np.ndarray) -> None:
    """Refuse peaks that are not in order of segment and time, which SpikeInterface relies on."""
    order = np.lexsort((peaks["sample_index"], peaks["segment_index"]))
    if not np.array_equal(order, np.arange(len(peaks))):
        raise ValueError(
            f"{part}: peaks are not in order; allowed: sorted by segment_index, then by sample_index"
        )


def cut_waveforms(
    traces: np.ndarray, samples: np.ndarray, channels: np.ndarray | None, nbefore: int, nafter: int
) -> np.ndarray:
    """Cut waveforms (num_peaks, nbefore + nafter, num_channels) out of traces, which reach beyond all of them.

    Those of each peak are cut on its row of `channels` (None: all).
    """
    rows = samples[:, np.newaxis] + np.arange(-nbefore, nafter)
    if channels is None:
        return traces[rows]
    return traces[rows[:, :, np.newaxis], channels[:, np.newaxis, :]]


def load_classifier(model: SpikeClassifier | str | Path) -> SpikeClassifier:
    """Return a classifier, or load the one that a reference is for."""
    if isinstance(model, SpikeClassifier):
        return model
    if not isinstance(model, str | Path):
        allowed = f"a SpikeClassifier, a bundled name, a folder, or {EXAMPLE}"
        refuse("model", model, allowed, ClassifierSettings.part)
    return SpikeClassifier.load(model)


def find_nbefore(model: SpikeClassifier, settings: ClassifierSettings) -> int:
    """Return the samples of a waveform before the peak, as given or as the model knows."""
    nbefore = model.config.nbefore if settings.nbefore is None else settings.nbefore
    if nbefore is None or nbefore >= model.config.num_samples:
        settings.refuse(
            "nbefore",
            f"0 to {model.config.num_samples - 1}, or None for a model that knows where its waveforms have their peak",
        )
    return nbefore


def check_rate(recording: Any, model: SpikeClassifier) -> None:
    """Refuse a recording that is sampled at another rate than the model was trained at."""
    trained = model.config.sampling_frequency
    if trained is not None and abs(recording.sampling_frequency - trained) > 0.01 * trained:
        raise ValueError(
            f"{ClassifierSettings.part}: recording is sampled at {recording.sampling_frequency:g} Hz, but the model "
            f"was trained at {trained:g} Hz; allowed: within 1 %"
        )


def nearest_channels(recording: Any, number: int) -> np.ndarray:
    """Return the channels nearest to each, itself first, of shape (num_channels, number)."""
    count = recording.get_num_channels()
    if number > count:
        raise ValueError(f"recording has {count} channels, but waveforms of {number} are asked for")
    if number == 1:
        return np.arange(count)[:, np.newaxis]
    return np.argsort(get_channel_distances(recording), axis=1, kind="stable")[:, :number]


def microvolts(recording: Any, model: SpikeClassifier) -> tuple[Any, Any]:
    """Return gains and offsets to microvolts where the model wants them, else None twice."""
    if model.config.unit != "uV":
        return None, None
    gains, offsets = recording.get_channel_gains(), recording.get_channel_offsets()
    if gains is None or offsets is None:
        raise ValueError(
            f"{ClassifierSettings.part}: recording has no gains and offsets; allowed: one with them, as the model "
            "takes waveforms in uV"
        )
    return gains, offsets
