"""Simulated recordings for denoising: drifting units of many sizes in coloured noise, and the same without the noise.

Units and drift are those of `simulate_drifting_recording`; amplitudes are drawn anew, so that many units are
small, and each spike varies. The noise is that of `steadyspike.simulation.coloured_noise`: above 300 Hz, as after a
high-pass filter, with no low-pass; or as it was measured in a real recording, then filtered with the spikes.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.aside import folder_aside
from steadyspike.core.probe_layout import attach_probe
from steadyspike.simulation.drift import SAMPLING_FREQUENCY, build_probe, simulate_drifting_recording
from steadyspike.simulation.probes import sample_shifts

if TYPE_CHECKING:
    from spikeinterface import BaseRecording, BaseSorting

AMPLITUDES_UV, NOISE_LEVELS_UV = (15.0, 200.0), (6.0, 10.0)
AMPLITUDE_SPREAD = 0.1
MODELLED = ("measured", "varied")
NOISES = ("coloured", "white", *MODELLED)
HIGH_PASS_HZ, KNOWN_FROM_HZ = 300.0, 400.0
"""What filters measured noise and its spikes, and the frequency from which noise is known that went through it."""
SIZES = {"small": (0.0, 5.0), "medium": (5.0, 10.0), "large": (10.0, np.inf)}
"""Kinds of units: amplitude on the largest channel over that channel's noise level, from and below."""
UNIT_DTYPE = [
    ("unit_id", "U16"),
    *((name, "f8") for name in ("x_um", "y_um", "z_um", "amplitude_uV", "noise_uV", "snr")),
    ("channel", "i8"),
    ("size", "U6"),
]


@dataclass(frozen=True)
class NoisyRecording:
    """A simulated recording with the truth about it.

    `recording` and `clean`, with and without noise, are float32, in uV; lazy, or as `saved` left them; `clean` is None
    where it was not kept. `sorting` holds the true spike trains, `info` probe, seed and sizes. `units` have the fields
    "unit_id"; "x_um", "y_um", "z_um" at rest; "amplitude_uV", the mean depth of the spikes' trough on the largest
    channel at rest; "noise_uV", that channel's noise level; "snr", their ratio; "channel", its index; and "size", a
    key of `SIZES`.
    """

    recording: BaseRecording
    clean: BaseRecording | None
    sorting: BaseSorting
    units: np.ndarray
    info: dict[str, Any] = field(default_factory=dict)

    def in_memory(self) -> NoisyRecording:
        """Compute all traces once and hold them: 120 kB per second and channel, twice with `clean`."""
        from steadyspike.simulation.drift import in_memory

        clean = None if self.clean is None else in_memory(self.clean)
        return NoisyRecording(in_memory(self.recording), clean, self.sorting, self.units, self.info)

    def saved(self, folder: str | Path, *, with_clean: bool = True) -> NoisyRecording:
        """Write traces and truth into a new folder, and read them from there.

        Reading what is simulated costs about as much as training on it, so save it first.

        The folder appears when it is complete; it holds `noisy`, `clean` if wanted (SpikeInterface's binary folders)
        and `truth.npz`.
        """
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"{folder} exists already")
        with folder_aside(folder) as aside:
            parts = {"noisy": self.recording, **({"clean": self.clean} if with_clean and self.clean else {})}
            for name, recording in parts.items():
                with warnings.catch_warnings():
                    # where the traces came from cannot be written down, nor does it matter
                    warnings.filterwarnings("ignore", message=".*not serializable")
                    recording.save(
                        folder=aside / name, n_jobs=1, chunk_duration="1s", progress_bar=False, verbose=False
                    )
            spikes = self.sorting.to_spike_vector()
            np.savez(aside / "truth.npz", spikes=spikes, units=self.units, info=np.array([repr(self.info)]))
        return load_noisy_recording(folder)


def load_noisy_recording(folder: str | Path) -> NoisyRecording:
    """Load what `NoisyRecording.saved` wrote."""
    from ast import literal_eval

    from spikeinterface.core import NumpySorting, load

    folder = Path(folder)
    recording = load(folder / "noisy")
    clean = load(folder / "clean") if (folder / "clean").is_dir() else None
    with np.load(folder / "truth.npz") as stored:
        units, spikes, info = stored["units"], stored["spikes"], literal_eval(str(stored["info"][0]))
    sorting = NumpySorting(spikes, recording.sampling_frequency, units["unit_id"].astype(str))
    return NoisyRecording(recording, clean, sorting, units, info)


def simulate_noisy_recording(
    probe: str = "np1",
    *,
    num_channels: int | None = None,
    duration_s: float = 60.0,
    seed: int = 0,
    scenario: str = "random_walk",
    amplitude_um: float = 20.0,
    num_units: int | None = None,
    amplitudes_uV: tuple[float, float] = AMPLITUDES_UV,
    noise_levels_uV: tuple[float, float] = NOISE_LEVELS_UV,
    firing_rates: tuple[float, float] = (1.0, 10.0),
    noise: str = "coloured",
    sampling_frequency: float = SAMPLING_FREQUENCY,
) -> NoisyRecording:
    """Simulate a recording with and without noise.

    `probe` and `scenario` are keys of `steadyspike.simulation.drift.PROBES` and `SCENARIOS`. There are `num_channels`
    contacts from the tip upwards, by default the probe's usual number, 128 for "np1" and "np2", and by default 0.6
    units for each contact of most probes. The recording lasts at least 2 s. The largest peak-to-peak displacement is
    `amplitude_um`; 0: still. `seed` is that of positions, templates, amplitudes, spike trains, noise and drift.

    The units' amplitudes on their largest channel are drawn evenly on a log scale, half of the default below 55 uV;
    each spike varies around its unit's by 10 % (standard deviation). The channels' noise standard deviations are drawn
    evenly. `firing_rates` is the range of the units' means in Hz. "coloured" noise is correlated in space and time
    (`steadyspike.simulation.coloured_noise`), "white" in space only, as SpikeInterface's generators make it
    (`steadyspike.simulation.noise`). "measured" is as fitted to a real Neuropixels 2.0 recording
    (`steadyspike.simulation.noise_model`), of these levels before spikes and noise go through a highpass of 300 Hz;
    "varied" has other colours around it, drawn by the seed, and if that is odd its channels are sampled in turn, as the
    converters of Neuropixels probes do, and that is left uncorrected.

    Traces are made when they are read, the same whatever the chunks, to the rounding of float32. Unknown scenarios or
    probes, and sizes out of range, are refused.
    """
    from spikeinterface.generation.drift_tools import InjectDriftingTemplatesRecording

    for name, (low, high) in (("amplitudes_uV", amplitudes_uV), ("noise_levels_uV", noise_levels_uV)):
        if not 0 < low <= high:
            raise ValueError(f"{name}=({low}, {high}) must be above 0, the smaller first")
    if noise not in NOISES:
        raise ValueError(f"noise={noise!r} is not known; allowed: {', '.join(NOISES)}")
    drifting = simulate_drifting_recording(
        scenario,
        probe=probe,
        num_channels=num_channels,
        duration_s=duration_s,
        num_units=num_units,
        seed=seed,
        amplitude_um=amplitude_um,
        sampling_frequency=sampling_frequency,
        firing_rates=firing_rates,
    )
    built_probe = build_probe(probe, num_channels)
    rng = np.random.default_rng((seed, 2))
    levels = rng.uniform(*noise_levels_uV, size=built_probe.get_contact_count())
    alone = _make_noise(
        noise, probe, built_probe, levels, drifting.recording.get_num_samples(), sampling_frequency, seed
    )
    parts = dict(drifting.recording._kwargs)
    units = _draw_amplitudes(drifting, parts["drifting_templates"], levels, amplitudes_uV, rng)
    spikes = drifting.sorting.to_spike_vector()
    raw = _troughs(parts["drifting_templates"]).max(axis=1)
    factors = (units["amplitude_uV"] / raw)[spikes["unit_index"]]
    factors = factors * rng.normal(1.0, AMPLITUDE_SPREAD, spikes.size).clip(0.5, 1.5)
    parts |= dict(amplitude_factor=factors.astype("float32"))
    noisy = InjectDriftingTemplatesRecording(**{**parts, "parent_recording": alone})
    silent = dict(parent_recording=None, num_samples=[alone.get_num_samples()])
    clean = InjectDriftingTemplatesRecording(**{**parts, **silent}).astype("float32")
    clean = clean.rename_channels(noisy.channel_ids)
    if noise in MODELLED:
        shifts = sample_shifts(probe, num_channels) if noise == "varied" and seed % 2 else None
        noisy, clean = (_as_recorded(one, shifts) for one in (noisy, clean))
    for recording in (noisy, clean):
        recording.set_channel_gains(1.0)
        recording.set_channel_offsets(0.0)
    info = {
        **drifting.info,
        "noise": noise,
        "noise_levels_uV": list(noise_levels_uV),
        "amplitudes_uV": list(amplitudes_uV),
    }
    return NoisyRecording(noisy, clean, drifting.sorting, units, info)


def _make_noise(
    kind: str,
    name: str,
    probe: Any,
    levels: np.ndarray,
    num_samples: int,
    sampling_frequency: float,
    seed: int,
) -> BaseRecording:
    from steadyspike.simulation.coloured_noise import ColouredNoiseRecording
    from steadyspike.simulation.modelled_noise import ModelledNoiseRecording
    from steadyspike.simulation.noise import CorrelatedNoiseRecording
    from steadyspike.simulation.noise_model import measured_noise

    noise: BaseRecording
    if kind in MODELLED:
        model = measured_noise()
        if sampling_frequency != model.sampling_frequency:
            raise ValueError(
                f"sampling_frequency={sampling_frequency} must be {model.sampling_frequency:g} with {kind!r} noise"
            )
        if kind == "varied":
            model = model.varied(np.random.default_rng((seed, 5)))
        turns = np.unique(sample_shifts(name, levels.size), return_inverse=True)[1]
        shanks = None if probe.shank_ids is None else np.unique(probe.shank_ids, return_inverse=True)[1]
        noise = ModelledNoiseRecording(
            *(
                probe.contact_positions,
                levels,
                num_samples,
                model.flat_below(KNOWN_FROM_HZ),
                shanks,
                turns,
                seed,
            )
        )
    else:
        made: Any = {"coloured": ColouredNoiseRecording, "white": CorrelatedNoiseRecording}[kind]
        noise = made(probe.contact_positions, levels, num_samples, sampling_frequency, seed=seed)
    attach_probe(noise, probe)
    return noise


def _as_recorded(recording: BaseRecording, shifts: np.ndarray | None) -> BaseRecording:
    """Sample channels in turn, if there are shifts, and filter as recordings are filtered before denoising."""
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.phase_shift import phase_shift

    if shifts is not None:
        recording = phase_shift(recording, inter_sample_shift=-shifts)
    return bandpass_filter(recording, freq_min=HIGH_PASS_HZ, freq_max=None, dtype="float32")


def _troughs(templates: Any) -> np.ndarray:
    """Depth of the units' troughs at rest, of shape (num_units, num_channels)."""
    rest = np.abs(templates.displacements).sum(axis=1).argmin()
    return -templates.templates_array_moved[rest].min(axis=1)


def _draw_amplitudes(
    drifting: Any,
    templates: Any,
    levels: np.ndarray,
    amplitudes_uV: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    troughs = _troughs(templates)
    units = np.zeros(len(troughs), dtype=UNIT_DTYPE)
    units["unit_id"] = drifting.sorting.unit_ids
    for axis, name in enumerate(("x_um", "y_um", "z_um")):
        units[name] = drifting.unit_locations[:, axis]
    units["channel"] = troughs.argmax(axis=1)
    units["amplitude_uV"] = np.exp(
        rng.uniform(np.log(amplitudes_uV[0]), np.log(amplitudes_uV[1]), size=len(troughs))
    )
    units["noise_uV"] = levels[units["channel"]]
    units["snr"] = units["amplitude_uV"] / units["noise_uV"]
    for name, (least, below) in SIZES.items():
        units["size"][(units["snr"] >= least) & (units["snr"] < below)] = name
    return units
