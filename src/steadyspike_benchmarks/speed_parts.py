"""The pairs that the speed benchmark compares: a part of SpikeInterface and ours that does the same."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

BAND = dict(freq_min=300.0, freq_max=6000.0)
KRIGING = dict(border_mode="force_extrapolate", spatial_interpolation_method="kriging", sigma_um=20.0, p=2)
DETECTION = dict(
    method="locally_exclusive", peak_sign="neg", detect_threshold=8.0, exclude_sweep_ms=0.8, radius_um=80.0
)
ONE_JOB = dict(n_jobs=1, chunk_duration="1s", progress_bar=False)
CONVERTER_STEP_UV = 2.34375
MOST_UNITS = 500  # their displaced templates lie in memory
MOST_PEAKS = 3_000
"""Peaks to localize; SpikeInterface takes some ms for each."""
PEAKS_PER_CHANNEL_AND_S = 5.0
ESTIMATION_S = 100.0
COMPARED_S = 3.0
EDGE_S = 0.1
"""What is not compared at either end, where SpikeInterface's phase_shift takes a recording for 0 beyond it."""


@dataclass(frozen=True)
class Pair:
    """Two functions that do the same.

    Parameters
    ----------
    upstream, steady : callable
        Do the whole job and return something for `compare`.
    upstream_name, steady_name : str
        What they are called in SpikeInterface.
    warm_up : callable
        Runs a little of both, so that compilation is over.
    compare : callable
        Turns what both returned into further entries of the row, "agreement" among them.
    threaded : callable or None
        The second one with all cores.
    around : callable
        Called with "upstream", "steady" or "threaded" for a context in which that one is run.
    """

    upstream: Callable[[], Any]
    steady: Callable[[], Any]
    upstream_name: str
    steady_name: str
    warm_up: Callable[[], None]
    compare: Callable[[Any, Any], dict[str, Any]] = lambda upstream, steady: {}
    threaded: Callable[[], Any] | None = None
    around: Callable[[str], AbstractContextManager[Any]] = lambda side: nullcontext()


@dataclass(frozen=True)
class Data:
    """A simulated recording in memory.

    Parameters
    ----------
    num_channels : int
        Contacts of a Neuropixels 1.0 probe.
    duration_s : float
        In s.
    dtype : str
        "float32" in uV, or "int16" in steps of the converter.
    seed : int
        Of the simulation.
    """

    num_channels: int
    duration_s: float
    dtype: str
    seed: int

    @cached_property
    def simulated(self) -> Any:
        """The simulation, with its truth."""
        from steadyspike.simulation.drift import simulate_drifting_recording

        return simulate_drifting_recording(
            "nonrigid_gradient",
            num_channels=self.num_channels,
            duration_s=self.duration_s,
            # the density of SpikeInterface's own default drifting recording: 250 units on 128 channels
            num_units=min(2 * self.num_channels, MOST_UNITS),
            amplitude_um=20.0,
            seed=self.seed,
        )

    @cached_property
    def raw(self) -> BaseRecording:
        """The recording as an array in memory."""
        from spikeinterface.core import NumpyRecording

        lazy = self.simulated.recording
        traces = np.empty((lazy.get_num_samples(), self.num_channels), dtype=self.dtype)
        for start, stop in _chunks(lazy):
            chunk = lazy.get_traces(start_frame=start, end_frame=stop)
            traces[start:stop] = chunk if self.dtype == "float32" else np.round(chunk / CONVERTER_STEP_UV)
        recording = NumpyRecording([traces], lazy.sampling_frequency)
        recording.set_probe(lazy.get_probe())
        recording.set_channel_gains(1.0 if self.dtype == "float32" else CONVERTER_STEP_UV)
        recording.set_channel_offsets(0.0)
        # as the converters of a Neuropixels 1.0 probe take their channels
        recording.set_property("inter_sample_shift", np.arange(self.num_channels) // 2 % 12 / 13)
        return recording


def bandpass_pair(data: Data) -> Pair:
    """Bandpass from the raw samples to float32."""
    import spikeinterface.full as si

    import steadyspike

    return _node_pair(
        si.bandpass_filter(data.raw, dtype="float32", **BAND),
        steadyspike.bandpass_filter(data.raw, dtype="float32", **BAND),
        "bandpass_filter",
        "steady_bandpass_filter",
    )


def reference_pair(data: Data) -> Pair:
    """Median over all channels, subtracted from the raw samples."""
    import spikeinterface.full as si

    import steadyspike

    return _node_pair(
        si.common_reference(data.raw, dtype="float32"),
        steadyspike.common_reference(data.raw, dtype="float32"),
        "common_reference",
        "steady_common_reference",
    )


def phase_shift_pair(data: Data) -> Pair:
    """Channels that are sampled in turns made simultaneous; in float32 from the raw samples."""
    import spikeinterface.full as si

    import steadyspike

    return _node_pair(
        si.phase_shift(data.raw, dtype="float32"),
        steadyspike.phase_shift(data.raw, dtype="float32"),
        "phase_shift",
        "steady_phase_shift",
        seen_through=lambda node: si.bandpass_filter(node, **BAND),
        edge_s=EDGE_S,
    )


def front_pair(data: Data) -> Pair:
    """The commonest chain: phase shift, bandpass, median reference."""
    import spikeinterface.full as si

    import steadyspike

    upstream = _filtered(si.phase_shift(data.raw), ours=False)
    steady = _filtered(steadyspike.phase_shift(data.raw), ours=True)
    return _node_pair(upstream, steady, "three chained", "three chained", edge_s=EDGE_S)


def chained_pair(data: Data) -> Pair:
    """Bandpass, then reference."""
    upstream, steady = _filtered(data.raw, ours=False), _filtered(data.raw, ours=True)
    return _node_pair(upstream, steady, "both chained", "both chained")


def interpolate_pair(data: Data) -> Pair:
    """Kriging of all channels with the true motion."""
    from spikeinterface.sortingcomponents.motion.motion_interpolation import InterpolateMotionRecording

    import steadyspike
    from steadyspike.simulation.truth import true_motion

    times = np.arange(0.5, data.duration_s)
    motion = true_motion(data.simulated, times, np.linspace(*data.simulated.depth_range_um, 5))
    return _node_pair(
        InterpolateMotionRecording(data.raw, motion, **KRIGING),
        steadyspike.interpolate_motion(data.raw, motion, **KRIGING),
        "interpolate_motion",
        "steady_interpolate_motion",
    )


def localize_pair(data: Data) -> Pair:
    """Localize the first `MOST_PEAKS` peaks of the filtered recording."""
    import spikeinterface.full as si
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks

    recording = _in_memory(_filtered(data.raw, ours=True))
    noise_levels = si.get_noise_levels(recording, return_in_uV=False)
    peaks = detect_peaks(
        recording, method_kwargs={**DETECTION, "noise_levels": noise_levels}, job_kwargs=ONE_JOB
    )
    peaks = peaks[:MOST_PEAKS]
    # only the stretch that holds them, so that reading is no part of the matter
    last = int(peaks["sample_index"].max(initial=0)) + 1000
    recording = recording.frame_slice(0, min(last, recording.get_num_samples()))

    def localize(method: str, number: int | None = None) -> np.ndarray:
        return localize_peaks(recording, peaks[:number], method_kwargs={"method": method}, job_kwargs=ONE_JOB)

    def warm_up() -> None:
        localize("steady_monopolar", 5)
        localize("monopolar_triangulation", 5)

    def compare(upstream: np.ndarray, steady: np.ndarray) -> dict[str, Any]:
        # which of two is nearer to the truth, `monopoles` tells
        apart_um = np.hypot(upstream["x"] - steady["x"], upstream["y"] - steady["y"])
        middle, high = (float(one) for one in np.percentile(apart_um, [50, 95])) if len(peaks) else (0.0, 0.0)
        return {
            "num_peaks": len(peaks),
            "median_um": middle,
            "agreement": f"half of {len(peaks)} peaks within {middle:.2g} um, 95 % within {high:.2g} um",
        }

    return Pair(
        upstream=lambda: localize("monopolar_triangulation"),
        steady=lambda: localize("steady_monopolar"),
        upstream_name="monopolar_triangulation",
        steady_name="steady_monopolar",
        warm_up=warm_up,
        compare=compare,
    )


def estimate_pair(data: Data) -> Pair:
    """Non-rigid decentralized registration of simulated peaks, `ESTIMATION_S` long."""
    from spikeinterface.sortingcomponents.motion import estimate_motion

    from steadyspike_benchmarks.simulated_peaks import simulate_peaks

    def estimate(method: str, peaks_of: Any) -> Any:
        return estimate_motion(
            peaks_of.recording, peaks_of.peaks, peaks_of.peak_locations, method=method, rigid=False
        )

    rate_hz = PEAKS_PER_CHANNEL_AND_S * data.num_channels
    long = simulate_peaks(data.num_channels, ESTIMATION_S, rate_hz, seed=data.seed)
    short = simulate_peaks(data.num_channels, 5.0, rate_hz, seed=data.seed)

    def warm_up() -> None:
        estimate("decentralized", short)
        estimate("steady_decentralized", short)

    def compare(upstream: Any, steady: Any) -> dict[str, Any]:
        theirs, ours = (long.mean_error_um(motion) for motion in (upstream, steady))
        return {
            "num_peaks": len(long.peaks),
            "upstream_error_um": theirs,
            "steady_error_um": ours,
            "agreement": f"mean error {theirs:.2f} / {ours:.2f} um, {len(long.peaks)} peaks",
        }

    return Pair(
        upstream=lambda: estimate("decentralized", long),
        steady=lambda: estimate("steady_decentralized", long),
        upstream_name="decentralized",
        steady_name="steady_decentralized",
        warm_up=warm_up,
        compare=compare,
    )


PARTS: dict[str, Callable[[Data], Pair]] = {
    "bandpass": bandpass_pair,
    "reference": reference_pair,
    "phase": phase_shift_pair,
    "front": front_pair,
    "chained": chained_pair,
    "interpolate": interpolate_pair,
    "localize": localize_pair,
    "estimate": estimate_pair,
}


def whole_pair(data: Data) -> Pair:
    """From the raw recording through filters and `correct_motion` to the corrected recording read once."""
    import spikeinterface.full as si

    from steadyspike.simulation.truth import motion_error

    def correct(ours: bool, recording: BaseRecording) -> Any:
        preset = "steady_nonrigid" if ours else "nonrigid_accurate"
        corrected, info = si.correct_motion(
            _filtered(recording, ours), preset=preset, output_motion_info=True, **ONE_JOB
        )
        read_in_chunks(corrected)
        return info

    def warm_up() -> None:
        short = data.raw.frame_slice(0, int(4 * data.raw.sampling_frequency))
        correct(True, short)

    def compare(upstream: Any, steady: Any) -> dict[str, Any]:
        theirs, ours = (
            float(np.abs(motion_error(data.simulated, info["motion"])).mean()) for info in (upstream, steady)
        )
        return {
            "num_peaks": len(steady["peaks"]),
            "duration_s": data.duration_s,
            "upstream_steps_s": upstream["run_times"],
            "steady_steps_s": steady["run_times"],
            "upstream_error_um": theirs,
            "steady_error_um": ours,
            "agreement": f"mean error {theirs:.2f} / {ours:.2f} um, {data.duration_s:g} s of data",
        }

    return Pair(
        upstream=lambda: correct(False, data.raw),
        steady=lambda: correct(True, data.raw),
        upstream_name="nonrigid_accurate",
        steady_name="steady_nonrigid",
        warm_up=warm_up,
        compare=compare,
    )


def read_in_chunks(recording: BaseRecording) -> None:
    """Compute every sample of a recording once, 1 s at a time, and keep none."""
    for start, stop in _chunks(recording):
        recording.get_traces(start_frame=start, end_frame=stop)


def _chunks(recording: BaseRecording) -> list[tuple[int, int]]:
    step, total = int(recording.sampling_frequency), recording.get_num_samples()
    return [(start, min(start + step, total)) for start in range(0, total, step)]


def _filtered(raw: BaseRecording, ours: bool) -> BaseRecording:
    import spikeinterface.full as si

    import steadyspike

    if ours:
        return steadyspike.common_reference(steadyspike.bandpass_filter(raw, dtype="float32", **BAND))
    return si.common_reference(si.bandpass_filter(raw, dtype="float32", **BAND))


def _in_memory(lazy: BaseRecording) -> BaseRecording:
    from spikeinterface.core import NumpyRecording

    traces = np.concatenate([lazy.get_traces(start_frame=a, end_frame=b) for a, b in _chunks(lazy)])
    recording = NumpyRecording([traces], lazy.sampling_frequency)
    recording.set_probe(lazy.get_probe())
    return recording


def _node_pair(
    upstream: BaseRecording,
    steady: BaseRecording,
    upstream_name: str,
    steady_name: str,
    seen_through: Callable[[BaseRecording], BaseRecording] = lambda node: node,
    edge_s: float = 0.0,
) -> Pair:
    """Pair two lazy nodes on the same parent; reading them is the job.

    They are compared through another node, and without so many seconds at either end.
    """

    def warm_up() -> None:
        for node in (upstream, steady):
            node.get_traces(start_frame=0, end_frame=min(3000, node.get_num_samples()))

    def compare(*_: None) -> dict[str, Any]:
        stop = min(int(COMPARED_S * steady.sampling_frequency), steady.get_num_samples())
        pieces = [(start, min(end, stop)) for start, end in _chunks(steady) if start < stop]
        theirs, ours = (
            np.concatenate([node.get_traces(start_frame=a, end_frame=b) for a, b in pieces])
            for node in (seen_through(upstream), seen_through(steady))
        )
        edge = int(edge_s * steady.sampling_frequency)
        apart = np.abs(ours - theirs)[edge : len(ours) - edge]
        worst = float(apart.max() / theirs.std())
        return {"largest_difference": worst, "agreement": f"within {worst:.0e} standard deviations"}

    return Pair(
        upstream=lambda: read_in_chunks(upstream),
        steady=lambda: read_in_chunks(steady),
        upstream_name=upstream_name,
        steady_name=steady_name,
        warm_up=warm_up,
        compare=compare,
    )
