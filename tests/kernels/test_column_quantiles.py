import threading

import numpy as np
import pytest

from steadyspike.kernels.channels.column_statistics import (
    LONG_COLUMN,
    column_median_deviations,
    column_medians,
    column_quantiles,
)

LENGTH = 20_480
TYPES = ["int16", "uint16", "int32", "float32", "float64"]


def drawn(num_samples, num_channels, dtype, seed=0):
    rng = np.random.default_rng(seed)
    values = 30.0 * rng.standard_normal((num_samples, num_channels))
    values[:, ::3] = np.round(values[:, ::3] / 40)  # columns of few distinct values
    values += 1000 if np.dtype(dtype).kind == "u" else 0
    return values.astype(dtype)


def check(traces):
    with np.errstate(all="ignore"):
        medians = np.median(traces, axis=0)
        deviations = np.median(np.abs(traces - medians), axis=0)
        quantiles = np.quantile(traces, [0.0, 0.01, 0.3, 0.5, 0.77, 1.0], axis=0)
        ours, our_deviations = column_median_deviations(traces)
        again = column_medians(traces)
        our_quantiles = column_quantiles(traces, [0.0, 0.01, 0.3, 0.5, 0.77, 1.0])
    np.testing.assert_array_equal(ours, medians)
    np.testing.assert_array_equal(again, medians)
    np.testing.assert_array_equal(our_deviations, deviations)
    assert ours.dtype == medians.dtype
    assert our_deviations.dtype == deviations.dtype
    # numpy subtracts in the type of the traces, where integers of opposite sign may overflow: none do here
    np.testing.assert_allclose(our_quantiles, quantiles, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (7, 17), (1000, 40), (LENGTH, 3), (LENGTH + 1, 18)])
def test_as_numpy(dtype, shape):
    check(drawn(*shape, dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("num_samples", [9, LENGTH + 2])
def test_nan_and_infinity_stay_in_their_columns(dtype, num_samples):
    traces = drawn(num_samples, 6, dtype)
    traces[3, 1] = np.nan
    traces[5, 2] = np.inf
    traces[::2, 3] = -np.inf
    traces[:, 4] = np.inf
    check(traces)


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(LENGTH),
        np.arange(LENGTH)[::-1],
        np.sort(np.random.default_rng(1).standard_cauchy(LENGTH)),
        # the mean is far from all values
        np.where(np.arange(LENGTH) % 5 == 0, 1e6, np.arange(LENGTH)),
        np.where(np.arange(LENGTH) % 5 == 0, -1e6, np.sin(np.arange(LENGTH))),
    ],
)
def test_any_order_of_the_values(column):
    check(column.astype("float32")[:, None])


@pytest.mark.parametrize("dtype", TYPES)
def test_long_columns(dtype):
    traces = drawn(LONG_COLUMN + 1, 3, dtype)
    traces[:, 1] = np.square(traces[:, 1] % 100)
    if dtype.startswith("float"):
        traces[LENGTH:-LENGTH, 2] = np.inf
        traces[-LENGTH:, 2] = -np.inf
    check(traces)
    if dtype.startswith("float"):
        traces[7, 0] = np.nan
        check(traces)


def test_views_and_no_columns():
    traces = drawn(50, 12, "float32")
    np.testing.assert_array_equal(column_medians(traces[::2, 3:9]), np.median(traces[::2, 3:9], axis=0))
    assert column_medians(traces[:, :0]).shape == (0,)
    assert column_quantiles(traces, []).shape == (0, 12)


def test_ranges_may_run_in_threads():
    traces = drawn(200, 50, "int16")

    def over_ranges(work, size, smallest, multiple):
        middle = multiple * (size // (2 * multiple))
        thread = threading.Thread(target=work, args=(0, middle))
        thread.start()
        work(middle, size)
        thread.join()

    np.testing.assert_array_equal(column_medians(traces, over_ranges), np.median(traces, axis=0))


def test_bad_input():
    with pytest.raises(ValueError, match="0 samples; allowed"):
        column_medians(np.zeros((0, 3)))
    with pytest.raises(ValueError, match=r"quantiles=\[1.5\]; allowed"):
        column_quantiles(np.zeros((4, 3)), [1.5])
