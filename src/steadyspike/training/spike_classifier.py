"""`train_spike_classifier`: a classifier of spikes and noise from labelled waveforms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.library.models.waveforms import SpikeClassifier

NETWORKS = {"discriminant": "waveform_discriminant", "cnn": "waveform_cnn", "gru": "waveform_gru"}


def train_spike_classifier(
    waveforms: Any,
    labels: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    network: str = "discriminant",
    network_kwargs: Mapping[str, Any] | None = None,
    class_weight: str | None = "balanced",
    noise: float = 0.5,
    amplitude_jitter: float = 0.0,
    spike_fractions: tuple[float, float] | None = (0.01, 0.5),
    decide_on: str = "validation",
    max_epochs: int = 30,
    patience: int = 6,
    batch_size: int = 256,
    learning_rate: float = 2e-3,
    sampling_frequency: float | None = None,
    nbefore: int | None = None,
    unit: str | None = None,
    license_name: str = "unknown",
    data_license: str | None = None,
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
    seed : int, default: 0
        Of all random numbers: which waveforms are drawn, what is added to them, and first weights.
    network : {"discriminant", "cnn", "gru"}, default: "discriminant"
        A regularized Gaussian discriminant (`steadyspike.networks.classifier.WaveformDiscriminant`), fitted in closed
        form; or the two networks of the older zebra finch work, trained by AdamW.
    network_kwargs : dict or None, default: None
        Sizes that are not to be chosen: ``components`` and ``shrinkage`` of the discriminant, ``features`` and
        ``hidden`` of the others.
    class_weight : {"balanced"} or None, default: "balanced"
        Whether both classes weigh as much in the loss, however many there are of each.
    noise : float, default: 0.5
        Training waveforms get noise added: another waveform of the noise class, less the mean of those, times a
        random factor up to this one. 0 or more.
    amplitude_jitter : float, default: 0.0
        Training waveforms are scaled at random, by factors with this standard deviation of their logarithm.
    spike_fractions : tuple of float or None, default: (0.01, 0.5)
        Lowest and highest share of spikes on channels that the classifier will see. The threshold is the best on
        average between them; None: for the share in the validation waveforms.
    decide_on : {"validation", "all"}, default: "validation"
        By which waveforms calibration and threshold are chosen. Where validation is a channel with one unit or two,
        "all", which adds those trained on, suits other channels better
        (`python -m steadyspike_benchmarks classifier --rotate`).
    max_epochs, patience, batch_size : int, default: 30, 6, 256
        Of "cnn" and "gru"; training stops after `patience` epochs without gain.
    learning_rate : float, default: 2e-3
        Of "cnn" and "gru".
    sampling_frequency : float or None, default: None
        Of the waveforms, in Hz; for the record, and checked by `steadyspike.classify_peaks`.
    nbefore : int or None, default: None
        Which sample is the peak; None: where most spikes have their largest absolute value.
    unit : {"uV"} or None, default: None
        "uV": `steadyspike.classify_peaks` scales traces to microvolts; None: it takes them as they are.
    license_name : str, default: "unknown"
        Of the model, for its card.
    data_license : str or None, default: None
        Of the waveforms, such as "cc-by-4.0", for its card and ``model.config.extra``; None: not told.

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
    from steadyspike.library.hub.cards import check_licenses
    from steadyspike.training import labelled_waveforms as data
    from steadyspike.training.spike_classifier_run import ClassifierRun

    check_licenses(license_name, data_license)
    if network not in NETWORKS:
        raise ValueError(f"network={network!r} is not known; allowed: {', '.join(map(repr, NETWORKS))}")
    if class_weight not in ("balanced", None):
        raise ValueError(f"class_weight={class_weight!r} is not known; allowed: 'balanced', None")
    if decide_on not in ("validation", "all"):
        raise ValueError(f"decide_on={decide_on!r} is not known; allowed: 'validation', 'all'")
    if unit not in ("uV", None):
        raise ValueError(f"unit={unit!r} is not known; allowed: 'uV', None")
    data.check_range(
        noise=noise, amplitude_jitter=amplitude_jitter, seed=seed, max_epochs=(max_epochs, 1),
        patience=(patience, 1), batch_size=(batch_size, 2),
    )  # fmt: skip
    if not learning_rate > 0:
        raise ValueError(f"learning_rate={learning_rate} must be above 0")
    if sampling_frequency is not None and not sampling_frequency > 0:
        raise ValueError(f"sampling_frequency={sampling_frequency} must be above 0")
    if spike_fractions is not None and not (
        len(spike_fractions) == 2 and 0 < spike_fractions[0] <= spike_fractions[1] < 1
    ):
        raise ValueError(f"spike_fractions={spike_fractions} cannot be; allowed: 0 < lowest <= highest < 1")
    training, held_out = data.split(data.take(waveforms, labels), validation, seed)
    if nbefore is None:
        nbefore = data.usual_peak(training)
    elif not 0 <= nbefore < training.waveforms.shape[1]:
        raise ValueError(
            f"nbefore={nbefore} cannot be; allowed: 0 to {training.waveforms.shape[1] - 1}, a sample of the waveforms"
        )
    run = ClassifierRun(
        training=training,
        held_out=held_out,
        seed=seed,
        network=NETWORKS[network],
        network_kwargs=dict(network_kwargs or {}),
        balanced=class_weight is not None,
        noise=noise,
        amplitude_jitter=amplitude_jitter,
        max_epochs=max_epochs,
        patience=patience,
        learning_rate=learning_rate,
        batch_size=batch_size,
        spike_fractions=spike_fractions,
        decide_on=decide_on,
    )
    return run.carry_out(
        {"sampling_frequency": sampling_frequency, "nbefore": nbefore, "unit": unit},
        (license_name, data_license),
        "given" if validation is not None else "a fifth of the training waveforms",
    )
