"""The paper's network against an independent computation with scipy, and its sizes."""

import numpy as np
import pytest
import torch
from scipy.signal import correlate

from steadyspike.networks.cost import num_parameters
from steadyspike.networks.unet import UNetEphys1024
from steadyspike_benchmarks.denoising_speed import multiply_adds_per_frame


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def same_convolution(image, layer):
    """Convolution as TensorFlow pads for "same": the smaller half first, the greater at the bottom and right."""
    weights, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    pads = [((size - 1) // 2, size // 2) for size in weights.shape[2:]]
    padded = np.pad(image, [(0, 0), *pads])
    return np.stack([correlate(padded, one, "valid")[0] + b for one, b in zip(weights, bias, strict=True)])


def pool(image, rows, columns):
    channels, height, width = image.shape
    return image.reshape(channels, height // rows, rows, width // columns, columns).max((2, 4))


def repeat(image, rows, columns):
    return image.repeat(rows, 1).repeat(columns, 2)


def plain_unet(network, image):
    """The published graph, one operation a line, on one image."""
    layers = [
        lambda image, layer=layer: np.maximum(same_convolution(image, layer), 0) for layer in network.layers()
    ]
    conv1 = layers[0](image)
    conv2 = layers[1](pool(conv1, 2, 2))
    conv3 = layers[2](pool(conv2, 2, 1))
    conv4 = layers[3](pool(conv3, 2, 1))
    conv5 = layers[4](pool(conv4, 2, 1))
    conv7 = layers[5](np.concatenate([repeat(conv5, 2, 1), conv4]))
    conv8 = layers[6](np.concatenate([repeat(conv7, 2, 1), conv3]))
    conv9 = layers[7](np.concatenate([repeat(conv8, 2, 1), conv2]))
    conv10 = layers[8](np.concatenate([repeat(conv9, 2, 2), conv1]))
    return same_convolution(conv10, network.layers()[9])


def test_it_computes_the_published_graph():
    network = UNetEphys1024(pre=3, post=2, width=2).double().eval()
    frames = torch.randn(1, 5, 32, 2, dtype=torch.float64)
    with torch.inference_mode():
        predicted = network.predict(frames)[0].numpy()
    np.testing.assert_allclose(predicted, plain_unet(network, frames[0].numpy()), atol=1e-12)


def test_it_has_the_published_sizes():
    with torch.device("meta"):
        network = UNetEphys1024()
    assert [tuple(layer.weight.shape) for layer in network.layers()] == [
        *((64, 60, 2, 2), (128, 64, 3, 1), (256, 128, 3, 1), (512, 256, 3, 1), (1024, 512, 3, 1)),
        *((512, 1536, 3, 1), (256, 768, 3, 1), (128, 384, 3, 1), (64, 192, 2, 2), (1, 64, 1, 1)),
    ]
    shapes = [layer.weight.shape for layer in network.layers()]
    assert num_parameters(network) == sum(shape.numel() + shape[0] for shape in shapes)
    cells = np.array([768, 192, 96, 48, 24, 48, 96, 192, 768, 768])
    assert multiply_adds_per_frame(network, 384, 2) == cells @ [shape.numel() for shape in shapes]


@pytest.mark.parametrize(("pre", "post", "omission"), [(3, 2, 1), (2, 2, 0), (0, 4, 2), (4, 0, 1)])
def test_a_chunk_is_predicted_frame_by_frame_from_beyond_the_gap(pre, post, omission):
    network = UNetEphys1024(pre, post, omission, width=2).double()
    before, after = network.context
    assert (before, after) == (pre + omission, post + omission)
    image = torch.randn(2, before + 4 + after, 16, 2, dtype=torch.float64, requires_grad=True)
    predicted = network(image)
    assert predicted.shape == (2, 4, 16, 2)
    for time in range(4):
        centre = time + before
        frames = [
            *range(centre - before, centre - omission),
            *range(centre + omission + 1, centre + after + 1),
        ]
        torch.testing.assert_close(predicted[:, time], network.predict(image[:, frames])[:, 0])
    (gradient,) = torch.autograd.grad(predicted[:, 2].sum(), image)
    seen = (gradient != 0).any(0).any(-1).any(-1).nonzero().flatten().tolist()
    centre = 2 + before
    assert seen == [t for t in range(2, 3 + before + after) if abs(t - centre) > omission]


def test_other_numbers_of_rows_are_filled_with_zeros():
    network = UNetEphys1024(2, 2, width=2).eval()
    frames = torch.randn(1, 4, 21, 3)
    with torch.inference_mode():
        predicted = network.predict(frames)
        filled = network.predict(torch.nn.functional.pad(frames, (0, 1, 0, 11)))
    assert predicted.shape == (1, 1, 21, 3)
    torch.testing.assert_close(predicted, filled[:, :, :21, :3])


def test_sizes_that_cannot_be():
    with pytest.raises(ValueError, match="pre=0"):
        UNetEphys1024(0, 0)
