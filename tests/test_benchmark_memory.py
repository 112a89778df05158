"""The memory benchmark: its simulated peaks, what one process measures, and the table."""

import json
import subprocess
import sys

import numpy as np
import pytest
from spikeinterface.core.motion import Motion
from typer.testing import CliRunner

from steadyspike.benchmark import memory
from steadyspike.cli import app

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
        "import numpy as np; from steadyspike.benchmark.memory import peak_memory_mb as peak; "
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
    command = ["benchmark", "memory", "--hours", "0.03", "--peaks-per-second", "300", *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (measured,) = json.loads(files[0].read_text())
    assert measured["num_peaks"] == round(0.03 * 3600 * 300)
    assert measured["num_windows"] == 10
    assert measured["inputs_mb"] == pytest.approx(measured["num_peaks"] * 48e-6)
    assert 0 < measured["imports_mb"] <= measured["simulated_mb"] <= measured["peak_mb"]
    assert measured["error_per_depth_um"] < 1.0
    assert files[1].read_text() == result.output
    assert "| 0.03 | 32,400 |" in result.output


@pytest.mark.parametrize("arguments", [["--hours", "0"], ["--hours", "1,soon"], ["--peaks-per-second", "0"]])
def test_sizes_that_cannot_work_are_refused(arguments):
    result = CliRunner().invoke(app, ["benchmark", "memory", *arguments])
    assert result.exit_code == 2
    with pytest.raises(ValueError, match="must be above 0"):
        memory.run_memory_benchmark([-1.0])


@measurable
def test_failure_of_a_process_is_told():
    with pytest.raises(RuntimeError, match="no_such_method"):
        memory.run_memory_benchmark([0.01], method="no_such_method", num_channels=32)
