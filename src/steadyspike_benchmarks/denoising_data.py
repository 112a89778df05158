"""Recordings and the linear baseline that the benchmarks of denoising share; made once and kept in a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steadyspike.simulation.noisy import (
    NOISE_LEVELS_UV,
    NOISES,
    NoisyRecording,
    load_noisy_recording,
    simulate_noisy_recording,
)
from steadyspike.simulation.probes import find_probe

LEAST_DURATION_S = 2.0
RIDGE_TAPS, RIDGE_ROWS, RIDGE_FRAMES = 10, 500_000, 256


@dataclass(frozen=True)
class NoisyCase:
    """One simulated recording.

    Parameters
    ----------
    probe : str
        A key of `steadyspike.simulation.drift.PROBES`.
    seed : int
        Of everything in it.
    num_channels : int or None, default: None
        Contacts; None: the probe's usual number.
    duration_s : float, default: 60.0
        At least 2 s.
    noise_factor : float, default: 1.0
        On the noise levels of all channels; above 0.
    clean : bool, default: True
        Whether the traces without noise are kept too.
    noise : {"coloured", "white"}, default: "coloured"
        As `simulate_noisy_recording` has it.
    """

    probe: str
    seed: int
    num_channels: int | None = None
    duration_s: float = 60.0
    noise_factor: float = 1.0
    clean: bool = True
    noise: str = "coloured"

    def __post_init__(self):
        object.__setattr__(self, "num_channels", find_probe(self.probe, self.num_channels)[1])
        object.__setattr__(self, "duration_s", float(self.duration_s))
        for name, value, least in (
            ("duration_s", self.duration_s, LEAST_DURATION_S),
            ("noise_factor", self.noise_factor, 1e-6),
        ):
            if not least <= value < float("inf"):
                raise ValueError(f"{name}={value} must be at least {least:g}")
        if self.noise not in NOISES:
            raise ValueError(f"noise={self.noise!r} is not known; allowed: {', '.join(NOISES)}")
        if self.seed < 0:
            raise ValueError(f"seed={self.seed} must not be negative")

    @property
    def name(self) -> str:
        """What its folder is called."""
        noise = "" if self.noise == "coloured" else f"-{self.noise}"
        noise += "" if self.noise_factor == 1 else f"-noise{self.noise_factor:g}"
        end = "" if self.clean else "-noisy"
        return f"{self.probe}-{self.num_channels}ch-{self.duration_s:g}s-{self.seed}{noise}{end}"

    def load(self, folder: str | Path) -> NoisyRecording:
        """Load it from `recordings` in a folder; simulate and save it there first if it is not."""
        place = Path(folder) / "recordings" / self.name
        return (
            load_noisy_recording(place)
            if place.is_dir()
            else self.simulate().saved(place, with_clean=self.clean)
        )

    def simulate(self) -> NoisyRecording:
        """Simulate it; lazy."""
        low, high = NOISE_LEVELS_UV
        return simulate_noisy_recording(
            self.probe,
            num_channels=self.num_channels,
            duration_s=self.duration_s,
            seed=self.seed,
            noise_levels_uV=(low * self.noise_factor, high * self.noise_factor),
            noise=self.noise,
        )


def training_cases(
    probe: str, seed: int, number: int, num_channels: int | None, duration_s: float, noise: str = "coloured"
) -> list[NoisyCase]:
    """List the recordings to train on for a test recording: none has a seed that a test recording could have."""
    if number < 1:
        raise ValueError(f"train_recordings={number} must be at least 1")
    seeds = [1000 * (seed + 1) + index for index in range(number)]
    return [NoisyCase(probe, one, num_channels, duration_s, clean=False, noise=noise) for one in seeds]


def train_ridge(recordings: Sequence[Any], folder: str | Path, *, seed: int = 0) -> Any:
    """Fit the linear interpolator on all of some recordings, and save it as a model.

    It sees 10 samples on each side beyond an omission of 1, on its unit of contacts and the neighbouring ones.

    Parameters
    ----------
    recordings : sequence of BaseRecording
        Of one layout type.
    folder : str or Path
        New model folder.
    seed : int, default: 0
        Of the windows that are read, 500,000 samples times units in all.

    Returns
    -------
    model : DeepInterpolationModel

    Raises
    ------
    ValueError
        If no unit of the probe has all its contacts, or recordings are too short.
    """
    from steadyspike.core.stretches import segments_of
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, config_of
    from steadyspike.library.models.folder import load_model
    from steadyspike.training.baseline import fit_ridge
    from steadyspike.training.windows import Source, Windows

    sources = [Source.of(recording, "lattice", "channel") for recording in recordings]
    layout = sources[0].layout
    unit = layout.type.unit
    context = (RIDGE_TAPS + 1, RIDGE_TAPS + 1)
    windows = Windows(sources, segments_of(recordings), context, RIDGE_FRAMES, seed=seed)
    units = max(1, layout.mask.size // (len(unit) * len(unit[0])))
    wanted = -(-RIDGE_ROWS // (windows.batch_size * windows.frames * units))
    ridge = fit_ridge(unit, context, 1, windows.stream(0, wanted))
    if ridge is None:
        raise ValueError("recordings have a missing contact in every unit of the probe's pattern")
    config = config_of(ridge, layout.type, recordings[0].get_sampling_frequency())
    DeepInterpolationModel(ridge, config).save(folder)
    return load_model(folder)
