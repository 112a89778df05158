import numpy as np
import pytest

from steadyspike.benchmark import denoising_speed as benchmark
from steadyspike.benchmark.denoising import NETWORKS, RIDGE, UNET
from steadyspike.benchmark.denoising_speed import SpeedSettings, format_denoising_speed, run_denoising_speed


@pytest.fixture
def narrow(monkeypatch):
    monkeypatch.setitem(NETWORKS, UNET, {"network": UNET, "network_kwargs": {"width": 2}})
    monkeypatch.setattr(benchmark, "MATRIX", {"cpu": 64})
    monkeypatch.setattr(benchmark, "BLOCKS", {"cpu": (4, 16)})


def test_all_ways_are_measured_and_compared(narrow):
    told = []
    names = ("blindspot-tiny", UNET, RIDGE)
    settings = SpeedSettings(names, num_channels=8, repeats=2, seconds=0.01, devices=("cpu",))
    results = run_denoising_speed(settings, told.append)
    rows = {(row["network"], row["way"]): row for row in results["rows"]}
    assert set(rows) == {
        *((name, way) for name in names for way in ("lazy node", "bare network")),
        (UNET, benchmark.UPSTREAM),
    }
    assert len(told) == len(rows)
    for row in results["rows"]:
        assert row["frames_per_s"] > 0
        assert row["real_time"] == pytest.approx(row["frames_per_s"] / 30_000)
        assert 0 < row["share_of_peak"] < 50
    assert rows[UNET, "lazy node"]["multiply_adds"] == rows[UNET, benchmark.UPSTREAM]["multiply_adds"]
    table = format_denoising_speed(results)
    for name in names:
        assert f"| {name}, lazy node" in table
    assert f"times {benchmark.UPSTREAM}" in table


def test_frame_by_frame_gives_what_the_node_gives(narrow, tmp_path, monkeypatch):
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    traces = np.random.default_rng(0).standard_normal((400, 8), "float32")
    recording = benchmark._recording(traces)
    network = benchmark.untrained(recording, UNET, tmp_path / "model")
    node = deepinterpolate(recording, tmp_path / "model", center=np.zeros(8), scale=np.ones(8), device="cpu")
    found = []
    monkeypatch.setattr(
        "steadyspike.probe_layout.ProbeLayout.gather",
        lambda layout, image: found.append(image[0, 0, layout.row, layout.column]),
    )
    assert benchmark._frame_by_frame(recording, network, "cpu")(5) == 5
    np.testing.assert_allclose(found, node.get_traces(start_frame=31, end_frame=36), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (SpeedSettings(networks=("other",)), "networks"),
        (SpeedSettings(networks=()), "networks"),
        (SpeedSettings(repeats=0), "repeats"),
        (SpeedSettings(seconds=0), "seconds"),
        (SpeedSettings(devices=("other",)), "device"),
    ],
)
def test_what_cannot_be_is_refused(settings, name):
    with pytest.raises(ValueError, match=name):
        run_denoising_speed(settings)
