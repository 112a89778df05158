"""Where monopoles are left to SciPy or SpikeInterface, and that errors from the truth are no larger."""

import re

import numpy as np
import pytest

import steadyspike
from steadyspike.integration.acceleration.replacements.monopoles import (
    LEAST_SQUARES,
    LOG_PENALTY,
    TOO_FEW_CONTACTS,
    Monopoles,
)
from steadyspike_benchmarks.monopoles import (
    LAYOUTS,
    format_monopoles,
    locate_both_ways,
    objectives,
    run_monopoles,
    simulate_sources,
)

MONOPOLAR = "monopolar_triangulation"
DETERMINED = (
    "Neuropixels 1.0",
    "Neuropixels 2.0",
    "Neuropixels Ultra",
    "array, 30 um",
    "two columns, 60 um",
    "one column, 20 um",
)


def planar(located):
    return np.column_stack([located["x"], located["y"]])


@pytest.mark.parametrize("layout", DETERMINED)
def test_objective_and_error_are_no_larger(layout):
    contacts, errors = LAYOUTS[layout], []
    for seed, snr in enumerate((5.0, 10.0, 30.0, 100.0)):
        sources, channels, waveforms = simulate_sources(contacts, 60, snr, seed)
        both = locate_both_ways(contacts, channels, waveforms)
        theirs, ours = (objectives(contacts, channels, waveforms, located) for located in both)
        assert (ours <= theirs + 1e-6).all()
        errors.append([np.linalg.norm(planar(one) - sources[:, :2], axis=1) for one in both])
        assert np.median(np.linalg.norm(planar(both[0]) - planar(both[1]), axis=1)) < 1.0
    theirs, ours = np.concatenate(errors, axis=1)
    # of so few spikes; of thousands it is 1.03 at most
    assert np.median(ours) <= 1.06 * np.median(theirs)
    assert ours.mean() <= 1.06 * theirs.mean()


@pytest.mark.parametrize(
    "contacts",
    [
        np.zeros((1, 2)),
        np.array([[0.0, 0.0], [0.0, 20.0]]),
        LAYOUTS["tetrode, 25 um"],
        LAYOUTS["one column, 50 um"],
    ],
)
@pytest.mark.parametrize("optimizer", [LOG_PENALTY, LEAST_SQUARES])
@pytest.mark.filterwarnings("ignore")
def test_few_contacts_are_left_to_spikeinterface(contacts, optimizer):
    _, channels, waveforms = simulate_sources(contacts, 15, 20.0, 0)
    theirs, ours = locate_both_ways(contacts, channels, waveforms, optimizer=optimizer)
    np.testing.assert_array_equal(ours, theirs)
    assert steadyspike.accelerated()[MONOPOLAR].fell_back == {TOO_FEW_CONTACTS: 1}
    assert steadyspike.accelerated()[MONOPOLAR].taken == 0


def test_spikes_of_both_kinds_in_one_call():
    contacts = np.concatenate([LAYOUTS["array, 30 um"], LAYOUTS["tetrode, 25 um"] + [5000.0, 0.0]])
    _, channels, waveforms = simulate_sources(contacts, 60, 20.0, 0)
    channels[:5] = [64, 65, 66, 67, 64]
    theirs, ours = locate_both_ways(contacts, channels, waveforms)
    counted = steadyspike.accelerated()[MONOPOLAR]
    assert counted.taken == 1
    assert counted.fell_back == {TOO_FEW_CONTACTS: 1}
    assert counted.seconds_upstream > 0
    few = channels >= 64
    np.testing.assert_array_equal(ours[few], theirs[few])
    assert (ours[~few] != theirs[~few]).any()
    np.testing.assert_allclose(planar(ours), planar(theirs), atol=10.0)


def open_spikes(layout, num_spikes):
    contacts = LAYOUTS[layout]
    _, channels, waveforms = simulate_sources(contacts, num_spikes, 5.0, 3)
    neighbours = np.linalg.norm(contacts[:, np.newaxis] - contacts, axis=2) <= 75.0
    counts = neighbours.sum(axis=1)
    lists = np.full((len(contacts), counts.max()), -1)
    for row, mask in zip(lists, neighbours, strict=True):
        row[: mask.sum()] = np.flatnonzero(mask)
    features = np.zeros((num_spikes, lists.shape[1]), dtype=np.float32)
    for row, channel, waveform in zip(features, channels, waveforms, strict=True):
        row[: counts[channel]] = np.ptp(waveform[:, neighbours[channel]], axis=0)
    solver = Monopoles(contacts, lists, counts, 150.0, LOG_PENALTY)
    _, is_open = solver.minima(features, channels)
    return channels, waveforms, is_open


@pytest.mark.parametrize("layout", ["Neuropixels 2.0", "one column, 20 um"])
def test_open_positions_are_those_of_scipy(layout):
    channels, waveforms, is_open = open_spikes(layout, 300)
    assert 0.02 < is_open.mean() < 0.3
    theirs, ours = locate_both_ways(LAYOUTS[layout], channels[is_open], waveforms[is_open])
    assert not steadyspike.accelerated()[MONOPOLAR].fell_back
    distances = np.linalg.norm(planar(theirs) - planar(ours), axis=1)
    # where it stops hangs on the last digits, of which a few differ
    assert np.mean(distances < 0.1) > 0.9
    np.testing.assert_allclose(ours["alpha"][distances < 0.01], theirs["alpha"][distances < 0.01], rtol=1e-2)


def test_the_same_spike_alone_and_among_others():
    channels, waveforms, _ = open_spikes("Neuropixels 1.0", 200)
    contacts = LAYOUTS["Neuropixels 1.0"]
    _, together = locate_both_ways(contacts, channels[:40], waveforms[:40])
    for spike in (0, 17, 39):
        _, alone = locate_both_ways(contacts, channels[spike : spike + 1], waveforms[spike : spike + 1])
        np.testing.assert_array_equal(alone[0], together[spike])


def test_table():
    rows = run_monopoles(["tetrode, 25 um"], [30.0], 20)
    assert rows[0]["share_no_worse"] == 1.0
    assert rows[0]["distances_um"] == (0.0, 0.0)
    assert re.search(r"\| tetrode, 25 um +\| +30 \| +20 \|", format_monopoles(rows))
    assert rows[0]["errors_um_steady"][0] <= rows[0]["errors_um"][0]
    lines = run_monopoles(["one column, 50 um"], [30.0], 20)
    assert [row["layout"] for row in lines] == ["one column, 50 um, middle", "one column, 50 um, ends"]
    assert sum(row["num_spikes"] for row in lines) == 20
