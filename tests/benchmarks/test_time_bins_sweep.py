from cli_runner import run_benchmark

from steadyspike_benchmarks import time_bins


def test_a_sweep_prints_what_was_chosen_beside_the_best(monkeypatch):
    monkeypatch.setattr("steadyspike.motion.plan.TIME_BINS_S", (5.0, 10.0))
    options = ("--peaks-per-second", 4, "--hours", 0.05, "--contacts", 24, "--drifts", "slow")
    result = run_benchmark("time-bins", *map(str, options))
    assert result.exit_code == 0, result.output
    row = result.stdout.splitlines()[-1]
    assert row.startswith("| 4 | 0.05 | 24 | slow | ")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert float(cells[5]) < 1.0
    assert float(cells[8]) <= float(cells[5]) + 0.01
    assert cells[9] == "correct"


def test_the_best_is_the_one_nearest_to_the_truth():
    fixed = [dict(bin_s=1.0, error_um=2.0), dict(bin_s=2.0, error_um=1.0), dict(bin_s=5.0, error_um=3.0)]
    assert time_bins.best_fixed(dict(fixed=fixed))["bin_s"] == 2.0
    assert run_benchmark("time-bins", "--drifts", "sideways").exit_code == 2
