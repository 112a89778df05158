"""Recordings in a bucket and behind a web server, on this machine: moto's S3, and Python's own server."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
from cli_runner import run
from spikeinterface.preprocessing.basepreprocessor import BasePreprocessor, BasePreprocessorSegment

from steadyspike.cli.batching import Request, plan
from steadyspike.cli.output import MARKER, write_marker
from steadyspike.cluster import save_recording
from steadyspike.cluster.buckets import BEGUN
from steadyspike.cluster.table import read_sessions
from steadyspike.core.addresses import address_of, reads_remotely
from steadyspike.core.chunk_runs import ChunkError, run_chunks
from steadyspike.core.loading import load_recording
from steadyspike.core.loading_errors import LoadingError
from steadyspike.core.unfinished import OtherSettingsError

CHUNK, POISON = 1000, 4000
JOBS = dict(n_jobs=1, chunk_size=CHUNK, progress_bar=False)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    samples = np.random.default_rng(0).integers(-200, 200, size=(9_500, 4), dtype="int16")
    made = si.NumpyRecording(samples, 10_000.0)
    made.set_dummy_probe_from_locations(np.column_stack([np.zeros(4), 20.0 * np.arange(4)]))
    folder = tmp_path_factory.mktemp("remote") / "recording.zarr"
    return made.save(folder=folder, format="zarr", verbose=False, **JOBS)


@pytest.fixture(scope="module")
def server():
    moto = pytest.importorskip("moto.server", reason="needs moto's server: pip install 'moto[server]'")
    pytest.importorskip("s3fs", reason="needs the extra remote")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch, request):
    import s3fs

    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "made-up")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    s3fs.S3FileSystem.clear_instance_cache()
    name = request.node.name.replace("_", "-")[:60].strip("-")
    s3fs.S3FileSystem().mkdir(name)
    return f"s3://{name}"


@pytest.fixture
def address(recording, bucket):
    import s3fs

    s3fs.S3FileSystem().put(recording._kwargs["folder_path"], f"{bucket}/", recursive=True)
    return f"{bucket}/recording.zarr"


class Fails(BasePreprocessor):
    """Its parent, and what is read of it; one chunk fails while `fails`."""

    fails, read = False, set()

    def __init__(self, recording):
        super().__init__(recording)
        for segment in recording.segments:
            self.add_segment(FailsSegment(segment))
        self._kwargs = dict(recording=recording)


class FailsSegment(BasePreprocessorSegment):
    def get_traces(self, start_frame, end_frame, channel_indices):
        Fails.read.add(start_frame)
        if Fails.fails and start_frame == POISON:
            raise OSError("disk gone")
        return self.parent_recording_segment.get_traces(start_frame, end_frame, channel_indices)


def test_commands_read_a_bucket(recording, address, tmp_path):
    how = ("--preset", "steady_rigid", "--preprocess", "none", "--no-figures", "--no-progress-bar")
    for name, source in (("remote", address), ("local", recording._kwargs["folder_path"])):
        done = run("correct", source, "-o", tmp_path / name, "--n-jobs", "1", *how)
        assert done.exit_code == 0, done.output
    found, wanted = (si.load_motion_info(tmp_path / name / "motion_info") for name in ("remote", "local"))
    np.testing.assert_array_equal(found["peaks"], wanted["peaks"])
    texts = {path.name: path.read_text() for path in (tmp_path / "remote").glob("*.json")}
    assert address in texts["recording.json"]
    assert json.loads(texts["steadyspike.json"])["request"]["source"] == address
    assert not any("made-up" in text for text in texts.values())
    np.testing.assert_array_equal(
        si.load(tmp_path / "remote" / "recording.json").get_traces(end_frame=50),
        si.load(tmp_path / "local" / "recording.json").get_traces(end_frame=50),
    )


def test_a_batch_takes_addresses(address, tmp_path):
    table = tmp_path / "sessions.csv"
    table.write_text(f"recording,name\n{address},one\n{address}.not-there,two\n")
    request = Request(table, "correct", ("--preprocess", "none"), tmp_path / "out")
    one, two = plan(request, read_sessions(table))
    assert one.arguments == ["correct", address, "--preprocess", "none"]
    assert one.about["num_channels"] == 4
    assert "num_channels" not in two.about


def test_a_recording_that_is_written_to_a_bucket_goes_on(recording, bucket):
    address, chain = f"{bucket}/traces.zarr", Fails(recording)
    Fails.fails = True
    with ThreadPoolExecutor(2) as pool:
        with pytest.raises(ChunkError, match=r"0\.400 to 0\.500 s.*disk gone"):
            save_recording(chain, address, client=pool, **JOBS)
        Fails.fails = False
        with pytest.raises(LoadingError):
            load_recording(address)
        with pytest.raises(OtherSettingsError, match="another recording"):
            save_recording(recording.select_channels([0, 1]), address, client=pool, **JOBS)
        Fails.read.clear()
        saved = save_recording(chain, address, client=pool, **JOBS)
    assert POISON in Fails.read
    assert 0 not in Fails.read
    np.testing.assert_array_equal(saved.get_traces(), recording.get_traces())
    np.testing.assert_array_equal(saved.get_channel_locations(), recording.get_channel_locations())
    assert load_recording(address).get_num_samples() == recording.get_num_samples()
    with pytest.raises(FileExistsError, match=r"traces\.zarr exists"):
        save_recording(chain, address, **JOBS)


def test_two_that_write_to_one_place_of_a_bucket_do_not_harm_each_other(recording, bucket, monkeypatch):
    import s3fs

    address, chain, read, second = f"{bucket}/traces.zarr", Fails(recording), FailsSegment.get_traces, []

    def while_another_writes(self, start_frame, end_frame, channel_indices):
        if start_frame == POISON and not second:
            second.append(pool.submit(save_recording, chain, address, **JOBS))
            second[0].result()
        return read(self, start_frame, end_frame, channel_indices)

    monkeypatch.setattr(FailsSegment, "get_traces", while_another_writes)
    with ThreadPoolExecutor(1) as pool:
        first = save_recording(chain, address, **JOBS)
    for saved in (first, second[0].result(), load_recording(address)):
        np.testing.assert_array_equal(saved.get_traces(), recording.get_traces())
    assert not s3fs.S3FileSystem().exists(f"{address}/{BEGUN}")


def test_zarr_is_read_over_http(recording):
    pytest.importorskip("aiohttp", reason="needs the extra remote")
    folder = Path(recording._kwargs["folder_path"]).parent
    handler = partial(SilentHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = load_recording(f"http://127.0.0.1:{server.server_port}/recording.zarr")
        np.testing.assert_array_equal(found.get_traces(), recording.get_traces())
        server.shutdown()
    assert reads_remotely(si.bandpass_filter(found, freq_max=3000.0))


class SilentHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_nwb_is_read_over_http(recording, bucket, server, tmp_path):
    pytest.importorskip("remfile", reason="needs the extra remote")
    pytest.importorskip("pynwb", reason="needs pynwb")
    import s3fs

    write_nwb(recording, tmp_path / "session.nwb")
    files = s3fs.S3FileSystem()
    files.put(str(tmp_path / "session.nwb"), f"{bucket}/session.nwb")
    files.chmod(f"{bucket}/session.nwb", "public-read")
    found = load_recording(f"{server}/{bucket.removeprefix('s3://')}/session.nwb")
    np.testing.assert_array_equal(found.get_traces(), recording.get_traces())
    with pytest.raises(LoadingError, match="over HTTP only"):
        load_recording(f"{bucket}/session.nwb")


def write_nwb(recording, file):
    from datetime import UTC, datetime

    import pynwb
    from pynwb.ecephys import ElectricalSeries

    content = pynwb.NWBFile("a session", "1", datetime(2026, 1, 1, tzinfo=UTC))
    group = content.create_electrode_group(
        "probe", "a line", "cortex", content.create_device("line of contacts")
    )
    for x, y in recording.get_channel_locations():
        content.add_electrode(group=group, location="cortex", rel_x=float(x), rel_y=float(y))
    electrodes = content.create_electrode_table_region(list(range(4)), "all")
    series = ElectricalSeries(
        name="traces",
        data=recording.get_traces(),
        electrodes=electrodes,
        rate=recording.sampling_frequency,
        conversion=1e-6,
    )
    content.add_acquisition(series)
    with pynwb.NWBHDF5IO(file, "w") as io:
        io.write(content)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("s3://bucket/a.zarr/", "s3://bucket/a.zarr"),
        (Path("s3://bucket/a.zarr"), "s3://bucket/a.zarr"),
        (Path("gs://bucket/a.zarr"), "gcs://bucket/a.zarr"),
        (Path("https://host:80/a.nwb"), "https://host:80/a.nwb"),
        ("/data/s3:/a", None),
        (Path("run_g0"), None),
        ("C:/data", None),
    ],
)
def test_addresses_are_known_however_they_come(given, wanted):
    assert address_of(given) == wanted


def test_a_run_notes_an_address_as_one(tmp_path):
    address, file = "s3://bucket/a.zarr", tmp_path / "b"
    write_marker(tmp_path, dict(one=Path(address), several=[Path(address), file], text=address))
    noted = json.loads((tmp_path / MARKER).read_text())
    assert (noted["one"], noted["several"], noted["text"]) == (address, [address, str(file)], address)


def test_what_cannot_be_at_an_address_is_refused(recording, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run("correct", recording._kwargs["folder_path"], "-o", "s3://bucket/out")
    assert done.exit_code == 1
    assert "s3://bucket/out is no folder of this machine" in done.output
    assert list(tmp_path.iterdir()) == []
    for place in ("s3://bucket/traces", "https://host/traces.zarr"):
        with pytest.raises(ValueError, match=r"allowed: a folder, or s3:// or gs://"):
            save_recording(recording, place, **JOBS)
    with pytest.raises(LoadingError, match="aws_secret would be written"):
        load_recording("s3://bucket/a.zarr", reader_options=dict(storage_options=dict(aws_secret="made-up")))
    with pytest.raises(LoadingError, match="allowed at an address: zarr, nwb"):
        load_recording("s3://bucket/run_g0", reader="spikeglx")


def test_a_library_that_is_missing_is_named(monkeypatch):
    from steadyspike.core import addresses

    monkeypatch.setattr(addresses, "find_spec", lambda name: None)
    with pytest.raises(LoadingError, match=r"needs s3fs: pip install 'steadyspike\[remote\]'"):
        load_recording("s3://bucket/a.zarr")
    with pytest.raises(LoadingError, match=r"needs remfile: pip install 'steadyspike\[remote\]'"):
        load_recording("https://host/a.nwb")


def test_zarr_3_is_refused_with_a_word(tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(LoadingError, match=r"format Zarr 3, which zarr-python 2\.\d+\.\d+ cannot read"):
        load_recording(tmp_path)


def test_zarr_is_not_written_with_a_library_that_spikeinterface_cannot_write_with(
    recording, tmp_path, monkeypatch
):
    monkeypatch.setattr("zarr.__version__", "3.1.6")
    done = run("correct", recording._kwargs["folder_path"], "-o", tmp_path / "out", "-f", "zarr")
    assert done.exit_code == 1
    assert "3.1.6 is installed" in done.output


def test_connections_are_not_forked(recording, monkeypatch):
    from spikeinterface.core import job_tools

    remote = si.NumpyRecording(recording.get_traces(), 10_000.0)
    remote._kwargs = dict(folder_path="s3://bucket/a.zarr")
    taken = []

    class Executor:
        def __init__(self, *args, mp_context=None, **others):
            taken.append(mp_context)

        def run(self, chunks):
            pass

    monkeypatch.setattr(job_tools, "TimeSeriesChunkExecutor", Executor)
    for one in (recording, remote, si.bandpass_filter(remote, freq_max=3000.0)):
        run_chunks(one, print, dict, (), [], print, "nothing", None, n_jobs=2)
    assert taken == [None, "spawn", "spawn"]
