import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import Probe
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_detection.by_channel import ByChannelPeakDetector
from spikeinterface.sortingcomponents.peak_detection.locally_exclusive import LocallyExclusivePeakDetector

import steadyspike
from steadyspike.integration.acceleration import calls

DETECTORS = (ByChannelPeakDetector, LocallyExclusivePeakDetector)
SIGNS = ("neg", "pos", "both")


def on_probe(traces, rate=10_000.0):
    traces = traces if isinstance(traces, list) else [traces]
    recording = si.NumpyRecording(traces, sampling_frequency=rate)
    num_channels = recording.get_num_channels()
    probe = Probe(ndim=2, si_units="um")
    positions = [[20.0 * (i % 2), 25.0 * (i // 2)] for i in range(num_channels)]
    probe.set_contacts(np.array(positions), shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(num_channels))
    recording.set_probe(probe)
    return recording


def noisy(shape=(1500, 9), dtype="float32", seed=0):
    traces = np.random.default_rng(seed).normal(size=shape)
    traces[::37] *= 4
    if np.dtype(dtype).kind in "iu":
        # few different values, so that there are plateaus and draws
        return (
            np.round(2 * traces + (10 if np.dtype(dtype).kind == "u" else 0))
            .clip(0 if dtype[0] == "u" else -99)
            .astype(dtype)
        )
    return traces.astype(dtype)


def both_ways(detector, traces):
    """What SpikeInterface finds, and what is found under acceleration, after checking that we did it."""
    arguments = (traces, 0, len(traces), 3, 0)
    (theirs,) = detector.compute(*arguments)
    with steadyspike.accelerate():
        before = steadyspike.accelerated().get(detector.name, calls.Calls()).taken
        (ours,) = detector.compute(*arguments)
        assert steadyspike.accelerated()[detector.name].taken == before + 1
    return theirs, ours


def assert_same(theirs, ours):
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16"])
def test_peaks_are_spikeinterfaces(kind, dtype):
    traces = noisy(dtype=dtype)
    recording = on_probe(traces)
    levels = np.random.default_rng(1).uniform(0.5, 1.0, 9).astype("float32")
    found = 0
    for sign in SIGNS:
        for threshold, sweep_ms in ((2.0, 0.1), (3.0, 0.75), (1.0, 3.0)):
            detector = kind(
                recording,
                peak_sign=sign,
                detect_threshold=threshold,
                exclude_sweep_ms=sweep_ms,
                noise_levels=levels,
            )
            theirs, ours = both_ways(detector, traces)
            assert_same(theirs, ours)
            found += theirs.size
    assert found > 500


@pytest.mark.parametrize("radius_um", [0.0, 26.0, 60.0, 1000.0])
def test_every_radius(radius_um):
    traces = noisy(seed=2)
    detector = LocallyExclusivePeakDetector(
        on_probe(traces), detect_threshold=1.5, radius_um=radius_um, noise_levels=np.ones(9)
    )
    theirs, ours = both_ways(detector, traces)
    assert theirs.size > 20
    assert_same(theirs, ours)


def nasty():
    traces = noisy(seed=3)
    traces[100:130, 2] = np.nan
    traces[400, :] = np.inf
    traces[700, 5] = -np.inf
    traces[:, 7] = 1.0
    return traces


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize("sign", SIGNS)
def test_nan_infinite_and_constant_traces(kind, sign):
    traces = nasty()
    levels = np.ones(9)
    if kind is ByChannelPeakDetector:
        levels[[0, 3]] = 0.0, np.nan
    detector = kind(on_probe(traces), peak_sign=sign, detect_threshold=2.0, noise_levels=levels)
    if kind is LocallyExclusivePeakDetector and sign == "both":
        return check_nan_taken_for_peaks(detector, (traces, 0, len(traces), 3, 0))
    with np.errstate(invalid="ignore"):
        theirs, ours = both_ways(detector, traces)
    assert ours.size > 20
    assert_same(theirs, ours)


def check_nan_taken_for_peaks(detector, arguments):
    """SpikeInterface's compiled comparisons take NaN itself for peaks, and so they do until that is repaired."""
    (theirs,) = detector.compute(*arguments)
    assert np.isnan(theirs["amplitude"]).any()
    with steadyspike.accelerate():
        # to the last bit of what NaN are
        assert detector.compute(*arguments)[0].tobytes() == theirs.tobytes()
        assert steadyspike.accelerated()[detector.name].fell_back == {"NaN with peak_sign='both'": 1}
        with steadyspike.repair():
            (repaired,) = detector.compute(*arguments)
    with steadyspike.repair():
        assert_same(repaired, detector.compute(*arguments)[0])
        assert steadyspike.repaired()[detector.name].taken == 2
    assert repaired.size > 20
    assert_same(theirs[~np.isnan(theirs["amplitude"])], repaired)


@pytest.mark.parametrize("kind", DETECTORS)
@pytest.mark.parametrize(
    "shape", [(0, 3), (1, 3), (2, 1), (20, 1), (21, 2), (22, 1), (63, 65), (300, 1), (300, 200)]
)
def test_short_chunks_and_few_or_many_channels(kind, shape):
    traces = noisy(shape, seed=4)
    detector = kind(on_probe(noisy((30, shape[1]))), detect_threshold=0.5, noise_levels=np.ones(shape[1]))
    assert_same(*both_ways(detector, traces))


@pytest.mark.parametrize("kind", DETECTORS)
def test_layouts_of_memory(kind):
    traces = noisy(seed=5)
    detector = kind(on_probe(traces), detect_threshold=1.5, noise_levels=np.ones(9))
    expected = both_ways(detector, traces)[0]
    wide, wider = np.zeros((1500, 12), "float32"), np.zeros((1500, 30), "float32")
    wide[:, 2:11] = wider[:, 4:13] = traces
    wide[:, 0] = wide[:, 11] = -50.0
    read_only = traces.copy()
    read_only.flags.writeable = False
    for held in (wide[:, 2:11], wider[:, 4:13], np.asfortranarray(traces), traces[::-1][::-1], read_only):
        assert_same(expected, both_ways(detector, held)[1])


@pytest.mark.parametrize("kind", DETECTORS)
def test_threads_change_nothing(kind):
    traces = noisy((9000, 9), seed=6)
    detector = kind(on_probe(traces), detect_threshold=1.0, peak_sign="both", noise_levels=np.ones(9))
    expected = both_ways(detector, traces)[0]
    with steadyspike.accelerate(num_threads=3):
        assert_same(expected, detector.compute(traces, 0, 9000, 3, 0)[0])


@pytest.mark.parametrize("dtype", ["int64", "float16"])
def test_other_types_are_left_to_spikeinterface(dtype):
    traces = noisy(dtype=dtype)
    detector = ByChannelPeakDetector(on_probe(noisy()), detect_threshold=2.0, noise_levels=np.ones(9))
    (theirs,) = detector.compute(traces, 0, 1500, 0, 0)
    with steadyspike.accelerate():
        assert_same(theirs, detector.compute(traces, 0, 1500, 0, 0)[0])
        assert steadyspike.accelerated()["by_channel"].fell_back == {f"traces of {dtype}": 1}


def test_a_sweep_shorter_than_a_sample_is_left_to_spikeinterface():
    traces = noisy()
    detector = ByChannelPeakDetector(on_probe(traces), exclude_sweep_ms=0.05, noise_levels=np.ones(9))
    with steadyspike.accelerate():
        assert detector.compute(traces, 0, 1500, 0, 0)[0].size == 0
        assert steadyspike.accelerated()["by_channel"].fell_back == {
            "exclude_sweep_ms shorter than a sample": 1
        }


def test_a_noise_level_of_zero_is_left_to_spikeinterface_which_divides_by_it():
    traces = noisy()
    detector = LocallyExclusivePeakDetector(on_probe(traces), noise_levels=np.arange(9.0))
    with steadyspike.accelerate():
        with pytest.raises(ZeroDivisionError):
            detector.compute(traces, 0, 1500, 0, 0)
        assert "locally_exclusive" not in steadyspike.accelerated()


def test_one_level_for_all_channels_is_left_to_spikeinterface():
    traces = noisy()
    detector = ByChannelPeakDetector(on_probe(traces), detect_threshold=2.0, noise_levels=np.ones(1))
    (theirs,) = detector.compute(traces, 0, 1500, 0, 0)
    with steadyspike.accelerate():
        assert_same(theirs, detector.compute(traces, 0, 1500, 0, 0)[0])
        assert list(steadyspike.accelerated()["by_channel"].fell_back) == [
            "noise_levels that are not one number for each channel"
        ]


@pytest.mark.parametrize("method", ["locally_exclusive", "by_channel"])
def test_whole_recordings(method):
    recording = on_probe([noisy((3000, 9), seed=7), noisy((1700, 9), seed=8)])
    arguments = {
        "method": method,
        "method_kwargs": {"noise_levels": np.ones(9), "detect_threshold": 2.0, "peak_sign": "both"},
        "job_kwargs": {"n_jobs": 1, "chunk_size": 800, "progress_bar": False},
    }
    theirs = detect_peaks(recording, **arguments)
    with steadyspike.accelerate():
        ours = detect_peaks(recording, **arguments)
        assert steadyspike.accelerated()[method].taken >= 7
        assert not steadyspike.accelerated()[method].fell_back
    assert set(theirs["segment_index"]) == {0, 1}
    assert_same(theirs, ours)
