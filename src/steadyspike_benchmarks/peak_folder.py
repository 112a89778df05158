"""A folder of peaks with nothing else of their recording, and a stand-in for that recording."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from steadyspike.core.loading_errors import LoadingError

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

SAMPLING_FREQUENCY = 30_000.0
CONTACT_PITCH_UM = 20.0
FILES = dict(times_s="peak_times.npy", depths_um="peak_depths.npy", amplitudes="peak_amplitudes.npy")


@dataclass(frozen=True)
class RealPeaks:
    """Peaks of one recording, all arrays of shape (num_peaks,), ordered in time.

    Attributes
    ----------
    times_s, depths_um, amplitudes : ndarray of float64
        In s, um and any unit.
    """

    times_s: np.ndarray
    depths_um: np.ndarray
    amplitudes: np.ndarray


def load_peaks(folder: str | Path) -> RealPeaks:
    """Read a folder of peaks.

    Parameters
    ----------
    folder : str or Path
        With `peak_times.npy` (s, from 0), `peak_depths.npy` (um) and `peak_amplitudes.npy`, one number for each peak.

    Returns
    -------
    peaks : RealPeaks
        Ordered in time, without peaks that have a number that is not finite.

    Raises
    ------
    LoadingError
        If a file is missing, they differ in length, or no peak is usable.
    """
    folder = Path(folder)
    missing = [name for name in FILES.values() if not (folder / name).is_file()]
    if missing:
        raise LoadingError(
            f"{folder} has no {', '.join(missing)}; allowed: a folder with {', '.join(FILES.values())}"
        )
    arrays = {key: np.load(folder / name).astype("float64").ravel() for key, name in FILES.items()}
    sizes = {array.size for array in arrays.values()}
    if len(sizes) != 1:
        raise LoadingError(
            f"the files in {folder} hold {sorted(sizes)} numbers; there must be one for each peak"
        )
    usable = np.all([np.isfinite(array) for array in arrays.values()], axis=0) & (arrays["times_s"] >= 0)
    if not usable.any():
        raise LoadingError(f"no peak in {folder} has a finite time, depth and amplitude")
    order = np.flatnonzero(usable)[np.argsort(arrays["times_s"][usable], kind="stable")]
    return RealPeaks(**{key: array[order] for key, array in arrays.items()})


def as_spikeinterface(peaks: RealPeaks) -> tuple[BaseRecording, np.ndarray, np.ndarray]:
    """Give what `estimate_motion` takes: a recording that is never read, peaks and their locations.

    Parameters
    ----------
    peaks : RealPeaks
        The peaks.

    Returns
    -------
    recording : BaseRecording
        As long as the peaks, on a line of contacts every 20 um over their depths.
    peaks, peak_locations : ndarray, shape (num_peaks,)
        As `detect_peaks` and `localize_peaks` give them.
    """
    from probeinterface import generate_linear_probe
    from spikeinterface.core.node_pipeline import base_peak_dtype
    from spikeinterface.generation import NoiseGeneratorRecording

    lowest = np.floor(peaks.depths_um.min() / CONTACT_PITCH_UM) * CONTACT_PITCH_UM
    num_contacts = max(2, int(np.ceil((peaks.depths_um.max() - lowest) / CONTACT_PITCH_UM)) + 1)
    probe = generate_linear_probe(num_contacts, ypitch=CONTACT_PITCH_UM)
    probe.move([0.0, lowest])
    probe.set_device_channel_indices(np.arange(num_contacts))
    duration_s = float(np.floor(peaks.times_s[-1]) + 1.0)
    recording = NoiseGeneratorRecording(
        num_contacts, SAMPLING_FREQUENCY, [duration_s], noise_levels=1.0, strategy="on_the_fly", seed=0
    )
    recording.set_probe(probe)
    found = np.zeros(peaks.times_s.size, dtype=base_peak_dtype)
    found["sample_index"] = np.minimum(
        peaks.times_s * SAMPLING_FREQUENCY, duration_s * SAMPLING_FREQUENCY - 1
    )
    found["amplitude"] = peaks.amplitudes
    found["channel_index"] = np.round((peaks.depths_um - lowest) / CONTACT_PITCH_UM)
    locations = np.zeros(peaks.times_s.size, dtype=[("x", "float64"), ("y", "float64")])
    locations["y"] = peaks.depths_um
    return recording, found, locations
