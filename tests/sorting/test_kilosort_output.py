"""Kilosort's output as read, against its files, against spikes by hand, and in every state of disrepair."""

import os
from pathlib import Path

import kilosort_folders as made
import numpy as np
import pandas as pd
import pytest
from spikeinterface.core import NumpyRecording

from steadyspike import kilosort
from steadyspike.motion import load_motion
from steadyspike.motion.plain_pickle import read_object_npy

ROOT = Path(__file__).resolve().parents[2]
REAL = Path(os.environ.get("STEADYSPIKE_DATA", ROOT.parent / "shared" / "data")) / "kilosort4_output"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason=f"no real run of Kilosort4 in {REAL}")


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip(f"no real run of Kilosort4 in {REAL}")
    return kilosort.read_output(REAL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return made.kilosort4_folder(tmp_path_factory.mktemp("made") / "kilosort4")


@pytest.fixture(scope="module")
def read(folder):
    return kilosort.read_output(folder)


def recording(start_s=0.0):
    num_samples = round(made.DURATION_S * made.FS)
    traces = np.broadcast_to(np.zeros(1, "int16"), (num_samples, made.NUM_CHANNELS))
    found = NumpyRecording([traces], made.FS, t_starts=[start_s])
    found.set_dummy_probe_from_locations(made.POSITIONS)
    found.set_channel_gains(made.GAIN_UV)
    found.set_channel_offsets(0.0)
    return found


# a real run


def test_every_number_of_a_real_unit_is_that_of_its_spikes(real):
    times, clusters, places, sizes = (
        np.load(REAL / f"{name}.npy")
        for name in ("spike_times", "spike_clusters", "spike_positions", "amplitudes")
    )
    contamination = pd.read_csv(REAL / "cluster_ContamPct.tsv", sep="\t", index_col=0)["ContamPct"]
    labels = pd.read_csv(REAL / "cluster_KSLabel.tsv", sep="\t", index_col=0)["KSLabel"]
    assert real.units.index.tolist() == list(range(403))
    assert real.duration_s == 90.0
    for unit in range(0, 403, 13):
        own, row = clusters == unit, real.units.loc[unit]
        assert row["num_spikes"] == own.sum()
        assert row["firing_rate"] == pytest.approx(own.sum() / 90.0)
        np.testing.assert_allclose([row["x"], row["y"]], np.median(places[own], axis=0), rtol=1e-6)
        assert row["amplitude"] == pytest.approx(np.median(sizes[own]), rel=1e-6)
        assert row["contamination"] == pytest.approx(contamination[unit] / 100)
        assert row["label"] == row["kilosort_label"] == labels[unit]
        np.testing.assert_array_equal(real.train(unit), np.sort(times[own]))
    assert np.isnan(real.units["amplitude_uV"]).all()


def test_the_channel_of_a_real_unit_is_near_to_it(real):
    contacts = real.channel_positions[real.units["channel"].astype(int)]
    distance = np.linalg.norm(contacts - real.units[["x", "y"]].to_numpy(), axis=1)
    assert np.percentile(distance, 95) < 40
    assert distance.max() < 60


def test_q_is_kilosorts_contamination_and_both_tests_give_its_label(real):
    """Counted by this code from the spike times; Kilosort's own bins are not quite these."""
    looked_at = real.units["num_spikes"] > 10
    apart = np.abs(real.units["q"] - real.units["contamination"])[looked_at]
    assert (apart < 0.005).mean() > 0.83
    assert np.median(apart) < 0.0002
    assert (real.units["refractory"] == (real.units["kilosort_label"] == "good")).sum() >= 396
    apart = real.units[real.units["refractory"] & (real.units["kilosort_label"] == "mua")]
    assert len(apart) >= 5
    assert ((apart["q"] == 0) & apart["r"].between(0.11, 0.17)).sum() == 5


def test_a_real_drift_of_one_micrometer_is_not_to_be_corrected(real):
    displacement = real.motion.displacement[0]
    assert displacement.shape == (45, 1)
    assert np.ptp(displacement) == pytest.approx(1.0)
    np.testing.assert_array_equal(displacement, load_motion(REAL).displacement[0])
    trust = kilosort.trust(real)
    assert trust.verdict == "do not correct"
    assert trust.displacement_um == pytest.approx(1.0)


def test_kilosorts_positions_are_those_after_its_correction(real):
    """Its drift, taken out of them once more, makes the raster less sharp; taken out of what it moved, sharper."""
    from dataclasses import replace

    written = replace(real, motion=None)
    assert kilosort.trust(real).gain > 5 * kilosort.trust(real).gain_error
    again = kilosort.trust(written, real.motion)
    assert again.gain < -5 * again.gain_error


def test_what_a_real_folder_lacks_is_said(real):
    assert set(real.missing) == {"templates", "pc_features", "amplitude_uV"}
    assert real.templates is None
    assert "no templates.npy" in repr(real)
    assert "403 units (253 good, 150 mua)" in repr(real)


# a folder made by hand


def test_a_whole_folder_of_kilosort4(read, folder):
    times, units, places, _ = made.spikes()
    assert set(read.missing) == {"amplitude_uV"}
    np.testing.assert_array_equal(read.spikes["sample_index"], times)
    np.testing.assert_array_equal(read.spikes["unit"], units)
    np.testing.assert_array_equal(read.spikes[["x", "y"]], places)
    np.testing.assert_allclose(read.spikes["time_s"], times / made.FS)
    np.testing.assert_array_equal(read.units["channel"], made.channels())
    assert read.units["label"].tolist() == ["good"] * 11 + ["mua"]
    np.testing.assert_allclose(read.units["contamination"], 0.05 * np.arange(12))
    assert read.units["refractory"].all()
    assert read.channel_map[0] == 3
    assert read.templates.shape == (12, 61, 48)
    assert read.pc_features.shape == (len(times), 6, 10)
    assert isinstance(read.pc_features, np.memmap)
    assert read.pc_channels.shape == (12, 10)
    assert read.similarity.shape == (12, 12)
    assert read.settings["Th_universal"] == 9
    assert read.settings["n_channels_dat"] == 50
    np.testing.assert_allclose(read.whitening, made.whitening())


def test_sizes_come_from_the_templates(folder):
    read = kilosort.read_output(folder, recording())
    np.testing.assert_allclose(read.units["amplitude_uV"], made.PEAKS_UV, rtol=1e-3)
    whitened = np.load(folder / "templates.npy")
    np.testing.assert_allclose(read.units["snr"], np.abs(whitened).max(axis=(1, 2)))
    assert not read.missing


def test_a_recording_tells_duration_start_and_shanks(folder, tmp_path):
    read = kilosort.read_output(folder, recording(start_s=100.0))
    assert read.duration_s == made.DURATION_S
    assert read.motion.temporal_bins_s[0][0] == 101.0
    times, *_ = made.spikes()
    assert read.spikes["time_s"].iloc[0] == pytest.approx(100 + times[0] / made.FS)
    assert kilosort.trust(read).num_spikes == len(times)
    with pytest.raises(ValueError, match=r"allowed: 30000 Hz"):
        kilosort.read_output(folder, NumpyRecording([np.zeros((10, 4), "int16")], 25_000.0))


def test_a_folder_of_run_sorter_is_entered(tmp_path):
    made.kilosort4_folder(tmp_path / "run" / "sorter_output")
    assert len(kilosort.read_output(tmp_path / "run").units) == 12


def test_thresholds_of_q_are_those_of_the_run(tmp_path):
    folder = made.kilosort4_folder(tmp_path, acg_threshold=0.1, ccg_threshold=0.3)
    read = kilosort.read_output(folder)
    assert (read.refractory(0).q_threshold, read.refractory(0).r_threshold) == (0.1, 0.2)
    assert (read.refractory(0, 1).q_threshold, read.refractory(0, 1).r_threshold) == (0.3, 0.05)
    with pytest.raises(ValueError, match="unit=99"):
        read.train(99)


def test_kilosort_25(tmp_path):
    folder = made.kilosort25_folder(tmp_path)
    read = kilosort.read_output(folder, recording())
    assert {"ops", "spike_positions", "pc_features"} <= set(read.missing)
    assert read.motion is None
    assert read.sampling_frequency == made.FS
    np.testing.assert_array_equal(read.units["channel"], made.channels())
    assert "x" not in read.spikes
    # the centre of the energy of the template; no sizes, as the templates have a scale of their own there
    assert np.abs(read.units["y"] - made.POSITIONS[made.channels(), 1]).max() < 8
    assert read.units["snr"].isna().all()
    with pytest.raises(ValueError, match=r"spike_positions\.npy"):
        kilosort.peaks_as_seen(read)


def test_what_phy_changes_counts(tmp_path):
    folder = made.kilosort4_folder(tmp_path)
    clusters = np.load(folder / "spike_clusters.npy")
    merged = np.where(np.isin(clusters, [2, 3]), 12, clusters)
    np.save(folder / "spike_clusters.npy", merged)
    made.table(folder, "group", ["noise", "good"], units=[0, 12])
    info = "cluster_id\tContamPct\tKSLabel\tgroup\n0\t99\tmua\tmua\n11\t\t\tgood\n12\t\t\t\n"
    (folder / "cluster_info.tsv").write_text(info)
    read = kilosort.read_output(folder)
    assert read.units.index.tolist() == [0, 1, *range(4, 13)]
    # its own table counts more than cluster_info, which fills what is not there
    assert read.units.loc[0, ["label", "kilosort_label", "contamination"]].tolist() == ["noise", "good", 0.0]
    assert read.units.loc[11, "label"] == "good"
    assert read.units.loc[1, "label"] == "good"
    both = clusters[(clusters == 2) | (clusters == 3)]
    assert read.units.loc[12, "num_spikes"] == both.size
    main = np.bincount(both).argmax()
    assert read.units.loc[12, "channel"] == made.channels()[main]
    assert read.units.loc[12, "label"] == "good"
    assert pd.isna(read.units.loc[12, "contamination"])
    # two neurons of different depth
    assert not read.units.loc[12, "refractory"]


def test_old_and_other_names(tmp_path):
    folder = made.kilosort4_folder(tmp_path)
    expected = kilosort.read_output(folder)
    for old, new in {
        "spike_clusters.npy": "spikes.clusters.npy",
        "spike_templates.npy": "spikes.templates.0a1b.npy",
        "templates.npy": "templates.waveforms.npy",
        "templates_ind.npy": "template_ind.npy",
        "channel_positions.npy": "channels.localCoordinates.npy",
    }.items():
        (folder / old).rename(folder / new)
    np.save(folder / "spikes.times.npy", np.load(folder / "spike_times.npy") / made.FS)
    (folder / "spike_times.npy").unlink()
    text = (folder / "cluster_KSLabel.tsv").read_text()
    (folder / "cluster_KSLabel.tsv").unlink()
    (folder / "cluster_groups.csv").write_text(
        "\ufeff" + text.replace("KSLabel", "group").replace("\t", ","), "utf-8"
    )
    read = kilosort.read_output(folder)
    pd.testing.assert_frame_equal(read.spikes, expected.spikes)
    for name in ("channel", "x", "y", "q", "label"):
        pd.testing.assert_series_equal(read.units[name], expected.units[name])


def test_few_spikes_have_no_contamination(tmp_path):
    folder = made.kilosort4_folder(tmp_path)
    clusters = np.load(folder / "spike_clusters.npy")
    for unit, left in ((0, 10), (4, 11)):
        clusters[np.flatnonzero(clusters == unit)[left:]] = 1
    np.save(folder / "spike_clusters.npy", clusters)
    units = kilosort.read_output(folder).units
    assert np.isnan(units.loc[0, "contamination"])
    assert units.loc[4, "contamination"] == 0.2


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("templates.npy", "templates"),
        ("pc_features.npy", "pc_features"),
        ("amplitudes.npy", "amplitudes"),
        ("spike_positions.npy", "spike_positions"),
        ("cluster_ContamPct.tsv", "contamination"),
        ("cluster_KSLabel.tsv", "labels"),
        ("ops.npy", "ops"),
    ],
)
def test_what_is_missing_is_said(name, key, tmp_path):
    folder = made.kilosort4_folder(tmp_path)
    (folder / name).unlink()
    read = kilosort.read_output(folder)
    assert key in read.missing
    assert len(read.units) == 12
    assert read.missing[key] in repr(read)


def test_no_shanks_and_no_drift(tmp_path):
    folder = made.kilosort4_folder(tmp_path, dshift=None, kcoords=np.repeat([0, 1], 24))
    (folder / "channel_shanks.npy").unlink()
    read = kilosort.read_output(folder)
    assert read.motion is None
    assert "nblocks=0" in read.missing["motion"]
    assert read.units["shank"].tolist() == (made.channels() >= 24).astype(int).tolist()
    made.save_ops(folder, kcoords=None)
    assert "channel_shanks" in kilosort.read_output(folder).missing
    assert "channel_shanks" not in kilosort.read_output(folder, recording()).missing


def test_ops_that_are_no_plain_values_are_not_run(tmp_path):
    folder = made.kilosort4_folder(tmp_path, evil=Path)
    read = kilosort.read_output(folder)
    assert "is not read" in read.missing["ops"]
    assert read.motion is None
    np.save(folder / "ops.npy", np.array([1, 2], dtype=object)[:1].reshape(()), allow_pickle=True)
    assert read_object_npy(folder / "ops.npy") == 1
    assert "int" in kilosort.read_output(folder).missing["ops"]


def test_params_are_read_and_not_run(tmp_path):
    folder = made.kilosort25_folder(tmp_path)
    (folder / "params.py").write_text("import os\nos.mkdir('ran')\nsample_rate = 30000.\ndtype = str(1)\n")
    assert kilosort.read_output(folder).sampling_frequency == 30_000.0
    assert not Path("ran").exists()
    (folder / "params.py").write_text("def (")
    with pytest.raises(ValueError, match="tell the sampling frequency"):
        kilosort.read_output(folder)


def test_folders_of_something_else(tmp_path):
    with pytest.raises(FileNotFoundError):
        kilosort.read_output(tmp_path / "nowhere")
    folder = made.kilosort4_folder(tmp_path / "a")
    np.save(folder / "amplitudes.npy", np.zeros(5))
    with pytest.raises(ValueError, match="5 of amplitude"):
        kilosort.read_output(folder)
    (folder / "spike_times.npy").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"spike_times\.npy is not read"):
        kilosort.read_output(folder)
    (folder / "spike_times.npy").unlink()
    with pytest.raises(ValueError, match=r"one with spike_times\.npy"):
        kilosort.read_output(folder)


def test_as_a_sorting_of_spikeinterface(read):
    sorting = read.to_sorting()
    assert sorting.unit_ids.tolist() == list(range(12))
    np.testing.assert_array_equal(sorting.get_unit_spike_train(3), read.train(3))
    np.testing.assert_array_equal(sorting.get_property("label"), read.units["label"])
    np.testing.assert_allclose(sorting.get_property("y"), read.units["y"])
