"""Traces that are cast to the type of a node's output."""

import numpy as np
import pytest

from steadyspike.preprocessing.dtypes import CAST_TOGETHER, cast_traces


@pytest.mark.parametrize("num_channels", [0, 1, 7, CAST_TOGETHER + 1])
@pytest.mark.parametrize("dtype", ["int16", "uint8"])
def test_blocks_are_rounded_and_clipped_like_the_whole(num_channels, dtype):
    rows = 3 * CAST_TOGETHER // max(num_channels, 1) + 2
    traces = np.random.default_rng(0).normal(scale=2e4, size=(rows, num_channels)).astype("float32")
    traces.flat[::1001] = np.nan
    traces.flat[1::1001] = -np.inf
    limits = np.iinfo(dtype)
    wanted = np.clip(np.rint(traces.astype("float64")), limits.min, limits.max)
    wanted[np.isnan(traces)] = 0
    cast = cast_traces(traces, np.dtype(dtype))
    assert cast.dtype == dtype
    np.testing.assert_array_equal(cast, wanted)
