"""`train_spike_classifier`: a classifier of spikes and noise from labelled waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steadyspike.core.settings import takes
from steadyspike.training.spike_classifier_settings import NETWORKS, SpikeClassifierTraining

if TYPE_CHECKING:
    from steadyspike.library.models.waveforms import SpikeClassifier


@takes(SpikeClassifierTraining)
def train_spike_classifier(
    waveforms: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    settings: SpikeClassifierTraining,
) -> SpikeClassifier:
    """Train a classifier of waveforms: spike or noise.

    Waveforms are standardized with their mean and standard deviation. Everything that is chosen is chosen on the
    validation waveforms: the sizes of the network or the epoch to stop at and the threshold of `predict` (by the macro
    F1 score), and the temperature and bias that calibrate probabilities (by their likelihood). Validation waveforms of
    other channels than those trained on tell how well units are recognized that the network has not seen.

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        Aligned to their peak; in any units, which later waveforms must share.
    labels : ndarray, shape (num_waveforms,)
        Two different values; the larger one (1, True, "spike" after "noise") means spike.
    validation : tuple of ndarray or None, default: None
        Waveforms and labels. None: a fifth of the others, drawn at random from both classes, is held out.
    {settings}
    **parameters
        Those of `network` and `optimizer` one by one, as ``network="cnn", max_epochs=5``.

    Returns
    -------
    model : SpikeClassifier
        With `predict`, `predict_proba`, `classes_`, and `save` for a model folder. Scores on the validation waveforms
        are in ``model.config.extra["scores"]``.

    Raises
    ------
    ValueError
        If a parameter cannot work, waveforms and labels do not fit each other, or there are not two classes.
    """
    from steadyspike.training import labelled_waveforms as data
    from steadyspike.training.spike_classifier_run import ClassifierRun

    training, held_out = data.split(data.take(waveforms, labels), validation, settings.optimizer.seed)
    nbefore = data.usual_peak(training) if settings.nbefore is None else settings.nbefore
    last = training.waveforms.shape[1] - 1
    if nbefore > last:
        settings.refuse("nbefore", f"0 to {last}, a sample of the waveforms")
    run = ClassifierRun(training, held_out, NETWORKS[settings.network.name], settings)
    return run.carry_out(nbefore, "given" if validation is not None else "a fifth of the training waveforms")
