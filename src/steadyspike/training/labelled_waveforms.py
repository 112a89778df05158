"""Waveforms with labels: checked, held out, and varied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from steadyspike.library.models.waveforms import as_waveforms

HELD_OUT = 0.2
LEAST = 2
"""Waveforms of each class that training, and validation, need."""


@dataclass(frozen=True, eq=False)
class LabelledWaveforms:
    """Waveforms (num_waveforms, num_samples, num_channels), whether each is a spike, and both labels."""

    waveforms: np.ndarray
    is_spike: np.ndarray
    classes: tuple[Any, Any]

    def chosen(self, which: np.ndarray) -> LabelledWaveforms:
        """Return some of them."""
        return LabelledWaveforms(self.waveforms[which], self.is_spike[which], self.classes)


def take(
    waveforms: Any, labels: Any, name: str = "", classes: tuple[Any, Any] | None = None
) -> LabelledWaveforms:
    """Check waveforms and labels.

    They are as `steadyspike.train_spike_classifier` takes them. `name`, such as "validation ", is said before what is
    wrong; `classes` are the two labels that there may be, None: those that there are. Raises `ValueError` if they do
    not fit each other, or there are not two labels with two waveforms each.
    """
    waveforms, labels = as_waveforms(waveforms, f"{name}waveforms"), np.asarray(labels)
    if labels.shape != waveforms.shape[:1]:
        raise ValueError(
            f"{name}labels have shape {labels.shape}; allowed: {waveforms.shape[:1]}, one for each waveform"
        )
    present, counts = np.unique(labels, return_counts=True)
    if classes is None and (len(present) != 2 or labels.dtype.kind not in "biuU"):
        raise ValueError(
            f"{name}labels have the values {present[:5].tolist()}; allowed: two different whole numbers or texts"
        )
    known = present if classes is None else np.array(classes)
    strange = present[~np.isin(present, known)]
    if len(strange):
        raise ValueError(f"{name}labels have the value {strange[0].item()!r}; allowed: {known.tolist()}")
    if len(present) < 2 or counts.min() < LEAST:
        raise ValueError(f"{name}labels need at least {LEAST} waveforms of each class, {known.tolist()}")
    return LabelledWaveforms(waveforms, labels == known[1], (known[0].item(), known[1].item()))


def split(
    labelled: LabelledWaveforms, validation: tuple[Any, Any] | None, seed: int
) -> tuple[LabelledWaveforms, LabelledWaveforms]:
    """Return what is trained on and what is held out: as given, or a fifth of each class."""
    if validation is not None:
        held_out = take(*validation, name="validation ", classes=labelled.classes)
        if held_out.waveforms.shape[1:] != labelled.waveforms.shape[1:]:
            raise ValueError(
                f"validation waveforms have samples and channels {held_out.waveforms.shape[1:]}; "
                f"allowed: {labelled.waveforms.shape[1:]}, as the others"
            )
        return labelled, held_out
    rng = np.random.default_rng([seed, 0])
    held = np.zeros(len(labelled.is_spike), bool)
    for kind in (False, True):
        members = np.flatnonzero(labelled.is_spike == kind)
        number = max(LEAST, round(HELD_OUT * len(members)))
        if len(members) - number < LEAST:
            raise ValueError(
                f"labels have {len(members)} waveforms of {labelled.classes[int(kind)]!r}, too few to hold some "
                f"out; allowed: {2 * LEAST} or more, or pass validation"
            )
        held[rng.choice(members, number, replace=False)] = True
    return labelled.chosen(~held), labelled.chosen(held)


def usual_peak(labelled: LabelledWaveforms) -> int:
    """Return the sample at which most spikes have their largest absolute value on any channel."""
    spikes = np.abs(np.nan_to_num(labelled.waveforms[labelled.is_spike])).max(axis=2)
    return int(np.bincount(spikes.argmax(axis=1)).argmax())


def vary(
    waveforms: np.ndarray,
    noise_waveforms: np.ndarray,
    rng: np.random.Generator,
    noise: float,
    amplitude_jitter: float,
) -> np.ndarray:
    """Return standardized waveforms with noise added, and scaled at random.

    `noise_waveforms` are what may be added, without its mean, float32 and in shape (number, num_samples, num_channels)
    as the waveforms. `noise` is the largest factor on it, of random sign, and `amplitude_jitter` the standard deviation
    of the logarithm of the factor on the waveforms.
    """
    number = len(waveforms)
    if amplitude_jitter:
        factors = np.exp(amplitude_jitter * rng.standard_normal((number, 1, 1)))
        waveforms = waveforms * factors.astype("float32")
    if noise and len(noise_waveforms):
        added = noise_waveforms[rng.integers(len(noise_waveforms), size=number)]
        waveforms = waveforms + added * rng.uniform(-noise, noise, (number, 1, 1)).astype("float32")
    return waveforms


def quiet_noise(waveforms: np.ndarray) -> np.ndarray:
    """Return the weaker half of the noise class without its mean; the stronger one may hold spikes unseen."""
    if not len(waveforms):
        return waveforms
    strength = waveforms.std(axis=(1, 2))
    weak = waveforms[strength <= np.median(strength)]
    return weak - weak.mean(axis=0)
