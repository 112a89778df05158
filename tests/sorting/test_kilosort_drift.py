"""Kilosort's drift beside other motions, on spikes that moved in a known way."""

import kilosort_folders as made
import numpy as np
import pytest
from spikeinterface.core.motion import Motion

from steadyspike import kilosort

BATCHES = np.arange(30) * 2.0 + 1.0


def moved(times_s):
    """Where the tissue is, in um."""
    return 12.0 * np.sin(times_s / 7.0)


def folder_with_drift(folder, found, **other):
    """Spikes that moved by `moved`, after a correction by `found` (um, as ours: what is subtracted)."""
    made.kilosort4_folder(folder, dshift=-found(BATCHES)[:, np.newaxis], **other)
    places, times = np.load(folder / "spike_positions.npy"), np.load(folder / "spike_times.npy") / made.FS
    batch = np.interp(times, BATCHES, found(BATCHES))
    places[:, 1] += moved(times) - batch
    np.save(folder / "spike_positions.npy", places)
    return folder


def motion(factor=1.0):
    times = np.arange(120) * 0.5 + 0.25
    return Motion(factor * moved(times)[:, np.newaxis], times, np.array([230.0]))


def test_spikes_are_put_back_to_where_they_were_seen(tmp_path):
    read = kilosort.read_output(folder_with_drift(tmp_path, lambda times: 0.5 * moved(times)))
    peaks, locations = kilosort.peaks_as_seen(read)
    times, units, *_ = made.spikes()
    resting = made.POSITIONS[made.channels()][units, 1]
    residual = locations["y"] - resting - moved(times / made.FS)
    assert np.abs(np.median(residual)) < 0.1
    assert residual.std() == pytest.approx(1.5, abs=0.05)
    assert (np.diff(peaks["sample_index"]) >= 0).all()
    np.testing.assert_array_equal(peaks["channel_index"], made.channels()[units])


def test_a_drift_that_varies_with_depth_is_put_back(tmp_path):
    """The displacement is that of where a spike was seen, not of where it was put."""
    steep = np.outer(np.ones(30), np.linspace(0, -90, 4))
    folder = made.kilosort4_folder(tmp_path, dshift=steep, yblk=np.linspace(0, 460, 4))
    read = kilosort.read_output(folder)
    _, locations = kilosort.peaks_as_seen(read)
    seconds = read.spikes["time_s"].to_numpy()
    back = locations["y"] - read.motion.get_displacement_at_time_and_depth(
        seconds, locations["y"], segment_index=0
    )
    np.testing.assert_allclose(back, read.spikes["y"], atol=0.2)


def test_half_a_correction_is_less_sharp_than_the_whole(tmp_path):
    folder = folder_with_drift(tmp_path, lambda times: 0.5 * moved(times))
    result = kilosort.compare_motion(folder, motion())
    assert result.sharper == "motion"
    assert result.motion.verdict == "correct"
    assert result.motion.gain > result.kilosort.gain > 0
    assert result.comparison.correlation > 0.99
    # held-out spikes still see some of it moving
    assert result.kilosort.scale > 1.1 * result.motion.scale
    difference = result.difference.displacement[0][:, 0]
    expected = 0.5 * moved(result.difference.temporal_bins_s[0])
    np.testing.assert_allclose(difference - difference.mean(), expected - expected.mean(), atol=0.8)
    assert "the motion leaves the sharper raster" in repr(result)


def test_kilosorts_drift_may_be_the_better_one(tmp_path):
    read = kilosort.read_output(folder_with_drift(tmp_path, moved))
    worse = kilosort.compare_motion(read, motion(0.4))
    assert worse.sharper == "kilosort"
    assert worse.kilosort.verdict == "correct"
    assert kilosort.compare_motion(read, motion()).sharper == "neither"


def test_what_can_not_be_compared(tmp_path):
    folder = made.kilosort4_folder(tmp_path, dshift=None)
    with pytest.raises(ValueError, match="nblocks=0"):
        kilosort.compare_motion(folder, motion())
    one = motion()
    two = Motion(one.displacement * 2, one.temporal_bins_s * 2, one.spatial_bins_um)
    made.save_ops(folder)
    with pytest.raises(ValueError, match="one time axis"):
        kilosort.compare_motion(folder, two)
    with pytest.raises(ValueError, match="a spikeinterface"):
        kilosort.compare_motion(folder, 3)
    (folder / "spike_positions.npy").unlink()
    with pytest.raises(ValueError, match=r"spike_positions\.npy"):
        kilosort.compare_motion(folder, one)
    (folder / "ops.npy").unlink()
    with pytest.raises(ValueError, match=r"no ops\.npy"):
        kilosort.compare_motion(folder, one)
