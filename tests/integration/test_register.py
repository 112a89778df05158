"""Our parts in SpikeInterface's tables: entered once, never over someone else's, and found from anywhere."""

import copy
import functools
import importlib
import inspect
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
import tomlkit
from spikeinterface.core.motion import Motion
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.sortingcomponents import motion as si_motion
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike
from steadyspike.core import environment
from steadyspike.integration import protocols, register
from steadyspike.library.presets.presets import PresetError
from steadyspike.peaks.localization import LocalizeSteadyMonopolar

PRESETS = importlib.import_module("spikeinterface.preprocessing.motion")
NAMES = {
    register.STEPS_TABLE: [
        "steady_bandpass_filter",
        "steady_phase_shift",
        "steady_common_reference",
        "steady_interpolate_motion",
    ],
    register.CLASSES_TABLE: [
        "SteadyBandpassFilterRecording",
        "SteadyPhaseShiftRecording",
        "SteadyCommonReferenceRecording",
        "SteadyInterpolateMotionRecording",
    ],
    register.LOCALIZATION_TABLE: ["steady_monopolar"],
    register.ESTIMATION_TABLE: [
        "steady_decentralized",
        "steady_decentralized_lfp",
        "steady_iterative_template",
        "steady_point_cloud",
    ],
    register.PRESETS_TABLE: ["steady_kilosort", "steady_nonrigid", "steady_rigid"],
}


def table(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def snapshot():
    tables = {path: dict(table(path)) for path in NAMES}
    functions = [table(path) for path in (*register.INTERPOLATION_FUNCTIONS, register.DEFAULTS_FUNCTION)]
    functions.append(PRESETS.motion_options_preset)
    return tables, functions, si.correct_motion.__doc__, si.compute_motion.__doc__


@pytest.fixture(scope="module")
def recording():
    recording, _ = si.generate_ground_truth_recording(durations=[3.0], num_channels=8, num_units=3, seed=0)
    return recording


@pytest.fixture
def motion(recording):
    return Motion([np.array([[0.0], [4.0], [9.0]])], [np.array([0.5, 1.5, 2.5])], np.array([40.0]))


@pytest.mark.parametrize("method", register.LOCALIZERS)
def test_no_peaks_have_no_locations(recording, method):
    none = np.zeros(0, dtype=base_peak_dtype)
    assert localize_peaks(recording, none, method=method).shape == (0,)
    located = localize_peaks(si.append_recordings([recording] * 2), none, method_kwargs=dict(method=method))
    assert located.dtype.names[:3] == ("x", "y", "z")
    if method == "steady_monopolar":
        with pytest.raises(ValueError, match="radius_um=-1"):
            localize_peaks(recording, none, method=method, method_kwargs=dict(radius_um=-1))


@pytest.mark.parametrize("threshold", [6.0, 1e3], ids=["peaks", "no peaks"])
def test_kilosorts_preset_takes_several_segments_and_no_peaks(recording, threshold):
    detection = dict(detect_threshold=threshold)
    for one in (recording, si.append_recordings([recording] * 2)):
        motion = si.compute_motion(
            one, preset="steady_kilosort", detect_kwargs=detection, n_jobs=1, progress_bar=False
        )
        # 3 s in bins of 2 s
        assert [len(bins) for bins in motion.displacement] == [2] * one.get_num_segments()
        assert all(np.isfinite(displacement).all() for displacement in motion.displacement)


@pytest.mark.parametrize("path", NAMES, ids=lambda path: path.rpartition(".")[2])
def test_every_part_is_in_its_table(path):
    assert set(NAMES[path]) <= table(path).keys()


def test_spikeinterface_lists_our_presets_after_its_own():
    names = si.get_motion_presets()
    assert set(steadyspike.list_presets("motion")) <= set(names)
    assert {"dredge_fast", "kilosort_like"} <= set(names)
    assert "" not in names


def test_registered_tells_what_is_where():
    registry = steadyspike.registered()
    for path, names in NAMES.items():
        assert set(names) <= registry[path].keys()
    assert registry[register.LOCALIZATION_TABLE]["steady_monopolar"] == (
        f"{LocalizeSteadyMonopolar.__module__}.{LocalizeSteadyMonopolar.__name__}"
    )
    assert Path(registry[register.PRESETS_TABLE]["steady_rigid"]).is_file()
    for line in ("steady_decentralized", "motion_options_preset", "motion.interpolate_motion"):
        assert line in repr(registry)


def test_registered_tells_the_tables_as_they_are(monkeypatch):
    monkeypatch.delitem(table(register.LOCALIZATION_TABLE), "steady_monopolar")
    assert "steady_monopolar" not in steadyspike.registered()[register.LOCALIZATION_TABLE]


def test_registering_again_changes_nothing():
    before = snapshot()
    register.register()
    assert snapshot() == before


def test_importing_a_second_time_takes_the_new_parts():
    script = """
import sys
import spikeinterface.full as si
import steadyspike
first, before = steadyspike.interpolate_motion, (steadyspike.registered(), si.correct_motion.__doc__)
for name in [name for name in sys.modules if name.split(".")[0] == "steadyspike"]:
    del sys.modules[name]
import steadyspike
from spikeinterface.preprocessing.pipeline import pp_names_to_functions
assert first is not steadyspike.interpolate_motion
assert pp_names_to_functions["steady_interpolate_motion"] is steadyspike.interpolate_motion
assert (steadyspike.registered(), si.correct_motion.__doc__) == before
importlib = __import__("importlib")
importlib.reload(sys.modules["steadyspike.integration.register"])
importlib.reload(steadyspike)
assert (steadyspike.registered(), si.correct_motion.__doc__) == before
"""
    subprocess.run([sys.executable, "-c", script], check=True)


class Squatter:
    """Someone else's part."""


@pytest.mark.parametrize("part", register.PARTS, ids=lambda part: part.name)
def test_name_held_by_someone_else_names_both_owners(part, monkeypatch):
    monkeypatch.setitem(table(part.table), part.name, Squatter)
    with pytest.raises(register.NameTakenError) as caught:
        register.register()
    module = part.target.rpartition(".")[0]
    for word in (f"{part.name!r}", part.table, f"{Squatter.__module__}.Squatter", f"{module}.Steady"):
        assert word.removesuffix("Steady") in str(caught.value)
    assert table(part.table)[part.name] is Squatter


def test_preset_held_by_someone_else(monkeypatch):
    theirs = {**PRESETS.motion_options_preset["dredge_fast"], "doc": "a preset of another lab"}
    monkeypatch.setattr(PRESETS, "motion_options_preset", {"": {}, "steady_rigid": theirs})
    with pytest.raises(register.NameTakenError, match="another lab") as caught:
        register.register()
    assert "steady_rigid.toml" in str(caught.value)
    assert PRESETS.motion_options_preset["steady_rigid"] is theirs


def test_nothing_is_entered_when_one_name_is_taken(monkeypatch):
    monkeypatch.delitem(table(register.STEPS_TABLE), "steady_bandpass_filter")
    monkeypatch.setitem(table(register.ESTIMATION_TABLE), "steady_decentralized", Squatter)
    with pytest.raises(register.NameTakenError):
        register.register()
    assert "steady_bandpass_filter" not in table(register.STEPS_TABLE)


def test_presets_that_others_add_stay(monkeypatch):
    theirs = dict(PRESETS.motion_options_preset["dredge_fast"])
    monkeypatch.setitem(PRESETS.motion_options_preset, "lab", theirs)
    register.register()
    assert "lab" in si.get_motion_presets()
    assert PRESETS.motion_options_preset["lab"] is theirs


@pytest.mark.parametrize("version", ["0.102.3", "0.106.0", "1.105.0", "0.1050.1", "0.106.0rc1"])
def test_other_series_of_spikeinterface_is_refused(version, monkeypatch):
    monkeypatch.setattr(sys.modules["spikeinterface"], "__version__", version)
    with pytest.raises(environment.UnsupportedSpikeInterfaceError) as caught:
        register.register()
    assert isinstance(caught.value, ImportError)
    for word in (version, "0.105.x", steadyspike.__version__, "pip install 'spikeinterface==0.105.*'"):
        assert word in str(caught.value)


@pytest.mark.parametrize("version", ["0.103.0", "0.104.8", "0.105.12", "0.105.4.dev0"])
def test_versions_of_the_series_are_welcome(version, monkeypatch):
    monkeypatch.setattr(sys.modules["spikeinterface"], "__version__", version)
    environment.check_spikeinterface_version()


def test_version_is_checked_before_any_part_is_imported():
    script = """
import sys
import spikeinterface
spikeinterface.__version__ = "0.102.0"
try:
    import steadyspike
except ImportError as error:
    print(error)
assert "numba" not in sys.modules
assert not [name for name in sys.modules if name.startswith("spikeinterface.sortingcomponents")]
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "installed is 0.102.0" in done.stdout


def make_class(base, **attributes):
    return type("Wrong", (base,), attributes)


ESTIMATOR = table(register.ESTIMATION_TABLE)["steady_decentralized"]


@pytest.mark.parametrize(
    ("lacking", "part", "words"),
    [
        (protocols.lacking_as_step, si.bandpass_filter, "the name wanted"),
        (protocols.lacking_as_step, make_class(object, __name__="wanted")(), "BasePreprocessor"),
        (protocols.lacking_as_class, si.bandpass_filter, "a class wanted"),
        (protocols.lacking_as_class, Squatter, "a class wanted"),
        (protocols.lacking_as_localizer, Squatter, "PipelineNode"),
        (protocols.lacking_as_localizer, LocalizeSteadyMonopolar, "name = 'wanted'"),
        (
            protocols.lacking_as_localizer,
            make_class(LocalizeSteadyMonopolar, name="wanted", params_doc=None),
            "params_doc",
        ),
        (
            protocols.lacking_as_localizer,
            make_class(LocalizeSteadyMonopolar, name="wanted", __init__=lambda self, recording: None),
            "parents",
        ),
        (
            protocols.lacking_as_localizer,
            make_class(
                LocalizeSteadyMonopolar,
                name="wanted",
                __init__=lambda self, recording, parents, radius_um, return_output=True: None,
            ),
            "a default for radius_um",
        ),
        (protocols.lacking_as_estimator, Squatter, "need_peak_location"),
        (protocols.lacking_as_estimator, make_class(object, need_peak_location=True), "run()"),
        (protocols.lacking_as_estimator, ESTIMATOR, "name = 'wanted'"),
        (
            protocols.lacking_as_estimator,
            make_class(ESTIMATOR, name="wanted", run=lambda recording, peaks: None),
            "direction, rigid",
        ),
    ],
)
def test_part_that_does_not_fit_is_told_what_it_lacks(lacking, part, words):
    assert words in lacking("wanted", part)


def test_part_that_does_not_fit_is_not_registered(monkeypatch):
    part = register.Part(register.LOCALIZATION_TABLE, "steady_wrong", register.PARTS[-1].target)
    monkeypatch.setattr(register, "PARTS", (*register.PARTS, part))
    with pytest.raises(TypeError, match=r"steadyspike\.motion.*'steady_wrong'.*lacks PipelineNode"):
        register.register()
    assert "steady_wrong" not in table(register.LOCALIZATION_TABLE)


@pytest.mark.parametrize("as_path", [str, Path])
def test_preset_is_found_by_path(as_path, tmp_path):
    mine = steadyspike.load_preset("steady_rigid").replace(name="mine", doc="mine")
    path = as_path(steadyspike.save_preset(mine, tmp_path / "mine.toml"))
    presets = PRESETS.motion_options_preset
    assert presets[path] == {**presets["steady_rigid"], "doc": "mine"}
    assert path not in presets, "a look-up leaves no trace"
    defaults = si.get_motion_parameters_preset(path)
    assert defaults["estimate_motion_kwargs"]["rigid"] is True


def test_preset_file_is_read_anew_each_time(tmp_path):
    preset = steadyspike.load_preset("steady_rigid")
    path = str(steadyspike.save_preset(preset, tmp_path / "mine.toml"))
    assert PRESETS.motion_options_preset[path]["doc"] == preset.doc
    steadyspike.save_preset(preset.replace(doc="new"), path, overwrite=True)
    assert PRESETS.motion_options_preset[path]["doc"] == "new"


def test_what_is_no_motion_preset(tmp_path):
    presets = PRESETS.motion_options_preset
    with pytest.raises(KeyError, match=r"'steady_nonrgid'.*dredge_fast.*steady_nonrigid.*TOML file"):
        presets["steady_nonrgid"]
    with pytest.raises(KeyError):
        presets[3]
    with pytest.raises(PresetError, match=r"neuropixels1.*'preprocessing'.*'motion'"):
        presets["neuropixels1"]
    with pytest.raises(ValueError, match=r"'hf:lab/preset@' is no reference to the Hugging Face"):
        presets["hf:lab/preset@"]
    with pytest.raises(FileNotFoundError, match=r"absent\.toml"):
        presets["absent.toml"]
    bad = tmp_path / "bad.toml"
    bad.write_text(tomlkit.dumps({"schema": 1, "kind": "motion", "nonsense": 1}))
    with pytest.raises(PresetError, match=r"bad\.toml: nonsense"):
        presets[bad]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_copies_of_the_preset_table_work(again):
    presets = PRESETS.motion_options_preset
    copied = again(presets)
    assert copied.keys() == presets.keys()
    assert copied["steady_rigid"] == presets["steady_rigid"]
    assert copied.ours == presets.ours


@pytest.mark.parametrize("name", steadyspike.list_presets("motion"))
def test_parameters_of_our_presets_are_filled_up_with_defaults(name):
    stated = steadyspike.load_preset(name).parameters
    filled = si.get_motion_parameters_preset(name)
    assert stated.keys() == filled.keys()
    for key in stated.keys() - {"doc"}:
        assert stated[key].items() <= filled[key].items()
    assert filled["interpolate_motion_kwargs"]["num_closest"] == 3


def test_help_lists_our_presets_below_the_others():
    for function in (si.correct_motion, si.compute_motion):
        for name in si.get_motion_presets():
            assert (
                function.__doc__.count(f"    * {name}: {PRESETS.motion_options_preset[name]['doc']}\n") == 1
            )


def test_interpolation_of_spikeinterface_is_as_it_was(recording, motion):
    interpolate = si_motion.interpolate_motion
    assert inspect.signature(interpolate) == inspect.signature(si_motion.InterpolateMotionRecording)
    assert interpolate.__name__ == "interpolate_motion"
    assert interpolate.__doc__ == si_motion.InterpolateMotionRecording.__doc__
    node = interpolate(recording, motion, border_mode="force_zeros")
    assert type(node) is si_motion.InterpolateMotionRecording
    # what is no method of ours is an error as before, and not swallowed
    with pytest.raises(TypeError, match="method"):
        interpolate(recording, motion, method="kriging").get_traces(start_frame=0, end_frame=10)


@pytest.mark.parametrize("path", register.INTERPOLATION_FUNCTIONS)
def test_interpolation_with_our_method_is_our_node(path, recording, motion):
    arguments = dict(border_mode="force_extrapolate", sigma_um=30.0)
    node = table(path)(recording=recording, motion=motion, method="steady_interpolate_motion", **arguments)
    expected = steadyspike.interpolate_motion(recording, motion, **arguments)
    assert type(node) is type(expected)
    np.testing.assert_array_equal(node.get_traces(), expected.get_traces())


def test_our_wrapper_is_found_under_another(monkeypatch):
    @functools.wraps(si_motion.interpolate_motion)
    def theirs(*args, **kwargs):
        raise AssertionError("not called")

    monkeypatch.setattr(si_motion, "interpolate_motion", theirs)
    register.register()
    assert si_motion.interpolate_motion is theirs


def test_loading_a_saved_chain_registers(recording, motion, tmp_path):
    saved = recording.save(folder=tmp_path / "saved", chunk_duration="3s", n_jobs=1, progress_bar=False)
    chain = steadyspike.bandpass_filter(saved)
    chain = steadyspike.interpolate_motion(steadyspike.common_reference(chain), motion)
    chain.dump_to_json(tmp_path / "chain.json")
    np.save(tmp_path / "traces.npy", chain.get_traces())
    script = f"""
import sys
import numpy as np
import spikeinterface.full as si
assert "steadyspike" not in sys.modules
loaded = si.load(r"{tmp_path / "chain.json"}")
assert "steady_rigid" in si.get_motion_presets()
np.testing.assert_allclose(loaded.get_traces(), np.load(r"{tmp_path / "traces.npy"}"), rtol=0, atol=1e-3)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_spawned_workers_know_our_parts(recording):
    filtered = steadyspike.common_reference(steadyspike.bandpass_filter(recording))
    peaks = detect_peaks(filtered, method="locally_exclusive", job_kwargs=dict(n_jobs=1, progress_bar=False))
    assert peaks.size
    found = {}
    for n_jobs in (1, 2):
        jobs = dict(n_jobs=n_jobs, mp_context="spawn", pool_engine="process", chunk_duration="1s")
        found[n_jobs] = localize_peaks(
            filtered, peaks, method="steady_monopolar", job_kwargs={**jobs, "progress_bar": False}
        )
    np.testing.assert_array_equal(found[1], found[2])
