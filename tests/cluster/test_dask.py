"""Dask itself, with workers that are processes of their own; they and their scheduler are killed on the way."""

import os
import signal
from pathlib import Path

import numpy as np
import poisoned
import pytest
import spikeinterface.full as si
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment
from stand_ins import small_model

from steadyspike.cluster import save_recording
from steadyspike.core.chunk_runs import LostClientError
from steadyspike.peaks.on_disk import compute_peaks

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")

NUM_CHUNKS, CHUNK, DEADLY = 30, 100, 20
FEWEST_NOTED = DEADLY - 8
JOBS = dict(chunk_size=CHUNK, n_jobs=1, progress_bar=False)


class Kills(BasePreprocessor):
    """Its parent; a worker that reads the deadly chunk kills a process, or itself, unless `file` says that it did."""

    def __init__(self, recording, file, process=None, spared=None):
        super().__init__(recording)
        spared = spared or os.getpid()
        self.add_segment(KillsSegment(recording.segments[0], Path(file), process, spared))
        self._kwargs = dict(recording=recording, file=str(file), process=process, spared=spared)


class KillsSegment(BasePreprocessorSegment):
    def __init__(self, parent, file, process, spared):
        super().__init__(parent)
        self.file, self.process, self.spared = file, process, spared

    def get_traces(self, start_frame, end_frame, channel_indices):
        is_worker = os.getpid() != self.spared
        if is_worker and start_frame <= DEADLY * CHUNK < end_frame and not self.file.exists():
            self.file.touch()
            os.kill(self.process or os.getpid(), signal.SIGKILL)
        return self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dask") / "raw"
    samples = np.random.default_rng(0).integers(-200, 200, size=(NUM_CHUNKS * CHUNK, 4), dtype="int16")
    made = si.NumpyRecording(samples, 10_000.0)
    made.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), 20.0 * np.arange(4)]))
    return made.save(folder=folder, n_jobs=1, progress_bar=False, verbose=False)


@pytest.fixture(scope="module")
def client():
    how = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.LocalCluster(**how) as cluster, distributed.Client(cluster) as client:
        yield client


def test_a_worker_is_killed_and_its_chunks_are_written_by_another(recording, client, tmp_path):
    saved = save_recording(Kills(recording, tmp_path / "killed"), tmp_path / "saved", client=client, **JOBS)
    assert (tmp_path / "killed").exists()
    np.testing.assert_array_equal(saved.get_traces(), recording.get_traces())


def test_a_worker_is_killed_and_its_chunks_are_searched_for_peaks_by_another(recording, client, tmp_path):
    how = dict(
        detect_kwargs=dict(method="by_channel", detect_threshold=1.0),
        localize_peaks_kwargs=dict(method="center_of_mass"),
        **JOBS,
    )
    here = compute_peaks(recording, tmp_path / "here", **how)
    there = compute_peaks(Kills(recording, tmp_path / "killed"), tmp_path / "there", client=client, **how)
    assert (tmp_path / "killed").exists()
    assert len(here[0])
    for one, other in zip(here, there, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_poisoned_chunk_is_named_by_its_time_and_what_was_done_stays(client, tmp_path):
    noise = poisoned.saved_noise(tmp_path / "raw")
    for name, job, more in (
        ("find_peaks", "detect and localize", {}),
        ("denoise", "write", dict(model=small_model(noise, tmp_path / "model"))),
    ):
        (tmp_path / name).mkdir()
        how = dict(n_jobs=1, client=client)
        poisoned.assert_named_and_kept(getattr(poisoned, name), noise, job, tmp_path / name, how, **more)


def test_the_scheduler_is_killed_and_the_same_call_goes_on(recording, tmp_path, monkeypatch):
    import dask

    from steadyspike_benchmarks.cluster import dask_here

    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    gives_up = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with gives_up, dask_here.dask(tmp_path / "dask", num_workers=1) as cluster:
        broken = Kills(recording, tmp_path / "killed", cluster.scheduler.pid)
        with pytest.raises(LostClientError, match="the same call goes on"):
            save_recording(broken, tmp_path / "saved", client=cluster.client, **JOBS)
    noted = (tmp_path / "saved.part" / "traces" / "done.txt").read_text().splitlines()
    assert FEWEST_NOTED <= len(noted) < NUM_CHUNKS
    saved = save_recording(broken, tmp_path / "saved", **JOBS)
    np.testing.assert_array_equal(saved.get_traces(), recording.get_traces())
