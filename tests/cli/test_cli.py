import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import spikeinterface.full as si
import typer
from cli_runner import assert_nothing_left, run, run_benchmark
from numba.core import event

import steadyspike
from steadyspike.cli.correcting import run_one
from steadyspike.cli.errors import UsageError, clear_errors
from steadyspike.cli.options import paragraphs
from steadyspike.cli.output import begin_anew, worked_on
from steadyspike.integration.acceleration import calls
from steadyspike.motion.info import load_motion_info
from steadyspike.simulation.drift import build_probe, simulate_drifting_recording

THREE = ["sampling_frequency=30000", "num_channels=3", "dtype=int16"]


@pytest.fixture(scope="module")
def raw_folder(tmp_path_factory):
    """A raw int16 recording, as a binary folder."""
    simulated = simulate_drifting_recording(
        "rigid_zigzag", num_channels=24, duration_s=8.0, num_units=12, seed=4
    )
    folder = tmp_path_factory.mktemp("data") / "raw"
    si.astype(simulated.recording, "int16", round=True).save(folder=folder, format="binary", n_jobs=1)
    return folder


@pytest.fixture(scope="module")
def corrected_folder(raw_folder, tmp_path_factory):
    """What `steadyspike correct` writes for it."""
    output = tmp_path_factory.mktemp("results") / "corrected"
    result = run("correct", raw_folder, "-o", output, "-p", "steady_rigid", "-f", "binary", "-j", 1)
    assert result.exit_code == 0, result.output
    return output


@pytest.mark.parametrize(
    "command",
    [
        "",
        "demo",
        "correct",
        "sessions",
        "report",
        "warmup",
        "info",
        "presets list",
        "presets show",
        "run",
        "speed",
    ],
)
def test_help_is_there(command):
    result = (run_benchmark if command == "speed" else run)(*command.split(), "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.output


def test_help_of_correct_names_what_is_written():
    output = run("correct", "--help").output
    for word in ("recording.json", "motion_info", "--trust-pickle", "Examples"):
        assert word in output


def test_sentences_of_help_end_where_the_terminal_does():
    assert paragraphs("\n[bold]A[/bold]\n\n  one\n  two\n") == "[bold]A[/bold]\n\n  one two"
    lines = run("correct", "--help").output.splitlines()
    assert any("Until all of that is there" in line and len(line.strip()) > 150 for line in lines)


def test_the_command_imports_nothing_heavy_to_show_its_help():
    script = (
        "import sys; from steadyspike.cli import app; "
        "print([m for m in ('torch', 'tensorflow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_correct_writes_what_help_says(corrected_folder):
    names = sorted(path.name for path in corrected_folder.iterdir())
    assert names == [
        *("figures", "motion_info", "recording", "recording.json", "report.html", "steadyspike.json"),
    ]
    figures = sorted(path.name for path in (corrected_folder / "figures").iterdir())
    assert figures == [
        "explained.png",
        "motion_map.png",
        "peaks_on_probe.png",
        "raster.png",
        "run_times.png",
        "verdict.png",
    ]
    verdict = json.loads((corrected_folder / "motion_info" / "verdict.json").read_text())
    assert verdict["verdict"] == "correct"
    assert json.loads((corrected_folder / "steadyspike.json").read_text())["result"]["followed"] is False
    info = si.load_motion_info(corrected_folder / "motion_info")
    assert info["parameters"]["preset"] == "steady_rigid"
    explained = np.load(corrected_folder / "motion_info" / "explained.npy")
    assert explained.shape == info["motion"].displacement[0].shape
    np.testing.assert_array_equal(np.load(corrected_folder / "motion_info" / "trust.npy"), explained)
    assert len(info["peaks"]) == len(info["peak_locations"]) > 50
    marker = json.loads((corrected_folder / "steadyspike.json").read_text())
    assert marker["request"]["preset"] == "steady_rigid"
    assert marker["request"]["preprocess"] == "bandpass and common reference"
    assert marker["versions"]["spikeinterface"] == si.__version__
    assert marker["result"]["files"][-1] == "report.html"
    assert marker["memory_mb"] is None or marker["memory_mb"] > 10
    loaded = load_motion_info(corrected_folder / "motion_info")
    assert loaded["motion_trust"].verdict == "correct"
    assert loaded["displacement_sd_um"].shape == explained.shape
    assert [path.name for path in corrected_folder.parent.iterdir()] == ["corrected"]


def test_the_report_tells_what_correct_did(corrected_folder, tmp_path):
    result = run("report", corrected_folder, "-o", tmp_path / "again.html")
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'again.html'}" in result.output
    for file in (corrected_folder / "report.html", tmp_path / "again.html"):
        page = file.read_text(encoding="utf8")
        first = page[page.index("<h1") : page.index("</h1>")]
        assert "the rigid motion was corrected" in first
        assert f"{corrected_folder.as_posix()}/recording.json" in page
        for figure in ("traces-0", "spectra-0", "noise-0", "probe-0", "space-0", "gain-0"):
            assert f'id="{figure}"' in page
        for words in ("detect and localize", "bandpass", "spikeinterface", "none were called bad"):
            assert words in page
        assert "could not be shown" not in page


def test_a_report_of_what_is_none_is_refused(tmp_path):
    result = run("report", tmp_path)
    assert result.exit_code == 2
    assert "steadyspike.json" in result.output
    assert_nothing_left(tmp_path)


def test_several_runs_are_corrected_one_by_one_with_a_table(raw_folder, tmp_path):
    (tmp_path / "lost").mkdir()
    result = run(
        *("correct", raw_folder, tmp_path / "lost", "-o", tmp_path / "out", "-p", "steady_rigid", "-j", 1),
        *("--no-figures", "-f", "binary", "--dtype", "int16"),
    )
    assert result.exit_code == 1
    lines = [line for line in result.output.splitlines() if line.startswith("│")]
    assert [line.split()[1:4:2] for line in lines] == [["raw", "correct"], ["lost", "failed"]]
    assert "1 of 2 runs failed" in result.output
    assert "\nlost\n" in result.output
    assert "[bold]" not in result.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["raw"]
    assert si.load(tmp_path / "out" / "raw" / "recording").dtype == "int16"
    assert si.load(tmp_path / "out" / "raw" / "recording").get_traces(end_frame=3000).std() > 1


def test_sessions_of_one_implant_are_put_in_one_frame(raw_folder, tmp_path):
    result = run(
        *("sessions", raw_folder, raw_folder, "-o", tmp_path / "out", "-p", "steady_rigid", "-j", 1),
        "--no-figures",
    )
    assert result.exit_code == 0, result.output
    assert si.load(tmp_path / "out" / "recording.json").get_num_segments() == 2
    offsets = [line.split()[3] for line in result.output.splitlines() if line.startswith("│")]
    assert [abs(float(offset)) < 1.0 for offset in offsets] == [True, True]


def test_integers_are_refused_where_they_hold_nothing(raw_folder, tmp_path):
    si.astype(si.load(raw_folder), "float32").frame_slice(0, 3000).save(folder=tmp_path / "volts", n_jobs=1)
    result = run("correct", tmp_path / "volts", "-o", tmp_path / "out", "--dtype", "int16")
    assert result.exit_code == 2
    assert "--dtype int16 would round traces of float32" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("probe", "extent"), [("tetrode", 20.0), ("linear-25", 75.0)])
def test_short_probes_have_names(tmp_path, probe, extent):
    from steadyspike.cli.reading import open_recording

    np.zeros((3000, 4), dtype="int16").tofile(tmp_path / "raw.dat")
    options = ["sampling_frequency=30000", "num_channels=4", "dtype=int16"]
    given = dict(probe=probe, segment=None, reader="binary", reader_option=options)
    recording = open_recording(tmp_path / "raw.dat", **given)
    assert np.ptp(recording.get_channel_locations(), axis=0).max() == pytest.approx(extent)
    with pytest.raises(UsageError, match="4 contacts, and the recording 3 channels"):
        open_recording(tmp_path / "raw.dat", **{**given, "probe": "tetrode"} | {"reader_option": THREE})


def test_compilation_is_said_once_and_added_up(capsys):
    from steadyspike.cli.notes import Notes

    class Dispatcher:
        py_func = run_one

    with Notes().taken() as notes:
        for _ in range(2):
            with event.trigger_event("numba:compile", data=dict(dispatcher=Dispatcher)):
                pass
        warnings.warn("Look out", UserWarning, stacklevel=1)
    assert capsys.readouterr().err.count("compiling") == 1
    assert notes.compiling_s > 0
    assert notes.warnings == ["Look out"]
    assert list(notes.run_times({"detect": 1.0})) == ["detect", "compiling_in_these"]


def test_lazy_json_gives_the_saved_traces_in_a_process_that_never_imported_us(corrected_folder):
    script = (
        "import sys, numpy as np, spikeinterface.full as si; "
        f"lazy = si.load({str(corrected_folder / 'recording.json')!r}); "
        f"saved = si.load({str(corrected_folder / 'recording')!r}); "
        "a, b = (r.get_traces(start_frame=20_000, end_frame=50_000) for r in (lazy, saved)); "
        "assert lazy.dtype == 'float32' and a.std() > 1; "
        "np.testing.assert_allclose(a, b, atol=1e-2)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_zarr_and_other_presets_and_settings(raw_folder, tmp_path):
    result = run(
        *("correct", raw_folder, "-o", tmp_path / "out", "-p", "rigid_fast", "-f", "zarr", "-j", 1),
        *("--set", "estimate_motion.bin_s=2", "--set", "detect.detect_threshold=6", "--no-figures"),
    )
    assert result.exit_code == 0, result.output
    assert "peaks; " in result.output
    info = si.load_motion_info(tmp_path / "out" / "motion_info")
    assert info["parameters"]["estimate_motion_kwargs"]["bin_s"] == 2
    assert info["parameters"]["detect_kwargs"]["detect_threshold"] == 6
    assert info["motion"].displacement[0].shape == (4, 1)
    lazy, saved = si.load(tmp_path / "out" / "recording.json"), si.load(tmp_path / "out" / "recording.zarr")
    assert lazy.get_num_channels() == saved.get_num_channels()
    piece = dict(start_frame=1000, end_frame=4000)
    np.testing.assert_allclose(lazy.get_traces(**piece), saved.get_traces(**piece), atol=1e-2)
    assert not (tmp_path / "out" / "figures").exists()


def test_what_steady_auto_chose_is_written_and_one_displacement_is_told(raw_folder, tmp_path):
    output = tmp_path / "out"
    result = run("correct", raw_folder, "-o", output, "-p", "steady_auto", "-j", 1, "--no-figures")
    assert result.exit_code == 0, result.output
    parameters = json.loads((output / "motion_info" / "parameters.json").read_text())
    chosen = parameters["estimate_motion_kwargs"]
    motion = si.load_motion_info(output / "motion_info")["motion"]
    # what moves between the bins is followed in shorter ones
    parts = chosen["bin_s"] / np.diff(motion.temporal_bins_s[0])[0]
    assert parts == pytest.approx(round(parts))
    assert parts >= 1
    assert chosen["rigid"] == (motion.spatial_bins_um.size == 1)
    verdict = json.loads((output / "motion_info" / "verdict.json").read_text())
    assert f"displacement over the recording: {verdict['displacement_um']:.1f} um" in result.output


@pytest.mark.parametrize(
    ("verdict", "followed", "follows", "words"),
    [
        ("do not correct", True, True, "followed: nothing was corrected"),
        ("correct rigidly", True, True, "followed: a rigid motion was corrected"),
        ("correct rigidly", False, True, "that was corrected is rigid"),
        ("cannot tell", False, True, "was corrected, because the spikes rather speak for it"),
        ("cannot tell", False, False, "all the same; only the preset steady_auto does as"),
    ],
)
def test_what_was_done_about_a_verdict_is_true(verdict, followed, follows, words):
    from steadyspike.cli.correcting import what_was_done
    from steadyspike.cli.correction import Correction

    told = what_was_done(
        Correction(
            output=None,
            files=[],
            num_peaks=0,
            displacement_um=1.0,
            median_explained=None,
            verdict=verdict,
            reason="",
            followed=followed,
            follows=follows,
            run_times={},
        )
    )
    assert words in told


def test_bad_channels_that_a_step_found_are_named(capsys):
    from steadyspike.cli.reading import apply_steps

    recording, _ = si.generate_ground_truth_recording(durations=[0.1], num_channels=4, num_units=1, seed=0)
    bad = recording.channel_ids[2:3]
    step = {"name": "detect_and_interpolate_bad_channels", "params": {"bad_channel_ids": bad}}
    apply_steps(recording, [{"name": "bandpass_filter"}, step, {"name": "common_reference"}])
    heard = capsys.readouterr()
    assert f"bad channels  {bad[0]}" in heard.out + heard.err
    apply_steps(recording, [{"name": "bandpass_filter"}])
    heard = capsys.readouterr()
    assert "bad channels" not in heard.out + heard.err


def test_commands_accelerate_what_gives_the_same_and_leave_all_as_it_was():
    from steadyspike.cli import reading

    with reading.accelerated_parts():
        assert steadyspike.accelerated().on
    assert not steadyspike.accelerated().on
    recording, _ = si.generate_ground_truth_recording(durations=[0.5], num_channels=8, num_units=1, seed=0)
    node = si.interpolate_bad_channels(recording, recording.channel_ids[[3]])
    for outside, taken in ((False, 0), (True, 1)):
        with steadyspike.accelerate() if outside else nullcontext(), reading.accelerated_parts():
            calls.forget()
            si.bandpass_filter(recording).get_traces()
            node.get_traces()
            counted = calls.counted()
        assert counted["interpolate_bad_channels"].taken == 1
        # who accelerates all is not held back
        assert ("bandpass_filter" in counted and counted["bandpass_filter"].taken) == taken


def test_relative_paths_let_data_and_result_move_together(raw_folder, tmp_path):
    shutil.copytree(raw_folder, tmp_path / "here" / "raw")
    result = run(
        *("correct", tmp_path / "here" / "raw", "-o", tmp_path / "here" / "out", "-p", "steady_rigid"),
        *("--relative-paths", "--no-figures", "-j", 1),
    )
    assert result.exit_code == 0, result.output
    (tmp_path / "here").rename(tmp_path / "there")
    loaded = si.load(tmp_path / "there" / "out" / "recording.json", base_folder=True)
    assert loaded.get_traces(start_frame=0, end_frame=100).shape == (100, 24)


def test_a_folder_in_the_way_is_safe(raw_folder, corrected_folder, tmp_path):
    result = run("correct", raw_folder, "-o", corrected_folder)
    assert result.exit_code == 2
    assert "--overwrite" in result.output
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    result = run("correct", raw_folder, "-o", tmp_path / "thesis", "--overwrite")
    assert result.exit_code == 2
    assert "not written by steadyspike" in result.output
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


def test_overwrite_replaces_the_whole_folder(raw_folder, corrected_folder, tmp_path):
    output = tmp_path / "corrected"
    shutil.copytree(corrected_folder, output)
    result = run(
        "correct", raw_folder, "-o", output, "-p", "steady_rigid", "--overwrite", "--no-figures", "-j", 1
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in output.iterdir()) == [
        "motion_info",
        "recording.json",
        "steadyspike.json",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["corrected"]


def test_input_inside_the_folder_to_replace_is_refused(corrected_folder):
    result = run("correct", corrected_folder / "recording", "-o", corrected_folder, "--overwrite")
    assert result.exit_code == 2
    assert (corrected_folder / "recording").is_dir()


def test_corrected_recording_can_be_corrected_again(corrected_folder, tmp_path):
    result = run(
        *("correct", corrected_folder / "recording.json", "-o", tmp_path / "again", "-p", "steady_rigid"),
        *("--no-figures", "-j", 1),
    )
    assert result.exit_code == 0, result.output
    marker = json.loads((tmp_path / "again" / "steadyspike.json").read_text())
    assert marker["request"]["preprocess"] == "none"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--preset", "steady_nonsense"], "steady_nonrigid"),
        (["--preset", "neuropixels1"], "preprocess"),
        (["--preset", "nowhere.toml"], "nowhere.toml"),
        (["--preprocess", "neuropixels9"], "neuropixels1"),
        (["--preprocess", "steady_rigid"], "--preset"),
        (["--n-jobs", "0"], "-1 for all cores"),
        (["--chunk-duration", "soon"], "500ms"),
        (["--set", "estimate_motion=3"], "estimate_motion"),
        (["--set", "bin_s"], "key=value"),
        (["--set", "detect.detect_treshold=5"], "did you mean 'detect_threshold'"),
        (["--set", "estimate_motion.bin_s=0"], "a number >= 1e-05"),
        (["--reader", "telegraph"], "spikeglx"),
        (["--reader-option", "num_channels=4"], "reader"),
        (["--segment", "3"], "counted from 0"),
        (["--probe", "nowhere.json"], "nowhere.json"),
        (["--format", "matlab"], "zarr"),
    ],
)
def test_misuse_is_told_in_one_line_before_anything_is_read(raw_folder, tmp_path, arguments, words):
    result = run("correct", raw_folder, "-o", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert "Traceback" not in result.output
    assert_nothing_left(tmp_path)


def test_missing_recording_probe_and_trust(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    assert run("correct", tmp_path / "absent", "-o", results / "out").exit_code == 2
    np.zeros((3000, 4), dtype="int16").tofile(tmp_path / "raw.dat")
    reading = ["--reader", "binary"]
    for option in ("sampling_frequency=30000", "num_channels=4", "dtype=int16"):
        reading += ["--reader-option", option]
    result = run("correct", tmp_path / "raw.dat", "-o", results / "out", *reading)
    assert result.exit_code == 2
    assert "--probe" in result.output
    (tmp_path / "chain.pkl").write_bytes(b"")
    result = run("correct", tmp_path / "chain.pkl", "-o", results / "out")
    assert result.exit_code == 2
    assert "--trust-pickle" in result.output
    assert_nothing_left(results)


@pytest.fixture(scope="module")
def two_segments(raw_folder, tmp_path_factory):
    """The raw recording cut in two."""
    raw = si.load(raw_folder)
    pieces = [raw.frame_slice(0, 100_000), raw.frame_slice(130_000, 240_000)]
    folder = tmp_path_factory.mktemp("data") / "two"
    si.append_recordings(pieces).save(folder=folder, format="binary", n_jobs=1)
    return folder


def test_several_segments_are_corrected_together(two_segments, tmp_path):
    output = tmp_path / "out"
    result = run("correct", two_segments, "-o", output, "-p", "steady_rigid", "-j", 1)
    assert result.exit_code == 0, result.output
    assert "in 2 segments" in result.output
    info = si.load_motion_info(output / "motion_info")
    assert [len(displacement) for displacement in info["motion"].displacement] == [4, 4]
    assert set(info["peaks"]["segment_index"]) == {0, 1}
    assert np.load(output / "motion_info" / "explained.npy").shape == (8, 1)
    corrected = si.load(output / "recording.json")
    assert corrected.get_num_samples(1) == 110_000
    assert corrected.get_traces(segment_index=1, end_frame=100).shape == (100, 24)
    for name in ("raster", "motion_map", "peaks_on_probe", "explained"):
        for segment in (0, 1):
            assert (output / "figures" / f"{name}_segment{segment}.png").is_file()


def test_estimators_of_one_segment_need_a_choice(two_segments, tmp_path):
    result = run("correct", two_segments, "-o", tmp_path / "out", "-p", "dredge_fast")
    assert result.exit_code == 2
    for word in ("--segment", "dredge_ap", "steady_decentralized"):
        assert word in result.output
    assert_nothing_left(tmp_path)
    options = ("-p", "rigid_fast", "--segment", 1, "--no-figures", "-j", 1)
    result = run("correct", two_segments, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert si.load(tmp_path / "out" / "recording.json").get_num_segments() == 1


def give_up():
    raise RuntimeError("no luck\nat all")


def be_terminated():
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("stop", "code"), [(give_up, 1), (be_terminated, 130)])
def test_failure_on_the_way_leaves_nothing(raw_folder, tmp_path, monkeypatch, stop, code):
    from steadyspike.peaks import on_disk

    def fail(*_, **__):
        stop()

    monkeypatch.setattr(on_disk, "run_chunks", fail)
    result = run("correct", raw_folder, "-o", tmp_path / "out", "-p", "steady_rigid", "-j", 1)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert ("no luck at all" in result.output) == (code == 1)
    assert_nothing_left(tmp_path)


@pytest.mark.parametrize(("stop", "code"), [(give_up, 1), (be_terminated, 130)])
def test_failure_after_the_peaks_keeps_them_for_the_next_run(raw_folder, tmp_path, monkeypatch, stop, code):
    from steadyspike.peaks import on_disk

    command = ("correct", raw_folder, "-o", tmp_path / "out", "-p", "steady_rigid", "-j", 1, "--no-figures")
    with monkeypatch.context() as patch:
        patch.setattr(si, "save_motion_info", lambda *_, **__: stop())
        result = run(*command)
    assert result.exit_code == code
    assert "goes on from there" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.part"]

    result = run(*command, "--set", "detect.detect_threshold=7")
    assert result.exit_code == 2
    assert "detect_threshold is 8.0 there and 7 here" in result.output
    assert "--restart" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out.part"]

    with monkeypatch.context() as patch:
        patch.setattr(on_disk, "run_chunks", None)
        result = run(*command)
    assert result.exit_code == 0, result.output
    assert "going on" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


PREPROCESSING = """
schema = 1
kind = "preprocessing"
name = "ours"
doc = "Bad channels and a bandpass"
[[steps]]
name = "detect_and_remove_bad_channels"
params = { method = "std", seed = 0, num_random_chunks = 2, std_mad_threshold = 3.0 }
[[steps]]
name = "steady_bandpass_filter"
params = { freq_min = 300.0, freq_max = 6000.0 }
"""


def stopping_at(number, function):
    calls = []

    def call(*arguments):
        calls.append(arguments)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return function(*arguments)

    return call


def test_bad_channels_peaks_and_traces_are_kept_wherever_ctrl_c_comes(raw_folder, tmp_path, monkeypatch):
    from steadyspike.core import saving
    from steadyspike.peaks import on_disk

    finder = sys.modules["spikeinterface.preprocessing.detect_bad_channels"]
    divide, compute = on_disk.divide_into_blocks, on_disk._compute_peak_pipeline_chunk
    monkeypatch.setattr(on_disk, "divide_into_blocks", lambda rec, _, jobs: divide(rec, 2.0, jobs))
    (tmp_path / "ours.toml").write_text(PREPROCESSING)
    shutil.copytree(raw_folder, tmp_path / "raw")
    traces = np.memmap(tmp_path / "raw" / "traces_cached_seg0.raw", "int16", mode="r+").reshape(-1, 24)
    traces[:, 7] *= 20
    command = (
        "correct",
        tmp_path / "raw",
        "-o",
        tmp_path / "out",
        "-p",
        "steady_rigid",
        "-j",
        1,
        "-f",
        "binary",
    )
    command = (*command, "--preprocess", tmp_path / "ours.toml", "--no-figures")
    part = tmp_path / "out.part"

    with monkeypatch.context() as patch:
        patch.setattr(on_disk, "_compute_peak_pipeline_chunk", stopping_at(6, compute))
        result = run(*command)
    assert result.exit_code == 130
    assert "kept" in result.output
    assert len(list((part / "peaks" / "blocks").iterdir())) == 2
    bad = json.loads((part / "bad_channels" / "1" / "ids.json").read_text())
    assert len(bad) == 1

    detected = functools.wraps(finder.detect_bad_channels)(lambda *_, **__: pytest.fail("found again"))
    monkeypatch.setattr(finder, "detect_bad_channels", detected)
    with monkeypatch.context() as patch:
        chunks = []
        patch.setattr(
            on_disk, "_compute_peak_pipeline_chunk", lambda *chunk: (chunks.append(chunk), compute(*chunk))[1]
        )
        patch.setattr(saving, "_write_chunk", stopping_at(4, saving._write_chunk))
        result = run(*command)
    assert result.exit_code == 130, result.output
    assert len(chunks) == 4
    assert not (tmp_path / "out").exists()

    monkeypatch.setattr(on_disk, "_compute_peak_pipeline_chunk", None)
    written, write = [], saving._write_chunk
    monkeypatch.setattr(saving, "_write_chunk", lambda *chunk: (written.append(chunk), write(*chunk))[1])
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert len(written) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.toml", "out", "raw"]
    saved, lazy = si.load(tmp_path / "out" / "recording"), si.load(tmp_path / "out" / "recording.json")
    np.testing.assert_allclose(saved.get_traces(), lazy.get_traces(), atol=1e-2)
    assert saved.get_num_channels() == 23


def test_work_folder_of_someone_else_is_safe(raw_folder, tmp_path):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "book.tex").write_text("part one")
    for options in ((), ("--restart",)):
        result = run("correct", raw_folder, "-o", tmp_path / "out", "-p", "steady_rigid", "-j", 1, *options)
        assert result.exit_code == 2
        assert "holds no unfinished output" in result.output
    assert (tmp_path / "out.part" / "book.tex").is_file()


@pytest.mark.parametrize("what", ["peaks", "traces"])
def test_what_0_1_0_left_unfinished_is_begun_anew_only_if_asked(tmp_path, what):
    (tmp_path / "out.part").mkdir()
    marker = {"kind": f"steadyspike {what}", "settings": {"versions.steadyspike": "0.1.0"}}
    (tmp_path / "out.part" / "settings.json").write_text(json.dumps(marker))
    with (
        pytest.raises(UsageError, match="holds no unfinished output of steadyspike; choose another --output"),
        worked_on(tmp_path / "out", False, lambda _: True, "it"),
    ):
        pass
    begin_anew(tmp_path / "out")
    assert_nothing_left(tmp_path)


def test_debug_shows_where_it_came_from(tmp_path):
    result = run("correct", tmp_path / "absent", "-o", tmp_path / "out", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.output
    assert "load_recording" in result.output


STOPS = """
import sys
from steadyspike.cli import app, correction
estimate = correction.estimate
def stopping(*args, **kwargs):
    found = estimate(*args, **kwargs) if {late} else None
    print("here", flush=True)
    sys.stdin.read()
    return found
correction.estimate = stopping
app(["correct", *sys.argv[1:]], prog_name="steadyspike")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_leaves_nothing_half_done(raw_folder, tmp_path, late):
    output = ["-o", str(tmp_path / "out"), "-p", "steady_rigid", "-j", "1", "--preprocess", "none"]
    process = subprocess.Popen(
        [sys.executable, "-c", STOPS.format(late=late), str(raw_folder), *output],
        **dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE),
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )
    # it waits there, with its folders made and, if late, its peaks found, until the interrupt comes
    assert process.stdout.readline() == "here\n", process.stderr.read()
    assert (tmp_path / "out.part" / "result").is_dir()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped" in errors
    # peaks that were found already are kept
    assert [path.name for path in tmp_path.iterdir()] == (["out.part"] if late else [])
    assert ("kept: " in errors) == late


def test_an_interrupt_that_became_an_error_is_one():
    def convert():
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(typer.Exit) as stopped, clear_errors():
        convert()
    assert stopped.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(typer.Exit) as failed, clear_errors():
        raise ImportError("initialization failed")
    assert failed.value.exit_code == 1


def test_presets_list_and_show():
    listed = run("presets", "list")
    assert listed.exit_code == 0, listed.output
    for name in ("steady_rigid", "steady_nonrigid", "steady_kilosort", "neuropixels1", "neuropixels2"):
        assert name in listed.output
    only = run("presets", "list", "--kind", "preprocessing").output
    assert "neuropixels1" in only
    assert "steady_rigid" not in only
    assert run("presets", "list", "--kind", "astrology").exit_code == 2
    assert run("presets", "show", "steady_nonsense").exit_code == 2


def test_what_show_prints_is_a_preset(tmp_path):
    shown = run("presets", "show", "steady_rigid")
    assert shown.exit_code == 0
    file = tmp_path / "mine.toml"
    file.write_text(shown.output)
    assert run("presets", "validate", file).exit_code == 0
    file.write_text(shown.output.replace("detect_threshold", "detect_treshold"))
    result = run("presets", "validate", "steady_rigid", file)
    assert result.exit_code == 1
    assert "detect_treshold" in result.output
    assert "good" in result.output


def test_info_tells_versions_and_places():
    result = run("info")
    assert result.exit_code == 0, result.output
    for word in (si.__version__, "steady_monopolar", "steady_decentralized", "neuropixels1", "numba"):
        assert word in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["speed", "--channels", "many"],
        ["speed", "--dtype", "float8"],
        ["speed", "--parts", "bandpass,magic"],
        ["speed", "--output", "speed.docx"],
        ["motion", "--scenario", "earthquake"],
        ["motion", "--seed", "one"],
    ],
)
def test_benchmarks_refuse_what_they_cannot_do(arguments):
    result = run_benchmark(*arguments)
    assert result.exit_code == 2
    assert "error" in result.output


def test_preprocessing_follows_the_probe(raw_folder):
    from steadyspike.cli.reading import fitting_preset, preprocess

    recording = si.load(raw_folder)
    assert preprocess(recording, "auto")[1] == "bandpass and common reference"
    recording.set_property("inter_sample_shift", np.linspace(0, 1, 24))
    recording.set_channel_gains(2.3)
    recording.set_channel_offsets(0.0)
    assert fitting_preset(recording) == "neuropixels1"
    recording.set_probe(build_probe("np2", 24))
    assert fitting_preset(recording) == "neuropixels2"
    recording.annotate(is_filtered=True)
    assert preprocess(recording, "auto") == (recording, "none")


def test_verdicts_are_counted(tmp_path, monkeypatch):
    from steadyspike_benchmarks import verdicts

    monkeypatch.setattr(verdicts, "EXPECTED", {("still", "constant"): "do not correct"})
    result = run_benchmark("verdicts", "-o", str(tmp_path / "study"), "--seeds", "1")
    assert result.exit_code == 0, result.output
    assert "| still | constant |" in result.output
    assert len(list((tmp_path / "study").glob("*.json"))) == 1
