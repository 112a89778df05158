import numpy as np
import pytest
from conformance import CHECKS, Node, check_name
from parent_recordings import NUM_CHANNELS, integer_type, numpy_parent
from probeinterface import Probe
from spikeinterface.core import NumpyRecording
from spikeinterface.core.motion import Motion
from test_motion_interpolation import drift, known_covariance, leaving

from steadyspike.preprocessing.motion_by_shank import interpolate_motion_by_shank
from steadyspike.preprocessing.motion_interpolation import interpolate_motion

SHANKS = [0, 1] * (NUM_CHANNELS // 2)


def opposite(recording):
    motion = drift(recording)
    return Motion([-part for part in motion.displacement], motion.temporal_bins_s, motion.spatial_bins_um)


def required(recording):
    covariance = known_covariance(recording.get_num_channels())
    return dict(motions=[drift(recording).to_dict()], covariance=[covariance])


def arguments(recording):
    number = recording.get_num_channels()
    shanks = [i % 2 for i in range(number)]
    both = [drift(recording).to_dict(), opposite(recording).to_dict()][:number]
    motion = drift(recording)
    centers = [times[::2] for times in motion.temporal_bins_s]
    edges = [np.linspace(times[0], times[-1], 4) for times in motion.temporal_bins_s]
    return [
        dict(
            motions=both,
            covariance=None,
            shanks=shanks,
            border_mode=leaving(recording),
            spatial_interpolation_method="kriging",
            sigma_um=[30.0, 25.0],
            p=1.5,
            sparse_thresh=0.002,
            interpolation_time_bin_centers_s=centers,
            dtype=integer_type(recording),
        ),
        dict(
            motions=both,
            covariance=None,
            shanks=shanks[::-1],
            border_mode="force_zeros",
            spatial_interpolation_method="idw",
            num_closest=5,
            interpolation_time_bin_edges_s=edges,
            dtype="float64",
        ),
        dict(spatial_interpolation_method="nearest", interpolation_time_bin_size_s=0.004),
    ]


NODE = Node(make=interpolate_motion_by_shank, required=required, arguments=arguments)


@pytest.mark.filterwarnings("ignore:.*counts are put together.*")
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


def recording_of_shanks(num_samples=3000, seed=0):
    """Two shanks of eight contacts, 250 um apart at other depths, with their channels interleaved."""
    depths = 20.0 * np.arange(8)
    positions = np.concatenate(
        [np.stack([np.zeros(8), depths], 1), np.stack([np.full(8, 250.0), depths + 100], 1)]
    )
    mixed = np.random.default_rng(seed).permutation(16)
    probe = Probe(ndim=2)
    probe.set_contacts(
        positions=positions[mixed],
        shapes="circle",
        shape_params={"radius": 5},
        shank_ids=np.repeat(["left", "right"], 8)[mixed],
    )
    probe.set_device_channel_indices(np.arange(16))
    traces = np.random.default_rng(seed).normal(size=(num_samples, 16)).astype("float32")
    recording = NumpyRecording([traces], 30_000.0)
    recording.set_probe(probe)
    recording.set_property("depth_rank", np.arange(16))
    return recording, np.repeat([0, 1], 8)[mixed]


def test_each_shank_is_what_it_is_alone():
    recording, shanks = recording_of_shanks()
    first = shanks[0]
    motions = [drift(recording), opposite(recording)]
    corrected = interpolate_motion_by_shank(recording, motions)
    assert np.array_equal(corrected.channel_ids, recording.channel_ids)
    assert np.array_equal(corrected.get_channel_locations(), recording.get_channel_locations())
    assert np.array_equal(corrected.get_property("depth_rank"), np.arange(16))
    assert np.array_equal(corrected.get_property("group"), recording.get_property("group"))
    for number, motion in enumerate(motions):
        ids = recording.channel_ids[(shanks == first) == (number == 0)]
        alone = interpolate_motion(recording.select_channels(ids), motion)
        np.testing.assert_array_equal(corrected.get_traces(channel_ids=ids), alone.get_traces())


def test_channels_that_leave_are_removed_from_their_own_shank():
    recording, _ = recording_of_shanks()
    still = Motion([np.zeros((2, 1))], [np.array([0.02, 0.06])], np.array([50.0]))
    moved = Motion([np.full((2, 1), 30.0)], [np.array([0.02, 0.06])], np.array([50.0]))
    corrected = interpolate_motion_by_shank(recording, [still, moved], border_mode="remove_channels")
    assert corrected.get_num_channels() == 14
    kept = np.isin(recording.channel_ids, corrected.channel_ids)
    assert np.array_equal(corrected.get_channel_locations(), recording.get_channel_locations()[kept])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(motions=[]), "motions holds 0"),
        (dict(shanks=[0, 1]), "shanks="),
        (dict(shanks=[0.5] * NUM_CHANNELS), "shanks="),
        (dict(shanks=SHANKS), "motions holds 1"),
    ],
)
def test_motions_that_do_not_fit_are_refused(kwargs, message):
    recording = numpy_parent()
    with pytest.raises(ValueError, match=message):
        interpolate_motion_by_shank(recording, **{**required(recording), **kwargs})
