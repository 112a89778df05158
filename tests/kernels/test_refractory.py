import numpy as np
import pytest

from steadyspike.kernels.spikes.event_pairs import outside_refractory


def by_hand(samples, groups, period):
    last, kept = {}, []
    for sample, group in zip(samples.tolist(), groups.tolist(), strict=True):
        kept.append(group not in last or sample - last[group] >= period)
        if kept[-1]:
            last[group] = sample
    return np.array(kept, bool)


@pytest.mark.parametrize("period", [0, 1, 7, 1000])
def test_against_a_plain_loop(period):
    rng = np.random.default_rng(period)
    groups = np.sort(rng.integers(0, 5, 300))
    samples = rng.integers(0, 400, 300)
    samples = samples[np.lexsort((samples, groups))]
    np.testing.assert_array_equal(
        outside_refractory(samples, groups, period), by_hand(samples, groups, period)
    )


def test_no_events():
    nothing = np.zeros(0, "int64")
    assert outside_refractory(nothing, nothing, 5).shape == (0,)
