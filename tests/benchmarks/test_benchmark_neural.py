"""Benchmarks and training commands of the spike networks, on recordings of two seconds."""

import json

import numpy as np
import pytest
from cli_runner import run_benchmark

from steadyspike.simulation.spiky import simulate_spiky_recording
from steadyspike_benchmarks import neural, neural_recordings

SMALL = ("--probe", "np1", "--noise", "12", "--seed", "0", "--duration", "2", "--channels", "24")


def test_detection_is_measured_beside_every_threshold(tmp_path, monkeypatch):
    monkeypatch.setattr(neural, "THRESHOLDS", (4.0, 5.0, 6.0))
    done = run_benchmark("detection", *SMALL, "-o", tmp_path / "rows.json", "-o", tmp_path / "table.md")
    assert done.exit_code == 0, done.output
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert row["exclusive_threshold"] in (4.0, 5.0, 6.0)
    assert row["neural_f1"] > row["exclusive_f1"] > 0.5
    table = (tmp_path / "table.md").read_text()
    assert table.strip() in done.output
    assert f"{row['neural_f1'] - row['exclusive_f1']:+.3f}" in table


def test_localization_is_measured_beside_other_methods(tmp_path):
    methods = ("center_of_mass", "steady_denoised_monopolar")
    rows = neural.run_localization_benchmark(
        ["np1"], [12.0], [0], duration_s=2.0, num_channels=24, methods=methods
    )
    assert [row["method"] for row in rows] == list(methods)
    assert rows[1]["small_um"] < rows[0]["small_um"]
    table = neural.format_localization_table(rows)
    assert len(table.splitlines()) == 4
    assert f"{rows[1]['small_um']:.1f}" in table


def test_simulated_recordings_say_what_is_in_them():
    spiky = simulate_spiky_recording("np2", 10.0, 0, duration_s=2.0, num_channels=16)
    assert spiky.recording.get_num_channels() == 16
    again = simulate_spiky_recording("np2", 10.0, 0, duration_s=2.0, num_channels=16)
    np.testing.assert_array_equal(spiky.recording.get_traces(), again.recording.get_traces())
    spikes = spiky.sorting.to_spike_vector()
    own = np.flatnonzero(spikes["unit_index"] == spiky.snr.argmax())
    main = spiky.channels[spiky.snr.argmax()]
    traces = spiky.recording.get_traces()
    mean = traces[spikes["sample_index"][own][:, None] + np.arange(-6, 10), main].mean(axis=0)
    assert -mean.min() / spiky.noise_levels[main] == pytest.approx(spiky.snr.max(), rel=0.2)
    with pytest.raises(ValueError, match="noise_uV=0"):
        simulate_spiky_recording("np2", 0.0, 0)


@pytest.mark.parametrize("command", ["train-detector", "train-denoiser"])
def test_bundled_models_are_trained_by_a_command(tmp_path, monkeypatch, command):
    monkeypatch.setattr(neural_recordings, "TRAINING_PROBES", ("np1",))
    monkeypatch.setattr(neural_recordings, "TRAINING_NOISE_UV", (10.0,))
    small = neural_recordings.simulate_training_recordings(2.0, 24)
    assert len(small[0]) == 2
    monkeypatch.setattr(neural_recordings, "simulate_training_recordings", lambda *_: small)
    done = run_benchmark(command, "-o", tmp_path / "model", "--steps", "3")
    assert done.exit_code == 0, done.output
    assert "2 simulated recordings of 2 s" in (tmp_path / "model" / "README.md").read_text()
    assert run_benchmark(command, "-o", tmp_path / "model").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--probe", "np9"), "--probe np9 is not known"),
        (("--noise", "a"), "no list of numbers above 0"),
        (("--noise", "-5"), "no list of numbers above 0"),
        (("--output", "table.txt"), "allowed: .json and .md"),
    ],
)
@pytest.mark.parametrize("command", ["detection", "localization-denoised"])
def test_options_that_cannot_work_are_refused(command, arguments, message):
    done = run_benchmark(command, *arguments)
    assert done.exit_code == 2
    assert message in done.output
