import json

import numpy as np
import pytest
from rich.console import Console

from steadyspike.cli.demo_run import run_demo, simulate_raw

ONE_JOB = dict(n_jobs=1, chunk_duration="1s", progress_bar=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    console = Console(record=True, width=80)
    results = run_demo(
        folder,
        duration_s=24.0,
        num_channels=32,
        presets=("steady_nonrigid", "rigid_fast"),
        job_kwargs=ONE_JOB,
        console=console,
    )
    return folder, results, console.export_text()


def test_demo_finds_the_motion_and_stores_what_it_prints(demo):
    folder, results, text = demo
    assert json.loads((folder / "results.json").read_text()) == results
    ours = results["presets"]["steady_nonrigid"]
    assert ours["mean_error_um"] < 0.5 * results["uncorrected_mean_error_um"]
    assert f"{ours['mean_error_um']:.2f}" in text
    assert ours["raw_to_corrected_s"] == pytest.approx(sum(ours["times_s"].values()))
    for word in ("rigid_fast", "none", "detect and localize", "raw to corrected"):
        assert word in text


def test_demo_draws_what_people_look_at(demo):
    folder, _, _ = demo
    figures = {path.name: path.read_bytes()[:4] for path in folder.glob("*.png")}
    expected = ["demo.png", "motion_map.png", "peaks_on_probe.png", "raster.png", "run_times.png"]
    assert "corrected" in (folder / "report.html").read_text(encoding="utf8")
    assert figures == dict.fromkeys(expected, b"\x89PNG")


def test_raw_recording_is_what_a_probe_delivers():
    simulated, raw = simulate_raw(2.0, 16, 3, ONE_JOB)
    assert raw.dtype == np.int16
    in_uv = raw.get_traces(end_frame=3000, return_in_uV=True)
    np.testing.assert_allclose(in_uv, simulated.recording.get_traces(end_frame=3000), atol=2.34375 / 2 + 0.01)
