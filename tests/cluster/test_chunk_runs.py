import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.cluster import save_recording
from steadyspike.core import chunk_runs
from steadyspike.core.chunk_runs import ChunkError, LostClientError, run_chunks, working_on
from steadyspike.peaks.on_disk import compute_peaks

RATE, CHUNK, POISON = 10_000.0, 100, 500
JOBS = dict(n_jobs=1, chunk_duration="10ms", progress_bar=False)
CHUNKS = [(0, start, start + CHUNK) for start in range(0, 900, CHUNK)]


class Breaks(BasePreprocessor):
    """Its parent, and what is read of it; half a second on it fails while `dies`."""

    dies, read = False, set()

    def __init__(self, recording):
        super().__init__(recording)
        for segment in recording.segments:
            self.add_segment(BreaksSegment(segment))
        self._kwargs = dict(recording=recording)


class BreaksSegment(BasePreprocessorSegment):
    def get_traces(self, start_frame, end_frame, channel_indices):
        if end_frame - start_frame == CHUNK:
            Breaks.read.add(start_frame)
            if Breaks.dies and start_frame == POISON:
                raise OSError("disk gone")
        return self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


@pytest.fixture(scope="module")
def recording():
    samples = np.random.default_rng(0).normal(size=(1350, 4)).astype("float32")
    recording = si.NumpyRecording([samples[:950], samples[950:]], RATE)
    recording.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), 20.0 * np.arange(4)]))
    return recording


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def begin(recording):
    return {"recording": recording, "began": threading.get_ident()}


def first_sample(segment, start, stop, worker):
    return float(worker["recording"].get_traces(segment, start, start + 1)[0, 0]), worker["began"]


def poisoned(segment, start, stop, worker):
    if start == POISON:
        raise ArithmeticError("no\nnumber")
    return start


def run(recording, func, client, gather):
    run_chunks(recording, func, begin, (recording,), CHUNKS, gather, "look", client, **JOBS)


def test_results_come_in_order_and_each_thread_begins_once(recording, pool):
    here, there = [], []
    run(recording, first_sample, None, here.append)
    run(recording, first_sample, pool, there.append)
    assert [value for value, _ in there] == [value for value, _ in here]
    assert threading.get_ident() not in {thread for _, thread in there}


def test_a_poisoned_chunk_is_named_by_its_time_and_those_before_it_are_kept(recording, pool):
    gathered = []
    with pytest.raises(
        ChunkError, match=r"look: 0.050 to 0.060 s of segment 0 .* ArithmeticError: no number"
    ):
        run(recording, poisoned, pool, gathered.append)
    assert gathered == [0, 100, 200, 300, 400]


def test_a_chunk_that_kills_every_worker_is_named(recording, pool):
    killed = type("KilledWorker", (Exception,), {})

    def deadly(segment, start, stop, worker):
        if start == POISON:
            raise killed("three times")

    with pytest.raises(ChunkError, match=r"0.050 to 0.060 s of segment 0 .* every worker that began it died"):
        run(recording, deadly, pool, print)


def test_no_more_is_handed_out_than_the_workers_are_about_to_need(recording, pool, monkeypatch):
    monkeypatch.setattr(chunk_runs, "FEWEST_HANDED_OUT", 3)
    monkeypatch.setattr(chunk_runs, "HANDED_OUT", 1)
    begun, seen = [], []

    def gather(start):
        time.sleep(0.01)
        seen.append(len(begun) - len(seen))

    def note(segment, start, stop, worker):
        begun.append(start)
        return start

    run(recording, note, pool, gather)
    assert max(seen) <= 3
    assert sorted(begun) == [start for _, start, _ in CHUNKS]


@pytest.mark.parametrize("noticed", ["by a result", "when something is handed out"])
def test_a_lost_scheduler_is_told_as_one(recording, pool, noticed):
    class CommClosedError(Exception):
        pass

    def lost(*_):
        raise CommClosedError("gone")

    by_result = noticed == "by a result"
    pool.submit = (lambda *_: ThreadPoolExecutor.submit(pool, lost)) if by_result else lost
    with pytest.raises(LostClientError, match="the same call goes on"):
        run(recording, first_sample, pool, print)


@pytest.mark.parametrize(("name", "form"), [("traces", "binary"), ("traces.zarr", "zarr")])
def test_traces_are_saved_as_spikeinterface_does(recording, pool, tmp_path, name, form):
    recording.save(folder=tmp_path / name, format=form, verbose=False, **JOBS)
    other = tmp_path / f"other-{name}"
    assert_equal(recording, save_recording(recording, other, client=pool, **JOBS))
    assert listed(tmp_path / name) == listed(other)
    with pytest.raises(FileExistsError):
        save_recording(recording, other)


def test_peaks_are_those_of_one_machine(recording, pool, tmp_path):
    detect = dict(method="by_channel", detect_threshold=3.0)
    kwargs = dict(
        detect_kwargs=detect, localize_peaks_kwargs=dict(method="center_of_mass"), block_s=0.03, **JOBS
    )
    here = compute_peaks(recording, tmp_path / "here", **kwargs)
    with working_on(pool):
        there = compute_peaks(recording, tmp_path / "there", **kwargs)
    assert len(here[0])
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


def assert_equal(recording, saved):
    for segment in range(2):
        np.testing.assert_array_equal(saved.get_traces(segment), recording.get_traces(segment))
    np.testing.assert_array_equal(saved.get_channel_locations(), recording.get_channel_locations())


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["traces", "traces.zarr"])
def test_saving_goes_on_after_a_failure(recording, pool, tmp_path, name, monkeypatch):
    broken = Breaks(recording)
    monkeypatch.setattr(Breaks, "dies", True)
    with pytest.raises(ChunkError, match=r"write: 0.050 to 0.060 s of segment 0"):
        save_recording(broken, tmp_path / name, client=pool, **JOBS)
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.part"]
    monkeypatch.setattr(Breaks, "dies", False)
    Breaks.read.clear()
    saved = save_recording(broken, tmp_path / name, client=pool, **JOBS)
    assert POISON - CHUNK not in Breaks.read
    assert POISON in Breaks.read
    assert_equal(recording, saved)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_of_two_that_save_at_once_one_does_and_the_other_is_refused(recording, tmp_path):
    def save(_):
        try:
            return save_recording(recording, tmp_path / "traces", **JOBS)
        except FileExistsError as error:
            return str(error)

    with ThreadPoolExecutor(2) as both:
        found = list(both.map(save, range(2)))
    (refused,) = [one for one in found if isinstance(one, str)]
    assert "traces exists" in refused or "traces is being written by another run" in refused
    assert_equal(recording, next(one for one in found if one is not refused))
    assert [path.name for path in tmp_path.iterdir()] == ["traces"]
