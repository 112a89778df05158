"""SciPy's L-BFGS-B by its compiled routine stops where `minimize` stops, or is called by `minimize`."""

import numpy as np
import pytest
from scipy.optimize import minimize

from steadyspike.integration.acceleration.replacements import lbfgsb


def valley(point, scales, bend):
    """Rosenbrock's, of as many variables as there are scales."""
    ahead, now = point[1:] - point[:-1] ** 2, 1 - point[:-1]
    gradient = np.zeros(point.size)
    gradient[:-1] = -4 * bend * ahead * point[:-1] - 2 * now
    gradient[1:] += 2 * bend * ahead
    return bend * (ahead**2).sum() + (now**2).sum() + scales @ point, gradient + scales


def problems():
    rng = np.random.default_rng(0)
    for size in (2, 3, 5):
        for _ in range(10):
            start = rng.uniform(-2, 2, size)
            lower, upper = start - rng.uniform(0, 2, size), start + rng.uniform(0, 2, size)
            yield start, (rng.normal(size=size), rng.uniform(1, 100)), lower, upper


def minimized(start, arguments, lower, upper):
    bounds = list(zip(lower, upper, strict=True))
    return minimize(valley, start, arguments, jac=True, bounds=bounds, method="L-BFGS-B").x


@pytest.mark.parametrize("known", [True, False])
def test_it_stops_where_minimize_does(known, monkeypatch):
    if not known:
        monkeypatch.setattr(lbfgsb, "KNOWN", ())
    elif lbfgsb._routine() is None:
        pytest.skip("a SciPy that is called by minimize")
    at_bounds = 0
    for start, *problem in problems():
        before = start.copy()
        found = lbfgsb.stopping_point(valley, start, *problem)
        np.testing.assert_array_equal(found, minimized(start, *problem))
        np.testing.assert_array_equal(start, before)
        at_bounds += ((found == problem[1]) | (found == problem[2])).any()
    assert 5 < at_bounds < 30


def test_an_unknown_scipy_is_called_as_it_says(monkeypatch):
    for missing in ("_lbfgsb", "_minimize_lbfgsb"):
        with monkeypatch.context() as patched:
            patched.delattr(f"scipy.optimize._lbfgsb_py.{missing}")
            assert lbfgsb._routine() is None
    monkeypatch.setattr(lbfgsb, "KNOWN", ())
    called = []
    monkeypatch.setattr(lbfgsb, "minimize", lambda *args, **kw: called.append(1) or minimize(*args, **kw))
    lbfgsb.stopping_point(valley, *next(problems()))
    assert called


def test_the_installed_scipy_is_known():
    from importlib.metadata import version

    release = tuple(int(part) for part in version("scipy").split(".")[:3])
    # before 1.15 the routine had other arguments; later versions are to be compared, then entered as known
    assert (lbfgsb._routine() is not None) == (release >= (1, 15, 3))
