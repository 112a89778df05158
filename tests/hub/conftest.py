"""A Hub that is empty for each test, and small models and presets to share."""

import os

import huggingface_hub
import numpy as np
import pytest
import torch
from hub_server import OWNER, Hub
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

from steadyspike.models import DeepInterpolationModel, config_of
from steadyspike.networks import make_network
from steadyspike.presets import load_preset
from steadyspike.probe_layout import layout_of

disable_progress_bars()

POSITIONS = np.stack(np.divmod(np.arange(16), 2)[::-1], axis=1) * [32.0, 15.0]
SIZES = {"unit": [[1, 1], [1, 1]], "features": 4, "dilations": [1, 2], "centre": 1, "linear_taps": 3}


@pytest.fixture(scope="session")
def server():
    started = Hub()
    yield started
    huggingface_hub.close_session()
    started.close()


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """Let the real client talk to an empty Hub with a cache of its own, as the user "lab"."""
    server.reset()
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(tmp_path / "cache"),
        "HF_TOKEN_PATH": str(tmp_path / "no-token"),
        "HF_HUB_DISABLE_XET": True,
        "HF_HUB_OFFLINE": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setitem(os.environ, "HF_TOKEN", OWNER)
    # retries wait for seconds
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    return server


@pytest.fixture
def new_cache(monkeypatch, tmp_path):
    """Return a function that gives the client an empty cache, as on another machine."""

    def renew(name="other"):
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / name))
        return tmp_path / name

    return renew


@pytest.fixture
def offline(monkeypatch):
    """Return a function that switches the network off as HF_HUB_OFFLINE=1 does."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def small_model(seed=0, card="# A small model\n\nTrained on nothing.\n"):
    torch.manual_seed(seed)
    network = make_network("blindspot", SIZES).eval()
    with torch.no_grad():
        # a fresh network predicts zeros
        for weights in network.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    config = config_of(network, layout_of(POSITIONS, arrangement=network.arrangement).type, 30_000.0)
    return DeepInterpolationModel(network, config, card)


@pytest.fixture
def model():
    return small_model()


def lab_preset():
    return load_preset("steady_rigid").replace(name="lab_rigid", doc="Rigid, as our laboratory likes it")


@pytest.fixture
def preset():
    return lab_preset()
