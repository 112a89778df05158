"""Model cards of spike detectors and waveform denoisers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from steadyspike.hub_cards import license_metadata, licenses_told

MADE_WITH = ("steadyspike", "spikeinterface", "torch")


def versions() -> dict[str, str]:
    """Versions of what a model is made with."""
    return {name: version(name) for name in MADE_WITH}


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
        *_table({**rows, "made with": ", ".join(f"{name} {one}" for name, one in notes["versions"].items())}),
        *("", "## Data", "", str(notes.get("data", "Not stated.")), ""),
        *(licenses_told(license_name, notes["data_license"]), ""),
        *("## Scores", "", *([f"{scored}:", "", *_table(scores)] if scores else ["None held out."])),
    ]
    return "\n".join(lines) + "\n"


def _table(rows: dict[str, str]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
