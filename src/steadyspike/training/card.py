"""The model card of a trained network: what it is, what it was trained on, and how it scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from steadyspike.artifacts import tags_of
from steadyspike.hub_cards import license_metadata, licenses_told
from steadyspike.models import ModelConfig

MADE_WITH = ("steadyspike", "spikeinterface", "torch")


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
        *_table(
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
                "made with": ", ".join(f"{name} {extra['versions'][name]}" for name in MADE_WITH),
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


def _table(rows: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


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
