import numpy as np
import pytest

from steadyspike.kernels.channels import waveform_loss
from steadyspike.kernels.channels.waveform_loss import waveform_losses


def column(pitch_um, num_contacts=40):
    return np.stack([np.zeros(num_contacts), pitch_um * np.arange(num_contacts)], axis=1)


def test_footprints_equal_slow_oracle():
    rng = np.random.default_rng(0)
    contacts, sources, distances = (
        rng.uniform(0, 50, (5, 2)),
        rng.uniform(0, 50, (3, 2)),
        np.array([1.0, 9, 30]),
    )
    found = waveform_loss.footprints(contacts, sources, distances)
    for i in range(3):
        for j in range(5):
            away = np.sqrt(sum((contacts[j] - sources[i]) ** 2) + distances[i] ** 2)
            assert found[i, j] == pytest.approx(1 / away)


def test_nothing_is_lost_where_nothing_moves():
    without, corrected = waveform_losses(column(20.0), 1, np.zeros(3), np.zeros(3), 0.0)
    assert without == 0.0
    assert corrected < 1e-6


@pytest.mark.parametrize("dim", [0, 1])
def test_a_dense_probe_gains_and_a_sparse_one_does_not(dim):
    moves = np.linspace(-10, 10, 9)
    ratios = []
    for pitch in (10.0, 25.0, 400.0):
        contacts = column(pitch)[:, ::-1] if dim == 0 else column(pitch)
        without, corrected = waveform_losses(contacts, dim, moves, moves, 0.0)
        ratios.append(corrected / without)
    assert ratios[0] < 0.1 < ratios[1] < 0.7
    assert ratios[2] > 0.95


def test_losses_grow_with_motion_and_with_error():
    contacts = column(15.0)
    small = waveform_losses(contacts, 1, np.array([-2.0, 2.0]), np.array([-2.0, 2.0]), 0.0)
    large = waveform_losses(contacts, 1, np.array([-9.0, 9.0]), np.array([-9.0, 9.0]), 0.0)
    unsure = waveform_losses(contacts, 1, np.array([-9.0, 9.0]), np.array([-9.0, 9.0]), 9.0)
    assert small[0] < large[0] == unsure[0]
    assert small[1] < large[1] < large[0] < unsure[1]


def test_one_contact_has_a_result():
    assert np.isfinite(waveform_losses(np.zeros((1, 2)), 1, np.array([5.0]), np.array([5.0]), 0.0)).all()
