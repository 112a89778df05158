import json

import numpy as np
from test_benchmark_real_peaks import folder, peaks  # noqa: F401  (fixtures)
from typer.testing import CliRunner

from steadyspike_benchmarks.cli.app import app
from steadyspike_benchmarks.real_sessions import CUTS, Cut, format_real_sessions, run_real_sessions


def test_sessions_that_were_moved_apart_are_put_together(folder, tmp_path):  # noqa: F811
    output = tmp_path / "out"
    result = CliRunner().invoke(app, ["real-sessions", str(folder), "-o", str(output)])
    assert result.exit_code == 0, result.output
    results = json.loads((output / "results.json").read_text())
    assert results["error_um"] < 1.5
    assert [session["offset_um"] for session in results["sessions"]] == [cut.offset_um for cut in CUTS]
    assert results["verdict"] == results["sessions_verdict"] == "correct"
    assert (output / "results.md").read_text().strip() in result.output
    assert sorted(file.name for file in output.glob("*.png")) == [
        "session0.png",
        "session1.png",
        "session2.png",
        "verdict.png",
    ]


def test_sessions_that_were_not_moved_have_the_error_of_the_estimate_only(folder):  # noqa: F811
    done = run_real_sessions(folder, (Cut(0.0, 0.5, 0.0, 0.0), Cut(0.5, 1.0, 0.0, 0.0)))
    assert done.results["error_um"] < 1.0
    assert "**0." in format_real_sessions(done.results)


def test_a_cut_moves_its_top_more():
    cut = Cut(0.0, 1.0, 10.0, 4.0)
    np.testing.assert_allclose(cut.shift(np.array([0.0, 50.0, 100.0]), (0.0, 100.0)), [8.0, 10.0, 12.0])
