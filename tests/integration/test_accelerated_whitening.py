import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface import preprocessing
from spikeinterface.preprocessing.whiten import compute_whitening_matrix

import steadyspike
from steadyspike.integration.acceleration import calls
from steadyspike.integration.acceleration.replacements import whitening

RATE = 1000.0
CHUNKS = dict(num_chunks_per_segment=3, chunk_size=300, seed=1)


def traces_of(num_samples=1200, num_channels=37, dtype="float32", scale=30.0, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((num_samples, 1))
    traces = scale * (common + rng.standard_normal((num_samples, num_channels))) + offset
    return traces.astype(dtype)


def recording_of(traces, order=None):
    index = np.arange(traces.shape[1]) if order is None else order
    recording = si.NumpyRecording([traces, traces[:400]], RATE)
    recording.set_dummy_probe_from_locations(np.stack([32.0 * (index % 2), 20.0 * (index // 2)], axis=1))
    return recording


def check(read, reason=None, tolerance=1e-5, steps=0):
    """The same numbers, type and shape with and without acceleration; the reason, or taken."""
    with np.errstate(invalid="ignore"):
        off = read()
        with steadyspike.accelerate(num_threads=2):
            on = read()
    report = calls.counted()["whiten"]
    if reason is None:
        assert report.taken > 0
        assert not report.fell_back
    else:
        assert report.taken == 0
        assert list(report.fell_back) == [reason]
    assert on.dtype == off.dtype
    assert on.shape == off.shape
    if on.dtype.kind in "iu":
        # a sum in another order may round to the other side of a half
        difference = np.abs(on.astype("int64") - off.astype("int64"))
        assert difference.max(initial=0) <= steps
        assert (difference > 0).mean() < 0.01
    else:
        spread = np.nanstd(np.where(np.isfinite(off), off, np.nan).astype("float64"))
        np.testing.assert_allclose(
            on, off, rtol=1e-3 if on.dtype == "float16" else 0, atol=tolerance * spread
        )
    return off


@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("apply_mean", [False, True])
def test_as_upstream(dtype, mode, apply_mean):
    recording = recording_of(traces_of(dtype=dtype, offset=500.0 if dtype == "uint16" else 5.0))
    options = dict(mode=mode, radius_um=70.0, apply_mean=apply_mean, **CHUNKS)
    for to, int_scale in (("float32", None), ("float64", 3.0), ("int16", 200.0), ("float16", None)):
        whitened = si.whiten(recording, dtype=to, int_scale=int_scale, **options)
        check(lambda made=whitened: made.get_traces(segment_index=0), steps=1)
        check(lambda made=whitened: made.get_traces(segment_index=1, start_frame=3, end_frame=4), steps=1)


@pytest.mark.parametrize("scale", [30.0, 1e-3, 0.9])
@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("apply_mean", [False, True])
def test_same_matrix(mode, apply_mean, scale):
    order = np.random.default_rng(2).permutation(37)
    recording = recording_of(traces_of(scale=scale), order)

    def estimate(**options):
        kwargs = dict(mode=mode, random_chunk_kwargs=CHUNKS, apply_mean=apply_mean, radius_um=70.0)
        return compute_whitening_matrix(recording, **{**kwargs, **options})

    for options in ({}, {"eps": 0.5}):
        matrix, means = estimate(**options)
        with steadyspike.accelerate():
            ours, our_means = preprocessing.compute_whitening_matrix(
                recording, mode, CHUNKS, apply_mean, radius_um=70.0, **options
            )
        assert ours.dtype == matrix.dtype
        np.testing.assert_allclose(ours, matrix, rtol=0, atol=1e-5 * np.abs(matrix).max())
        np.testing.assert_array_equal(ours == 0, matrix == 0)
        assert (means is None) == (our_means is None)
        if means is not None:
            np.testing.assert_array_equal(means, our_means)
    assert calls.counted()["whiten"].taken == 2


@pytest.mark.parametrize("share", [0.4, 0.5, 0.6])
def test_eps_where_the_median_is_near_one(share):
    rng = np.random.default_rng(0)
    for size in (1001, 1000):
        data = np.where(np.arange(size) < share * size, 0.5, 1.5) * rng.choice([-1, 1], size)
        data = rng.permutation(data).astype("float32").reshape(-1, 1)
        squared = np.median(data**2)
        expected = max(1e-16, squared * 1e-3) if 0 < squared < 1 else 1e-16
        assert whitening._suitable_eps(data) == expected
    assert whitening._suitable_eps(np.zeros((10, 3), "float32")) == 1e-16
    assert whitening._suitable_eps(np.full((10, 3), np.nan, "float32")) == 1e-16


def test_regularized_by_scikit_learn():
    recording = recording_of(traces_of(num_channels=6))

    def read():
        kwargs = {"method": "ShrunkCovariance", "shrinkage": 0.3}
        return si.whiten(
            recording, apply_mean=True, regularize=True, regularize_kwargs=kwargs, **CHUNKS
        ).get_traces(segment_index=0)

    check(read)


@pytest.mark.parametrize("num_channels", [1, 3, 200])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_sizes(num_channels, dtype):
    rng = np.random.default_rng(0)
    recording = recording_of(traces_of(300, num_channels, dtype))
    matrix = rng.normal(size=(num_channels, num_channels)).astype("float32")
    for given in (matrix, matrix.astype("float64"), np.triu(np.tril(matrix, 3), -3)):
        for means in (None, np.linspace(0, 9, num_channels)[None, :]):
            whitened = si.whiten(recording, dtype="float32", W=given, M=means)
            check(lambda made=whitened: made.get_traces(segment_index=0))


@pytest.mark.parametrize("channels", [[4], [9, 2, 30], list(range(5, 31))])
@pytest.mark.parametrize("mode", ["global", "local"])
def test_some_channels(channels, mode):
    whitened = si.whiten(recording_of(traces_of()), mode=mode, radius_um=50.0, **CHUNKS)
    check(lambda: whitened.get_traces(segment_index=0, channel_ids=channels))
    segment = whitened.segments[1]
    check(lambda: segment.get_traces(0, 100, np.array(channels)))
    check(lambda: segment.get_traces(10, 300, slice(2, 30, 3)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("mode", ["global", "local"])
def test_not_finite(value, mode):
    traces = traces_of()
    matrix, _ = compute_whitening_matrix(recording_of(traces), mode, CHUNKS, False, radius_um=50.0)
    matrix[:, 7] = matrix[7] = 0
    traces[17, 20] = traces[800, 7] = value
    whitened = si.whiten(recording_of(traces), W=matrix)
    check(lambda: whitened.get_traces(segment_index=0))
    check(lambda: whitened.get_traces(segment_index=0, channel_ids=[3, 21]))


def test_another_matrix_in_the_same_segment():
    whitened = si.whiten(recording_of(traces_of()), mode="local", radius_um=50.0, **CHUNKS)
    check(lambda: whitened.get_traces(segment_index=0))
    whitened.segments[0].W = np.eye(37, dtype="float32")
    check(lambda: whitened.get_traces(segment_index=0))


def test_left_to_upstream():
    matrix = np.eye(37, dtype="float32")
    matrix[3, 3] = np.nan
    recording = recording_of(traces_of())
    whitened = si.whiten(recording, W=matrix)
    check(lambda: whitened.get_traces(segment_index=0), "W that is not a matrix of finite numbers")
    calls.forget()
    half = si.whiten(si.astype(recording, "float16"), W=np.eye(37, dtype="float16"), dtype="float16")
    check(lambda: half.get_traces(segment_index=0), "products of float16 and float16")
    with steadyspike.accelerate():
        with pytest.raises(AssertionError):
            compute_whitening_matrix(recording, "local", CHUNKS, apply_mean=False, radius_um=None)
        with pytest.raises(AssertionError):
            preprocessing.compute_whitening_matrix(recording, "local", CHUNKS, False)
        with pytest.raises(ValueError, match="wrong mode"):
            preprocessing.compute_whitening_matrix(recording, "near", CHUNKS, False)
        with pytest.raises(ValueError, match=r"matmul|mismatch"):
            si.whiten(recording, W=np.eye(36, dtype="float32")).get_traces(segment_index=0)
