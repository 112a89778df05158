"""evaluate_deepinterpolation against dense arrays, and against models whose effect is known."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
import spikeinterface.full as si
import torch
from matplotlib.figure import Figure
from probeinterface import generate_linear_probe

import steadyspike
from steadyspike.core.normalization import measure_normalization
from steadyspike.core.probe_layout import layout_of
from steadyspike.core.stretches import Stretch
from steadyspike.evaluation.denoising import methods as denoising_methods
from steadyspike.evaluation.denoising import run as denoising_run
from steadyspike.evaluation.denoising.errors import CleanErrors, TraceLosses
from steadyspike.evaluation.denoising.units import (
    NOISE,
    SELF,
    SPIKES,
    TRUE,
    NoiseSamples,
    UnitEvents,
    UnitSums,
    compare_templates,
    d_prime,
    distance_to_events,
    draw_noise_times,
    quiet_times,
)
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, config_of
from steadyspike.library.models.provenance import ModelUseWarning, note_stretches
from steadyspike.networks.linear import RidgeInterpolator
from steadyspike.preprocessing.deepinterpolation import deepinterpolate

RATE, BEFORE, AFTER = 10_000.0, 10, 20
QUICK = {"device": "cpu", "progress_bar": False, "num_noise_times": 300}
TABLE = [
    "mse",
    "mae",
    "charbonnier",
    "rms_error",
    "rms_error_in_spikes",
    "rms_error_outside",
    "noise_reduction",
]
MEASURES = ["amplitude_bias", "gain", "shape_bias", "template_snr", "d_prime_self", "d_prime_true"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(denoising_methods, "LINEAR_ROWS", 5_000)


def with_probe(traces):
    recording = si.NumpyRecording(traces, RATE)
    probe = generate_linear_probe(traces[0].shape[1], ypitch=40)
    probe.set_device_channel_indices(np.arange(traces[0].shape[1]))
    recording.set_probe(probe)
    return recording


def waveform(channel, amplitude, num_channels):
    """A spike whose largest sample is at its time."""
    times = np.arange(-BEFORE, AFTER)
    shape = -np.exp(-(times**2) / 8) + 0.4 * np.exp(-((times - 6) ** 2) / 20)
    near = np.exp(-np.abs(np.arange(num_channels) - channel) / 1.0)
    return amplitude * shape[:, None] * near


def simulated(
    num_channels=6, samples=(40_000,), seed=0, noise=1.0, num_spikes=50, amplitudes=(4.0, 8.0, 20.0)
):
    """Recording, sorting and noise-free recording; units on channels that follow each other."""
    rng = np.random.default_rng(seed)
    clean, labels, times = [], [], []
    for size in samples:
        traces = np.zeros((size, num_channels))
        segment = []
        # no two spikes at once, so that averages are those of one unit
        places = rng.permutation(np.arange(60, size - 60, 45))
        for unit, amplitude in enumerate(amplitudes):
            template = waveform(min(2 * unit, num_channels - 1), amplitude, num_channels)
            for time in places[unit * num_spikes : (unit + 1) * num_spikes]:
                traces[time - BEFORE : time + AFTER] += template
                segment.append((time, unit))
        segment.sort()
        times.append(np.array([time for time, _ in segment], "int64"))
        labels.append(np.array([f"u{unit}" for _, unit in segment]))
        clean.append(traces.astype("float32"))
    raw = [(part + noise * rng.standard_normal(part.shape)).astype("float32") for part in clean]
    ids = [f"u{unit}" for unit in range(len(amplitudes))]
    sorting = si.NumpySorting.from_samples_and_labels(times, labels, RATE, unit_ids=ids)
    return with_probe(raw), sorting, with_probe(clean)


def ridge_model(recording, seed=0, **sizes):
    """A linear model with random weights, in memory only."""
    layout = layout_of(recording)
    network = RidgeInterpolator(layout.type.unit, **{"taps": 2, "omission": 1, **sizes})
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in network.parameters():
            weights.copy_(0.1 * torch.randn(weights.shape))
    return DeepInterpolationModel(network.eval(), config_of(network, layout.type, RATE))


def saved(model, folder):
    model.save(folder)
    return steadyspike.load_model(folder)


def dense_templates(traces, sorting, channels_of, span):
    """Average waveforms of spikes within (start, stop) of each segment, by a loop over spikes."""
    templates = {}
    for unit, channels in channels_of.items():
        waves = [
            traces[segment][time - BEFORE : time + AFTER][:, channels].astype("float64")
            for segment, (start, stop) in enumerate(span)
            for time in sorting.get_unit_spike_train(unit, segment)
            if start <= time < stop
        ]
        templates[unit] = np.mean(waves, axis=0)
    return templates


def evaluated(recording, model, *args, **kwargs):
    return steadyspike.evaluate_deepinterpolation(recording, model, *args, **{**QUICK, **kwargs})


@pytest.mark.parametrize("samples", [(40_000,), (15_000, 9_000)])
def test_all_measures_are_those_of_dense_arrays(samples, tmp_path):
    recording, sorting, clean = simulated(samples=samples)
    model = saved(ridge_model(recording), tmp_path / "model")
    end_s = sum(samples) / RATE
    result = evaluated(recording, model, sorting, clean, start_s=1.0, end_s=end_s, chunk_s=0.37, quiet_ms=3.0)

    center, scale = measure_normalization(recording)
    segments = range(len(samples))
    raw = [recording.get_traces(segment) - center for segment in segments]
    true = [clean.get_traces(segment) - measure_normalization(clean)[0] for segment in segments]
    node = deepinterpolate(recording, model, device="cpu")
    mine = [node.get_traces(segment) - center for segment in segments]
    span = [(10_000 if segment == 0 else 0, size) for segment, size in enumerate(samples)]
    cut = [slice(*one) for one in span]
    whole = {
        name: np.concatenate([part[one] for part, one in zip(parts, cut, strict=True)]) / scale
        for name, parts in {"raw": raw, "model": mine, "true": true}.items()
    }
    row = result.summary.set_index("method").loc["model"]
    apart = whole["model"] - whole["raw"]
    assert row["mse"] == pytest.approx(np.mean(apart**2), rel=1e-5)
    assert row["mae"] == pytest.approx(np.mean(np.abs(apart)), rel=1e-5)
    assert row["charbonnier"] == pytest.approx(np.mean(np.sqrt(apart**2 + 0.01) - 0.1), rel=1e-5)
    assert result.summary.set_index("method").loc["center", "mse"] == pytest.approx(
        np.mean(whole["raw"] ** 2)
    )
    for name in ("raw", "model"):
        error, within = whole[name] - whole["true"], np.abs(whole["true"]) > 2
        row = result.summary.set_index("method").loc[name]
        assert row["rms_error"] == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-5)
        assert row["rms_error_in_spikes"] == pytest.approx(np.sqrt(np.mean(error[within] ** 2)), rel=1e-5)
        assert row["rms_error_outside"] == pytest.approx(np.sqrt(np.mean(error[~within] ** 2)), rel=1e-5)

    # channels within 100 um at a pitch of 40: two on each side
    mains = {"u0": 0, "u1": 2, "u2": 4}
    channels = {unit: np.arange(max(main - 2, 0), min(main + 3, 6)) for unit, main in mains.items()}
    reference = dense_templates(true, sorting, channels, span)
    for name, traces in (("raw", raw), ("model", mine)):
        templates = dense_templates(traces, sorting, channels, span)
        rows = result.units[result.units["method"] == name].set_index("unit_id")
        for unit, main in mains.items():
            wanted, got = reference[unit], templates[unit]
            place = int(np.flatnonzero(channels[unit] == main)[0])
            peak = np.abs(wanted[:, place]).argmax()
            product = np.sum(wanted * got)
            assert rows.loc[unit, "channel_id"] == recording.channel_ids[main]
            assert rows.loc[unit, "amplitude_bias"] == pytest.approx(
                got[peak, place] / wanted[peak, place] - 1, abs=1e-4
            )
            assert rows.loc[unit, "gain"] == pytest.approx(product / np.sum(wanted**2), abs=1e-4)
            lengths = np.linalg.norm(wanted) * np.linalg.norm(got)
            assert rows.loc[unit, "shape_bias"] == pytest.approx(1 - product / lengths, abs=1e-4)
            assert rows.loc[unit, "reference_snr"] == pytest.approx(
                np.abs(wanted).max() / scale[main], rel=1e-4
            )
            np.testing.assert_allclose(
                result.templates[name][list(mains).index(unit)], got[:, place], atol=2e-5 * np.abs(got).max()
            )

    # noise: a sample of all quiet times, so within the error of a median absolute deviation
    quiet = []
    for segment in segments:
        spikes = np.concatenate(
            [sorting.get_unit_spike_train(unit, segment) for unit in mains if 0 in channels[unit]]
        )
        apart = np.abs(np.arange(*span[segment])[:, None] - spikes)
        quiet.append(apart.min(axis=1) >= 30)
    noise = {}
    for name, parts in {"raw": raw, "model": mine}.items():
        values = np.concatenate(
            [part[one, 0][still] for part, one, still in zip(parts, cut, quiet, strict=True)]
        )
        noise[name] = np.median(np.abs(values - np.median(values)))
    rows = result.units.set_index(["method", "unit_id"])
    for name in ("raw", "model"):
        wanted = np.abs(result.templates[name][0]).max() / (1.4826 * noise[name])
        assert rows.loc[(name, "u0"), "template_snr"] == pytest.approx(wanted, rel=0.05)


def test_d_prime_is_that_of_all_times():
    recording, sorting, clean = simulated(samples=(60_000,), num_spikes=200, amplitudes=(6.0,))
    model = ridge_model(recording)
    result = evaluated(recording, model, sorting, clean, start_s=0.0, num_noise_times=3000)
    center = measure_normalization(recording)[0]
    traces, channels = recording.get_traces().astype("float64") - center, np.arange(3)
    times = sorting.get_unit_spike_train("u0")
    true = dense_templates([clean.get_traces()], sorting, {"u0": channels}, [(0, 60_000)])["u0"]
    first, second = times[:100], times[100:]
    own = np.mean([traces[time - BEFORE : time + AFTER, channels] for time in first], axis=0)
    others = np.array(
        [time for time in range(first[-1] + 1, 59_900) if np.min(np.abs(times - time)) >= BEFORE + AFTER]
    )
    row = result.units.set_index("method").loc["raw"]
    for template, column in ((own, "d_prime_self"), (true, "d_prime_true")):
        scores = [
            np.array([np.sum(traces[time - BEFORE : time + AFTER, channels] * template) for time in group])
            for group in (second, others)
        ]
        pooled = np.sqrt((scores[0].var(ddof=1) + scores[1].var(ddof=1)) / 2)
        wanted = (scores[0].mean() - scores[1].mean()) / pooled
        assert row[column] == pytest.approx(wanted, rel=0.05)
        assert row[column] > 5


def halved(recording, model, **kwargs):
    """Stands for a network that returns exactly half of what it is to predict."""
    return si.scale(recording, 0.5, dtype="float32")


def test_a_model_that_halves_everything(monkeypatch):
    recording, sorting, clean = simulated(num_spikes=80, noise=0.5)
    monkeypatch.setattr(denoising_run, "deepinterpolate", halved)
    result = evaluated(recording, ridge_model(recording), sorting, clean)
    rows = result.units.set_index(["method", "unit_id"])
    raw, model = rows.loc["raw"], rows.loc["model"]
    # half of the noise that is in the average of the recording is left in that of the model
    np.testing.assert_allclose(model["amplitude_bias"], (raw["amplitude_bias"] + 1) / 2 - 1, atol=1e-3)
    np.testing.assert_allclose(model["gain"], raw["gain"] / 2, atol=1e-3)
    np.testing.assert_allclose(model["amplitude_bias"], -0.5, atol=0.03)
    np.testing.assert_allclose(model["gain"], 0.5, atol=0.02)
    for same in ("shape_bias", "template_snr", "d_prime_self", "d_prime_true"):
        np.testing.assert_allclose(model[same], raw[same], rtol=2e-3, atol=1e-4)
    summary = result.summary.set_index("method")
    assert summary.loc["model", "noise_reduction"] == pytest.approx(2, rel=1e-3)
    assert summary.loc["model", "mse"] == pytest.approx(summary.loc["center", "mse"] / 4, rel=1e-3)
    assert summary.loc["raw", "noise_reduction"] == 1
    assert summary.loc["model", "median_abs_amplitude_bias"] == pytest.approx(
        model["amplitude_bias"].abs().median()
    )
    assert np.isnan(summary.loc["raw", "mse"])
    assert np.isnan(summary.loc["center", "median_gain"])


def test_chunks_change_nothing():
    recording, sorting, clean = simulated(samples=(12_000, 9_000))
    results = [
        evaluated(recording, ridge_model(recording), sorting, clean, chunk_s=chunk_s)
        for chunk_s in (0.0503, 100.0)
    ]
    for name in ("summary", "by_size", "units"):
        pd.testing.assert_frame_equal(*(getattr(result, name) for result in results), rtol=1e-4, atol=1e-6)


def test_several_models_meet_the_same_spikes(tmp_path):
    recording, sorting, clean = simulated(samples=(16_000,))
    folders = [saved(ridge_model(recording, seed), tmp_path / f"net{seed}").folder for seed in (0, 1)]
    both = evaluated(recording, {"first": folders[0], "second": folders[1]}, sorting, clean)
    assert list(both.summary["method"]) == ["raw", "center", "linear", "first", "second"]
    assert both.settings["models"]["first"]["model"] == str(folders[0])
    alone = evaluated(recording, folders[1], sorting, clean).summary.set_index("method").loc["model"]
    again = both.summary.set_index("method").loc["second"]
    pd.testing.assert_series_equal(alone, again, check_names=False)
    listed = evaluated(recording, [str(folder) for folder in folders])
    assert list(listed.summary["method"])[3:] == ["net0", "net1"]


def test_time_that_was_trained_on_is_told(tmp_path):
    recording, *_ = simulated(samples=(40_000,))
    model = ridge_model(recording)
    extra = {
        "trained_on": note_stretches([recording], [Stretch(0, 0, 0, 25_000)]),
        "recordings": [{"is_filtered": True}],
    }
    seen = DeepInterpolationModel(model.network, model.config.model_copy(update={"extra": extra}))
    recording.annotate(is_filtered=True)
    told = "seen: was trained on 0.5 s of the 1.5 s that are evaluated, so it looks better"
    with pytest.warns(ModelUseWarning, match=told):
        result = evaluated(recording, {"new": model, "seen": seen}, start_s=2.0, end_s=3.5)
    assert [note for note in result.notes if "trained on" in note] == [result.notes[0]]
    assert told in result.to_markdown()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelUseWarning)
        assert not evaluated(recording, seen, start_s=2.5, end_s=3.5).notes
    recording.annotate(is_filtered=False)
    with pytest.warns(ModelUseWarning, match="trained on filtered recordings, and this one is not marked"):
        evaluated(recording, seen, start_s=2.5, end_s=3.5)


def seen_by(recording, model, *stretches):
    extra = {"trained_on": note_stretches([recording], [Stretch(0, *one) for one in stretches])}
    return DeepInterpolationModel(model.network, model.config.model_copy(update={"extra": extra}))


@pytest.mark.filterwarnings("error::steadyspike.library.models.provenance.ModelUseWarning")
def test_what_was_held_out_is_evaluated_unless_something_else_is_asked_for():
    recording, *_ = simulated(samples=(40_000, 20_000))
    model = ridge_model(recording)
    # at 10 kHz, and 0.1 s away from what was trained on
    first, second = (
        seen_by(recording, model, one, (1, 0, 20_000)) for one in ((0, 0, 25_000), (0, 31_000, 40_000))
    )
    for given, limits in (
        (first, (2.6, 4.0)),
        (second, (0.0, 3.0)),
        ({"a": first, "b": second}, (2.6, 3.0)),
        ({"a": model, "b": second}, (0.0, 3.0)),
        (seen_by(recording, model, (0, 10_000, 40_000)), (0.0, 6.0)),
        (model, (3.0, 6.0)),
    ):
        result = evaluated(recording, given)
        assert (result.settings["start_s"], result.settings["end_s"]) == pytest.approx(limits)
    sliced = recording.select_segments([0]).frame_slice(20_000, 38_000)
    assert evaluated(sliced, first).settings["start_s"] == pytest.approx(0.6)
    assert evaluated(recording, second, start_s=0.5, end_s=1.0).settings["start_s"] == 0.5


def test_where_nothing_was_held_out_that_is_told():
    recording, *_ = simulated(samples=(20_000,))
    with pytest.warns(ModelUseWarning, match=r"trained on 1 s of the 1 s that are evaluated"):
        evaluated(recording, seen_by(recording, ridge_model(recording), (0, 0, 20_000)))


@pytest.mark.parametrize(("longest_s", "start_s"), [(60.0, 0.4), (1.0, 1.4)])
def test_the_last_of_what_was_held_out_is_evaluated(monkeypatch, longest_s, start_s):
    monkeypatch.setattr("steadyspike.evaluation.denoising.inputs.DEFAULT_S", longest_s)
    recording, *_ = simulated(samples=(20_000, 10_000))
    seen = seen_by(recording, ridge_model(recording), (0, 0, 3_000), (1, 0, 5_000))
    assert evaluated(recording, seen).settings["start_s"] == pytest.approx(start_s)


def test_the_linear_baseline_is_fitted_elsewhere():
    recording, *_ = simulated(samples=(40_000,))
    result = evaluated(recording, ridge_model(recording), start_s=2.0, end_s=3.0)
    assert not result.notes
    rows = result.summary.set_index("method")
    assert rows.loc["linear", "mse"] < min(rows.loc["model", "mse"], rows.loc["center", "mse"])
    everything = evaluated(recording, ridge_model(recording), start_s=0.0, end_s=4.0)
    assert any("very samples that are evaluated" in note for note in everything.notes)


def test_without_clean_and_without_sorting():
    recording, sorting, clean = simulated(samples=(16_000,))
    model = ridge_model(recording)
    result = evaluated(recording, model, sorting)
    assert result.summary["rms_error"].isna().all()
    assert result.units["d_prime_true"].isna().all()
    rows = result.units[result.units["method"] == "raw"]
    np.testing.assert_allclose(rows[["amplitude_bias", "shape_bias"]], 0, atol=1e-4)
    np.testing.assert_allclose(rows["gain"], 1, atol=1e-4)
    assert any("average in the recording itself" in note for note in result.notes)
    assert "rms" not in str(result)

    result = evaluated(recording, model, clean=clean)
    assert result.summary["rms_error"].notna().all()
    assert result.summary["noise_reduction"].isna().all()
    assert len(result.units) == 0
    assert len(result.by_size) == 0
    assert list(result.units.columns)[:2] == ["unit_id", "method"]


def test_units_with_few_or_no_spikes():
    recording, sorting, clean = simulated(samples=(16_000,))
    trains = {
        "u0": sorting.get_unit_spike_train("u0"),
        "few": np.array([9_000, 12_000]),
        "none": np.array([], int),
    }
    # at the ends, where there is no whole waveform
    trains["ends"] = np.r_[np.arange(3), 16_000 - np.arange(1, 4)]
    result = evaluated(
        recording, ridge_model(recording), si.NumpySorting.from_unit_dict([trains], RATE), clean, start_s=0.0
    )
    rows = result.units[result.units["method"] == "model"].set_index("unit_id")
    assert rows["num_spikes"].to_dict() == {"u0": 50, "few": 2, "none": 0, "ends": 0}
    assert rows.loc["u0", MEASURES].notna().all()
    assert rows.loc[["few", "none", "ends"], [*MEASURES, "reference_snr", "size"]].isna().all(axis=None)
    assert any(note.startswith("3 of 4 units have fewer than 20 spikes") for note in result.notes)
    empty = si.NumpySorting.from_unit_dict([{}], RATE)
    result = evaluated(recording, ridge_model(recording), empty, clean)
    assert result.summary.set_index("method").loc["raw", "noise_reduction"] == 1
    assert len(result.units) == 0


def test_one_channel():
    recording, sorting, clean = simulated(num_channels=1, samples=(16_000,), amplitudes=(8.0,))
    result = evaluated(recording, ridge_model(recording), sorting, clean)
    assert result.units[MEASURES].notna().all(axis=None)


def test_dead_channels_and_missing_samples_are_left_out(tmp_path):
    recording, sorting, clean = simulated(samples=(16_000,))
    model = saved(ridge_model(recording), tmp_path / "model")
    traces = recording.get_traces().copy()
    traces[:, 0] = 0.0
    traces[12_000:12_050, 3] = np.nan
    broken = with_probe([traces])
    result = evaluated(broken, model, sorting, clean, bad_channel_ids=[broken.channel_ids[5]])
    node = deepinterpolate(broken, model, device="cpu", bad_channel_ids=[broken.channel_ids[5]])
    scale = measure_normalization(broken)[1]
    apart = (node.get_traces() - traces)[8_000:, 1:5] / scale[1:5]
    row = result.summary.set_index("method").loc["model"]
    assert row["mse"] == pytest.approx(np.nanmean(apart**2), rel=1e-4)
    assert np.isfinite(row[["rms_error", "noise_reduction", "median_gain"]].astype(float)).all()
    assert result.settings["num_channels_evaluated"] == 4
    assert not set(result.units["channel_id"]) & {broken.channel_ids[0], broken.channel_ids[5]}
    nothing = with_probe([np.zeros((8_000, 4), "float32")])
    result = evaluated(nothing, ridge_model(nothing))
    assert result.summary[TABLE].isna().all(axis=None)
    assert any("linear is missing" in note for note in result.notes)


class Unread(si.NumpyRecording):
    """Traces that nobody may read."""

    def get_traces(self, *args, **kwargs):
        raise AssertionError("traces were read")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"start_s": -1}, "start_s=-1"),
        ({"end_s": 9.0}, "end_s=9.0"),
        ({"start_s": 1.0, "end_s": 0.5}, "end must be after the start"),
        ({"ms_before": 0}, "ms_before=0"),
        ({"radius_um": -1}, "radius_um=-1"),
        ({"quiet_ms": float("nan")}, "quiet_ms=nan"),
        ({"spike_threshold": 0}, "spike_threshold=0"),
        ({"min_spikes": 3}, "min_spikes=3"),
        ({"snr_classes": (9, 5)}, "snr_classes="),
        ({"snr_classes": 5}, "snr_classes="),
        ({"num_noise_times": 1}, "num_noise_times=1"),
        ({"chunk_s": 0}, "chunk_s=0"),
        ({"seed": -1}, "seed=-1"),
        ({"device": "abacus"}, "device='abacus'"),
        ({"precision": "double"}, "precision='double'"),
        ({"bad_channel_ids": ["?"]}, "bad_channel_ids"),
        ({"sorting": "spikes"}, "sorting='spikes'"),
        ({"clean": "traces"}, "clean='traces'"),
        ({"model": {}}, "model is empty"),
        ({"model": {"raw": "x"}}, "the name 'raw'"),
        ({"model": ["a/net", "b/net"]}, "other names"),
        ({"model": 3}, "model=3"),
    ],
)
def test_errors_come_before_data_is_read(arguments, message):
    recording = with_probe([np.zeros((10_000, 4), "float32")])
    model = ridge_model(recording)
    recording.get_traces = Unread.get_traces
    for segment in recording.segments:
        segment.get_traces = Unread.get_traces
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        evaluated(recording, arguments.pop("model", model), **arguments)


def test_sorting_clean_and_model_must_fit():
    recording, sorting, clean = simulated(samples=(8_000,))
    model = ridge_model(recording)
    with pytest.raises(ValueError, match="sorting has 2 segments"):
        evaluated(recording, model, si.append_sortings([sorting, sorting]))
    with pytest.raises(ValueError, match="clean has samples and channels"):
        evaluated(recording, model, clean=clean.frame_slice(0, 100))
    other = si.NumpySorting.from_unit_dict([{}], 20_000.0)
    with pytest.raises(ValueError, match="sorting has a sampling frequency of 20000"):
        evaluated(recording, model, other)
    pair = with_probe([np.zeros((8_000, 6), "float32")])
    pair.set_probe(si.generate_recording(num_channels=6, durations=[1.0]).get_probe())
    with pytest.raises(ValueError, match="cannot denoise"):
        evaluated(pair, model)


def test_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    recording, sorting, clean = simulated(samples=(16_000,))
    result = evaluated(recording, ridge_model(recording), sorting, clean)
    folder = tmp_path / "evaluation"
    names = {file.name for file in result.save(folder)}
    assert {"summary.csv", "units.csv", "by_size.csv", "evaluation.json", "evaluation.md"} < names
    assert {"measures.png", "traces.png", "templates.png"} < names
    pd.testing.assert_frame_equal(pd.read_csv(folder / "summary.csv"), result.summary)
    pd.testing.assert_frame_equal(pd.read_csv(folder / "units.csv"), result.units, check_dtype=False)
    content = json.loads((folder / "evaluation.json").read_text())
    assert content["settings"]["start_s"] == 0.8
    assert content["summary"][0]["mse"] is None
    assert content["settings"]["models"]["model"]["model"] is None
    assert (folder / "evaluation.md").read_text() == str(result)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        result.save(folder)
    (folder / "old.txt").touch()
    for name in ("plot", "plot_traces", "plot_templates"):
        monkeypatch.setattr(type(result), name, lambda self: Figure())
    assert {file.name for file in result.save(folder, overwrite=True)} == names
    (tmp_path / "other").mkdir()
    with pytest.raises(FileExistsError, match="is no evaluation"):
        result.save(tmp_path / "other", overwrite=True)

    def fails(self):
        raise OSError("disk is full")

    monkeypatch.setattr(type(result), "plot_traces", fails)
    with pytest.raises(OSError, match="disk is full"):
        result.save(tmp_path / "never")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["evaluation", "other"]


def test_figures_of_little_and_of_nothing():
    recording, sorting, _ = simulated(samples=(8_000,))
    nothing = with_probe([np.zeros((8_000, 4), "float32")])
    for result in (
        evaluated(nothing, ridge_model(nothing)),
        evaluated(recording, ridge_model(recording)),
        evaluated(recording, ridge_model(recording), sorting, min_spikes=1_000),
    ):
        for figure in (result.plot(), result.plot_traces()):
            figure.canvas.draw()
        with pytest.raises(ValueError, match="no unit that was measured"):
            result.plot_templates()


def test_the_text_has_all_methods_and_sizes():
    recording, sorting, clean = simulated(samples=(16_000,))
    text = evaluated(recording, ridge_model(recording), sorting, clean).to_markdown()
    lines = text.splitlines()
    assert [cell.strip() for cell in lines[0].split("|")][2:6] == ["raw", "center", "linear", "model"]
    assert len({len(line) for line in lines if line.startswith("|")}) == 3
    for words in (
        "held-out loss: mean squared",
        "median absolute amplitude bias, small (SNR < 5)",
        "d', true",
    ):
        assert words in text


# arrays


def test_scores_of_chunks_are_those_of_whole_traces():
    rng = np.random.default_rng(3)
    traces = rng.standard_normal((900, 4)).astype("float32")
    events = UnitEvents(
        np.arange(0),
        np.array([40, 41, 90]),
        np.array([91, 300, 640]),
        np.array([150, 400, 401, 700]),
        np.array([1, 3]),
        3,
    )
    true = rng.standard_normal((7, 2))
    gathered = UnitSums([events], 3, 4, [true])
    for start in range(0, 900, 100):
        low, high = max(0, start - 3), min(900, start + 104)
        gathered.add(traces[low:high], low, start, start + 100)
    cut = {
        name: np.array([traces[t - 3 : t + 4][:, [1, 3]] for t in getattr(events, name)], "float64")
        for name in ("train", "test", "noise")
    }
    own = cut["train"].mean(axis=0)
    np.testing.assert_allclose(
        gathered.templates()[0], np.concatenate([cut["train"], cut["test"]]).mean(axis=0), atol=1e-12
    )
    for kind, template in ((SELF, own), (TRUE, true)):
        scores = [np.array([np.sum(one * template) for one in cut[name]]) for name in ("test", "noise")]
        wanted = (scores[0].mean() - scores[1].mean()) / np.sqrt(sum(one.var(ddof=1) for one in scores) / 2)
        assert gathered.d_primes(kind)[0] == pytest.approx(wanted, rel=1e-9)
        for place, one in ((SPIKES, scores[0]), (NOISE, scores[1])):
            np.testing.assert_allclose(
                gathered.moments[kind, place, 0], [one.size, one.sum(), (one**2).sum()]
            )


def test_what_follows_a_spike_too_soon_is_counted():
    traces = np.zeros((400, 2), "float32")
    unit = UnitEvents(
        np.arange(0), np.array([50, 150]), np.array([250, 350]), np.zeros(0, "int64"), np.array([0, 1]), 1
    )
    traces[[50, 150, 250, 350], 1] = -10.0
    # too small, on another channel, of the other sign, within the spike itself, and one that counts
    traces[60, 1], traces[160, 0], traces[168, 1], traces[252, 1], traces[365, 1] = -4, -9, 9, -9, -6
    gathered = UnitSums([unit], 5, 20)
    gathered.add(traces, 0, 0, 200)
    gathered.add(traces[195:], 195, 200, 400)
    assert gathered.repeated(0, -10.0, 3.0) == 0.25
    assert gathered.repeated(0, -10.0, 7.0) == 0
    assert gathered.repeated(0, 10.0, 3.0) == 0.25
    assert np.isnan(UnitSums([unit], 5, 20).repeated(0, 1.0, 1.0))


def test_d_prime_of_too_little_is_not_known():
    moments = np.array([[1.0, 3.0, 9.0], [0.0, 0.0, 0.0], [4.0, 8.0, 16.0]])
    assert np.isnan(d_prime(moments, np.tile([5.0, 1.0, 7.0], (3, 1)))[:2]).all()
    assert np.isnan(d_prime(moments, moments)).all()


def test_noise_times_stay_away_from_spikes():
    rng = np.random.default_rng(0)
    spikes = np.sort(rng.integers(0, 5_000, 60))
    spans = np.array([[100, 900], [2_000, 2_000], [3_000, 4_800]])
    times = draw_noise_times(rng, spikes, 500, spans, 25, 200)
    allowed = [t for t in [*range(500, 900), *range(3_000, 4_800)] if np.min(np.abs(spikes - t)) >= 25]
    assert 150 < len(times) <= 200
    assert set(times) <= set(allowed)
    assert np.all(np.diff(times) > 0)
    assert times[0] < 900
    assert times[-1] > 3_000
    assert not draw_noise_times(rng, spikes, 4_800, spans, 25, 200).size
    assert not draw_noise_times(rng, np.arange(5_000), 0, spans, 25, 200).size
    np.testing.assert_array_equal(
        distance_to_events(times, spikes), [np.min(np.abs(spikes - time)) for time in times]
    )
    assert (distance_to_events(times, spikes[:0]) > 10**9).all()


def test_noise_is_measured_away_from_units_of_a_channel():
    rng = np.random.default_rng(1)
    traces = rng.standard_normal((400, 3)).astype("float32")
    none = np.zeros(0, "int64")
    unit = UnitEvents(np.array([50, 200]), none, none, none, np.array([0, 2]), 0)
    times = np.unique(rng.integers(0, 400, 300))
    quiet = quiet_times(times, [unit], 30, 3)
    wanted = np.array([[c == 1 or min(abs(t - 50), abs(t - 200)) >= 30 for c in range(3)] for t in times])
    np.testing.assert_array_equal(quiet, wanted)
    traces[times[0]] = np.nan
    samples = NoiseSamples(times, 3)
    for start in (0, 150, 300):
        samples.add(traces[start : start + 150], start, start, start + 150)
    values = traces[times[wanted[:, 0]], 0].astype("float64")
    values = values[np.isfinite(values)]
    deviation = 1.4826 * np.median(np.abs(values - np.median(values)))
    assert samples.noise(quiet, 10)[0] == pytest.approx(deviation, rel=1e-4)
    assert np.isnan(samples.noise(quiet, 301)).all()


def test_templates_compared_with_themselves():
    template = waveform(1, 5.0, 3)
    assert compare_templates(template, template, 1) == pytest.approx((0, 1, 0), abs=1e-12)
    assert compare_templates(-2 * template, template, 1) == pytest.approx((-3, -2, 2))
    assert np.isnan(compare_templates(template, 0 * template, 1)).all()


def test_losses_and_errors_leave_out_what_is_not_finite():
    losses = TraceLosses()
    losses.add(np.array([[1.0, np.nan], [-3.0, np.inf]], "float32"))
    losses.add(np.array([[0.0]], "float32"))
    assert losses.means()["mse"] == pytest.approx(10 / 3)
    assert losses.means()["mae"] == pytest.approx(4 / 3)
    assert np.isnan(TraceLosses().means()["mse"])
    errors = CleanErrors()
    errors.add(np.array([1.0, 3.0, np.nan, -5.0]), np.array([True, False, True, False]))
    assert errors.values() == pytest.approx(
        {
            "rms_error": np.sqrt(35 / 3),
            "rms_error_in_spikes": 1.0,
            "rms_error_outside": np.sqrt(17.0),
        }
    )
