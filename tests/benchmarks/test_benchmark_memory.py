"""The memory benchmark: its simulated peaks, what one process measures, and the table."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from typer.testing import CliRunner

from steadyspike_benchmarks import long, memory, watched
from steadyspike_benchmarks.cli.app import app

measurable = pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell the peak memory")


@pytest.fixture(scope="module")
def simulated():
    return memory.simulate_wandering_peaks(0.05, 200.0, num_channels=64, seed=1)


def test_peaks_are_ordered_and_as_many_as_asked(simulated):
    samples = simulated.peaks["sample_index"]
    assert samples.size == round(0.05 * 3600 * 200)
    assert np.all(np.diff(samples) >= 0)
    assert 0 <= samples[0] < samples[-1] < simulated.recording.get_num_samples()
    assert simulated.recording.get_total_duration() == 180.0


def test_true_displacement_explains_where_the_peaks_are(simulated):
    times = simulated.recording.sample_index_to_time(simulated.peaks["sample_index"])
    at_rest = simulated.peak_locations["y"] - simulated.displacement(times, simulated.peak_locations["y"])
    unit_x = simulated.peak_locations["x"]
    spread = [at_rest[unit_x == x].std() for x in np.unique(unit_x)]
    np.testing.assert_allclose(spread, memory.DEPTH_JITTER_UM, rtol=0.15)


def test_walk_has_the_stated_steps():
    walks = memory.simulate_wandering_peaks(2.0, 0.01, num_channels=32).walks_um
    assert walks.shape == (7201, 2)
    steps = np.diff(walks, axis=0)
    np.testing.assert_allclose(steps.std(axis=0), np.hypot(0.3, 0.1), rtol=0.05)
    np.testing.assert_allclose(np.diff(steps, axis=1).std(), np.hypot(0.1, 0.1), rtol=0.05)


def test_error_is_zero_for_the_truth_plus_an_offset(simulated):
    times, depths = np.arange(180.0) + 0.5, np.array([0.0, 200.0, 400.0])
    truth = simulated.displacement(times[:, None], depths)
    assert simulated.mean_error_um(Motion(truth + 7.0, times, depths)) == pytest.approx(0.0, abs=1e-9)
    by_depth = Motion(truth + [0.0, 3.0, 6.0], times, depths)
    assert simulated.mean_error_um(by_depth) == pytest.approx(2.0)
    assert simulated.mean_error_um(by_depth, offset_per_depth=True) == pytest.approx(0.0, abs=1e-9)


@measurable
def test_peak_memory_counts_what_was_given_back_but_not_the_parent():
    script = (
        "import numpy as np; from steadyspike_benchmarks.memory import peak_memory_mb as peak; "
        "before = peak(); np.ones(25_000_000); print(before, peak())"
    )
    block = np.ones(75_000_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = (float(number) for number in done.stdout.split())
    assert 150 < after - before < 0.5 * block.nbytes / memory.MB


@measurable
def test_fresh_process_measures_and_the_command_writes(tmp_path):
    files = tmp_path / "memory.json", tmp_path / "memory.md"
    options = [text for file in files for text in ("-o", str(file))]
    command = ["memory", "--hours", "0.03", "--peaks-per-second", "300", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (measured,) = json.loads(files[0].read_text())
    assert measured["num_peaks"] == round(0.03 * 3600 * 300)
    assert measured["num_windows"] == 10
    assert measured["inputs_mb"] == pytest.approx(measured["num_peaks"] * 48e-6)
    assert 0 < measured["imports_mb"] <= measured["simulated_mb"] <= measured["peak_mb"]
    assert measured["error_per_depth_um"] < 1.0
    assert files[1].read_text() == result.output
    assert "| 0.03 | steady_decentralized | 32,400 |" in result.output


@measurable
def test_online_mode_of_dredge_works_in_chunks(monkeypatch):
    monkeypatch.setitem(memory.WAYS["dredge_ap_online"], "chunk_len_s", 40)
    settings = memory.Settings(hours=0.03, num_channels=96, method="dredge_ap_online")
    simulated = memory.simulate_wandering_peaks(0.03, 300.0, num_channels=96)
    whole, chunks = (
        memory._estimate(simulated, dataclasses.replace(settings, method=method)).displacement[0]
        for method in ("dredge_ap", settings.method)
    )
    # the first chunk is estimated by itself, so that it is not what the whole gives
    assert whole.shape == chunks.shape == (108, 3)
    assert 1e-3 < np.abs(whole - chunks).max() < 20.0


@pytest.mark.parametrize("arguments", [["--hours", "0"], ["--hours", "1,soon"], ["--peaks-per-second", "0"]])
def test_sizes_that_cannot_work_are_refused(arguments):
    result = CliRunner().invoke(app, ["memory", *arguments])
    assert result.exit_code == 2
    with pytest.raises(ValueError, match="must be above 0"):
        memory.run_memory_benchmark([-1.0])


@measurable
def test_failure_of_a_process_is_told():
    with pytest.raises(RuntimeError, match="no_such_method"):
        memory.run_memory_benchmark([0.01], methods=["no_such_method"], num_channels=32)


def test_units_come_and_go_if_asked():
    staying = memory.simulate_wandering_peaks(0.5, 50.0, num_channels=16, seed=2)
    changing = memory.simulate_wandering_peaks(0.5, 50.0, num_channels=16, seed=2, turnover_hours=0.25)
    seen = [np.unique(simulated.peak_locations["x"]).size for simulated in (staying, changing)]
    assert seen[0] == round(memory.UNITS_PER_CHANNEL * 16)
    # 10 units that are each replaced twice on average
    assert 20 <= seen[1] <= 45
    halves = np.array_split(
        changing.peak_locations["x"], [changing.peaks.size // 3, -changing.peaks.size // 3]
    )
    assert not set(halves[0]) >= set(halves[2])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="resident memory is looked up in /proc")
def test_process_beyond_a_limit_is_stopped():
    hungry = "import time; block = b'x' * 400_000_000; time.sleep(60)"
    with pytest.raises(watched.StoppedError, match=r"passed 0.2 GB after \d+ s"):
        watched.run_watched(hungry, "", limit_mb=200)
    with pytest.raises(watched.StoppedError, match=r"passed 0.3 s"):
        watched.run_watched("import time; time.sleep(60)", "", limit_s=0.3)
    with pytest.raises(watched.StoppedError, match="Unable to allocate"):
        watched.run_watched("import numpy as np; np.ones((10**9, 10**9))", "")
    script = "import json, os, sys; print(json.dumps([os.nice(0), sys.argv[1]]))"
    assert watched.run_watched(script, "word", nice=3) == [min(os.nice(0) + 3, 19), "word"]


def test_longer_durations_of_a_stopped_method_are_left_out(monkeypatch):
    tried = []

    def measure(settings, **limits):
        tried.append((settings.method, settings.hours))
        if settings.method == "hungry" and settings.hours > 1:
            raise watched.StoppedError("passed 12 GB after 7 s")
        return dict(
            vars(settings),
            **dict.fromkeys(("num_peaks", "num_windows"), 10),
            **dict.fromkeys(("imports_mb", "inputs_mb", "peak_mb", "seconds"), 100.0),
            error_um=0.3,
            error_per_depth_um=0.2,
        )

    monkeypatch.setattr(memory, "measure", measure)
    results = memory.run_memory_benchmark([2, 1, 4], methods=["modest", "hungry"], limit_mb=12_000)
    assert tried == [("modest", 1), ("hungry", 1), ("modest", 2), ("hungry", 2), ("modest", 4)]
    table = memory.format_memory_table(results)
    assert "| 2 | hungry | stopped: passed 12 GB after 7 s |" in table
    assert table.count("| hungry |") == 2


def test_long_benchmark_compares_with_the_first(monkeypatch):
    monkeypatch.setattr(
        long,
        "measure",
        lambda settings, **_: dict(
            vars(settings),
            num_windows=9,
            seconds=1.0,
            cpu_seconds=80.0 if settings.method == "dredge_ap" else 1.6,
            peak_mb=300.0,
            error_um=0.3,
            error_per_depth_um=0.2,
        ),
    )
    table = long.format_long_table(long.run_long_benchmark([15]))
    assert "| 15 | dredge_ap | 1.0 | 80.0 | 1.0 |" in table
    assert "| 15 | steady_decentralized | 1.0 | 1.6 | 50.0 |" in table
