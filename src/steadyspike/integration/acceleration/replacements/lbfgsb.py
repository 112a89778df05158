"""Where SciPy's L-BFGS-B stops, by its compiled routine: `minimize` spends most of its time around it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from scipy.optimize import minimize

from steadyspike.integration.acceleration.sources import fingerprint

KNOWN = ("6b66fbe638029475", "3cf150055acb8d20", "dd09841c55a613c8")
"""Fingerprints of SciPy's loop around the routine, repeated below: of 1.15.3, of 1.16.0, of 1.16.3 to 1.17.1."""
# what the routine asks for: the objective at its point; to be called again
EVALUATE, ITERATE = 3, 1
# defaults of `minimize`
MEMORY, LEAST_GAIN, SLOPE, TRIALS = 10, 2.2204460492503131e-09, 1e-5, 20

Objective = Callable[..., tuple[float, np.ndarray]]


def stopping_point(
    objective: Objective, start: np.ndarray, arguments: tuple, lower: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Return where ``minimize(objective, start, arguments, "L-BFGS-B", jac=True)`` stops in a box.

    ``objective(point, *arguments)`` returns the value and the gradient, finite in the box, float64 (num_variables,) as
    `start`, which is in the box, and its bounds, which are finite. A SciPy that is not known is called as it says.
    """
    routine = _routine()
    if routine is None:
        box = np.column_stack([lower, upper])
        return minimize(objective, start, arguments, "L-BFGS-B", jac=True, bounds=box).x
    size = start.size
    point, value, gradient = start.copy(), 0.0, np.zeros(size)
    both_bounds = np.full(size, 2, dtype=np.int32)
    floats = np.zeros((2 * MEMORY + 5) * size + 11 * MEMORY**2 + 8 * MEMORY)
    saved_floats = np.zeros(29)
    indices, task, line_task, saved_flags, saved = (
        np.zeros(length, dtype=np.int32) for length in (3 * size, 2, 2, 4, 44)
    )
    rules = (LEAST_GAIN / np.finfo(np.float64).eps, SLOPE)
    state = (floats, indices, task, saved_flags, saved, saved_floats, TRIALS, line_task)
    while True:
        routine(MEMORY, point, lower, upper, both_bounds, value, gradient, *rules, *state)
        if task[0] == EVALUATE:
            value, gradient = objective(point, *arguments)
        elif task[0] != ITERATE:
            return point


def _routine() -> Any:
    """Return SciPy's compiled step; None where SciPy does not call it as known."""
    try:
        module = import_module("scipy.optimize._lbfgsb_py")
        return module._lbfgsb.setulb if fingerprint((module._minimize_lbfgsb,)) in KNOWN else None
    except Exception:
        return None
