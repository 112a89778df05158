"""Whether denoising helps to detect spikes, on simulated recordings whose spikes are known.

Peaks are detected with SpikeInterface's "locally_exclusive" on the recording as it is, band-passed, linearly
interpolated and denoised, all with a low threshold in noise levels of their own traces. Raising the threshold only
leaves peaks out, so one detection gives all thresholds. Methods are compared where they have the same rate of false
positives.

A peak is a true spike if it lies within 0.5 ms and 75 um of it. Peaks choose in order of their height, and of
several spikes the highest that is not yet found; so each spike is found once at most. A peak is a false positive if no
spike lies within 0.5 ms and 150 um. What is left, more peaks of a spike that is found already, is counted apart.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

from steadyspike.simulation.noisy import SIZES
from steadyspike_benchmarks.code_version import module_key, settings_key
from steadyspike_benchmarks.denoising_data import NoisyCase, train_ridge, training_cases
from steadyspike_benchmarks.study_peaks import write_aside

if TYPE_CHECKING:
    from steadyspike.simulation.noisy import NoisyRecording

RAW, BANDPASS, LINEAR, DENOISED = "as recorded", "bandpass 300 to 6000 Hz", "linear interpolation", "denoised"
METHODS = (RAW, BANDPASS, LINEAR, DENOISED)
WINDOW_MS, FOUND_UM, FALSE_UM = 0.5, 75.0, 150.0
LEAST_THRESHOLD, RADIUS_UM = 2.5, 50.0
RATES = (0.01, 0.03, 0.1, 0.3, 1.0)
"""False positives per second and channel at which methods are compared."""
MISSING = -np.inf


@dataclass(frozen=True, eq=False)
class Matched:
    """Peaks of one method, matched with true spikes.

    Attributes
    ----------
    spike_heights : ndarray, shape (num_spikes,)
        Height of the peak that finds each spike, in noise levels; -inf: none does.
    false_heights : ndarray
        Heights of false positives, in descending order.
    num_repeated : int
        Peaks of spikes that are found already.
    """

    spike_heights: np.ndarray
    false_heights: np.ndarray
    num_repeated: int

    def threshold(self, num_false: float) -> float:
        """Height from which on there are so many false positives at most."""
        if self.false_heights.size <= num_false:
            return LEAST_THRESHOLD
        return float(np.nextafter(self.false_heights[int(num_false)], np.inf))

    def found(self, threshold: float) -> np.ndarray:
        """Whether each spike is found by a peak of this height or more."""
        return self.spike_heights >= threshold


def match_peaks(
    peak_samples: np.ndarray,
    peak_locations: np.ndarray,
    heights: np.ndarray,
    spike_samples: np.ndarray,
    spike_locations: np.ndarray,
    spike_amplitudes: np.ndarray,
    window: int,
    *,
    found_um: float = FOUND_UM,
    false_um: float = FALSE_UM,
) -> Matched:
    """Match peaks with true spikes, as the module describes it.

    Parameters
    ----------
    peak_samples : ndarray of int, shape (num_peaks,)
    peak_locations : ndarray, shape (num_peaks, 2)
        In um.
    heights : ndarray, shape (num_peaks,)
        In noise levels.
    spike_samples : ndarray of int, shape (num_spikes,)
        Ascending.
    spike_locations : ndarray, shape (num_spikes, 2)
        In um.
    spike_amplitudes : ndarray, shape (num_spikes,)
        Of several spikes, the highest is taken.
    window : int
        Samples by which a peak may be off.
    found_um, false_um : float
        Distances within which a peak is a spike, and beyond which it is none.

    Returns
    -------
    matched : Matched
    """
    spike_heights = np.full(spike_samples.size, MISSING)
    first = np.searchsorted(spike_samples, peak_samples - window, side="left")
    stop = np.searchsorted(spike_samples, peak_samples + window, side="right")
    false, repeated = [], 0
    for peak in np.argsort(-heights, kind="stable"):
        near = np.arange(first[peak], stop[peak])
        distances = np.linalg.norm(spike_locations[near] - peak_locations[peak], axis=1)
        if not (distances <= false_um).any():
            false.append(heights[peak])
            continue
        free = near[(distances <= found_um) & (spike_heights[near] == MISSING)]
        if free.size:
            spike_heights[free[spike_amplitudes[free].argmax()]] = heights[peak]
        else:
            repeated += 1
    return Matched(spike_heights, np.array(false), repeated)


def detect(recording: Any) -> tuple[np.ndarray, np.ndarray]:
    """Detect negative peaks with "locally_exclusive" from 2.5 noise levels on.

    Returns
    -------
    peaks : ndarray
        As SpikeInterface gives them.
    heights : ndarray, shape (num_peaks,)
        In noise levels of their channel.
    """
    from spikeinterface.core import get_noise_levels
    from spikeinterface.sortingcomponents.peak_detection import detect_peaks

    jobs = dict(n_jobs=1, chunk_duration="1s", progress_bar=False)
    levels = get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=dict(num_chunks_per_segment=20, seed=0), **jobs
    )
    peaks = detect_peaks(
        recording,
        method="locally_exclusive",
        method_kwargs=dict(
            noise_levels=levels, detect_threshold=LEAST_THRESHOLD, peak_sign="neg", radius_um=RADIUS_UM
        ),
        job_kwargs=jobs,
    )
    return peaks, np.abs(peaks["amplitude"]) / levels[peaks["channel_index"]]


def measure_detection(
    simulated: NoisyRecording, recordings: dict[str, Any], rates: Sequence[float] = RATES
) -> dict[str, Any]:
    """Detect and match on several versions of a recording.

    Parameters
    ----------
    simulated : NoisyRecording
        With the truth.
    recordings : dict of BaseRecording
        By the name of the method that made them.
    rates : sequence of float
        False positives per second and channel.

    Returns
    -------
    measured : dict
        "num_spikes", for each size of units; and for each method under "methods" "thresholds" (for each rate, in noise
        levels; None where the lowest threshold has fewer false positives), "found" (for each size, the number of spikes
        found at each rate), "repeated" and "false" (in all, from the lowest threshold on).
    """
    spikes, units = simulated.sorting.to_spike_vector(), simulated.units
    own = units[spikes["unit_index"]]
    where = np.stack([own["x_um"], own["y_um"]], axis=1)
    recording = simulated.recording
    contacts = recording.get_channel_locations()[:, :2]
    channel_seconds = recording.get_num_channels() * recording.get_total_duration()
    window = round(WINDOW_MS * recording.sampling_frequency / 1000)
    methods = {}
    for name, version in recordings.items():
        peaks, heights = detect(version)
        matched = match_peaks(
            peaks["sample_index"],
            contacts[peaks["channel_index"]],
            heights,
            spikes["sample_index"],
            where,
            own["amplitude_uV"],
            window,
        )
        enough = [matched.false_heights.size >= rate * channel_seconds for rate in rates]
        thresholds = [matched.threshold(rate * channel_seconds) for rate in rates]
        methods[name] = dict(
            thresholds=[one if there else None for one, there in zip(thresholds, enough, strict=True)],
            found={
                size: [int((matched.found(one) & (own["size"] == size)).sum()) for one in thresholds]
                for size in SIZES
            },
            repeated=matched.num_repeated,
            false=int(matched.false_heights.size),
        )
    return dict(
        num_spikes={size: int((own["size"] == size).sum()) for size in SIZES},
        num_units={size: int((units["size"] == size).sum()) for size in SIZES},
        rates=list(rates),
        methods=methods,
    )


def run_detection_benchmark(
    folder: str | Path,
    model: Any,
    *,
    probe: str = "np1",
    noise_factors: Iterable[float] = (0.75, 1.0, 1.5),
    seeds: Iterable[int] = (0, 1, 2),
    num_channels: int | None = None,
    duration_s: float = 30.0,
    train_recordings: int = 2,
    device: str = "auto",
    num_threads: int = 1,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Detect spikes with and without denoising on simulated recordings.

    Parameters
    ----------
    folder : str or Path
        Of the study; what is there is not done again.
    model : reference
        As `deepinterpolate` takes it.
    probe : str, default: "np1"
        Of `steadyspike.simulation.drift`.
    noise_factors : iterable of float, default: (0.75, 1.0, 1.5)
        On the channels' noise of 6 to 10 uV. The kinds of units are those of the noise that there is.
    seeds : iterable of int, default: (0, 1, 2)
        A recording for each and each noise.
    num_channels : int or None, default: None
        Contacts; None: the probe's usual number.
    duration_s : float, default: 30.0
        Of each recording.
    train_recordings : int, default: 2
        Recordings of `duration_s` and other seeds, with noise of factor 1, that the linear interpolation is fitted on.
    device, num_threads
        As `deepinterpolate` takes them.
    tell : callable
        Called with one line for each recording.
    progress_bar : bool, default: True

    Returns
    -------
    results : list of dict
        Of this model: what `measure_detection` gives, "probe", "seed", "noise_factor", "model", "sha256", "code".

    Raises
    ------
    ValueError
        If an argument cannot work; `ModelError` if there is no such model. Before anything is simulated.
    """
    from steadyspike.library.models.folder import load_model
    from steadyspike.library.models.references import find_source

    folder, source = Path(folder), find_source(model)
    cases = [
        NoisyCase(probe, seed, num_channels, duration_s, noise) for seed in seeds for noise in noise_factors
    ]
    training = training_cases(probe, 0, train_recordings, num_channels, duration_s)
    place = folder / "models" / f"ridge-{settings_key([case.name for case in training])}"
    results = []
    for case in tqdm(cases, desc="detection benchmark", disable=not progress_bar):
        file = folder / "detection" / f"{case.name}-{source.sha256[:10]}-{place.name}.json"
        if not file.is_file():
            if not place.is_dir():
                train_ridge([one.load(folder).recording for one in training], place)
            simulated = case.load(folder)
            options = dict(device=device, num_threads=num_threads)
            measured = measure_detection(
                simulated, _versions(simulated.recording, load_model(place).folder, source.saved, options)
            )
            about = dict(
                probe=probe, seed=case.seed, noise_factor=case.noise_factor, duration_s=case.duration_s
            )
            about |= dict(num_channels=case.num_channels, model=source.name, sha256=source.sha256)
            about |= dict(code=module_key("steadyspike_benchmarks.denoising_detection"))
            text = json.dumps({**about, **measured}, indent=1).encode("utf8")
            write_aside(file, lambda stream, text=text: stream.write(text))
            tell(f"{case.name} is done")
        results.append(json.loads(file.read_text(encoding="utf8")))
    return results


def _versions(recording: Any, ridge: Any, model: Any, options: dict[str, Any]) -> dict[str, Any]:
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    return {
        RAW: recording,
        BANDPASS: bandpass_filter(recording, freq_min=300.0, freq_max=6000.0),
        LINEAR: deepinterpolate(recording, ridge, **options),
        DENOISED: deepinterpolate(recording, model, **options),
    }
