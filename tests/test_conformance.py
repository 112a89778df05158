"""The conformance suite fails on the mistakes it is there for."""

import dataclasses

import numpy as np
import pytest
from conformance import (
    Node,
    check_any_channels,
    check_any_chunk_size,
    check_awkward,
    check_declared_dtype,
    check_every_argument_is_changed,
    check_every_argument_is_saved,
    check_metadata,
    check_parent_untouched,
    check_same_voltages,
    check_short_recordings,
)
from parent_recordings import AWKWARD
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment


class Scaled(BasePreprocessor):
    """A node without mistakes, and a switch for each mistake."""

    mistake = None

    def __init__(self, recording, factor=1.0, dtype=None):
        real = np.dtype(dtype or ("float64" if recording.get_dtype() == "float64" else "float32"))
        BasePreprocessor.__init__(self, recording, dtype="int8" if self.mistake == "dtype" else real)
        if self.mistake == "metadata":
            self.set_property("brain_area", np.full(recording.get_num_channels(), "CA9"))
        for segment in recording.segments:
            self.add_recording_segment(ScaledSegment(segment, factor, real, self.mistake))
        self._kwargs = dict(recording=recording, factor=factor)
        if self.mistake != "forgotten":
            self._kwargs["dtype"] = real.str


class ScaledSegment(BasePreprocessorSegment):
    def __init__(self, parent, factor, dtype, mistake):
        BasePreprocessorSegment.__init__(self, parent)
        self.factor, self.dtype, self.mistake = factor, dtype, mistake

    def get_traces(self, start_frame, end_frame, channel_indices):
        channels = slice(None) if channel_indices is None else channel_indices
        traces = self.parent_recording_segment.get_traces(start_frame, end_frame, slice(None))
        if self.mistake == "seam":
            traces = traces - traces[:1]
        if self.mistake == "written":
            traces *= 2
        if self.mistake == "channels":
            channels = slice(None)
        if self.mistake == "short" and len(traces) < 5:
            raise IndexError("too short")
        if self.mistake == "neighbour":
            traces = traces + 0 * traces[:, [1]]
        if self.mistake == "clipped":
            traces = np.clip(traces, -32_768, 32_767)
        if self.mistake == "sign of counts":
            traces = np.minimum(traces, 150)
        return (traces[:, channels] * self.factor).astype(self.dtype)


GOOD = Node(make=Scaled, arguments=[dict(factor=2.0, dtype="float64")])


# what is multiplied is no voltage any more
AS_IT_IS = Node(make=Scaled, arguments=[])


@pytest.mark.parametrize("mistake", ["clipped", "sign of counts"])
def test_a_mistake_about_voltages_is_found(mistake, tmp_path, monkeypatch):
    check_same_voltages(AS_IT_IS, tmp_path)
    monkeypatch.setattr(Scaled, "mistake", mistake)
    with pytest.raises(AssertionError, match=r"off by .* uV"):
        check_same_voltages(AS_IT_IS, tmp_path)


def test_awkward_recordings_find_what_a_plain_one_does_not(tmp_path, monkeypatch):
    for kind in AWKWARD:
        check_awkward(kind, GOOD, tmp_path)
    monkeypatch.setattr(Scaled, "mistake", "neighbour")
    check_any_chunk_size(GOOD, tmp_path)
    one_contact = next(kind for kind in AWKWARD if kind.num_channels == 1)
    with pytest.raises(IndexError):
        check_awkward(one_contact, GOOD, tmp_path)


@pytest.mark.parametrize(
    ("mistake", "check", "error"),
    [
        ("seam", check_any_chunk_size, AssertionError),
        ("written", check_parent_untouched, AssertionError),
        ("channels", check_any_channels, AssertionError),
        ("short", check_short_recordings, IndexError),
        ("dtype", check_declared_dtype, AssertionError),
        ("metadata", check_metadata, AssertionError),
        ("forgotten", check_every_argument_is_saved, AssertionError),
    ],
)
def test_a_mistake_is_found(mistake, check, error, tmp_path, monkeypatch):
    check(GOOD, tmp_path)
    monkeypatch.setattr(Scaled, "mistake", mistake)
    with pytest.raises(error):
        check(GOOD, tmp_path)


def test_an_argument_that_no_case_changes_is_found(tmp_path):
    check_every_argument_is_changed(GOOD, tmp_path)
    for arguments in ([], [dict(factor=2.0)], [dict(factor=1.0, dtype="float64")]):
        with pytest.raises(AssertionError, match="no declared case changes"):
            check_every_argument_is_changed(dataclasses.replace(GOOD, arguments=arguments), tmp_path)
