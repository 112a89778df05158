"""Two sortings beside each other."""

import kilosort_folders as made
import numpy as np
import pytest
import spikeinterface.full as si

from steadyspike import kilosort
from steadyspike.sorting import compare_sortings


def sorting(trains, **properties):
    found = si.NumpySorting.from_unit_dict([dict(trains)], made.FS)
    for name, values in properties.items():
        found.set_property(name, np.array(values, dtype="float64"))
    return found


@pytest.fixture(scope="module")
def trains():
    return made.trains(num_units=6)


def test_units_match_are_lost_and_are_gained(trains):
    first = sorting(enumerate(trains[:4]))
    jittered = {f"u{unit}": trains[unit][: trains[unit].size * 3 // 4] + 5 for unit in (1, 2, 3)}
    second = sorting(
        {**jittered, "new": trains[4], "junk": trains[5]}.items(),
        snr=[3, 8, 30, 4, 12],
        y=[0, 50, 110, 450, 500],
    )
    result = compare_sortings(first, second, names=("plain", "corrected"))
    assert result.matched["first"].tolist() == [1, 2, 3]
    assert result.matched["second"].tolist() == ["u1", "u2", "u3"]
    np.testing.assert_allclose(result.matched["agreement"], 0.75, atol=0.01)
    np.testing.assert_array_equal(result.matched["snr"], [3, 8, 30])
    assert result.lost["unit"].tolist() == [0]
    assert result.lost["num_spikes"].tolist() == [trains[0].size]
    assert result.gained["unit"].tolist() == ["new", "junk"]
    assert (result.gained["best"] < 0.1).all()
    assert (
        "3 units of plain and corrected match, mean agreement 0.75; 1 of plain are lost, 2 of corrected"
        in repr(result)
    )
    by_snr = result.by_snr()
    assert by_snr["matched"].tolist()[:4] == [1, 1, 0, 1]
    assert by_snr["gained"].tolist()[:4] == [1, 0, 1, 0]
    assert by_snr.loc["unknown", "lost"] == 1
    by_depth = result.by_depth()
    assert len(by_depth) == 6
    assert by_depth["matched"].tolist()[:2] == [2, 1]
    assert by_depth["gained"].tolist()[4] == 2


def test_the_score_from_which_units_match_and_the_time_are_asked_for(trains):
    first, second = sorting(enumerate(trains[:2])), sorting((unit, trains[unit][::2] + 30) for unit in (0, 1))
    assert len(compare_sortings(first, second, delta_time=2.0).lost) == 0
    assert len(compare_sortings(first, second).lost) == 2
    assert len(compare_sortings(first, second, delta_time=2.0, match_score=0.6).lost) == 2


def test_kilosorts_output_brings_sizes_and_depths(tmp_path, trains):
    read = kilosort.read_output(made.kilosort4_folder(tmp_path))
    some = sorting((unit, read.train(unit)) for unit in range(4))
    result = compare_sortings(some, read)
    assert len(result.matched) == 4
    np.testing.assert_allclose(result.gained["snr"], read.units["snr"].iloc[4:])
    np.testing.assert_allclose(result.gained["depth_um"], read.units["y"].iloc[4:])


def test_an_analyzer_brings_sizes_and_depths():
    recording, truth = si.generate_ground_truth_recording(
        num_channels=8, num_units=4, durations=[5.0], seed=0
    )
    analyzer = si.create_sorting_analyzer(truth, recording, sparse=False)
    analyzer.compute(
        ["random_spikes", "templates", "noise_levels", "unit_locations"], n_jobs=1, progress_bar=False
    )
    result = compare_sortings(truth.select_units(truth.unit_ids[:2]), analyzer)
    assert len(result.matched) == len(result.gained) == 2
    locations = analyzer.get_extension("unit_locations").get_data()
    np.testing.assert_allclose(result.gained["depth_um"], locations[2:, 1])
    assert (result.gained["snr"] > 1).all()


def test_nothing_found_and_no_sorting(trains):
    first, none = sorting(enumerate(trains[:2])), sorting({})
    assert len(compare_sortings(first, none).lost) == 2
    assert len(compare_sortings(none, first).gained) == 2
    assert compare_sortings(none, none).by_depth().to_numpy().sum() == 0
    with pytest.raises(ValueError, match="a str is no sorting"):
        compare_sortings(first, "kilosort4")
    with pytest.raises(ValueError, match="match_score=0"):
        compare_sortings(first, none, match_score=0)
