"""Arguments for sorters, by what the chain of a recording has done."""

import warnings

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import Probe, ProbeGroup
from spikeinterface.core.motion import Motion
from spikeinterface.sorters.sorterlist import sorter_dict

import steadyspike
from steadyspike.sorting import chain_of, parameters
from steadyspike.sorting.advice import ADVISERS

FS = 30_000.0


def raw(num_channels=96, spacing=20.0, shanks=1, shift=False):
    recording = si.NumpyRecording([np.zeros((3000, num_channels), "int16")], FS)
    probe = Probe(ndim=2)
    own = num_channels // shanks
    depths = np.tile(np.arange(own) * spacing, shanks)
    probe.set_contacts(
        np.column_stack([np.repeat(np.arange(shanks), own) * 250.0, depths]),
        shank_ids=np.repeat(np.arange(shanks), own),
    )
    probe.set_device_channel_indices(np.arange(num_channels))
    group = ProbeGroup()
    group.add_probe(probe)
    recording.set_probegroup(group)
    if shift:
        recording.set_property("inter_sample_shift", np.arange(num_channels) % 12 / 12)
    return recording


def moved(recording, interpolate=None):
    motion = Motion(np.zeros((2, 1)), np.array([0.02, 0.08]), np.array([100.0]))
    return (interpolate or steadyspike.interpolate_motion)(
        recording, motion, spatial_interpolation_method="kriging", border_mode="force_extrapolate"
    )


def theirs(recording):
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    return moved(recording.astype("float32"), interpolate_motion)


@pytest.fixture(autouse=True)
def quiet(request):
    if "warned" in request.fixturenames:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def warned():
    """A test that looks at warnings itself."""


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("filtered", si.bandpass_filter),
        ("filtered", si.highpass_filter),
        ("filtered", steadyspike.bandpass_filter),
        ("filtered", lambda one: si.filter(one, band=300.0, btype="highpass", margin_ms=5.0)),
        ("referenced", si.common_reference),
        ("referenced", steadyspike.common_reference),
        ("referenced", si.highpass_spatial_filter),
        ("whitened", lambda one: si.whiten(one, W=np.eye(96), M=np.zeros(96), dtype="float32")),
        ("standardized", lambda one: si.zscore(one, gain=np.ones(96), offset=np.zeros(96), dtype="float32")),
        ("phase_shifted", lambda one: si.phase_shift(one, inter_sample_shift=np.zeros(96))),
        ("phase_shifted", lambda one: steadyspike.phase_shift(one, inter_sample_shift=np.zeros(96))),
        ("corrected", moved),
    ],
)
def test_each_step_is_seen_whoever_made_it_and_after_a_save(name, make, tmp_path):
    source = raw().save(folder=tmp_path / "raw", n_jobs=1, progress_bar=False)
    made = make(source)
    before = made.save(folder=tmp_path / "saved", n_jobs=1, progress_bar=False)
    in_zarr = made.save(folder=tmp_path / "saved.zarr", format="zarr", n_jobs=1, progress_bar=False)
    for one in (made, made.frame_slice(0, 2000), si.concatenate_recordings([made]), before, in_zarr):
        chain = chain_of(one)
        steps = (
            "filtered",
            "referenced",
            "whitened",
            "standardized",
            "phase_shifted",
            "denoised",
            "corrected",
        )
        assert [step for step in steps if getattr(chain, step)] == [name]


def test_a_folder_that_does_not_tell_where_it_came_from_is_warned_of(tmp_path, warned):
    first = raw().save(folder=tmp_path / "first", n_jobs=1, progress_bar=False)
    assert chain_of(first).origin_unknown
    with pytest.warns(UserWarning, match="does not tell where it came from"):
        parameters("lupin", first)
    file = tmp_path / "raw.bin"
    np.zeros((3000, 4), "int16").tofile(file)
    told = si.read_binary(file, FS, "int16", 4).save(folder=tmp_path / "second", n_jobs=1, progress_bar=False)
    assert not chain_of(told).origin_unknown
    assert not chain_of(raw()).origin_unknown


def test_spikeinterfaces_correction_is_seen_too():
    """Not after a save: SpikeInterface can't write down where it came from."""
    assert chain_of(theirs(raw())).corrected


def test_a_lowpass_takes_nothing_slow_away():
    recording = steadyspike.bandpass_filter(raw(), freq_min=None)
    recording.annotate(is_filtered=False)
    assert not chain_of(recording).filtered


def test_the_corner_is_the_highest_one():
    recording = si.highpass_filter(si.bandpass_filter(raw(), freq_min=150.0), freq_min=450.0)
    assert chain_of(recording).freq_min == 450.0
    told = raw()
    told.annotate(is_filtered=True)
    assert chain_of(told).filtered
    assert chain_of(told).freq_min is None


def test_a_filter_of_unknown_corner_gets_a_low_one():
    told = raw()
    told.annotate(is_filtered=True)
    assert parameters("kilosort4", told)["highpass_cutoff"] == 100.0
    assert parameters("kilosort4", si.highpass_filter(raw(), freq_min=600.0))["highpass_cutoff"] == 200.0


def test_probes_are_measured():
    chain = chain_of(raw(96, spacing=40.0, shanks=4))
    assert (chain.num_channels, chain.num_shanks, chain.spacing_um) == (96, 4, 40.0)
    assert np.isnan(chain_of(si.NumpyRecording([np.zeros((100, 2), "int16")], FS)).spacing_um)
    assert chain_of(raw(shift=True)).needs_phase_shift
    assert not chain_of(si.phase_shift(raw(shift=True))).needs_phase_shift
    assert not chain_of(raw()).needs_phase_shift


def prepared(recording):
    return steadyspike.common_reference(steadyspike.bandpass_filter(recording, freq_min=300.0))


def whitened(recording):
    channels = recording.get_num_channels()
    return si.whiten(recording, W=np.eye(channels), M=np.zeros(channels), dtype="float32")


FULL = dict(freq_min=150.0, ftype="bessel", filter_order=2, dtype="float32")


@pytest.mark.parametrize(
    ("sorter", "make", "expected"),
    [
        ("kilosort4", raw, dict(do_correction=True, do_CAR=True, skip_kilosort_preprocessing=False)),
        ("kilosort4", lambda: prepared(raw()),
         dict(do_correction=True, do_CAR=False, skip_kilosort_preprocessing=False, highpass_cutoff=100.0)),
        ("kilosort4", lambda: moved(prepared(raw())),
         dict(do_correction=False, do_CAR=False, skip_kilosort_preprocessing=False, highpass_cutoff=100.0)),
        ("kilosort4", lambda: whitened(prepared(raw())),
         dict(do_correction=True, do_CAR=False, skip_kilosort_preprocessing=True)),
        ("kilosort4", lambda: raw(95), dict(do_correction=False, do_CAR=True, skip_kilosort_preprocessing=False)),
        ("kilosort4", lambda: raw(192, shanks=4),
         dict(do_correction=False, do_CAR=True, skip_kilosort_preprocessing=False)),
        ("kilosort4", lambda: raw(96, spacing=50.0),
         dict(do_correction=False, do_CAR=True, skip_kilosort_preprocessing=False)),
        ("spykingcircus2", raw,
         dict(apply_preprocessing=True, apply_whitening=True, apply_motion_correction=True)),
        ("spykingcircus2", lambda: moved(prepared(raw())),
         dict(apply_preprocessing=False, apply_whitening=True, apply_motion_correction=False)),
        ("spykingcircus2", lambda: whitened(prepared(raw())),
         dict(apply_preprocessing=False, apply_whitening=False, apply_motion_correction=True)),
        ("tridesclous2", raw, dict(apply_preprocessing=True, apply_motion_correction=False)),
        ("lupin", lambda: moved(prepared(raw())),
         dict(apply_preprocessing=True, apply_motion_correction=False, preprocessing_dict={})),
        ("lupin", lambda: whitened(prepared(raw())),
         dict(apply_preprocessing=False, apply_motion_correction=False)),
        ("tridesclous2", lambda: steadyspike.bandpass_filter(raw()),
         dict(apply_preprocessing=True, apply_motion_correction=False, preprocessing_dict={"common_reference": {}})),
        ("tridesclous2", lambda: steadyspike.bandpass_filter(raw(31)),
         dict(apply_preprocessing=True, apply_motion_correction=False, preprocessing_dict={})),
        ("tridesclous2", lambda: si.common_reference(raw()),
         dict(apply_preprocessing=True, apply_motion_correction=False,
              preprocessing_dict={"bandpass_filter": {**FULL, "freq_max": 6000.0}})),
        ("lupin", lambda: si.common_reference(raw()),
         dict(apply_preprocessing=True, apply_motion_correction=False,
              preprocessing_dict={"bandpass_filter": {**FULL, "freq_max": 7000.0}})),
        ("mountainsort5", raw, dict(filter=True, whiten=True)),
        ("mountainsort5", lambda: whitened(prepared(raw())), dict(filter=False, whiten=False)),
        ("dartsort", raw,
         dict(do_motion_estimation=True, already_preprocessed="no", preprocessing="ibllikecmr")),
        ("dartsort", lambda: moved(prepared(raw())),
         dict(do_motion_estimation=False, already_preprocessed="no", preprocessing="standardize")),
        ("dartsort", lambda: si.zscore(prepared(raw()), gain=np.ones(96), offset=np.zeros(96), dtype="float32"),
         dict(do_motion_estimation=True, already_preprocessed="yes")),
    ],
)  # fmt: skip
def test_nothing_is_done_twice(sorter, make, expected):
    chosen = parameters(sorter, make())
    assert dict(chosen) == expected
    for choice in chosen.choices:
        assert choice.reason
        assert f"{choice.parameter}={choice.value!r}: {choice.reason}" in repr(chosen)


@pytest.mark.parametrize("sorter", ["spykingcircus2", "tridesclous2", "lupin", "mountainsort5"])
@pytest.mark.parametrize("make", [raw, lambda: prepared(raw()), lambda: whitened(prepared(raw()))])
def test_spikeinterface_knows_the_arguments(sorter, make):
    known = sorter_dict[sorter].default_params()
    assert set(parameters(sorter, make())) <= set(known)


def test_kilosorts_wrapper_knows_the_arguments():
    known = sorter_dict["kilosort4"]._si_default_params
    assert set(parameters("kilosort4", raw())) <= set(known)


def test_the_chain_that_is_left_to_a_sorter_runs():
    chosen = parameters("tridesclous2", si.common_reference(raw()))
    done = si.apply_preprocessing_pipeline(raw(), chosen["preprocessing_dict"])
    assert chain_of(done).filtered
    assert chain_of(done).freq_min == 150.0
    assert done.get_traces(end_frame=10).shape == (10, 96)


@pytest.mark.parametrize(
    ("sorter", "make", "text"),
    [
        ("kilosort4", lambda: raw(48), "48 channels are too few .* all of them together"),
        ("kilosort4", lambda: raw(192, shanks=4), "one axis.*all shanks together"),
        ("kilosort4", lambda: raw(96, spacing=100.0), "100 um apart are too sparse"),
        ("kilosort4", lambda: whitened(raw()), "whitened but not filtered"),
        ("kilosort4", lambda: si.whiten(prepared(raw()), W=np.eye(96), M=np.zeros(96), dtype="int16", int_scale=200),
         "200 times"),
        ("lupin", lambda: whitened(raw()), "whitened but not filtered"),
        ("mountainsort5", raw, "nothing takes a common reference"),
        ("spykingcircus2", lambda: si.bandpass_filter(raw()), "nothing takes a common reference"),
        ("dartsort", lambda: whitened(prepared(raw())), "not whitened"),
        ("lupin", lambda: raw(shift=True), "phase_shift"),
    ],
)  # fmt: skip
def test_what_hurts_is_warned_of(sorter, make, text, warned):
    with pytest.warns(UserWarning, match=text):
        chosen = parameters(sorter, make())
    assert any("warning: " in line for line in repr(chosen).splitlines())


@pytest.mark.parametrize("sorter", ADVISERS)
def test_a_well_prepared_recording_is_not_warned_of(sorter, warned):
    recording = moved(prepared(raw()))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not parameters(sorter, recording).warnings


def test_a_denoised_recording_is_warned_of(warned):
    recording = prepared(raw())
    denoised = type("SteadyDeepInterpolateRecording", (type(recording),), {})(recording.astype("float32"))
    assert chain_of(denoised).denoised
    with pytest.warns(UserWarning, match="denoising has cost units"):
        parameters("lupin", denoised)


def test_other_sorters_are_refused():
    with pytest.raises(ValueError, match="sorter='yass'; allowed: 'kilosort4'"):
        parameters("yass", raw())
