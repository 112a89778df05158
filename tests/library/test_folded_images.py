"""Where live channels lie in what a network folds: on a CPU images are not made, and nothing else changes."""

import numpy as np
import pytest
import torch

from steadyspike.core.probe_layout import layout_of
from steadyspike.library.models.inference import Backend, TraceImages, predict_traces
from steadyspike.networks.blindspot import BlindSpot
from steadyspike.networks.seeing import Seeing
from steadyspike.simulation.probes import build_probe

WIDE = np.array([(32.0 * column, 20.0 * row) for row in range(5) for column in range(9)])
LAYOUTS = {
    "staggered": (build_probe("np1", 26).contact_positions, None),
    "two shanks": (np.tile(build_probe("np2", 12).contact_positions, (2, 1)), np.repeat([0, 1], 12)),
    "strips": (WIDE, None),
}


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("precision", ["float32", "half"])
def test_nothing_changes_without_images(name, precision, monkeypatch):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    positions, shanks = LAYOUTS[name]
    dead = np.zeros(len(positions), bool)
    dead[[2, 7]] = True
    layout = layout_of(positions, shanks, dead)
    halo = layout.type.halo
    small = dict(features=4, depth_dilations=(1,), linear_taps=4)
    network = BlindSpot(layout.type.unit, dilations=(1, 2), halo=halo, **small)
    if not halo:
        network = Seeing(layout.type.unit, kernel=3, dilations=(1, 2), **small)
    backend, rng = Backend(network.eval(), "cpu", precision), np.random.default_rng(0)
    live = rng.permutation(np.flatnonzero(~dead))
    live.sort()
    images = TraceImages.of(layout, live, rng.normal(size=len(dead)), rng.uniform(1, 2, len(dead)))
    for kind in ("int16", "float32", "float64", "int32"):
        traces = (20 * rng.standard_normal((40, live.size))).astype(kind)
        found = predict_traces(backend, images, traces, -3, 48, 16)
        with monkeypatch.context() as patch:
            patch.setattr(Backend, "folding", None)
            wanted = predict_traces(backend, images, traces, -3, 48, 16)
        loose = (
            dict(rtol=0.05, atol=0.05 * np.abs(wanted).max())
            if precision == "half"
            else dict(rtol=0, atol=1e-6)
        )
        np.testing.assert_allclose(found, wanted, **loose)
        assert wanted.std() > 1e-3
