import warnings

import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.preprocessing as spre
from conformance import CHECKS, Node, check_name
from parent_recordings import SAMPLING_FREQUENCY, make_traces, numpy_parent

from steadyspike.preprocessing.bandpass import bandpass_filter

NODE = Node(
    make=bandpass_filter,
    arguments=[
        dict(
            freq_min=90.0,
            freq_max=5000.0,
            margin_ms=60.0,
            dtype="int16",
            ignore_low_freq_error=True,
            filter_order=3,
            add_reflect_padding=True,
            ftype="bessel",
        ),
        dict(freq_min=None, freq_max=2000.0, dtype="float64"),
        dict(freq_min=400.0, freq_max=None, filter_order=2),
    ],
    # what a transient has decayed to after the margin; the suite's parents hold a strong 12 Hz drift
    tolerance=5e-4,
    changed_properties=("offset_to_uV",),
)


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


def long_recording(dtype, seed=0):
    traces = [make_traces(30_000, dtype, seed), make_traces(7_001, dtype, seed + 1)]
    return si.NumpyRecording(traces, SAMPLING_FREQUENCY)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize(
    ("kwargs", "upstream"),
    [
        (dict(), spre.bandpass_filter),
        (dict(freq_min=500.0, freq_max=9000.0, filter_order=3), spre.bandpass_filter),
        (dict(freq_min=300.0, freq_max=6000.0, add_reflect_padding=True), spre.bandpass_filter),
        (dict(freq_min=300.0, margin_ms=30.0, ftype="bessel"), spre.bandpass_filter),
        (
            dict(freq_min=1.0, freq_max=250.0, ignore_low_freq_error=True, margin_ms=200.0),
            spre.bandpass_filter,
        ),
        (dict(freq_min=300.0, freq_max=None), spre.highpass_filter),
    ],
)
@pytest.mark.filterwarnings("ignore:.*margin_ms.*")
def test_equals_spikeinterface_seams_included(kwargs, upstream, dtype):
    recording = long_recording(dtype)
    same = {name: value for name, value in kwargs.items() if value is not None}
    result_dtype = "float64" if dtype == "float64" else "float32"
    theirs = upstream(recording, dtype=result_dtype, **same)
    ours = bandpass_filter(recording, **kwargs)
    assert ours.get_dtype() == result_dtype
    for segment_index in range(2):
        tolerance = 1e-5 * theirs.get_traces(segment_index).std()
        num_samples = recording.get_num_samples(segment_index)
        for start in range(0, num_samples, 5003):
            chunk = (segment_index, start, start + 5003)
            np.testing.assert_allclose(ours.get_traces(*chunk), theirs.get_traces(*chunk), atol=tolerance)


def test_integer_output_equals_spikeinterface():
    recording = long_recording("int16")
    theirs = spre.bandpass_filter(recording, dtype="int16").get_traces(0)
    ours = bandpass_filter(recording, dtype="int16").get_traces(0)
    assert ours.dtype == np.int16
    assert (ours != theirs).mean() < 1e-5


def test_lowpass_keeps_the_offset_and_its_property():
    recording = numpy_parent("uint16")
    lowpass = bandpass_filter(recording, freq_min=None, freq_max=1000.0)
    means = recording.get_traces(0).mean(axis=0)
    np.testing.assert_allclose(lowpass.get_traces(0).mean(axis=0), means, atol=5.0)
    np.testing.assert_array_equal(
        lowpass.get_property("offset_to_uV"), recording.get_property("offset_to_uV")
    )
    highpass = bandpass_filter(recording, freq_max=None)
    assert np.all(highpass.get_property("offset_to_uV") == 0)
    assert highpass.get_annotation("is_filtered") is True


def test_a_bad_sample_reaches_no_further_than_its_channel_and_the_margin():
    traces = make_traces(30_000, "float32")
    traces[15_000, 4] = np.nan
    recording = bandpass_filter(si.NumpyRecording([traces], SAMPLING_FREQUENCY))
    others = [channel for channel in range(12) if channel != 4]
    for start in range(0, 30_000, 3000):
        chunk = recording.get_traces(0, start, start + 3000)
        assert np.isfinite(chunk[:, others]).all()
        assert np.isnan(chunk[:, 4]).all() == (start in (12_000, 15_000))
        assert np.isnan(chunk[:, 4]).any() == (start in (12_000, 15_000))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(freq_min=0.0), "freq_min=0.0"),
        (dict(freq_min=-5.0), "freq_min=-5.0"),
        (dict(freq_min=float("nan")), "freq_min=nan"),
        (dict(freq_max=15_000.0), "freq_max=15000.0.*15000.0 Hz"),
        (dict(freq_min=6000.0), "freq_min=6000.0.*below freq_max=6000.0"),
        (dict(freq_min=7000.0), "freq_min=7000.0"),
        (dict(freq_min=None, freq_max=None), "at least one corner"),
        (dict(freq_min=20.0), "freq_min=20.0.*ignore_low_freq_error"),
        (dict(filter_order=0), "filter_order=0"),
        (dict(filter_order=2.5), "filter_order=2.5"),
        (dict(ftype="cheby1"), "ftype='cheby1'.*butter"),
        (dict(margin_ms=-1.0), "margin_ms=-1.0"),
        (dict(margin_ms="long"), "margin_ms='long'"),
        (dict(dtype="uint16"), "dtype='uint16'.*int16"),
        (dict(dtype="complex64"), "dtype='complex64'"),
    ],
)
def test_impossible_parameters_are_refused_before_any_data_is_read(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bandpass_filter(numpy_parent(), **kwargs)


def test_short_margin_warns_and_a_reload_of_the_automatic_one_does_not():
    recording = numpy_parent()
    with pytest.warns(UserWarning, match="margin_ms=3.0 is short"):
        bandpass_filter(recording, margin_ms=3.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for band in ((300.0, 6000.0), (300.0, 330.0), (None, 100.0), (700.0, None)):
            saved = bandpass_filter(recording, *band)._kwargs
            assert saved["margin_ms"] > 0
            type(bandpass_filter(recording, *band))(**saved)


def test_function_name_and_dict_of_recordings():
    assert bandpass_filter.__name__ == "steady_bandpass_filter"
    filtered = bandpass_filter({"left": numpy_parent(), "right": numpy_parent("int16")}, freq_min=500.0)
    assert set(filtered) == {"left", "right"}
    assert filtered["right"]._kwargs["freq_min"] == 500.0
