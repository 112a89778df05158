import json
import re
from types import SimpleNamespace

import pytest
from cli_runner import assert_nothing_left, run_benchmark

from steadyspike_benchmarks.denoising import NETWORKS

COMMANDS = ("denoising", "denoising-speed", "denoising-detection", "denoising-memory", "train-bundled")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_all_networks_and_options(command):
    result = run_benchmark(command, "--help")
    assert result.exit_code == 0
    text = re.sub(r"\s+", " ", result.output)
    if command == "denoising":
        for name in NETWORKS:
            assert name.removesuffix("-centre") in text


def recorded(monkeypatch, module, function, result):
    """Let a study only tell how it was called."""
    calls = []
    monkeypatch.setattr(
        f"steadyspike_benchmarks.{module}.{function}",
        lambda *arguments, **options: calls.append((arguments, options)) or result,
    )
    return calls


def test_options_reach_the_study_of_quality(monkeypatch, tmp_path):
    calls = recorded(monkeypatch, "denoising", "run_denoising_benchmark", [])
    options = "--network blindspot-tiny,ridge --probe np2 --seed 1,2 --budget-s 7 --blindspot-rate 1e-2,1e-3"
    options += (
        " --unet-rate 1e-4 --loss mae --train-recordings 2 --train-s 9 --test-s 8 --channels 16 --threads 3"
    )
    result = run_benchmark("denoising", "-o", tmp_path / "study", *options.split())
    assert result.exit_code == 0, result.output
    ((folder,), given), settings = calls[0], calls[0][1]["settings"]
    assert folder == tmp_path / "study"
    assert (given["networks"], given["probes"], given["seeds"]) == (
        ["blindspot-tiny", "ridge"],
        ["np2"],
        [1, 2],
    )
    assert settings.learning_rates == {"blindspot": (1e-2, 1e-3), "unet_single_ephys_1024": (1e-4,)}
    assert (settings.budget_s, settings.loss, settings.num_threads) == (7.0, "mae", 3)
    assert (settings.train_recordings, settings.train_s, settings.test_s, settings.num_channels) == (
        2,
        9,
        8,
        16,
    )
    assert run_benchmark("denoising", "-o", tmp_path / "study", "--report-only").exit_code == 0
    assert len(calls) == 1


def test_options_reach_the_study_of_detection(monkeypatch, tmp_path):
    calls = recorded(monkeypatch, "denoising_detection", "run_detection_benchmark", ["results"])
    monkeypatch.setattr(
        "steadyspike_benchmarks.denoising_detection_tables.write_detection_report",
        lambda folder, results: f"{folder.name}: {results}",
    )
    options = (
        "--model some --probe np2 --noise 1,2 --seed 3 --duration 5 --channels 16 --threads 2 --device cpu"
    )
    result = run_benchmark("denoising-detection", "-o", tmp_path / "study", *options.split())
    assert result.output == "study: ['results']\n"
    (arguments, given) = calls[0]
    assert arguments == (tmp_path / "study", "some")
    assert (given["probe"], given["noise_factors"], given["seeds"]) == ("np2", [1.0, 2.0], [3])
    assert (given["duration_s"], given["num_channels"], given["num_threads"]) == (5.0, 16, 2)


def test_options_reach_the_training_of_a_bundled_model(monkeypatch, tmp_path):
    calls = recorded(monkeypatch, "bundled", "train_bundled", SimpleNamespace(card="its card"))
    options = (
        "--budget-s 9 --network blindspot-base --learning-rate 1e-3 --recordings 2 --train-s 4 --tests 3"
    )
    options += " --test-s 5 --channels 16 --overwrite"
    result = run_benchmark("train-bundled", "steady-np2", "-o", tmp_path / "model", *options.split())
    assert result.output == "its card\n"
    (arguments, given) = calls[0]
    settings = given["settings"]
    assert arguments == ("steady-np2", tmp_path / "model")
    assert given["overwrite"] is True
    assert (settings.budget_s, settings.network, settings.learning_rate) == (9.0, "blindspot-base", 1e-3)
    assert (settings.recordings, settings.train_s, settings.tests, settings.test_s) == (2, 4.0, 3, 5.0)


def test_options_reach_the_measurement_of_speed_and_results_go_to_files(monkeypatch, tmp_path):
    calls = recorded(monkeypatch, "denoising_speed", "run_denoising_speed", {"rows": []})
    monkeypatch.setattr(
        "steadyspike_benchmarks.denoising_speed_table.format_denoising_speed", lambda results: str(results)
    )
    files = tmp_path / "speed.json", tmp_path / "speed.md"
    options = "--network ridge --channels 4 --repeats 2 --seconds 0.5 --device cpu,cuda --parent filtered"
    result = run_benchmark("denoising-speed", *options.split(), "-o", files[0], "-o", files[1])
    assert result.output == files[1].read_text() == "{'rows': []}\n"
    assert json.loads(files[0].read_text()) == {"rows": []}
    settings = calls[0][0][0]
    assert (settings.networks, settings.num_channels, settings.repeats) == (("ridge",), 4, 2)
    assert (settings.seconds, settings.devices, settings.parents) == (0.5, ("cpu", "cuda"), ("filtered",))


def test_memory_tells_who_was_stopped():
    result = run_benchmark("denoising-memory", "--seconds", "1", "--channels", 8, "--limit-gb", 0.02)
    assert result.exit_code == 0, result.output
    assert "stopped: passed 0.02 GB" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("denoising", "--network", "other"), "--network other"),
        (("denoising", "--probe", "other"), "--probe other"),
        (("denoising", "--budget-s", "0"), "budget_s=0.0 must be above 0"),
        (("denoising", "--blindspot-rate", "-1"), "--blindspot-rate -1"),
        (("denoising-speed", "--network", "other"), "--network other"),
        (("denoising-speed", "--device", "other"), "device="),
        (("denoising-speed", "-o", "speed.txt"), "speed.txt"),
        (("denoising-detection", "--model", "other"), "no model 'other'"),
        (("denoising-detection", "--model", "x", "--probe", "np1,np2"), "names several"),
        (("denoising-memory", "--seconds", "0"), "--seconds 0"),
        (("denoising-memory", "--model", "other"), "no model 'other'"),
        (("train-bundled", "other", "-o", "model"), "allowed: steady-np1, steady-np2"),
        (("train-bundled", "steady-np1", "-o", "model", "--network", "ridge"), "cannot be bundled"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run_benchmark(*arguments)
    assert result.exit_code in (1, 2)
    assert words in re.sub(r"\s+", " ", result.output)
    assert "Traceback" not in result.output
    assert_nothing_left(tmp_path)
