"""How a classifier of waveforms is trained, chosen and calibrated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import exp, inf
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from steadyspike.core.environment import versions
from steadyspike.library.models.config import NetworkConfig
from steadyspike.library.models.inference import torch_threads
from steadyspike.library.models.waveforms import SpikeClassifier, SpikeClassifierConfig, standardize
from steadyspike.networks import make_network
from steadyspike.training.cards import classifier_card
from steadyspike.training.decisions import choose_threshold, classification_scores, fit_calibration
from steadyspike.training.labelled_waveforms import LabelledWaveforms, quiet_noise, vary
from steadyspike.training.loop import StepLoss, own_random_numbers
from steadyspike.training.spike_classifier_settings import SpikeClassifierTraining
from steadyspike.training.tasks import Epochs

COMPONENTS = (5, 8, 12, 20)
SHRINKAGES = (0.1, 0.3, 1.0, 3.0)
WEIGHT_DECAY = 1e-2


@dataclass(frozen=True, eq=False)
class ClassifierRun:
    """One training: what is trained on, what is held out, the name of the network, and how."""

    training: LabelledWaveforms
    held_out: LabelledWaveforms
    network: str
    settings: SpikeClassifierTraining

    def carry_out(self, nbefore: int, validation: str) -> SpikeClassifier:
        """Train, choose, calibrate; return the model with its card, which says where `validation` is from."""
        settings = self.settings
        begun = time.perf_counter()
        waveforms = self.training.waveforms
        finite = waveforms[np.isfinite(waveforms)] if waveforms.dtype.kind == "f" else waveforms
        mean, scale = float(finite.mean(dtype="float64")), float(finite.std(dtype="float64"))
        if not scale > 0:
            raise ValueError("waveforms are all alike; allowed: some that vary")
        train = standardize(waveforms, mean, scale)
        test = torch.from_numpy(standardize(self.held_out.waveforms, mean, scale))
        # networks this small are slower on several threads
        with own_random_numbers(settings.optimizer.seed), torch_threads(1):
            choose = self._fit if self.network == "waveform_discriminant" else self._descend
            found, notes = choose(train, test)
            log_odds = _log_odds(found, test)
            decided, truth = log_odds, self.held_out.is_spike
            if settings.decide_on == "all":
                decided = np.concatenate([decided, _log_odds(found, torch.from_numpy(train))])
                truth = np.concatenate([truth, self.training.is_spike])
        temperature, bias = fit_calibration(decided, truth)
        threshold, _ = choose_threshold((decided + bias) / temperature, truth, settings.spike_fractions)
        log_odds = (log_odds + bias) / temperature
        scores = classification_scores(self.held_out.is_spike, log_odds >= threshold, log_odds)
        notes |= {"seed": settings.optimizer.seed, "elapsed_s": round(time.perf_counter() - begun, 2)}
        notes |= {"decide_on": settings.decide_on, "validation": validation}
        notes |= {"noise": settings.noise, "amplitude_jitter": settings.amplitude_jitter}
        extra: dict[str, Any] = {
            "training": {**notes, "spike_fractions": list(settings.spike_fractions or ()) or None},
            "data": {"training": _counts(self.training), "validation": _counts(self.held_out)},
            "scores": {"validation": scores},
            "data_license": settings.data_license,
            "versions": versions(),
        }
        config = SpikeClassifierConfig(
            network=NetworkConfig(name=self.network, sizes=found.sizes),
            num_samples=waveforms.shape[1],
            num_channels=waveforms.shape[2],
            mean=mean,
            scale=scale,
            classes=self.training.classes,
            temperature=temperature,
            bias=bias,
            threshold=min(max(1 / (1 + exp(-threshold)), 1e-9), 1 - 1e-9),
            spike_fraction=float(truth.mean()),
            extra=extra,
            nbefore=nbefore,
            sampling_frequency=settings.sampling_frequency,
            unit=settings.unit,
        )
        return SpikeClassifier(found.eval(), config, classifier_card(config, settings.license_name))

    def _sizes(self) -> dict[str, Any]:
        shape = self.training.waveforms.shape
        return {"num_samples": shape[1], "num_channels": shape[2]}

    def weights(self) -> np.ndarray:
        """Weights of the training waveforms, 1 on average."""
        is_spike = self.training.is_spike
        if self.settings.class_weight is None:
            return np.ones(len(is_spike), "float32")
        share = is_spike.mean()
        return np.where(is_spike, 0.5 / share, 0.5 / (1 - share)).astype("float32")

    def score(self, network: nn.Module, test: Tensor) -> float:
        """Give the macro F1 on the held-out waveforms at the best threshold."""
        fractions = self.settings.spike_fractions
        return choose_threshold(_log_odds(network, test), self.held_out.is_spike, fractions)[1]

    def _fit(self, train: np.ndarray, test: Tensor) -> tuple[Any, dict[str, Any]]:
        """Fit discriminants to waveforms drawn with replacement, with noise added; keep the best one."""
        settings = self.settings
        rng = np.random.default_rng([settings.optimizer.seed, 1])
        quiet = quiet_noise(train[~self.training.is_spike])
        of_kind = [np.flatnonzero(self.training.is_spike == kind) for kind in (False, True)]
        drawn = np.concatenate([rng.choice(members, size=members.size) for members in of_kind])
        varied = torch.from_numpy(vary(train[drawn], quiet, rng, settings.noise, settings.amplitude_jitter))
        kinds = torch.from_numpy(self.training.is_spike[drawn].astype("int64"))
        weights = torch.from_numpy(self.weights()[drawn])
        best, best_score, notes = None, -inf, {}
        for network, shrinkage in self._candidates():
            network.fit(varied, kinds, weights, shrinkage)
            score = self.score(network, test)
            if score > best_score:
                best, best_score, notes = network, score, {"shrinkage": shrinkage}
        return best, notes

    def _candidates(self) -> Iterator[tuple[Any, float]]:
        kwargs = dict(self.settings.network.kwargs or {})
        shrinkage = kwargs.pop("shrinkage", None)
        if shrinkage is not None and not shrinkage > 0:
            raise ValueError(
                f"{self.settings.part}: network_kwargs: shrinkage={shrinkage}; allowed: a number > 0"
            )
        inputs = int(np.prod(self.training.waveforms.shape[1:]))
        chosen = kwargs.pop("components", None)
        components = sorted({min(c, inputs) for c in COMPONENTS}) if chosen is None else [chosen]
        for number in components:
            for added in SHRINKAGES if shrinkage is None else (shrinkage,):
                yield make_network(self.network, {**self._sizes(), "components": number, **kwargs}), added

    def _descend(self, train: np.ndarray, test: Tensor) -> tuple[Any, dict[str, Any]]:
        """Train by AdamW; keep the epoch with the largest score."""
        settings = self.settings
        network: Any = make_network(self.network, {**self._sizes(), **(settings.network.kwargs or {})})
        task = _Classification(network, train, self, test)
        return network, task.fit(WEIGHT_DECAY, least_rate=1.0)[1]


class _Classification(Epochs):
    """Tell spikes from noise; each epoch adds other noise to the waveforms."""

    def __init__(self, network: nn.Module, train: np.ndarray, run: ClassifierRun, test: Tensor) -> None:
        optimizer = run.settings.optimizer
        super().__init__(network, len(train), optimizer, np.random.default_rng([optimizer.seed, 1]))
        self.train, self.run, self.test = train, run, test
        self.quiet = quiet_noise(train[~run.training.is_spike])
        self.kinds = torch.from_numpy(run.training.is_spike.astype("int64"))
        self.weights = torch.from_numpy(run.weights())

    def values(self) -> Tensor:
        """Return the waveforms with noise added."""
        settings = self.run.settings
        return torch.from_numpy(
            vary(self.train, self.quiet, self.rng, settings.noise, settings.amplitude_jitter)
        )

    def loss(self, network: Any, batch: tuple[Tensor, Tensor]) -> StepLoss:
        """Measure the weighted cross-entropy."""
        values, chosen = batch
        losses = functional.cross_entropy(network(values[chosen]), self.kinds[chosen], reduction="none")
        return StepLoss((losses * self.weights[chosen]).mean())

    def held_out_loss(self) -> float:
        """Return the macro F1 on the held-out waveforms, of which more is better, with another sign."""
        return -self.run.score(self.network, self.test)


def _log_odds(network: nn.Module, waveforms: Tensor) -> np.ndarray:
    with torch.inference_mode():
        logits = network.eval()(waveforms).double().numpy()
    return logits[:, 1] - logits[:, 0]


def _counts(labelled: LabelledWaveforms) -> dict[str, int]:
    spikes = int(labelled.is_spike.sum())
    return {"noise": len(labelled.is_spike) - spikes, "spikes": spikes}
