import numpy as np
import pytest

from steadyspike_benchmarks import denoising_speed as benchmark
from steadyspike_benchmarks import device_peak
from steadyspike_benchmarks.denoising import NETWORKS, RIDGE, UNET
from steadyspike_benchmarks.denoising_speed import SpeedSettings, run_denoising_speed
from steadyspike_benchmarks.denoising_speed_table import format_denoising_speed


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setitem(NETWORKS, UNET, {"network": UNET, "network_kwargs": {"width": 2}})
    monkeypatch.setattr(device_peak, "MATRIX", {"cpu": 64})
    monkeypatch.setattr(benchmark, "BLOCKS", {"cpu": (4, 16)})


def test_all_ways_are_measured_and_compared(narrow):
    told = []
    names = ("blindspot-tiny", UNET, RIDGE)
    settings = SpeedSettings(names, num_channels=8, repeats=2, seconds=0.01, devices=("cpu",))
    results = run_denoising_speed(settings, told.append)
    rows = {(row["network"], row["way"], row["parent"]): row for row in results["rows"]}
    assert set(rows) == {
        *((name, "bare network", "none") for name in names),
        *((name, "lazy node", parent) for name in names for parent in ("memory", "filtered")),
        *((UNET, benchmark.UPSTREAM, parent) for parent in ("memory", "filtered")),
    }
    assert len(told) == len(rows)
    for row in results["rows"]:
        assert row["frames_per_s"] > 0
        assert row["real_time"] == pytest.approx(row["frames_per_s"] / 30_000)
        assert 0 < row["share_of_peak"] < 50
    assert len({row["multiply_adds"] for row in results["rows"] if row["network"] == UNET}) == 1
    table = format_denoising_speed(results)
    for name in names:
        assert f"| {name}, lazy node" in table
    assert f"times {benchmark.UPSTREAM} of the same parent" in table


def test_frame_by_frame_gives_what_the_node_gives(narrow, tmp_path):
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    traces = 3 + 5 * np.random.default_rng(0).standard_normal((100, 8), "float32")
    recording = benchmark._recording(traces)
    network = benchmark.untrained(recording, UNET, tmp_path / "model")
    node = deepinterpolate(recording, tmp_path / "model", device="cpu")
    run = benchmark._frame_by_frame(recording, network, "cpu")
    assert run(5) == 5
    np.testing.assert_allclose(run.denoised, node.get_traces(start_frame=31, end_frame=36), atol=1e-5)
    assert run(1000) == 100 - 62


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (SpeedSettings(networks=("other",)), "networks"),
        (SpeedSettings(networks=()), "networks"),
        (SpeedSettings(repeats=0), "repeats"),
        (SpeedSettings(seconds=0), "seconds"),
        (SpeedSettings(devices=("other",)), "device"),
        (SpeedSettings(parents=("other",)), "parents"),
        (SpeedSettings(parents=()), "parents"),
    ],
)
def test_what_cannot_be_is_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        run_denoising_speed(settings)
