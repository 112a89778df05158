import numpy as np
import pytest

from steadyspike.kernels.spikes.spike_samples import in_traces, in_waveforms

SAMPLES = np.array([4, 9, 9, 33])
BEFORE, AFTER = 4, 7


def read(spikes):
    """All samples of all spikes, one by one."""
    found = np.empty((spikes.starts.size, spikes.num_samples, spikes.num_channels), spikes.flat.dtype)
    for i, s, c in np.ndindex(found.shape):
        found[i, s, c] = spikes.flat[spikes.starts[i] + s * spikes.stride + c * spikes.step]
    return found


def traces_of(dtype="float32"):
    return np.random.default_rng(0).integers(0, 1000, (40, 6)).astype(dtype)


ORDERS = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "some channels": lambda traces: np.repeat(traces, 2, axis=1)[:, ::2],
    "some rows": lambda traces: np.repeat(traces, 3, axis=0)[::3],
    "backwards": lambda traces: traces[::-1, ::-1].copy()[::-1, ::-1],
    "read-only": lambda traces: np.frombuffer(traces.tobytes(), traces.dtype).reshape(traces.shape),
    "out of step": lambda traces: np.array(
        [(row, 0) for row in traces], [("row", traces.dtype, 6), ("", "i1")]
    )["row"],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_samples_in_traces_are_those_of_waveforms(order, dtype):
    traces = traces_of(dtype)
    expected = traces[SAMPLES[:, np.newaxis] + np.arange(-BEFORE, AFTER)]
    same = ORDERS[order](traces)
    np.testing.assert_array_equal(same, traces)
    spikes = in_traces(same, SAMPLES, BEFORE, AFTER)
    assert not spikes.flat.flags.writeable
    np.testing.assert_array_equal(read(spikes), expected)
    np.testing.assert_array_equal(read(in_waveforms(expected)), expected)


@pytest.mark.parametrize("dtype", ["uint8", "float16", ">f4"])
def test_other_types_are_converted_in_waveforms_and_not_read_in_traces(dtype):
    traces = traces_of("uint8").astype(dtype)
    assert in_traces(traces, SAMPLES, BEFORE, AFTER) is None
    waveforms = traces[SAMPLES[:, np.newaxis] + np.arange(-BEFORE, AFTER)]
    spikes = in_waveforms(waveforms)
    assert spikes.flat.dtype == np.float32
    np.testing.assert_array_equal(read(spikes), waveforms)


@pytest.mark.parametrize("sample", [3, 34])
def test_spikes_that_reach_beyond_the_traces_are_not_found(sample):
    assert in_traces(traces_of(), np.array([20, sample]), BEFORE, AFTER) is None


def test_no_spikes():
    for spikes in (in_traces(traces_of(), SAMPLES[:0], 4, 7), in_waveforms(np.zeros((0, 11, 6), "int16"))):
        assert read(spikes).shape == (0, 11, 6)
