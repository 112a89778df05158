"""Where SpikeInterface's "monopolar_triangulation", as it is and accelerated, and ours put known sources."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from steadyspike.evaluation.denoising.tables import markdown_table

RADIUS_UM = 75.0
NUM_SAMPLES, PEAK_SAMPLE = 30, 15
BESIDE_UM, DEPTHS_UM = 25.0, (10.0, 60.0)
"""Sources are up to so far from a contact along and across the probe, and between these distances in front of it."""
SAME_OBJECTIVE = 1e-6


def _grid(columns: int, rows: int, x_um: float, y_um: float) -> np.ndarray:
    return np.array([[x_um * (i % columns), y_um * (i // columns)] for i in range(columns * rows)])


LAYOUTS: dict[str, np.ndarray] = {
    "Neuropixels 1.0": np.array([[(16.0, 48.0, 0.0, 32.0)[i % 4], 20.0 * (i // 2)] for i in range(64)]),
    "Neuropixels 2.0": _grid(2, 32, 32.0, 15.0),
    "Neuropixels Ultra": _grid(8, 16, 6.0, 6.0),
    "array, 30 um": _grid(8, 8, 30.0, 30.0),
    "two columns, 60 um": _grid(2, 24, 32.0, 60.0),
    "one column, 20 um": _grid(1, 16, 0.0, 20.0),
    "one column, 40 um": _grid(1, 12, 0.0, 40.0),
    "one column, 50 um": _grid(1, 12, 0.0, 50.0),
    "one column, 100 um": _grid(1, 8, 0.0, 100.0),
    "tetrode, 20 um": _grid(2, 2, 20.0, 20.0),
    "tetrode, 25 um": _grid(2, 2, 25.0, 25.0),
    "two contacts, 25 um": _grid(1, 2, 0.0, 25.0),
    "one contact": _grid(1, 1, 0.0, 0.0),
}
LAYOUTS["every 8th of Neuropixels 1.0"] = LAYOUTS["Neuropixels 1.0"][::8]
"""Name of a layout, to the positions of its contacts in um."""


def simulate_sources(
    contacts: np.ndarray,
    num_spikes: int,
    snr: float,
    seed: int,
    depths_um: tuple[float, float] = DEPTHS_UM,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate spikes of point sources, with white noise.

    Parameters
    ----------
    contacts : ndarray, shape (num_channels, 2)
        In um.
    num_spikes : int
        As many sources.
    snr : float
        Largest amplitude of each spike over the standard deviation of the noise.
    seed : int
        Of places and noise.
    depths_um : tuple of float, default: 10.0, 60.0
        Least and largest distance of sources in front of the probe.

    Returns
    -------
    sources : ndarray, shape (num_spikes, 3)
        Their places in um.
    channels : ndarray, shape (num_spikes,)
        Main channel: where the sample at the peak is lowest, among those in reach of the nearest.
    waveforms : ndarray, shape (num_spikes, NUM_SAMPLES, num_channels)
        In standard deviations of the noise, float32.
    """
    generator = np.random.default_rng(seed)
    near = contacts[generator.integers(0, len(contacts), num_spikes)]
    beside = generator.uniform(-BESIDE_UM, BESIDE_UM, near.shape)
    sources = np.column_stack([near + beside, generator.uniform(*depths_um, num_spikes)])
    distances = np.sqrt(((sources[:, None, :2] - contacts) ** 2).sum(axis=2) + sources[:, 2:] ** 2)
    sizes = snr * distances.min(axis=1, keepdims=True) / distances
    times = np.arange(NUM_SAMPLES) - PEAK_SAMPLE
    shape = -np.exp(-(times**2) / 8.0) + 0.4 * np.exp(-((times - 7) ** 2) / 20.0)
    waveforms = shape[:, np.newaxis] * sizes[:, np.newaxis]
    waveforms += generator.standard_normal(waveforms.shape)
    nearest = distances.argmin(axis=1)
    reach = np.linalg.norm(contacts[nearest, np.newaxis] - contacts, axis=2) <= RADIUS_UM
    channels = np.where(reach, waveforms[:, PEAK_SAMPLE], np.inf).argmin(axis=1)
    return sources, channels, waveforms.astype(np.float32)


def locate_both_ways(
    contacts: np.ndarray, channels: np.ndarray, waveforms: np.ndarray, **parameters: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Localize spikes with SpikeInterface's "monopolar_triangulation", as it is and accelerated."""
    import steadyspike

    node, peaks = _localizer("monopolar_triangulation", contacts, channels, **parameters)
    theirs = node.compute(None, peaks, waveforms)
    with steadyspike.accelerate(names=["monopolar_triangulation"]):
        return theirs, node.compute(None, peaks, waveforms)


def locate_steady(
    contacts: np.ndarray, channels: np.ndarray, waveforms: np.ndarray, **parameters: Any
) -> np.ndarray:
    """Localize spikes with "steady_monopolar"."""
    node, peaks = _localizer("steady_monopolar", contacts, channels, **parameters)
    return node.compute(None, peaks, waveforms)


def _localizer(
    method: str, contacts: np.ndarray, channels: np.ndarray, **parameters: Any
) -> tuple[Any, np.ndarray]:
    import spikeinterface.full as si
    from probeinterface import Probe
    from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, PeakRetriever, base_peak_dtype
    from spikeinterface.sortingcomponents.peak_localization.method_list import peak_localization_methods

    import steadyspike  # noqa: F401  (enters the localizers into SpikeInterface's table)

    recording = si.NumpyRecording([np.zeros((100, len(contacts)), dtype=np.float32)], 30_000.0)
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(contacts, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(contacts)))
    recording.set_probe(probe)
    peaks = np.zeros(channels.size, dtype=base_peak_dtype)
    peaks["channel_index"] = channels
    source = PeakRetriever(recording, peaks)
    extractor = ExtractDenseWaveforms(recording, parents=[source], ms_before=0.5, ms_after=0.5)
    arguments = {"enforce_decrease": False, "radius_um": RADIUS_UM, **parameters}
    return peak_localization_methods[method](recording, parents=[source, extractor], **arguments), peaks


def objectives(
    contacts: np.ndarray, channels: np.ndarray, waveforms: np.ndarray, located: np.ndarray
) -> np.ndarray:
    """Evaluate SpikeInterface's objective of "minimize_with_log_penality" on peak-to-peak amplitudes."""
    from spikeinterface.postprocessing.localization_tools import estimate_distance_error_with_log

    found = np.empty(channels.size)
    for i, (channel, waveform, place) in enumerate(zip(channels, waveforms, located, strict=True)):
        near = np.linalg.norm(contacts - contacts[channel], axis=1) <= RADIUS_UM
        sizes = np.ptp(waveform[:, near], axis=0).astype(np.float64)
        point = [float(place[axis]) for axis in "xyz"]
        found[i] = estimate_distance_error_with_log(point, sizes, contacts[near], sizes.max())
    return found


def run_monopoles(
    layouts: Iterable[str] = tuple(LAYOUTS),
    ratios: Iterable[float] = (5.0, 10.0, 30.0, 100.0),
    num_spikes: int = 500,
    seed: int = 0,
    tell: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """Compare errors of SpikeInterface, as it is and accelerated, and of "steady_monopolar".

    Parameters
    ----------
    layouts : iterable of str
        Names in `LAYOUTS`.
    ratios : iterable of float
        Ratios of signal to noise.
    num_spikes : int, default: 500
        For each layout and ratio; SpikeInterface takes milliseconds for each.
    seed : int, default: 0
        Of the simulation.
    tell : callable
        Called with a line of text for each row.

    Returns
    -------
    rows : list of dict
        "layout", of lines of contacts their middle and their ends apart; "snr", "num_spikes". From the truth, in the
        plane of the probe and along it, as median and 95th percentile: "errors_um" and "along_um" of SpikeInterface,
        "errors_um_accelerated", "errors_um_steady" and "along_um_steady". "distances_um" between SpikeInterface as it
        is and accelerated, and "share_no_worse" of the objective of these, up to 1e-6.
    """
    rows = []
    for layout in layouts:
        for snr in ratios:
            contacts = LAYOUTS[layout]
            sources, channels, waveforms = simulate_sources(contacts, num_spikes, snr, seed)
            both = locate_both_ways(contacts, channels, waveforms)
            values = [objectives(contacts, channels, waveforms, located) for located in both]
            places = [_planar(one) for one in (*both, locate_steady(contacts, channels, waveforms))]
            theirs, accelerated, ours = (one - sources[:, :2] for one in places)
            for part, inside in _parts(contacts, channels).items():
                rows.append(
                    {
                        "layout": layout + part,
                        "snr": snr,
                        "num_spikes": int(inside.sum()),
                        "errors_um": _summary(theirs[inside]),
                        "errors_um_accelerated": _summary(accelerated[inside]),
                        "errors_um_steady": _summary(ours[inside]),
                        "along_um": _summary(theirs[inside, 1:]),
                        "along_um_steady": _summary(ours[inside, 1:]),
                        "distances_um": _summary((accelerated - theirs)[inside]),
                        "share_no_worse": float(np.mean((values[1] <= values[0] + SAME_OBJECTIVE)[inside])),
                    }
                )
            tell(f"{layout}, signal to noise {snr:g}: done")
    return rows


def _planar(located: np.ndarray) -> np.ndarray:
    return np.column_stack([located["x"], located["y"]])


def _parts(contacts: np.ndarray, channels: np.ndarray) -> dict[str, np.ndarray]:
    """Which spikes are in the middle of a line, and which at its ends, where fewer contacts are in reach."""
    reached = (np.linalg.norm(contacts[:, np.newaxis] - contacts, axis=2) <= RADIUS_UM).sum(axis=1)
    at_end = (reached < reached.max())[channels]
    if np.ptp(contacts[:, 0]) > 0 or not at_end.any():
        return {"": np.ones(channels.size, dtype=bool)}
    return {", middle": ~at_end, ", ends": at_end}


def _summary(differences: np.ndarray) -> tuple[float, float]:
    middle, high = np.percentile(np.linalg.norm(differences, axis=1), [50, 95])
    return float(middle), float(high)


def format_monopoles(rows: list[dict[str, Any]]) -> str:
    """Make a table in Markdown of what `run_monopoles` returns."""
    columns = {
        "errors_um": "SpikeInterface (um)",
        "errors_um_accelerated": "accelerated (um)",
        "errors_um_steady": "steady_monopolar (um)",
        "along_um": "along the probe: SpikeInterface (um)",
        "along_um_steady": "steady_monopolar (um)",
        "distances_um": "accelerated from SpikeInterface (um)",
    }
    cells = [
        [
            row["layout"],
            f"{row['snr']:g}",
            str(row["num_spikes"]),
            *(f"{row[key][0]:.1f}, {row[key][1]:.1f}" for key in columns),
            f"{100 * row['share_no_worse']:.1f} %",
        ]
        for row in rows
    ]
    head = ["contacts", "signal to noise", "spikes", *columns.values(), "objective no worse"]
    about = "Errors from the truth, as median and 95th percentile; in the plane of the probe if nothing else is said."
    return f"{markdown_table(head, cells)}\n\n{about}\n"
