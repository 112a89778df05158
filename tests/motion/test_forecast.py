"""The forecast of memory and time."""

import numpy as np
import pytest
import spikeinterface.full as si

from steadyspike.kernels.motion import registration
from steadyspike.motion import forecast
from steadyspike.motion.costs import Costs, problem_size
from steadyspike.motion.decentralized import DecentralizedSettings
from steadyspike.motion.forecast import forecast_motion
from steadyspike.motion.settings import WindowSettings
from steadyspike.peaks.on_disk import compute_peaks
from steadyspike_benchmarks import motion_costs
from steadyspike_benchmarks.memory import simulate_wandering_peaks, unread_recording


@pytest.fixture(scope="module")
def simulated():
    return simulate_wandering_peaks(0.05, 30.0, num_channels=32)


def test_sizes_are_those_of_the_registration(simulated, monkeypatch):
    seen = {}
    register_pairs = registration.register_pairs

    def spy_pairs(spikes, depths_um, windows, *args, **kwargs):
        pairs = register_pairs(spikes, depths_um, windows, *args, **kwargs)
        seen.update(num_peaks=spikes.depths_um.size, num_depths=depths_um.size, num_windows=len(windows))
        seen.update(num_times=len(pairs.displacement), num_lags=pairs.lags.size)
        return pairs

    monkeypatch.setattr(registration, "register_pairs", spy_pairs)
    windows = dict(win_step_um=80.0, win_scale_um=80.0, win_margin_um=0.0)
    arguments = dict(method="steady_decentralized", bin_s=2.0, **windows)
    from spikeinterface.sortingcomponents.motion import estimate_motion

    estimate_motion(simulated.recording, simulated.peaks, simulated.peak_locations, **arguments)
    size = problem_size(
        simulated.recording,
        simulated.peaks.size,
        WindowSettings.of(**windows),
        DecentralizedSettings.of(bin_s=2.0),
    )
    # borders of the raster, and a window for the whole probe, are not counted to the last
    tolerance = dict(num_depths=2, num_windows=1)
    assert size.num_windows == 4
    for name, number in seen.items():
        assert abs(getattr(size, name) - number) <= tolerance.get(name, 0), name


def test_estimator_tells_before_it_starts_if_asked(simulated, capsys):
    from spikeinterface.sortingcomponents.motion import estimate_motion

    arguments = (simulated.recording, simulated.peaks, simulated.peak_locations)
    estimate_motion(*arguments, method="steady_decentralized", rigid=True, time_horizon_s=None, verbose=True)
    assert "of memory" in capsys.readouterr().out
    estimate_motion(*arguments, method="steady_decentralized", rigid=True)
    assert "about" not in capsys.readouterr().out


def test_everything_grows_with_duration_linearly():
    forecasts = []
    for hours in (6.0, 12.0, 24.0):
        recording = unread_recording(hours)
        forecasts.append(
            forecast_motion(recording, peaks_per_s=120.0, estimate_motion_kwargs=dict(win_step_um=400.0))
        )
    base_mb = forecast.MEASURED["steady_decentralized"].base_mb
    memory = [told.estimate_memory_mb - base_mb for told in forecasts]
    np.testing.assert_allclose(np.array(memory) / memory[0], [1, 2, 4], rtol=0.01)
    assert [told.num_peaks for told in forecasts] == [120 * 3600 * hours for hours in (6, 12, 24)]
    assert 500 < forecasts[2].memory_mb < 4000
    assert forecasts[2].peaks_disk_mb == pytest.approx(64 * 120 * 86400 / 1e6)
    text = str(forecasts[2])
    for words in (
        "24.0 h of 384 channels",
        "10,368,000 peaks (at 120 per s; 664 MB on disk)",
        "estimate motion: about",
    ):
        assert words in text
    assert "find peaks" not in text


def test_data_tell_the_rate_and_the_time_of_detection(tmp_path):
    recording, _ = si.generate_ground_truth_recording(
        durations=[6.0, 4.0], num_channels=8, num_units=5, seed=2
    )

    told = forecast_motion(recording, preset="rigid_fast", n_jobs=1, chunk_duration="1s", progress_bar=False)
    assert "from 2 s of data" in told.peaks_from
    assert told.detect_s > 0
    assert told.detect_memory_mb > 100
    # dredge_ap was not measured
    assert told.estimate_s is told.memory_mb is None
    assert "not known for dredge_ap" in str(told)
    peaks, _ = compute_peaks(recording, tmp_path / "peaks", preset="rigid_fast", n_jobs=1, progress_bar=False)
    assert told.num_peaks == pytest.approx(len(peaks), rel=0.5)
    again = forecast_motion(recording, preset="rigid_fast", peaks=peaks)
    assert again.num_peaks == len(peaks)
    assert again.detect_s is None


@pytest.mark.parametrize("durations", [[0.05], [1.0, 0.01, 3.0], [10.0]])
def test_pieces_lie_in_their_segments(durations):
    recording = si.generate_recording(num_channels=4, durations=durations, sampling_frequency=1000.0)
    pieces = forecast._pieces(recording)
    assert len(pieces) == 4
    for segment, first, last in pieces:
        assert 0 <= first <= last <= recording.get_num_samples(segment)
    assert sum(last - first for _, first, last in pieces) <= 2000


def test_wrong_rate_is_refused(simulated):
    for rate in (-1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"^forecast_motion: peaks_per_s={rate}; allowed: a number >= 0"):
            forecast_motion(simulated.recording, peaks_per_s=rate)


@pytest.mark.parametrize(
    ("preset", "changes", "message"),
    [
        ("steady_nonrigid", dict(bin_um=-1.0), "steady_decentralized: bin_um=-1.0; allowed: a number > 0 um"),
        (
            "steady_auto",
            dict(bin_s=0),
            "steady_auto: bin_s=0; allowed: a number >= 1e-05",
        ),
        ("steady_auto", dict(bin_um=4.0), "steady_auto: bin_um is no parameter"),
        ("steady_rigid", dict(win_step_um=0), "estimate_motion: win_step_um=0; allowed: a number > 0 um"),
    ],
)
def test_changes_that_cannot_work_are_refused(simulated, preset, changes, message):
    with pytest.raises(ValueError, match=message):
        forecast_motion(simulated.recording, preset=preset, estimate_motion_kwargs=changes, peaks_per_s=10.0)


def test_fit_finds_the_costs_that_made_the_numbers():
    known = Costs(200.0, 60.0, 5.0, 30.0, 5e-8, 2e-10, 2e-6, 0.01)
    results = []
    for case in motion_costs.CASES:
        made = dict(
            hours=case.hours,
            num_channels=case.num_channels,
            win_step_um=case.win_step_um,
            win_scale_um=case.win_scale_um,
            num_peaks=round(case.hours * 3600 * case.peaks_per_second),
        )
        size = motion_costs.size_of(made)
        made.update(imports_mb=200.0, peak_mb=size.memory_mb(known), cpu_seconds=size.seconds(known))
        results.append(made)
    found = motion_costs.fit_costs(results, 0.01)
    for name in Costs.__dataclass_fields__:
        assert getattr(found, name) == pytest.approx(getattr(known, name), rel=1e-6), name
    text = motion_costs.format_costs("steady_decentralized", found, 2.5)
    assert "bytes_per_peak=60.0," in text
    assert "BYTES_PER_CHUNK_BYTE = 2.5" in text


def test_words_for_durations():
    assert [forecast.in_words(s) for s in (0.2, 3.0, 89.0, 600.0, 86_400.0)] == [
        "less than 1 s",
        "3 s",
        "89 s",
        "10 min",
        "24.0 h",
    ]
