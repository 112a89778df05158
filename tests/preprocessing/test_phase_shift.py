import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.preprocessing as spre
from conformance import CHECKS, Node, check_name
from parent_recordings import SAMPLING_FREQUENCY, numpy_parent

from steadyspike.preprocessing.bandpass import bandpass_filter
from steadyspike.preprocessing.phase_shift import phase_shift


def some_shifts(recording):
    return (np.arange(recording.get_num_channels()) % 5) / 5


def arguments(recording):
    return [
        dict(inter_sample_shift=some_shifts(recording) - 2.5, dtype="float64"),
        dict(dtype=recording.get_dtype().name if recording.get_dtype().kind in "iu" else "int16"),
    ]


NODE = Node(
    make=phase_shift, arguments=arguments, required=lambda one: dict(inter_sample_shift=some_shifts(one))
)


@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


@pytest.mark.parametrize("dtype", ["int16", "float32", "float64"])
def test_as_spikeinterface_in_the_band(dtype):
    rng = np.random.default_rng(0)
    noise = si.NumpyRecording([rng.normal(0.0, 300.0, (9000, 20))], SAMPLING_FREQUENCY)
    in_band = spre.bandpass_filter(noise, freq_min=300.0, freq_max=8000.0).get_traces()
    recording = si.NumpyRecording([in_band.astype(dtype)], SAMPLING_FREQUENCY)
    shifts = np.arange(20) % 13 / 13
    recording.set_property("inter_sample_shift", shifts)
    theirs = spre.phase_shift(recording, dtype=dtype).get_traces()
    ours = phase_shift(recording, dtype=dtype).get_traces()
    assert ours.dtype == theirs.dtype
    # theirs puts zeros beyond the ends of a recording, and the step reaches far
    apart = np.abs(ours - theirs.astype("float64"))[3000:-3000]
    # rounding adds noise above the band
    assert apart.max() <= (1 if dtype == "int16" else 1e-3 * in_band.std())


def test_a_common_artifact_becomes_common_again():
    shifts = np.arange(12) / 12
    times = np.arange(3000)[:, None]
    artifact = 500.0 * np.exp(-(((times + shifts - 1500.0) / 2.0) ** 2))
    recording = si.NumpyRecording([artifact.astype("float32")], SAMPLING_FREQUENCY)
    aligned = phase_shift(recording, inter_sample_shift=shifts)
    assert np.ptp(artifact, axis=1).max() > 100.0
    assert np.ptp(aligned.get_traces(), axis=1).max() < 0.1


def test_a_bad_sample_reaches_its_own_channel_and_the_taps():
    traces = np.random.default_rng(0).normal(size=(400, 20)).astype("float32")
    traces[200, 3] = np.nan
    recording = si.NumpyRecording([traces], SAMPLING_FREQUENCY)
    bad = np.isnan(phase_shift(recording, inter_sample_shift=np.arange(20) / 20).get_traces())
    assert bad[185:217, 3].all()
    assert bad.sum() == 32


@pytest.mark.parametrize(
    ("shifts", "message"),
    [
        (None, "inter_sample_shift=None.*has the property inter_sample_shift"),
        ([0.0] * 11, "of which there are 12"),
        ([[0.0]] * 12, "one finite number"),
        ([0.0] * 11 + [float("nan")], "finite"),
        ([0.0] * 11 + [101.0], "-100 to 100 samples"),
        ("late", "inter_sample_shift='late'"),
    ],
)
def test_impossible_shifts_are_refused_before_any_data_is_read(shifts, message):
    with pytest.raises(ValueError, match=f"steady_phase_shift: .*{message}"):
        phase_shift(numpy_parent(), inter_sample_shift=shifts)


def test_function_name():
    assert phase_shift.__name__ == "steady_phase_shift"


@pytest.mark.parametrize(("given", "shifted"), [("int16", None), ("int16", "int16"), ("float64", None)])
@pytest.mark.parametrize("reflected", [False, True])
def test_before_a_filter_as_if_it_were_kept_in_between(given, shifted, reflected):
    counts = np.random.default_rng(0).integers(-300, 300, (1500, 18)).astype(given)
    parent = si.NumpyRecording([counts], SAMPLING_FREQUENCY)
    lazy = phase_shift(parent, inter_sample_shift=some_shifts(parent) - 1.5, dtype=shifted)
    kept = si.NumpyRecording([lazy.get_traces()], SAMPLING_FREQUENCY)
    chains = [bandpass_filter(one, margin_ms=20.0, add_reflect_padding=reflected) for one in (lazy, kept)]
    for frames in ((0, 1500), (0, 700), (650, 660), (900, 1500)):
        fused, apart = (
            chain.get_traces(
                start_frame=frames[0],
                end_frame=frames[1],
                channel_ids=chain.channel_ids[[3, 0, *range(4, 18)]],
            )
            for chain in chains
        )
        np.testing.assert_array_equal(fused, apart)
