"""Recordings with known units: simulated ones that drift, and known units added to a recording of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.simulation.drift import make_noise, simulate_drifting_recording
from steadyspike.simulation.probes import build_probe, find_probe
from steadyspike.simulation.scenarios import find_scenario
from steadyspike_benchmarks.sorting.scores import lowest_signal_to_noise, signal_to_noise

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

    from steadyspike.simulation.drift import DriftTruth

NO_NOISE_UV = 1e-9
SPIKE_RATES_HZ = (2.0, 8.0)


@dataclass(frozen=True)
class TrueUnits:
    """A recording whose units, or some of them, are known.

    Attributes
    ----------
    recording : BaseRecording
        What is corrected and sorted.
    sorting : BaseSorting
        The known units.
    all_known : bool
        Whether there are no others, so that what is found beside them is false.
    static : BaseRecording or None
        The same units and noise where nothing moves.
    spikes, static_spikes, noise : BaseRecording or None
        The parts of these recordings: spikes without noise, and noise without spikes.
    truth : DriftTruth or None
        The motion.
    """

    recording: BaseRecording
    sorting: BaseSorting
    all_known: bool
    static: BaseRecording | None = None
    spikes: BaseRecording | None = None
    static_spikes: BaseRecording | None = None
    noise: BaseRecording | None = None
    truth: DriftTruth | None = None

    @cached_property
    def snr(self) -> list[float] | None:
        """Signal-to-noise ratio of each unit, once for all treatments; None where the parts are not known."""
        if self.static_spikes is None:
            return None
        return signal_to_noise(self.static_spikes, self.noise, self.sorting)

    @cached_property
    def lowest_snr(self) -> list[float] | None:
        """The same where the unit is seen worst as it moves."""
        return None if self.spikes is None else lowest_signal_to_noise(self.spikes, self.noise, self.sorting)


@dataclass(frozen=True)
class SimulatedCase:
    """A simulated recording of the study; see `steadyspike.simulation.drift.simulate_drifting_recording`.

    Parameters
    ----------
    scenario, probe : str
        Keys of `SCENARIOS` and `PROBES`.
    seed : int
        Of the simulation.
    num_channels : int or None
        Contacts; None: the probe's usual number.
    duration_s : float
        In s.
    amplitude_um : float or None
        Largest peak-to-peak displacement; None: the scenario's.
    noise_uv : float
        Mean standard deviation of the noise, which varies by a seventh to both sides between channels.
    """

    scenario: str
    probe: str = "np1"
    seed: int = 0
    num_channels: int | None = None
    duration_s: float = 120.0
    amplitude_um: float | None = None
    noise_uv: float = 7.0

    def __post_init__(self):
        drift = find_scenario(self.scenario)
        object.__setattr__(self, "num_channels", find_probe(self.probe, self.num_channels)[1])
        if self.amplitude_um is None:
            object.__setattr__(self, "amplitude_um", drift.amplitude_um)

    @property
    def group(self) -> str:
        """What seeds are averaged over."""
        return (
            f"{self.probe}-{self.num_channels}ch-{self.scenario}-{self.amplitude_um:g}um-"
            f"{self.noise_uv:g}uV-{self.duration_s:g}s"
        )

    @property
    def name(self) -> str:
        """Of the case's results."""
        return f"{self.group}-{self.seed}"

    def make(self) -> TrueUnits:
        """Simulate the recording, lazily, and its parts."""
        levels = (self.noise_uv * 6 / 7, self.noise_uv * 8 / 7)
        noisy = self._simulate(levels)
        spikes = self._simulate((NO_NOISE_UV, NO_NOISE_UV))
        return TrueUnits(
            noisy.recording,
            noisy.sorting,
            True,
            noisy.static_recording,
            spikes.recording,
            spikes.static_recording,
            make_noise(
                build_probe(self.probe, self.num_channels),
                levels,
                self.duration_s,
                noisy.recording.sampling_frequency,
                self.seed,
            ),
            noisy.truth,
        )

    def _simulate(self, noise_levels):
        return simulate_drifting_recording(
            self.scenario,
            probe=self.probe,
            num_channels=self.num_channels,
            duration_s=self.duration_s,
            amplitude_um=self.amplitude_um,
            noise_levels=noise_levels,
            firing_rates=SPIKE_RATES_HZ,
            seed=self.seed,
        )


@dataclass(frozen=True)
class HybridCase:
    """Known units, added to a recording that SpikeInterface can load, along the motion that is estimated in it.

    Parameters
    ----------
    path : str
        A folder or file that `spikeinterface.load` takes: a saved recording or a chain.
    seed : int
        Of the units and their spikes.
    num_units : int
        How many.
    """

    path: str
    seed: int = 0
    num_units: int = 20

    @property
    def group(self) -> str:
        """What seeds are averaged over."""
        return f"hybrid-{Path(self.path).resolve().name}-{self.num_units}units"

    @property
    def name(self) -> str:
        """Of the case's results."""
        return f"{self.group}-{self.seed}"

    def make(self) -> TrueUnits:
        """Add the units, in uV where the recording has gains, along what `steady_auto` estimates."""
        import spikeinterface.full as si

        recording = si.load(self.path)
        motion = si.compute_motion(recording, preset="steady_auto", progress_bar=False)
        hybrid, sorting = si.generate_hybrid_recording(
            recording,
            motion=motion,
            generate_sorting_kwargs=dict(
                num_units=self.num_units, firing_rates=np.mean(SPIKE_RATES_HZ), seed=self.seed
            ),
            seed=self.seed,
        )
        return TrueUnits(hybrid, sorting, False)
