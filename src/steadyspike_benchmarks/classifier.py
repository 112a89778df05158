"""Classifiers of spikes and noise on the zebra finch waveforms: the published networks, and ours over several seeds.

Channels 9, 16 and 33 are for training, 11 for validation, 40 for the test, as published. Nothing is chosen on the test
channel. All networks run on one thread, on the same waveforms, in one process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from steadyspike.core.environment import machine, versions

TRAIN, VALIDATION, TEST = (9, 16, 33), 11, 40
PUBLISHED = {"published CNN": "best_cnn_model.pth", "published GRU": "best_gru_model.pth"}
YARDSTICK = "published GRU"
OURS = "ours"
MEASURES = (
    "accuracy",
    "macro_f1",
    "spike_precision",
    "spike_recall",
    "average_precision",
    "calibration_error",
)
TIMED_RUNS = 7


@dataclass(frozen=True, eq=False)
class ClassifierBenchmark:
    """What was measured: `results` for JSON, and the scores on the test channel by name (ours: the first seed)."""

    results: dict[str, Any]
    scores: dict[str, Any]


def load_channels(folder: str | Path, channels: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Load waveforms (num_waveforms, 42) and labels (1: spike) of some channels.

    Raises
    ------
    FileNotFoundError
        If a file is missing; it is named.
    """
    waveforms, labels = [], []
    for channel in channels:
        for label, kind in enumerate(("background", "spikes")):
            file = Path(folder).expanduser() / f"channel_{kind}_{channel}.npy"
            if not file.is_file():
                raise FileNotFoundError(f"there is no file {file}; it belongs to the zebra finch waveforms")
            waveforms.append(np.load(file, allow_pickle=False))
            labels.append(np.full(len(waveforms[-1]), label))
    return np.concatenate(waveforms).astype("float32"), np.concatenate(labels)


def run_classifier_benchmark(
    folder: str | Path,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    networks: Sequence[str] = ("discriminant",),
    tell: Callable[[str], None] = lambda line: None,
) -> ClassifierBenchmark:
    """Measure the published networks and ours on the validation and the test channel.

    Parameters
    ----------
    folder : str or Path
        With ``channel_spikes_K.npy``, ``channel_background_K.npy`` and the published ``best_*_model.pth``.
    seeds : sequence of int, default: (0, 1, 2, 3, 4)
        A model is trained with each.
    networks : sequence of str, default: ("discriminant",)
        What `steadyspike.train_spike_classifier` takes as `network`.
    tell : callable
        Called with one line of text for each model.

    Returns
    -------
    benchmark : ClassifierBenchmark
    """
    from steadyspike.evaluation.spike_classification import evaluate_spike_classifier
    from steadyspike.library.models.inference import torch_threads
    from steadyspike.library.models.legacy.waveforms import convert_legacy
    from steadyspike.training.spike_classifier import train_spike_classifier

    folder = Path(folder).expanduser()
    train, validation, test = (load_channels(folder, part) for part in (TRAIN, (VALIDATION,), (TEST,)))
    models: dict[str, list[Any]] = {}
    with torch_threads(1):
        for name, file in PUBLISHED.items():
            models[name] = [convert_legacy(folder / file)]
        training_s: dict[str, list[float]] = {}
        for network in networks:
            name = OURS if network == "discriminant" else f"{OURS}, {network}"
            for seed in seeds:
                begun = time.perf_counter()
                model = train_spike_classifier(*train, validation=validation, seed=seed, network=network)
                models.setdefault(name, []).append(model)
                training_s.setdefault(name, []).append(time.perf_counter() - begun)
                tell(f"{name}, seed {seed}: trained in {training_s[name][-1]:.1f} s")
        rows, first = [], {}
        for name, trained in models.items():
            row: dict[str, Any] = {"name": name, "training_s": training_s.get(name)}
            for channel, data in (("validation", validation), ("test", test)):
                scores = [evaluate_spike_classifier(model, *data, repeats=1) for model in trained]
                row[channel] = {key: [getattr(one, key) for one in scores] for key in MEASURES}
                row[channel]["confusion"] = [one.confusion.tolist() for one in scores]
            first[name] = evaluate_spike_classifier(trained[0], *test, repeats=TIMED_RUNS)
            row["us_per_waveform"] = first[name].us_per_waveform
            rows.append(row)
            tell(f"{name}: macro F1 on the test channel {np.mean(row['test']['macro_f1']):.4f}")
    results = {"seeds": list(seeds), "rows": rows, "versions": versions(), "machine": machine()}
    return ClassifierBenchmark(results, first)


def run_rotation(
    folder: str | Path,
    *,
    networks: Sequence[str] = ("discriminant", "cnn"),
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Make each channel the test once, with the next one for validation and the other three for training.

    Parameters
    ----------
    folder : str or Path
        With ``channel_spikes_K.npy`` and ``channel_background_K.npy``.
    networks : sequence of str, default: ("discriminant", "cnn")
        What `steadyspike.train_spike_classifier` takes as `network`.
    seed : int, default: 0
    tell : callable
        Called with one line of text for each model.

    Returns
    -------
    results : dict
        "rows", each with "network", "test" and "validation" (channels), "num_spikes" and the scores on the test.
    """
    from steadyspike.evaluation.spike_classification import evaluate_spike_classifier
    from steadyspike.library.models.inference import torch_threads
    from steadyspike.training.spike_classifier import train_spike_classifier

    channels = (*TRAIN, VALIDATION, TEST)
    rows = []
    for number, tested in enumerate(channels):
        validated = channels[(number + 1) % len(channels)]
        train = load_channels(folder, [one for one in channels if one not in (tested, validated)])
        validation, test = load_channels(folder, (validated,)), load_channels(folder, (tested,))
        for network, decide_on in product(networks, ("validation", "all")):
            options = {"seed": seed, "network": network, "decide_on": decide_on}
            with torch_threads(1):
                model = train_spike_classifier(*train, validation=validation, **options)
                scores = evaluate_spike_classifier(model, *test, repeats=1)
            name = network if decide_on == "validation" else f"{network}, decided on all"
            found = {"network": name, "test": tested, "validation": validated}
            found["num_spikes"] = int(test[1].sum())
            rows.append(found | {key: getattr(scores, key) for key in MEASURES})
            tell(f"{name}, tested on channel {tested}: macro F1 {scores.macro_f1:.4f}")
    return {"seed": seed, "rows": rows, "versions": versions(), "machine": machine()}


def format_rotation_table(results: dict[str, Any]) -> str:
    """Write macro F1 (and average precision) of each network on each channel as a Markdown table."""
    networks = list(dict.fromkeys(row["network"] for row in results["rows"]))
    lines = [
        f"| tested on channel | validated on | spikes | {' | '.join(networks)} |",
        "|---:|---:|---:|" + "---:|" * len(networks),
    ]
    for tested in dict.fromkeys(row["test"] for row in results["rows"]):
        rows = {row["network"]: row for row in results["rows"] if row["test"] == tested}
        first = next(iter(rows.values()))
        cells = [f"{rows[one]['macro_f1']:.3f} ({rows[one]['average_precision']:.3f})" for one in networks]
        lines.append(f"| {tested} | {first['validation']} | {first['num_spikes']} | {' | '.join(cells)} |")
    means = [
        np.mean([row["macro_f1"] for row in results["rows"] if row["network"] == one]) for one in networks
    ]
    lines.append(f"| mean | | | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    return "\n".join(
        [
            *lines,
            "",
            "Macro F1, with the average precision of spikes; the other three channels are trained on.",
        ]
    )


def train_bundled_classifier(data: str | Path, folder: str | Path, seed: int = 0) -> Any:
    """Train the bundled classifier on the zebra finch waveforms, and write it with its score on the test channel.

    Parameters
    ----------
    data : str or Path
        With ``channel_spikes_K.npy`` and ``channel_background_K.npy``.
    folder : str or Path
        The model folder that is written; it must not be there.
    seed : int, default: 0

    Returns
    -------
    model : SpikeClassifier
    """
    from steadyspike.evaluation.spike_classification import evaluate_spike_classifier
    from steadyspike.library.models.legacy.waveforms import ZEBRA_FINCH_SOURCE
    from steadyspike.training.spike_classifier import train_spike_classifier

    train, validation, test = (load_channels(data, part) for part in (TRAIN, (VALIDATION,), (TEST,)))
    model = train_spike_classifier(*train, validation=validation, seed=seed, license_name="apache-2.0")
    scores = evaluate_spike_classifier(model, *test, repeats=1)
    tested = {key: float(getattr(scores, key)) for key in MEASURES}
    rows = "\n".join(f"| {key} | {value:.4f} |" for key, value in tested.items())
    card = (
        f"{model.card}\nOn channel {TEST}, by which nothing was chosen:\n\n| | |\n|---|---|\n{rows}\n\n"
        f"Trained on channels {', '.join(map(str, TRAIN))} of the zebra finch waveforms of {ZEBRA_FINCH_SOURCE} "
        f"(Apache-2.0), validated on channel {VALIDATION}, by `python -m steadyspike_benchmarks train-classifier`. "
        "It is for waveforms in the units, with the filter and at the sampling frequency of those recordings, which "
        "their description does not name. For other recordings, train one with `steadyspike.train_spike_classifier`.\n"
    )
    extra = {**model.config.extra, "scores": {**model.config.extra["scores"], "test": tested}}
    model = replace(model, card=card, config=model.config.model_copy(update={"extra": extra}))
    model.save(folder)
    return model


def format_classifier_table(results: dict[str, Any]) -> str:
    """Write the results as a Markdown table: means, with the spread (standard deviation) of several seeds."""
    yardstick = next(row["us_per_waveform"] for row in results["rows"] if row["name"] == YARDSTICK)
    lines = [
        f"| network | macro F1, channel {TEST} | accuracy | precision, spikes | recall, spikes | average precision | "
        f"calibration error | macro F1, channel {VALIDATION} | us per waveform | faster than the GRU |",
        "|---|" + "---:|" * 9,
    ]
    for row in results["rows"]:
        test = row["test"]
        cells = [
            *(_mean(test[key]) for key in ("macro_f1", "accuracy", "spike_precision", "spike_recall")),
            *(_mean(test[key]) for key in ("average_precision", "calibration_error")),
            _mean(row["validation"]["macro_f1"]),
            f"{row['us_per_waveform']:.3g}",
            f"{yardstick / row['us_per_waveform']:.3g}x",
        ]
        count = len(test["macro_f1"])
        name = row["name"] + (f" ({count} seeds)" if count > 1 else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    seeds = ", ".join(
        f"{row['name']}: {' '.join(f'{value:.4f}' for value in row['test']['macro_f1'])}"
        for row in results["rows"]
        if len(row["test"]["macro_f1"]) > 1
    )
    lines += ["", f"Macro F1 on channel {TEST} by seed: {seeds}." if seeds else ""]
    lines += [
        f"Trained on channels {', '.join(map(str, TRAIN))}; sizes, calibration and threshold chosen on channel "
        f"{VALIDATION}. One thread. {results['machine']['processor']}, torch {results['versions']['torch']}.",
    ]
    return "\n".join(lines)


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"
