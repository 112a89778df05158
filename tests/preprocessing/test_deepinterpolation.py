"""Lazy DeepInterpolation against the network called by hand, and through the suite for all nodes."""

import functools
import hashlib
import subprocess
import sys
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
import torch
from conformance import CHECKS, Node, check_name
from parent_recordings import NUM_CHANNELS, integer_type
from probeinterface import Probe
from torch.profiler import ProfilerActivity, profile

import steadyspike
from steadyspike.core.normalization import measure_normalization
from steadyspike.core.probe_layout import layout_of
from steadyspike.library.models import inference
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, Normalization, config_of
from steadyspike.library.models.folder import save_model
from steadyspike.library.models.references import find_source
from steadyspike.networks import make_network
from steadyspike.networks.blindspot import BlindSpot
from steadyspike.preprocessing.deepinterpolation import deepinterpolate
from steadyspike.preprocessing.residual_fit import ResidualFit

SIZES = {
    "blindspot": {
        "unit": [[1, 1]] * 4,
        **{"features": 6, "dilations": [1, 2, 4], "depth_dilations": [1], "centre": 1},
        **{"linear_taps": 9, "centre_features": 2},
    },
    "ridge": {"unit": [[1, 1]] * 4, "taps": 4, "omission": 2},
    "unet_single_ephys_1024": {"pre": 5, "post": 4, "width": 2},
}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@functools.cache
def models_folder():
    folder = tempfile.TemporaryDirectory()  # removed when the process ends
    return folder, Path(folder.name)


def model_for(recording, name, method="channel", **sizes):
    """Folder of a small model with random weights for the layout of a recording, the same at each call."""
    sizes = {**SIZES[name], **sizes}
    if "unit" in sizes:
        sizes["unit"] = [list(row) for row in layout_of(recording).type.unit]
    kind = layout_of(recording).type
    digest = hashlib.sha256(repr((name, method, sizes, kind)).encode()).hexdigest()[:8]
    folder = models_folder()[1] / f"{name}_{digest}"
    if not folder.exists():
        torch.manual_seed(1)
        network = make_network(name, sizes).eval()
        with torch.no_grad():
            for weights in network.parameters():
                weights.mul_(2.0)
        layout = layout_of(recording, arrangement=network.arrangement)
        config = config_of(
            network, layout.type, recording.get_sampling_frequency(), Normalization(method=method)
        )
        save_model(folder, network, config)
    return str(folder)


def required(recording):
    """A model, and a normalization that does not depend on the segments, as one that is measured would."""
    number, gains = recording.get_num_channels(), recording.get_channel_gains()
    center = np.where(recording.get_dtype().kind in "iu", 150.0, 0.0) + np.arange(number)
    center = center * np.sign(gains) + (32_618 if recording.get_dtype().kind == "u" else 0)
    scale = np.full(number, 25.0)
    return dict(model=model_for(recording, "blindspot"), center=center, scale=scale)


def fusion(recording):
    """Covariances that a fit might give."""
    far, lag = np.exp(-np.arange(6) / 2), np.exp(-np.arange(5))
    return ResidualFit.of(
        **dict(radius_um=40.0, bin_um=16.0, num_coordinates=4),
        noise=np.outer(far**3, lag).tolist(),
        spikes=np.outer(far, lag**0.3).tolist(),
        **dict(sizes=[0.0, 1.0, 16.0], activity=[1.0], prior=[[0.8, 0.15, 0.05], [0.2, 0.4, 0.4]]),
        levels=np.linspace(0.5, 1.0, recording.get_num_channels()).tolist(),
    ).values()


def arguments(recording):
    ids, number = recording.channel_ids, recording.get_num_channels()
    unet = model_for(recording, "unet_single_ephys_1024", "global")
    ridge = model_for(recording, "ridge")
    return [
        dict(device="cpu", precision="half", memory_limit_mb=1.0),
        dict(model=ridge, output="posterior", fusion=fusion(recording)),
        dict(model=ridge, scale=np.arange(number) * 3.0, dtype="float64", recorded_share=0.3),
        # all channels pass through: two threads on busy processors would wait for each other in every check
        dict(num_threads=2, scale=np.zeros(number)),
        dict(
            model=unet,
            memory_limit_mb=3.0,
            bad_channel_ids=[ids[number // 2], ids[-1]],
            model_sha256=find_source(unet).sha256,
            dtype=integer_type(recording),
        ),
    ]


NODE = Node(make=deepinterpolate, required=required, arguments=arguments, tolerance=1e-5)


@pytest.mark.filterwarnings("ignore:.*counts are put together.*")
@pytest.mark.parametrize("check", CHECKS, ids=check_name)
def test_conforms(check, tmp_path):
    check(NODE, tmp_path)


def recording_of(traces, rate=30_000.0, **probe):
    """Recording of one segment, or a list of them, with four rows of two contacts, or another probe."""
    traces = traces if isinstance(traces, list) else [traces]
    positions = np.array([[32.0 * (i % 2), 20.0 * (i // 2)] for i in range(traces[0].shape[1])])
    contacts = Probe(ndim=2)
    contacts.set_contacts(**{"positions": positions, **probe})
    contacts.set_device_channel_indices(np.arange(len(contacts.contact_positions)))
    recording = si.NumpyRecording(traces, rate)
    recording.set_probe(contacts)
    return recording


def noise(num_samples, num_channels=8, seed=0):
    return np.random.default_rng(seed).normal(3.0, 20.0, (num_samples, num_channels)).astype("float32")


def by_hand(recording, folder, center, scale, dead=()):
    """The network called once on all of a segment, with zeros beyond its ends."""
    model = steadyspike.load_model(folder)
    layout = layout_of(recording, dead=list(dead), arrangement=model.network.arrangement)
    normalized = ((recording.get_traces() - center) / scale).astype("float32")
    normalized = np.nan_to_num(normalized, nan=0.0, posinf=0.0, neginf=0.0)
    image = layout.scatter(np.pad(normalized, [model.context, (0, 0)]))
    with torch.inference_mode():
        predicted = model.network(torch.from_numpy(image), torch.from_numpy(layout.mask).float())
    return layout.gather(predicted.numpy()) * scale + center


@pytest.mark.parametrize("name", SIZES)
def test_it_is_the_network_called_by_hand(name):
    recording = recording_of(noise(300))
    folder = model_for(recording, name)
    center, scale = measure_normalization(recording)
    expected = by_hand(recording, folder, center, scale)
    assert np.ptp(expected) > 1
    for reference in (folder, Path(folder), steadyspike.load_model(folder)):
        denoised = deepinterpolate(recording, reference, device="cpu")
        np.testing.assert_allclose(denoised.get_traces(), expected, atol=2e-4)
    step = {"name": "steady_deepinterpolate", "params": {"model": folder}}
    piped = si.apply_preprocessing_pipeline(recording, [step])
    np.testing.assert_array_equal(piped.get_traces(), denoised.get_traces())


@pytest.mark.parametrize("name", SIZES)
def test_half_precision_is_near(name):
    recording = recording_of(noise(400))
    folder = model_for(recording, name)
    exact = deepinterpolate(recording, folder).get_traces()
    half = deepinterpolate(recording, folder, precision="half").get_traces()
    error = np.abs(half - exact).max() / exact.std()
    assert 0 < error < 0.1


def test_other_filters_than_in_training_are_warned_of(tmp_path):
    from steadyspike.library.models.provenance import ModelUseWarning

    recording = si.generate_recording(num_channels=NUM_CHANNELS, durations=[0.2], seed=0)
    layout = layout_of(recording)
    network = make_network("ridge", {**SIZES["ridge"], "unit": layout.type.unit})
    extra = {"recordings": [{"is_filtered": True}]}
    config = config_of(network, layout.type, recording.sampling_frequency, extra=extra)
    model = tmp_path / "model"
    DeepInterpolationModel(network, config).save(model)
    recording.annotate(is_filtered=False)
    with pytest.warns(ModelUseWarning, match="trained on filtered recordings"):
        deepinterpolate(recording, model)
    recording.annotate(is_filtered=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ModelUseWarning)
        deepinterpolate(recording, model)


def test_what_overflows_in_half_precision_is_computed_in_float32():
    traces = noise(300)
    recording = recording_of(traces)
    folder = model_for(recording, "ridge")
    backend = inference.Backend(steadyspike.load_model(folder).network, "cpu", "half")
    backend._half_type = lambda: torch.float16  # as on a GPU; bfloat16 overflows no sooner than float32
    image = torch.full((1, 20, 4, 2), 1e6)
    with torch.autocast("cpu", torch.float16), torch.inference_mode():
        assert not backend.network(image).isfinite().all()
    predicted = backend(image, None)
    assert predicted.isfinite().all()
    torch.testing.assert_close(predicted, backend.network(image))


def test_samples_that_are_not_finite_hide_and_are_filled():
    traces = noise(300)
    traces[100, 3], traces[150, 0], traces[200:220, 5] = np.nan, np.inf, -np.inf
    recording = recording_of(traces)
    folder = model_for(recording, "blindspot")
    center, scale = measure_normalization(recording)
    assert np.isfinite([center, scale]).all()
    denoised = deepinterpolate(recording, folder).get_traces()
    assert np.isfinite(denoised).all()
    np.testing.assert_allclose(denoised, by_hand(recording, folder, center, scale), atol=2e-4)
    traces[50, 2] = 1e38
    huge = deepinterpolate(recording_of(traces), folder, center=center, scale=scale).get_traces()
    assert np.isfinite(huge).all()


def test_bad_channels_pass_through_and_are_hidden():
    traces = noise(200)
    traces[:, 2] = 7.0
    traces[:, 6] = np.nan
    recording = recording_of(traces)
    folder = model_for(recording, "blindspot")
    denoised = deepinterpolate(recording, folder, bad_channel_ids=[recording.channel_ids[4]])
    result = denoised.get_traces()
    np.testing.assert_array_equal(result[:, [2, 4, 6]], traces[:, [2, 4, 6]])
    center, scale = measure_normalization(recording)
    np.testing.assert_array_equal(scale == 0, np.isin(np.arange(8), [2, 6]))
    scale[scale == 0] = 1
    expected = by_hand(recording, folder, center, scale, dead=[2, 4, 6])
    live = [0, 1, 3, 5, 7]
    np.testing.assert_allclose(result[:, live], expected[:, live], atol=2e-4)
    reads = count_reads(recording)
    np.testing.assert_array_equal(denoised.segments[0].get_traces(20, 50, [4]), traces[20:50, [4]])
    assert reads == [(20, 50, 1)]
    integers = deepinterpolate(recording, folder, dtype="int16").get_traces()
    assert (integers[:, 6] == 0).all()


def test_nothing_but_bad_channels():
    recording = recording_of(np.full((100, 8), 5, "int16"))
    denoised = deepinterpolate(recording, model_for(recording, "blindspot"))
    np.testing.assert_array_equal(denoised.get_traces(), np.full((100, 8), 5, "float32"))


def count_reads(recording):
    """Note the samples and channels that are read of a recording from now on."""
    reads, segment = [], recording.segments[0]
    original = segment.get_traces

    def get_traces(start_frame, end_frame, channel_indices):
        traces = original(start_frame, end_frame, channel_indices)
        reads.append((start_frame, end_frame, traces.shape[1]))
        return traces

    segment.get_traces = get_traces
    return reads


def two_shanks():
    positions = np.array([[32.0 * (i % 2) + 300 * (i // 8), 20.0 * (i // 2 % 4)] for i in range(16)])
    mixed = np.random.default_rng(0).permutation(16)
    shanks = np.repeat(["a", "b"], 8)[mixed]
    recording = recording_of(noise(500, 16), positions=positions[mixed], shank_ids=shanks)
    return recording, shanks


def test_shanks_are_images_of_their_own():
    recording, shanks = two_shanks()
    folder = model_for(recording, "blindspot")
    together = deepinterpolate(recording, folder)
    for shank in ("a", "b"):
        ids = recording.channel_ids[shanks == shank]
        alone = deepinterpolate(recording.select_channels(ids), folder).get_traces()
        np.testing.assert_allclose(together.get_traces(channel_ids=ids), alone, atol=2e-4)
    reads = count_reads(recording)
    one = np.flatnonzero(shanks == "b")[[3]]
    few = together.segments[0].get_traces(200, 300, one)
    before, after = steadyspike.load_model(folder).context
    assert reads == [(200 - before, 300 + after, 8)], "read once, with context, the shank asked for"
    np.testing.assert_allclose(few, together.get_traces()[200:300, one], atol=2e-4)


def test_the_output_keeps_units_and_properties():
    recording = recording_of(np.round(noise(300) + 500).astype("int16"))
    recording.set_channel_gains(2.34)
    recording.set_channel_offsets(10.0)
    folder = model_for(recording, "ridge", "global")
    denoised = deepinterpolate(recording, folder, dtype="int16")
    assert denoised.get_dtype() == "int16"
    np.testing.assert_array_equal(denoised.get_channel_gains(), 2.34)
    np.testing.assert_array_equal(denoised.get_channel_offsets(), 10.0)
    assert abs(denoised.get_traces().mean() - recording.get_traces().mean()) < 10
    # whatever scale the samples have
    scaled = deepinterpolate(si.scale(recording, gain=0.1, offset=-7.0, dtype="float32"), folder).get_traces()
    exact = deepinterpolate(recording, folder).get_traces()
    np.testing.assert_allclose(scaled, 0.1 * exact - 7.0, atol=1e-3)


def test_the_normalization_is_measured_once_and_saved():
    recording = recording_of([noise(5000), noise(90_000, seed=1) * 2])
    folder = model_for(recording, "ridge")
    denoised = deepinterpolate(recording, folder)
    np.testing.assert_allclose(denoised._kwargs["scale"], 39, rtol=0.1)
    np.testing.assert_allclose(denoised._kwargs["center"], 6, atol=1.5)
    assert denoised._kwargs["model_sha256"] == find_source(folder).sha256
    first = recording.select_segments([0])
    np.testing.assert_allclose(deepinterpolate(first, folder)._kwargs["scale"], 20, rtol=0.05)
    center, scale = measure_normalization(recording, "global")
    assert len(set(center)) == len(set(scale)) == 1
    np.testing.assert_array_equal(measure_normalization(recording, "none"), [np.zeros(8), np.ones(8)])
    with pytest.raises(ValueError, match="method='zscore'"):
        measure_normalization(recording, "zscore")
    quantized = np.round(np.random.default_rng(0).normal(0.1, 0.4, (20_000, 8))).astype("int16")
    np.testing.assert_allclose(measure_normalization(recording_of(quantized))[1], 0.4, rtol=0.05)


def test_blocks_keep_memory_below_the_limit(monkeypatch):
    recording = recording_of(noise(2000))
    backend = inference.backend_of(find_source(model_for(recording, "blindspot")), "cpu", "float32")
    fixed, per_frame = backend._bytes_needed((1, 4, 2))
    for_a_hundred = (fixed + 100.5 * per_frame) / 1e6
    blocks = [backend.block_frames((1, 4, 2), limit) for limit in (1e-3, for_a_hundred, 1e6)]
    assert blocks == [1, 100, inference.LONGEST_BLOCK["cpu"]]
    assert backend.block_frames((4, 4, 2), for_a_hundred) < 30
    passes = []
    network, predict = backend.network, backend.network.forward_folded

    def watched(folded, mask):
        passes.append(folded.shape[2] - sum(network.context))
        return predict(folded, mask)

    monkeypatch.setattr(network, "forward_folded", watched)
    deepinterpolate(recording, model_for(recording, "blindspot"), memory_limit_mb=for_a_hundred).get_traces()
    assert max(passes) == 100
    assert sum(passes) == 2000


NETWORKS = {
    "tiny": lambda: BlindSpot.of_size("tiny", [[1, 1]] * 4),
    "centre": lambda: BlindSpot.of_size("base", [[1, 1]] * 4, frames=9, centre=1),
    "ridge": lambda: make_network("ridge", {"unit": [[1, 1]] * 4}),
    "unet": lambda: make_network("unet_single_ephys_1024", {"width": 8}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_estimated_memory_is_enough(name):
    network = NETWORKS[name]()
    fixed, per_frame = inference.Backend(network, "cpu", "float32")._bytes_needed((1, 96, 2))
    image = torch.zeros(1, sum(network.context) + 100, 96, 2)
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as run:
        network(image)
    allocated = [one.nbytes() for one in run.profiler.kineto_results.events() if one.name() == "[memory]"]
    peak = np.cumsum(allocated).max()
    assert peak < fixed + 100 * per_frame < 10 * peak


def test_one_model_for_all_nodes_and_threads(monkeypatch):
    recording = recording_of(noise(500))
    folder = model_for(recording, "ridge", taps=3)
    loads = []
    load = inference.load_source
    monkeypatch.setattr(inference, "load_source", lambda *given: loads.append(given) or load(*given))
    nodes = [
        deepinterpolate(recording, folder),
        deepinterpolate(recording, Path(folder), dtype="float64"),
    ] * 4
    assert not loads, "nothing is loaded before traces are read"
    with ThreadPoolExecutor(8) as pool:
        first, *others = pool.map(lambda node: node.get_traces(), nodes)
    assert len(loads) == 1
    for other in others:
        np.testing.assert_allclose(other, first, atol=2e-4)


def test_torch_uses_the_threads_it_may_and_keeps_those_it_had(monkeypatch):
    recording = recording_of(noise(50))
    folder = model_for(recording, "ridge")
    used = []
    call = inference.Backend.__call__

    def counting(*given, **how):
        used.append(torch.get_num_threads())
        return call(*given, **how)

    monkeypatch.setattr(inference.Backend, "__call__", counting)
    one = deepinterpolate(recording, folder, num_threads=1).get_traces()
    two = deepinterpolate(recording, folder, num_threads=2)
    np.testing.assert_allclose(two.get_traces(), one, atol=2e-4)
    assert (used, torch.get_num_threads()) == ([1, 2], 1)
    assert two.get_preferred_mp_context() == "spawn", "a pool of threads does not outlive a fork"


def test_a_model_that_changed_is_refused(tmp_path):
    recording = recording_of(noise(100))
    model = steadyspike.load_model(model_for(recording, "ridge"))
    model.save(tmp_path / "model")
    denoised = deepinterpolate(recording, tmp_path / "model")
    saved = dict(denoised._kwargs)
    with torch.no_grad():
        model.network.linear.past.weight.add_(1.0)
    model.save(tmp_path / "model", overwrite=True)
    with pytest.raises(ModelError, match="is not the model that this recording was denoised with"):
        denoised.get_traces()
    with pytest.raises(ModelError, match="is not the model"):
        deepinterpolate(**saved)
    deepinterpolate(**{**saved, "model_sha256": None}).get_traces()


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (dict(precision="double"), "precision='double'"),
        (dict(memory_limit_mb=0), "memory_limit_mb=0"),
        (dict(num_threads=0), "num_threads=0"),
        (dict(device="tpu"), "device='tpu'"),
        (dict(dtype="complex64"), "dtype='complex64'"),
        (dict(bad_channel_ids=["AP99"]), "AP99"),
        (dict(bad_channel_ids="AP3"), "bad_channel_ids='AP3'; allowed: a list of ids"),
        (dict(bad_channel_ids=3), "bad_channel_ids=3; allowed: a list of ids"),
        (dict(bad_channel_ids=np.arange(8) > 5), "bad_channel_ids=.*True"),
        (dict(center=[0.0]), "center="),
        (dict(scale=[-1.0] * 8), "none below 0"),
        (dict(model_sha256="abc"), "is not the model"),
        (dict(model="hf:lab/model@"), "'hf:lab/model@' is no reference to the Hugging Face Hub"),
        (dict(model="steady-nonsense"), "no model 'steady-nonsense'"),
        (dict(model=3), "model=3 is no model"),
    ],
)
def test_arguments_that_cannot_work(arguments, match):
    recording = recording_of(noise(50))
    reads = count_reads(recording)
    with pytest.raises(ValueError, match=match):
        deepinterpolate(recording, **{"model": model_for(recording, "ridge"), **arguments})
    assert not reads


def test_recordings_that_do_not_fit():
    recording = recording_of(noise(50))
    folder = model_for(recording, "ridge")
    with pytest.raises(ValueError, match=r"trained at 30000 Hz and recording has 15000 Hz"):
        deepinterpolate(recording_of(noise(50), rate=15_000.0), folder)
    deepinterpolate(recording_of(noise(50), rate=29_999.7), folder)
    line = np.stack([np.zeros(8), 20.0 * np.arange(8)], axis=1)
    with pytest.raises(ValueError, match="whose contacts lie otherwise: columns is 2"):
        deepinterpolate(recording_of(noise(50), positions=line), folder)
    with pytest.raises(ValueError, match="no probe"):
        deepinterpolate(si.NumpyRecording([noise(50)], 30_000.0), folder)
    loaded = steadyspike.load_model(folder)
    with pytest.raises(ModelError, match="not loaded from a folder"):
        deepinterpolate(recording, DeepInterpolationModel(loaded.network, loaded.config))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        deepinterpolate(recording, Path("nowhere"))


def test_one_model_serves_any_number_of_channels():
    folder = model_for(recording_of(noise(50)), "blindspot")
    for num_channels in (6, 7, 22):
        traces = deepinterpolate(recording_of(noise(60, num_channels)), folder).get_traces()
        assert traces.shape == (60, num_channels)
        assert traces.std() > 0


def test_torch_is_not_loaded_by_the_import():
    script = "import sys, steadyspike.preprocessing.deepinterpolation; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-5), ("half", 0.02)])
def test_a_gpu_computes_the_same(name, precision, tolerance):
    recording = recording_of(noise(3000))
    folder = model_for(recording, name)
    exact = deepinterpolate(recording, folder, device="cpu").get_traces()
    denoised = deepinterpolate(recording, folder, device="cuda", precision=precision, memory_limit_mb=5.0)
    traces = denoised.get_traces()
    np.testing.assert_allclose(traces, exact, atol=tolerance * exact.std())
    chunks = [denoised.get_traces(0, start, start + 701) for start in range(0, 3000, 701)]
    np.testing.assert_allclose(np.concatenate(chunks), traces, atol=1e-5 * exact.std())
    assert denoised.get_preferred_mp_context() == "spawn"


def test_an_id_of_digits_is_no_list_of_ids():
    recording = recording_of(noise(50)).rename_channels(["0", "1", "10", "3", "4", "5", "6", "7"])
    with pytest.raises(ValueError, match=r"bad_channel_ids='10'; allowed: a list of ids of channels"):
        deepinterpolate(recording, model_for(recording, "ridge"), bad_channel_ids="10")


@pytest.mark.parametrize(
    ("gain", "offset", "dtype", "match"),
    [
        (1e-6, 0.0, "int16", "dtype='int16'.*round away.*needs to be 2 or more"),
        (20.0, 40_000.0, "int16", "dtype='int16'; allowed: one that holds 3.* to 4.*, where the noise"),
        (20.0, 0.0, "uint16", "dtype='uint16'; allowed: one that holds -.*, where the noise"),
    ],
)
def test_integers_that_cannot_hold_the_samples_are_refused(gain, offset, dtype, match):
    recording = recording_of(noise(200) * np.float32(gain) + np.float32(offset))
    folder = model_for(recording, "ridge")
    with pytest.raises(ValueError, match=match):
        deepinterpolate(recording, folder, dtype=dtype)
    fitting = recording_of(noise(200) * np.float32(20.0))
    exact = deepinterpolate(fitting, folder).get_traces()
    np.testing.assert_allclose(deepinterpolate(fitting, folder, dtype="int16").get_traces(), exact, atol=0.51)


def test_unsigned_samples_are_not_cut_to_a_signed_type():
    # half of them lay beyond 32,767
    traces = np.round(noise(200) * 20.0 + 32_768.0).astype("uint16")
    recording = recording_of(traces)
    folder = model_for(recording, "ridge")
    with pytest.raises(ValueError, match=r"dtype='int16'; allowed: None.*uint16.*or si.unsigned_to_signed"):
        deepinterpolate(recording, folder, dtype="int16")
    signed = deepinterpolate(si.unsigned_to_signed(recording), folder, dtype="int16").get_traces()
    unsigned = deepinterpolate(recording, folder, dtype="uint16").get_traces()
    assert np.abs(unsigned.astype("int64") - 32_768 - signed).max() <= 1
    assert np.unique(signed).size > 20
