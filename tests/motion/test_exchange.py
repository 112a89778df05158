"""Motions from and for other programs: formats, signs, and files that can not be trusted."""

import io
import pathlib
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from spikeinterface.core.motion import Motion

from steadyspike.motion import load_motion, save_motion
from steadyspike.motion.plain_pickle import NotPlainError, read_object_npy

TIMES = 2.5 + np.arange(12.0)
WINDOWS = np.array([100.0, 500.0, 900.0])


def known(num_segments=1, windows=WINDOWS):
    """Give a motion that moves up in time, more so further up."""
    displacement = [
        np.outer(1.0 + np.arange(12.0), 1.0 + np.arange(windows.size)) + k for k in range(num_segments)
    ]
    if num_segments == 1:
        return Motion(displacement[0], TIMES, windows)
    return Motion(displacement, [TIMES + 3.0 * k for k in range(num_segments)], windows)


def assert_same(first, second):
    assert first.num_segments == second.num_segments
    for segment in range(first.num_segments):
        np.testing.assert_allclose(first.displacement[segment], second.displacement[segment])
        np.testing.assert_allclose(first.temporal_bins_s[segment], second.temporal_bins_s[segment])
    np.testing.assert_allclose(first.spatial_bins_um, second.spatial_bins_um)
    assert first.direction == second.direction


# there and back


@pytest.mark.parametrize("windows", [WINDOWS, WINDOWS[:1]])
@pytest.mark.parametrize("format", ["spikeinterface", "dredge", "medicine"])
def test_saved_and_loaded_is_the_same(format, windows, tmp_path):
    written = save_motion(known(windows=windows), tmp_path / "new" / "m.1", format=format)
    assert_same(load_motion(written), known(windows=windows))
    assert_same(load_motion(str(written), format=format), known(windows=windows))
    assert [path.name for path in written.parent.iterdir()] == [written.name], "nothing is left beside it"


def test_several_segments(tmp_path):
    assert_same(load_motion(save_motion(known(2), tmp_path / "two", format="spikeinterface")), known(2))
    second = Motion(known(2).displacement[1], TIMES + 3.0, WINDOWS)
    for format in ("spikeinterface", "dredge", "medicine"):
        assert_same(
            load_motion(save_motion(known(2), tmp_path / format, format=format, segment_index=1)), second
        )
    for format in ("dredge", "medicine"):
        with pytest.raises(ValueError, match="save_motion: segment_index=None; allowed: one of the 2"):
            save_motion(known(2), tmp_path / "none", format=format)


@pytest.mark.parametrize("format", ["spikeinterface", "dredge", "medicine"])
def test_nothing_is_replaced_unasked(format, tmp_path):
    written = save_motion(known(), tmp_path / "m", format=format)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_motion(known(windows=WINDOWS[:2]), tmp_path / "m", format=format)
    assert_same(load_motion(written), known())
    save_motion(known(windows=WINDOWS[:2]), tmp_path / "m", format=format, overwrite=True)
    assert_same(load_motion(written), known(windows=WINDOWS[:2]))
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("format", ["spikeinterface", "medicine", "dredge"])
def test_broken_off_writing_leaves_nothing(format, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr("numpy.savez" if format == "dredge" else "numpy.save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_motion(known(), tmp_path / "m", format=format)
    assert list(tmp_path.iterdir()) == []


def test_objects_are_taken_as_they_are(tmp_path):
    motion = known(2)
    assert_same(load_motion(motion), motion)
    assert_same(load_motion(motion.to_dict()), motion)
    assert_same(load_motion({"motion": motion, "peaks": None}), motion)


# SpikeInterface


def test_motion_info_folders(tmp_path):
    from spikeinterface.preprocessing.motion import save_motion_info

    info = dict(parameters={}, run_times={}, peaks=np.zeros(2), peak_locations=np.zeros(2), motion=known())
    save_motion_info(info, tmp_path / "info")
    assert_same(load_motion(tmp_path / "info"), known())


def test_folders_of_old_spikeinterface(tmp_path):
    for name, array in [
        ("motion", known().displacement[0]),
        ("temporal_bins", TIMES),
        ("spatial_bins", WINDOWS),
    ]:
        np.save(tmp_path / f"{name}.npy", array)
    assert_same(load_motion(tmp_path), known())


# DREDge


def dredge_arrays(motion):
    return dict(
        displacement=motion.displacement[0].T,
        time_bin_centers_s=motion.temporal_bins_s[0],
        spatial_bin_centers_um=motion.spatial_bins_um,
    )


def test_dredge_is_read_as_spikeinterface_converts_it(monkeypatch):
    """SpikeInterface runs DREDge's own functions and converts what they return; so do we."""
    from spikeinterface.core import generate_recording
    from spikeinterface.core.node_pipeline import base_peak_dtype
    from spikeinterface.sortingcomponents.motion import dredge

    recording = generate_recording(num_channels=8, durations=[12.0])
    found = np.outer(1.0 + np.arange(3), np.arange(12.0))
    monkeypatch.setattr(dredge, "compute_displacement_full", lambda *args: (found, {}))
    peaks = np.zeros(4, dtype=base_peak_dtype)
    locations = np.zeros(4, dtype=[("x", "f8"), ("y", "f8")])
    locations["y"] = [0, 40, 100, 140]
    monkeypatch.setattr(dredge, "get_spatial_windows", lambda *args, **kwargs: (np.ones((3, 1)), WINDOWS))
    converted = dredge.dredge_ap(recording, peaks, locations, rigid=False, bin_s=1.0)
    estimate = SimpleNamespace(
        displacement=found, time_bin_centers_s=converted.temporal_bins_s[0], spatial_bin_centers_um=WINDOWS
    )
    assert_same(load_motion(estimate), converted)


def test_dredge_estimates_correct_as_they_say(tmp_path):
    """DREDge's `correct_s` is depth - displacement."""
    estimate = SimpleNamespace(**dredge_arrays(known()))
    motion = load_motion(estimate, format="dredge")
    np.testing.assert_allclose(motion.displacement[0][:, 2], estimate.displacement[2])
    edges = np.arange(2.0, 15.0)
    np.savez(
        tmp_path / "edges.npz",
        displacement=estimate.displacement,
        time_bin_edges_s=edges,
        spatial_bin_edges_um=[-100.0, 300.0, 700.0, 1100.0],
    )
    assert_same(load_motion(tmp_path / "edges.npz"), known())


def test_rigid_dredge_estimates_have_no_depth():
    rigid = SimpleNamespace(
        displacement=np.arange(12.0), time_bin_centers_s=TIMES, spatial_bin_centers_um=None
    )
    motion = load_motion(rigid)
    np.testing.assert_array_equal(motion.displacement[0][:, 0], np.arange(12.0))
    assert motion.spatial_bins_um.size == 1


# MEDiCINe


@pytest.mark.parametrize("rigid", [False, True])
def test_medicine_is_read_as_spikeinterface_converts_it(rigid, tmp_path, monkeypatch):
    """Its folder gives what SpikeInterface's adapter makes of what it returns."""
    from spikeinterface.core import generate_recording
    from spikeinterface.sortingcomponents.motion.medicine import MedicineRegistration

    def run_medicine(output_dir, num_depth_bins, **kwargs):
        arrays = (TIMES, WINDOWS[:num_depth_bins], known(windows=WINDOWS[:num_depth_bins]).displacement[0])
        for name, array in zip(("time_bins", "depth_bins", "motion"), arrays, strict=True):
            np.save(pathlib.Path(output_dir) / f"{name}.npy", array)
        return (None, *arrays)

    monkeypatch.setitem(sys.modules, "medicine", SimpleNamespace(run_medicine=run_medicine))
    peaks = dict(amplitude=np.ones(2), sample_index=np.arange(2))
    arguments = dict.fromkeys(
        ["win_shape", "win_step_um", "win_scale_um", "win_margin_um", "verbose", "progress_bar"]
    )
    converted = MedicineRegistration.run(
        generate_recording(durations=[1.0]),
        peaks,
        dict(y=np.zeros(2)),
        "y",
        rigid,
        extra=None,
        output_dir=tmp_path,
        optimizer=object,
        **arguments,
    )
    assert_same(load_motion(tmp_path), converted)


# Kilosort4


def save_ops(folder, **ops):
    np.save(folder / "ops.npy", ops, allow_pickle=True)
    return folder


def kilosort_ops(**other):
    """Give what Kilosort4 writes for a tissue that moved as `known` did, with the kinds of values it holds."""
    return {
        "settings": {"batch_size": 60_000, "fs": 30_000.0, "nblocks": 5, "drift_smoothing": [0.5, 0.5, 0.5]},
        "fs": 30_000.0,
        "batch_size": 60_000,
        "yblk": WINDOWS.astype("float32"),
        "dshift": -known().displacement[0],
        "Nbatches": np.int64(12),
        "data_dir": pathlib.PurePosixPath("/data"),
        "wPCA": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3)),
        "names": np.array(["a", "bc"]),
        "flag": np.bool_(True),
        **other,
    }


def test_kilosort_adds_what_we_take_away(tmp_path):
    folder = save_ops(tmp_path, **kilosort_ops())
    motion = load_motion(folder)
    expected = Motion(known().displacement[0], 1.0 + 2.0 * np.arange(12), WINDOWS)
    assert_same(motion, expected)
    assert_same(load_motion(folder / "ops.npy"), expected)
    late = load_motion(save_ops(tmp_path, **kilosort_ops(tmin=5.0)))
    assert late.temporal_bins_s[0][0] == 6.0


def test_rigid_kilosort_has_one_window(tmp_path):
    motion = load_motion(save_ops(tmp_path, **kilosort_ops(dshift=np.arange(12.0)[:, np.newaxis])))
    assert motion.spatial_bins_um.tolist() == [500.0]
    np.testing.assert_array_equal(motion.displacement[0][:, 0], -np.arange(12.0))


def test_values_of_a_plain_pickle_come_through(tmp_path):
    content = read_object_npy(save_ops(tmp_path, **kilosort_ops()) / "ops.npy")
    assert content["data_dir"] == "/data"
    assert content["Nbatches"] == 12
    assert content["flag"]
    assert content["names"].tolist() == ["a", "bc"]
    np.testing.assert_array_equal(content["wPCA"], np.arange(6).reshape(2, 3))
    assert content["settings"]["drift_smoothing"] == [0.5, 0.5, 0.5]


class Runs:
    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Runs(pathlib.Path.touch, pathlib.Path("ran")), "pathlib"),
        (Runs(eval, "open('ran', 'w')"), "eval"),
        (Runs(__import__("os").system, "touch ran"), "system"),
        (Runs(getattr, "ran", "upper"), "getattr"),
        (np.array([1, None], dtype=object)[:0].view(np.recarray), "recarray"),
        (np.zeros(2, dtype=[("a", "f8")]), "structured|type 'V8'"),
        (np.datetime64(3, "s"), "datetime64|M8"),
        (SimpleNamespace(a=1), "SimpleNamespace"),
    ],
)
def test_pickles_that_name_other_things_are_refused(value, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = save_ops(tmp_path, **kilosort_ops(evil=value))
    with pytest.raises(NotPlainError, match=named):
        load_motion(folder)
    assert not (tmp_path / "ran").exists()


def test_an_array_can_not_lie_about_its_memory(tmp_path):
    """A forged number of elements, or bytes in the place of objects, never reach numpy."""
    for shape, dtype, content in [((10**9,), "f8", b"12345678"), ((1,), "O", b"12345678")]:
        forged = Runs(np.zeros(0).__reduce__()[0], np.ndarray, (0,), b"b")
        forged.call = (*forged.call, (1, shape, np.dtype(dtype), False, content))
        with pytest.raises((NotPlainError, ValueError), match=r"ops\.npy"):
            load_motion(save_ops(tmp_path, **kilosort_ops(dshift=forged)))


def test_a_dict_that_holds_itself_is_read(tmp_path):
    ops = kilosort_ops()
    expected = load_motion(save_ops(tmp_path, **ops))
    settings = {"n_chan_bin": 77}
    settings["settings"] = settings
    around = [settings]
    around.append((around, settings))
    motion = load_motion(save_ops(tmp_path, **ops | dict(other=settings, around=around)))
    assert motion == expected
    content = read_object_npy(tmp_path / "ops.npy")
    assert content["other"]["settings"] is content["other"]
    assert content["around"][1][0] is content["around"]
    assert content["around"][1][1]["n_chan_bin"] == 77


def test_content_that_grows_or_nests_without_end_ends(tmp_path):
    laughs = [1.0]
    for _ in range(60):
        laughs = [laughs, laughs]
    read_object_npy(save_ops(tmp_path, laughs=laughs) / "ops.npy")
    # more than a pickler goes down itself: lists in lists, by hand
    depth = 100_000
    stream = b"]" * depth + b"a" * (depth - 1) + b"."
    header = io.BytesIO()
    np.save(header, np.array({}, dtype=object), allow_pickle=True)
    (tmp_path / "ops.npy").write_bytes(header.getvalue()[:128] + stream)
    with pytest.raises(NotPlainError, match="nested too deeply"):
        read_object_npy(tmp_path / "ops.npy")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", pickle.dumps({"dshift": 1}), b"\x80\x04."])
def test_broken_files_are_refused(content, tmp_path):
    (tmp_path / "ops.npy").write_bytes(content)
    with pytest.raises(NotPlainError, match="broken"):
        load_motion(tmp_path)


def test_truncated_pickles_and_other_arrays_are_refused(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.array({"a": [1, 2, 3]}, dtype=object), allow_pickle=True)
    (tmp_path / "ops.npy").write_bytes(stream.getvalue()[:-8])
    with pytest.raises(NotPlainError, match="broken"):
        load_motion(tmp_path)
    np.save(tmp_path / "ops.npy", np.zeros(3))
    with pytest.raises(NotPlainError, match=r"shape \(3,\)"):
        load_motion(tmp_path)


# what can not be read


@pytest.mark.parametrize(
    ("ops", "message"),
    [
        ({"dshift": None}, "no dshift"),
        ({"yblk": None}, "no yblk"),
        ({"batch_size": None, "settings": {}}, "no batch_size"),
    ],
)
def test_incomplete_ops(ops, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_motion(save_ops(tmp_path, **kilosort_ops(**ops)))


def test_unknown_input_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no motion at"):
        load_motion(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"ops\.npy \(kilosort4\)"):
        load_motion(tmp_path)
    (tmp_path / "motion_est.pkl").write_bytes(b"")
    with pytest.raises(ValueError, match="a pickle is not read"):
        load_motion(tmp_path / "motion_est.pkl")
    with pytest.raises(ValueError, match="displacement and time_bin_centers_s"):
        load_motion(3)
    with pytest.raises(ValueError, match="format='matlab'"):
        load_motion(tmp_path, format="matlab")
    with pytest.raises(ValueError, match="format='medicine'"):
        load_motion(known(), format="medicine")
    with pytest.raises(ValueError, match=r"an \.npz file for format='dredge'"):
        load_motion(tmp_path, format="dredge")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(displacement=np.zeros((2, 12))), r"shape \(2, 12\); allowed: .* = \(3, 12\)"),
        (dict(time_bin_centers_s=None), "no times"),
        (dict(spatial_bin_centers_um=None), r"= \(none, 12\)"),
        (dict(displacement=np.full((3, 12), np.nan)), "finite um"),
        (dict(displacement=None), "not composed"),
        (dict(time_bin_centers_s=TIMES[::-1]), "strictly increasing"),
    ],
)
def test_dredge_arrays_that_do_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        load_motion(SimpleNamespace(**{**dredge_arrays(known()), **change}))


def test_npz_of_something_else(tmp_path):
    np.savez(tmp_path / "other.npz", traces=np.zeros(3))
    with pytest.raises(ValueError, match="it holds traces"):
        load_motion(tmp_path / "other.npz")


def test_kilosort_takes_in_no_motion(tmp_path):
    with pytest.raises(ValueError, match="sort the corrected recording"):
        save_motion(known(), tmp_path / "ops", format="kilosort4")
    with pytest.raises(ValueError, match="format='matlab'"):
        save_motion(known(), tmp_path / "m", format="matlab")
