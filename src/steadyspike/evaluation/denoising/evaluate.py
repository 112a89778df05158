"""How well a model denoises a recording, beside linear interpolation and no denoising at all."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.core.environment import shows_progress
from steadyspike.core.settings import takes
from steadyspike.evaluation.denoising.inputs import EvaluationSettings, Inputs
from steadyspike.evaluation.denoising.methods import cautions_of, check_models, named_models, trained_on
from steadyspike.evaluation.denoising.run import Evaluation
from steadyspike.library.models.provenance import ModelUseWarning

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

    from steadyspike.evaluation.denoising.result import DenoisingEvaluation


@takes(EvaluationSettings)
def evaluate_deepinterpolation(
    recording: BaseRecording,
    model: Any,
    sorting: BaseSorting | None = None,
    clean: BaseRecording | None = None,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    duration_s: float | None = None,
    settings: EvaluationSettings,
    bad_channel_ids: Sequence[Any] | None = None,
    progress_bar: bool | None = None,
) -> DenoisingEvaluation:
    r"""Measure how well models denoise a recording, beside linear interpolation and no denoising.

    With the traces :math:`x_c(t)`, those of a method :math:`y_c(t)`, the noise :math:`\sigma_c` of each channel (1.4826
    times the median absolute deviation of 2 s of the recording) and, if given, noise-free traces :math:`s_c(t)`, all
    less the median of their channel:

    **Held-out loss**: the mean over samples and live channels of :math:`\ell((y_c(t) - x_c(t)) / \sigma_c)`, with
    :math:`\ell(e) = e^2` ("mse"), :math:`|e|` ("mae") and :math:`\sqrt{e^2 + 0.1^2} - 0.1` ("charbonnier").

    **Error** (`clean`): "rms_error" is :math:`\sqrt{\langle ((y - s) / \sigma)^2 \rangle}` over all samples and
    channels; "rms_error_in_spikes" over those where :math:`|s| >` `spike_threshold` :math:`\sigma`, and
    "rms_error_outside" over all others.

    **Noise reduction** (`sorting`): the median over channels of :math:`\nu_c(x) / \nu_c(y)`, where :math:`\nu_c` is
    1.4826 times the median absolute deviation of 10,000 random samples, of those that lie at least `quiet_ms` from any
    spike of a unit within `radius_um`.

    **Units** (`sorting`): the template of a unit under a method, :math:`T`, is the average of y around its spikes. The
    reference :math:`R` is the average of `clean`, or without it of the recording itself. With the channel :math:`c^*`
    and sample :math:`t^*` where :math:`|R|` is largest:

    - "amplitude_bias": :math:`T(t^*, c^*) / R(t^*, c^*) - 1`
    - "gain": :math:`\langle T, R \rangle / \langle R, R \rangle`, what T is as a multiple of R by least squares
    - "shape_bias": :math:`1 - \langle T, R \rangle / (|T|\,|R|)`
    - "smearing": :math:`\sum_O T^2 / \sum T^2 - \sum_O R^2 / \sum R^2`, over the samples and channels O where
      :math:`|R|` is below 5 % of its extremum
    - "violations": share of the unit's spikes soon after which, from a quarter of `ms_after` to its end, there is
      another of their sign on :math:`c^*`, half as large as R and beyond 5 noise levels :math:`\nu_{c^*}(y)`
    - "template_snr": :math:`\max_t |T(t, c^*)| / \nu_{c^*}(y)`
    - "d_prime_self": :math:`d' = (m_1 - m_0) / \sqrt{(v_1 + v_0) / 2}` with mean and variance of the scores
      :math:`\langle y(t_i + \cdot), W \rangle` at spikes (1) and at random times at least a waveform away from the
      unit's own spikes (0). The template W is the average of y at the first half of the unit's spikes; spikes of the
      second half are scored, and times after the first.
    - "d_prime_true": the same spikes and times, with W = R; only with `clean`.

    **Checks for artifacts** (`sorting`): each a number, with a limit in
    `steadyspike.evaluation.denoising.artifacts.LIMITS`:

    - "false_samples": samples between spikes beyond 5 of the method's own noise levels, per s and channel
    - "amplitude_bias_large", "..._medium", "..._small": absolute value of the median bias of these units
    - "shape_bias" and "smearing": medians over the units
    - "added_correlation": mean correlation between nearest channels between spikes
    - "violations": mean over the units

    of which all but the biases count less those of the recording.

    Other units fire at the random times and during the spikes as they do, so d' is what a template matcher would meet.

    Parameters
    ----------
    recording : BaseRecording
        With a probe; filtered and referenced as those that the model was trained on. Any number of segments.
    model : reference, list or dict
        A model as `deepinterpolate` takes it, or loaded and not yet saved. Several: a dict of names to models, or a
        list, whose names are those of the folders; all meet the same spikes. A Keras model with settings is a
        `KerasModel`, not a dict.
    sorting : BaseSorting, SortingAnalyzer or None, default: None
        Spikes, best of ground truth. None: nothing of units, and no noise reduction.
    clean : BaseRecording or None, default: None
        The same traces without noise, in the same units, with the same segments and channels.
    start_s, end_s, duration_s : float or None, default: None
        What is evaluated, in s on the time line of all segments one after another. All None: where models were trained
        on this recording, what was held out of all of them, its last 60 s; else the last 60 s, or the last half of a
        recording that is shorter than 120 s. A `ModelUseWarning`, which is among the notes of the result too, tells
        where a model was trained on what is evaluated.
    {settings}
    bad_channel_ids : sequence or None, default: None
        Channels that are neither denoised nor evaluated. Those without a signal never are.
    progress_bar : bool or None, default: None
        Show progress. None: as SpikeInterface's global job arguments say.

    Returns
    -------
    evaluation : DenoisingEvaluation
        Tables for the methods "raw", "center" (each channel's median), "linear" (ridge regression from the 10 samples
        on each side, fitted on what is not evaluated) and the models.

    Raises
    ------
    ValueError
        If an argument is out of its range, a model does not fit the recording, or recording, sorting and clean differ;
        before any data is read.
    FileNotFoundError
        If a model is a path where there is nothing.

    Notes
    -----
    Each sample is read and denoised once. Memory holds a chunk, a few templates for each unit, and 10,000 samples of
    each channel for each method, whatever the duration. Samples that are not finite are left out of losses and errors
    and count as the median elsewhere.
    """
    from steadyspike.library.models.inference import resolve_device
    from steadyspike.preprocessing.deepinterpolation import bad_channels

    resolve_device(settings.device)
    inputs = Inputs.checked(recording, sorting, clean, (start_s, end_s, duration_s))
    bad = bad_channels(recording, bad_channel_ids)
    with tempfile.TemporaryDirectory(prefix="steadyspike-evaluation-") as folder:
        sources = check_models(named_models(model), recording, bad, Path(folder))
        if (start_s, end_s, duration_s) == (None, None, None):
            inputs = inputs.held_out_from(trained_on(sources))
        cautions = tuple(cautions_of(sources, inputs))
        for caution in cautions:
            warnings.warn(caution, ModelUseWarning, stacklevel=3)
        run = Evaluation(inputs, sources, settings, bad, Path(folder), shows_progress(progress_bar), cautions)
        return run.run()
