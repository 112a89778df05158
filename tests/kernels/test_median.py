import itertools

import numpy as np
import pytest

from steadyspike.kernels.channels import median
from steadyspike.kernels.channels.median import subtract_reference
from steadyspike.kernels.channels.small_sets import median_network

# three sizes for the comparator networks, three for counting
SIZES = [1, 2, 5, 48, 49, 130, 385]


def subtract_slowly(traces, references, channels, which, operator):
    """One sample and one channel at a time, with numpy."""
    centre = np.median if operator == "median" else lambda values: np.mean(values, dtype="float64")
    out = np.empty((len(traces), len(channels)))
    for sample, column in itertools.product(range(len(traces)), range(len(channels))):
        out[sample, column] = traces[sample, channels[column]]
        if which[column] < len(references):
            out[sample, column] -= centre(traces[sample, references[which[column]]])
    return out


def nasty_traces(num_samples, num_channels):
    """Rows of every kind that a search by counting could trip over."""
    rng = np.random.default_rng(3)
    kinds = [
        lambda: rng.normal(size=num_channels),
        lambda: rng.normal(size=num_channels) * 1e-30 + 1.0,
        lambda: np.full(num_channels, 3.25),
        lambda: rng.integers(-2, 3, size=num_channels),
        lambda: rng.choice([-1e30, 1e30], size=num_channels),
        lambda: (
            2.0 ** rng.integers(-120, 120, size=num_channels) * rng.choice([-1.0, 1.0], size=num_channels)
        ),
        lambda: np.where(rng.uniform(size=num_channels) < 0.3, rng.choice([np.inf, -np.inf]), rng.normal()),
        lambda: rng.choice([-0.0, 0.0, 1e-45, -1e-45], size=num_channels),
        lambda: np.sort(rng.normal(size=num_channels)) * 1e4 - 7e5,
        lambda: rng.integers(-32_768, 32_768, size=num_channels),
    ]
    return np.array([kinds[rng.integers(len(kinds))]() for _ in range(num_samples)])


@pytest.mark.parametrize("num_channels", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_median_is_numpys_to_the_last_bit(num_channels, dtype):
    traces = nasty_traces(300, num_channels).astype(dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        expected = traces - np.median(traces, axis=1, keepdims=True)
    value = subtract_reference(traces, [np.arange(num_channels)], dtype=dtype)
    np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("num_channels", SIZES)
@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint8", "int32", ">i2"])
def test_integers_keep_the_half_between_two_middle_values(num_channels, dtype):
    traces = np.random.default_rng(0).integers(0, 100, size=(200, num_channels)).astype(dtype)
    expected = traces.astype("float64") - np.median(traces, axis=1, keepdims=True)
    value = subtract_reference(traces, [np.arange(num_channels)])
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, expected)
    assert np.any(value % 1 == 0.5) == (num_channels in (2, 48, 130))


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("num_channels", [6, 120])
def test_any_sets_and_columns(operator, num_channels):
    rng = np.random.default_rng(1)
    traces = rng.normal(size=(70, num_channels)).astype("float32")
    sizes = [1, 2, 3, num_channels // 2, num_channels]
    references = [rng.permutation(num_channels)[:size] for size in sizes]
    references.append(np.arange(2, num_channels - 1))
    channels = rng.integers(0, num_channels, size=17)
    which = rng.integers(0, len(references) + 1, size=17)
    expected = subtract_slowly(traces, references, channels, which, operator)
    value = subtract_reference(traces, references, channels, which, operator, dtype="float64")
    np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize("num_channels", [4, 48, 49, 384])
def test_average_is_accumulated_in_double_precision(num_channels):
    rng = np.random.default_rng(2)
    traces = (rng.normal(size=(100, num_channels)) + 1e6).astype("float32")
    expected = traces - traces.mean(axis=1, keepdims=True, dtype="float64")
    value = subtract_reference(traces, [np.arange(num_channels)], operator="average", dtype="float64")
    np.testing.assert_allclose(value, expected, atol=1e-8)


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("num_channels", [8, 104])
def test_nan_reaches_the_channels_whose_set_holds_it_at_that_sample_only(operator, num_channels):
    half = num_channels // 2
    traces = np.random.default_rng(4).normal(size=(200, num_channels)).astype("float32")
    references = [np.arange(half), np.arange(half, num_channels), np.arange(1, num_channels)]
    which = np.arange(num_channels) % 4
    clean = subtract_reference(traces, references, which=which, operator=operator)
    for bad in (np.nan, -np.nan):
        broken = traces.copy()
        broken[77, 2] = bad
        value = subtract_reference(broken, references, which=which, operator=operator)
        touched = (which == 0) | (which == 2) | (np.arange(num_channels) == 2)
        assert np.isnan(value[77, touched]).all()
        np.testing.assert_array_equal(value[77, ~touched], clean[77, ~touched])
        others = np.arange(200) != 77
        np.testing.assert_array_equal(value[others], clean[others])


@pytest.mark.parametrize("num_channels", [3, 100])
def test_the_result_does_not_depend_on_the_samples_before(num_channels):
    traces = nasty_traces(150, num_channels).astype("float32")
    references = [np.arange(num_channels)]
    whole = subtract_reference(traces, references)
    for start, stop in [(0, 1), (1, 2), (63, 66), (70, 150), (149, 150)]:
        np.testing.assert_array_equal(subtract_reference(traces[start:stop], references), whole[start:stop])


def test_a_distribution_that_defeats_newton_steps_is_left_to_bisection():
    rng = np.random.default_rng(5)
    exponents = rng.uniform(-37, 37, size=(300, 101))
    traces = (10.0**exponents * rng.choice([-1, 1], size=exponents.shape)).astype("float32")
    with np.errstate(over="ignore"):
        expected = traces - np.median(traces, axis=1, keepdims=True)
    np.testing.assert_array_equal(subtract_reference(traces, [np.arange(101)]), expected)


@pytest.mark.parametrize("size", range(1, 13))
def test_network_puts_the_middle_in_place(size):
    """A network that sorts every input of zeros and ones sorts everything."""
    for values in itertools.product([0, 1], repeat=size):
        work = list(values)
        for first, second in median_network(size):
            work[first], work[second] = min(work[first], work[second]), max(work[first], work[second])
        for middle in ((size - 1) // 2, size // 2):
            assert work[middle] == sorted(values)[middle]


def test_networks_of_any_size():
    rng = np.random.default_rng(6)
    for size in range(13, median.LARGEST_SMALL_SET + 1):
        work = rng.permutation(size)
        for first, second in median_network(size):
            work[first], work[second] = min(work[first], work[second]), max(work[first], work[second])
        assert work[size // 2] == size // 2
        assert work[(size - 1) // 2] == (size - 1) // 2


def test_any_memory_layout_and_the_input_is_not_written_to():
    traces = np.random.default_rng(7).normal(size=(90, 12)).astype("float32")
    copy = traces.copy()
    expected = subtract_reference(traces, [np.arange(12)])
    wide = np.zeros((180, 24), dtype="float32")
    wide[::2, ::2] = traces
    for layout in (np.asfortranarray(traces), wide[::2, ::2], traces[::-1][::-1]):
        layout.flags.writeable = False
        np.testing.assert_array_equal(subtract_reference(layout, [np.arange(12)]), expected)
    np.testing.assert_array_equal(traces, copy)


@pytest.mark.parametrize("operator", ["median", "average"])
def test_nothing_in_nothing_out(operator):
    empty = subtract_reference(np.zeros((0, 4), dtype="int16"), [np.arange(4)], operator=operator)
    assert empty.shape == (0, 4)
    none_chosen = subtract_reference(np.zeros((5, 4)), [], channels=[], which=[], operator=operator)
    assert none_chosen.shape == (5, 0)
    unreferenced = subtract_reference(np.ones((5, 4)), [], which=[0, 0, 0, 0], operator=operator)
    np.testing.assert_array_equal(unreferenced, np.ones((5, 4)))


@pytest.mark.parametrize("operator", ["median", "average", "products"])
@pytest.mark.parametrize("num_channels", [6, 97, 130])
def test_integers_are_rounded_half_to_even(operator, num_channels):
    traces = np.random.default_rng(8).integers(-99, 99, size=(150, num_channels)).astype("int16")
    centre = np.median(traces, axis=1) if operator == "median" else traces.mean(axis=1)
    expected = np.rint(traces - centre[:, None])
    references = [np.arange(num_channels)]
    value = subtract_reference(traces, references, operator=operator, dtype="int16")
    assert value.dtype == np.int16
    if operator == "products":
        # halves may come out a little more or less
        assert np.abs(value - expected).max() <= 1
    else:
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("num_channels", [6, 130])
def test_in_place_and_in_ranges(operator, num_channels):
    traces = np.random.default_rng(9).normal(size=(301, num_channels)).astype("float32")
    references = [np.arange(num_channels)]
    expected = subtract_reference(traces, references, operator=operator)

    def in_ranges(work, size, smallest, multiple):
        for start in range(0, size, multiple):
            work(start, min(start + multiple, size))

    value = subtract_reference(traces, references, operator=operator, out=traces, over_ranges=in_ranges)
    assert value is traces
    np.testing.assert_array_equal(value, expected)
