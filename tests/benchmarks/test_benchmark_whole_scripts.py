import json

import numpy as np
import pytest
import spikeinterface.full as si

from steadyspike_benchmarks import whole_scripts
from steadyspike_benchmarks.whole_scripts import SCRIPT, format_whole_scripts, run_script, run_whole_scripts


def test_script_is_spikeinterfaces_alone():
    assert "steadyspike" not in SCRIPT
    compile(SCRIPT, "script.py", "exec")


def test_script_runs_accelerated_in_a_process_of_its_own(tmp_path):
    recording = si.generate_ground_truth_recording(durations=[3.0], num_channels=16, num_units=10, seed=0)[0]
    recording.save(folder=tmp_path / "recording", progress_bar=False, verbose=False)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    told = run_script(script, tmp_path / "recording", "rigid_fast", accelerated=True)
    assert told["displacement"].shape[0] == told["times"].size > 0
    assert set(told["steps_s"]) == set(whole_scripts.STEPS)
    assert told["total_s"] >= sum(told["steps_s"].values()) - 1e-6


def test_script_that_fails_is_told(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("raise KeyError('a reason')")
    with pytest.raises(RuntimeError, match=r"accelerated=False: .*\n.*\n.*a reason"):
        run_script(script, tmp_path / "nothing", "rigid_fast", accelerated=False)


@pytest.fixture
def pretended(monkeypatch):
    """Runs that take 60 s and 10 s, and 2 s more each time; nothing is simulated."""
    calls = []

    def run(script, recording, preset, accelerated):
        number = sum(call == (preset, accelerated) for call in calls)
        calls.append((preset, accelerated))
        seconds = (10.0 if accelerated else 50.0) + 2.0 * number
        return {
            "import_s": 1.0,
            "steps_s": {step: seconds / 4 for step in whole_scripts.STEPS},
            "total_s": seconds,
            "motion_cpu_s": seconds / 2,
            "read_cpu_s": seconds / 4,
            "num_peaks": 1000 + accelerated,
            "num_channels": 14,
            "displacement": np.full((3, 2), 1.0 + 0.05 * accelerated),
            "times": np.arange(3.0),
        }

    monkeypatch.setattr(whole_scripts, "run_script", run)
    monkeypatch.setattr(whole_scripts, "_simulate", lambda folder, *_: folder)
    return calls


def test_sides_run_in_turns_and_medians_are_compared(pretended):
    lines = []
    results = run_whole_scripts(["rigid_fast"], repeats=3, tell=lines.append)
    # the first two warm up
    assert [accelerated for _, accelerated in pretended] == [False, True] * 4
    assert len(lines) == 6
    (row,) = results["rows"]
    assert row["upstream"]["total_s"] == 54.0
    assert row["ratio"] == pytest.approx(54.0 / 14.0)
    assert row["largest_difference_um"] == pytest.approx(0.05)
    assert row["own_difference_um"] == 0.0
    json.dumps(results)
    table = format_whole_scripts(results)
    assert "| rigid_fast | **in all** | 54.00 | 14.00 | 3.9 | 3.9 | 0.050 um (0.000 um between runs)" in table
    assert "| rigid_fast | estimate motion | 13.50 | 3.50 | 3.9 |" in table
    assert table.count("| rigid_fast |") == 5


def test_slow_side_runs_once(pretended, monkeypatch):
    monkeypatch.setattr(whole_scripts, "SLOW_S", 40.0)
    (row,) = run_whole_scripts(["kilosort_like"], repeats=3)["rows"]
    assert (row["upstream"]["runs"], row["accelerated"]["runs"]) == (1, 3)
    assert row["own_difference_um"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"presets": ["no_such"]}, "no_such"), ({"presets": []}, "allowed"), ({"repeats": 0}, "repeats=0")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        run_whole_scripts(**arguments)
