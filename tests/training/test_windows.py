"""Windows come from within stretches, in an order that only the seed and the step decide, and are normalized."""

import threading

import numpy as np
import pytest
import spikeinterface.core as si
from probeinterface import Probe
from training_signals import RATE, recording_of, traces_of

from steadyspike.core.stretches import Stretch, segments_of
from steadyspike.training.windows import Source, Windows

CONTEXT = (5, 3)


def counting(samples, recording=0, num_channels=4):
    """A recording whose samples tell recording, segment and time."""
    traces = [
        np.repeat(recording * 1e6 + segment * 1e5 + np.arange(size)[:, None], num_channels, 1)
        for segment, size in enumerate(samples)
    ]
    return recording_of(num_channels, traces=traces)


def sources_of(recordings, normalization="none"):
    return [Source.of(recording, "lattice", normalization) for recording in recordings]


def test_windows_never_cross_borders():
    recordings = [counting((900, 40, 25, 300)), counting((500,), recording=1)]
    stretches = [Stretch(0, 0, 100, 800), *segments_of(recordings)[1:]]
    windows = Windows(sources_of(recordings), stretches, CONTEXT, frames=20, batch_size=3, seed=1)
    seen = set()
    for batch in windows.stream(0, 60):
        assert batch.image.shape == (3, 28, 1, 4)
        assert batch.mask.shape == (3, 1, 4)
        for image in batch.image:
            times = image[:, 0, 0]
            np.testing.assert_array_equal(np.diff(times), 1)
            recording, rest = divmod(times[0], 1e6)
            segment, start = divmod(rest, 1e5)
            seen.add((recording, segment))
            inside = [s for s in stretches if (s.recording, s.segment) == (recording, segment)]
            assert any(s.start <= start and start + 28 <= s.stop for s in inside)
    # the segment of 25 samples is too short for a window
    assert seen == {(0, 0), (0, 1), (0, 3), (1, 0)}


def test_a_step_depends_on_the_seed_and_its_number_alone():
    sources = sources_of([counting((3_000, 1_000))])
    stretches = segments_of([source.recording for source in sources])

    def batches(first, stop, seed=0, num_readers=1):
        windows = Windows(sources, stretches, CONTEXT, 20, batch_size=3, seed=seed)
        return [batch.image for batch in windows.stream(first, stop, num_readers)]

    whole = batches(0, 40)
    assert len(whole) == 40
    for first in (1, 10, 11, 12, 35):
        np.testing.assert_array_equal(batches(first, 40, num_readers=3), whole[first:])
    assert not np.array_equal(batches(0, 1, seed=1), whole[:1])
    # all windows of a round are different
    starts = np.concatenate(whole[:11])[:, 0, 0, 0]
    assert len(np.unique(starts)) > 25


def test_processes_share_the_batches_that_one_would_get():
    sources = sources_of([counting((3_000, 1_000))])
    stretches = segments_of([source.recording for source in sources])

    def images(batch_size, first, **share):
        windows = Windows(sources, stretches, CONTEXT, 20, batch_size=batch_size)
        return np.stack([batch.image for batch in windows.stream(first, 14, **share)])

    for first in (0, 9):
        parts = [images(2, first, rank=rank, num_ranks=3) for rank in range(3)]
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), images(6, first))


def test_windows_shrink_to_the_recording_or_are_refused():
    sources = sources_of([counting((29,))])
    assert Windows(sources, [Stretch(0, 0, 0, 29)], CONTEXT, 500).frames == 21
    with pytest.raises(ValueError, match="a window needs 9: 5 before and 3 after"):
        Windows(sources, [Stretch(0, 0, 0, 8)], CONTEXT, 500)
    with pytest.raises(ValueError, match="longest stretch has 0 samples"):
        Windows(sources, [], CONTEXT, 500)


def test_held_out_windows_are_spread_and_never_predict_the_same():
    sources = sources_of([counting((1_000, 300))])
    windows = Windows(sources, segments_of([sources[0].recording]), CONTEXT, 50, batch_size=4)
    for most in (1, 5, 100):
        batches = windows.spread(most)
        starts = np.sort(np.concatenate([batch.image[:, 0, 0, 0] for batch in batches]))
        assert len(starts) == min(most, 24)
        assert np.all(np.diff(starts) >= 50)
    assert {starts[0], starts[-1]} == {0, 1e5 + 200}


class Watched(si.BaseRecording):
    """Tells what is read of it, and by which threads."""

    def __init__(self, parent, fails_after=None):
        super().__init__(parent.sampling_frequency, parent.channel_ids, parent.get_dtype())
        self.add_recording_segment(WatchedSegment(parent.segments[0], fails_after))


class WatchedSegment(si.BaseRecordingSegment):
    def __init__(self, parent, fails_after):
        super().__init__(sampling_frequency=RATE)
        self.parent, self.fails_after, self.reads, self.threads = parent, fails_after, [], set()

    def get_num_samples(self):
        return self.parent.get_num_samples()

    def get_traces(self, start_frame=None, end_frame=None, channel_indices=None):
        self.reads.append(end_frame - start_frame)
        self.threads.add(threading.current_thread().name)
        if self.fails_after is not None and len(self.reads) > self.fails_after:
            raise OSError("the disk is gone")
        return self.parent.get_traces(start_frame, end_frame, channel_indices)


def watched(fails_after=None):
    parent = recording_of(4, samples=(50_000,))
    source = sources_of([parent])[0]
    recording = Watched(parent, fails_after)
    return recording.segments[0], Source(recording, source.layout, source.center, source.scale)


def test_reading_is_bounded_and_in_the_background():
    segment, source = watched()
    windows = Windows([source], [Stretch(0, 0, 0, 50_000)], CONTEXT, 20, batch_size=4)
    stream = windows.stream(0)
    next(stream)
    stream.close()
    # two rounds of 32 windows at most, four to a read
    assert 1 <= len(segment.reads) <= 16
    assert max(segment.reads) == 4 * 20 + 8
    assert all(name.startswith("steadyspike-reader") for name in segment.threads)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("steadyspike-reader")]


def test_an_error_of_a_reader_arrives():
    _, source = watched(fails_after=3)
    windows = Windows([source], [Stretch(0, 0, 0, 50_000)], CONTEXT, 20)
    with pytest.raises(OSError, match="the disk is gone"):
        list(windows.stream(0, 5))


def test_channels_are_normalized_and_dead_ones_masked():
    gains = np.array([1, 10, 0, 100, 1, 1, 1, 1], "float32")
    traces = traces_of(20_000, 8, 3) * gains + np.arange(8)
    traces[5_000, 4] = np.nan
    source = Source.of(recording_of(8, traces=[traces]), "lattice", "channel")
    image = source.read(Stretch(0, 0, 0, 20_000))[0, :, :, 0]
    live = [0, 1, 3, 4, 5, 6, 7]
    assert image.dtype == np.float32
    np.testing.assert_allclose(np.nanmedian(image[:, live], 0), 0, atol=0.05)
    np.testing.assert_allclose(1.4826 * np.nanmedian(np.abs(image[:, live]), 0), 1, atol=0.05)
    assert source.layout.mask[0, :, 0].tolist() == [True, True, False] + [True] * 5
    assert np.all(image[:, 2] == 0)
    assert np.argwhere(np.isnan(image)).tolist() == [[5_000, 4]]


def test_integers_are_read_as_float32():
    traces = (20 * traces_of(5_000, 4)).astype("int16")
    source = Source.of(recording_of(4, traces=[traces]), "lattice", "channel")
    image = source.read(Stretch(0, 0, 10, 20))[0, :, 0]
    np.testing.assert_allclose(image, (traces[10:20] - source.center) / source.scale, rtol=1e-5)


def test_shanks_are_images_and_fewer_channels_have_empty_rows():
    def probe(num_rows, shanks):
        found = Probe(ndim=2)
        y, x = np.divmod(np.arange(2 * num_rows), 2)
        positions = np.concatenate([np.stack([x * 32 + s * 250, y * 15], 1) for s in range(shanks)])
        found.set_contacts(positions, shank_ids=np.repeat(np.arange(shanks), 2 * num_rows))
        found.set_device_channel_indices(np.arange(len(positions)))
        return found

    recordings = []
    for rows, shanks in ((6, 2), (4, 1)):
        recordings.append(si.NumpyRecording([traces_of(2_000, 2 * rows * shanks)], RATE))
        recordings[-1].set_probe(probe(rows, shanks))
    windows = Windows(sources_of(recordings), segments_of(recordings), CONTEXT, 20, batch_size=2)
    sizes = set()
    for batch in windows.stream(0, 16):
        sizes.add(len(batch.image))
        assert len(batch.mask) == len(batch.image)
        rows = batch.mask.sum((1, 2)) / 2
        assert set(rows) <= {4, 6}
        assert np.all(batch.image[batch.mask[:, None].repeat(28, 1) == 0] == 0)
    # two windows, each one shank or two
    assert sizes == {2, 3, 4}
