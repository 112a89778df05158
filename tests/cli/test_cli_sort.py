"""``steadyspike sort``: stages, interrupts, and what is written."""

import json
import os
import runpy
import signal

import numpy as np
import pytest
import spikeinterface.full as si
from cli_runner import assert_nothing_left, run
from spikeglx_runs import UV_PER_COUNT, write_spikeglx_run
from spikeinterface.sorters import SimpleSorter

from steadyspike.cli import correction, sorting
from steadyspike.cli.output import begin, stage, work_folder
from steadyspike.simulation.drift import simulate_drifting_recording

# one of SpikeInterface's sorters that needs no package of its own
CHEAP = ("--sorter", "simple", "--sorter-option", "clusterer=kmeans")
CHEAP = (*CHEAP, "--sorter-option", 'clusterer_kwargs={"n_clusters": 5, "random_state": 0}')


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Leave out what SpikeInterface compiles anew in each process."""
    extensions = {**sorting.EXTENSIONS, "quality_metrics": {"metric_names": ["snr", "drift"]}}
    del extensions["template_similarity"]
    monkeypatch.setattr(sorting, "EXTENSIONS", extensions)


@pytest.fixture(scope="module")
def glx_run(tmp_path_factory):
    """A run of SpikeGLX."""
    simulated = simulate_drifting_recording(
        "rigid_zigzag", num_channels=24, duration_s=4.0, num_units=8, seed=4
    )
    traces = np.round(simulated.recording.get_traces() / UV_PER_COUNT).astype("int16")
    return write_spikeglx_run(tmp_path_factory.mktemp("data") / "run_g0", traces, 30_000.0)


@pytest.fixture(scope="module")
def plain_folder(glx_run, tmp_path_factory):
    """A second of it, where there is nothing to preprocess."""
    recording = si.read_spikeglx(glx_run, stream_id="imec0.ap").frame_slice(0, 30_000)
    recording.annotate(is_filtered=True)
    folder = tmp_path_factory.mktemp("data") / "plain"
    recording.save(folder=folder, n_jobs=1, progress_bar=False)
    return folder


def interrupted():
    os.kill(os.getpid(), signal.SIGINT)


def test_from_a_run_to_units_with_interrupts(glx_run, tmp_path, monkeypatch):
    output, part = tmp_path / "out", tmp_path / "out.part"
    command = ("sort", glx_run, *CHEAP, "-o", output, "-p", "steady_rigid", "-j", 1, "--no-figures")

    def half_a_sorter(folder, *_):
        (folder / "half").write_text("of a result")
        interrupted()

    with monkeypatch.context() as patch:
        patch.setattr(SimpleSorter, "_run_from_folder", half_a_sorter)
        result = run(*command)
    assert result.exit_code == 130, result.output
    assert "kept" in result.output
    assert (part / "result" / "sorter" / "sorter_output" / "half").is_file()

    def half_an_analysis(_, __, folder):
        (folder / "analyzer").mkdir()
        (folder / "analyzer" / "half").write_text("of an analyzer")
        interrupted()

    monkeypatch.setattr(correction, "correct_into", lambda *_: pytest.fail("corrected again"))
    with monkeypatch.context() as patch:
        patch.setattr(sorting, "_analyze", half_an_analysis)
        result = run(*command)
    assert result.exit_code == 130, result.output
    assert not output.exists()

    monkeypatch.setattr(SimpleSorter, "_run_from_folder", lambda *_: pytest.fail("sorted again"))
    result = run(*command)
    assert result.exit_code == 0, result.output
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    for words in ("neuropixels1", "apply_preprocessing", f"steadyspike view {output}", "export_to_phy"):
        assert words in result.output
    names = {path.name for path in output.iterdir()}
    assert names >= {"recording", "motion_info", "sorter", "analyzer", "steadyspike.json"}
    analyzer = si.load_sorting_analyzer(output / "analyzer")
    assert analyzer.has_recording()
    assert f"{analyzer.get_num_units()} units by simple" in result.output
    metrics = analyzer.get_extension("quality_metrics").get_data()
    assert {"snr", "drift_ptp"} <= set(metrics.columns)
    assert len(analyzer.get_extension("unit_locations").get_data()) == analyzer.get_num_units() > 1
    assert si.read_sorter_folder(output / "sorter").has_recording()
    marker = json.loads((output / "steadyspike.json").read_text())
    assert marker["result"]["parameters"]["apply_preprocessing"] is False
    assert marker["result"]["correction"]["verdict"] in result.output


def test_script_goes_on_where_the_sorter_is(plain_folder, tmp_path, monkeypatch):
    output = tmp_path / "out"
    monkeypatch.setattr(SimpleSorter, "is_installed", classmethod(lambda _: False))
    result = run("sort", plain_folder, *CHEAP, "-o", output, "-p", "none", "-j", 1)
    assert result.exit_code == 3, result.output
    assert "not installed" in result.output
    script = (output / "sort.py").read_text()
    assert script in result.output
    monkeypatch.setattr(SimpleSorter, "is_installed", classmethod(lambda _: True))
    # a path that is no text breaks what torch does when it is first imported
    runpy.run_path(str(output / "sort.py"), run_name="__main__")
    assert si.load_sorting_analyzer(output / "analyzer").has_extension("quality_metrics")


def test_a_sorter_that_fails_is_told_in_one_line_and_the_rest_is_kept(plain_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(SimpleSorter, "_run_from_folder", lambda *_: 1 / 0)
    command = ("sort", plain_folder, *CHEAP, "-o", tmp_path / "out", "-p", "none", "-j", 1)
    result = run(*command)
    assert result.exit_code == 1
    log = tmp_path / "out.part" / "result" / "sorter"
    assert f"simple failed: ZeroDivisionError: division by zero; its log is in {log}" in result.output
    assert (log / "spikeinterface_log.json").is_file()
    assert "kept" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--sorter", "hat"), "--sorter hat is unknown; allowed: "),
        (("--sorter", "yass"), "--sorter yass is unknown"),
        (("--sorter", "simple", "--sorter-option", "clustering=3"), "simple has no such argument; allowed: "),
        (("--sorter", "simple", "-p", "lazy"), "no motion preset 'lazy'"),
        (("--sorter", "simple", "-j", 0), "--n-jobs 0 cannot work"),
    ],
)
def test_misuse_is_told_before_anything_is_read(plain_folder, tmp_path, arguments, words):
    result = run("sort", plain_folder, *arguments, "-o", tmp_path / "out")
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert_nothing_left(tmp_path)


def test_segments_that_a_sorter_cannot_take_are_refused(plain_folder, tmp_path):
    recording = si.load(plain_folder)
    si.append_recordings([recording, recording]).save(folder=tmp_path / "two")
    result = run("sort", tmp_path / "two", "--sorter", "kilosort4", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "2 segments, and kilosort4 takes one" in result.output


def test_what_is_corrected_is_not_corrected_again(plain_folder):
    recording = si.load(plain_folder)
    assert sorting.choose_preset(recording, "auto") == "steady_auto"
    motion = si.Motion([np.zeros((1, 1))], [np.array([0.5])], np.array([0.0]))
    from steadyspike import interpolate_motion

    corrected = interpolate_motion(recording, motion, spatial_interpolation_method="kriging")
    assert sorting.choose_preset(corrected, "auto") == "none"
    assert sorting.choose_preset(corrected, "steady_rigid") == "steady_rigid"


def test_a_stage_is_done_once_for_each_settings(tmp_path):
    work, calls = work_folder(tmp_path / "out"), []
    begin(work)
    made = work.path / "made"

    def do(fail=False):
        calls.append(made.exists())
        made.mkdir()
        if fail:
            raise OSError("no space left")
        return {"number": len(calls)}

    with pytest.raises(OSError, match="no space"):
        stage(work, "thing", {"a": 1}, [made], lambda: do(fail=True))
    # what is half written is begun anew, what is done stays, and other settings are other work
    assert stage(work, "thing", {"a": 1}, [made], do) == {"number": 2}
    assert stage(work, "thing", {"a": 1}, [made], do) == {"number": 2}
    assert stage(work, "thing", {"a": 2}, [made], do) == {"number": 3}
    assert calls == [False, False, False]
