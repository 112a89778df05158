"""Peaks on disk: the same as SpikeInterface's, whatever interrupts the work."""

import json
import multiprocessing
import os
import shutil
import signal
import threading

import numpy as np
import pytest
import spikeinterface.full as si
from failures import disk_full_or_ctrl_c, fail_everywhere

import steadyspike
from steadyspike.core import aside, environment, unfinished
from steadyspike.core.noise_levels import SEED
from steadyspike.core.unfinished import OtherSettingsError, WorkFolder
from steadyspike.peaks import on_disk
from steadyspike.peaks.on_disk import compute_peaks

FAST = dict(preset="rigid_fast", detect_kwargs=dict(detect_threshold=5.0))
JOBS = dict(n_jobs=1, chunk_duration="1s", progress_bar=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A recording of two segments, on disk."""
    recording, _ = si.generate_ground_truth_recording(
        durations=[5.3, 2.1], num_channels=8, num_units=6, seed=3, sampling_frequency=10_000.0
    )
    folder = tmp_path_factory.mktemp("data") / "recording"
    recording.save(folder=folder, format="binary", n_jobs=1, progress_bar=False)
    return folder


@pytest.fixture
def recording(saved):
    return si.load(saved)


@pytest.fixture(scope="module")
def expected(saved):
    """What SpikeInterface's pipeline gives for the whole recording at once."""
    recording = si.load(saved)
    levels = si.get_noise_levels(
        recording, return_in_uV=False, random_slices_kwargs=dict(seed=SEED), progress_bar=False
    )
    nodes = on_disk.peak_nodes(
        recording, *on_disk.peak_parameters(FAST["preset"], FAST["detect_kwargs"], {}), levels
    )
    from spikeinterface.core.node_pipeline import run_node_pipeline

    return run_node_pipeline(recording, nodes, JOBS, squeeze_output=False)


def assert_same(result, expected):
    for found, wanted in zip(result, expected, strict=True):
        assert found.dtype == wanted.dtype
        assert found.tobytes() == wanted.tobytes()


def test_peaks_are_those_of_compute_motion(recording, tmp_path):
    one = recording.select_segments([0])
    peaks, locations = compute_peaks(one, tmp_path / "peaks", block_s=2.0, **FAST, **JOBS)
    # the noise levels are a property now, which compute_motion takes
    _, info = si.compute_motion(one, output_motion_info=True, **FAST, **JOBS)
    assert len(peaks) > 20
    assert_same((peaks, locations), (info["peaks"], info["peak_locations"]))
    assert isinstance(peaks, np.memmap)
    assert isinstance(locations, np.memmap)
    assert not peaks.flags.writeable


@pytest.mark.parametrize(
    "jobs",
    [dict(n_jobs=1), dict(n_jobs=2, pool_engine="thread"), dict(n_jobs=2, pool_engine="process")],
    ids=["one", "threads", "processes"],
)
def test_any_blocks_and_jobs_give_the_same(recording, expected, tmp_path, jobs):
    folder = tmp_path / "peaks"
    result = compute_peaks(recording, folder, block_s=3.0, **FAST, **{**JOBS, **jobs})
    assert_same(result, expected)
    assert set(result[0]["segment_index"]) == {0, 1}
    assert sorted(path.name for path in folder.iterdir()) == [
        "noise_levels.npy",
        "peak_locations.npy",
        "peaks.npy",
        "settings.json",
    ]


def killed_after(num_chunks, saved, folder):
    """Compute peaks in a process that is killed in the middle of a chunk."""
    chunks, compute = [], on_disk._compute_peak_pipeline_chunk

    def killed(*arguments):
        chunks.append(None)
        if len(chunks) == num_chunks:
            os.kill(os.getpid(), signal.SIGKILL)
        return compute(*arguments)

    on_disk._compute_peak_pipeline_chunk = killed
    compute_peaks(si.load(saved), folder, block_s=2.0, **FAST, **JOBS)


@pytest.fixture
def computed(monkeypatch):
    """The chunks that were computed."""
    chunks, compute = [], on_disk._compute_peak_pipeline_chunk
    monkeypatch.setattr(
        on_disk,
        "_compute_peak_pipeline_chunk",
        lambda segment, start, stop, worker: (
            chunks.append((segment, start // 10_000)),
            compute(segment, start, stop, worker),
        )[1],
    )
    return chunks


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs a quick new process")
@pytest.mark.parametrize("block_s", [2.0, 3.0])
def test_killed_process_loses_the_block_in_work_only(
    saved, recording, expected, tmp_path, computed, capsys, block_s
):
    folder = tmp_path / "peaks"
    process = multiprocessing.get_context("fork").Process(target=killed_after, args=(6, saved, folder))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert sorted(path.name for path in (folder / "blocks").iterdir()) == ["000000", "000001"]
    assert not (folder / "peaks.npy").exists()
    # a folder goes on with its own blocks
    result = compute_peaks(recording, folder, block_s=block_s, verbose=True, **FAST, **JOBS)
    assert_same(result, expected)
    assert computed == [(0, 4), (0, 5), (1, 0), (1, 1), (1, 2)]
    assert "2 of 5 blocks" in capsys.readouterr().out
    assert len(list(folder.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["peaks"]


def test_blocks_are_of_20_s_of_the_recording():
    recording = si.generate_recording(num_channels=2, durations=[3600.0], sampling_frequency=1000.0)
    blocks, chunk = on_disk.divide_into_blocks(
        recording, on_disk.ComputePeaksSettings.defaults()["block_s"], dict(n_jobs=1, chunk_duration="1s")
    )
    assert chunk == 1000
    assert {len(block) for block in blocks} == {20}


def test_whatever_step_fails_the_next_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)
    recording = si.NumpyRecording([np.random.default_rng(0).normal(size=(1_000, 2))], 10_000.0)
    recording.set_dummy_probe_from_locations(np.array([[0.0, 0.0], [0.0, 20.0]]))
    arguments = dict(preset="rigid_fast", detect_kwargs=dict(detect_threshold=2.0), block_s=0.05)
    jobs = {**JOBS, "chunk_duration": "50ms"}
    expected = compute_peaks(recording, tmp_path / "expected", **arguments, **jobs)
    assert len(expected[0]) > 10

    def compute():
        compute_peaks(recording, tmp_path / "peaks", **arguments, **jobs)

    def check(number):
        assert_same(compute_peaks(recording, tmp_path / "peaks", **arguments, **jobs), expected)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "peaks"]
        assert len(list((tmp_path / "peaks").iterdir())) == 4
        WorkFolder(tmp_path / "peaks", "peaks").discard()

    assert fail_everywhere(compute, check, disk_full_or_ctrl_c) > 20


def test_interrupt_while_joining_loses_nothing(recording, expected, tmp_path, monkeypatch):
    folder = tmp_path / "peaks"
    join = on_disk._join

    def interrupted(folder, num_blocks, name):
        if name == "peaks":
            raise KeyboardInterrupt
        join(folder, num_blocks, name)

    monkeypatch.setattr(on_disk, "_join", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compute_peaks(recording, folder, block_s=2.0, **FAST, **JOBS)
    monkeypatch.setattr(on_disk, "_join", join)
    monkeypatch.setattr(on_disk, "run_chunks", None)
    assert_same(compute_peaks(recording, folder, block_s=2.0, **FAST, **JOBS), expected)
    # and once it is complete, it is only opened
    monkeypatch.setattr(on_disk, "_join", None)
    assert_same(compute_peaks(recording, folder, block_s=2.0, **FAST, **JOBS), expected)


def test_other_settings_are_refused_by_name(recording, tmp_path):
    folder = tmp_path / "peaks"
    compute_peaks(recording, folder, **FAST, **JOBS)
    changed = {**FAST, "detect_kwargs": dict(detect_threshold=7.5)}
    with pytest.raises(ValueError, match=r"detect_kwargs.detect_threshold is 5.0 there and 7.5 here"):
        compute_peaks(recording, folder, **changed, **JOBS)
    with pytest.raises(ValueError, match="chunk_size is 10000 there and 5000 here"):
        compute_peaks(recording, folder, **FAST, **{**JOBS, "chunk_duration": "500ms"})
    with pytest.raises(ValueError, match="num_samples"):
        compute_peaks(recording.select_segments([0]), folder, **FAST, **JOBS)
    filtered = steadyspike.bandpass_filter(recording, freq_min=300.0, freq_max=3000.0)
    with pytest.raises(ValueError, match=r"recording.provenance.class is .* there and .*Bandpass"):
        compute_peaks(filtered, folder, **FAST, **JOBS)
    peaks, _ = compute_peaks(recording, folder, overwrite=True, **changed, **JOBS)
    assert (
        json.loads((folder / "settings.json").read_text())["settings"]["detect_kwargs.detect_threshold"]
        == "7.5"
    )
    assert np.abs(peaks["amplitude"]).size > 0


def test_a_recording_is_known_by_what_its_files_hold(tmp_path, monkeypatch):
    def write(seed, changed=0.0):
        traces = np.random.default_rng(seed).normal(scale=20, size=(20_000, 4))
        traces[12_000:12_500] += changed
        recording = si.NumpyRecording([traces.astype("int16")], 10_000.0)
        recording.set_probe(si.generate_recording(num_channels=4, durations=[0.1]).get_probe())
        shutil.rmtree(tmp_path / "raw", ignore_errors=True)
        recording.save(folder=tmp_path / "raw", n_jobs=1, verbose=False, progress_bar=False)

    def compute(place="raw", folder="peaks"):
        filtered = steadyspike.bandpass_filter(si.load(tmp_path / place), freq_min=300.0, freq_max=3000.0)
        return compute_peaks(filtered, tmp_path / folder, **FAST, **JOBS)

    write(seed=0)
    first = compute()
    # neither the version nor the place counts
    monkeypatch.setattr(environment, "version", lambda package: "99.0")
    assert_same(compute(), first)
    (tmp_path / "raw").rename(tmp_path / "moved")
    assert_same(compute("moved"), first)
    for changes in (dict(seed=1), dict(seed=0, changed=1.0)):
        write(**changes)
        with pytest.raises(
            OtherSettingsError, match=r"provenance\.kwargs\..*samples is .* there and .* here.*overwrite=True"
        ):
            compute()
    write(seed=0)
    assert_same(compute(), first)


def test_a_folder_of_a_newer_format_is_not_touched(recording, tmp_path, monkeypatch):
    folder = tmp_path / "peaks"
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "FORMAT", 3)
        compute_peaks(recording, folder, **FAST, **JOBS)
    with pytest.raises(OtherSettingsError, match="newer version of steadyspike"):
        compute_peaks(recording, folder, **FAST, **JOBS)


def test_two_runs_do_not_find_peaks_in_one_folder(recording, tmp_path, monkeypatch):
    monkeypatch.setattr(aside, "LOCK_WAIT_S", 0.0)
    refused, compute = [], on_disk._compute_peak_pipeline_chunk

    def second():
        try:
            compute_peaks(recording, tmp_path / "peaks", **FAST, **JOBS)
        except aside.InUseError as error:
            refused.append(str(error))

    def while_another_begins(*chunk):
        if not refused:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
        return compute(*chunk)

    monkeypatch.setattr(on_disk, "_compute_peak_pipeline_chunk", while_another_begins)
    compute_peaks(recording, tmp_path / "peaks", **FAST, **JOBS)
    (said,) = refused
    assert "peaks is being written by another run of steadyspike; wait until that has ended" in said


def test_peaks_that_are_complete_are_read_where_nothing_may_be_written(recording, tmp_path, monkeypatch):
    folder = tmp_path / "peaks"
    first = compute_peaks(recording, folder, **FAST, **JOBS)

    def refused(*_, **__):
        raise PermissionError("read-only")

    for name in ("mkdir", "replace", "rename", "unlink"):
        monkeypatch.setattr(os, name, refused)
    monkeypatch.setattr(on_disk, "locked", refused)
    assert_same(compute_peaks(recording, folder, **FAST, **JOBS), first)


def test_recording_in_memory_is_known_by_its_traces(tmp_path):
    traces = np.random.default_rng(0).normal(size=(12_000, 4)).astype("float32")
    probe = si.generate_recording(num_channels=4, durations=[0.1]).get_probe()

    def in_memory(values):
        recording = si.NumpyRecording([values], 10_000.0)
        recording.set_probe(probe)
        return recording

    folder = tmp_path / "peaks"
    first = compute_peaks(in_memory(traces), folder, **FAST, **JOBS)
    assert_same(compute_peaks(in_memory(traces.copy()), folder, **FAST, **JOBS), first)
    with pytest.raises(ValueError, match=r"recording\.provenance\.samples"):
        compute_peaks(in_memory(2 * traces), folder, **FAST, **JOBS)


def test_silence_gives_no_peaks(tmp_path):
    recording = si.NumpyRecording([np.zeros((20_000, 4), dtype="float32")], 10_000.0)
    recording.set_probe(si.generate_recording(num_channels=4, durations=[0.1]).get_probe())
    peaks, locations = compute_peaks(recording, tmp_path / "peaks", block_s=1.0, **FAST, **JOBS)
    assert peaks.size == locations.size == 0
    assert "sample_index" in peaks.dtype.names


def test_folder_of_something_else_is_safe(recording, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="holds no peaks"):
            compute_peaks(recording, tmp_path, overwrite=overwrite, **FAST, **JOBS)
    assert (tmp_path / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (dict(block_s=0.0), ValueError, "block_s=0.0"),
        (dict(detect_kwargs=dict(detect_treshold=5)), ValueError, "detect_threshold"),
        (dict(localize_peaks_kwargs=dict(method="magic")), ValueError, "magic"),
        (dict(preset="magic"), KeyError, "magic"),
        (dict(nonsense=1), TypeError, "nonsense"),
    ],
)
def test_wrong_arguments_leave_nothing(recording, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        compute_peaks(recording, tmp_path / "peaks", **arguments)
    assert not (tmp_path / "peaks").exists()


def test_bar_counts_every_chunk_of_the_recording(recording, tmp_path, capsys):
    compute_peaks(recording, tmp_path / "peaks", block_s=2.0, **FAST, **{**JOBS, "progress_bar": True})
    assert "9/9" in capsys.readouterr().err


def test_integers_of_few_counts_and_a_silent_channel(recording, tmp_path):
    traces = recording.get_traces(0) / 8.0
    traces[:, 3] = 0.0
    traces[::500, 3] = -300.0
    integers = si.NumpyRecording([traces.round().astype("int16")], recording.sampling_frequency)
    integers.set_probe(recording.get_probe())
    with pytest.warns(UserWarning, match="channels 3 are silent"):
        peaks, _ = compute_peaks(integers, tmp_path / "peaks", **FAST, **JOBS)
    levels = np.load(tmp_path / "peaks" / "noise_levels.npy")
    exact = si.get_noise_levels(si.NumpyRecording([traces], 30_000.0), return_in_uV=False, progress_bar=False)
    live = np.arange(8) != 3
    assert 0.4 < exact[live].min() < exact[live].max() < 1.5
    assert levels[live] / exact[live] == pytest.approx(1.0, abs=0.1)
    assert levels[3] == 0
    assert len(peaks) > 20
    assert not (peaks["channel_index"] == 3).any()
