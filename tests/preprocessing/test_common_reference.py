import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.preprocessing as spre
from conformance import CHECKS, Node, check_name
from parent_recordings import SAMPLING_FREQUENCY, channel_ids, dress, make_traces, numpy_parent

from steadyspike.preprocessing.bandpass import bandpass_filter
from steadyspike.preprocessing.common_reference import common_reference
from steadyspike.preprocessing.phase_shift import phase_shift

IDS = channel_ids()
GROUPS = [IDS[:5], IDS[5:9], IDS[9:]]


def arguments(recording):
    ids = recording.channel_ids.tolist()
    groups = [group for group in (ids[:3], ids[3:9], ids[9:]) if group]
    # one group has nothing outside
    outside = "out_of_group" if len(groups) > 1 else [ids]
    return [
        dict(operator="average", groups=groups, ref_channel_ids=outside, dtype="int16"),
        dict(groups=groups[:2], ref_channel_ids=[ids[2:7] or ids, ids[:1]][: len(groups)]),
        dict(reference="single", ref_channel_ids=ids[-1]),
        dict(reference="local", local_radius=(25.0, 70.0), min_local_neighbors=4, dtype="float64"),
        dict(reference="local", operator="average", local_radius=(0.0, 45.0), min_local_neighbors=1),
    ]


NODE = Node(make=common_reference, arguments=arguments, changed_properties=("offset_to_uV",))


@pytest.mark.filterwarnings("ignore:.*(fewer than|in none of them|counts are put together).*")
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
@pytest.mark.parametrize("operator", ["median", "average"])
@pytest.mark.parametrize(
    "kwargs",
    [
        dict(),
        dict(ref_channel_ids=IDS[1:8]),
        dict(groups=GROUPS),
        dict(groups=GROUPS[:2]),
        dict(groups=[IDS[:7], IDS[4:]]),
        dict(groups=GROUPS, ref_channel_ids=[IDS[4:6], IDS[:1], IDS]),
        dict(groups=GROUPS, ref_channel_ids="out_of_group"),
        dict(reference="single", ref_channel_ids=IDS[5]),
        dict(reference="single", ref_channel_ids=[IDS[5]]),
        dict(reference="single", ref_channel_ids=[IDS[0], IDS[11], IDS[2]], groups=GROUPS),
        dict(reference="local"),
        dict(reference="local", local_radius=(0.0, 45.0), min_local_neighbors=3),
        dict(reference="local", local_radius=(90.0, 91.0), min_local_neighbors=7),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*(neighbors|channel beyond|fewer than).*")
def test_equals_spikeinterface(kwargs, operator, dtype):
    recording = numpy_parent(dtype)
    result_dtype = "float64" if dtype == "float64" else "float32"
    theirs = spre.common_reference(recording, operator=operator, dtype=result_dtype, **kwargs)
    ours = common_reference(recording, operator=operator, **kwargs)
    assert ours.get_dtype() == result_dtype
    expected = theirs.get_traces(1)
    # upstream sums the mean of float32 traces, and keeps every local median, in single precision
    exact = operator == "median" and not (kwargs.get("reference") == "local" and dtype == "float64")
    np.testing.assert_allclose(ours.get_traces(1), expected, atol=0 if exact else 1e-5 * expected.std())


@pytest.mark.parametrize("operator", ["median", "average"])
def test_integer_output_equals_spikeinterface(operator):
    recording = numpy_parent("int16")
    theirs = spre.common_reference(recording, operator=operator, dtype="int16")
    ours = common_reference(recording, operator=operator, dtype="int16")
    np.testing.assert_array_equal(ours.get_traces(0), theirs.get_traces(0))


def test_many_channels_are_counted_rather_than_sorted():
    traces = np.tile(make_traces(600, "int16"), (1, 20)) + np.arange(240, dtype="int16") % 13
    recording = si.NumpyRecording([traces], SAMPLING_FREQUENCY)
    for kwargs in (dict(), dict(groups=[list(range(0, 240, 2)), list(range(1, 240, 2))])):
        theirs = spre.common_reference(recording, dtype="float32", **kwargs)
        ours = common_reference(recording, **kwargs)
        np.testing.assert_array_equal(ours.get_traces(0), theirs.get_traces(0))


def test_bad_sample_reaches_only_the_channels_that_refer_to_it():
    traces = make_traces(100, "float32")
    traces[40, 6] = np.nan
    recording = dress(si.NumpyRecording([traces], SAMPLING_FREQUENCY, channel_ids=IDS))
    value = common_reference(recording, groups=GROUPS).get_traces(0)
    expected = np.zeros(value.shape, dtype=bool)
    expected[40, 5:9] = True
    np.testing.assert_array_equal(np.isnan(value), expected)


def test_one_channel():
    recording = dress(numpy_parent()).select_channels(IDS[:1])
    assert np.all(common_reference(recording).get_traces(0) == 0)
    with pytest.warns(UserWarning, match="stays as it is"):
        local = common_reference(recording, reference="local")
    np.testing.assert_array_equal(local.get_traces(0), recording.get_traces(0))


def test_offset_of_all_channels_is_removed_with_the_reference():
    recording = numpy_parent("uint16")
    in_uv = recording.get_traces(0, return_in_uV=True)
    referenced = common_reference(recording)
    expected = in_uv - np.median(in_uv, axis=1, keepdims=True)
    np.testing.assert_allclose(referenced.get_traces(0, return_in_uV=True), expected, atol=1e-2)
    recording.set_channel_offsets(np.arange(12.0))
    assert np.all(common_reference(recording).get_property("offset_to_uV") == np.arange(12.0))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(reference="nearest"), "reference='nearest'; allowed: 'global', 'single' or 'local'"),
        (dict(operator="mean"), "operator='mean'; allowed: 'median' or 'average'"),
        (dict(dtype="uint16"), "dtype='uint16'"),
        (dict(ref_channel_ids="out_of_group"), "ref_channel_ids='out_of_group'.*with groups"),
        (dict(ref_channel_ids=IDS[0]), "list of ids"),
        (dict(ref_channel_ids=[]), r"ref_channel_ids=\[\].*at least one"),
        (dict(ref_channel_ids=["AP99"]), "AP99"),
        (dict(groups=[IDS[:3], ["AP99"]]), r"groups=\['AP99'\]"),
        (dict(groups=[IDS[:3], []]), r"groups=\[\].*at least one"),
        (dict(groups=[IDS], ref_channel_ids="out_of_group"), r"ref_channel_ids=\[\].*at least one"),
        (dict(groups=IDS[:3]), r"groups=.*a list of lists .*\[\['0', '1'\]\]"),
        (dict(groups=[]), r"groups=\[\].*a list of lists"),
        (dict(groups=GROUPS, ref_channel_ids=[IDS[:2]]), "each of the 3 groups"),
        (dict(groups=GROUPS, ref_channel_ids=IDS[:3]), "each of the 3 groups"),
        (dict(reference="single"), "ref_channel_ids=None; .*1 channel id"),
        (dict(reference="single", ref_channel_ids=IDS[:2]), "1 channel id"),
        (dict(reference="single", ref_channel_ids=IDS[:2], groups=GROUPS), "3 channel id"),
        (dict(reference="local", groups=GROUPS), "groups=.*None with reference='local'"),
        (dict(reference="local", ref_channel_ids=IDS[:2]), "ref_channel_ids=.*None with reference='local'"),
        (
            dict(reference="local", local_radius=(50.0, 30.0)),
            r"local_radius=\(50.0, 30.0\).*inner radius < outer",
        ),
        (dict(reference="local", local_radius=(-1.0, 30.0)), r"local_radius=\(-1.0, 30.0\)"),
        (dict(reference="local", min_local_neighbors=0), "min_local_neighbors=0"),
    ],
)
def test_impossible_parameters_are_refused_before_any_data_is_read(kwargs, message):
    with pytest.raises(ValueError, match=message):
        common_reference(numpy_parent(), **kwargs)


def test_function_name_and_dict_of_recordings():
    assert common_reference.__name__ == "steady_common_reference"
    referenced = common_reference(
        {"left": numpy_parent(), "right": numpy_parent("int16")}, operator="average"
    )
    assert set(referenced) == {"left", "right"}
    assert referenced["left"]._kwargs["operator"] == "average"


@pytest.mark.parametrize("ids", [["0", "1", "2", "3"], ["10", "11", "3", "1"], [0, 1, 2, 3]], ids=str)
@pytest.mark.parametrize("more", [{}, dict(ref_channel_ids="out_of_group")], ids=str)
def test_a_flat_list_of_ids_is_no_group_of_characters(ids, more):
    recording = si.NumpyRecording([make_traces(50, "float32")[:, :4]], SAMPLING_FREQUENCY, channel_ids=ids)
    for flat in (ids, ids[:2], np.array(ids), tuple(ids), ids[0]):
        with pytest.raises(ValueError, match=r"groups=.*\[\['0', '1'\], \['2', '3'\]\]"):
            common_reference(recording, groups=flat, **more)
    traces = common_reference(recording, groups=[ids]).get_traces()
    np.testing.assert_array_equal(traces, common_reference(recording).get_traces())


def test_channels_in_no_group_are_named():
    with pytest.warns(UserWarning, match=f"channels {IDS[0]}, {IDS[11]} are in none of them and become 0"):
        referenced = common_reference(numpy_parent("uint16"), groups=[IDS[1:11]])
    assert not referenced.get_traces(0, return_in_uV=True)[:, [0, 11]].any()


@pytest.mark.parametrize("name", ["gains", "offsets"])
def test_counts_of_unlike_channels_are_told(name):
    recording = numpy_parent("int16")
    getattr(recording, f"set_channel_{name}")(np.linspace(0.1, 0.4, 12))
    with pytest.warns(
        UserWarning, match=f"steady_common_reference: the channels have {name} from 0.1 to 0.4"
    ):
        common_reference(recording)
    # what the warning says to do
    scaled = common_reference(spre.scale_to_uV(recording)).get_traces(0)
    in_uv = recording.get_traces(0, return_in_uV=True)
    np.testing.assert_allclose(scaled, in_uv - np.median(in_uv, axis=1, keepdims=True), atol=1e-4)


@pytest.mark.parametrize("dtype", ["int16", "float64"])
@pytest.mark.parametrize(
    "before", [bandpass_filter, lambda one: phase_shift(one, inter_sample_shift=np.arange(12) / 12)]
)
@pytest.mark.parametrize(
    "kwargs", [dict(), dict(groups=GROUPS[:2]), dict(reference="local"), dict(operator="average")]
)
@pytest.mark.filterwarnings("ignore:.*(fewer than|in none of them).*")
def test_what_a_node_of_ours_has_computed_is_overwritten(before, kwargs, dtype):
    parent = before(numpy_parent(dtype))
    kept = si.NumpyRecording([parent.get_traces(0)], SAMPLING_FREQUENCY, channel_ids=IDS)
    expected = common_reference(dress(kept), **kwargs).get_traces()
    for _ in range(2):
        np.testing.assert_array_equal(common_reference(parent, **kwargs).get_traces(0), expected)
