import itertools
import warnings

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.integration.acceleration import calls

FS = 30_000.0
NUM_CHANNELS = 24
IDS = [f"c{index}" for index in range(NUM_CHANNELS)]
GROUPS = [IDS[:8], IDS[5:17]]


def traces_of(dtype, num_channels=NUM_CHANNELS, num_samples=333, seed=0):
    rng = np.random.default_rng(seed)
    traces = rng.normal(40.0, 12.0, size=(num_samples, num_channels)) + 30 * rng.normal(size=(num_samples, 1))
    return (traces.round() if np.dtype(dtype).kind in "iu" else traces).astype(dtype)


def recording_of(traces):
    recording = si.NumpyRecording([traces], FS, channel_ids=IDS if traces.shape[1] == NUM_CHANNELS else None)
    rows = np.arange(traces.shape[1]) // 2
    positions = np.column_stack([16.0 * (np.arange(traces.shape[1]) % 2), 20.0 * rows])
    recording.set_dummy_probe_from_locations(positions)
    return recording


def compare(recording, taken=True, tolerance=1e-4, **span):
    """Read with acceleration off and on; the second must be taken, and give what the first gives."""
    calls.forget()
    expected = recording.get_traces(**span)
    with steadyspike.accelerate(names=["common_reference"]):
        value = recording.get_traces(**span)
        counted = steadyspike.accelerated()["common_reference"]
    assert (counted.taken == 1) == taken, dict(counted.fell_back)
    assert value.dtype == expected.dtype
    assert value.shape == expected.shape
    if tolerance == 1:
        # a half that falls to either side in SpikeInterface too, as the number of samples that are read changes
        assert np.abs(value - expected.astype("float64")).max() <= 1
    elif value.dtype.kind == "i" or tolerance == 0:
        np.testing.assert_array_equal(value, expected)
    else:
        np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance)
    return counted


FORMS = {
    "global": {},
    "global of some": {"ref_channel_ids": IDS[3:10]},
    "global of one twice": {"ref_channel_ids": [IDS[3], IDS[3], IDS[7]]},
    "groups": {"groups": GROUPS},
    "groups of others": {"groups": GROUPS, "ref_channel_ids": "out_of_group"},
    "groups of some": {"groups": GROUPS, "ref_channel_ids": [IDS[2:5], [IDS[20], IDS[22]]]},
    "single": {"reference": "single", "ref_channel_ids": IDS[4]},
    "single of groups": {"reference": "single", "groups": GROUPS, "ref_channel_ids": [IDS[4], IDS[23]]},
    "local": {"reference": "local", "local_radius": (10.0, 60.0)},
    "local of few": {"reference": "local", "local_radius": (10.0, 17.0), "min_local_neighbors": 3},
    "local, some unreferenced": {
        "reference": "local",
        "local_radius": (210.0, 240.0),
        "min_local_neighbors": 1,
    },
}


@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "int32", ">i2"])
def test_every_form_and_type(form, operator, dtype):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for wanted in (None, "float32", "float64", "int16"):
            if wanted is None and np.dtype(dtype).kind == "u":
                continue
            recording = recording_of(traces_of(dtype))
            referenced = si.common_reference(recording, operator=operator, dtype=wanted, **FORMS[form])
            ties = form.startswith("local") and operator == "average" and referenced.dtype.kind == "i"
            tolerance = 1 if ties else 1e-4
            compare(referenced, tolerance=tolerance)
            some = [IDS[9], IDS[2], IDS[23]]
            compare(referenced, tolerance=tolerance, start_frame=70, end_frame=71, channel_ids=some)


@pytest.mark.parametrize("form", ["global", "groups", "single", "local"])
def test_channels_and_spans(form):
    referenced = si.common_reference(recording_of(traces_of("float32")), **FORMS[form])
    for channels, (start, end) in itertools.product(
        (IDS[3:4], IDS[::-1], IDS[1:20:3], [IDS[5], IDS[5]]), ((0, 1), (5, 5), (100, 333))
    ):
        compare(referenced, channel_ids=channels, start_frame=start, end_frame=end)


@pytest.mark.parametrize("num_channels", [1, 2, 97, 130, 385])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_any_number_of_channels(num_channels, dtype):
    recording = recording_of(traces_of(dtype, num_channels, 150))
    for operator, wanted in itertools.product(("median", "average"), (None, "float32")):
        compare(si.common_reference(recording, operator=operator, dtype=wanted))


@pytest.mark.parametrize("num_channels", [40, 130])
def test_extremes_of_integers(num_channels):
    rng = np.random.default_rng(0)
    traces = rng.choice(np.array([-32_768, -1, 0, 1, 2, 32_767], dtype="int16"), size=(300, num_channels))
    for wanted in ("float32", "int32"):
        compare(si.common_reference(recording_of(traces), dtype=wanted), tolerance=0)
    # differences that 16 bits do not hold are cut to them
    compare(si.common_reference(recording_of(traces)))


@pytest.mark.parametrize("form", ["global", "groups", "single", "local"])
@pytest.mark.parametrize("operator", ["median", "average"])
def test_nan_and_constant_channels(form, operator):
    traces = traces_of("float32")
    traces[:, 4] = 7.0
    traces[50, 3] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        recording = si.common_reference(recording_of(traces), operator=operator, **FORMS[form])
        if form == "local" and operator == "average":
            # in a matrix product with many zeros, a NaN reaches every channel
            expected = recording.get_traces()
            with steadyspike.accelerate():
                value = recording.get_traces()
            good = np.arange(len(traces)) != 50
            np.testing.assert_allclose(value[good], expected[good], atol=1e-4)
        else:
            compare(recording)


@pytest.mark.parametrize("filter_name", ["bandpass_filter", "highpass_filter"])
@pytest.mark.parametrize("form", ["global", "groups", "single", "local"])
@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_after_a_filter_and_another_reference(filter_name, form, dtype):
    raw = recording_of(traces_of(dtype, num_samples=1200))
    filtered = getattr(si, filter_name)(raw, dtype="float32")
    chain = si.common_reference(si.common_reference(filtered, **FORMS[form]), operator="average")
    expected = chain.get_traces(start_frame=200, end_frame=900)
    calls.forget()
    with steadyspike.accelerate():
        value = chain.get_traces(start_frame=200, end_frame=900)
        report = steadyspike.accelerated()
        assert report[filter_name].taken == 1
        assert report["common_reference"].taken == 2
        apart = si.NumpyRecording([filtered.get_traces(start_frame=200, end_frame=900)], FS, channel_ids=IDS)
        apart.set_probe(raw.get_probe())
        twice = si.common_reference(si.common_reference(apart, **FORMS[form]), operator="average")
        np.testing.assert_array_equal(value, twice.get_traces())
    np.testing.assert_allclose(value, expected, atol=1e-4 * expected.std())


def test_parents_that_others_hold_are_not_written_to():
    traces = traces_of("float32")
    copy = traces.copy()
    with steadyspike.accelerate():
        for form in FORMS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                si.common_reference(recording_of(traces), **FORMS[form]).get_traces()
    np.testing.assert_array_equal(traces, copy)


@pytest.mark.parametrize("form", FORMS)
def test_threads_change_nothing(form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chain = si.common_reference(recording_of(traces_of("int16", num_samples=5000)), **FORMS[form])
    with steadyspike.accelerate():
        one = chain.get_traces()
    with steadyspike.accelerate(num_threads=3):
        np.testing.assert_array_equal(chain.get_traces(), one)


def test_what_is_left_to_spikeinterface():
    recording = recording_of(traces_of("float32"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = si.common_reference(recording, groups=[IDS], ref_channel_ids="out_of_group")
        counted = compare(empty, taken=False)
    assert list(counted.fell_back) == ["a set without channels"]
    with steadyspike.accelerate(), pytest.raises(ValueError, match="reference"):
        si.common_reference(recording, reference="globall")
