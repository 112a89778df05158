import spikeinterface as si
from spikeinterface.core import BaseRecording, job_tools

from steadyspike.integration import compatibility


def test_older_series_have_the_names_of_the_newest(monkeypatch):
    recording = si.generate_recording(num_channels=2, durations=[0.1, 0.2])
    segments = list(recording.segments)
    for name in compatibility.RENAMED_JOB_TOOLS:
        monkeypatch.setattr(
            job_tools, compatibility.RENAMED_JOB_TOOLS[name], getattr(job_tools, name), raising=False
        )
        monkeypatch.delattr(job_tools, name)
    for owner in BaseRecording.__mro__:
        if "segments" in vars(owner):
            monkeypatch.delattr(owner, "segments")
    recording._recording_segments = segments
    compatibility.adapt()
    assert recording.segments is segments
    assert all(hasattr(job_tools, name) for name in compatibility.RENAMED_JOB_TOOLS)
    del BaseRecording.segments


def test_what_the_newest_has_stays():
    before = BaseRecording.segments, job_tools.TimeSeriesChunkExecutor
    compatibility.adapt()
    assert (BaseRecording.segments, job_tools.TimeSeriesChunkExecutor) == before


def test_series_are_compared_as_numbers(monkeypatch):
    for installed, older in (("0.103.2", True), ("0.105.0", False), ("0.1050.1", False), ("1.2.3", False)):
        monkeypatch.setattr(si, "__version__", installed)
        assert compatibility.is_before("0.105") is older
