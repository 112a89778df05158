"""Model cards of trained networks: what each is, what it was trained on, and how it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.cards import license_metadata, licenses_told, table, tags_of
from steadyspike.library.models.deepinterpolation import ModelConfig

if TYPE_CHECKING:
    from steadyspike.library.models.waveforms import (
        SpikeClassifierConfig,
        WaveformAutoencoderConfig,
        WaveformConfig,
    )

# packages whose versions a card names
MADE_WITH, WAVEFORMS_MADE_WITH = ("steadyspike", "spikeinterface", "torch"), ("steadyspike", "torch")


def write_card(config: ModelConfig, title: str, license_name: str, figure: str | None = None) -> str:
    """Write a model card in Markdown from a configuration.

    Parameters
    ----------
    config : ModelConfig
        With `extra` as `train_deepinterpolation` writes it.
    title : str
    license_name : str
        Of the weights.
    figure : str or None, default: None
        Name of a figure of the losses beside the card.
    """
    extra: Any = config.extra
    training, layout = extra["training"], config.layout
    before, after = config.context_ms
    lines = [
        *(
            "---",
            license_metadata(license_name),
            "library_name: steadyspike",
            f"tags: [{', '.join(tags_of('model', config.kind))}]",
            "metrics: [mae, mse]",
            "---",
            "",
        ),
        *(f"# {title}", ""),
        "A DeepInterpolation network: it predicts each sample of each contact from what its probe records before and",
        "after, so that noise which is independent from sample to sample is left out.",
        "",
        *table(
            {
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
                "made with": _made_with(extra["versions"]),
            }
        ),
        *("", "## Data", "", *_recordings(extra["recordings"]), ""),
        licenses_told(license_name, extra.get("data_license")),
        "",
        *_preprocessing(extra["recordings"]),
        *(
            "## Scores",
            "",
            "On held-out time, in noise levels of each channel. The linear interpolation is a ridge",
        ),
        *("regression fitted on the same windows.", "", *_scores(extra["scores"]), ""),
    ]
    if figure:
        lines += [f"![Losses]({figure})", ""]
    lines += [
        "These are errors against noisy samples, which no network can predict: only differences between them tell.",
        "Check with `steadyspike.evaluate_deepinterpolation` on your own data, and fine-tune where it does not fit.",
    ]
    return "\n".join(lines) + "\n"


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


def _scores(scores: Mapping[str, Mapping[str, float] | None]) -> list[str]:
    names = ("mae", "mse")
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for who, values in scores.items():
        shown = ["-"] * len(names) if values is None else [f"{values[name]:.4f}" for name in names]
        lines.append(f"| {who} | {' | '.join(shown)} |")
    return lines


def _made_with(versions: Mapping[str, str], packages: Sequence[str] = MADE_WITH) -> str:
    return ", ".join(f"{name} {versions[name]}" for name in packages)


def detector_card(config: Any, license_name: str) -> str:
    """Write the card of a spike detector, from a configuration whose `extra` is as `train_spike_detector` writes it."""
    notes = config.extra
    held_out, training = notes["held_out"], notes["training"]
    rows = {
        "network": f"{config.network.name}, contacts within {config.radius_um:g} um",
        "sampling frequency": f"{config.sampling_frequency:g} Hz",
        "candidates": f"troughs of {config.candidate_threshold:g} noise levels or more",
        "trained": f"{training['steps']} steps of {training['batch_size']} candidates, seed {training['seed']}",
        "trained on": f"{notes['num_candidates']:,} candidates, {notes['num_spikes']:,} of them spikes of units of at "
        f"least {notes['least_snr']:g} noise levels",
    }
    scores = {}
    if held_out:
        scores = {
            "precision": f"{held_out['precision']:.3f}",
            "recall": f"{held_out['recall']:.3f}",
            "cross-entropy": f"{held_out['cross_entropy']:.4f}",
            "candidates": f"{held_out['num_candidates']:,}",
        }
    about = (
        "Tells spikes from noise at troughs of filtered traces, by the waveforms on the contacts around them: the "
        "network behind the peak detection method `steady_neural`."
    )
    scored = "Candidates in the last tenth of each recording, at a probability of 0.5"
    return _card("Spike detector", about, license_name, notes, rows, scored, scores)


def denoiser_card(config: Any, license_name: str) -> str:
    """Write the card of a denoiser, from a configuration whose `extra` is as `train_waveform_denoiser` writes it."""
    notes = config.extra
    held_out, training = notes["held_out"], notes["training"]
    rows = {
        "network": f"{config.network.name}, contacts within {config.radius_um:g} um",
        "sampling frequency": f"{config.sampling_frequency:g} Hz",
        "window": f"{config.samples_before} samples before the trough, {config.num_samples} in all",
        "trained": f"{training['steps']} steps of {training['batch_size']} spikes, seed {training['seed']}",
        "trained on": f"templates of {notes['num_units']} units, added to the recordings' own noise",
    }
    scores, scored = {}, ""
    if held_out:
        scores = {
            "mean squared error with noise": f"{held_out['noisy']:.3f}",
            "denoised": f"{held_out['denoised']:.3f}",
            "spikes": f"{held_out['num_spikes']:,}",
        }
        scored = f"Units that it was not trained on ({held_out['num_units']}), in squared noise levels"
    about = (
        "Takes the noise out of a spike's waveforms on the contacts around it: the network behind the localization "
        "method `steady_denoised_monopolar` and the pipeline node `DenoiseWaveforms`."
    )
    return _card("Waveform denoiser", about, license_name, notes, rows, scored, scores)


def _card(
    title: str,
    about: str,
    license_name: str,
    notes: dict[str, Any],
    rows: dict[str, str],
    scored: str,
    scores: dict[str, str],
) -> str:
    lines = [
        *(
            "---",
            license_metadata(license_name),
            "library_name: steadyspike",
            "tags: [electrophysiology]",
            "---",
            "",
        ),
        *(f"# {title}", "", about, ""),
        *table({**rows, "made with": _made_with(notes["versions"])}),
        *("", "## Data", "", str(notes.get("data", "Not stated.")), ""),
        *(licenses_told(license_name, notes["data_license"]), ""),
        *("## Scores", "", *([f"{scored}:", "", *table(scores)] if scores else ["None held out."])),
    ]
    return "\n".join(lines) + "\n"


def write_classifier_card(config: SpikeClassifierConfig, license_name: str) -> str:
    """Write the model card of a classifier in Markdown from its configuration."""
    extra: Any = config.extra
    training, data = extra["training"], extra["data"]
    stopped = f"epoch {training['best_epoch']} of {training['epochs']}" if "epochs" in training else ""
    fractions = training["spike_fractions"]
    rows = {
        **_shared_rows(config),
        "labels": f"{config.classes[0]!r} (noise), {config.classes[1]!r} (spike)",
        "chosen on validation": stopped
        or f"{config.network.sizes['components']} components, shrinkage {training['shrinkage']:g}",
        "calibration": f"temperature {config.temperature:.4g}, bias {config.bias:.4g}",
        "threshold": f"{config.threshold:.4f}"
        + (f", for {fractions[0]:.3g} to {fractions[1]:.3g} of waveforms being spikes" if fractions else ""),
        "seed": training["seed"],
    }
    lines = [
        *_head(license_name, "Classifier of spikes and noise"),
        "It tells waveforms of spikes from noise, one by one.",
        *("", *table(rows), "", "## Data", ""),
        *table({name: f"{n['spikes']} spikes, {n['noise']} noise" for name, n in data.items()}),
        *("", f"Validation waveforms: {training['validation']}.", ""),
        *(licenses_told(license_name, extra["data_license"]), "", "## Scores", ""),
        "On the validation waveforms, by which threshold and calibration were chosen"
        f"{', and by those trained on' if training['decide_on'] == 'all' else ''}: other channels may do worse.",
        *("", *table({name: f"{value:.4f}" for name, value in extra["scores"]["validation"].items()})),
    ]
    return "\n".join(lines) + "\n"


def write_autoencoder_card(config: WaveformAutoencoderConfig, license_name: str) -> str:
    """Write the model card of an autoencoder in Markdown from its configuration."""
    extra: Any = config.extra
    training = extra["training"]
    rows = {
        **_shared_rows(config),
        "latent numbers": config.network.sizes["latent"],
        "trained": f"best of {training['epochs']} epochs was {training['best_epoch']}, seed {training['seed']}",
        "waveforms": f"{training['waveforms']}, of which {training['held_out']} were held out",
        "unexplained variance, held out": f"{extra['scores']['unexplained']:.4f}",
    }
    lines = [
        *_head(license_name, "Autoencoder of waveforms"),
        "It squeezes waveforms through a few numbers, by which they can be clustered and drawn.",
        *("", *table(rows), "", licenses_told(license_name, extra["data_license"])),
    ]
    return "\n".join(lines) + "\n"


def _head(license_name: str, title: str) -> list[str]:
    return [
        *(
            "---",
            license_metadata(license_name),
            "library_name: steadyspike",
            "tags: [electrophysiology]",
            "---",
        ),
        *("", f"# {title}", ""),
    ]


def _shared_rows(config: WaveformConfig) -> dict[str, Any]:
    extra: Any = config.extra
    return {
        "network": config.network.name,
        "waveforms": f"{config.num_samples} samples, {config.num_channels} channels, peak at sample {config.nbefore}",
        "sampling frequency": f"{config.sampling_frequency:g} Hz"
        if config.sampling_frequency
        else "not known",
        "normalization": f"(waveform - {config.mean:.6g}) / {config.scale:.6g}, in {config.unit or 'its own units'}",
        "made with": _made_with(extra["versions"], WAVEFORMS_MADE_WITH),
    }
