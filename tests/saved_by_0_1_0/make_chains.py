"""Of `make.py`: lazy chains."""

import inspect
import json

import numpy as np
import spikeinterface.full as si
from make_parent import IDS, LENGTHS, NUM_CHANNELS, QUIET, RATE, T_STARTS, parent_of
from spikeinterface.core.motion import Motion

import steadyspike
from steadyspike.keras_model import KerasModel
from steadyspike.preprocessing.bandpass import SteadyBandpassFilterRecording
from steadyspike.preprocessing.common_reference import SteadyCommonReferenceRecording
from steadyspike.preprocessing.deepinterpolation import SteadyDeepInterpolateRecording
from steadyspike.preprocessing.motion_by_shank import SteadyInterpolateMotionByShankRecording
from steadyspike.preprocessing.motion_interpolation import SteadyInterpolateMotionRecording

# segment, first frame, end: the samples of a chain that are kept
FRAMES = [(0, 0, 8), (0, 450, 458), (0, 892, 900), (1, 0, 8), (1, 300, 308), (1, 592, 600)]
NODES = (
    SteadyBandpassFilterRecording,
    SteadyCommonReferenceRecording,
    SteadyDeepInterpolateRecording,
    SteadyInterpolateMotionRecording,
    SteadyInterpolateMotionByShankRecording,
)


def motion_of(direction="y", scale=1.0, method="linear"):
    """A motion that differs over time, depth and segments."""
    times = [
        start + np.linspace(0.002, length / RATE, 6) for start, length in zip(T_STARTS, LENGTHS, strict=True)
    ]
    depths = np.array([10.0, 70.0, 130.0])
    displacement = [
        scale * (8.0 * np.sin(np.arange(6)[:, None] + segment) + np.array([0.0, 4.0, 11.0]) - 3.0)
        for segment in range(len(LENGTHS))
    ]
    return Motion(displacement, times, depths, direction, method)


def edges_of(step):
    return [
        start + np.arange(0, length / RATE + step, step)
        for start, length in zip(T_STARTS, LENGTHS, strict=True)
    ]


def chains_of(folder):
    parent = parent_of(folder)
    models = folder / "models"
    filtered = steadyspike.bandpass_filter(parent)
    chains = {
        "bandpass": filtered,
        "bandpass_every_argument": steadyspike.bandpass_filter(
            parent,
            freq_min=60.0,
            freq_max=4_000.0,
            margin_ms=12.0,
            dtype="int16",
            ignore_low_freq_error=True,
            filter_order=3,
            add_reflect_padding=True,
            ftype="bessel",
        ),
        "bandpass_highpass": steadyspike.bandpass_filter(parent, 500.0, None, dtype="float64"),
        "bandpass_lowpass": steadyspike.bandpass_filter(parent, None, 900.0),
    }
    halves = [IDS[:7], IDS[9:]]
    for name, arguments in {
        "default": dict(),
        "average_of_some": dict(operator="average", ref_channel_ids=[IDS[3], IDS[8], IDS[1]], dtype="int16"),
        "groups": dict(groups=halves),
        "groups_some": dict(groups=halves, ref_channel_ids=[IDS[2:5], IDS[10:]], dtype="float64"),
        "groups_out_of_group": dict(groups=halves, ref_channel_ids="out_of_group"),
        "single": dict(reference="single", ref_channel_ids=IDS[4]),
        "single_groups": dict(reference="single", groups=halves, ref_channel_ids=[IDS[1], IDS[12]]),
        "local": dict(reference="local"),
        "local_ring": dict(reference="local", local_radius=(15.0, 45.0), min_local_neighbors=3),
    }.items():
        chains[f"common_reference_{name}"] = steadyspike.common_reference(parent, **arguments)
    for name in ("blindspot", "ridge", "unet"):
        chains[f"deepinterpolate_{name}"] = steadyspike.deepinterpolate(filtered, models / name)
    chains["deepinterpolate_every_argument"] = steadyspike.deepinterpolate(
        parent,
        models / "blindspot",
        device="cpu",
        precision="half",
        memory_limit_mb=1.5,
        dtype="int16",
        num_threads=2,
        bad_channel_ids=[IDS[5]],
        center=150.0 + np.arange(NUM_CHANNELS),
        scale=20.0 + np.arange(NUM_CHANNELS),
    )
    keras = KerasModel(file=str(models / "keras_unet.h5"), pre=3, omission=2, normalization="channel")
    chains["deepinterpolate_keras"] = steadyspike.deepinterpolate(filtered, keras)
    motion = motion_of()
    interpolations = {
        "default": dict(),
        "remove_channels": dict(
            border_mode="remove_channels",
            interpolation_time_bin_centers_s=[edges[:-1] + 0.004 for edges in edges_of(0.008)],
            p=2,
        ),
        "force_zeros_idw": dict(
            border_mode="force_zeros",
            spatial_interpolation_method="idw",
            num_closest=2,
            interpolation_time_bin_edges_s=edges_of(0.011),
            dtype="float64",
        ),
        "sigmas": dict(
            sigma_um=(12.0, 30.0),
            p=1.5,
            sparse_thresh=0.02,
            interpolation_time_bin_size_s=0.007,
            dtype="int16",
        ),
        "nearest": dict(spatial_interpolation_method="nearest"),
    }
    shanks = np.arange(NUM_CHANNELS) % 2
    for name, arguments in interpolations.items():
        chains[f"interpolate_motion_{name}"] = steadyspike.interpolate_motion(filtered, motion, **arguments)
        if name != "nearest":
            chains[f"interpolate_motion_by_shank_{name}"] = steadyspike.interpolate_motion_by_shank(
                filtered, [motion, motion_of(scale=-0.7)], shanks=shanks, **arguments
            )
    chains["interpolate_motion_along_x"] = steadyspike.interpolate_motion(
        filtered, motion_of("x", 0.5, "nearest")
    )
    referenced = steadyspike.common_reference(filtered, operator="average")
    denoised = steadyspike.deepinterpolate(referenced, models / "unet", memory_limit_mb=4.0)
    chains["chain_of_four"] = steadyspike.interpolate_motion(denoised, motion, dtype="int16")
    chains["chain_with_relative_paths"] = si.apply_preprocessing_pipeline(
        parent,
        [
            dict(name="steady_bandpass_filter", params=dict(freq_min=400.0)),
            dict(name="steady_common_reference", params=dict(reference="local")),
        ],
    )
    corrected, info = si.correct_motion(
        filtered,
        preset="steady_rigid",
        output_motion_info=True,
        folder=folder / "motion_info",
        detect_kwargs=dict(detect_threshold=4.0),
        estimate_motion_kwargs=dict(bin_s=0.01),
        **QUIET,
    )
    moved = [np.abs(array).max() for array in info["motion"].displacement]
    assert min(moved) > 2, moved
    chains["chain_of_correct_motion"] = corrected
    return chains


def check_every_argument(chains):
    """Every argument of every node is away from its default in a chain."""
    for node in NODES:
        parameters = dict(inspect.signature(node).parameters)
        parameters.pop("recording")
        saved = [chain._kwargs for chain in chains.values() if type(chain) is node]
        for name, parameter in parameters.items():
            assert any(not _same(kwargs[name], parameter.default) for kwargs in saved), (node, name)


def _same(value, default):
    return json.dumps(value, default=str) == json.dumps(default, default=str)


def write_chains(folder):
    (folder / "chains").mkdir()
    chains = chains_of(folder)
    check_every_argument(chains)
    for name, chain in chains.items():
        file = folder / "chains" / f"{name}.json"
        chain.dump_to_json(file, relative_to=folder if "relative" in name else None)
        samples = [chain.get_traces(segment, first, end) for segment, first, end in FRAMES]
        np.save(file.with_suffix(".npy"), np.concatenate(samples))
    (folder / "chains" / "frames.json").write_text(json.dumps(FRAMES) + "\n")
