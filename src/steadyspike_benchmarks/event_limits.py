"""What localizers need for a spike, and the correlation of motion estimators for a pair of time bins.

Bytes and operations are counted by hand, from how the kernels work; how many contacts, grid points and samples a spike
has comes from SpikeInterface's nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from steadyspike_benchmarks.accelerated_parts import Material, localizer_of_first_second

PAIRS = {
    "correlation, as in decentralized": (400, 200, 20),
    "correlation, as in dredge_ap": (400, 1000, 100),
}
"""Time bins, depth bins in a window, and the largest displacement in depth bins."""


def event_rows(
    material: Material, seconds_of: Callable[[Callable[[], Any]], float]
) -> Iterator[dict[str, Any]]:
    """Count and time each kernel.

    Parameters
    ----------
    material : Material
        The recording whose peaks are localized.
    seconds_of : callable
        Times a call.

    Yields
    ------
    row : dict
        "call", "event", "num_bytes", "operations" (0 if they are not counted), "precision" and "reached_ns".
    """
    for method, needs in NEEDS.items():
        node, traces, peaks, waveforms = localizer_of_first_second(material, method)
        call = partial(node.compute, traces, peaks, waveforms)
        call()
        operations, precision = needs(node, waveforms.shape[1])
        yield {
            "call": method,
            "event": "spike",
            "num_bytes": waveforms.itemsize * waveforms.shape[1] * _mean_contacts(node),
            "operations": operations,
            "precision": precision,
            "reached_ns": 1e9 * seconds_of(call) / len(peaks),
        }
    for name, (num_times, length, reach) in PAIRS.items():
        call = _correlation(num_times, length, reach)
        call()
        yield {
            "call": name,
            "event": f"pair of time bins, {length} depth bins, {2 * reach + 1} displacements",
            # a row of the one and a row of the other serve hundreds of pairs; the result is 8 bytes
            "num_bytes": 8.0,
            "operations": 2.0 * length * (2 * reach + 1),
            "precision": "float32",
            "reached_ns": 1e9 * seconds_of(call) / num_times**2,
        }


def _correlation(num_times: int, length: int, reach: int) -> Callable[[], Any]:
    from steadyspike.kernels.motion.pair_correlation import PairCorrelation

    rows = np.random.default_rng(0).random((num_times, length))
    # rows are prepared once for all pairs
    prepared = PairCorrelation(rows, rows, np.ones(length), reach)
    every = slice(0, num_times)
    return lambda: prepared.best_lags(every, every)


def _mean_contacts(node: Any) -> float:
    return float(node.neighbours_mask.sum(axis=1).mean())


def _extremes(node: Any, num_samples: int) -> tuple[float, str]:
    # a smallest and a largest sample of each contact, and three sums over contacts
    return _mean_contacts(node) * (2 * num_samples + 5), "float32"


def _not_counted(node: Any, num_samples: int) -> tuple[float, str]:
    return 0.0, "float64"


def _projection(node: Any, num_samples: int) -> tuple[float, str]:
    # each contact on the prototype, then weights of the templates around the main contact that are not zero
    templates = np.mean([np.count_nonzero(node.weights[:, :, mask]) for mask in node.nearest_template_mask])
    return 2 * num_samples * _mean_contacts(node) + 2 * float(templates), "float64"


NEEDS: dict[str, Callable[[Any, int], tuple[float, str]]] = {
    "center_of_mass": _extremes,
    "monopolar_triangulation": _not_counted,
    "grid_convolution": _projection,
}
