"""Preset files: what is read, what is refused and with which words, what is written."""

import copy
import os
import tomllib
import warnings
from pathlib import Path

import pytest
import tomlkit

import steadyspike
from steadyspike.library.presets import files as preset_files
from steadyspike.library.presets.presets import (
    MotionPreset,
    PreprocessingPreset,
    PresetError,
    UnknownPresetError,
    find_preset,
    load_preset,
    save_preset,
)

MOTION = {
    "schema": 1,
    "kind": "motion",
    "name": "my_lab",
    "doc": "One line",
    "detect_kwargs": {"method": "locally_exclusive", "detect_threshold": 6, "radius_um": 75.0},
    "select_kwargs": {"method": "uniform", "n_peaks": 1000},
    "localize_peaks_kwargs": {"method": "grid_convolution", "weight_method": {"mode": "gaussian_2d"}},
    "estimate_motion_kwargs": {"method": "dredge_ap", "direction": "y", "rigid": False, "bin_s": 2.0},
    "interpolate_motion_kwargs": {"border_mode": "force_zeros", "p": 2},
}
PREPROCESSING = {
    "schema": 1,
    "kind": "preprocessing",
    "name": "my_steps",
    "doc": "One line",
    "steps": [
        {"name": "steady_bandpass_filter", "params": {"freq_min": 500.0}},
        {"name": "steady_common_reference"},
    ],
}
ABSENT = object()

# (preset, key to change, value, words that the error must have)
BAD = {
    "newer schema": (MOTION, "schema", 2, ["schema", "upgrade"]),
    "no schema": (MOTION, "schema", ABSENT, ["schema", "allowed: 1"]),
    "schema is no number": (MOTION, "schema", "1", ["schema", "'1'", "allowed: 1"]),
    "unknown kind": (MOTION, "kind", "sorting", ["kind", "'sorting'", "'motion', 'preprocessing'"]),
    "no kind": (MOTION, "kind", ABSENT, ["kind", "'motion', 'preprocessing'"]),
    "unusable name": (MOTION, "name", "my lab", ["name", "'my lab'", "letters, digits"]),
    "doc of two lines": (MOTION, "doc", "a\nb", ["doc", "one line"]),
    "doc is no text": (MOTION, "doc", 3, ["doc", "3", "string"]),
    "unknown key": (MOTION, "detect_kwarg", {}, ["detect_kwarg", "no key", "detect_kwargs"]),
    "no table": (MOTION, "estimate_motion_kwargs", ABSENT, ["estimate_motion_kwargs", "missing"]),
    "table is no table": (MOTION, "detect_kwargs", "by_channel", ["detect_kwargs", "'by_channel'"]),
    "motion with steps": (MOTION, "steps", [], ["steps", "no key"]),
    "no method": (MOTION, "detect_kwargs.method", ABSENT, ["detect_kwargs.method", "locally_exclusive"]),
    "unknown detector": (
        MOTION,
        "detect_kwargs.method",
        "localy_exclusive",
        ["detect_kwargs.method", "did you mean 'locally_exclusive'?", "by_channel"],
    ),
    "unknown localizer": (
        MOTION,
        "localize_peaks_kwargs.method",
        "steady_monopole",
        ["localize_peaks_kwargs.method", "did you mean 'steady_monopolar'?"],
    ),
    "unknown estimator": (
        MOTION,
        "estimate_motion_kwargs.method",
        "steady_decentralised",
        ["estimate_motion_kwargs.method", "did you mean 'steady_decentralized'?"],
    ),
    "unknown interpolation": (
        MOTION,
        "interpolate_motion_kwargs.method",
        "kriging",
        ["interpolate_motion_kwargs.method", "steady_interpolate_motion"],
    ),
    "selection that needs arrays": (
        MOTION,
        "select_kwargs.method",
        "smart_sampling_amplitudes",
        ["select_kwargs.method", "uniform"],
    ),
    "method is no text": (MOTION, "detect_kwargs.method", 3, ["detect_kwargs.method", "3", "by_channel"]),
    "unknown parameter": (
        MOTION,
        "detect_kwargs.detect_treshold",
        5.0,
        ["detect_kwargs.detect_treshold", "did you mean 'detect_threshold'?", "'locally_exclusive'"],
    ),
    "parameter of another method": (
        MOTION,
        "localize_peaks_kwargs.max_distance_um",
        100.0,
        ["localize_peaks_kwargs.max_distance_um", "no parameter of 'grid_convolution'"],
    ),
    "parameter that correct_motion passes": (
        MOTION,
        "estimate_motion_kwargs.progress_bar",
        True,
        ["estimate_motion_kwargs.progress_bar", "no parameter"],
    ),
    "missing parameter": (
        MOTION,
        "select_kwargs.n_peaks",
        ABSENT,
        ["select_kwargs.n_peaks", "missing", "'uniform'"],
    ),
    "text for a number": (
        MOTION,
        "detect_kwargs.radius_um",
        "wide",
        ["detect_kwargs.radius_um", "'wide'", "a number"],
    ),
    "true for a number": (MOTION, "detect_kwargs.radius_um", True, ["detect_kwargs.radius_um", "a number"]),
    "number for true": (MOTION, "estimate_motion_kwargs.rigid", 1, ["estimate_motion_kwargs.rigid", "true"]),
    "number for text": (MOTION, "detect_kwargs.peak_sign", -1, ["detect_kwargs.peak_sign", "'neg'"]),
    "fraction of a peak": (
        MOTION,
        "select_kwargs.n_peaks",
        10.5,
        ["select_kwargs.n_peaks", "a whole number"],
    ),
    "number for a table": (
        MOTION,
        "localize_peaks_kwargs.weight_method",
        3,
        ["localize_peaks_kwargs.weight_method", "a table"],
    ),
    "number for a list": (
        MOTION,
        "localize_peaks_kwargs.weight_method.sigma_list_um",
        5.0,
        ["localize_peaks_kwargs.weight_method.sigma_list_um", "a list"],
    ),
    "list with a bad number": (
        MOTION,
        "localize_peaks_kwargs.weight_method.sigma_list_um",
        [5.0, -5.0],
        ["localize_peaks_kwargs.weight_method.sigma_list_um", "a number > 0"],
    ),
    "unknown key in an inner table": (
        MOTION,
        "localize_peaks_kwargs.weight_method.mod",
        "gaussian_2d",
        ["localize_peaks_kwargs.weight_method.mod", "did you mean 'mode'?"],
    ),
    "threshold below zero": (
        MOTION,
        "detect_kwargs.detect_threshold",
        -5,
        ["detect_kwargs.detect_threshold", "-5", "a number > 0"],
    ),
    "bins of no length": (
        MOTION,
        "estimate_motion_kwargs.bin_s",
        0.0,
        ["estimate_motion_kwargs.bin_s", "a number > 0"],
    ),
    "percentile above 100": (
        MOTION,
        "localize_peaks_kwargs.percentile",
        101.0,
        ["localize_peaks_kwargs.percentile", ">= 0 and <= 100"],
    ),
    "infinite": (
        MOTION,
        "estimate_motion_kwargs.bin_s",
        float("inf"),
        ["estimate_motion_kwargs.bin_s", "finite"],
    ),
    "unknown direction": (
        MOTION,
        "estimate_motion_kwargs.direction",
        "depth",
        ["estimate_motion_kwargs.direction", "'depth'", "'x', 'y' or 'z'"],
    ),
    "word of another method": (
        {**MOTION, "estimate_motion_kwargs": {"method": "steady_decentralized"}},
        "estimate_motion_kwargs.reference_displacement",
        "mode_search",
        ["estimate_motion_kwargs.reference_displacement", "'midrange', 'mean' or 'median'"],
    ),
    "rounds below zero": (
        {**MOTION, "estimate_motion_kwargs": {"method": "steady_decentralized"}},
        "estimate_motion_kwargs.refine_iterations",
        -1,
        ["estimate_motion_kwargs.refine_iterations", "-1", "a whole number >= 0"],
    ),
    "number of a word": (
        {**MOTION, "estimate_motion_kwargs": {"method": "steady_decentralized"}},
        "estimate_motion_kwargs.time_horizon_s",
        "all",
        ["estimate_motion_kwargs.time_horizon_s", "'all'", "a number > 0 s or None"],
    ),
    "parameter that another of our estimators has": (
        {**MOTION, "estimate_motion_kwargs": {"method": "steady_auto"}},
        "estimate_motion_kwargs.refine_iterations",
        4,
        ["estimate_motion_kwargs.refine_iterations", "no parameter of 'steady_auto'", "follow_verdict"],
    ),
    "window of ours of no width": (
        {**MOTION, "estimate_motion_kwargs": {"method": "steady_auto"}},
        "estimate_motion_kwargs.win_step_um",
        0,
        ["estimate_motion_kwargs.win_step_um", "a number > 0"],
    ),
    "unknown border": (
        MOTION,
        "interpolate_motion_kwargs.border_mode",
        "wrap",
        ["interpolate_motion_kwargs.border_mode", "'remove_channels'"],
    ),
    "a function": (
        MOTION,
        "estimate_motion_kwargs.post_transform",
        "log1p",
        ["estimate_motion_kwargs.post_transform", "function"],
    ),
    "a date": (
        MOTION,
        "estimate_motion_kwargs.bin_s",
        tomllib.loads("day = 2026-01-01")["day"],
        ["estimate_motion_kwargs.bin_s", "plain data"],
    ),
    "no steps": (PREPROCESSING, "steps", [], ["steps", "at least 1"]),
    "steps are no list": (PREPROCESSING, "steps", "whiten", ["steps", "'whiten'"]),
    "unknown key of a step": (
        PREPROCESSING,
        "steps",
        [{"name": "whiten", "kwargs": {}}],
        ["steps[0].kwargs", "no key", "name, params"],
    ),
    "unknown step": (
        PREPROCESSING,
        "steps",
        [{"name": "whiten"}, {"name": "steady_bandpass"}],
        ["steps[1].name", "did you mean 'steady_bandpass_filter'?"],
    ),
    "unknown parameter of a step": (
        PREPROCESSING,
        "steps",
        [{"name": "steady_bandpass_filter", "params": {"freq_mim": 300.0}}],
        ["steps[0].params.freq_mim", "did you mean 'freq_min'?"],
    ),
    "unknown parameter of bad channels": (
        PREPROCESSING,
        "steps",
        [{"name": "detect_and_remove_bad_channels", "params": {"n_neighbours": 11}}],
        ["steps[0].params.n_neighbours", "did you mean 'n_neighbors'?"],
    ),
    "unknown word of a step": (
        PREPROCESSING,
        "steps",
        [{"name": "detect_and_remove_bad_channels", "params": {"outside_channels_location": "left"}}],
        ["steps[0].params.outside_channels_location", "'top', 'bottom' or 'both'"],
    ),
    "word for a margin": (
        PREPROCESSING,
        "steps",
        [{"name": "bandpass_filter", "params": {"margin_ms": "long"}}],
        ["steps[0].params.margin_ms", "a number or 'auto'"],
    ),
    "unknown parameter that is passed on": (
        PREPROCESSING,
        "steps",
        [{"name": "whiten", "params": {"num_chunks_per_segments": 3}}],
        ["steps[0].params.num_chunks_per_segments", "did you mean 'num_chunks_per_segment'?"],
    ),
    "unknown reference": (
        PREPROCESSING,
        "steps",
        [{"name": "steady_common_reference", "params": {"operator": "mean"}}],
        ["steps[0].params.operator", "'median' or 'average'"],
    ),
    "frequency below zero": (
        PREPROCESSING,
        "steps",
        [{"name": "steady_bandpass_filter", "params": {"freq_min": -300.0}}],
        ["steps[0].params.freq_min", "a number > 0"],
    ),
    "step without what it needs": (
        PREPROCESSING,
        "steps",
        [{"name": "interpolate_bad_channels"}],
        ["steps[0].params.bad_channel_ids", "missing"],
    ),
}


def changed(preset, key, value):
    preset = copy.deepcopy(preset)
    *tables, last = key.split(".")
    place = preset
    for table in tables:
        place = place[table]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return preset


def write(content, path):
    path.write_text(tomlkit.dumps(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_preset_is_refused_with_file_key_and_what_is_allowed(case, tmp_path):
    preset, key, value, words = case
    path = write(changed(preset, key, value), tmp_path / "bad.toml")
    with pytest.raises(PresetError) as caught:
        load_preset(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_all_problems_are_told_at_once(tmp_path):
    content = changed(MOTION, "detect_kwargs.radius_um", -1.0)
    content = changed(content, "estimate_motion_kwargs.bin_sec", 1.0)
    with pytest.raises(PresetError) as caught:
        load_preset(write(content, tmp_path / "bad.toml"))
    assert [line.split(": ")[1] for line in str(caught.value).splitlines()] == [
        "detect_kwargs.radius_um",
        "estimate_motion_kwargs.bin_sec",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"schema = ", "not valid TOML"), (b"doc = '\xff'", "not valid TOML"), (b"", "schema")],
)
def test_file_that_is_no_preset(content, words, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_bytes(content)
    with pytest.raises(PresetError, match=words) as caught:
        load_preset(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", steadyspike.list_presets())
def test_every_bundled_preset_is_good_and_named_as_its_file(name):
    preset = load_preset(name)
    path = find_preset(name)
    assert preset.name == path.stem == name
    assert preset.kind == path.parent.name
    assert preset == load_preset(str(path)) == load_preset(path)


def test_list_presets():
    motion, preprocessing = steadyspike.list_presets("motion"), steadyspike.list_presets("preprocessing")
    assert {"steady_rigid", "steady_nonrigid", "steady_kilosort"} <= set(motion)
    assert {"neuropixels1", "neuropixels2"} <= set(preprocessing)
    assert steadyspike.list_presets() == motion + preprocessing
    assert not set(motion) & set(preprocessing)
    with pytest.raises(ValueError, match=r"kind='sorting'.*motion, preprocessing"):
        steadyspike.list_presets("sorting")


def test_good_presets_hold_what_the_file_says(tmp_path):
    motion = load_preset(write(MOTION, tmp_path / "motion.toml"))
    assert isinstance(motion, MotionPreset)
    assert motion.parameters == {k: v for k, v in MOTION.items() if k not in ("schema", "kind", "name")}
    steps = load_preset(write(PREPROCESSING, tmp_path / "steps.toml"))
    assert isinstance(steps, PreprocessingPreset)
    assert steps.steps == [PREPROCESSING["steps"][0], {"name": "steady_common_reference", "params": {}}]


def test_parameters_that_a_step_passes_on_and_words_for_numbers(tmp_path):
    steps = [
        {"name": "bandpass_filter", "params": {"margin_ms": "auto", "filter_order": 3, "ftype": "bessel"}},
        {"name": "highpass_filter", "params": {"margin_ms": 5, "direction": "forward"}},
        {"name": "whiten", "params": {"num_chunks_per_segment": 3, "seed": 0}},
        {"name": "detect_and_remove_bad_channels", "params": {"n_neighbors": 5, "channel_filters": ["dead"]}},
    ]
    path = write({**PREPROCESSING, "steps": steps}, tmp_path / "steps.toml")
    assert load_preset(path).steps == steps


def test_words_of_an_estimator_of_spikeinterface_are_not_those_of_ours(tmp_path):
    theirs = {"method": "decentralized", "reference_displacement": "mode_search"}
    path = write({**MOTION, "estimate_motion_kwargs": theirs}, tmp_path / "motion.toml")
    assert load_preset(path).estimate_motion_kwargs == theirs
    ours = {"method": "steady_decentralized", "reference_displacement": "midrange", "refine_iterations": 0}
    path = write({**MOTION, "estimate_motion_kwargs": ours}, tmp_path / "motion.toml")
    assert load_preset(path).estimate_motion_kwargs == ours


def test_methods_that_others_register_later_are_known(tmp_path, monkeypatch):
    from spikeinterface.sortingcomponents.motion.motion_estimation import estimate_motion_methods

    content = {**MOTION, "estimate_motion_kwargs": {"method": "of_another_lab", "bin_s": 2.0}}
    path = write(content, tmp_path / "motion.toml")
    with pytest.raises(PresetError, match="'of_another_lab' is no method"):
        load_preset(path)
    monkeypatch.setitem(estimate_motion_methods, "of_another_lab", estimate_motion_methods["decentralized"])
    assert load_preset(path).estimate_motion_kwargs == content["estimate_motion_kwargs"]


def test_tables_that_may_be_left_out(tmp_path):
    content = changed(changed(MOTION, "select_kwargs", ABSENT), "interpolate_motion_kwargs", ABSENT)
    parameters = load_preset(write(content, tmp_path / "short.toml")).parameters
    assert parameters["select_kwargs"] == parameters["interpolate_motion_kwargs"] == {}


def test_preset_cannot_be_changed_in_place():
    preset = load_preset("neuropixels1")
    with pytest.raises(ValueError, match="frozen"):
        preset.name = "other"
    preset.steps[0]["params"]["margin_ms"] = 1.0
    preset.steps.clear()
    assert preset == load_preset("neuropixels1")


def test_replace_makes_a_checked_copy():
    preset = load_preset("steady_nonrigid")
    detect = {**preset.detect_kwargs, "detect_threshold": 6.0}
    mine = preset.replace(name="my_lab", detect_kwargs=detect)
    assert mine.parameters == {**preset.parameters, "detect_kwargs": detect}
    with pytest.raises(PresetError, match="'steady_nonrigid' with changes: detect_kwarg: is no key"):
        preset.replace(detect_kwarg=detect)
    assert preset.model_copy(update={"name": "my_lab", "detect_kwargs": detect}) == mine
    with pytest.raises(PresetError, match="detect_kwarg: is no key"):
        preset.model_copy(update={"detect_kwarg": detect})
    steps = [{"name": "whiten", "params": {}}]
    assert load_preset("neuropixels1").replace(steps=steps).steps == steps


@pytest.mark.parametrize("ref", ["hf:lab", "hf:lab/preset@", "hf:../preset", "hf:lab/preset@v..2"])
def test_references_to_the_hub_that_cannot_be(ref):
    with pytest.raises(ValueError, match="Hugging Face Hub"):
        load_preset(ref)


@pytest.mark.parametrize("ref", ["steady_nonrgid", "", "my_lab", 3])
def test_unknown_name_lists_the_known_ones(ref):
    with pytest.raises(UnknownPresetError, match=r"steady_nonrigid.*neuropixels1.*path of a TOML file"):
        load_preset(ref)


@pytest.mark.parametrize("ref", ["absent.toml", "folder/absent", Path("absent")])
def test_missing_file(ref):
    with pytest.raises(FileNotFoundError, match="absent"):
        load_preset(ref)


def test_folder_is_no_preset(tmp_path):
    with pytest.raises(PresetError, match="is a folder"):
        load_preset(tmp_path)


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write(MOTION, tmp_path / "mine.toml")
    assert load_preset("~/mine.toml").name == "my_lab"


@pytest.mark.parametrize("name", steadyspike.list_presets())
def test_saved_preset_loads_again_as_the_same(name, tmp_path):
    preset = load_preset(name)
    path = save_preset(preset, tmp_path / "saved.toml")
    assert load_preset(path) == preset
    assert list(tomllib.loads(path.read_text("utf-8")))[:4] == ["schema", "kind", "name", "doc"]
    assert [file.name for file in tmp_path.iterdir()] == ["saved.toml"]


def test_saving_a_dictionary(tmp_path):
    path = save_preset(MOTION, str(tmp_path / "saved.toml"))
    assert tomllib.loads(path.read_text("utf-8")) == MOTION


def test_saving_does_not_overwrite_unless_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_preset(MOTION, path)
    assert path.read_text() == "precious"
    save_preset(MOTION, path, overwrite=True)
    assert load_preset(path).name == "my_lab"


def test_bad_preset_is_not_saved(tmp_path):
    with pytest.raises(PresetError, match=r"mine.toml: detect_kwargs.radius_um"):
        save_preset(changed(MOTION, "detect_kwargs.radius_um", None), tmp_path / "mine.toml")
    with pytest.raises(ValueError, match=r"ending in \.toml"):
        save_preset(MOTION, tmp_path / "mine.json")
    assert not list(tmp_path.iterdir())


def test_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = save_preset(MOTION, tmp_path / "mine.toml")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_preset(changed(MOTION, "name", "other"), path, overwrite=True)
    assert load_preset(path).name == "my_lab"
    assert [file.name for file in tmp_path.iterdir()] == ["mine.toml"]


def test_presets_of_an_installed_wheel_are_found_in_the_package(tmp_path, monkeypatch):
    package = tmp_path / "presets"
    (package / "bundled" / "motion").mkdir(parents=True)
    write(MOTION, package / "bundled" / "motion" / "my_lab.toml")
    monkeypatch.setattr(preset_files, "__file__", str(package / "files.py"))
    assert steadyspike.list_presets() == ["my_lab"]


def test_a_file_of_the_name_of_a_bundled_preset_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_preset({**MOTION, "name": "steady_rigid"}, "steady_rigid.toml")
    with pytest.warns(
        UserWarning, match=r"'steady_rigid' is what steadyspike brings along.* write '\./steady_rigid\.toml'"
    ):
        assert load_preset("steady_rigid").name == "steady_rigid"
    with warnings.catch_warnings(action="error"):
        assert load_preset("./steady_rigid.toml").detect_kwargs == MOTION["detect_kwargs"]


PARTS = "a." * 90_000 + "a = 1"


@pytest.mark.parametrize(
    "bomb",
    [
        PARTS,
        PARTS.replace("a.", "a . "),
        PARTS.replace("a.", '"a".', 40_000),
        f"[{PARTS[:-4]}]",
        f"[[{PARTS[:-4]}]]",
        f'x = 1.0 # "\n{PARTS}',
        f'x = [{{b = """\n""", {PARTS}}}]',
        f'x = 1 # """\n{PARTS}',
        f'x = "\n{PARTS}',
        "#" * 200_001,
    ],
    ids=lambda bomb: repr(bomb[:12]),
)
def test_what_would_take_the_parser_minutes_is_refused_before(tmp_path, monkeypatch, bomb):
    monkeypatch.setattr(tomllib, "loads", lambda _: pytest.fail("was parsed"))
    (tmp_path / "bomb.toml").write_text(bomb)
    with pytest.raises(PresetError, match=r"a key of 20 parts or more|has \d+ bytes; allowed: up to 200000"):
        load_preset(tmp_path / "bomb.toml")


def test_points_in_texts_comments_and_numbers_are_no_keys(tmp_path):
    path = save_preset({**MOTION, "doc": "a." * 100 + 'a and "b.c.d"'}, tmp_path / "points.toml")
    points = ".".join(["a"] * 50)
    path.write_text(f"# {points}\n{path.read_text()}\n# '{points}'\n")
    assert load_preset(path).doc.startswith("a.a.a")
    path.write_text(path.read_text().replace("radius_um = 75.0", f"radius_um = [{', '.join(['1.5'] * 100)}]"))
    with pytest.raises(PresetError, match="radius_um"):
        load_preset(path)


def cyclic():
    inner = {}
    inner["again"] = inner
    return inner


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (cyclic(), "nested deeper than 10"),
        ([0] * 100_000, "has a length of 100000; allowed: up to 1000"),
        (10**5000, "more than 64 bits"),
        ("\ud800", "text that can be written as UTF-8"),
        (object, "plain data"),
    ],
    ids=["cycle", "long", "digits", "surrogate", "class"],
)
def test_values_that_no_preset_has_are_told_in_few_words(tmp_path, value, words):
    for key in ("schema", "kind", "name", "doc", "detect_kwargs", "more"):
        with pytest.raises(PresetError) as caught:
            save_preset({**MOTION, key: value}, tmp_path / "preset.toml")
        assert len(str(caught.value)) < 1000
    with pytest.raises(PresetError, match=words):
        load_preset("steady_rigid").replace(detect_kwargs={"method": "by_channel", "peak_sign": value})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_as_editors_and_shells_of_windows_write_them(tmp_path, encoding):
    path = save_preset({**MOTION, "doc": "Für µm"}, tmp_path / "preset.toml")
    path.write_bytes(path.read_text(encoding="utf-8").replace("\n", "\r\n").encode(encoding))
    assert load_preset(path).doc == "Für µm"
