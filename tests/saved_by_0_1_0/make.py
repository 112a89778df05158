"""Writes what is in this folder; run once, with release 0.1.0, and not to be run again: ``python make.py``.

`tests/test_saved_by_0_1_0.py` loads it with today's code. Absolute paths in JSON files became "{folder}", which the
test replaces by where its copy of this folder lies, and the indentation of chains is gone; everything else is as 0.1.0
wrote it.
"""

import inspect
import json
import re
import shutil
import signal
import tempfile
import warnings
from pathlib import Path

import numpy as np
import spikeinterface.full as si
import torch
from probeinterface import Probe
from spikeinterface.core.motion import Motion

import steadyspike
from steadyspike.keras_model import KerasModel
from steadyspike.keras_weights import write_keras_unet
from steadyspike.model_folder import NetworkConfig, save_model
from steadyspike.models import config_of
from steadyspike.motion import OnlineMotionEstimator, save_motion
from steadyspike.networks import make_network
from steadyspike.peaks import on_disk
from steadyspike.preprocessing.bandpass import SteadyBandpassFilterRecording
from steadyspike.preprocessing.common_reference import SteadyCommonReferenceRecording
from steadyspike.preprocessing.deepinterpolation import SteadyDeepInterpolateRecording
from steadyspike.preprocessing.motion_by_shank import SteadyInterpolateMotionByShankRecording
from steadyspike.preprocessing.motion_interpolation import SteadyInterpolateMotionRecording
from steadyspike.probe_layout import layout_of
from steadyspike.spike_models import SpikeDetectorConfig, WaveformDenoiserConfig
from steadyspike.training import loop, run
from steadyspike.waveform_models import SpikeClassifierConfig, WaveformAutoencoderConfig

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RATE = 20_000.0
NUM_CHANNELS = 16
LENGTHS = (900, 600)
T_STARTS = (2.5, 100.25)
POSITIONS = np.array([[32.0 * (i % 2), 20.0 * (i // 2)] for i in range(NUM_CHANNELS)])
IDS = [f"AP{(5 * i) % NUM_CHANNELS}" for i in range(NUM_CHANNELS)]
QUIET = dict(n_jobs=1, progress_bar=False)
# segment, first frame, end: the samples of a chain that are kept
FRAMES = [(0, 0, 8), (0, 450, 458), (0, 892, 900), (1, 0, 8), (1, 300, 308), (1, 592, 600)]
NODES = (
    SteadyBandpassFilterRecording,
    SteadyCommonReferenceRecording,
    SteadyDeepInterpolateRecording,
    SteadyInterpolateMotionRecording,
    SteadyInterpolateMotionByShankRecording,
)


# -- the parent -------------------------------------------------------------------------------------------------


def traces_of(num_samples, seed):
    """Noise, slow common drift, offsets, and spikes of a source that moves along the probe; int16."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_samples)[:, None]
    traces = rng.normal(scale=15.0, size=(num_samples, NUM_CHANNELS))
    traces += 40.0 * np.sin(2 * np.pi * 90.0 * time / RATE) + rng.uniform(-30.0, 30.0, NUM_CHANNELS)
    shape = -np.exp(-(np.arange(-6, 10) ** 2) / 6.0)
    for number, at in enumerate(range(20, num_samples - 20, 24)):
        source = (16.0, (35.0, 75.0, 110.0)[number % 3] + 25.0 * at / num_samples)
        distance = np.linalg.norm(POSITIONS - source, axis=1)
        traces[at - 6 : at + 10] += rng.uniform(400, 500) * shape[:, None] * np.exp(-distance / 25.0)
    return np.round(traces + 150.0).astype("int16")


def write_parent(folder):
    (folder / "parent").mkdir()
    for segment, length in enumerate(LENGTHS):
        traces_of(length, segment).tofile(folder / "parent" / f"traces_{segment}.raw")


def dressed(recording):
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(positions=POSITIONS, shapes="circle", shape_params={"radius": 5})
    probe.set_device_channel_indices(np.arange(NUM_CHANNELS))
    recording.set_probe(probe)
    recording.set_channel_gains(0.195)
    recording.set_channel_offsets(-3.0)
    return recording


def parent_of(folder):
    files = [folder / "parent" / f"traces_{segment}.raw" for segment in range(len(LENGTHS))]
    return dressed(
        si.BinaryRecordingExtractor(
            files, RATE, "int16", num_channels=NUM_CHANNELS, channel_ids=IDS, t_starts=list(T_STARTS)
        )
    )


def parent_in_memory(folder):
    """The same samples less their offset; folders of work know it again by its traces, and not by its files."""
    parent = parent_of(folder)
    traces = [parent.get_traces(segment_index=segment) - np.int16(150) for segment in range(len(LENGTHS))]
    return dressed(si.NumpyRecording(traces, RATE, channel_ids=IDS))


# -- lazy chains ------------------------------------------------------------------------------------------------


def motion_of(direction="y", scale=1.0, method="linear"):
    """A motion that differs over time, depth and segments."""
    times = [start + np.linspace(0.002, length / RATE, 6) for start, length in zip(T_STARTS, LENGTHS)]
    depths = np.array([10.0, 70.0, 130.0])
    displacement = [
        scale * (8.0 * np.sin(np.arange(6)[:, None] + segment) + np.array([0.0, 4.0, 11.0]) - 3.0)
        for segment in range(len(LENGTHS))
    ]
    return Motion(displacement, times, depths, direction, method)


def edges_of(step):
    return [start + np.arange(0, length / RATE + step, step) for start, length in zip(T_STARTS, LENGTHS)]


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
    chains["chain_in_a_pipeline"] = si.apply_preprocessing_pipeline(
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
        chain.dump_to_json(file)
        samples = [chain.get_traces(segment, first, end) for segment, first, end in FRAMES]
        np.save(file.with_suffix(".npy"), np.concatenate(samples))
    (folder / "chains" / "frames.json").write_text(json.dumps(FRAMES) + "\n")


# -- models -----------------------------------------------------------------------------------------------------


def network_of(name, **sizes):
    torch.manual_seed(3)
    network = make_network(name, sizes).eval()
    with torch.no_grad():
        # a fresh network predicts zeros
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return network


def of_traces(network):
    layout_type = layout_of(POSITIONS, arrangement=network.arrangement).type
    return config_of(network, layout_type, RATE, extra={"note": "made for a test"})


def of_detector(network, **candidates):
    return SpikeDetectorConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        sampling_frequency=RATE,
        radius_um=45.0,
        probability=0.4,
        exclude_radius_um=50.0,
        exclude_ms=0.3,
        **candidates,
    )


def of_denoiser(network, samples_before, radius_um):
    return WaveformDenoiserConfig(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        sampling_frequency=RATE,
        samples_before=samples_before,
        num_samples=network.num_samples,
        radius_um=radius_um,
    )


def of_waveforms(config_class, network, **more):
    return config_class(
        network=NetworkConfig(name=network.name, sizes=network.sizes),
        num_samples=network.sizes["num_samples"],
        num_channels=network.sizes["num_channels"],
        mean=-4.0,
        scale=21.0,
        unit="uV",
        nbefore=6,
        sampling_frequency=RATE,
        **more,
    )


def write_models(folder):
    blindspot = network_of(
        "blindspot",
        **dict(unit=[[1, 1]], features=3, dilations=[1, 2], depth_dilations=[1], linear_taps=3, centre=1),
        **dict(centre_features=2, kernel=3, omission=2, halo=1),
    )
    ridge = network_of("ridge", unit=[[1, 1]], taps=3, omission=2, reach=2)
    unet = network_of("unet_single_ephys_1024", pre=3, post=2, omission=2, width=1)
    detector = network_of(
        "local_spike_detector", samples_before=4, samples_after=6, filters=3, hidden=3, spatial=2, dense=4
    )
    yass_detector = network_of("yass_detector", neighbours=5, filters=3, features=2, taps=7)
    denoiser = network_of(
        "local_waveform_denoiser", samples_before=4, num_samples=11, filters=3, hidden=4, spatial=2
    )
    yass_denoiser = network_of("yass_denoiser", num_samples=17, filters=[3, 2], taps=[5, 7])
    sizes = dict(num_samples=18, num_channels=2)
    cnn = network_of("waveform_cnn", **sizes, features=2, hidden=3)
    gru = network_of("waveform_gru", **sizes, features=2, hidden=3)
    discriminant = network_of("waveform_discriminant", **sizes, components=3)
    autoencoder = network_of("waveform_autoencoder", **sizes, hidden=4, latent=2)
    calibrated = dict(
        classes=("noise", "spike"), temperature=1.7, bias=0.3, threshold=0.6, spike_fraction=0.2
    )
    candidates = dict(candidate_threshold=3.0, candidate_radius_um=50.0, candidate_ms=0.25)
    models = {
        "blindspot": (blindspot, of_traces(blindspot)),
        "ridge": (ridge, of_traces(ridge)),
        "unet": (unet, of_traces(unet)),
        "spike_detector": (detector, of_detector(detector, **candidates)),
        "yass_detector": (yass_detector, of_detector(yass_detector)),
        "waveform_denoiser": (denoiser, of_denoiser(denoiser, 4, 45.0)),
        "yass_denoiser": (yass_denoiser, of_denoiser(yass_denoiser, 5, None)),
        "classifier_cnn": (cnn, of_waveforms(SpikeClassifierConfig, cnn, **calibrated)),
        "classifier_gru": (gru, of_waveforms(SpikeClassifierConfig, gru, **calibrated)),
        "classifier_discriminant": (
            discriminant,
            of_waveforms(SpikeClassifierConfig, discriminant, **calibrated),
        ),
        "autoencoder": (autoencoder, of_waveforms(WaveformAutoencoderConfig, autoencoder)),
    }
    for name, (network, config) in models.items():
        save_model(folder / "models" / name, network, config, f"# {name}\n\nTrained on nothing.\n")
    write_keras_unet(unet, folder / "models" / "keras_unet.h5", rows=16)
    write_outputs(folder)


def write_outputs(folder):
    """Of each model what its network (or its methods) makes of random numbers."""
    rng = np.random.default_rng(1)
    image = rng.standard_normal((1, 40, 8, 2))
    inputs = {
        "blindspot": (image,),
        "ridge": (image,),
        "unet": (rng.standard_normal((1, 20, 16, 2)),),
        "spike_detector": (rng.standard_normal((6, 4, 10)), rng.random((6, 4, 2))),
        "waveform_denoiser": (4 * rng.standard_normal((6, 4, 11)), rng.random((6, 4, 2))),
        "yass_denoiser": (rng.standard_normal((6, 17)),),
    }
    neighbours = np.array([[0, 1, 2, -1, -1], [1, 0, 2, 3, -1], [2, 1, 3, 0, -1], [3, 2, 1, -1, -1]])
    calls = {name: [one.astype("float32") for one in given] for name, given in inputs.items()}
    calls["yass_detector"] = [rng.standard_normal((30, 4)).astype("float32"), neighbours]
    for name, given in calls.items():
        network = steadyspike.load_model(folder / "models" / name).network
        with torch.inference_mode():
            found = network(*map(torch.from_numpy, given)).numpy()
        np.savez(
            folder / "models" / f"{name}.npz",
            output=found,
            **{f"input{number}": one for number, one in enumerate(given)},
        )
    waveforms = (25 * rng.standard_normal((12, 18, 2)) - 4).astype("float32")
    for name in ("classifier_cnn", "classifier_gru", "classifier_discriminant"):
        model = steadyspike.load_model(folder / "models" / name)
        found = {call: getattr(model, call)(waveforms) for call in ("decision_function", "predict_proba")}
        np.savez(
            folder / "models" / f"{name}.npz", waveforms=waveforms, predict=model.predict(waveforms), **found
        )
    model = steadyspike.load_model(folder / "models" / "autoencoder")
    found = {call: getattr(model, call)(waveforms) for call in ("transform", "reconstruct")}
    np.savez(folder / "models" / "autoencoder.npz", waveforms=waveforms, **found)


# -- presets ----------------------------------------------------------------------------------------------------


def write_presets(folder):
    (folder / "presets").mkdir()
    for name in steadyspike.list_presets():
        preset = steadyspike.load_preset(name).replace(name=f"lab_{name}", doc=f"As {name}; ours")
        if preset.kind == "motion":
            preset = preset.replace(detect_kwargs={**preset.detect_kwargs, "peak_sign": "both"})
        steadyspike.save_preset(preset, folder / "presets" / f"{name}.toml")
        loaded = steadyspike.load_preset(folder / "presets" / f"{name}.toml")
        content = dict(kind=loaded.kind, name=loaded.name, doc=loaded.doc)
        content |= (
            dict(parameters=loaded.parameters) if loaded.kind == "motion" else dict(steps=loaded.steps)
        )
        (folder / "presets" / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


# -- peaks, motions, cutouts and training -----------------------------------------------------------------------


def write_peaks(folder):
    recording = parent_in_memory(folder)
    settings = dict(
        preset="steady_nonrigid", detect_kwargs=dict(detect_threshold=5.0), chunk_duration="10ms", **QUIET
    )
    (folder / "peaks").mkdir()
    steadyspike.compute_peaks(recording, folder / "peaks" / "finished", **settings)
    calls = []
    work = on_disk.run_node_pipeline

    def only_once(*args, **kwargs):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return work(*args, **kwargs)

    on_disk.run_node_pipeline = only_once
    try:
        steadyspike.compute_peaks(recording, folder / "peaks" / "unfinished", **settings)
    except KeyboardInterrupt:
        on_disk.run_node_pipeline = work
    for leftover in (folder / "peaks" / "unfinished").glob(".unfinished-*"):
        shutil.rmtree(leftover)


def write_motions(folder):
    (folder / "motions").mkdir()
    motion = motion_of(method="nearest")
    np.savez(
        folder / "motions" / "expected.npz",
        spatial_bins_um=motion.spatial_bins_um,
        **{f"displacement{index}": array for index, array in enumerate(motion.displacement)},
        **{f"times{index}": array for index, array in enumerate(motion.temporal_bins_s)},
    )
    motion.save(folder / "motions" / "saved")
    save_motion(motion, folder / "motions" / "spikeinterface", format="spikeinterface")
    save_motion(motion, folder / "motions" / "dredge", format="dredge", segment_index=1)
    save_motion(motion, folder / "motions" / "medicine", format="medicine", segment_index=1)
    estimator = OnlineMotionEstimator(
        20.0 * np.arange(7),
        **dict(bin_s=0.5, win_step_um=40.0, win_scale_um=50.0, warmup_s=4.0, half_life_s=30.0),
        **dict(max_displacement_um=40.0, max_segment_displacement_um=60.0, start_s=0.5),
    )
    times, depths, amplitudes = online_spikes()
    early = times < 9.3
    estimator.push(times[early], depths[early], amplitudes[early])
    estimator.save(folder / "motions" / "online.npz")
    estimator.push(times[~early], depths[~early], amplitudes[~early])
    estimator.finish()
    np.savez(
        folder / "motions" / "online_expected.npz",
        times_s=times[~early],
        depths_um=depths[~early],
        amplitudes=amplitudes[~early],
        displacement=estimator.motion().displacement[0],
    )


def online_spikes():
    """Spikes of some units that drift, over 14 s."""
    rng = np.random.default_rng(4)
    times = np.sort(rng.uniform(0.5, 14.0, 1_000))
    unit = rng.integers(0, 4, times.size)
    depths = 30.0 * unit + 20 + 8 * np.sin(times) + rng.normal(0, 3, times.size)
    return times, depths, -60.0 - 5 * unit + rng.normal(0, 2, times.size)


def write_cutouts(folder):
    recording = parent_in_memory(folder)
    arguments = dict(threshold=3.5, block_s=0.02, refractory_ms=0.8, ms_before=0.3, ms_after=0.7)
    cutouts = steadyspike.cut_spikes(recording, **arguments, peak_sign="both", **QUIET)
    cutouts.save(folder / "cutouts")


def write_training(folder):
    """A run that Ctrl-C stopped in its 7th step, and the model that it becomes."""
    arguments = dict(
        **dict(size="tiny", pre_ms=0.15, post_ms=0.15, max_steps=12, batch_size=2, chunk_frames=32),
        **dict(test_windows=4, gap_s=0.001, device="cpu", progress_bar=False, learning_rate=2e-3),
        network_kwargs=dict(features=4, dilations=[1], depth_dilations=[1], linear_taps=2, centre_features=2),
    )
    run.RIDGE_ROWS = 10_000
    recording = parent_in_memory(folder)
    with tempfile.TemporaryDirectory() as place:
        model = steadyspike.train_deepinterpolation(recording, Path(place) / "model", **arguments)
        (folder / "training").mkdir()
        np.savez(
            folder / "training" / "expected.npz",
            **{name: weights.numpy() for name, weights in model.network.state_dict().items()},
        )
    (folder / "training" / "arguments.json").write_text(json.dumps(arguments, indent=1) + "\n")
    step = loop._Loop.step

    def with_ctrl_c(self, batch):
        if self.progress.step == 6:
            signal.raise_signal(signal.SIGINT)
        step(self, batch)

    loop._Loop.step = with_ctrl_c
    try:
        steadyspike.train_deepinterpolation(recording, folder / "training" / "model", **arguments)
    except loop.TrainingInterrupted:
        loop._Loop.step = step


# -- import paths -----------------------------------------------------------------------------------------------


def public_paths():
    """Where the documentation and `steadyspike.__all__` say that things are."""
    found = {f"steadyspike.{name}" for name in steadyspike.__all__}
    found |= {f"{steadyspike._MODULES[name]}.{name}" for name in steadyspike.__all__ if name != "__version__"}
    api = (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf8")
    found |= {f"steadyspike.{name}" for name in re.findall(r"^   (?!:)([\w.]+)$", api, re.MULTILINE)}
    # imported from in the package's own words: `steadyspike.motion` names what docs/api lists one level deeper too
    pages = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "tutorials").glob("*.py"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
    ]
    for page in pages:
        text = page.read_text(encoding="utf8")
        for module, names in re.findall(r"from (steadyspike[\w.]*) import \(?([\w, \n]+)", text):
            found |= {f"{module}.{name.split()[0]}" for name in names.split(",") if name.split()}
        found |= set(re.findall(r"import (steadyspike(?:\.\w+)+)", text))
        found |= {name.rstrip(".") for name in re.findall(r"(?<![\w/.])steadyspike(?:\.\w+)+", text)}
    return sorted(path for path in found if _is_there(path))


def _is_there(path):
    from importlib import import_module

    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                print("not there:", path)
                return False
            found = getattr(found, name)
        return True
    return False


# -- all of it --------------------------------------------------------------------------------------------------


def shorten_chains(folder):
    for file in (folder / "chains").glob("*.json"):
        text = json.dumps(json.loads(file.read_text(encoding="utf8")), separators=(",", ":"))
        file.write_text(text.replace(str(folder), "{folder}") + "\n", encoding="utf8")


def main():
    assert steadyspike.__version__ == "0.1.0"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for write in (write_parent, write_models, write_chains, write_presets, write_peaks):
            write(folder)
        for write in (write_motions, write_cutouts, write_training):
            write(folder)
        shorten_chains(folder)
        (folder / "public_paths.txt").write_text("\n".join(public_paths()) + "\n", encoding="utf8")
        for new in folder.iterdir():
            old = HERE / new.name
            if old.is_dir():
                shutil.rmtree(old)
            (shutil.copytree if new.is_dir() else shutil.copy)(new, old)


if __name__ == "__main__":
    main()
