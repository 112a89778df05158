"""A recording of which one chunk cannot be read, and what detection and denoising make of it."""

from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

import steadyspike
from steadyspike.cluster import save_recording
from steadyspike.core.chunk_runs import ChunkError
from steadyspike.peaks.on_disk import compute_peaks

RATE, CHUNK, LENGTHS = 10_000.0, 100, (950, 900)
FIRST, LATE = (0, 50), (1, 550)
"""Segments and samples: of the first chunk, and of one after those of several blocks."""
WHERE = r"0\.050 to 0\.060 s of segment 1 \(samples 500 to 600\): OSError: disk gone"
JOBS = dict(chunk_size=CHUNK, progress_bar=False)


class Poisoned(BasePreprocessor):
    """Its parent; a chunk with the sample that a file names cannot be read. Noise is measured on longer pieces."""

    def __init__(self, recording, file):
        super().__init__(recording)
        for number, segment in enumerate(recording.segments):
            self.add_segment(PoisonedSegment(segment, number, Path(file)))
        self._kwargs = dict(recording=recording, file=str(file))


class PoisonedSegment(BasePreprocessorSegment):
    def __init__(self, parent, number, file):
        super().__init__(parent)
        self.number, self.file = number, file

    def get_traces(self, start_frame, end_frame, channel_indices):
        if self.file.exists() and end_frame - start_frame < 3 * CHUNK:
            segment, sample = map(int, self.file.read_text().split())
            if segment == self.number and start_frame <= sample < end_frame:
                raise OSError("disk\ngone")
        return self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


def saved_noise(folder):
    random = np.random.default_rng(0)
    made = si.NumpyRecording([random.normal(size=(length, 4)).astype("float32") for length in LENGTHS], RATE)
    made.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), 20.0 * np.arange(4)]))
    return made.save(folder=folder, n_jobs=1, progress_bar=False, verbose=False)


def find_peaks(recording, folder, **how):
    detect = dict(method="by_channel", detect_threshold=2.0)
    localize = dict(method="center_of_mass")
    how = dict(detect_kwargs=detect, localize_peaks_kwargs=localize, block_s=0.03, **JOBS, **how)
    return compute_peaks(recording, folder, **how)


def denoise(recording, folder, model, **how):
    number = recording.get_num_channels()
    denoised = steadyspike.deepinterpolate(
        recording, model, center=np.zeros(number), scale=np.ones(number), output="prediction"
    )
    saved = save_recording(denoised, folder, **JOBS, **how)
    return [saved.get_traces(segment) for segment in range(len(LENGTHS))]


def assert_named_and_kept(work, recording, job, folder, how, **more):
    """Poison a late chunk, then, in place of it, the first one, which is not to be read again."""
    poison = folder / "poison"
    wanted = work(recording, folder / "wanted", n_jobs=1, **more)
    broken = Poisoned(recording, poison)
    poison.write_text("{} {}".format(*LATE))
    with pytest.raises(ChunkError, match=rf"{job}: {WHERE}"):
        work(broken, folder / "found", **how, **more)
    poison.write_text("{} {}".format(*FIRST))
    found = work(broken, folder / "found", **how, **more)
    for one, other in zip(found, wanted, strict=True):
        assert len(one)
        np.testing.assert_array_equal(one, other)
