r"""Motion of a probe followed bin by bin: a Kalman filter whose smoothness is learnt from what it measures.

The displacement at the knots has velocities that fade, :math:`v_t = \Phi v_{t-1} + w_t, \; x_t = x_{t-1} + v_t`: with
:math:`\Phi = 0` it wanders, with :math:`\Phi` near 1 it keeps its course. Along the probe it is made of modes, the
orthogonal polynomials over the knots (all alike, stretched, bent ...), each with its own fading and size of steps. For
each mode a bank of scalar filters with different values is run beside, and their discounted predictive likelihood says
which values hold now.

References
----------
Magill 1965, Optimal adaptive estimation of sampled stochastic processes, IEEE Transactions on Automatic Control.
"""

from itertools import product

import numpy as np

# Modes. How finely the smoothness is learnt along the probe.
NUM_MODES = 4
# Shares of the velocity that last from bin to bin.
FADINGS = (0.0, 0.5, 0.8, 0.95)
# um per time bin. Standard deviations of what is added to it.
STEPS_UM = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
# 1. Measurements may be worse than their likelihood's curvature says: its variance times this.
NOISE_FACTORS = (1.0, 2.5, 6.0)
# Nats that one of a bank's filters may fall behind the best: what has not held for hours may hold from now on.
MOST_BEHIND = 8.0
# Standard deviations beyond which innovations count no more, neither against a filter nor in it.
LIMIT = 3.0
# um. Standard deviation of a place that the filter is put at, of what all knots share and of each beside it.
PLACED_UM = 6.0
UNMEASURED = 1e-6


class ModeBank:
    """Scalar filters of every mode with a grid of fadings, steps and noise, weighed by how well they predict."""

    def __init__(self, num_modes):
        self.fading, self.step_um, self.noise = np.array(list(product(FADINGS, STEPS_UM, NOISE_FACTORS))).T
        shape = (num_modes, self.fading.size)
        self.position, self.velocity, self.evidence = np.zeros((3, *shape))
        # variances of position and velocity, and their covariance
        self.xx, self.vv, self.xv = np.zeros((3, *shape))

    def predict(self):
        """Go one time bin on."""
        faded = np.square(self.fading) * self.vv
        pushed = faded + np.square(self.step_um)
        self.xx = self.xx + 2.0 * self.fading * self.xv + pushed
        self.xv = self.fading * self.xv + pushed
        self.vv = pushed
        self.velocity = self.fading * self.velocity
        self.position = self.position + self.velocity

    def update(self, measured, variance):
        """Take in a measurement of each mode (um) and its variance, both of shape (num_modes,)."""
        total = self.xx + self.noise * variance[:, None]
        innovation = measured[:, None] - self.position
        surprise = np.square(innovation) / total
        evidence = self.evidence - 0.5 * (np.log(total) + np.minimum(surprise, LIMIT**2))
        self.evidence = np.maximum(evidence - evidence.max(axis=1, keepdims=True), -MOST_BEHIND)
        innovation = innovation * np.minimum(1.0, LIMIT / np.sqrt(np.maximum(surprise, 1e-12)))
        gain_x, gain_v = self.xx / total, self.xv / total
        self.position = self.position + gain_x * innovation
        self.velocity = self.velocity + gain_v * innovation
        self.vv = self.vv - gain_v * self.xv
        self.xv = self.xv - gain_x * self.xv
        self.xx = self.xx - gain_x * self.xx

    def move(self, moved, variance):
        """Move all filters of each mode and bring them to rest, with so much more variance of the position."""
        self.position = self.position + moved[:, None]
        self.xx = self.xx + variance[:, None]
        self.velocity, self.xv, self.vv = np.zeros((3, *self.xx.shape))

    def learnt(self):
        """Fading, step (um) and noise factor of each mode: means over the filters by their likelihood."""
        weights = np.exp(self.evidence)
        weights /= weights.sum(axis=1, keepdims=True)
        return (
            weights @ self.fading,
            np.exp(weights @ np.log(self.step_um)),
            np.exp(weights @ np.log(self.noise)),
        )


def polynomial_modes(num_knots):
    """Orthogonal polynomials over the knots, at most `NUM_MODES`, each with a mean square of 1; (num_knots, modes)."""
    num_modes = min(num_knots, NUM_MODES)
    places = np.linspace(-1.0, 1.0, num_knots) if num_knots > 1 else np.zeros(1)
    orthogonal, triangle = np.linalg.qr(np.vander(places, num_modes, increasing=True))
    return orthogonal * np.sign(np.diag(triangle)) * np.sqrt(num_knots)


class MotionFilter:
    """Displacement and velocity at the knots, at least 1, with their covariance."""

    # what a saved filter consists of
    STATE = ("position", "velocity", "covariance")
    BANK_STATE = ("position", "velocity", "evidence", "xx", "xv", "vv")

    def __init__(self, num_knots):
        self.modes = polynomial_modes(num_knots)
        self.bank = ModeBank(self.modes.shape[1])
        self.position, self.velocity = np.zeros((2, num_knots))
        self.covariance = np.zeros((2 * num_knots, 2 * num_knots))
        self.place(self.position)

    @property
    def num_knots(self):
        """Number of knots."""
        return self.position.size

    @property
    def deviation_um(self):
        """Standard deviation of the displacement at each knot, in um."""
        return np.sqrt(np.maximum(np.diag(self.covariance)[: self.num_knots], 0.0))

    def place(self, position):
        """Set the displacement, at rest, to within a few um."""
        self.covariance = np.zeros_like(self.covariance)
        self.bank.xx = np.zeros_like(self.bank.xx)
        self._move(np.asarray(position) - self.position)

    def jump(self, position):
        """As `place`, with what was known about the differences between knots kept."""
        self._move(position - self.position)

    def _move(self, moved):
        num_knots = self.num_knots
        known = self.covariance[:num_knots, :num_knots]
        known = known + PLACED_UM**2 * (1.0 + np.eye(num_knots) - 1.0 / num_knots)
        self.covariance = np.zeros_like(self.covariance)
        self.covariance[:num_knots, :num_knots] = known
        self.position, self.velocity = self.position + moved, np.zeros(num_knots)
        variance = np.full(self.modes.shape[1], PLACED_UM**2 / num_knots)
        variance[0] = PLACED_UM**2
        self.bank.move(self.modes.T @ moved / num_knots, variance)

    def predict(self):
        """Go one time bin on."""
        num_knots = self.num_knots
        fading, step_um, _ = self.bank.learnt()
        # what is finer than the modes moves like the finest of them
        projections = [np.outer(mode, mode) / num_knots for mode in self.modes.T]
        rest = np.eye(num_knots) - sum(projections)
        fade = fading[-1] * rest + sum(f * p for f, p in zip(fading, projections, strict=True))
        scales = num_knots * np.square(step_um)
        push = np.square(step_um[-1]) * rest + sum(s * p for s, p in zip(scales, projections, strict=True))
        transition = np.block([[np.eye(num_knots), fade], [np.zeros((num_knots, num_knots)), fade]])
        self.covariance = transition @ self.covariance @ transition.T + np.tile(push, (2, 2))
        self.velocity = fade @ self.velocity
        self.position = self.position + self.velocity
        self.bank.predict()

    def innovation(self, target, precision):
        """What measurements at the knots (um), with precisions (1/um^2, 0: none), say beyond the prediction, by modes.

        Returns the weighted least squares of the modes, in um, and the variance from the measurements' noise alone.
        """
        weighted = self.modes * precision[:, None]
        normal = weighted.T @ self.modes + UNMEASURED * np.eye(self.modes.shape[1])
        inverse = np.linalg.inv(normal)
        return inverse @ (weighted.T @ (target - self.position)), np.diag(inverse).copy()

    def common_deviation_um(self):
        """Standard deviation of what all knots share, in um."""
        return float(np.sqrt(self.covariance[: self.num_knots, : self.num_knots].mean()))

    def update(self, target, precision):
        """Take in the measurements of a time bin (see `innovation`); outliers among the knots lose weight."""
        measured = np.flatnonzero(precision > 0)
        if measured.size == 0:
            return
        innovation, variance = self.innovation(target, precision)
        noise = self.bank.learnt()[2][0]
        self.bank.update(self.modes.T @ self.position / self.num_knots + innovation, variance)
        gain_from = self.covariance[:, measured]
        explained = gain_from[measured]
        residual = target[measured] - self.position[measured]
        # knots that disagree with what all share
        apart = np.square(residual - self.modes[measured, 0] * innovation[0])
        expected = np.diag(explained) + noise / precision[measured]
        spread = noise / precision[measured] * (1.0 + apart / (LIMIT**2 * expected))
        gain = np.linalg.solve(explained + np.diag(spread), gain_from.T).T
        moved = gain @ residual
        covariance = self.covariance - gain @ gain_from.T
        self.covariance = 0.5 * (covariance + covariance.T)
        self.position = self.position + moved[: self.num_knots]
        self.velocity = self.velocity + moved[self.num_knots :]

    def state(self):
        """All that the filter goes on from, as a dict of arrays."""
        own = {name: getattr(self, name) for name in self.STATE}
        return own | {f"bank_{name}": getattr(self.bank, name) for name in self.BANK_STATE}

    def restore(self, state):
        """Go on from what `state` gave."""
        for name in self.STATE:
            setattr(self, name, np.array(state[name]))
        for name in self.BANK_STATE:
            setattr(self.bank, name, np.array(state[f"bank_{name}"]))
