"""A Hub that is empty for each test, and something to share."""

import os

import huggingface_hub
import pytest
from hub_examples import lab_preset, small_model
from hub_server import OWNER, Hub
from huggingface_hub import constants
from huggingface_hub.utils import disable_progress_bars

disable_progress_bars()


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


@pytest.fixture
def model():
    return small_model()


@pytest.fixture
def preset():
    return lab_preset()
