import numpy as np
import pytest

from steadyspike.simulation.noisy import simulate_noisy_recording
from steadyspike_benchmarks import denoising_data
from steadyspike_benchmarks.denoising_data import train_ridge
from steadyspike_benchmarks.denoising_detection import (
    DENOISED,
    LINEAR,
    METHODS,
    RAW,
    Matched,
    match_peaks,
    run_detection_benchmark,
)
from steadyspike_benchmarks.denoising_detection_tables import format_detection_tables, write_detection_report


def matched(peaks, spikes):
    """Peaks: (sample, depth, height); spikes: (sample, depth, amplitude)."""
    peaks, spikes = np.array(peaks, float).reshape(-1, 3), np.array(spikes, float).reshape(-1, 3)
    where = [np.stack([np.zeros(len(each)), each[:, 1]], axis=1) for each in (peaks, spikes)]
    return match_peaks(
        peaks[:, 0].astype(int),
        where[0],
        peaks[:, 2],
        spikes[:, 0].astype(int),
        where[1],
        spikes[:, 2],
        window=15,
    )


def test_a_spike_is_found_once_by_the_highest_peak_near_it():
    found = matched([(100, 0, 5), (104, 20, 9), (300, 0, 4)], [(102, 0, 50)])
    assert found.spike_heights.tolist() == [9]
    assert found.num_repeated == 1
    assert found.false_heights.tolist() == [4]


def test_two_spikes_at_one_time_need_two_peaks_and_the_larger_is_found_first():
    spikes = [(100, 0, 20), (105, 30, 80)]
    assert matched([(101, 10, 7)], spikes).spike_heights.tolist() == [-np.inf, 7]
    assert matched([(101, 10, 7), (103, 0, 3)], spikes).spike_heights.tolist() == [3, 7]


@pytest.mark.parametrize(
    ("sample", "depth", "kind"),
    [(115, 75, "found"), (116, 0, "false"), (84, 0, "false"), (85, 0, "found"), (100, 76, "repeated")]
    + [(100, 150, "repeated"), (100, 151, "false")],
)
def test_limits_in_time_and_space(sample, depth, kind):
    got = matched([(sample, depth, 6)], [(100, 0, 50)])
    assert {
        "found": got.spike_heights[0] == 6,
        "false": got.false_heights.size == 1,
        "repeated": got.num_repeated == 1,
    }[kind]
    assert (got.spike_heights[0] == 6) + got.false_heights.size + got.num_repeated == 1


def test_nothing_to_match():
    got = matched([], [])
    assert got.spike_heights.size == got.false_heights.size == got.num_repeated == 0
    assert matched([(5, 0, 3)], []).false_heights.tolist() == [3]


def test_thresholds_leave_so_many_false_positives():
    got = Matched(np.array([3.0, 5.0, 6.0, -np.inf]), np.array([7.0, 5.0, 5.0, 4.0]), 0)
    for number, expected in ((0, 7), (1, 5), (3, 4), (3.9, 4)):
        threshold = got.threshold(number)
        assert (got.false_heights >= threshold).sum() <= number
        assert threshold == pytest.approx(expected)
    assert got.found(got.threshold(1)).tolist() == [False, False, True, False]
    assert got.found(got.threshold(9)).tolist() == [True, True, True, False]


def test_raising_the_threshold_is_matching_fewer_peaks():
    rng = np.random.default_rng(0)
    peaks = np.stack([rng.integers(0, 3000, 300), rng.uniform(0, 400, 300), rng.uniform(3, 9, 300)], axis=1)
    spikes = np.stack(
        [np.sort(rng.integers(0, 3000, 80)), rng.uniform(0, 400, 80), rng.uniform(9, 90, 80)], axis=1
    )
    whole, cut = matched(peaks, spikes), matched(peaks[peaks[:, 2] >= 6], spikes)
    assert np.array_equal(whole.found(6.0), cut.found(6.0))
    assert np.array_equal(whole.false_heights[whole.false_heights >= 6], cut.false_heights)


def test_study_counts_with_and_without_denoising_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(denoising_data, "RIDGE_ROWS", 4_000)
    trained = simulate_noisy_recording("np1", num_channels=8, duration_s=2.0, seed=77)
    train_ridge([trained.recording], tmp_path / "model")
    lines = []
    arguments = dict(noise_factors=(1.0,), seeds=(0,), num_channels=8, duration_s=2.0, train_recordings=1)
    arguments |= dict(device="cpu", tell=lines.append, progress_bar=False)
    results = run_detection_benchmark(tmp_path / "study", tmp_path / "model", **arguments)
    assert results == run_detection_benchmark(tmp_path / "study", tmp_path / "model", **arguments)
    assert len(lines) == 1
    (result,) = results
    assert list(result["methods"]) == list(METHODS)
    for method in result["methods"].values():
        for size, found in method["found"].items():
            # more false positives allowed, more spikes found, never more than there are
            assert found == sorted(found)
            assert found[-1] <= result["num_spikes"][size]
    assert result["methods"][RAW]["found"]["large"][-1] > 0.8 * result["num_spikes"]["large"]
    assert result["methods"][LINEAR]["found"] != result["methods"][RAW]["found"]
    text = write_detection_report(tmp_path / "study", results)
    assert DENOISED in text
    assert "Where denoising does not help" in text
    assert (tmp_path / "study" / "detection.png").stat().st_size > 1000


def test_tables_tell_where_it_does_not_help():
    sizes = ("small", "medium", "large")

    def method(number):
        return dict(thresholds=[4.0], found={size: [number] for size in sizes}, repeated=1, false=3)

    result = dict(
        probe="np1",
        num_channels=8,
        duration_s=3.0,
        seed=0,
        noise_factor=1.0,
        model="/some/model",
        rates=[0.1],
    )
    result |= dict(num_spikes=dict.fromkeys(sizes, 50))
    numbers = dict(zip(METHODS, (10, 20, 15, 25), strict=True))
    better = dict(result, methods={name: method(number) for name, number in numbers.items()})
    assert "Nowhere" in format_detection_tables([better])
    worse = dict(better, methods={**better["methods"], DENOISED: method(20)})
    text = format_detection_tables([worse])
    assert "Nowhere" not in text
    assert "small units: at 0.1 (40.0 % instead of 40.0 %)" in text


def test_what_cannot_be_is_refused_before_anything_is_simulated(tmp_path):
    with pytest.raises(ValueError, match="no model"):
        run_detection_benchmark(tmp_path / "study", "no-such-model")
    assert not (tmp_path / "study").exists()
