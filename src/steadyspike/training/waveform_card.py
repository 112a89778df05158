"""Model cards of classifiers and autoencoders of waveforms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steadyspike.hub_cards import license_metadata, licenses_told
from steadyspike.training.card import _table

if TYPE_CHECKING:
    from steadyspike.waveform_models import SpikeClassifierConfig, WaveformAutoencoderConfig, WaveformConfig

MADE_WITH = ("steadyspike", "torch")


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
        *("", *_table(rows), "", "## Data", ""),
        *_table({name: f"{n['spikes']} spikes, {n['noise']} noise" for name, n in data.items()}),
        *("", f"Validation waveforms: {training['validation']}.", ""),
        *(licenses_told(license_name, extra["data_license"]), "", "## Scores", ""),
        "On the validation waveforms, by which threshold and calibration were chosen"
        f"{', and by those trained on' if training['decide_on'] == 'all' else ''}: other channels may do worse.",
        *("", *_table({name: f"{value:.4f}" for name, value in extra["scores"]["validation"].items()})),
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
        *("", *_table(rows), "", licenses_told(license_name, extra["data_license"])),
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
        "made with": ", ".join(f"{name} {extra['versions'][name]}" for name in MADE_WITH),
    }
