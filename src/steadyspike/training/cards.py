"""Model cards of trained networks: what each is, what it was trained on, and how it scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.cards import license_metadata, licenses_told, table, tags_of

if TYPE_CHECKING:
    from steadyspike.library.models.config import FolderConfig
    from steadyspike.library.models.deepinterpolation import ModelConfig
    from steadyspike.library.models.spikes import SpikeDetectorConfig, WaveformDenoiserConfig
    from steadyspike.library.models.waveforms import (
        SpikeClassifierConfig,
        WaveformAutoencoderConfig,
        WaveformConfig,
    )

MADE_WITH = ("steadyspike", "spikeinterface", "torch")
METRICS = ("mae", "mse")


def interpolation_card(config: ModelConfig, title: str, license_name: str, figure: str | None = None) -> str:
    """Write the card of a DeepInterpolation network.

    `config.extra` is as `train_deepinterpolation` writes it, `license_name` that of the weights, and `figure` the name
    of one of the losses beside the card.
    """
    extra: Any = config.extra
    training, layout = extra["training"], config.layout
    before, after = config.context_ms
    about = (
        "A DeepInterpolation network: it predicts each sample of each contact from what its probe records before and",
        "after, so that noise which is independent from sample to sample is left out.",
    )
    rows = {
        "network": f"{config.network.name}, {extra['num_parameters']:,} parameters",
        "started from": training["init_from"] or "fresh weights",
        "parameters trained": training["train_layers"],
        "probe layout": f"{layout.name} ({layout.arrangement})",
        "sampling frequency": f"{config.sampling_frequency:g} Hz",
        "context": f"{before:g} ms before, {after:g} ms after; "
        f"{config.omission} samples hidden on each side of the predicted one",
        "normalization": config.normalization.method,
        "loss": training["loss"],
        "trained": f"{training['steps']} steps in {training['elapsed_s']:.0f} s on {training['device']} "
        f"(best at step {training['best_step']}; stopped by: {training['stopped']})",
    }
    data = _recordings(extra["recordings"])
    scores = (
        "On held-out time, in noise levels of each channel. The linear interpolation is a ridge",
        "regression fitted on the same windows.",
        "",
        *_losses(extra["scores"]),
        "",
        *([f"![Losses]({figure})", ""] if figure else []),
        "These are errors against noisy samples, which no network can predict: only differences between them tell.",
        "Check with `steadyspike.evaluate_deepinterpolation` on your own data, and fine-tune where it does not fit.",
    )
    after_data = _preprocessing(extra["recordings"])
    return _card(config, title, license_name, about, rows, data, scores, after_data)


def detector_card(config: SpikeDetectorConfig, license_name: str) -> str:
    """Write the card of a spike detector, from a configuration whose `extra` is as `train_spike_detector` writes it."""
    notes: Any = config.extra
    about = (
        "Tells spikes from noise at troughs of filtered traces, by the waveforms on the contacts around them: the "
        "network behind the peak detection method `steady_neural`."
    )
    rows = {
        "candidates": f"troughs of {config.candidate_threshold:g} noise levels or more",
        "trained": _steps(notes["training"], "candidates"),
        "trained on": f"{notes['num_candidates']:,} candidates, {notes['num_spikes']:,} of them spikes of units of at "
        f"least {notes['least_snr']:g} noise levels",
        "sparser probes": "of each recording also {copies} copies with contacts at least {least_um:g} to {most_um:g} "
        "um apart".format(**notes["sparser"]),
    }
    scored = "Candidates in the last tenth of each recording, at a probability of 0.5:"
    scores = {"precision": "{precision:.3f}", "recall": "{recall:.3f}"}
    scores |= {"cross-entropy": "{cross_entropy:.4f}", "candidates": "{num_candidates:,}"}
    return _spikes_card(config, "Spike detector", license_name, about, rows, scored, scores)


def denoiser_card(config: WaveformDenoiserConfig, license_name: str) -> str:
    """Write the card of a denoiser, from a configuration whose `extra` is as `train_waveform_denoiser` writes it."""
    notes: Any = config.extra
    about = (
        "Takes the noise out of a spike's waveforms on the contacts around it: the network behind the localization "
        "method `steady_denoised_monopolar` and the pipeline node `DenoiseWaveforms`."
    )
    rows = {
        "window": f"{config.samples_before} samples before the trough, {config.num_samples} in all",
        "trained": _steps(notes["training"], "spikes"),
        "trained on": f"templates of {notes['num_units']} units, added to the recordings' own noise",
    }
    scored = "Units that it was not trained on ({num_units}), in squared noise levels:"
    scores = {"mean squared error with noise": "{noisy:.3f}", "denoised": "{denoised:.3f}"}
    scores["spikes"] = "{num_spikes:,}"
    return _spikes_card(config, "Waveform denoiser", license_name, about, rows, scored, scores)


def classifier_card(config: SpikeClassifierConfig, license_name: str) -> str:
    """Write the card of a classifier, from a configuration whose `extra` is as `train_spike_classifier` writes it."""
    extra: Any = config.extra
    training = extra["training"]
    fractions = training["spike_fractions"]
    rows = {
        **_of_waveforms(config),
        "labels": f"{config.classes[0]!r} (noise), {config.classes[1]!r} (spike)",
        "chosen on validation": f"epoch {training['best_epoch']} of {training['epochs']}"
        if "epochs" in training
        else f"{config.network.sizes['components']} components, shrinkage {training['shrinkage']:g}",
        "calibration": f"temperature {config.temperature:.4g}, bias {config.bias:.4g}",
        "threshold": f"{config.threshold:.4f}"
        + (f", for {fractions[0]:.3g} to {fractions[1]:.3g} of waveforms being spikes" if fractions else ""),
        "seed": training["seed"],
    }
    data = [
        *table({name: f"{n['spikes']} spikes, {n['noise']} noise" for name, n in extra["data"].items()}),
        *("", f"Validation waveforms: {training['validation']}."),
    ]
    scores = (
        "On the validation waveforms, by which threshold and calibration were chosen"
        f"{', and by those trained on' if training['decide_on'] == 'all' else ''}: other channels may do worse.",
        *("", *table({name: f"{value:.4f}" for name, value in extra["scores"]["validation"].items()})),
    )
    about = "It tells waveforms of spikes from noise, one by one."
    return _card(config, "Classifier of spikes and noise", license_name, [about], rows, data, scores)


def autoencoder_card(config: WaveformAutoencoderConfig, license_name: str) -> str:
    """Write the card of an autoencoder, from a configuration as `train_waveform_autoencoder` writes it."""
    extra: Any = config.extra
    training = extra["training"]
    rows = {
        **_of_waveforms(config),
        "latent numbers": config.network.sizes["latent"],
        "trained": f"best of {training['epochs']} epochs was {training['best_epoch']}, seed {training['seed']}",
    }
    data = [f"{training['waveforms']} waveforms, of which {training['held_out']} were held out."]
    scores = table({"unexplained variance, held out": f"{extra['scores']['unexplained']:.4f}"})
    about = "It squeezes waveforms through a few numbers, by which they can be clustered and drawn."
    return _card(config, "Autoencoder of waveforms", license_name, [about], rows, data, scores)


def _spikes_card(
    config: SpikeDetectorConfig | WaveformDenoiserConfig,
    title: str,
    license_name: str,
    about: str,
    rows: Mapping[str, Any],
    scored: str,
    scores: Mapping[str, str],
) -> str:
    """Write the card of a network of spikes; what was held out is filled into the text and the table of scores."""
    notes: Any = config.extra
    first = {
        "network": f"{config.network.name}, contacts within {config.radius_um:g} um",
        "sampling frequency": f"{config.sampling_frequency:g} Hz",
    }
    lines = ["None held out."]
    if held_out := notes["held_out"]:
        filled = {name: one.format(**held_out) for name, one in scores.items()}
        lines = [scored.format(**held_out), "", *table(filled)]
    data = [str(notes.get("data", "Not stated."))]
    return _card(config, title, license_name, [about], {**first, **rows}, data, lines)


def _card(
    config: FolderConfig,
    title: str,
    license_name: str,
    about: Iterable[str],
    rows: Mapping[str, Any],
    data: Iterable[str],
    scores: Iterable[str],
    after_data: Iterable[str] = (),
) -> str:
    """Write a card of head, table, data and scores; `after_data` are sections between the last two."""
    extra: Any = config.extra
    made_with = ", ".join(f"{name} {extra['versions'][name]}" for name in MADE_WITH)
    metrics = [f"metrics: [{', '.join(METRICS)}]"] if config.kind == "deepinterpolation" else []
    head = ("---", license_metadata(license_name), "library_name: steadyspike")
    tags = f"tags: [{', '.join(tags_of('model', config.kind))}]"
    lines = [
        *(*head, tags, *metrics, "---", "", f"# {title}", "", *about, ""),
        *(*table({**rows, "made with": made_with}), "", "## Data", "", *data, ""),
        *(licenses_told(license_name, extra.get("data_license")), "", *after_data),
        *("## Scores", "", *scores),
    ]
    return "\n".join(lines) + "\n"


def _of_waveforms(config: WaveformConfig) -> dict[str, Any]:
    rate = f"{config.sampling_frequency:g} Hz" if config.sampling_frequency else "not known"
    return {
        "network": config.network.name,
        "waveforms": f"{config.num_samples} samples, {config.num_channels} channels, peak at sample {config.nbefore}",
        "sampling frequency": rate,
        "normalization": f"(waveform - {config.mean:.6g}) / {config.scale:.6g}, in {config.unit or 'its own units'}",
    }


def _steps(training: Mapping[str, Any], what: str) -> str:
    return f"{training['steps']} steps of {training['batch_size']} {what}, seed {training['seed']}"


def _recordings(recordings: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"- {one['description']}: {one['num_channels']} channels ({one['dead_channels']} dead), "
        f"{one['segments']} segments, trained on {one['train_s']:.4g} s, {one['test_s']:.4g} s held out"
        for one in recordings
    ]


def _preprocessing(recordings: Sequence[Mapping[str, Any]]) -> list[str]:
    done = " and ".join(dict.fromkeys(_chain_in_words(one) for one in recordings))
    return [
        "## Preprocessing expected",
        "",
        f"Trained after: {done}. Recordings to denoise need the same.",
        "",
    ]


def _chain_in_words(recording: Mapping[str, Any]) -> str:
    if recording["preprocessing"]:
        return f"`{recording['preprocessing']}`"
    filtered = ", of a recording marked as filtered" if recording["is_filtered"] else ""
    return f"no step that is known{filtered}"


def _losses(scores: Mapping[str, Mapping[str, float] | None]) -> list[str]:
    lines = [f"| | {' | '.join(METRICS)} |", "|---|" + "---|" * len(METRICS)]
    for who, values in scores.items():
        shown = ["-"] * len(METRICS) if values is None else [f"{values[name]:.4f}" for name in METRICS]
        lines.append(f"| {who} | {' | '.join(shown)} |")
    return lines
