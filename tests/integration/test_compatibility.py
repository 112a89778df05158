import numpy as np
import pytest
import spikeinterface as si
import spikeinterface.preprocessing as spre
from spikeinterface.core import BaseRecording, job_tools

import steadyspike
from steadyspike.core import environment
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
    monkeypatch.setattr(BaseRecording, "_recording_segments", segments, raising=False)
    compatibility.adapt()
    assert recording.segments == segments
    assert all(hasattr(job_tools, name) for name in compatibility.RENAMED_JOB_TOOLS)
    del BaseRecording.segments


def test_what_the_newest_has_stays():
    before = BaseRecording.segments, job_tools.TimeSeriesChunkExecutor
    compatibility.adapt()
    assert (BaseRecording.segments, job_tools.TimeSeriesChunkExecutor) == before


@pytest.mark.parametrize(
    ("installed", "older"), [("0.103.2", True), ("0.105.0", False), ("0.1050.1", False), ("1.2.3", False)]
)
def test_series_are_compared_by_number(installed, older, monkeypatch):
    monkeypatch.setattr(si, "__version__", installed)
    assert environment.is_before("0.105") is older


def test_integers_are_left_to_a_series_that_cuts_them(monkeypatch):
    counts = np.random.default_rng(0).integers(-300, 300, (200, 4)).astype("int16")
    referenced = spre.common_reference(si.NumpyRecording([counts], 30_000.0))
    with steadyspike.accelerate():
        monkeypatch.setattr(si, "__version__", "0.105.0")
        referenced.get_traces()
        monkeypatch.setattr(si, "__version__", "0.104.8")
        referenced.get_traces()
    calls = steadyspike.accelerated()["common_reference"]
    assert calls.taken == 1
    assert list(calls.fell_back) == ["integers, which SpikeInterface rounds from 0.105 on"]
