"""SpikeInterface changes, or a kernel fails: the call is SpikeInterface's, with its result, and the report says why."""

import inspect
import sys
from importlib import import_module

import numba
import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core import BaseRecording, BaseRecordingSegment
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.preprocessing.filter import FilterRecordingSegment
from spikeinterface.preprocessing.phase_shift import PhaseShiftRecordingSegment

import steadyspike
from steadyspike.integration.acceleration import sources
from steadyspike.integration.acceleration.declarations import declared
from steadyspike.integration.acceleration.replacements import detection, filters, noise

PATCHES = declared(repairs=False) + declared(repairs=True)


@pytest.fixture(scope="module")
def recording():
    return si.generate_recording(num_channels=6, durations=[1.0], seed=0)


def reasons(name):
    return list(steadyspike.accelerated()[name].fell_back)


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.function.__module__}.{patch.attribute}")
def test_source_of_the_installed_spikeinterface_is_known(patch):
    import_module(patch.modules[0])
    original = sources.original_of(patch.modules[0], patch.attribute)
    found = sources.of_patch(patch, original)
    assert found in patch.sources, (
        f"SpikeInterface {si.__version__} has another {patch.modules[0]}.{patch.attribute}, or another of its helpers, "
        f"than the replacement was made for. Compare what they do, adapt {patch.function.__module__}."
        f'{patch.function.__name__}, and add "{found}" to its sources.'
    )


def test_the_fingerprints_can_be_printed(capsys, monkeypatch):
    sources.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(PATCHES)
    assert all(line.split()[1] == "known" for line in lines[1:])
    monkeypatch.setattr(FilterRecordingSegment, "get_traces", halved)
    monkeypatch.delattr(sys.modules["spikeinterface.preprocessing.phase_shift"], "apply_frequency_shift")
    sources.main()
    changed = [line for line in capsys.readouterr().out.splitlines() if line not in lines]
    assert ["NEW: add" in line or "cannot be read" in line for line in changed] == [True, True]


SOURCE = '''
def plain(data, scale=2, offset=None):
    """What it does."""
    # why
    total = data * scale + 1
    return total


def restyled(
    data: "np.ndarray", scale: int = 2, offset=None
) -> "np.ndarray":

    total = (
        data * scale
        + 1
    )

    return total


class Some:
    def method(self, data):
        """
Its docstring is indented less.
        """
        return data
'''


def functions(source, tmp_path, monkeypatch, name="of_a_test"):
    (tmp_path / f"{name}.py").write_text(source, encoding="utf8")
    monkeypatch.syspath_prepend(str(tmp_path))
    module = import_module(name)
    monkeypatch.delitem(sys.modules, name)
    return module


def test_fingerprint_ignores_what_changes_no_result(tmp_path, monkeypatch):
    module = functions(SOURCE.replace("plain", "same").replace("restyled", "same_too"), tmp_path, monkeypatch)
    assert len(sources.fingerprint((module.Some.method,))) == sources.LENGTH
    # all but the name
    module.same_too.__code__ = module.same_too.__code__.replace(co_name="same")
    one, other = (sources._canonical(sources._parsed(f)) for f in (module.same, module.same_too))
    assert one == other.replace("same_too", "same")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("+ 1\n    return", "+ 2\n    return"),
        ("scale=2", "scale=3"),
        ("offset=None", "offset=0"),
        ("data * ", "data / "),
    ],
)
def test_fingerprint_changes_with_the_result(tmp_path, monkeypatch, old, new):
    assert old in SOURCE
    before = functions(SOURCE, tmp_path, monkeypatch, "before_it")
    after = functions(SOURCE.replace(old, new), tmp_path, monkeypatch, "after_it")
    assert sources.fingerprint((before.plain,)) != sources.fingerprint((after.plain,))
    assert sources.fingerprint((before.Some.method,)) == sources.fingerprint((after.Some.method,))


def halved(self, start_frame, end_frame, channel_indices):
    return 0.5 * self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


def with_a_keyword(self, start_frame, end_frame, channel_indices, gain=3.0):
    return gain * self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


def without_source():
    code = inspect.getsource(halved).replace("0.5", "0.25")
    names = {}
    exec(compile(code, "<nowhere>", "exec"), names)
    return names["halved"]


def wrapped():
    """Looks like SpikeInterface's own to `inspect`."""
    import functools

    theirs = FilterRecordingSegment.get_traces

    @functools.wraps(theirs)
    def scaled(*args, **kwargs):
        return 7.0 * theirs(*args, **kwargs)

    return scaled


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (lambda: halved, "another source in SpikeInterface"),
        (lambda: with_a_keyword, "another source in SpikeInterface"),
        (wrapped, "another source in SpikeInterface"),
        (without_source, "its source in SpikeInterface cannot be read"),
    ],
)
def test_changed_function_of_spikeinterface_is_called(monkeypatch, recording, changed, reason):
    filtered = si.bandpass_filter(recording)
    own = filtered.get_traces()
    monkeypatch.setattr(FilterRecordingSegment, "get_traces", changed())
    theirs = filtered.get_traces()
    assert not np.array_equal(theirs, own)
    with steadyspike.accelerate():
        np.testing.assert_array_equal(filtered.get_traces(), theirs)
        if changed() is with_a_keyword:
            segment = filtered.segments[0]
            np.testing.assert_array_equal(segment.get_traces(0, 5, slice(None), gain=6.0), 2 * theirs[:5])
        assert steadyspike.accelerated()["bandpass_filter"].taken == 0
        assert all(one.startswith(reason) for one in reasons("bandpass_filter"))
        assert "left to SpikeInterface: " + reason in repr(steadyspike.accelerated())


def test_changed_helper_of_spikeinterface_is_called(monkeypatch, recording):
    recording = recording.clone()
    recording.set_property("inter_sample_shift", np.linspace(0, 0.9, 6))
    shifted = si.phase_shift(recording)

    def other(signal, shift_samples, axis=0):
        return signal + 1

    module = sys.modules["spikeinterface.preprocessing.phase_shift"]
    monkeypatch.setattr(module, "apply_frequency_shift", other)
    theirs = shifted.get_traces()
    with steadyspike.accelerate():
        np.testing.assert_array_equal(shifted.get_traces(), theirs)
        assert steadyspike.accelerated()["phase_shift"].taken == 0
        assert "another source" in reasons("phase_shift")[0]
        monkeypatch.undo()
        # looked at again when it is switched on again
        with steadyspike.accelerate():
            shifted.get_traces()
        assert steadyspike.accelerated()["phase_shift"].taken == 1


def test_what_spikeinterface_has_no_more_is_told(monkeypatch):
    monkeypatch.delattr(PhaseShiftRecordingSegment, "get_traces")
    with steadyspike.accelerate():
        report = steadyspike.accelerated()
        assert "SpikeInterface has no" in report.unavailable["phase_shift"]
        assert report.unavailable["phase_shift"] in repr(report)
    monkeypatch.undo()
    with steadyspike.accelerate():
        assert not steadyspike.accelerated().unavailable


def test_replacements_that_cannot_be_imported_are_told(monkeypatch, recording):
    monkeypatch.setitem(sys.modules, "steadyspike.integration.acceleration.replacements.whitening", None)
    with steadyspike.accelerate():
        assert "ModuleNotFoundError" in steadyspike.accelerated().unavailable["whitening"]
        si.bandpass_filter(recording).get_traces()
        assert steadyspike.accelerated()["bandpass_filter"].taken == 1


def failing(*args, **kwargs):
    raise RuntimeError("out of order\nwith a second line")


@numba.njit
def _cannot_be_compiled(traces):
    return traces.no_such_attribute


def not_compiled(traces, *args, **kwargs):
    return _cannot_be_compiled(traces)


def no_space(*args, **kwargs):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("kernel", "reason"),
    [
        (failing, "RuntimeError in steadyspike: out of order"),
        (no_space, "OSError in steadyspike: [Errno 28] No space left on device"),
        (not_compiled, "TypingError in steadyspike: Failed in nopython mode pipeline"),
    ],
)
def test_kernel_that_fails_leaves_the_call(monkeypatch, recording, kernel, reason):
    filtered = si.bandpass_filter(recording)
    theirs = filtered.get_traces()
    monkeypatch.setattr(filters, "filter_zero_phase", kernel)
    with steadyspike.accelerate():
        for _ in range(3):
            np.testing.assert_array_equal(filtered.get_traces(), theirs)
        report = steadyspike.accelerated()["bandpass_filter"]
    assert report.taken == 0
    assert sum(report.fell_back.values()) == 3
    assert all(one.startswith(reason) for one in report.fell_back)


def test_what_cannot_be_compiled_is_tried_once(monkeypatch, recording):
    tried = []

    def kernel(*args, **kwargs):
        tried.append(args)
        not_compiled(*args)

    monkeypatch.setattr(filters, "filter_zero_phase", kernel)
    filtered = si.bandpass_filter(recording)
    with steadyspike.accelerate():
        for _ in range(3):
            filtered.get_traces()
        assert len(tried) == 1
        assert "not tried again before the next accelerate()" in repr(steadyspike.accelerated())
    with steadyspike.accelerate():
        filtered.get_traces()
    assert len(tried) == 2


def test_object_that_failed_to_start_is_started_by_spikeinterface(monkeypatch, recording):
    from steadyspike.integration.acceleration.replacements import scaling

    arguments = dict(recording=recording, seed=0)
    theirs = si.center(**arguments)
    monkeypatch.setattr(scaling, "np", None)
    with steadyspike.accelerate():
        ours = si.center(**arguments)
        assert "AttributeError" in reasons("center")[0]
    assert len(ours.segments) == len(theirs.segments) == 1
    assert str(ours._kwargs) == str(theirs._kwargs)
    np.testing.assert_array_equal(ours.get_traces(), theirs.get_traces())


def test_localizers_in_traces_leave_what_fails(monkeypatch, recording):
    from spikeinterface.sortingcomponents.peak_localization import localize_peaks

    from steadyspike.integration.acceleration.replacements import pipeline

    peaks = np.zeros(20, dtype=base_peak_dtype)
    peaks["sample_index"] = np.linspace(100, 20_000, 20).astype("int64")
    arguments = dict(method="center_of_mass", job_kwargs=dict(n_jobs=1, progress_bar=False))
    theirs = localize_peaks(recording, peaks, **arguments)
    monkeypatch.setattr(pipeline, "in_traces", failing)
    with steadyspike.accelerate():
        ours = localize_peaks(recording, peaks, **arguments)
        assert "RuntimeError in steadyspike: out of order" in reasons("center_of_mass")
    np.testing.assert_allclose(ours["x"], theirs["x"], atol=1e-4)


def test_arguments_that_spikeinterface_refuses_raise_its_error(recording):
    segment = si.bandpass_filter(recording).segments[0]
    calls = [
        ((), dict(start_frame=0, end_frame=5, channel_indices=slice(None), nonsense=1)),
        ((0, 5), {}),
        ((0, "ten", slice(None)), {}),
    ]
    for args, kwargs in calls:
        with pytest.raises(Exception) as theirs:  # noqa: PT011
            segment.get_traces(*args, **kwargs)
        with steadyspike.accelerate(), pytest.raises(theirs.type) as ours:
            segment.get_traces(*args, **kwargs)
        assert str(ours.value) == str(theirs.value)
    assert steadyspike.accelerated().get("bandpass_filter") is None


class Unreadable(BaseRecording):
    """A recording whose disk fails."""

    def __init__(self, error):
        super().__init__(1000.0, list(range(4)), "float32")
        self.segment = UnreadableSegment(error)
        self.add_recording_segment(self.segment)


class UnreadableSegment(BaseRecordingSegment):
    def __init__(self, error):
        super().__init__(sampling_frequency=1000.0)
        self.error, self.read = error, 0

    def get_num_samples(self):
        return 5000

    def get_traces(self, start_frame, end_frame, channel_indices):
        self.read += 1
        raise self.error


def test_error_of_reading_comes_out_and_is_not_repeated_by_every_part():
    error = OSError(5, "Input/output error")
    broken = Unreadable(error)
    chain = broken
    for _ in range(5):
        chain = si.common_reference(si.bandpass_filter(chain, freq_min=150.0, freq_max=400.0))
    with steadyspike.accelerate(), pytest.raises(OSError, match="Input/output error") as found:
        chain.get_traces()
    assert found.value is error
    # by our filter and then by SpikeInterface's, and not by ten parts each
    assert broken.segment.read == 2
    assert not steadyspike.accelerated()


def test_interrupt_is_no_failure(recording, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(noise, "column_median_deviations", interrupted)
    with steadyspike.accelerate(), pytest.raises(KeyboardInterrupt):
        si.get_noise_levels(recording, return_in_uV=False, force_recompute=True, n_jobs=1, progress_bar=False)


def test_repair_is_left_for_another_source(monkeypatch):
    from spikeinterface.sortingcomponents.motion import dredge

    def dredge_ap(recording, peaks, peak_locations, batching_mode="full"):
        return batching_mode

    monkeypatch.setattr(dredge, "dredge_ap", dredge_ap)
    with steadyspike.repair():
        assert dredge.dredge_ap(None, None, None, batching_mode="offline") == "offline"
        (reason,) = steadyspike.repaired()["dredge_ap"].fell_back
        assert "another source" in reason
        assert "left to SpikeInterface: another source" in repr(steadyspike.repaired())


def test_repair_that_has_begun_raises_its_own_error(monkeypatch):
    from spikeinterface.sortingcomponents.peak_detection.locally_exclusive import LocallyExclusivePeakDetector

    traces = np.zeros((50, 4), dtype="float32")
    traces[3] = np.nan
    recording = si.NumpyRecording([traces], 1000.0)
    recording.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), np.arange(4) * 20.0]))
    detector = LocallyExclusivePeakDetector(recording, peak_sign="both", noise_levels=np.ones(4))
    monkeypatch.setattr(detection, "locally_exclusive_of", failing)
    with steadyspike.repair(), pytest.raises(RuntimeError, match="out of order"):
        detector.compute(traces, 0, 50, 0, 0)


def test_wrapper_that_someone_puts_back_is_spikeinterfaces_again(recording):
    original = FilterRecordingSegment.get_traces
    filtered = si.bandpass_filter(recording)
    theirs = filtered.get_traces()
    with steadyspike.accelerate():
        kept = FilterRecordingSegment.get_traces
    FilterRecordingSegment.get_traces = kept
    try:
        np.testing.assert_array_equal(filtered.get_traces(), theirs)
        assert "bandpass_filter" not in steadyspike.accelerated()
        with steadyspike.accelerate():
            filtered.get_traces()
            assert steadyspike.accelerated()["bandpass_filter"].taken == 1
        assert FilterRecordingSegment.get_traces is original
    finally:
        FilterRecordingSegment.get_traces = original
