"""Traces to rows of a network's input and back, against plain loops."""

import numpy as np
import pytest

from steadyspike.kernels.channels.image_rows import add_residual, fill_rows, take_rows


@pytest.fixture
def traces():
    traces = np.random.default_rng(0).normal(3, 20, (7, 5))
    traces[2, 1], traces[3, 2], traces[4, 3], traces[5, 4] = np.nan, -np.inf, 1e12, -1e12
    return traces


def test_each_place_takes_its_channel(traces):
    center, scale = np.arange(5.0), np.array([1.0, -2, 3, 4, 0.5])
    source = np.array([[3, 5, 0, 1], [2, 2, 4, 5]])
    for kind in ("float32", "float64", "int16"):
        known = (
            np.nan_to_num(traces, posinf=0, neginf=0).clip(-9999, 9999).astype(kind)
            if kind == "int16"
            else traces
        )
        precise = "float64" if kind == "float64" else "float32"
        rows = np.full((2, 12, 4), 9, "float32")
        fill_rows(known.astype(kind), -3, center.astype(precise), scale.astype(precise), source, 1e6, rows)
        for image, row, place in np.ndindex(rows.shape):
            channel, sample = source[image, place], row - 3
            wanted = 0.0
            if channel < 5 and 0 <= sample < 7:
                wanted = (known.astype(kind)[sample, channel] - center[channel]) / scale[channel]
                wanted = np.clip(wanted, -1e6, 1e6) if np.isfinite(wanted) else 0.0
            assert rows[image, row, place] == pytest.approx(wanted, rel=1e-6)


def test_each_channel_is_taken_from_its_place():
    rows = np.arange(2 * 3 * 4, dtype="float32").reshape(2, 3, 4)
    images, places, taken = np.array([1, 0, 1]), np.array([3, 0, 2]), np.empty((3, 3), "float32")
    take_rows(rows, images, places, taken)
    np.testing.assert_array_equal(taken, rows[images, :, places].T)


def test_a_share_of_the_residual_is_added_where_there_is_one(traces):
    center, scale = np.arange(5.0), np.array([1.0, -2, 3, 4, 0.5])
    predicted = np.random.default_rng(1).normal(size=(7, 5)).astype("float32")
    residual = (traces - center) / scale - predicted
    wanted = predicted + 0.25 * np.where(np.abs(residual) < 1e6, residual, 0)
    add_residual(traces, center, scale, 0.25, 1e6, predicted)
    np.testing.assert_allclose(predicted, wanted, rtol=1e-5, atol=1e-6)
