"""Published models of every kind are imported, shared, and loaded by reference."""

import os
from pathlib import Path

import pytest
import torch

from steadyspike.library.hub.cards import use_section
from steadyspike.library.hub.client import search
from steadyspike.library.models.config import KINDS, kind_class, read_config
from steadyspike.library.models.legacy.convert import import_model
from steadyspike.library.sharing import pull_from_hub, push_to_hub

DATA = Path(os.environ.get("STEADYSPIKE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
FILES = {
    "yass_weights/denoise.pt": "waveform_denoiser",
    "yass_weights/detect_np1.pt": "spike_detector",
    "yass_weights/detect_np2.pt": "spike_detector",
    "zebra_finch_spikes/best_cnn_model.pth": "spike_classifier",
    "zebra_finch_spikes/best_gru_model.pth": "spike_classifier",
    "zebra_finch_spikes/best_autoencoder_model.pth": "waveform_autoencoder",
}


@pytest.mark.parametrize("file", FILES)
def test_published_weights(hub, new_cache, tmp_path, file):
    if not (DATA / file).is_file():
        pytest.skip(f"no real data in {DATA}")
    kind = FILES[file]
    model = import_model(DATA / file, tmp_path / "model")
    assert read_config(tmp_path / "model").kind == kind
    with pytest.raises(ValueError, match='lacks a section "## Data"'):
        push_to_hub(tmp_path / "model", "lab/published")
    with (tmp_path / "model" / "README.md").open("a", encoding="utf-8") as card:
        card.write("\n## Data\n\nPublished.\n\n## Scores\n\nPublished.\n")
    pushed = push_to_hub(tmp_path / "model", "lab/published", tag="v1")
    assert [one.kind for one in search("model", kind)] == [kind.replace("_", "-")]
    new_cache()
    pulled = kind_class(kind).from_pretrained(pushed.ref)
    assert type(pulled) is type(pull_from_hub("hf:lab/published")) is type(model)
    assert pulled.config == model.config
    for name, weights in model.network.state_dict().items():
        torch.testing.assert_close(pulled.network.state_dict()[name], weights, rtol=0, atol=0)
    assert "license: " in pulled.card
    assert "license: unknown" not in pulled.card
    with pytest.raises(ValueError, match=f"is a model of kind '{kind}'"):
        kind_class("deepinterpolation").from_pretrained("lab/published")


def test_every_kind_has_a_card_that_says_how_it_is_used():
    for kind in KINDS:
        usage = kind_class(kind).usage
        assert usage.title
        assert "hf:lab/model" in use_section(usage, "lab/model")
