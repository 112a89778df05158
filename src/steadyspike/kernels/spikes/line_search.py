"""A step along a line of descent with sufficient decrease and a flat enough end, one trial after the other.

The search of Moré and Thuente: trials are placed by cubics and parabolas through the best point so far, the other end
of an interval and the last trial.

References
----------
Moré, Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM Transactions on Mathematical Software
20, 1994.
"""

import math

import numba

DECREASE = 1e-3
FLATNESS = 0.9
NARROW = 0.1
# how far a trial may go beyond the last one, as long as no interval is known
LEAST_STRETCH, MOST_STRETCH = 1.1, 4.0
SHRINK = 0.66

# places in the state of a search
(STEP, FULL, BRACKET, STAGE, F0, G0, BEST, FBEST, GBEST, END, FEND, GEND, LOW, HIGH, WIDTH, WIDTH_BEFORE) = (
    range(16)
)
SIZE = 16


@numba.njit(nogil=True, cache=True)
def start_search(state, value, slope, longest):
    """Begin a search with a step of 1 from a point with this value and (negative) slope; `state` has `SIZE` places."""
    state[STEP], state[FULL], state[BRACKET], state[STAGE] = 1.0, longest, 0.0, 1.0
    state[F0], state[G0] = value, slope
    state[BEST], state[FBEST], state[GBEST] = 0.0, value, slope
    state[END], state[FEND], state[GEND] = 0.0, value, slope
    state[LOW], state[HIGH] = 0.0, 1.0 + MOST_STRETCH
    state[WIDTH], state[WIDTH_BEFORE] = longest, 2.0 * longest


@numba.njit(nogil=True, cache=True)
def continue_search(state, value, slope):
    """Take value and slope at the step ``state[STEP]``; return whether the search ends there, else set the next."""
    step = state[STEP]
    needed = DECREASE * state[G0]
    line = state[F0] + step * needed
    if state[STAGE] == 1.0 and value <= line and slope >= 0.0:
        state[STAGE] = 2.0
    if _ends(state, step, value, slope, line, needed):
        return True
    if state[STAGE] == 1.0 and value <= state[FBEST] and value > line:
        # until the decrease suffices, what is searched is the height above the line
        state[FBEST] -= state[BEST] * needed
        state[FEND] -= state[END] * needed
        state[GBEST] -= needed
        state[GEND] -= needed
        _place_trial(state, value - step * needed, slope - needed)
        state[FBEST] += state[BEST] * needed
        state[FEND] += state[END] * needed
        state[GBEST] += needed
        state[GEND] += needed
    else:
        _place_trial(state, value, slope)
    _limit_trial(state)
    return False


@numba.njit(nogil=True, cache=True)
def _ends(state, step, value, slope, line, needed):
    if state[BRACKET] and (step <= state[LOW] or step >= state[HIGH]):
        return True
    if state[BRACKET] and state[HIGH] - state[LOW] <= NARROW * state[HIGH]:
        return True
    if step == state[FULL] and value <= line and slope <= needed:
        return True
    if step == 0.0 and (value > line or slope >= needed):
        return True
    return value <= line and abs(slope) <= -FLATNESS * state[G0]


@numba.njit(nogil=True, cache=True)
def _limit_trial(state):
    if state[BRACKET]:
        apart = abs(state[END] - state[BEST])
        if apart >= SHRINK * state[WIDTH_BEFORE]:
            state[STEP] = state[BEST] + 0.5 * (state[END] - state[BEST])
        state[WIDTH_BEFORE], state[WIDTH] = state[WIDTH], apart
        state[LOW], state[HIGH] = min(state[BEST], state[END]), max(state[BEST], state[END])
    else:
        beyond = state[STEP] - state[BEST]
        state[LOW], state[HIGH] = state[STEP] + LEAST_STRETCH * beyond, state[STEP] + MOST_STRETCH * beyond
    state[STEP] = min(max(state[STEP], 0.0), state[FULL])
    if state[BRACKET] and (
        state[STEP] <= state[LOW]
        or state[STEP] >= state[HIGH]
        or state[HIGH] - state[LOW] <= NARROW * state[HIGH]
    ):
        state[STEP] = state[BEST]


@numba.njit(nogil=True, cache=True)
def _place_trial(state, value, slope):
    """Update the interval with a trial, and place the next by the four cases of section 4 of the paper."""
    step, best, end = state[STEP], state[BEST], state[END]
    f, g = state[FBEST], state[GBEST]
    turned = slope * math.copysign(1.0, g) < 0.0 if g != 0.0 else False
    if value > f:
        cubic = _cubic_between(best, f, g, step, value, slope)
        parabola = best + (g / ((f - value) / (step - best) + g)) / 2.0 * (step - best)
        near = abs(cubic - best) < abs(parabola - best)
        trial = cubic if near else cubic + (parabola - cubic) / 2.0
        state[BRACKET] = 1.0
    elif turned:
        cubic = _cubic_between(step, value, slope, best, f, g)
        secant = step + slope / (slope - g) * (best - step)
        trial = cubic if abs(cubic - step) > abs(secant - step) else secant
        state[BRACKET] = 1.0
    elif abs(slope) < abs(g):
        trial = _trial_beyond(state, value, slope)
    elif state[BRACKET]:
        trial = _cubic_between(step, value, slope, end, state[FEND], state[GEND])
    else:
        trial = state[HIGH] if step > best else state[LOW]
    if value > f:
        state[END], state[FEND], state[GEND] = step, value, slope
    else:
        if turned:
            state[END], state[FEND], state[GEND] = best, f, g
        state[BEST], state[FBEST], state[GBEST] = step, value, slope
    state[STEP] = trial


@numba.njit(nogil=True, cache=True)
def _cubic_between(a, fa, ga, b, fb, gb):
    """Return the minimum of the cubic through two points with slopes; `a` is the one it is seen from."""
    theta = 3.0 * (fa - fb) / (b - a) + ga + gb
    scale = max(abs(theta), abs(ga), abs(gb))
    gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (ga / scale) * (gb / scale)))
    if b < a:
        gamma = -gamma
    return a + ((gamma - ga) + theta) / (((gamma - ga) + gamma) + gb) * (b - a)


@numba.njit(nogil=True, cache=True)
def _trial_beyond(state, value, slope):
    """Place a trial where the slope decreases: the cubic may have no minimum beyond, then the bound counts."""
    step, best, end, f, g = state[STEP], state[BEST], state[END], state[FBEST], state[GBEST]
    theta = 3.0 * (f - value) / (step - best) + g + slope
    scale = max(abs(theta), abs(g), abs(slope))
    gamma = scale * math.sqrt(max(0.0, (theta / scale) ** 2 - (g / scale) * (slope / scale)))
    if step > best:
        gamma = -gamma
    ratio = ((gamma - slope) + theta) / ((gamma + (g - slope)) + gamma)
    cubic = state[HIGH] if step > best else state[LOW]
    if ratio < 0.0 and gamma != 0.0:
        cubic = step + ratio * (best - step)
    secant = step + slope / (slope - g) * (best - step)
    cubic_nearer = abs(cubic - step) < abs(secant - step)
    if state[BRACKET]:
        trial = cubic if cubic_nearer else secant
        limit = step + SHRINK * (end - step)
        return min(limit, trial) if step > best else max(limit, trial)
    trial = secant if cubic_nearer else cubic
    return min(max(trial, state[LOW]), state[HIGH])
