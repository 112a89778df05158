import warnings

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.kernels.channels.column_statistics import column_median_deviations
from steadyspike.kernels.channels.moments import column_standard_deviations, root_mean_squares

FS = 30_000.0
RANDOM = {"seed": 1, "num_chunks_per_segment": 3, "chunk_duration": "20ms"}


def recording_of(dtype, num_channels=70, gain=0.37):
    rng = np.random.default_rng(0)
    scales = np.linspace(5.0, 30.0, num_channels)
    traces = [rng.normal(100.0, scales, size=(size, num_channels)) for size in (3000, 1500)]
    if np.dtype(dtype).kind in "iu":
        traces = [one.round().clip(0) for one in traces]
    recording = si.NumpyRecording([one.astype(dtype) for one in traces], FS)
    if gain is not None:
        recording.set_channel_gains(gain)
        recording.set_channel_offsets(np.arange(num_channels))
    return recording


def levels(recording, accelerated, **settings):
    settings = {"random_slices_kwargs": RANDOM, "force_recompute": True, "progress_bar": False, **settings}
    with steadyspike.accelerate(accelerated):
        return si.get_noise_levels(recording, **settings)


@pytest.mark.parametrize("method", ["mad", "std", "rms"])
@pytest.mark.parametrize("in_uv", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16"])
def test_levels_are_those_of_spikeinterface(method, in_uv, dtype):
    recording = recording_of(dtype)
    expected = levels(recording, False, method=method, return_in_uV=in_uv)
    calls.forget()
    value = levels(recording, True, method=method, return_in_uV=in_uv)
    counted = steadyspike.accelerated()["get_noise_levels"]
    left = method == "rms" and not in_uv and "int" in dtype
    assert (counted.taken == 0) == left
    assert value.dtype == expected.dtype
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert f"noise_level_{method}_{'scaled' if in_uv else 'raw'}" in recording.get_property_keys()


@pytest.mark.parametrize("method", ["mad", "std", "rms"])
def test_nasty_channels_and_threads(method):
    recording = recording_of("float32", num_channels=5, gain=None)
    traces = recording.get_traces(segment_index=0).copy()
    traces[:, 1] = 3.25
    traces[::7, 2] = np.nan
    recording = si.NumpyRecording([traces], FS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = levels(recording, False, method=method, return_in_uV=False)
    value = levels(recording, True, method=method, return_in_uV=False)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    with steadyspike.accelerate(num_threads=3):
        again = si.get_noise_levels(
            recording, method=method, return_in_uV=False, force_recompute=True, random_slices_kwargs=RANDOM
        )
    np.testing.assert_array_equal(again, value)


def test_errors_are_spikeinterfaces():
    recording = recording_of("int16", gain=None)
    with pytest.raises(ValueError, match="return_in_uV=True"):
        levels(recording, True, return_in_uV=True)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (500, 65), (33, 130)])
def test_sums_are_numpys(dtype, shape):
    traces = np.random.default_rng(2).normal(5.0, 20.0, size=shape).astype(dtype)
    np.testing.assert_allclose(column_standard_deviations(traces), np.std(traces, axis=0), rtol=1e-6)
    wide = traces.astype("float64")
    np.testing.assert_allclose(root_mean_squares(traces), np.sqrt(np.mean(wide**2, axis=0)), rtol=1e-5)


NASTY = {
    "normal": lambda rng, shape: rng.normal(5.0, 20.0, size=shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, size=shape),
    "two values": lambda rng, shape: rng.choice([-1e30, 1e30], size=shape),
    "many scales": lambda rng, shape: (
        10.0 ** rng.uniform(-30, 30, size=shape) * rng.choice([-1, 1], size=shape)
    ),
    "skewed": lambda rng, shape: rng.exponential(size=shape) ** 4,
    "constant": lambda rng, shape: np.full(shape, 3.25),
    "infinite": lambda rng, shape: np.where(rng.uniform(size=shape) < 0.2, np.inf, rng.normal(size=shape)),
    "nan": lambda rng, shape: np.where(rng.uniform(size=shape) < 0.002, np.nan, rng.normal(size=shape)),
    "subnormal": lambda rng, shape: rng.choice([-0.0, 0.0, 1e-45, -1e-45], size=shape),
}


@pytest.mark.parametrize("kind", NASTY)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32"])
def test_median_deviations_are_numpys_to_the_last_bit(kind, dtype):
    for shape in ((1, 1), (2, 3), (15, 20), (16, 16), (801, 5), (1000, 37)):
        traces = NASTY[kind](np.random.default_rng(3), shape)
        if np.dtype(dtype).kind == "i":
            traces = np.nan_to_num(traces).clip(-32_768, 32_767).round()
        traces = traces.astype(dtype)
        with np.errstate(all="ignore"):
            expected = np.median(np.abs(traces - np.median(traces, axis=0)), axis=0)
        _, value = column_median_deviations(traces)
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)
