import numpy as np
import pytest
from scipy import signal

from steadyspike.kernels.filters.biquads import butterworth_sections
from steadyspike.kernels.filters.filter_passes import filter_one_way
from steadyspike.kernels.filters.parallel_sections import NUM_SECTIONS, parallel_constants
from steadyspike.kernels.lanes.arrays import as_kernel_array
from steadyspike.kernels.lanes.transposition import transpose

FS = 30_000.0


def response_of_sum(constants, z):
    direct, *rest = constants
    total = np.full(z.shape, direct, dtype=complex)
    for minus_a1, minus_a2, r0, r1 in np.reshape(rest, (-1, 4)):
        total += (r0 + r1 / z) / (1 - minus_a1 / z - minus_a2 / z**2)
    return total


@pytest.mark.parametrize("band", [(300.0, 6000.0), (300.0, None), (None, 250.0)])
@pytest.mark.parametrize("order", [1, 2, 3, 5, 7])
def test_sum_equals_cascade(band, order):
    sections = butterworth_sections(FS, *band, order=order)
    constants = parallel_constants(sections)
    assert (len(constants) - 1) // 4 in NUM_SECTIONS
    frequencies = np.linspace(0.0, np.pi, 301)
    _, expected = signal.sosfreqz(sections, frequencies)
    np.testing.assert_allclose(response_of_sum(constants, np.exp(1j * frequencies)), expected, atol=1e-9)


def test_sections_whose_sum_would_lose_digits_are_refused():
    twice = butterworth_sections(FS, 300.0, 6000.0, order=2)
    assert parallel_constants(np.concatenate([twice, twice])) is None
    assert parallel_constants(butterworth_sections(FS, 0.1, None)) is None
    assert parallel_constants(butterworth_sections(FS, 300.0, 6000.0, order=9)) is None
    assert parallel_constants(np.empty((0, 6))) is None


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (15, 8), (16, 9), (77, 30)])
def test_one_way_from_rest(shape, backward):
    sections = butterworth_sections(FS, 300.0, 6000.0)
    traces = np.random.default_rng(0).normal(10.0, 50.0, size=shape).astype("float32")
    given = traces[::-1] if backward else traces
    expected = signal.sosfilt(sections, given.astype("float64"), axis=0)
    expected = expected[::-1] if backward else expected
    for start, stop in ((0, shape[0]), (shape[0] // 3, shape[0] - shape[0] // 4)):
        filtered = np.empty((stop - start, shape[1]), "float32")
        filter_one_way(as_kernel_array(traces), parallel_constants(sections), start, filtered, backward)
        np.testing.assert_allclose(filtered, expected[start:stop], atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 5), (16, 16), (17, 40), (64, 15), (33, 129)])
@pytest.mark.parametrize("dtypes", [("int16", "float32"), ("float32", "float32"), ("float32", "float64")])
def test_turned_blocks(shape, dtypes):
    block = np.random.default_rng(1).integers(-99, 99, size=shape).astype(dtypes[0])
    target = np.zeros((shape[1], shape[0] + 3), dtypes[1])
    transpose(block, target.reshape(-1), shape[0] + 3)
    np.testing.assert_array_equal(target[:, : shape[0]], block.T)
    assert (target[:, shape[0] :] == 0).all()
