"""A small model and a preset to share."""

import numpy as np
import torch

from steadyspike.core.probe_layout import layout_of
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, config_of
from steadyspike.library.presets.presets import load_preset
from steadyspike.networks import make_network

POSITIONS = np.stack(np.divmod(np.arange(16), 2)[::-1], axis=1) * [32.0, 15.0]
SIZES = {"unit": [[1, 1], [1, 1]], "features": 4, "dilations": [1, 2], "centre": 1, "linear_taps": 3}


KNOWN = "\n## Data\n\nNothing.\n\n## Scores\n\n| linear interpolation | 1.0 |\n|---|---|\n"


def small_model(seed=0, card="# A small model\n\nTrained on nothing.\n", known=True):
    """Make a model; with what its card must say to be pushed, beside `card`."""
    if known:
        card = f"---\nlicense: mit\n---\n{card}{KNOWN}"
    torch.manual_seed(seed)
    network = make_network("blindspot", SIZES).eval()
    with torch.no_grad():
        # a fresh network predicts zeros
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    config = config_of(network, layout_of(POSITIONS, arrangement=network.arrangement).type, 30_000.0)
    return DeepInterpolationModel(network, config, card)


def lab_preset():
    return load_preset("steady_rigid").replace(name="lab_rigid", doc="Rigid, as our laboratory likes it")
