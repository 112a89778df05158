"""Keras files of the paper's network: read with h5py alone, written back, and refused where they hold anything else."""

import json
import shutil
import zipfile

import h5py
import numpy as np
import pytest
import spikeinterface.full as si
import torch
from probeinterface import Probe

from steadyspike.library.models.config import ModelError
from steadyspike.library.models.keras.graph import KerasFileError, read_graph
from steadyspike.library.models.keras.model import KerasModel
from steadyspike.library.models.keras.weights import read_keras_unet, write_keras_unet
from steadyspike.library.models.legacy.convert import import_model
from steadyspike.library.models.references import find_source
from steadyspike.networks.unet import UNetEphys1024
from steadyspike.preprocessing.deepinterpolation import deepinterpolate

ROWS, FRAMES, WIDTH = 32, 6, 2
# name, class, what it reads, settings: the published graph as Keras 2 numbers it
W = WIDTH
LAYERS = [
    ("input_1", "InputLayer", [], {"batch_input_shape": [None, ROWS, 2, FRAMES]}),
    ("conv2d", "Conv2D", ["input_1"], {"filters": W, "kernel_size": [2, 2], "activation": "relu"}),
    ("max_pooling2d", "MaxPooling2D", ["conv2d"], {"pool_size": [2, 2]}),
    (
        "conv2d_1",
        "Conv2D",
        ["max_pooling2d"],
        {"filters": 2 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("max_pooling2d_1", "MaxPooling2D", ["conv2d_1"], {"pool_size": [2, 1]}),
    (
        "conv2d_2",
        "Conv2D",
        ["max_pooling2d_1"],
        {"filters": 4 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("max_pooling2d_2", "MaxPooling2D", ["conv2d_2"], {"pool_size": [2, 1]}),
    (
        "conv2d_3",
        "Conv2D",
        ["max_pooling2d_2"],
        {"filters": 8 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("max_pooling2d_3", "MaxPooling2D", ["conv2d_3"], {"pool_size": [2, 1]}),
    (
        "conv2d_4",
        "Conv2D",
        ["max_pooling2d_3"],
        {"filters": 16 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("up_sampling2d", "UpSampling2D", ["conv2d_4"], {"size": [2, 1]}),
    ("concatenate", "Concatenate", ["up_sampling2d", "conv2d_3"], {"axis": -1}),
    ("conv2d_5", "Conv2D", ["concatenate"], {"filters": 8 * W, "kernel_size": [3, 1], "activation": "relu"}),
    ("up_sampling2d_1", "UpSampling2D", ["conv2d_5"], {"size": [2, 1]}),
    ("concatenate_1", "Concatenate", ["up_sampling2d_1", "conv2d_2"], {"axis": -1}),
    (
        "conv2d_6",
        "Conv2D",
        ["concatenate_1"],
        {"filters": 4 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("up_sampling2d_2", "UpSampling2D", ["conv2d_6"], {"size": [2, 1]}),
    ("concatenate_2", "Concatenate", ["up_sampling2d_2", "conv2d_1"], {"axis": -1}),
    (
        "conv2d_7",
        "Conv2D",
        ["concatenate_2"],
        {"filters": 2 * W, "kernel_size": [3, 1], "activation": "relu"},
    ),
    ("up_sampling2d_3", "UpSampling2D", ["conv2d_7"], {"size": [2, 2]}),
    ("concatenate_3", "Concatenate", ["up_sampling2d_3", "conv2d"], {"axis": -1}),
    ("conv2d_8", "Conv2D", ["concatenate_3"], {"filters": W, "kernel_size": [2, 2], "activation": "relu"}),
    ("conv2d_9", "Conv2D", ["conv2d_8"], {"filters": 1, "kernel_size": [1, 1], "activation": "linear"}),
]
DEFAULTS = {
    "InputLayer": {"dtype": "float32", "sparse": False, "ragged": False},
    "Conv2D": {
        **{"strides": [1, 1], "padding": "same", "data_format": "channels_last", "dilation_rate": [1, 1]},
        **{"groups": 1, "use_bias": True, "trainable": True, "dtype": "float32"},
        "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
    },
    "MaxPooling2D": {"padding": "valid", "data_format": "channels_last"},
    "UpSampling2D": {"data_format": "channels_last", "interpolation": "nearest"},
    "Concatenate": {"trainable": True},
}


def settings_of(name, kind, settings):
    return {"name": name, **DEFAULTS.get(kind, {}), **settings}


def config_of_keras_2(layers=LAYERS):
    described = [
        {
            "class_name": kind,
            **{"name": name, "config": settings_of(name, kind, settings)},
            "inbound_nodes": [[[source, 0, 0, {}] for source in sources]] if sources else [],
        }
        for name, kind, sources, settings in layers
    ]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [[layers[-1][0], 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": described, **ends}}


def config_of_keras_3(layers=LAYERS):
    config = config_of_keras_2(layers)
    for one, (_, kind, sources, _) in zip(config["config"]["layers"], layers, strict=True):
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [s, 0, 0]}} for s in sources
        ]
        arguments = [tensors] if kind == "Concatenate" else tensors
        one["inbound_nodes"] = [{"args": arguments, "kwargs": {}}] if sources else []
        one.update(module="keras.layers", registered_name=None)
        if "batch_input_shape" in one["config"]:
            one["config"]["batch_shape"] = one["config"].pop("batch_input_shape")
        if "kernel_initializer" in one["config"]:
            one["config"]["kernel_initializer"]["module"] = "keras.initializers"
            one["config"]["dtype"] = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}
    config["config"]["output_layers"] = config["config"]["output_layers"][0]
    return config


def random_weights(layers=LAYERS, seed=0):
    """Kernel (height, width, inputs, outputs) and bias of each convolution."""
    rng = np.random.default_rng(seed)
    channels = {}
    weights = {}
    for name, kind, sources, settings in layers:
        inputs = sum(channels[source] for source in sources)
        channels[name] = settings.get("filters", inputs) if sources else FRAMES
        if kind == "Conv2D":
            shape = (*settings["kernel_size"], inputs, settings["filters"])
            kernel = rng.normal(0, (2 / np.prod(shape[:3])) ** 0.5, shape)
            weights[name] = (kernel.astype("f4"), rng.normal(0, 0.3, shape[-1]).astype("f4"))
    return weights


def write_by_hand(file, weights, config=None, layers=LAYERS, suffix=":0"):
    """A legacy file as Keras lays it out; without a configuration, one of weights alone."""
    with h5py.File(file, "w") as stored:
        group = stored
        if config is not None:
            stored.attrs["model_config"] = json.dumps(config)
            group = stored.create_group("model_weights")
        group.attrs["layer_names"] = np.array([name.encode() for name, *_ in layers])
        for name, *_ in layers:
            own = group.create_group(name)
            values = dict(
                zip((f"{name}/kernel{suffix}", f"{name}/bias{suffix}"), weights.get(name, ()), strict=False)
            )
            own.attrs["weight_names"] = np.array([one.encode() for one in values], dtype="S")
            for one, value in values.items():
                own[one] = value
    return file


def convolution(image, kernel, bias):
    """ "Same" convolution of (rows, columns, channels), one output at a time."""
    height, width = kernel.shape[:2]
    rows, columns = image.shape[:2]
    sides = [((size - 1) // 2, size // 2) for size in (height, width)]
    padded = np.pad(image, [*sides, (0, 0)])
    result = np.empty((rows, columns, kernel.shape[3]))
    for row in range(rows):
        for column in range(columns):
            seen = padded[row : row + height, column : column + width]
            result[row, column] = np.einsum("hwi,hwio->o", seen, kernel) + bias
    return result


def plain_forward(image, weights, layers=LAYERS):
    """Follow the graph layer by layer on one image (rows, columns, frames)."""
    values = {}
    for name, kind, sources, settings in layers:
        read = [values[source] for source in sources]
        if kind == "InputLayer":
            values[name] = image
        elif kind == "Conv2D":
            values[name] = convolution(read[0], *weights[name])
            if settings["activation"] == "relu":
                values[name] = np.maximum(values[name], 0)
        elif kind == "MaxPooling2D":
            (height, width), (rows, columns, channels) = settings["pool_size"], read[0].shape
            cut = read[0].reshape(rows // height, height, columns // width, width, channels)
            values[name] = cut.max((1, 3))
        elif kind == "UpSampling2D":
            values[name] = read[0].repeat(settings["size"][0], 0).repeat(settings["size"][1], 1)
        else:
            values[name] = np.concatenate(read, -1)
    return values[layers[-1][0]]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def file(tmp_path):
    return write_by_hand(tmp_path / "model.h5", random_weights(), config_of_keras_2())


@pytest.mark.parametrize("made", ["keras 2", "keras 3", "weights alone"])
def test_a_file_is_read_and_computes_what_keras_does(made, tmp_path):
    weights = random_weights()
    config = {"keras 2": config_of_keras_2(), "keras 3": config_of_keras_3(), "weights alone": None}[made]
    suffix = "" if made == "keras 3" else ":0"
    network = read_keras_unet(
        write_by_hand(tmp_path / "model.h5", weights, config, suffix=suffix), omission=2, pre=4
    )
    assert (network.pre, network.post, network.omission) == (4, 2, 2)
    assert network.sizes["width"] == WIDTH
    assert not network.training
    images = np.random.default_rng(1).normal(size=(2, ROWS, 2, FRAMES))
    with torch.inference_mode():
        predicted = network.double().predict(torch.from_numpy(images).permute(0, 3, 1, 2))[:, 0]
    expected = [plain_forward(image, weights)[..., 0] for image in images]
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(predicted.numpy(), expected, atol=1e-6)


def test_the_order_of_layers_in_the_file_does_not_matter(tmp_path):
    weights = random_weights()
    config = config_of_keras_2()
    config["config"]["layers"].reverse()
    file = write_by_hand(tmp_path / "model.h5", weights, config, layers=LAYERS[::-1])
    kernel = read_keras_unet(file).conv1.weight.detach().numpy()
    np.testing.assert_array_equal(kernel, weights["conv2d"][0].transpose(3, 2, 0, 1))


def test_what_is_written_comes_back(tmp_path):
    network = UNetEphys1024(pre=4, post=2, width=3)
    file = tmp_path / "sub" / "ours.h5"
    write_keras_unet(network, file, rows=48)
    again = read_keras_unet(file, pre=4)
    assert again.sizes == network.sizes
    for name, values in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], values)
    assert [path.name for path in file.parent.iterdir()] == ["ours.h5"]
    with pytest.raises(FileExistsError, match="overwrite=True"):
        write_keras_unet(network, file)
    write_keras_unet(UNetEphys1024(pre=2, post=2, width=2), file, overwrite=True)
    assert read_keras_unet(file).pre == 2
    with pytest.raises(ValueError, match="rows=40"):
        write_keras_unet(network, tmp_path / "other.h5", rows=40)
    with pytest.raises(ValueError, match=r"ends in \.h5"):
        write_keras_unet(network, tmp_path / "other.keras")


def changed(name, **settings):
    return [
        (one, kind, sources, {**own, **settings} if one == name else own)
        for one, kind, sources, own in LAYERS
    ]


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        (changed("conv2d_3", activation="elu"), "not that of unet_single_ephys_1024"),
        (changed("max_pooling2d_1", pool_size=[3, 1]), "not that of"),
        (changed("conv2d", padding="valid"), "not that of"),
        (changed("up_sampling2d", interpolation="bilinear"), "not that of"),
        (changed("conv2d_9", activation="quadratic"), "has the activation 'quadratic'"),
        (changed("conv2d_9", activation={"class_name": "function"}), "holds 'function'"),
        (
            changed("conv2d_2", kernel_initializer={"module": "os", "class_name": "system"}),
            r"holds 'os\.system'",
        ),
        (changed("input_1", batch_input_shape=[None, ROWS, 2, 8]), "not that of"),
        (changed("input_1", batch_input_shape=[None, ROWS, 2, None]), "takes input of shape"),
        (
            [*LAYERS, ("lambda", "Lambda", ["conv2d_9"], {"function": ["4wEAAA", None, None]})],
            "'Lambda', which may",
        ),
        ([*LAYERS, ("mine", "MyLayer", ["conv2d_9"], {})], "'MyLayer', which may run code"),
        (
            [
                ("conv2d", "Conv2D", ["conv2d_9"], LAYERS[1][3]) if one[0] == "conv2d" else one
                for one in LAYERS
            ],
            "itself",
        ),
        ([*LAYERS, ("dropout", "Dropout", ["nowhere"], {})], "cannot be understood"),
    ],
)
def test_other_graphs_are_refused(layers, match, tmp_path):
    file = write_by_hand(tmp_path / "model.h5", random_weights(), config_of_keras_2(layers))
    with pytest.raises(KerasFileError, match=match):
        read_keras_unet(file)


def test_weights_of_other_shapes_are_refused(file, tmp_path):
    for change, match in (
        ({"conv2d_4": random_weights()["conv2d_3"]}, r"'conv2d_4' has weights of shapes .* should be"),
        ({"conv2d_4": ()}, r"'conv2d_4' has weights of shapes \[\]"),
        ({"conv2d_9": (np.full((1, 1, 2, 1), np.nan), np.zeros(1))}, "not finite"),
        ({"conv2d_9": (np.zeros((1, 1, 2, 1), int), np.zeros(1, int))}, "no floating-point"),
    ):
        write_by_hand(tmp_path / "bad.h5", {**random_weights(), **change}, config_of_keras_2())
        with pytest.raises(KerasFileError, match=match):
            read_keras_unet(tmp_path / "bad.h5")
    with h5py.File(file, "a") as stored:
        own = stored["model_weights/conv2d_2/conv2d_2"]
        del own["kernel:0"]
        own["kernel:0"] = h5py.ExternalLink(
            str(tmp_path / "bad.h5"), "model_weights/conv2d_2/conv2d_2/kernel:0"
        )
    with pytest.raises(KerasFileError, match="lies in another file"):
        read_keras_unet(file)
    with pytest.raises(KerasFileError, match="pre=7"):
        read_keras_unet(write_by_hand(file, random_weights(), config_of_keras_2()), pre=7)


def test_files_that_are_no_keras_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_keras_unet(tmp_path / "nowhere.h5")
    (tmp_path / "text.h5").write_text("words")
    with pytest.raises(KerasFileError, match="no HDF5 file"):
        read_keras_unet(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with pytest.raises(KerasFileError, match="names no layers"):
        read_keras_unet(tmp_path / "empty.h5")
    (tmp_path / "text.keras").write_text("words")
    with pytest.raises(KerasFileError, match=r"no \.keras file"):
        read_graph(tmp_path / "text.keras")
    with zipfile.ZipFile(tmp_path / "lambda.keras", "w") as archive:
        layers = [*LAYERS, ("lambda", "Lambda", ["conv2d_9"], {})]
        archive.writestr("config.json", json.dumps(config_of_keras_3(layers)))
    with pytest.raises(KerasFileError, match="'Lambda', which may run code"):
        KerasModel(file=str(tmp_path / "lambda.keras")).resolved()


@pytest.mark.parametrize("name", ["net.H5", "NET.HDF5"])
def test_the_end_of_a_name_may_be_in_capitals(tmp_path, file, name):
    shutil.copyfile(file, tmp_path / name)
    assert find_source(tmp_path / name).keras.backend == "torch"
    assert read_graph(tmp_path / name) == read_graph(file)
    write_keras_unet(read_keras_unet(file), tmp_path / f"written-{name}")


@pytest.mark.parametrize("name", ["net.keras", "NET.KERAS"])
def test_a_keras_file_of_keras_2_says_how_it_can_be_used(tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.writestr("config.json", json.dumps(config_of_keras_2(LAYERS)))
    with pytest.raises(
        KerasFileError, match=r"was saved by Keras 2\.15\.0.*save it there as model\.save\('model\.h5'\)"
    ):
        find_source(str(tmp_path / name))
    with pytest.raises(ValueError, match="needs no conversion: it is taken as a model as it is"):
        import_model(tmp_path / name, tmp_path / "model")


def test_files_that_are_something_else(tmp_path):
    for name, words in (("empty.h5", "is empty"), ("empty.keras", "is empty")):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(KerasFileError, match=words):
            find_source(tmp_path / name)
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(
        ModelError, match=r"is a file; allowed: a model folder\. See: steadyspike models import"
    ):
        find_source(tmp_path / "weights.pt")


def recording_of(num_channels, num_samples=80, staggered=True):
    x = (
        [[43.0, 11.0, 59.0, 27.0][i % 4] for i in range(num_channels)]
        if staggered
        else np.tile([0.0, 32.0], 500)
    )
    positions = np.stack([x[:num_channels], 20.0 * (np.arange(num_channels) // 2)], axis=1)
    probe = Probe(ndim=2)
    probe.set_contacts(positions=positions)
    probe.set_device_channel_indices(np.arange(num_channels))
    traces = np.random.default_rng(0).normal(5, 20, (num_samples, num_channels)).astype("f4")
    recording = si.NumpyRecording([traces], 30_000.0)
    recording.set_probe(probe)
    return recording


def denoised_by_hand(recording, weights, pre, omission, cells):
    """Sample by sample, with one mean and standard deviation, and zeros beyond the ends; `cells` of each channel."""
    traces = recording.get_traces().astype("f8")
    mean, std = traces.mean(), traces.std()
    post = FRAMES - pre
    image = np.zeros((len(traces) + 2 * FRAMES + 2 * omission, ROWS, 2))
    first = pre + omission
    for channel, (row, column) in enumerate(cells):
        image[first : first + len(traces), row, column] = (traces[:, channel] - mean) / std
    result = []
    for time in range(first, first + len(traces)):
        before = image[time - omission - pre : time - omission]
        after = image[time + omission + 1 : time + omission + 1 + post]
        predicted = plain_forward(np.concatenate([before, after]).transpose(1, 2, 0), weights)[..., 0]
        result.append([predicted[row, column] for row, column in cells])
    return np.array(result) * std + mean


@pytest.mark.parametrize("num_channels", [32, 64])
def test_a_recording_is_denoised_by_a_keras_file(num_channels, file):
    """32 contacts in 32 rows, as in the paper, or 64 in 32 rows of two, as in SpikeInterface."""
    recording = recording_of(num_channels, num_samples=12)
    if num_channels == 32:
        by_depth = np.lexsort(
            (-recording.get_channel_locations()[:, 0], recording.get_channel_locations()[:, 1])
        )
        row = np.argsort(by_depth)
        cells = list(zip(row, row % 2, strict=True))
    else:
        row = np.arange(64) // 2
        # the left contact of each pair first
        cells = list(zip(row, 1 - np.arange(64) % 2, strict=True))
    model = KerasModel(file=str(file), pre=4, omission=2)
    denoised = deepinterpolate(recording, model)
    expected = denoised_by_hand(recording, random_weights(), 4, 2, cells)
    np.testing.assert_allclose(denoised.get_traces(), expected, atol=1e-3)
    saved = json.loads(json.dumps(denoised._kwargs["model"]))
    again = deepinterpolate(recording, saved, model_sha256=denoised._kwargs["model_sha256"])
    np.testing.assert_array_equal(again.get_traces(), denoised.get_traces())
    assert deepinterpolate(recording, str(file)).get_traces().std() > 0


def test_keras_models_that_do_not_fit(file, tmp_path, monkeypatch):
    with pytest.raises(
        KerasFileError, match="takes images of 32 rows and 2 columns; those of the recording are"
    ):
        deepinterpolate(recording_of(40), file)
    with pytest.raises(ValueError, match="trained at 20000 Hz"):
        deepinterpolate(recording_of(32), KerasModel(file=str(file), sampling_frequency=20_000.0))
    with pytest.raises(KerasFileError, match="pre=7"):
        deepinterpolate(recording_of(32), dict(file=str(file), pre=7))
    with pytest.raises(ValueError, match="surprise"):
        deepinterpolate(recording_of(32), dict(file=str(file), surprise=1))
    other = write_by_hand(
        tmp_path / "other.h5", random_weights(), config_of_keras_2(changed("conv2d", activation="elu"))
    )
    assert KerasModel(file=str(other)).resolved().backend == "tensorflow"
    with pytest.raises(KerasFileError, match="backend='torch' runs"):
        deepinterpolate(recording_of(32), KerasModel(file=str(other), backend="torch"))
    write_by_hand(other, random_weights())
    with pytest.raises(KerasFileError, match="weights alone"):
        deepinterpolate(recording_of(32), KerasModel(file=str(other), backend="tensorflow"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"steadyspike\[tensorflow\]"):
        deepinterpolate(recording_of(32), KerasModel(file=str(file), backend="tensorflow")).get_traces()


@pytest.fixture(scope="module")
def keras():
    reason = "needs TensorFlow: pip install 'steadyspike[tensorflow]'"
    return pytest.importorskip("tensorflow", reason=reason, exc_type=ImportError).keras


def built_by_keras(keras, filters=WIDTH):
    """The published function, in Keras."""
    values = {}
    for name, kind, sources, settings in LAYERS:
        if kind == "InputLayer":
            values[name] = keras.Input((ROWS, 2, FRAMES))
            continue
        same = {"padding": "same"} if kind == "Conv2D" else {}
        read = [values[source] for source in sources]
        values[name] = getattr(keras.layers, kind)(**settings, **same)(read if len(read) > 1 else read[0])
    model = keras.Model(values["input_1"], values["conv2d_9"])
    for number, weights in enumerate(model.trainable_weights):
        weights.assign(np.random.default_rng(number).normal(0, 0.3, weights.shape))
    return model


def test_tensorflow_and_ours_agree_on_a_file_of_keras(keras, tmp_path):
    model = built_by_keras(keras)
    model.save(tmp_path / "model.h5")
    images = np.random.default_rng(0).normal(size=(4, ROWS, 2, FRAMES)).astype("f4")
    with torch.inference_mode():
        ours = read_keras_unet(tmp_path / "model.h5").predict(torch.from_numpy(images).permute(0, 3, 1, 2))[
            :, 0
        ]
    np.testing.assert_allclose(ours.numpy(), np.asarray(model(images))[..., 0], atol=1e-4)


def test_keras_reads_what_we_write(keras, tmp_path):
    network = UNetEphys1024(pre=3, post=3, width=WIDTH).eval()
    write_keras_unet(network, tmp_path / "ours.h5", rows=ROWS)
    images = np.random.default_rng(0).normal(size=(4, ROWS, 2, FRAMES)).astype("f4")
    with torch.inference_mode():
        ours = network.predict(torch.from_numpy(images).permute(0, 3, 1, 2))[:, 0].numpy()
    whole = keras.models.load_model(tmp_path / "ours.h5", compile=False)
    weights_alone = built_by_keras(keras)
    weights_alone.load_weights(tmp_path / "ours.h5")
    for model in (whole, weights_alone):
        np.testing.assert_allclose(np.asarray(model(images))[..., 0], ours, atol=1e-4)


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_tensorflow_as_the_backend_of_the_node(keras, suffix, tmp_path):
    file = str(tmp_path / f"model{suffix}")
    built_by_keras(keras).save(file)
    recording = recording_of(32, num_samples=150)
    denoised = deepinterpolate(recording, KerasModel(file=file, pre=4, backend="tensorflow"))
    traces = denoised.get_traces()
    chunks = [denoised.get_traces(0, start, start + 37) for start in range(0, 150, 37)]
    np.testing.assert_allclose(np.concatenate(chunks), traces, atol=1e-5 * traces.std())
    if suffix == ".h5":
        ours = deepinterpolate(recording, KerasModel(file=file, pre=4, backend="torch"))
        np.testing.assert_allclose(ours.get_traces(), traces, atol=1e-4 * traces.std())


def test_any_keras_model_denoises(keras, tmp_path):
    source = keras.Input((ROWS, 2, FRAMES))
    hidden = keras.layers.BatchNormalization()(
        keras.layers.Conv2D(3, (3, 2), padding="same", activation="elu")(source)
    )
    model = keras.Model(source, keras.layers.Conv2D(1, 1)(hidden))
    model.save(tmp_path / "model.h5")
    denoised = deepinterpolate(recording_of(64), str(tmp_path / "model.h5"))
    assert np.isfinite(denoised.get_traces()).all()
    assert denoised.get_traces().std() > 0
