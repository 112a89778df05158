"""Dask itself, with workers that are processes of their own, of which one is killed."""

import os
import signal
import time

import numpy as np
import pytest
import spikeinterface.full as si

from steadyspike.cluster import save_recording

distributed = pytest.importorskip("distributed", reason="needs the extra cluster")

NUM_CHUNKS = 30


def test_a_worker_is_killed_and_its_chunks_are_written_by_another(tmp_path):
    samples = np.random.default_rng(0).integers(-200, 200, size=(NUM_CHUNKS * 100, 4), dtype="int16")
    si.NumpyRecording(samples, 1000.0).save(folder=tmp_path / "raw", progress_bar=False, verbose=False)
    recording = si.load(tmp_path / "raw")
    how = dict(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with distributed.LocalCluster(**how) as cluster, distributed.Client(cluster) as client:
        first = client.run(os.getpid)
        client.submit(kill_once, tmp_path / "killed", pure=False)
        save_recording(
            recording, tmp_path / "saved", client=client, chunk_size=100, n_jobs=1, progress_bar=False
        )
        assert (tmp_path / "killed").exists()
        end = time.monotonic() + 60
        while set(client.run(os.getpid).values()) == set(first.values()):
            assert time.monotonic() < end
    np.testing.assert_array_equal(si.load(tmp_path / "saved").get_traces(), samples)


def kill_once(file):
    """Kill the process that this runs in, the first time."""
    if not file.exists():
        file.touch()
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
