"""The network for electrophysiology of DeepInterpolation (Lecoq et al. 2021, doi:10.1038/s41592-021-01285-2).

`unet_single_ephys_1024`: the samples before and after an omission gap are the input channels of an image of 384 rows
and 2 columns, and a U-Net with pooling along the rows predicts the one in between. One row of the image is one contact
of a Neuropixels 1.0 probe; contacts alternate between the columns, the other cell of each row is 0.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

POOLINGS = 4


class UNetEphys1024(nn.Module):
    """The paper's U-Net, layer for layer.

    ======  ==========================  ======  =======  ============
    layer   input                       kernel  outputs  then
    ======  ==========================  ======  =======  ============
    conv1   samples before and after    2 x 2   64       pool 2 x 2
    conv2   pooled conv1                3 x 1   128      pool 2 x 1
    conv3   pooled conv2                3 x 1   256      pool 2 x 1
    conv4   pooled conv3                3 x 1   512      pool 2 x 1
    conv5   pooled conv4                3 x 1   1024     repeat 2 x 1
    conv7   repeated conv5, conv4       3 x 1   512      repeat 2 x 1
    conv8   repeated conv7, conv3       3 x 1   256      repeat 2 x 1
    conv9   repeated conv8, conv2       3 x 1   128      repeat 2 x 2
    conv10  repeated conv9, conv1       2 x 2   64
    out     conv10                      1 x 1   1        (linear)
    ======  ==========================  ======  =======  ============

    All but the last are followed by a ReLU; padding keeps the size, and goes to the bottom and right of even kernels.

    The network sees `pre` samples before and `post` after the gap, of `omission` hidden samples on each side of the
    predicted one. The first layer has `width` outputs, and the others scale with it. Contacts lie in the image as
    `arrangement` says (`steadyspike.core.probe_layout.layout_of`): "interleaved" is the paper's, "packed" that of
    SpikeInterface's wrapper, or "lattice". Nothing here depends on it; it is kept for those who make the image.
    """

    name = "unet_single_ephys_1024"

    def __init__(
        self,
        pre: int = 30,
        post: int = 30,
        omission: int = 1,
        width: int = 64,
        arrangement: str = "interleaved",
    ) -> None:
        super().__init__()
        if min(pre, post, omission) < 0 or pre + post < 1 or width < 1:
            raise ValueError(
                f"pre={pre}, post={post}, omission={omission}, width={width}: "
                "none may be negative, width and pre + post must be 1 or more"
            )
        self.sizes = {
            **{"pre": pre, "post": post, "omission": omission, "width": width},
            "arrangement": arrangement,
        }
        self.arrangement = arrangement
        self.pre, self.post, self.omission = pre, post, omission
        w1, w2, w3, w4, w5 = (width * 2**level for level in range(5))
        self.conv1 = nn.Conv2d(pre + post, w1, (2, 2))
        self.conv2 = nn.Conv2d(w1, w2, (3, 1), padding=(1, 0))
        self.conv3 = nn.Conv2d(w2, w3, (3, 1), padding=(1, 0))
        self.conv4 = nn.Conv2d(w3, w4, (3, 1), padding=(1, 0))
        self.conv5 = nn.Conv2d(w4, w5, (3, 1), padding=(1, 0))
        self.conv7 = nn.Conv2d(w5 + w4, w4, (3, 1), padding=(1, 0))
        self.conv8 = nn.Conv2d(w4 + w3, w3, (3, 1), padding=(1, 0))
        self.conv9 = nn.Conv2d(w3 + w2, w2, (3, 1), padding=(1, 0))
        self.conv10 = nn.Conv2d(w2 + w1, w1, (2, 2))
        self.out = nn.Conv2d(w1, 1, 1)

    @property
    def context(self) -> tuple[int, int]:
        """Samples that are read before and after each predicted one."""
        return self.pre + self.omission, self.post + self.omission

    def layers(self) -> list[nn.Conv2d]:
        """Return the convolutions in the order in which the published model creates them."""
        return [layer for layer in self.children() if isinstance(layer, nn.Conv2d)]

    def forward(self, image: Tensor, mask: Tensor | None = None) -> Tensor:
        """Predict all samples of a chunk but its context, one pass for each; shapes as in `BlindSpot.forward`.

        The mask is not used: the published network knows only that empty cells are 0.
        """
        before, after = self.context
        time = image.shape[1] - before - after
        starts = [*range(self.pre), *range(before + self.omission + 1, before + after + 1)]
        frames = torch.stack([image[:, start : start + time] for start in starts], 2)
        return self.predict(frames.flatten(0, 1)).unflatten(0, (-1, time))[:, :, 0]

    def predict(self, frames: Tensor) -> Tensor:
        """Predict one frame from those around it, the published network's own call.

        `frames` are (batch, pre + post, rows, columns), whose rows and columns are filled with zeros to multiples of
        16 and 2. Returns (batch, 1, rows, columns).
        """
        rows, columns = frames.shape[2:]
        frames = functional.pad(frames, (0, -columns % 2, 0, -rows % 2**POOLINGS))
        relu, pool = functional.relu, functional.max_pool2d
        conv1 = relu(self.conv1(_bottom_right(frames)))
        conv2 = relu(self.conv2(pool(conv1, (2, 2))))
        conv3 = relu(self.conv3(pool(conv2, (2, 1))))
        conv4 = relu(self.conv4(pool(conv3, (2, 1))))
        hidden = relu(self.conv5(pool(conv4, (2, 1))))
        for layer, skipped in ((self.conv7, conv4), (self.conv8, conv3), (self.conv9, conv2)):
            hidden = relu(layer(torch.cat([_repeat(hidden, 1), skipped], 1)))
        hidden = relu(self.conv10(_bottom_right(torch.cat([_repeat(hidden, 2), conv1], 1))))
        return self.out(hidden)[:, :, :rows, :columns]


def _bottom_right(image: Tensor) -> Tensor:
    return functional.pad(image, (0, 1, 0, 1))


def _repeat(image: Tensor, columns: int) -> Tensor:
    return functional.interpolate(image, scale_factor=(2.0, float(columns)), mode="nearest")
