"""Traces on the disk: those of SpikeInterface, whatever interrupts their writing, and whatever a crash takes."""

import gc
import multiprocessing
import os

import numpy as np
import pytest
import spikeinterface.full as si
from failures import disk_full_or_ctrl_c, fail_everywhere, killed

from steadyspike.cli.errors import UsageError
from steadyspike.cli.output import MARKER, worked_on, write_marker
from steadyspike.core import environment, saving
from steadyspike.core.aside import UNFINISHED
from steadyspike.core.saving import save_recording, seconds_noted
from steadyspike.core.unfinished import Notes, OtherSettingsError, WorkFolder

JOBS = dict(n_jobs=1, chunk_size=100, progress_bar=False)
SAMPLES = np.random.default_rng(0).integers(-200, 200, size=(350, 3), dtype="int16")


def recording_of(samples=SAMPLES):
    recording = si.NumpyRecording([samples[:250], samples[250:]], 1_000.0, channel_ids=["a", "b", "c"])
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0], [0.0, 40.0]]))
    return recording


@pytest.fixture
def work(tmp_path):
    folder = WorkFolder(tmp_path / "out.part", "unfinished output", "--restart")
    folder.begin({})
    (folder.path / "result").mkdir()
    return folder


def save(work, recording=None, **arguments):
    folder = work.path / "result" / "recording"
    return save_recording(recording or recording_of(), folder, work, **{**JOBS, **arguments})


def assert_whole(folder, samples=SAMPLES):
    saved = si.load(folder)
    np.testing.assert_array_equal(saved.get_traces(0), samples[:250])
    np.testing.assert_array_equal(saved.get_traces(1), samples[250:])
    assert list(saved.channel_ids) == ["a", "b", "c"]
    np.testing.assert_array_equal(saved.get_channel_locations(), recording_of().get_channel_locations())


@pytest.fixture
def written(monkeypatch):
    """The chunks that were written."""
    chunks, write = [], saving._write_chunk
    monkeypatch.setattr(saving, "_write_chunk", lambda *chunk: (chunks.append(chunk[:3]), write(*chunk))[1])
    return chunks


def write_output(output, overwrite=False):
    """Do what a command does whose output holds traces."""
    with worked_on(output, overwrite, lambda work: seconds_noted(work, 1.0) > 0, "traces") as (work, result):
        save_recording(recording_of(), result / "recording", work, **JOBS)
        write_marker(result, {})


@pytest.fixture
def quick(monkeypatch):
    """What costs time and changes nothing, left out."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(gc, "collect", lambda *_: 0)
    monkeypatch.setattr(environment, "versions", dict)


@pytest.mark.parametrize(
    ("fail", "stride"),
    [
        (disk_full_or_ctrl_c, 2),
        pytest.param(
            *(killed, 1),
            marks=pytest.mark.skipif(
                "fork" not in multiprocessing.get_all_start_methods(), reason="needs a quick new process"
            ),
        ),
    ],
)
def test_whatever_step_fails_the_same_command_goes_on(tmp_path, quick, fail, stride):
    output = tmp_path / "out"
    complete = []

    def check(number):
        complete.append((output / MARKER).exists())
        if complete[-1]:
            # it was complete already: refused, and what was left beside it is cleared away
            with pytest.raises(UsageError, match="--overwrite"):
                write_output(output)
        else:
            write_output(output)
        assert_whole(output / "recording")
        assert [path.name for path in tmp_path.iterdir()] == ["out"], number
        assert sorted(path.name for path in output.iterdir()) == ["recording", MARKER]
        output.rename(output.with_name(f"{UNFINISHED}01234567-deleted-out"))

    steps = fail_everywhere(lambda: write_output(output), check, fail, stride)
    assert steps > 30
    assert complete.count(True) < 12


def test_a_replaced_output_is_there_until_the_new_one_is(tmp_path, quick):
    output = tmp_path / "out"
    write_output(output)

    def check(number):
        assert_whole(output / "recording")
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("out.part")] == ["out"]

    fail_everywhere(lambda: write_output(output, overwrite=True), check, disk_full_or_ctrl_c, stride=3)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def interrupted(work, monkeypatch, after):
    """Save until some chunks are noted."""
    with monkeypatch.context() as patch:
        write, chunks = saving._write_chunk, []

        def stop(*chunk):
            if len(chunks) == after:
                raise KeyboardInterrupt
            chunks.append(chunk)
            return write(*chunk)

        patch.setattr(saving, "_write_chunk", stop)
        with pytest.raises(KeyboardInterrupt):
            save(work)
    return work.path / "traces" / "done.txt", work.path / "result" / "recording" / "traces_cached_seg0.raw"


@pytest.mark.parametrize(
    ("harm", "again"),
    [
        (lambda done, traces: None, 1),
        # a crash of the machine: the note is on the disk, and what it promises is not
        (lambda done, traces: traces.write_bytes(bytes(1500)), 4),
        (lambda done, traces: traces.write_bytes(traces.read_bytes()[:600] + bytes(900)), 3),
        (lambda done, traces: os.truncate(traces, 700), 3),
        (lambda done, traces: os.truncate(traces, 0), 4),
        (lambda done, traces: traces.unlink(), 4),
        (lambda done, traces: traces.write_bytes(traces.read_bytes() + bytes(100)), 1),
        # a note that was cut in the middle of a line, filled with zeros, or is something else
        (lambda done, traces: done.write_bytes(done.read_bytes()[:-3]), 2),
        (lambda done, traces: done.write_bytes(done.read_bytes()[:-30] + bytes(30)), 2),
        (lambda done, traces: done.write_bytes(b"\xff0 0 100 x\n\n0 0 100\nzero" + done.read_bytes()), 2),
        (lambda done, traces: done.write_bytes(b""), 4),
        (lambda done, traces: done.unlink(), 4),
    ],
)
def test_what_a_crash_took_is_found_and_written_again(work, monkeypatch, written, harm, again):
    done, traces = interrupted(work, monkeypatch, after=3)
    harm(done, traces)
    written.clear()
    if again > 1:
        # the run after it is stopped too
        interrupted(work, monkeypatch, after=1)
    save(work)
    assert len(written) == again
    assert_whole(traces.parent)
    written.clear()
    assert save(work) == pytest.approx(0.35)
    assert written == []


def test_a_note_is_written_after_what_it_promises_is_on_the_disk(work, monkeypatch):
    steps, fsync = [], os.fsync

    def noted(opened):
        fsync(opened)
        name = os.path.basename(os.readlink(f"/proc/self/fd/{opened}"))
        if name == "done.txt":
            # the note itself is on the disk before the next chunk
            assert len(Notes(work.path / "traces" / "done.txt").read()) == steps.count("note") + 1
        steps.append("note" if name == "done.txt" else name)

    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc here")
    monkeypatch.setattr(os, "fsync", noted)
    save(work)
    first, second = "traces_cached_seg0.raw", "traces_cached_seg1.raw"
    assert steps[-8:] == [first, "note", first, "note", first, "note", second, "note"]


def test_other_traces_are_refused_or_begun_anew(work, written):
    save(work)
    other = recording_of(SAMPLES + np.int16(1))
    with pytest.raises(OtherSettingsError, match=r"changed since: .*Begin anew with --restart"):
        save(work, other)
    with pytest.raises(OtherSettingsError, match="chunk_size is 100 there and 50 here"):
        save(work, chunk_size=50)
    assert_whole(work.path / "result" / "recording")
    written.clear()
    assert save(work, other, anew=True) == 0
    assert len(written) == 4
    assert_whole(work.path / "result" / "recording", SAMPLES + np.int16(1))


def test_the_saved_folder_is_the_one_that_spikeinterface_writes(work, tmp_path):
    recording = recording_of()
    recording.set_times(np.arange(250) / 1_000 + 7, 0)
    recording.set_times(np.arange(100) / 1_000 + 17, 1)
    recording.set_property("brain_area", ["CA1"] * 3)
    recording.annotate(subject="mouse")
    recording.save(folder=tmp_path / "raw", n_jobs=1, progress_bar=False, verbose=False)
    lazy = si.astype(si.load(tmp_path / "raw"), "float32")
    lazy.save(folder=tmp_path / "out" / "theirs", n_jobs=1, progress_bar=False, verbose=False)
    save(work, lazy, n_jobs=2, chunk_size=90)
    ours = work.path / "result" / "recording"
    theirs = {
        path.relative_to(tmp_path / "out" / "theirs") for path in (tmp_path / "out" / "theirs").rglob("*")
    }
    assert {path.relative_to(ours) for path in ours.rglob("*")} == theirs
    for path in theirs:
        if (tmp_path / "out" / "theirs" / path).is_file():
            assert (ours / path).read_bytes() == (tmp_path / "out" / "theirs" / path).read_bytes(), path


def test_a_segment_without_samples_is_saved(work):
    recording = si.NumpyRecording([np.zeros((0, 2), "int16"), np.ones((5, 2), "int16")], 1_000.0)
    assert save(work, recording) == 0
    assert si.load(work.path / "result" / "recording").get_num_samples(1) == 5
