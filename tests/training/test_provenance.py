"""What was trained on is known again behind slices and preprocessing, and nothing else is taken for it."""

import re

import numpy as np
import pytest
import spikeinterface.preprocessing as spre
from spikeinterface.core import NumpyRecording
from training_signals import RATE, recording_of, traces_of

from steadyspike.core.stretches import Stretch
from steadyspike.library.models.provenance import chain_of, filter_mismatch, note_stretches, seconds_in_both


@pytest.fixture(scope="module")
def recording():
    return recording_of(samples=(12_000, 5_000))


def prepared(recording):
    filtered = spre.bandpass_filter(recording, 300.0, 3_000.0, dtype="float32")
    return spre.common_reference(filtered.select_channels(filtered.channel_ids[2:]))


def test_a_stretch_is_known_again(recording):
    noted = note_stretches([prepared(recording)], [Stretch(0, 0, 1_000, 9_000), Stretch(0, 1, 0, 4_000)])
    assert [one[1:] for one in noted] == [[1_000, 9_000], [0, 4_000]]
    assert noted[0][0] != noted[1][0]
    everything = [Stretch(0, 0, 0, 12_000), Stretch(0, 1, 0, 5_000)]
    second = [Stretch(0, 0, 0, 5_000)]
    first = recording.select_segments([0])
    others = [Stretch(0, 0, 0, 2_000)]
    for other, stretches, seconds in (
        (recording, everything, 1.2),
        (prepared(recording), everything, 1.2),
        (recording, [Stretch(0, 0, 9_000, 12_000)], 0.0),
        (recording, [Stretch(0, 0, 500, 1_500), Stretch(0, 1, 3_900, 5_000)], 0.06),
        (recording.select_segments([1]), second, 0.4),
        (prepared(recording).select_segments([1]), second, 0.4),
        (prepared(recording.select_segments([1])), second, 0.4),
        (first.frame_slice(8_500, 12_000), others, 0.05),
        (prepared(first).frame_slice(500, 12_000).frame_slice(200, 4_000), others, 0.17),
        (recording_of(samples=(12_000, 5_000), seed=9), everything, 0.0),
        (recording_of(samples=(12_001, 5_000)), everything, 0.4),
    ):
        assert seconds_in_both(noted, other, stretches) == pytest.approx(seconds)


def test_stretches_trained_on_twice_count_once(recording):
    noted = note_stretches([recording], [Stretch(0, 0, 1_000, 5_000), Stretch(0, 0, 2_000, 4_000)])
    noted += note_stretches([recording], [Stretch(0, 0, 4_500, 6_000)])
    assert seconds_in_both(noted, recording, [Stretch(0, 0, 0, 12_000)]) == pytest.approx(5_000 / RATE)


@pytest.mark.parametrize(
    "noted", [None, [], 3, "text", [[1, 2]], [["a", "b", "c"]], [[None, 0, 10**9]], {"a": 1}]
)
def test_notes_of_someone_else_do_no_harm(recording, noted):
    assert seconds_in_both(noted, recording, [Stretch(0, 0, 0, 12_000)]) == 0


def test_short_and_empty_segments():
    tiny = NumpyRecording([traces_of(3, 2), np.zeros((0, 2), "float32")], RATE)
    stretches = [Stretch(0, 0, 0, 3)]
    assert seconds_in_both(note_stretches([tiny], stretches), tiny, stretches) == pytest.approx(3 / RATE)
    assert note_stretches([tiny], [Stretch(0, 1, 0, 0)])


def test_resampling_moves_samples_so_the_segment_is_known_by_itself(recording):
    slower = spre.resample(recording, 5_000)
    noted = note_stretches([slower], [Stretch(0, 0, 0, 6_000)])
    assert seconds_in_both(noted, recording, [Stretch(0, 0, 0, 12_000)]) == 0
    assert seconds_in_both(noted, slower, [Stretch(0, 0, 0, 6_000)]) == pytest.approx(1.2)


def test_the_chain_is_told_without_data_or_paths(recording):
    chain = chain_of(prepared(recording).select_segments([0]).frame_slice(0, 5_000))
    assert chain.startswith("BandpassFilter(")
    assert "freq_min=300.0, freq_max=3000.0" in chain
    assert " -> CommonReference(" in chain
    assert "Slice" not in chain
    whole = spre.filter(recording, band=[300.0, 3_000.0], margin_ms=5.0)
    assert "band=[300.0, 3000.0]" in chain_of(whole)
    scaled = spre.scale(recording, gain=np.arange(8.0), offset=list(range(8)))
    scaled._kwargs["file"] = "/home/me/secret.npy"
    assert re.fullmatch(r"Scale\(dtype=[^,]*\)", chain_of(scaled))
    assert chain_of(recording) == ""


@pytest.mark.parametrize(
    ("flags", "told_raw", "told_filtered"),
    [
        ([True, True], True, False),
        ([False], False, True),
        ([True, False], False, False),
        ([None], False, False),
        ([], False, False),
    ],
)
def test_filters_are_compared_where_it_is_certain(recording, flags, told_raw, told_filtered):
    extra = {"recordings": [{"is_filtered": flag} if flag is not None else {} for flag in flags]}
    assert bool(filter_mismatch(extra, recording)) == told_raw
    assert bool(filter_mismatch(extra, prepared(recording))) == told_filtered


def test_without_notes_nothing_is_compared(recording):
    for extra in ({}, {"recordings": None}, {"recordings": ["text"]}):
        assert filter_mismatch(extra, recording) is None
