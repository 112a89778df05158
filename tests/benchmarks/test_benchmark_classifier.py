"""The benchmarks of classifiers and embeddings run, on small data, and the page's code does."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from markdown_code import blocks
from typer.testing import CliRunner
from waveform_sets import one_thread, spikes_and_noise  # noqa: F401

from steadyspike.networks import make_network
from steadyspike_benchmarks.cli.app import app

PAGE = Path(__file__).resolve().parents[2] / "docs" / "classification.md"


@pytest.fixture
def folder(tmp_path):
    """A folder like that of the zebra finch waveforms, with random networks."""
    data = tmp_path / "data"
    data.mkdir()
    for seed, channel in enumerate((9, 16, 33, 11, 40)):
        waveforms, labels = spikes_and_noise(seed, num_noise=120, num_spikes=30)
        for label, kind in enumerate(("background", "spikes")):
            np.save(
                data / f"channel_{kind}_{channel}.npy", waveforms[labels == label, :, 0].astype("float64")
            )
    for name in ("cnn", "gru"):
        network = make_network(f"waveform_{name}", dict(num_samples=42))
        torch.save(network.state_dict(), data / f"best_{name}_model.pth")
    return data


def test_classifier_benchmark(folder, tmp_path):
    arguments = ["classifier", str(folder), "--seeds", "2", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["name"]: row for row in results["rows"]}
    assert list(rows) == ["published CNN", "published GRU", "ours"]
    assert len(rows["ours"]["test"]["macro_f1"]) == 2
    assert min(rows["ours"]["test"]["macro_f1"]) > 0.9
    text = (tmp_path / "out" / "results.md").read_text()
    assert f"{np.mean(rows['ours']['test']['macro_f1']):.4f} ± " in text
    assert (tmp_path / "out" / "scores.png").stat().st_size > 1000


def test_each_channel_is_the_test_once(folder, tmp_path):
    arguments = ["classifier", str(folder), "--rotate", "--output", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert [row["test"] for row in rows] == [9, 9, 16, 16, 33, 33, 11, 11, 40, 40]
    assert all(row["test"] != row["validation"] for row in rows)
    means = [np.mean([row["macro_f1"] for row in rows[first::2]]) for first in (0, 1)]
    assert f"| mean | | | {means[0]:.3f} | {means[1]:.3f} |" in (tmp_path / "out" / "results.md").read_text()


def test_classifier_benchmark_refuses(folder, tmp_path, monkeypatch):
    monkeypatch.delenv("STEADYSPIKE_DATA", raising=False)
    for arguments, message in (
        ([], "STEADYSPIKE_DATA"),
        ([str(folder), "--network", "mlp"], "discriminant, cnn, gru"),
        ([str(tmp_path)], "channel_background_9.npy"),
    ):
        done = CliRunner().invoke(app, ["classifier", *arguments])
        assert done.exit_code in (1, 2)
        assert message in " ".join(done.output.split()).replace("\n", "")


def test_bundled_classifier_is_trained_by_a_command(folder, tmp_path):
    import steadyspike

    arguments = ["train-classifier", str(folder), "--output", str(tmp_path / "model")]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    model = steadyspike.load_model(tmp_path / "model")
    assert model.config.extra["scores"]["test"]["macro_f1"] > 0.9
    assert "On channel 40, by which nothing was chosen" in model.card
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_bundled_classifier_loads():
    import steadyspike

    model = steadyspike.library.SpikeClassifier.load("steady-classifier-zebra-finch")
    assert model.config.extra["scores"]["test"]["macro_f1"] > 0.9
    assert model.predict(np.zeros((3, 42))).tolist() == [0, 0, 0]


def test_embedding_benchmark(tmp_path):
    from steadyspike_benchmarks.embedding import format_embedding_table, run_embedding_benchmark

    done = run_embedding_benchmark(seeds=[10], num_units=3, duration_s=12.0)
    kinds = {(row["embedding"], row["clustering"]) for row in done.results["rows"]}
    assert kinds == {(a, b) for a in ("pca", "autoencoder") for b in ("hdbscan", "dbscan")}
    assert all(row["adjusted_rand"] > 0.5 for row in done.results["rows"])
    table = format_embedding_table(done.results)
    assert "| pca | hdbscan |" in table
    assert json.dumps(done.results)


def test_code_on_the_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(block.code, names)
    assert (tmp_path / "my_classifier" / "config.json").is_file()
    assert (tmp_path / "cutouts" / "waveforms.npy").is_file()
    assert len(names["locations"]) == len(names["spikes"])
