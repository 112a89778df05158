"""Presets held against a manipulator: the documented layouts, what is measured, the page, and that it goes on."""

import json
import re

import imposed_imitation as imitation
import numpy as np
import pytest
import spikeinterface.full as si
from cli_runner import run_benchmark
from spikeinterface.core.motion import Motion

from steadyspike.cli.reading import open_recording
from steadyspike.core.loading_errors import LoadingError
from steadyspike_benchmarks.imposed import course, measures, page
from steadyspike_benchmarks.imposed.study import ImposedStudy, check_treatments

HOW = dict(probe=None, segment=None, reader_option=None)
ZIGZAG = course.Course(
    np.array([0.0, 10.0, 20.0, 30.0, 40.0]), np.array([0.0, 0.0, 30.0, 0.0, 0.0]), "a zigzag"
)
MOVES = 25.0 * np.array([0, 1] * 10)
"""Positions at the beginnings of the moves of DANDI 000957, and at the end of the last."""


@pytest.fixture(scope="module")
def imitated():
    return imitation.simulate()


@pytest.fixture(scope="module")
def study(imitated, tmp_path_factory):
    """A study of an imposed-motion set, run twice, with a sorter that finds three units or fails."""
    samples, _, seconds, positions = imitated
    place = tmp_path_factory.mktemp("jane doe")
    recording = imitation.write_imposed_set(place / "dataset1", samples, seconds, positions)
    calls = []

    def sort(sorter, traces, folder, **_):
        calls.append(traces.get_traces(0, 200_000, 200_100))
        if len(calls) == 2:
            raise RuntimeError(f"cannot write {folder}")
        trains = {unit: np.arange(5000 * (1 + unit), traces.get_num_samples(), 3000) for unit in range(3)}
        trains[2] = trains[2][:40]
        return si.NumpySorting.from_unit_dict(trains, traces.sampling_frequency)

    options = "--preset steady_auto,dredge_fast --preprocess none --sorter lupin --treatment uncorrected;steady_auto"
    arguments = ["imposed", recording, "-o", place / "out", *options.split()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikeinterface.sorters.run_sorter", sort)
        patch.setattr("spikeinterface.sorters.installed_sorters", lambda: ["lupin"])
        done = run_benchmark(*arguments)
        assert done.exit_code == 0, done.output
        # all is there: neither a peak nor a motion is computed again
        patch.setattr("steadyspike_benchmarks.estimation.estimate", None)
        patch.setattr("steadyspike_benchmarks.imposed.study.find_peaks", None)
        again = run_benchmark(*arguments)
    assert again.exit_code == 0, again.output
    results = {file.stem: json.loads(file.read_text()) for file in (place / "out" / "results").glob("*.json")}
    return place, results, calls


def test_presets_are_held_against_the_course(study):
    _, results, calls = study
    assert len(calls) == 2
    assert results["manipulator"]["sign"] == -1
    for name, within in (("steady_auto", 0.15), ("dredge_fast", 0.25)):
        one = results[name]
        # the manipulator went farther than the tissue was seen to move
        assert one["gain"] == pytest.approx(imitation.GAIN, abs=within)
        assert one["true_span_um"] == pytest.approx(imitation.AMPLITUDE_UM / imitation.GAIN, rel=0.1)
        assert one["error_with_gain_um"] < one["mean_error_um"] < one["uncorrected_error_um"] / 2
        assert abs(one["lag_s"]) <= 0.5
        assert one["sharpness_after"] > one["sharpness_before"]
        assert one["trust"]["verdict"] == "correct"


def test_sorters_are_counted_without_a_truth(study):
    _, results, calls = study
    assert results["uncorrected--lupin"]["units"] == 3
    # the third falls silent early
    assert results["uncorrected--lupin"]["clean"] == 2
    assert "failed" in results["steady_auto--lupin"]
    uncorrected, corrected = calls
    assert np.abs(uncorrected - corrected).max() > 0


def test_the_page_can_be_sent(study):
    place, _, _ = study
    text = (place / "out" / page.PAGE).read_text(encoding="utf8")
    assert (place / "out" / page.FIGURE).stat().st_size > 10_000
    assert f"]({page.FIGURE})" in text
    assert "Neuropixels 1.0" in text
    assert re.search(r"\| steady_auto \| \d\.\d\d \|", text)
    assert "| uncorrected | lupin | 3 | 2 |" in text
    assert "- lupin after steady_auto failed: RuntimeError: cannot write (path)\n" in text
    assert "not run:" in text
    for private in ("doe", "dataset1", "12345678", str(place)):
        assert private not in text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("no file '/home/jane doe/raw.bin'", "no file '(path)"),
        (r"at C:\Users\jane", "at (path)"),
        ("~/jane", "(path)"),
        ("2 um/s, 1/2 of it", "2 um/s, 1/2 of it"),
    ],
)
def test_paths_are_cut(text, plain):
    assert page.without_paths(text) == plain


def test_another_recording_or_course_is_refused(study, imitated):
    place, _, _ = study
    opened = open_recording(place / "dataset1" / "p1", **HOW)
    assert opened.get_start_time() == pytest.approx(imitation.FIRST_SAMPLE / 30_000)
    for folder, words in ((place / "out", "another recording"), (place / "dataset1", "something else")):
        with pytest.raises(ValueError, match=words):
            ImposedStudy(folder, opened.clone(), ZIGZAG)
    with pytest.raises(
        LoadingError, match="covers 90 to 130 s and does not move within the recording's 0 to 16"
    ):
        ImposedStudy(
            place / "new", opened, course.Course(ZIGZAG.times_s + 90, ZIGZAG.positions_um, "a zigzag")
        )
    with pytest.raises(LoadingError, match="2 segments; allowed: 1"):
        ImposedStudy(place / "new", si.append_recordings([opened, opened]), ZIGZAG)
    with pytest.raises(LoadingError, match="all contacts at one depth"):
        ImposedStudy(place / "new", opened.select_channels(opened.channel_ids[:2]), ZIGZAG)
    assert not (place / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "neither manip.positions.npy"),
        (["--course", "absent.csv"], "--course absent.csv is no file"),
        (["--preset", "best"], "--preset best is not known; allowed: steady_auto"),
        (["--sorter", "best"], "--sorter best is not known"),
        (
            ["--treatment", "static"],
            "--treatment static cannot work; allowed: uncorrected and motion presets",
        ),
    ],
)
def test_bad_options_are_refused_at_once(tmp_path, arguments, words):
    (tmp_path / "recording").mkdir()
    done = run_benchmark("imposed", tmp_path / "recording", "-o", tmp_path / "out", *arguments)
    assert done.exit_code == 2
    assert words in re.sub(r"\s+", " ", done.output)
    assert not (tmp_path / "out").exists()


def test_a_csv_gives_a_course(tmp_path):
    file = tmp_path / "course.csv"
    file.write_text("\ufeffposition_um,note,time_s\n5,begin,0\n45,end,20\n", encoding="utf8")
    found = course.find_course(tmp_path, file)
    np.testing.assert_allclose(found.at(np.array([-1.0, 0.0, 5.0, 30.0])), [5.0, 5.0, 15.0, 45.0])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("time,position\n0,0\n1,30\n", "allowed: a CSV with the columns time_s,position_um"),
        ("time_s,position_um\n0,0\n1,far\n", "could not convert"),
        ("time_s,position_um\n0,0\n1\n", "cannot be read"),
        ("time_s,position_um\n", "0 times and 0 positions; allowed: as many of both, and two or more"),
        ("time_s,position_um\n0,0\n2,30\n1,0\n", "times that go back"),
        ("time_s,position_um\n0,0\n2,nan\n", "not finite"),
        ("time_s,position_um\n0,0\n2,0.03\n", "spans 0.03 um; allowed: 1 um or more. Are positions in um?"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path, text, words):
    file = tmp_path / "course.csv"
    file.write_text(text)
    with pytest.raises(LoadingError, match=re.escape(words)):
        course.find_course(tmp_path, file)


def test_each_probe_of_an_imposed_set_has_its_times(tmp_path):
    samples = np.zeros((10, 4), "int16")
    own = imitation.write_imposed_set(tmp_path, samples, np.array([0.0, 10.0]), np.array([0.0, 50.0]))
    for path in (tmp_path, own, next(own.glob("*.bin"))):
        assert course.find_course(path, None).times_s.tolist() == [0.0, 10.0]
    other = tmp_path / "NP2"
    other.mkdir()
    assert course.find_course(other, None).times_s.tolist() == [3.0, 13.0]
    (other / "p2_g0_t0.imec0.ap.bin").touch()
    with pytest.raises(LoadingError, match="several probes, p1 and p2; name one"):
        course.find_course(tmp_path, None)
    (tmp_path / "manip.timestamps_p2.npy").unlink()
    (tmp_path / "manip.timestamps_p3.npy").touch()
    with pytest.raises(LoadingError, match=r"which of manip.timestamps\*.npy belongs to it"):
        course.find_course(other, None)
    (tmp_path / "manip.timestamps_p3.npy").unlink()
    (tmp_path / "manip.timestamps_p1.npy").rename(tmp_path / "manip.timestamps.npy")
    assert course.find_course(other, None).times_s.tolist() == [0.0, 10.0]


def trigger(starts, high_s, rate=10.0):
    """High for some seconds from each start on."""
    signal = np.full(round(rate * 700), 12, "int16")
    for start in starts:
        signal[round(start * rate) : round((start + high_s) * rate)] = 900
    return signal


@pytest.mark.parametrize(("every", "high_s"), [(30.0, 1.0), (60.0, 30.0)])
def test_the_trigger_of_an_nwb_file_gives_a_course(imitated, tmp_path, monkeypatch, every, high_s):
    """A pulse for each move of 25 s every 30 s, or high while the manipulator goes forward."""
    monkeypatch.setattr(course, "TRIGGER_BLOCK", 333)
    file, starts = tmp_path / "session.nwb", np.arange(40.0, 600.0, every)[: 19 if every == 30 else 10]
    imitation.write_nwb(file, imitated[0][:90_000], imitated[1], 55.0, trigger(starts, high_s), 10.0)
    found = course.find_course(file, None)
    moves = 40.0 + 30.0 * np.arange(20)
    np.testing.assert_allclose(found.at(moves - 0.1), MOVES)
    np.testing.assert_allclose(found.at(moves[:-1] + 12.5), 12.5)
    opened = open_recording(file, **(HOW | course.reading_hints(file)))
    assert opened.get_num_channels() == imitation.NUM_CHANNELS
    np.testing.assert_allclose(opened.get_channel_locations(), imitated[1].contact_positions)
    # its first sample was recorded at 55 s
    assert found.from_first_sample(opened).at(np.array([0.0, 2.0])).tolist() == [15.0, 17.0]


def test_a_trigger_that_is_not_as_documented_is_refused(imitated, tmp_path):
    file = tmp_path / "session.nwb"
    imitation.write_nwb(file, imitated[0][:100], imitated[1], 0.0, trigger([10.0, 40.0], 1.0), 10.0)
    with pytest.raises(
        LoadingError, match="rises 2 and falls 2 times; allowed: a pulse for each of 19 moves"
    ):
        course.find_course(file, None)
    (tmp_path / "other.nwb").write_text("no HDF5")
    with pytest.raises(LoadingError, match="is no NWB file that h5py opens"):
        course.find_course(tmp_path / "other.nwb", None)


def recording_of(duration_s):
    recording, _ = si.generate_ground_truth_recording(
        durations=[duration_s], num_channels=8, num_units=1, seed=0
    )
    return recording


def test_gain_and_lag_are_those_of_the_motion():
    recording = recording_of(40.0)
    truth = measures.as_truth(ZIGZAG, recording, -1)
    times, depths = np.arange(0.25, 40.0, 0.5), np.array(truth.depth_range_um)
    late = -ZIGZAG.at(times - 2.0)[:, np.newaxis]
    found = measures.compare_with_course(truth, Motion([late * [0.4, 0.8]], [times], depths))
    assert found["lag_s"] == 2.0
    on_time = -ZIGZAG.at(times)[:, np.newaxis]
    found = measures.compare_with_course(truth, Motion([7.0 + on_time * [0.4, 0.8]], [times], depths))
    assert found["lag_s"] == 0.0
    assert found["gain"] == pytest.approx(0.6, abs=0.01)
    assert found["gain_range"] == pytest.approx([0.4, 0.8], abs=0.01)
    assert found["error_with_gain_um"] < 0.2
    still = measures.compare_with_course(truth, Motion([np.zeros((80, 1))], [times], depths[:1]))
    assert (still["gain"], still["lag_s"]) == (0.0, None)


def test_units_that_follow_the_manipulator_are_counted():
    recording, rng = recording_of(800.0), np.random.default_rng(0)
    positions = np.concatenate([[0.0, 0.0], 25.0 * (np.arange(9) % 2), [0.0]])
    moved = course.Course(np.concatenate([[0.0], 200 + 50.0 * np.arange(10), [800.0]]), positions, "a zigzag")
    times = np.sort(rng.uniform(0, 800, 16_000))
    near = times[rng.uniform(size=times.size) < 0.2 + moved.at(times) / 40.0]
    stops = times[times < 600]
    doubled = np.concatenate([times[::4], times[::4] + 0.0005])
    trains = dict(
        steady=times[::2][np.diff(times[::2], prepend=-1) > 0.002], follows=near[::3], stops=stops[::5]
    )
    trains["doubled"] = np.sort(doubled)
    frames = {
        unit: np.round(train * recording.sampling_frequency).astype(int) for unit, train in trains.items()
    }
    found = si.NumpySorting.from_unit_dict(frames, recording.sampling_frequency)
    counts = measures.unit_measures(found, measures.as_truth(moved, recording, 1))
    assert counts == dict(units=4, clean=2, follow=1, rated=4)


def test_an_empty_sorting_has_no_units():
    nothing = si.NumpySorting.from_unit_dict({}, 30_000.0)
    counts = measures.unit_measures(nothing, measures.as_truth(ZIGZAG, recording_of(40.0), 1))
    assert set(counts.values()) == {0}


def test_networks_and_static_recordings_are_no_treatments_here():
    for name in ("static", "steady-np1 prediction, steady_auto"):
        with pytest.raises(ValueError, match="allowed: uncorrected and motion presets"):
            check_treatments([name])
