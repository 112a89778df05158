"""SpikeInterface's own calls, timed as they are and with acceleration on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from steadyspike_benchmarks.speed_parts import BAND, CONVERTER_STEP_UV, ONE_JOB, Pair, read_in_chunks

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

SLOWEST_PEAKS = 1_000
"""Peaks for monopolar triangulation, of which SpikeInterface's takes milliseconds each."""
OTHER_PEAKS = 5_000
ESTIMATION_S = 100.0
ESTIMATION_CHANNELS = 128
"""Longer probes get shorter recordings for the estimators, whose time grows with the number of windows."""
PEAKS_PER_CHANNEL_AND_S = 5.0
BAD_CHANNEL_CHUNKS = 10
"""SpikeInterface takes 100 if nothing else is said, each in the same time."""


@dataclass(frozen=True)
class Material:
    """A recording in memory with spikes and noise, and what the calls need besides.

    Parameters
    ----------
    num_channels : int
        Contacts, in two columns that are 20 um apart in depth.
    duration_s : float
        In s.
    dtype : str
        "float32" in uV, or "int16" in steps of a converter.
    seed : int
        Of units and noise.
    """

    num_channels: int
    duration_s: float
    dtype: str
    seed: int

    @cached_property
    def raw(self) -> BaseRecording:
        """The recording, with the shifts between channels of a Neuropixels converter."""
        from probeinterface import generate_multi_columns_probe
        from spikeinterface.core import NumpyRecording, generate_ground_truth_recording

        columns = min(2, self.num_channels)
        probe = generate_multi_columns_probe(
            num_columns=columns, num_contact_per_column=self.num_channels // columns, xpitch=32.0, ypitch=20.0
        )
        probe.set_device_channel_indices(range(self.num_channels))
        lazy, _ = generate_ground_truth_recording(
            durations=[self.duration_s],
            sampling_frequency=30_000.0,
            probe=probe,
            num_units=max(4, self.num_channels // 2),
            noise_kwargs=dict(noise_levels=8.0, strategy="on_the_fly"),
            seed=self.seed,
        )
        traces = lazy.get_traces()
        if self.dtype != "float32":
            traces = np.round(traces / CONVERTER_STEP_UV).astype(self.dtype)
        recording = NumpyRecording([traces], lazy.sampling_frequency)
        recording.set_probe(probe)
        recording.set_channel_gains(1.0 if self.dtype == "float32" else CONVERTER_STEP_UV)
        recording.set_channel_offsets(0.0)
        recording.set_property("inter_sample_shift", (np.arange(self.num_channels) % 12) / 12)
        return recording

    @cached_property
    def filtered(self) -> BaseRecording:
        """The recording after a band-pass, in memory, with its noise levels kept with it."""
        import spikeinterface.full as si

        filtered = si.bandpass_filter(self.raw, **BAND).save(format="memory", **ONE_JOB)
        si.get_noise_levels(filtered, return_in_uV=False)
        return filtered

    @cached_property
    def peaks(self) -> np.ndarray:
        """Peaks of the filtered recording."""
        from spikeinterface.sortingcomponents.peak_detection import detect_peaks

        return detect_peaks(self.filtered, method="locally_exclusive", job_kwargs=ONE_JOB)

    @cached_property
    def analyzer(self) -> Any:
        """Templates of the units that a sorting by contact gives, for their locations."""
        import spikeinterface.full as si

        peaks = self.peaks[:20_000]
        sorting = si.NumpySorting.from_samples_and_labels(
            [peaks["sample_index"]], [peaks["channel_index"]], self.filtered.sampling_frequency
        )
        analyzer = si.create_sorting_analyzer(
            sorting, self.filtered, sparse=False, verbose=False, job_kwargs=ONE_JOB
        )
        analyzer.compute(["random_spikes", "templates"], **ONE_JOB)
        return analyzer


def read(make: Callable[[BaseRecording], BaseRecording], material: Material) -> Callable[[], BaseRecording]:
    """Read a lazy recording once, 1 s at a time."""
    node = make(material.raw)

    def call() -> BaseRecording:
        read_in_chunks(node)
        return node

    return call


def node(name: str, **parameters: Any) -> Callable[[Material], Callable[[], Any]]:
    """Name a preprocessing step of SpikeInterface, with its parameters."""

    def make(recording: BaseRecording) -> BaseRecording:
        import spikeinterface.full as si

        return getattr(si, name)(recording, **parameters)

    return partial(read, make)


def chain(material: Material) -> Callable[[], Any]:
    """The commonest chain."""
    import spikeinterface.full as si

    return read(lambda raw: si.common_reference(si.bandpass_filter(raw, **BAND)), material)


def destriping(material: Material) -> Callable[[], Any]:
    """Highpass across channels, with as many mirrored at the ends as SpikeInterface takes."""
    import spikeinterface.full as si

    pad = min(60, material.num_channels)
    return read(lambda raw: si.highpass_spatial_filter(raw, n_channel_pad=pad), material)


def channel_interpolation(material: Material) -> Callable[[], Any]:
    """The channel in the middle and every hundredth after it interpolated."""
    import spikeinterface.full as si

    middle = material.num_channels // 2
    return read(lambda raw: si.interpolate_bad_channels(raw, raw.channel_ids[middle::100]), material)


def interpolation(material: Material) -> Callable[[], Any]:
    """Kriging of all channels, as the presets do it."""
    import spikeinterface.full as si
    from spikeinterface.core.motion import Motion
    from spikeinterface.sortingcomponents.motion.motion_interpolation import InterpolateMotionRecording

    def make(raw: BaseRecording) -> BaseRecording:
        depths = np.linspace(*np.percentile(raw.get_channel_locations()[:, 1], [0, 100]), 5)
        times = np.arange(0.25, max(material.duration_s, 0.5), 0.5)
        displacement = 10 * np.sin(times[:, None] + depths / 500)
        floats = si.astype(raw, "float32") if raw.get_dtype().kind == "i" else raw
        return InterpolateMotionRecording(
            floats, Motion([displacement], [times], depths), border_mode="force_extrapolate"
        )

    return read(make, material)


def estimated(name: str) -> Callable[[Material], Callable[[], Any]]:
    """What a preprocessing step measures on its recording when it is made, told by a few of its samples."""

    def prepare(material: Material) -> Callable[[], Any]:
        import spikeinterface.full as si

        def call() -> np.ndarray:
            made: BaseRecording = getattr(si, name)(material.raw, dtype="float32", seed=material.seed)
            return made.get_traces(end_frame=100)

        return call

    return prepare


def noise_levels(material: Material) -> Callable[[], Any]:
    """Noise levels of 20 stretches of half a second."""
    import spikeinterface.full as si

    slices = dict(seed=material.seed)
    return lambda: si.get_noise_levels(
        material.raw, return_in_uV=False, force_recompute=True, random_slices_kwargs=slices
    )


def bad_channels(method: str) -> Callable[[Material], Callable[[], Any]]:
    """Labels of the channels, by `BAD_CHANNEL_CHUNKS` chunks of 0.3 s."""

    def prepare(material: Material) -> Callable[[], Any]:
        import spikeinterface.full as si

        return lambda: si.detect_bad_channels(
            material.raw,
            method=method,
            num_random_chunks=BAD_CHANNEL_CHUNKS,
            seed=material.seed,
            job_kwargs=ONE_JOB,
        )[1]

    return prepare


def detection(method: str) -> Callable[[Material], Callable[[], Any]]:
    """Detect the peaks of the filtered recording."""

    def prepare(material: Material) -> Callable[[], Any]:
        from spikeinterface.sortingcomponents.peak_detection import detect_peaks

        filtered = material.filtered
        return lambda: detect_peaks(filtered, method=method, job_kwargs=ONE_JOB)

    return prepare


def localization(method: str) -> Callable[[Material], Callable[[], Any]]:
    """Localize the first peaks of the filtered recording."""

    def prepare(material: Material) -> Callable[[], Any]:
        from spikeinterface.sortingcomponents.peak_localization import localize_peaks

        most = SLOWEST_PEAKS if method == "monopolar_triangulation" else OTHER_PEAKS
        filtered, peaks = material.filtered, material.peaks[:most]
        # only the stretch that holds them, so that reading is no part of the matter
        last = int(peaks["sample_index"].max(initial=0)) + 1000
        filtered = filtered.frame_slice(0, min(last, filtered.get_num_samples()))
        return lambda: localize_peaks(filtered, peaks, method=method, job_kwargs=ONE_JOB)

    return prepare


def detection_only(method: str) -> Callable[[Material], Callable[[], Any]]:
    """What the detector computes on one chunk, without SpikeInterface's reading and bookkeeping around it."""

    def prepare(material: Material) -> Callable[[], Any]:
        from spikeinterface.sortingcomponents.peak_detection.method_list import detect_peak_methods

        traces, levels = _first_second(material.filtered)
        detector = detect_peak_methods[method](material.filtered, noise_levels=levels)
        return lambda: detector.compute(traces, 0, len(traces), 0, 0)[0]

    return prepare


def localization_only(method: str) -> Callable[[Material], Callable[[], Any]]:
    """What the localizer computes on the peaks of one chunk and their waveforms."""

    def prepare(material: Material) -> Callable[[], Any]:
        localizer, *inputs = localizer_of_first_second(material, method)
        return lambda: localizer.compute(*inputs)

    return prepare


def localizer_of_first_second(material: Material, method: str) -> tuple[Any, ...]:
    """Make a localizer, and the traces, peaks and waveforms of one chunk for it."""
    from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, PeakRetriever
    from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

    recording = material.filtered
    traces, _ = _first_second(recording)
    most = SLOWEST_PEAKS if method == "monopolar_triangulation" else OTHER_PEAKS
    inside = (material.peaks["sample_index"] > 100) & (material.peaks["sample_index"] < len(traces) - 100)
    peaks = material.peaks[inside][:most]
    source = PeakRetriever(recording, peaks)
    extractor = ExtractDenseWaveforms(recording, parents=[source], ms_before=0.5, ms_after=0.5)
    waveforms = extractor.compute(traces, peaks)
    localizer = peak_localization_methods[method](recording, parents=[source, extractor])
    return localizer, traces, peaks, waveforms


def _first_second(recording: BaseRecording) -> tuple[np.ndarray, np.ndarray]:
    import spikeinterface.full as si

    stop = min(int(recording.sampling_frequency), recording.get_num_samples())
    return recording.get_traces(end_frame=stop), si.get_noise_levels(recording, return_in_uV=False)


def unit_locations(method: str) -> Callable[[Material], Callable[[], Any]]:
    """Locations of units from their templates."""

    def prepare(material: Material) -> Callable[[], Any]:
        analyzer = material.analyzer
        return lambda: analyzer.compute("unit_locations", method=method, save=False).get_data()

    return prepare


def estimation(**parameters: Any) -> Callable[[Material], Callable[[], Any]]:
    """Estimate the motion of simulated peaks."""

    def prepare(material: Material) -> Callable[[], Any]:
        from spikeinterface.sortingcomponents.motion import estimate_motion

        from steadyspike_benchmarks.simulated_peaks import simulate_peaks

        duration_s = ESTIMATION_S * min(1.0, ESTIMATION_CHANNELS / material.num_channels)
        rate_hz = PEAKS_PER_CHANNEL_AND_S * material.num_channels
        found = simulate_peaks(material.num_channels, duration_s, rate_hz, seed=material.seed)
        return lambda: estimate_motion(found.recording, found.peaks, found.peak_locations, **parameters)

    return prepare


CALLS: dict[str, Callable[[Material], Callable[[], Any]]] = {
    "bandpass_filter": node("bandpass_filter", **BAND),
    "highpass_filter": node("highpass_filter", freq_min=300.0),
    "notch_filter": node("notch_filter", freq=3000.0),
    "filter (forward)": node("filter", margin_ms=10.0, direction="forward"),
    "common_reference (median)": node("common_reference"),
    "common_reference (average)": node("common_reference", operator="average"),
    "common_reference (local median)": node(
        "common_reference", reference="local", local_radius=(30.0, 120.0)
    ),
    "bandpass_filter + common_reference": chain,
    "phase_shift": node("phase_shift"),
    "highpass_spatial_filter": destriping,
    "interpolate_bad_channels": channel_interpolation,
    "whiten (global)": node("whiten", dtype="float32"),
    "whiten (local)": node("whiten", dtype="float32", mode="local", radius_um=100.0),
    "whiten (estimation)": estimated("whiten"),
    "zscore": node("zscore", dtype="float32"),
    "zscore (estimation)": estimated("zscore"),
    "normalize_by_quantile (estimation)": estimated("normalize_by_quantile"),
    "interpolate_motion": interpolation,
    "get_noise_levels": noise_levels,
    "detect_bad_channels coherence+psd": bad_channels("coherence+psd"),
    "detect_bad_channels std": bad_channels("std"),
    "detect_bad_channels mad": bad_channels("mad"),
    "detect_bad_channels neighborhood_r2": bad_channels("neighborhood_r2"),
    "detect_peaks locally_exclusive": detection("locally_exclusive"),
    "detect_peaks by_channel": detection("by_channel"),
    "localize_peaks center_of_mass": localization("center_of_mass"),
    "localize_peaks monopolar_triangulation": localization("monopolar_triangulation"),
    "localize_peaks grid_convolution": localization("grid_convolution"),
    "locally_exclusive (compute)": detection_only("locally_exclusive"),
    "by_channel (compute)": detection_only("by_channel"),
    "center_of_mass (compute)": localization_only("center_of_mass"),
    "monopolar_triangulation (compute)": localization_only("monopolar_triangulation"),
    "grid_convolution (compute)": localization_only("grid_convolution"),
    "unit_locations monopolar_triangulation": unit_locations("monopolar_triangulation"),
    "unit_locations grid_convolution": unit_locations("grid_convolution"),
    "estimate_motion decentralized": estimation(method="decentralized", rigid=False),
    "estimate_motion iterative_template": estimation(method="iterative_template", rigid=False),
    "estimate_motion dredge_ap": estimation(method="dredge_ap", rigid=False),
}
FLOAT_ONLY = tuple(
    name
    for name in CALLS
    if name.startswith(("interpolate", "estimate", "unit", "localize", "center", "monopolar", "grid"))
)
"""Calls that take no integers, or whose time does not depend on them."""


def accelerated_pair(name: str, material: Material) -> Pair:
    """Pair a call of SpikeInterface with itself under acceleration, with one thread and with all."""
    call = CALLS[name](material)

    def warm_up() -> None:
        for side in ("upstream", "steady", "threaded"):
            with _set(side):
                call()

    return Pair(
        upstream=call,
        steady=call,
        threaded=call,
        upstream_name=name,
        steady_name="accelerated",
        warm_up=warm_up,
        compare=_compare,
        around=_set,
    )


@contextlib.contextmanager
def _set(side: str) -> Iterator[None]:
    """Turn acceleration off, or on with one thread, or on with all, for the kernels and for BLAS."""
    import steadyspike

    if side == "upstream":
        yield
        return
    num_threads = 1 if side == "steady" else (os.cpu_count() or 1)
    with steadyspike.accelerate(num_threads=num_threads), threadpool_limits(num_threads):
        yield


def _compare(upstream: Any, accelerated: Any) -> dict[str, Any]:
    """Tell how far two outputs of one call are apart; lazy recordings are read once more for it."""
    import spikeinterface.full as si

    import steadyspike

    if isinstance(upstream, si.BaseRecording):
        stop = min(int(upstream.sampling_frequency), upstream.get_num_samples())
        theirs = upstream.get_traces(end_frame=stop).astype(np.float64)
        with steadyspike.accelerate():
            ours = upstream.get_traces(end_frame=stop).astype(np.float64)
        return _apart(theirs, ours, upstream.get_dtype().kind in "iu")
    if hasattr(upstream, "displacement"):
        worst = max(
            float(np.abs(one - other).max(initial=0))
            for one, other in zip(upstream.displacement, accelerated.displacement, strict=True)
        )
        return {"largest_difference_um": worst, "agreement": f"within {worst:.1g} um"}
    if upstream.dtype.kind == "U":
        same = int((upstream == accelerated).sum())
        return {"agreement": f"{same} of {len(upstream)} labels identical"}
    names = getattr(upstream.dtype, "names", None) or ()
    if "sample_index" in names:
        same = len(np.intersect1d(upstream, accelerated)) / max(len(upstream), len(accelerated), 1)
        return {
            "share_identical": same,
            "agreement": f"{100 * same:.2f} % of {len(upstream)} peaks identical",
        }
    if "x" in names:
        upstream, accelerated = (np.stack([one["x"], one["y"]], axis=1) for one in (upstream, accelerated))
        return _places(upstream, accelerated)
    if upstream.ndim == 2 and upstream.shape[1] in (2, 3, 4):
        return _places(upstream[:, :2], accelerated[:, :2])
    return _apart(upstream, accelerated)


def _apart(theirs: np.ndarray, ours: np.ndarray, are_counts: bool = False) -> dict[str, Any]:
    apart = np.abs(ours - theirs)
    worst = float(apart.max() / max(theirs.std(), 1e-12))
    if are_counts:
        share, most = float((apart > 0).mean()), int(apart.max())
        text = f"{share:.1e} of samples differ, by {most} at most" if most else "all samples identical"
        return {"largest_difference": worst, "share_different": share, "agreement": text}
    return {"largest_difference": worst, "agreement": f"within {worst:.0e} standard deviations"}


def _places(theirs: np.ndarray, ours: np.ndarray) -> dict[str, Any]:
    distances = np.linalg.norm(theirs - ours, axis=1)
    near, most = float(np.mean(distances <= 0.1)), float(np.percentile(distances, 95))
    shares = f"{100 * near:.2f} % of {len(theirs)} within 0.1 um, 95 % within {most:.2g} um"
    return {"share_near": near, "distance_um": most, "agreement": shares}
