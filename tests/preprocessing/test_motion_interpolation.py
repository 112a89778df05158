import json
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spikeinterface as si
from conformance import CHECKS, Node, check_name
from parent_recordings import NUM_CHANNELS, SAMPLING_FREQUENCY, dress, file_parent, integer_type, numpy_parent
from probeinterface import Probe
from spikeinterface.core.motion import Motion
from spikeinterface.preprocessing import astype, get_motion_parameters_preset
from spikeinterface.sortingcomponents.motion import interpolate_motion as upstream
from threadpoolctl import threadpool_info, threadpool_limits

import steadyspike  # noqa: F401  (registers the presets)
from steadyspike.kernels.channels.waveform_loss import waveform_losses
from steadyspike.preprocessing.bandpass import bandpass_filter
from steadyspike.preprocessing.motion_by_shank import interpolate_motion_by_shank
from steadyspike.preprocessing.motion_interpolation import interpolate_motion
from steadyspike.preprocessing.trace_covariance import covariance_of
from steadyspike.simulation.drift import make_noise, simulate_drifting_recording


def upstream_interpolate_motion(recording, motion, **kwargs):
    """SpikeInterface's, Gaussian as ours is by default."""
    return upstream(recording, motion, **dict(p=2) | kwargs)


def kriged(recording, motion, **kwargs):
    """Ours by the method that SpikeInterface has too, unless another is asked for."""
    return interpolate_motion(recording, motion, **dict(spatial_interpolation_method="kriging") | kwargs)


def drift(recording):
    """Motion of two depths in bins of 10 ms, the same for a segment whether or not there are others."""
    temporal_bins_s, displacement = [], []
    for segment_index in range(recording.get_num_segments()):
        start = 0.0
        if recording.get_num_samples(segment_index):
            start = recording.get_start_time(segment_index)
        times = start + 0.005 + 0.01 * np.arange(4)
        temporal_bins_s.append(times)
        displacement.append(np.stack([9.0 * np.sin(70.0 * times), 14.0 * np.cos(50.0 * times)], axis=1))
    return Motion(displacement, temporal_bins_s, np.array([10.0, 80.0]))


def leaving(recording):
    """The border mode that removes channels, where any would stay."""
    is_long = np.ptp(recording.get_channel_locations()[:, 1]) > 50.0
    return "remove_channels" if is_long else "force_zeros"


def known_covariance(num_channels):
    """What would otherwise be fitted to the recording, and so to each segment or piece of it anew."""
    return dict(
        spikes_widths_um=[20.0, 57.0],
        spikes_heights_um=[20.0, 28.0],
        spikes_weights=[0.6, 0.4],
        noise_widths_um=[14.0],
        noise_heights_um=[14.0],
        noise_weights=[0.7],
        noise_own=0.3,
        noise_levels=np.linspace(0.9, 1.1, num_channels).tolist(),
    )


def required(recording):
    return dict(motion=drift(recording).to_dict(), covariance=known_covariance(recording.get_num_channels()))


def arguments(recording):
    motion = drift(recording)
    opposite = Motion([-d for d in motion.displacement], motion.temporal_bins_s, motion.spatial_bins_um)
    centers = [times[::2] for times in motion.temporal_bins_s]
    edges = [np.linspace(times[0], times[-1], 4) for times in motion.temporal_bins_s]
    return [
        dict(
            motion=opposite.to_dict(),
            border_mode=leaving(recording),
            spatial_interpolation_method="kriging",
            sigma_um=[30.0, 25.0],
            p=1.5,
            sparse_thresh=0.002,
            interpolation_time_bin_centers_s=centers,
            dtype=integer_type(recording),
        ),
        dict(
            border_mode="force_zeros",
            spatial_interpolation_method="idw",
            num_closest=5,
            interpolation_time_bin_edges_s=edges,
            dtype="float64",
        ),
        dict(spatial_interpolation_method="nearest", interpolation_time_bin_size_s=0.004),
    ]


NODE = Node(make=interpolate_motion, required=required, arguments=arguments)


@pytest.mark.filterwarnings("ignore:.*counts are put together.*")
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


def positions_of(layout):
    """Contact positions in um of a probe."""
    index = np.arange(64)
    if layout == "neuropixels1":
        return np.stack([np.tile([16.0, 48.0, 0.0, 32.0], 16), 20.0 * (index // 2)], axis=1)
    if layout == "shuffled":
        return positions_of("neuropixels1")[np.random.default_rng(0).permutation(64)]
    return np.stack([250.0 * (index % 4) + 32.0 * (index // 4 % 2), 15.0 * (index // 8)], axis=1)


def recording_on(positions, num_samples=9000, dtype="float32", t_start=0.0, seed=0):
    """Noise with rare large spikes at 3 kHz, on a probe."""
    rng = np.random.default_rng(seed)
    traces = rng.normal(scale=10.0, size=(num_samples, len(positions)))
    spikes = rng.integers(0, num_samples, size=300), rng.integers(0, len(positions), size=300)
    traces[spikes] -= 400.0
    recording = si.NumpyRecording([traces.astype(dtype)], 3000.0, t_starts=[t_start])
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=positions, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(len(positions)))
    recording.set_probe(probe)
    return recording


def slow_drift(t_start=0.0, scale_um=12.0, seed=1):
    """Random walk in bins of 0.4 s, of three depths."""
    steps = np.random.default_rng(seed).normal(scale=scale_um, size=(8, 3))
    times = t_start + 0.2 + 0.4 * np.arange(8)
    return Motion(np.cumsum(steps, axis=0), times, np.array([50.0, 250.0, 500.0]))


def assert_equal_traces(value, expected):
    """Equal to 1e-4 of the standard deviation, in chunks that begin and end anywhere among the time bins."""
    assert list(value.channel_ids) == list(expected.channel_ids)
    for segment_index in range(expected.get_num_segments()):
        wanted = expected.get_traces(segment_index)
        for start, end in ((0, None), (0, 700), (1199, 1202), (2345, 6001), (8998, 9000)):
            traces = value.get_traces(segment_index, start, end)
            np.testing.assert_allclose(traces, wanted[start:end], rtol=0, atol=1e-4 * wanted.std())


@pytest.mark.parametrize("layout", ["neuropixels1", "shuffled", "four_shanks"])
@pytest.mark.parametrize("border_mode", ["remove_channels", "force_extrapolate", "force_zeros"])
@pytest.mark.parametrize("method", [dict(), dict(p=1), dict(sigma_um=[20.0, 30.0], p=2), "idw", "nearest"])
def test_equals_spikeinterface(method, border_mode, layout):
    kwargs = dict(method) if isinstance(method, dict) else dict(spatial_interpolation_method=method)
    kwargs["border_mode"] = border_mode
    recording, motion = recording_on(positions_of(layout)), slow_drift()
    expected = upstream_interpolate_motion(recording, motion, **kwargs)
    value = kriged(recording, motion, **kwargs)
    if method == "idw" and border_mode == "force_extrapolate":
        value, expected = only_inside(value, expected, recording, motion)
    assert_equal_traces(value, expected)


def test_the_default_is_what_the_presets_use():
    recording, motion = recording_on(positions_of("neuropixels1"), 2000), slow_drift()
    value = interpolate_motion(recording, motion).get_traces()
    assert not np.allclose(kriged(recording, motion).get_traces(), value)
    np.testing.assert_array_equal(
        kriged(recording, motion, p=2).get_traces(), kriged(recording, motion).get_traces()
    )
    for preset in ("steady_auto", "steady_denoised", "steady_kilosort", "steady_nonrigid", "steady_rigid"):
        asked = dict(get_motion_parameters_preset(preset)["interpolate_motion_kwargs"])
        assert asked.pop("method") == "steady_interpolate_motion"
        np.testing.assert_array_equal(interpolate_motion(recording, motion, **asked).get_traces(), value)


@pytest.fixture(scope="module")
def simulated():
    return simulate_drifting_recording("rigid_zigzag", num_channels=64, duration_s=4.0, seed=0)


def true_motion_of(simulated):
    displacement = simulated.displacement_vector
    times = (np.arange(len(displacement)) + 0.5) / simulated.displacement_sampling_frequency
    return Motion([displacement[:, None]], [times], np.array([300.0]))


def moved_by(displacement_um):
    return Motion(np.full((1, 1), displacement_um), np.array([1.0]), np.array([0.0]))


def test_covariances_are_fitted_to_the_recording_and_kept(simulated, tmp_path):
    value = interpolate_motion(simulated.static_recording, moved_by(7.0))
    kept = value._kwargs["covariance"]
    assert len(kept["noise_levels"]) == 64
    # footprints of the simulated units reach farther than their noise
    heights = {
        name: np.average(kept[f"{name}_heights_um"], weights=kept[f"{name}_weights"])
        for name in ("spikes", "noise")
    }
    assert 15.0 < heights["spikes"] < 45.0
    assert heights["noise"] < heights["spikes"]
    again = interpolate_motion(simulated.static_recording, moved_by(7.0), covariance=kept)
    np.testing.assert_array_equal(again.get_traces(0, 0, 300), value.get_traces(0, 0, 300))


def test_a_fit_leaves_blas_one_thread(simulated, monkeypatch):
    """Of small matrices more threads make long waits where others work on the machine too."""
    seen = {}

    def watch(name):
        own = getattr(np.linalg, name)

        def watched(*arguments, **keywords):
            if name not in seen:
                seen[name] = {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}
            return own(*arguments, **keywords)

        monkeypatch.setattr(np.linalg, name, watched)

    motion = true_motion_of(simulated)
    for fit, name in (
        (lambda: interpolate_motion(simulated.recording, motion), "solve"),
        (lambda: waveform_losses(simulated.recording.get_channel_locations(), 1, [5.0], [5.0], 1.0), "eigh"),
    ):
        watch(name)
        with threadpool_limits(2, user_api="blas"):
            fit()
        assert seen[name] == {1}


def test_tissue_that_moves_past_the_contacts_is_fitted_and_kept(simulated, tmp_path):
    """A saved chain holds the patches, rounded as the first one had them, and gives the same traces."""
    motion = true_motion_of(simulated)
    value = interpolate_motion(simulated.recording, motion)
    factors = value._kwargs["covariance"]["tissue"]
    assert sum(map(len, factors)) > len(factors)
    assert interpolate_motion(simulated.recording, moved_by(7.0))._kwargs["covariance"]["tissue"] == []
    again = si.load(value.to_dict())
    np.testing.assert_array_equal(again.get_traces(0, 0, 300), value.get_traces(0, 0, 300))
    general = {**value._kwargs["covariance"], "tissue": []}
    other = interpolate_motion(simulated.recording, motion, covariance=general)
    assert np.abs(other.get_traces(0, 0, 300) - value.get_traces(0, 0, 300)).max() > 1.0


def test_traces_are_nearer_to_those_without_motion_than_kriged_ones(simulated):
    """Where the tissue sits still at another depth: noise is left out, as it does not move."""
    errors = {}
    covariance = interpolate_motion(simulated.recording, moved_by(7.0))._kwargs["covariance"]
    rng = np.random.default_rng(0)
    sources = np.stack(
        [rng.uniform(-20, 70, 400), rng.uniform(0, 620, 400), rng.uniform(10, 40, 400)], axis=1
    )
    contacts = simulated.recording.get_channel_locations()

    def footprints(shift_um):
        moved = np.c_[contacts, np.zeros(64)] + [0.0, shift_um, 0.0]
        return 400.0 * np.exp(-np.linalg.norm(sources[:, None] - moved[None], axis=2) / 30.0)

    recording = si.NumpyRecording([footprints(0.0).astype("float32")], 30000.0)
    recording.set_probe(simulated.recording.get_probe())
    inside = slice(8, -8)
    for name, kwargs in (("wiener", dict(covariance=covariance)), ("kriging", dict())):
        value = interpolate_motion(recording, moved_by(10.0), spatial_interpolation_method=name, **kwargs)
        errors[name] = np.linalg.norm((value.get_traces() - footprints(10.0))[:, inside])
    assert errors["wiener"] < 0.9 * errors["kriging"]


def test_noise_does_not_breathe(simulated):
    noise = make_noise(simulated.recording.get_probe(), (6.0, 8.0), 4.0, 30000.0, 0)
    covariance = interpolate_motion(simulated.recording, moved_by(7.0))._kwargs["covariance"]
    levels = {"wiener": [], "kriging": []}
    for method, kwargs in (("wiener", dict(covariance=covariance)), ("kriging", dict())):
        for displacement in np.arange(0.1, 21.0, 4.0):
            motion = moved_by(displacement)
            value = interpolate_motion(noise, motion, spatial_interpolation_method=method, **kwargs)
            levels[method].append(value.get_traces(0, 0, 30000)[:, 8:-8].std(axis=0))
    variation = {name: np.median(np.std(one, axis=0) / np.mean(one, axis=0)) for name, one in levels.items()}
    assert variation["wiener"] < 0.015
    assert variation["kriging"] > 3 * variation["wiener"]


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_where_nothing_moves_nothing_is_changed(simulated, dtype):
    recording = astype(simulated.recording, dtype)
    value = interpolate_motion(recording, moved_by(0.0))
    assert value._kwargs["covariance"] is None
    given = recording.get_traces(0, 100, 400)
    assert value.get_dtype() == "float32"
    np.testing.assert_array_equal(value.get_traces(0, 100, 400), given)
    some = recording.channel_ids[[5, 2]]
    np.testing.assert_array_equal(value.get_traces(0, 100, 400, some), given[:, [5, 2]])
    again = si.load(value.to_dict())
    np.testing.assert_array_equal(again.get_traces(0, 100, 400), given)


def test_displacement_is_interpolated_between_time_bins(simulated):
    """No step at the edge between two bins 20 um apart: sine waves of one amplitude follow the displacement."""
    positions = positions_of("neuropixels1")
    times = np.arange(6000) / 3000.0
    traces = np.sin(2 * np.pi * positions[None, :, 1] / 400.0) * np.ones((6000, 1))
    recording = si.NumpyRecording([traces], 3000.0)
    recording.set_probe(recording_on(positions).get_probe())
    motion = Motion(np.array([[0.0], [20.0]]), np.array([0.5, 1.5]), np.array([0.0]))
    covariance = known_covariance(64)
    value = interpolate_motion(recording, motion, covariance=covariance).get_traces()[:, 20:-20]
    steps = np.abs(np.diff(value, axis=0)).max(axis=1)
    assert steps.max() < 0.02
    middle = np.searchsorted(times, 1.0)
    halfway = interpolate_motion(recording, moved_by(10.0), covariance=covariance).get_traces()[
        middle, 20:-20
    ]
    np.testing.assert_allclose(value[middle], halfway, atol=0.02)
    # bins that the caller chose are left as they are
    chosen = interpolate_motion(
        recording, motion, covariance=covariance, interpolation_time_bin_centers_s=[np.array([0.5, 1.5])]
    )
    changes = np.flatnonzero(np.abs(np.diff(chosen.get_traces(), axis=0)).max(axis=1))
    assert changes.size == 1


@pytest.mark.parametrize("bins_per_s", [1, 30_000])
def test_weights_follow_the_displacement_and_not_the_bins_of_the_motion(bins_per_s):
    """Three um in 2 s take three sets of weights, however finely the motion is given, and jumps one for each um."""
    times = np.arange(0, 2.01, 1 / bins_per_s)
    motion = Motion(1.5 * times[:, None], times, np.array([0.0]))
    recording = recording_on(positions_of("neuropixels1"), 100)
    edges = interpolate_motion(recording, motion, covariance=known_covariance(64)).segments[0].edges_s
    np.testing.assert_allclose(edges, [0.0, 2 / 3, 4 / 3, 2.0, 2.0], atol=0.01)
    jump = Motion(np.array([[0.0], [0.0], [-2.5], [-2.5]]), np.arange(4.0), np.array([0.0]))
    edges = interpolate_motion(recording, jump, covariance=known_covariance(64)).segments[0].edges_s
    np.testing.assert_allclose(edges, [0.0, 1.4, 1.8, 3.0])


def starts_read(recording, monkeypatch):
    """First frames of the chunks that are read for a fit, in their order."""
    starts = []
    segment = recording.segments[0]
    read = segment.get_traces

    def spy(start_frame, end_frame, channel_indices):
        starts.append(start_frame)
        return read(start_frame, end_frame, channel_indices)

    monkeypatch.setattr(segment, "get_traces", spy)
    positions = recording.get_channel_locations().astype("float64")
    covariance_of(recording, positions, 1, moved_by(0.0), "test")
    return starts


def test_a_fit_reads_no_more_than_it_needs_and_from_all_of_the_recording(monkeypatch):
    """Some 20 spikes a chunk: all of 20 s; 2,000 a chunk: a few will do. The first few are spread already."""
    layout = positions_of("neuropixels1")
    few, many = recording_on(layout, 60_000), recording_on(layout, 60_000)
    many_traces = many.get_traces().copy()
    frames, channels = np.meshgrid(np.arange(10, 60_000, 20), np.array([5, 25, 45]), indexing="ij")
    many_traces[frames, channels] -= 900.0
    many = si.NumpyRecording([many_traces], 3000.0)
    many.set_probe(few.get_probe())
    starts = starts_read(few, monkeypatch)
    assert len(starts) == 80
    assert np.ptp(starts[:3]) > 0.5 * 60_000
    assert len(np.unique(starts)) == 80
    assert 1 < len(starts_read(many, monkeypatch)) < 80


def test_noise_that_all_contacts_share_can_be_fitted():
    layout = positions_of("neuropixels1")
    same = np.random.default_rng(0).normal(size=(3000, 1)).astype("float32") * np.ones((1, 64), "float32")
    recording = si.NumpyRecording([same], 3000.0)
    recording.set_probe(recording_on(layout, 10).get_probe())
    with pytest.warns(UserWarning, match="too few to fit"):
        value = interpolate_motion(recording, moved_by(5.0))
    assert value._kwargs["covariance"]["noise_own"] >= 0.02
    assert np.isfinite(value.get_traces()).all()


@pytest.mark.parametrize("num_samples", [0, 1, 40])
def test_hardly_any_data_is_told_and_works(num_samples):
    whole = recording_on(positions_of("neuropixels1"), num_samples=300)
    recording = si.NumpyRecording([whole.get_traces()[:num_samples]], 3000.0)
    recording.set_probe(whole.get_probe())
    with pytest.warns(UserWarning, match=r"spikes in the .* s that were read are too few"):
        value = interpolate_motion(recording, moved_by(5.0)).get_traces()
    assert value.shape == (num_samples, 64)
    assert np.isfinite(value).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(noise_levels=[1.0]), "covariance: noise_levels=.*64, one for each channel"),
        (dict(noise_own=0.0), "covariance: noise_own=0.0; allowed: a number > 0 and <= 1"),
        (dict(spikes_weights=[1.0]), "covariance: spikes_weights=.*as many as spikes_widths_um"),
        (dict(spikes_weights=[0.0, 0.0]), "covariance: spikes_weights=.*one above 0"),
        (dict(noise_heights_um=["wide"]), "covariance: noise_heights_um"),
        (dict(width=3.0), "covariance: width is no parameter"),
        (dict(tissue=[[[1.0]]]), r"covariance: tissue=.*factors of \d+ patches of \d+ points, or none"),
        (dict(tissue=[[["much"]]]), "covariance: tissue"),
    ],
)
def test_covariances_that_cannot_work_are_refused(changes, message):
    recording = recording_on(positions_of("neuropixels1"), num_samples=10)
    with pytest.raises(ValueError, match=message):
        interpolate_motion(recording, moved_by(1.0), covariance={**known_covariance(64), **changes})


def only_inside(value, expected, recording, motion):
    """Both without the channels that ever leave the probe, where our idw weights still sum to 1."""
    inside = upstream_interpolate_motion(recording, motion).channel_ids
    assert 0 < len(inside) < len(expected.channel_ids)
    return value.select_channels(inside), expected.select_channels(inside)


def test_idw_beyond_the_probe_keeps_the_amplitude():
    """SpikeInterface leaves 1 / distance there: 0.1 um beyond the last contact, ten times the amplitude."""
    recording = recording_on(positions_of("neuropixels1"))
    motion = Motion(np.full((2, 1), 0.1), np.array([0.0, 3.0]), np.array([0.0]))
    kwargs = dict(spatial_interpolation_method="idw", border_mode="force_extrapolate")
    amplified = upstream_interpolate_motion(recording, motion, **kwargs).get_traces()[:, -1]
    value = kriged(recording, motion, **kwargs).get_traces()[:, -1]
    gain = amplified.std() / recording.get_traces()[:, -1].std()
    assert gain > 5
    assert 0.9 < value.std() / recording.get_traces()[:, -1].std() < 1.1
    np.testing.assert_allclose(np.corrcoef(amplified, value)[0, 1], 1.0, atol=1e-6)


@pytest.mark.parametrize("t_start", [0.0, 1000.25])
@pytest.mark.parametrize(
    "bins",
    [
        dict(interpolation_time_bin_centers_s=[np.array([0.3, 1.0, 1.4, 2.6])]),
        dict(interpolation_time_bin_edges_s=[np.array([0.5, 0.9, 2.2])]),
        dict(interpolation_time_bin_size_s=0.17),
        dict(interpolation_time_bin_size_s=2.0),
        dict(sparse_thresh=0.01),
    ],
)
def test_equals_spikeinterface_with_other_time_bins(bins, t_start):
    recording, motion = recording_on(positions_of("neuropixels1"), t_start=t_start), slow_drift(t_start)
    bins = {k: [v[0] + t_start] if isinstance(v, list) else v for k, v in bins.items()}
    kwargs = dict(border_mode="force_extrapolate", **bins)
    assert_equal_traces(
        kriged(recording, motion, **kwargs),
        upstream_interpolate_motion(recording, motion, **kwargs),
    )


@pytest.mark.parametrize("dtype", ["int16", "float64"])
def test_other_types_equal_spikeinterface(dtype):
    recording, motion = recording_on(positions_of("neuropixels1"), dtype=dtype), slow_drift()
    as_float = recording if dtype == "float64" else si.NumpyRecording([recording.get_traces() * 1.0], 3000.0)
    as_float.set_probe(recording.get_probe())
    expected = upstream_interpolate_motion(as_float, motion, border_mode="force_extrapolate")
    value = kriged(recording, motion)
    assert value.get_dtype() == ("float32" if dtype == "int16" else "float64")
    assert_equal_traces(value, expected)


def slowly_interpolated(traces, times, positions, motion):
    """Nearest contact, sample by sample, by the motion's definition."""
    edges = motion.temporal_bin_edges_s[0]
    corrected = np.zeros(traces.shape)
    for t, time in enumerate(times):
        time_bin = min(max(np.searchsorted(edges, time, side="right") - 1, 0), len(edges) - 2)
        middle = 0.5 * (edges[time_bin] + edges[time_bin + 1])
        for i, position in enumerate(positions):
            moved = position + [0.0, motion.get_displacement_at_time_and_depth([middle], [position[1]])[0]]
            nearest = min(range(len(positions)), key=lambda j: np.sum((positions[j] - moved) ** 2))
            corrected[t, i] = traces[t, nearest]
    return corrected


def test_nearest_equals_the_loops():
    recording = recording_on(positions_of("neuropixels1")[:9] + 1e-3 * np.arange(9)[:, None], num_samples=60)
    motion = Motion(np.array([[3.0], [17.0], [-25.0]]), np.array([0.004, 0.008, 0.012]), np.array([0.0]))
    value = kriged(recording, motion, spatial_interpolation_method="nearest")
    expected = slowly_interpolated(
        recording.get_traces(), recording.get_times(), recording.get_channel_locations(), motion
    )
    np.testing.assert_array_equal(value.get_traces(), expected)


def test_motion_moves_traces_against_the_displacement():
    """A trace seen at 100 um while the tissue is displaced by +40 um belongs to 60 um."""
    recording = recording_on(np.stack([np.zeros(10), 20.0 * np.arange(10)], axis=1))
    motion = Motion(np.full((2, 1), 40.0), np.array([0.0, 3.0]), np.array([0.0]))
    corrected = kriged(recording, motion).get_traces()
    np.testing.assert_allclose(corrected[:, 3], recording.get_traces()[:, 5], atol=0.01)


@pytest.mark.parametrize("border_mode", ["remove_channels", "force_extrapolate", "force_zeros"])
def test_several_segments_in_every_border_mode(border_mode):
    """SpikeInterface asks the motion for no segment in remove_channels, which raises (#3657, #3326)."""
    positions = positions_of("neuropixels1")
    motions = [slow_drift(seed=1), slow_drift(t_start=5.0, seed=2)]
    parts = [recording_on(positions, seed=0), recording_on(positions, t_start=5.0, seed=1)]
    both = si.append_recordings(parts)
    motion = Motion(
        [m.displacement[0] for m in motions],
        [m.temporal_bins_s[0] for m in motions],
        motions[0].spatial_bins_um,
    )
    value = kriged(both, motion, border_mode=border_mode)
    singles = [kriged(r, m, border_mode=border_mode) for r, m in zip(parts, motions, strict=True)]
    kept = [i for i in both.channel_ids if all(i in single.channel_ids for single in singles)]
    assert list(value.channel_ids) == kept
    for segment_index, single in enumerate(singles):
        wanted = single.get_traces(channel_ids=kept)
        np.testing.assert_allclose(value.get_traces(segment_index), wanted, rtol=0, atol=1e-4)


def test_removed_channels_leave_the_probe_and_its_properties():
    recording = numpy_parent()
    recording.set_property("group", np.arange(NUM_CHANNELS) % 3)
    value = kriged(recording, drift(recording), border_mode="remove_channels")
    kept = value.channel_ids
    assert 0 < len(kept) < NUM_CHANNELS
    assert value.get_probe().get_contact_count() == len(kept)
    np.testing.assert_array_equal(value.get_channel_locations(), recording.get_channel_locations(kept))
    for key in ("group", "brain_area", "gain_to_uV"):
        np.testing.assert_array_equal(value.get_property(key), recording.get_property(key, ids=kept))
    assert recording.get_num_channels() == NUM_CHANNELS


def test_all_channels_stay_by_default():
    """SpikeInterface removes channels unasked (#3145, #2575)."""
    recording = numpy_parent()
    value = kriged(recording, drift(recording))
    np.testing.assert_array_equal(value.channel_ids, recording.channel_ids)
    assert np.abs(value.get_traces(0)).min(axis=0).max() > 0


def test_integers_are_welcome():
    """SpikeInterface refuses int16 (#3146, #3404), and once returned zeros for it (#1893)."""
    recording = numpy_parent("int16")
    value = kriged(recording, drift(recording))
    assert value.get_dtype() == "float32"
    assert value.get_traces(0).std() > 1.0


@pytest.mark.parametrize("relative", [False, True])
def test_saved_json_holds_the_motion_exactly(relative, tmp_path):
    """SpikeInterface's node has no JSON, because a motion comes back as a dict (#3313, #1126)."""
    recording = file_parent(tmp_path)
    motion = drift(recording)
    motion.displacement[0][1, 1] = 0.1 + 0.2
    value = kriged(recording, motion)
    assert value.check_serializability("json")
    value.dump_to_json(tmp_path / "chain.json", relative_to=tmp_path if relative else None)
    saved = json.loads((tmp_path / "chain.json").read_text())["kwargs"]["motion"]
    assert saved["displacement"][0][1][1] == 0.1 + 0.2
    loaded = si.load(tmp_path / "chain.json", base_folder=tmp_path if relative else None)
    assert isinstance(loaded._kwargs["motion"], Motion)
    for array, expected in zip(loaded._kwargs["motion"].displacement, motion.displacement, strict=True):
        np.testing.assert_array_equal(array, expected)
    for segment_index in range(2):
        np.testing.assert_array_equal(loaded.get_traces(segment_index), value.get_traces(segment_index))


def test_copies_compute_the_same(tmp_path):
    recording = file_parent(tmp_path)
    value = kriged(recording, drift(recording))
    expected = value.get_traces(1)
    copies = [
        pickle.loads(pickle.dumps(value)),
        value.clone(),
        value.save(format="memory", progress_bar=False),
    ]
    for copy in copies:
        np.testing.assert_array_equal(copy.get_traces(1), expected)


def test_a_single_precision_motion_survives_the_json(tmp_path):
    recording = file_parent(tmp_path)
    motion = drift(recording)
    motion = Motion(
        [d.astype("float32") for d in motion.displacement], motion.temporal_bins_s, np.array([10, 80])
    )
    value = kriged(recording, motion)
    value.dump_to_json(tmp_path / "chain.json")
    np.testing.assert_array_equal(si.load(tmp_path / "chain.json").get_traces(0), value.get_traces(0))


def test_the_motion_is_copied():
    recording = numpy_parent()
    motion = drift(recording)
    value = kriged(recording, motion)
    expected = value.get_traces(0)
    for displacement in motion.displacement:
        displacement += 50.0
    np.testing.assert_array_equal(value.get_traces(0), expected)


def constant_motion(times, spatial_bins_um=(0.0,)):
    shape = (len(times), len(spatial_bins_um))
    return Motion(np.full(shape, 7.0), np.asarray(times), np.array(spatial_bins_um))


@pytest.mark.parametrize(
    "times", [[1.0], [1.0, 2.0], [-50.0, -40.0], [900.0, 950.0, 960.0], np.arange(4)], ids=str
)
@pytest.mark.parametrize("spatial_bins_um", [(0.0,), (0.0, 300.0)])
def test_any_number_of_bins_anywhere(times, spatial_bins_um):
    """One bin, one depth, bins before and after the recording: the closest bin counts."""
    recording = recording_on(positions_of("neuropixels1"))
    value = kriged(recording, constant_motion(times, spatial_bins_um))
    expected = kriged(recording, constant_motion([0.0, 1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(value.get_traces(), expected.get_traces())


@pytest.mark.parametrize("times", [np.array([0.0, 2.0]), np.array([0, 2])], ids=["float", "integer"])
def test_two_bins_meet_halfway(times):
    """SpikeInterface leaves the edge between two bins unset, and truncates edges of integer times."""
    recording = recording_on(positions_of("neuropixels1"), num_samples=6000)
    motion = Motion(np.array([[0.0], [40.0]]), times, np.array([0.0]))
    value = kriged(recording, motion, spatial_interpolation_method="nearest").get_traces()
    traces = recording.get_traces()
    quarter = kriged(recording, constant_motion([0.0]), spatial_interpolation_method="nearest")
    np.testing.assert_array_equal(value[:3000, 8:40], quarter.get_traces()[:3000, 8:40])
    np.testing.assert_array_equal(value[3000:, 8:40], traces[3000:, 12:44])


def test_dead_channel_spreads_no_further_than_its_weight():
    recording = recording_on(positions_of("neuropixels1"))
    traces = recording.get_traces().copy()
    traces[:, 30] = np.nan
    broken = si.NumpyRecording([traces], 3000.0)
    broken.set_probe(recording.get_probe())
    for kwargs, reach_um in ((dict(), 160.0), (dict(spatial_interpolation_method="idw"), 70.0)):
        value = kriged(broken, slow_drift(), **kwargs).get_traces()
        expected = kriged(recording, slow_drift(), **kwargs).get_traces()
        depth = recording.get_channel_locations()[:, 1]
        reached = np.isnan(value).any(axis=0)
        assert reached[30 - 8 : 30 + 8].any()
        assert not reached[np.abs(depth - depth[30]) > reach_um].any()
        intact = ~np.isnan(value)
        np.testing.assert_allclose(value[intact], expected[intact], rtol=1e-5, atol=1e-4)


def test_three_dimensions():
    positions = np.array([[10.0 * (i % 2), 0.0, 20.0 * (i // 2)] for i in range(16)])
    flat = recording_on(positions[:, [0, 2]])
    recording = si.NumpyRecording([flat.get_traces()], 3000.0)
    probe = Probe(ndim=3, si_units="um")
    plane_axes = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), (16, 1, 1))
    probe.set_contacts(positions, plane_axes=plane_axes, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(16))
    recording.set_probe(probe)
    displacement, times, depths = np.array([[5.0], [9.0], [-4.0]]), np.array([0.0, 1.0, 2.0]), np.array([0.0])
    value = kriged(recording, Motion(displacement, times, depths, direction="z"))
    expected = kriged(flat, Motion(displacement, times, depths, direction="y"))
    np.testing.assert_allclose(value.get_traces(), expected.get_traces(), atol=1e-3)


def test_threads_share_the_weights():
    recording = recording_on(positions_of("neuropixels1"))
    expected = kriged(recording, slow_drift()).get_traces()
    value = kriged(recording, slow_drift())
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda start: value.get_traces(0, start, start + 300), range(0, 9000, 300))
        np.testing.assert_array_equal(np.concatenate(list(parts)), expected)


class UnreadableSegment(si.core.BaseRecordingSegment):
    def get_num_samples(self):
        return 1000

    def get_traces(self, start_frame, end_frame, channel_indices):
        raise AssertionError("data was read")


def unreadable(num_segments=1):
    recording = si.core.BaseRecording(SAMPLING_FREQUENCY, np.arange(NUM_CHANNELS), "float32")
    for _ in range(num_segments):
        recording.add_recording_segment(UnreadableSegment(sampling_frequency=SAMPLING_FREQUENCY))
    return dress(recording)


def two_bins(**changes):
    motion = dict(
        displacement=[np.zeros((2, 1))],
        temporal_bins_s=[np.array([0.0, 1.0])],
        spatial_bins_um=np.array([0.0]),
        direction="y",
        interpolation_method="linear",
    )
    return {**motion, **changes}


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(border_mode="remove"), "border_mode='remove'.*force_zeros"),
        (dict(border_mode=None), "border_mode=None"),
        (dict(spatial_interpolation_method="linear"), "spatial_interpolation_method='linear'.*nearest"),
        (dict(sigma_um=0.0), "sigma_um=0.0"),
        (dict(sigma_um=float("nan")), "sigma_um=nan"),
        (dict(sigma_um=[20.0, 20.0, 20.0]), "sigma_um=.*2 dimensions"),
        (dict(sigma_um=[20.0, -1.0]), r"sigma_um=\[20.0, -1.0\].*> 0"),
        (dict(sigma_um="wide"), "sigma_um='wide'"),
        (dict(p=0), "p=0.*> 0"),
        (dict(p=True), "p=True"),
        (dict(num_closest=0), "num_closest=0.*>= 1"),
        (dict(num_closest=2.5), "num_closest=2.5"),
        (dict(sparse_thresh=-0.1), "sparse_thresh=-0.1.*>= 0"),
        (dict(dtype="complex64"), "dtype='complex64'"),
        (dict(interpolation_time_bin_size_s=0.0), "interpolation_time_bin_size_s=0.0"),
        (dict(interpolation_time_bin_centers_s=[1.0, 0.5]), "interpolation_time_bin_centers_s=.*increasing"),
        (dict(interpolation_time_bin_centers_s=[]), "interpolation_time_bin_centers_s=.*at least 1"),
        (dict(interpolation_time_bin_edges_s=[0.5]), "interpolation_time_bin_edges_s=.*at least 2"),
        (dict(interpolation_time_bin_centers_s=[[0.5], [0.5]]), "of the 1 segment"),
        (
            dict(interpolation_time_bin_edges_s=[0.0, 1.0], interpolation_time_bin_size_s=1.0),
            "_edges_s=.*one of them",
        ),
        (dict(motion=np.zeros((3, 1))), "motion=.*a Motion"),
        (dict(motion={"object": "Motion"}), "motion=.*displacement"),
        (dict(motion=two_bins(direction="z")), "motion.direction='z'.*'x', 'y'"),
        (dict(motion=two_bins(displacement=[np.zeros((3, 1))])), r"motion.displacement\[0\].*\(2, 1\)"),
        (dict(motion=two_bins(displacement=[np.full((2, 1), np.nan)])), r"motion.displacement\[0\].*finite"),
        (dict(motion=two_bins(temporal_bins_s=[[1.0, 1.0]])), r"motion.temporal_bins_s\[0\].*increasing"),
        (dict(motion=two_bins(interpolation_method="bogus")), "interpolation_method='bogus'"),
        (dict(motion=two_bins(interpolation_method="cubic")), "interpolation_method='cubic'.*enough bins"),
        (
            dict(motion=two_bins(displacement=[np.full((2, 1), 999.0)]), border_mode="remove_channels"),
            "border_mode='remove_channels'.*force_zeros.*remove all channels",
        ),
    ],
)
def test_bad_arguments_are_refused_before_data_is_read(kwargs, message):
    with pytest.raises(ValueError, match=message):
        kriged(unreadable(), **{"motion": two_bins(), **kwargs})


def test_segments_must_match():
    with pytest.raises(ValueError, match=r"motion has 1 segment\(s\) and recording 2"):
        kriged(unreadable(2), two_bins())


def test_a_probe_is_needed():
    recording = si.NumpyRecording([np.zeros((10, 4), dtype="float32")], SAMPLING_FREQUENCY)
    with pytest.raises(ValueError, match="no probe"):
        kriged(recording, two_bins())


@pytest.mark.parametrize("border_mode", ["remove_channels", "force_zeros"])
@pytest.mark.parametrize("motion_um", [0.0, 1e-13, -1e-13, 1e-6])
def test_rounding_errors_of_a_motion_move_no_contact_away(border_mode, motion_um):
    recording = numpy_parent()
    motion = drift(recording)
    motion.displacement = [np.full_like(one, motion_um) for one in motion.displacement]
    corrected = kriged(recording, motion, border_mode=border_mode)
    assert corrected.get_num_channels() == NUM_CHANNELS
    np.testing.assert_allclose(corrected.get_traces(0), recording.get_traces(0), atol=1e-3)


@pytest.mark.parametrize(
    ("parent", "dtype", "refused"),
    [
        ("uint16", "int16", True),
        ("uint16", "uint8", True),
        ("uint16", "int32", False),
        ("uint16", "uint16", False),
        ("int16", "uint16", True),
        ("int16", "int8", True),
        ("int16", "int32", False),
        ("float32", "int16", False),
    ],
)
def test_integers_that_cannot_hold_the_range_are_refused(parent, dtype, refused):
    recording = numpy_parent(parent)
    ways = [
        lambda: kriged(recording, drift(recording), dtype=dtype),
        lambda: interpolate_motion_by_shank(recording, [drift(recording)], dtype=dtype),
        lambda: bandpass_filter(recording, freq_min=None, freq_max=300.0, dtype=dtype),
    ]
    for make in ways:
        if not refused:
            assert make().get_dtype() == dtype
            continue
        with pytest.raises(
            ValueError, match=f"dtype='{dtype}'; allowed: None.*int32.*hold the range of {parent}"
        ):
            make()


def test_unlike_gains_are_told():
    recording = numpy_parent("int16")
    recording.set_channel_gains(np.linspace(0.1, 0.4, 12))
    with pytest.warns(
        UserWarning, match="steady_interpolate_motion: the channels have gains from 0.1 to 0.4"
    ):
        kriged(recording, drift(recording))
