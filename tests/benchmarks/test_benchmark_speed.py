import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from steadyspike_benchmarks import accelerated_parts, first_calls, speed, speed_parts
from steadyspike_benchmarks.simulated_peaks import simulate_peaks
from steadyspike_benchmarks.speed_parts import Data, Pair

TINY = dict(calls=(), channels=(16,), dtypes=("float32",), duration_s=2.0, whole_duration_s=None, repeats=1)


def fake_pair(calls, agreement="same"):
    return Pair(
        upstream=lambda: calls.append("upstream"),
        steady=lambda: calls.append("steady"),
        upstream_name="theirs",
        steady_name="ours",
        warm_up=lambda: calls.append("warm up"),
        compare=lambda a, b: {"agreement": agreement},
    )


@pytest.fixture(autouse=True)
def no_filling(monkeypatch):
    monkeypatch.setattr(speed, "SHORT_S", 0.0)


def test_short_calls_are_repeated(monkeypatch):
    monkeypatch.setattr(speed, "SHORT_S", 1.0)
    now, calls = [0.0], []
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def spend():
        # the first call after the other side's takes longer
        now[0] += 0.1 if calls[-1:] == ["steady"] else 0.3
        calls.append("steady")

    pair = Pair(lambda: calls.append("upstream"), spend, "theirs", "ours", warm_up=lambda: None)
    assert speed.measure(pair, 1)["steady_s"] == pytest.approx(0.1)
    assert calls.count("steady") == 1 + 5


def test_both_sides_run_in_turns_after_warming_up():
    calls = []
    row = speed.measure(fake_pair(calls), 3)
    assert calls == ["warm up", *["upstream", "steady"] * 3]
    assert row["repeats"] == {"upstream": 3, "steady": 3}
    assert row["ratio"] == pytest.approx(row["upstream_s"] / row["steady_s"])
    assert row["agreement"] == "same"


def test_what_takes_long_is_not_repeated_as_often(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

    def spend(seconds):
        now[0] += seconds

    pair = Pair(lambda: spend(20), lambda: spend(1), "theirs", "ours", warm_up=lambda: None)
    row = speed.measure(pair, 5)
    assert row["repeats"] == {"upstream": 3, "steady": 5}
    assert (row["upstream_s"], row["steady_s"], row["ratio"]) == (20, 1, 20)
    pair = Pair(lambda: spend(100), lambda: spend(1), "theirs", "ours", warm_up=lambda: None)
    assert speed.measure(pair, 5)["repeats"] == {"upstream": 1, "steady": 5}


def test_a_stopped_benchmark_goes_on_where_it_was(monkeypatch, tmp_path):
    calls = []

    def stop(data):
        raise KeyboardInterrupt

    parts = {"first": lambda data: fake_pair(calls), "second": stop}
    monkeypatch.setattr(speed, "PARTS", parts)
    settings = speed.Settings(**TINY, parts=("first", "second"))
    file = tmp_path / "speed.json"
    with pytest.raises(KeyboardInterrupt):
        speed.run_speed_benchmark(settings, file)
    assert [row["part"] for row in json.loads(file.read_text())["rows"]] == ["first"]
    parts["second"] = parts["first"]
    before = len(calls)
    results = speed.run_speed_benchmark(settings, file)
    assert [row["part"] for row in results["rows"]] == ["first", "second"]
    assert len(calls) == before + 3
    with pytest.raises(ValueError, match="other settings"):
        speed.run_speed_benchmark(speed.Settings(**{**TINY, "repeats": 2}), file)


def test_table_names_everything():
    calls = []
    row = dict(part="bandpass", num_channels=16, dtype="int16", **speed.measure(fake_pair(calls), 1))
    results = dict(
        rows=[row],
        versions={"numba": "9.9"},
        machine=dict(processor="abacus", cores=2, system="wood"),
        settings=dict(repeats=1, duration_s=2.0),
    )
    table = speed.format_speed_table(results)
    assert "| bandpass: theirs / ours | 16 | int16 |" in table
    assert "numba 9.9" in table
    assert "abacus" in table


def test_threads_are_limited_and_given_back():
    import numba
    import torch

    before = numba.get_num_threads(), torch.get_num_threads()
    with speed.one_thread():
        assert (numba.get_num_threads(), torch.get_num_threads()) == (1, 1)
    assert (numba.get_num_threads(), torch.get_num_threads()) == before


def test_libraries_loaded_later_are_limited_too():
    script = (
        "from steadyspike_benchmarks.speed import one_thread\n"
        "from threadpoolctl import threadpool_info\n"
        "with one_thread():\n"
        "    import scipy.optimize, torch\n"
        "    print({pool['num_threads'] for pool in threadpool_info()})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{1}"


def test_data_are_the_same_in_both_types():
    as_float, as_int = (Data(16, 2.0, dtype, 0).raw for dtype in ("float32", "int16"))
    assert (as_float.dtype, as_int.dtype) == (np.float32, np.int16)
    np.testing.assert_allclose(as_int.get_traces(return_in_uV=True), as_float.get_traces(), atol=1.2)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
@pytest.mark.parametrize("part", ["bandpass", "reference", "chained"])
def test_filters_agree_with_their_twins(part, dtype):
    pair = speed_parts.PARTS[part](Data(16, 2.0, dtype, 0))
    assert pair.compare(None, None)["largest_difference"] < 1e-4


@pytest.mark.parametrize("part", ["phase", "front"])
def test_phase_shifts_agree_in_the_band_of_spikes(part):
    pair = speed_parts.PARTS[part](Data(16, 2.0, "float32", 0))
    assert pair.compare(None, None)["largest_difference"] < 2e-3


def test_delays_are_told_by_band():
    from steadyspike_benchmarks.delays import BANDS_HZ, format_delays, run_delays

    rows = run_delays()
    assert [row["band_hz"] for row in rows] == list(BANDS_HZ)
    assert rows[1]["error"] < 5e-5 < rows[-1]["error"]
    assert format_delays(rows).count("\n|") == len(rows) + 1


@pytest.fixture
def quick_twins(monkeypatch):
    """SpikeInterface's parts without what makes them slow here.

    The decentralized estimator collects garbage 20 times per window, half a second each; the localization waits for
    BLAS threads that spin.
    """
    monkeypatch.setattr("gc.collect", lambda *_: 0)
    with speed.one_thread():
        yield


@pytest.mark.usefixtures("quick_twins")
def test_other_parts_agree_with_their_twins(monkeypatch):
    monkeypatch.setattr(speed_parts, "MOST_PEAKS", 40)
    monkeypatch.setattr(speed_parts, "ESTIMATION_S", 20.0)
    data = Data(32, 3.0, "float32", 0)
    rows = {}
    for part in ("interpolate", "localize", "estimate"):
        rows[part] = speed.measure(speed_parts.PARTS[part](data), 1)
    assert rows["interpolate"]["largest_difference"] < 1e-2
    assert rows["localize"]["num_peaks"] == 40
    assert rows["localize"]["median_um"] < 2.0
    assert rows["estimate"]["steady_error_um"] < 3.0
    assert all(row["ratio"] > 0 for row in rows.values())


@pytest.mark.usefixtures("quick_twins")
def test_whole_chain_on_a_short_recording():
    row = speed.measure(speed_parts.whole_pair(Data(16, 6.0, "int16", 0)), 1)
    assert (row["upstream"], row["steady"]) == ("nonrigid_accurate", "steady_nonrigid")
    assert row["num_peaks"] > 10
    assert {"detect_and_localize", "estimate_motion"} <= set(row["steady_steps_s"])


def test_command_writes_json_and_markdown(tmp_path):
    from steadyspike_benchmarks.cli.app import app

    arguments = ["--channels", "16", "--duration", "2", "--repeats", "1", "--no-whole", "--parts", "bandpass"]
    arguments += ["--calls", "notch"]
    outputs = [text for end in ("json", "md", "png") for text in ("-o", str(tmp_path / f"speed.{end}"))]
    result = CliRunner().invoke(app, ["speed", *arguments, *outputs])
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "speed.json").read_text())["rows"]
    assert [(row["part"], row["dtype"]) for row in rows] == [
        (part, dtype) for part in ("bandpass", "notch_filter") for dtype in ("float32", "int16")
    ]
    assert (tmp_path / "speed.png").stat().st_size > 5000
    assert (tmp_path / "speed.md").read_text() in result.output


def test_unknown_calls_are_refused():
    from steadyspike_benchmarks.cli.app import app

    result = CliRunner().invoke(app, ["speed", "--calls", "bandpas_filter"])
    assert result.exit_code == 2
    assert "bandpas_filter is unknown; allowed: bandpass_filter" in " ".join(result.output.split())


@pytest.mark.usefixtures("quick_twins")
@pytest.mark.parametrize("name", accelerated_parts.CALLS)
def test_accelerated_calls_agree_with_themselves(monkeypatch, name):
    monkeypatch.setattr(accelerated_parts, "SLOWEST_PEAKS", 20)
    monkeypatch.setattr(accelerated_parts, "ESTIMATION_S", 20.0)
    pair = accelerated_parts.accelerated_pair(name, accelerated_parts.Material(8, 1.0, "float32", 0))
    row = speed.measure(pair, 1)
    # what tells the agreement depends on what the call returns
    assert row.get("largest_difference", 0.0) < 1e-4
    assert row.get("largest_difference_um", 0.0) < 0.1
    assert row.get("share_identical", 1.0) >= 0.999
    # monopoles go to the minimum that SciPy stops short of: tests/integration/test_accelerated_monopoles.py
    assert "monopolar" in name or row.get("share_near", 1.0) >= 0.99
    assert row["agreement"]
    assert row["threaded_s"] > 0


def test_limits_of_kernels_are_told():
    from steadyspike_benchmarks.kernel_limits import KERNELS, format_kernel_limits, run_kernel_limits

    results = run_kernel_limits(num_channels=16, duration_s=1.0, repeats=1)
    assert [row["call"] for row in results["rows"]] == [kernel.call for kernel in KERNELS]
    assert all(row["reached_ns"] > 0 and row["memory_ns"] > 0 for row in results["rows"])
    table = format_kernel_limits(results)
    assert all(row["reached_ns"] > 0 for row in results["event_rows"])
    assert [row["operations"] > 0 for row in results["event_rows"]] == [True, False, True, True, True]
    assert table.count("\n|") == len(KERNELS) + len(results["event_rows"]) + 3
    assert "GB/s" in table


def test_simulated_peaks_move_as_they_say():
    simulated = simulate_peaks(32, 30.0, 200.0, seed=5)
    assert len(simulated.peaks) == 6000
    assert (np.diff(simulated.peaks["sample_index"]) >= 0).all()
    times = simulated.peaks["sample_index"] / 30_000.0
    depths = simulated.peak_locations["y"]
    drift = simulated.displacement(times, depths)
    assert np.ptp(drift) > 10
    # with the drift taken out, the spread of a unit is its jitter
    unit = simulated.peak_locations["x"] == simulated.peak_locations["x"][0]
    assert np.std((depths - drift)[unit]) < 6.0
    assert np.std(depths[unit]) > np.std((depths - drift)[unit])


def test_compilation_is_measured_in_fresh_processes(monkeypatch):
    from steadyspike_benchmarks import compilation

    script = "import os; print('{\"total_s\": 1.5, \"compiling_s\": %d}' % ('NUMBA_CACHE_DIR' in os.environ))"
    monkeypatch.setattr(compilation, "SCRIPT", script)
    assert compilation.measure_compilation() == dict(
        first_s=1.5, first_compiling_s=1, second_s=1.5, second_compiling_s=1
    )
    monkeypatch.setattr(compilation, "SCRIPT", "raise ValueError('not today')")
    with pytest.raises(RuntimeError, match=re.escape("not today")):
        compilation.measure_compilation()


@pytest.fixture(scope="module")
def first_calls_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first_calls")
    first_calls.prepare(folder, 3.0, 32)
    return folder


@pytest.mark.parametrize("accelerated", [False, True])
@pytest.mark.parametrize("name", first_calls.CALLS)
def test_each_first_call_can_be_made(first_calls_folder, name, accelerated, monkeypatch):
    monkeypatch.setattr(first_calls, "MOST_PEAKS", dict.fromkeys(first_calls.MOST_PEAKS, 20))
    took = first_calls.call_once(first_calls_folder, name, accelerated)
    assert 0 <= took["compiling_s"] <= took["total_s"]


def test_first_calls_are_measured_in_fresh_processes():
    rows = first_calls.measure_first_calls(["get_noise_levels"], duration_s=3.0, num_channels=16)
    (row,) = rows
    # no kernel was compiled before
    assert row["first_s"] > row["compiling_s"] > 0
    assert "| get_noise_levels |" in first_calls.format_first_calls(rows)
    with pytest.raises(RuntimeError, match=r"no_such_call failed: .*KeyError"):
        first_calls._run(Path("."), "no_such_call", False, ".")
