"""Contacts of every kind of probe lie where they should in the image, and traces come back from it."""

import numpy as np
import pytest
import spikeinterface.full as si
from probeinterface import generate_multi_columns_probe, generate_tetrode

from steadyspike.core.probe_layout import LayoutType, layout_of


def neuropixels1(first=0, last=384):
    """In the order of the channels of the probe: two in a row, shifted by 16 um in every other row."""
    channel = np.arange(first, last)
    row = channel // 2
    return np.stack([np.where(channel % 2 == 0, 43.0, 11.0) + 16 * (row % 2), 20.0 * row], axis=1)


def lattice(rows, columns, row_um, column_um):
    row, column = np.divmod(np.arange(rows * columns), columns)
    return np.stack([column * column_um, row * row_um], axis=1).astype(float)


NEUROPIXELS2 = lattice(192, 2, 15, 32)
FOUR_SHANKS = np.concatenate([NEUROPIXELS2[:96] + [250 * shank, 500.0 * shank] for shank in range(4)])
CORNERS = np.isin(np.arange(100), [0, 9, 90, 99])
RANDOM = np.random.default_rng(0).uniform(0, 500, (60, 2))

PROBES = {
    "Neuropixels 1.0": (neuropixels1(), None, "staggered 4 columns 20 um", (1, 192, 4)),
    "Neuropixels 1.0, upper part": (neuropixels1(2, 100), None, "staggered 4 columns 20 um", (1, 50, 4)),
    "Neuropixels 2.0": (NEUROPIXELS2, None, "aligned 2 columns 15 um", (1, 192, 2)),
    "Neuropixels 2.0, 4 shanks": (
        FOUR_SHANKS,
        np.repeat([7, 3, 9, 4], 96),
        "aligned 2 columns 15 um",
        (4, 48, 2),
    ),
    "Neuropixels Ultra": (lattice(48, 8, 6, 6), None, "aligned 8 columns 6 um", (1, 48, 8)),
    "Neuropixels NHP, linear part": (lattice(64, 1, 20, 0), None, "aligned 1 column 20 um", (1, 64, 1)),
    "two staggered columns": (neuropixels1()[::2] - 40, None, "staggered 2 columns 20 um", (1, 192, 2)),
    "tetrode": (generate_tetrode().contact_positions, None, "group 4 contacts", (1, 1, 4)),
    "tetrode without positions": (np.zeros((4, 2)), None, "group 4 contacts", (1, 1, 4)),
    "two tetrodes": (np.zeros((8, 2)), np.arange(8) % 2, "group 4 contacts", (2, 1, 4)),
    "Utah": (lattice(10, 10, 400, 400)[~CORNERS], None, "aligned 10 columns 400 um", (1, 10, 10)),
    "planar, wide": (lattice(20, 24, 42, 42), None, "aligned 24 columns 42 um", (1, 20, 24)),
    "random": (RANDOM, None, "irregular", (1, 60, 1)),
    "one contact": (np.zeros((1, 3)), None, "group 1 contacts", (1, 1, 1)),
}


@pytest.mark.parametrize("probe", PROBES)
def test_layout_of_known_probes(probe):
    positions, shanks, name, shape = PROBES[probe]
    layout = layout_of(positions, shanks)
    assert (layout.name, layout.shape) == (name, shape)
    assert layout.mask.sum() == len(positions) == len(np.unique(layout.cells))
    # the unit, repeated over the grid, has a place for every contact
    unit = np.array(layout.type.unit)
    assert unit[layout.row % unit.shape[0], layout.column % unit.shape[1]].all()
    assert layout.type.columns == shape[2]
    assert layout.type.halo == (4 if "wide" in probe else 0)


@pytest.mark.parametrize("arrangement", ["lattice", "interleaved", "packed"])
@pytest.mark.parametrize("probe", PROBES)
def test_traces_come_back_whatever_the_order_of_channels(probe, arrangement):
    positions, shanks, _, _ = PROBES[probe]
    rng = np.random.default_rng(1)
    order = rng.permutation(len(positions))
    whole = layout_of(positions, shanks, arrangement=arrangement)
    layout = layout_of(positions[order], None if shanks is None else shanks[order], arrangement=arrangement)
    traces = rng.standard_normal((7, len(positions))).astype("float32")
    image = layout.scatter(traces[:, order])
    assert image.shape == (layout.shape[0], 7, *layout.shape[1:])
    np.testing.assert_array_equal(layout.gather(image), traces[:, order])
    # channels at the same place can only be told apart by their order
    if len(np.unique(positions, axis=0)) == len(positions):
        np.testing.assert_array_equal(image, whole.scatter(traces))


def test_rows_and_columns_are_in_proportion_to_positions():
    for positions, _, name, _ in (
        PROBES[probe] for probe in ("Neuropixels 1.0", "Neuropixels Ultra", "Utah")
    ):
        layout = layout_of(positions)
        row_um, column_um = layout.type.pitch_um
        np.testing.assert_allclose(np.ptp(positions[:, 1] - row_um * layout.row), 0, atol=1e-9, err_msg=name)
        np.testing.assert_allclose(np.ptp(positions[:, 0] - column_um * layout.column), 0, atol=1e-9)


def test_the_papers_image_of_neuropixels_1():
    layout = layout_of(neuropixels1(), arrangement="interleaved")
    np.testing.assert_array_equal(layout.row, np.arange(384))
    np.testing.assert_array_equal(layout.column, np.arange(384) % 2)
    assert layout.name == "staggered 4 columns 20 um"
    gone = np.delete(np.arange(384), [4, 5, 200])
    fewer = layout_of(neuropixels1()[gone], arrangement="interleaved")
    np.testing.assert_array_equal(fewer.row, gone)


def test_spikeinterfaces_image_of_neuropixels_1():
    layout = layout_of(neuropixels1(), arrangement="packed")
    assert layout.shape == (1, 192, 2)
    np.testing.assert_array_equal(layout.row, np.arange(384) // 2)
    np.testing.assert_array_equal(layout.column, (np.arange(384) + 1) % 2)
    assert layout.mask.all()


def test_one_type_for_all_recordings_of_a_layout():
    whole = layout_of(neuropixels1())
    rng = np.random.default_rng(2)
    kept = np.sort(rng.choice(384, 300, replace=False))
    jittered = neuropixels1() + rng.uniform(-0.3, 0.3, (384, 2))
    for positions in (neuropixels1(6, 90), neuropixels1()[kept], neuropixels1() + [1000, -77.7], jittered):
        layout = layout_of(positions)
        assert whole.type.mismatch(layout.type) is None
        assert layout.name == whole.name
    toy = generate_multi_columns_probe(
        num_columns=4, num_contact_per_column=32, xpitch=16, ypitch=40, y_shift_per_column=[20, 0, 20, 0]
    )
    assert layout_of(toy.contact_positions).type == whole.type


def test_missing_contacts_leave_their_cells_empty():
    gone = [5, 6, 7, 100, 101, 102, 103]
    whole, fewer = layout_of(NEUROPIXELS2), layout_of(np.delete(NEUROPIXELS2, gone, axis=0))
    np.testing.assert_array_equal(np.delete(whole.cells, gone), fewer.cells)
    assert not fewer.mask.ravel()[whole.cells[gone]].any()


def test_dead_channels_are_hidden_and_given_back():
    for dead in ([3, 10], np.isin(np.arange(384), [3, 10])):
        layout = layout_of(NEUROPIXELS2, dead=dead)
        assert np.flatnonzero(layout.dead).tolist() == [3, 10]
        image = layout.scatter(np.ones((2, 384)))
        assert image.sum() == 2 * 382
        assert layout.gather(np.full_like(image, 5))[0, 3] == 5


def test_long_stretches_without_contacts_are_shortened_and_keep_the_phase():
    channels = np.r_[0:100, 1001:1100]
    layout = layout_of(neuropixels1(0, 1100)[channels])
    assert layout.type == layout_of(neuropixels1()).type
    assert layout.shape[1] < 50 + 50 + 14
    np.testing.assert_array_equal(np.diff(layout.row[100:]), np.diff(channels[100:] // 2))


def test_shanks_begin_at_row_0_each():
    layout = layout_of(FOUR_SHANKS, np.repeat([7, 3, 9, 4], 96))
    assert layout.num_rows.tolist() == [48] * 4
    unequal = layout_of(FOUR_SHANKS[:-40], np.repeat([0, 1, 2, 3], 96)[:-40])
    assert unequal.num_rows.tolist() == [48, 48, 48, 28]
    assert not unequal.mask[3, 28:].any()


def test_a_recording_tells_its_positions_and_shanks():
    recording = si.generate_recording(num_channels=12, durations=[0.01], set_probe=False)
    shank = generate_multi_columns_probe(num_columns=2, num_contact_per_column=3, xpitch=32, ypitch=15)
    positions = np.concatenate([shank.contact_positions, shank.contact_positions + [250, 0]])
    import probeinterface

    probe = probeinterface.Probe(ndim=2)
    probe.set_contacts(
        positions, shapes="circle", shape_params={"radius": 5}, shank_ids=np.repeat(["a", "b"], 6)
    )
    probe.set_device_channel_indices(np.arange(12)[::-1])
    recording.set_probe(probe)
    layout = layout_of(recording)
    assert layout.shape == (2, 3, 2)
    assert (layout.shank == np.repeat([0, 1], 6)).all()


def test_what_makes_types_differ():
    np1, np2 = layout_of(neuropixels1()).type, layout_of(NEUROPIXELS2).type
    assert "pattern" in np1.mismatch(np2)
    wider = layout_of(NEUROPIXELS2 * [1, 1.5]).type
    assert "pitch_um" in np2.mismatch(wider)
    assert np2.mismatch(wider, pitch=False) is None
    assert "arrangement" in np1.mismatch(layout_of(neuropixels1(), arrangement="packed").type)
    assert isinstance(np1, LayoutType)
    assert hash(np1) != hash(np2)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"recording_or_positions": np.zeros(4)}, "shape"),
        ({"recording_or_positions": np.full((4, 2), np.nan)}, "finite"),
        ({"shanks": [0, 1]}, "shanks of shape"),
        ({"dead": [384]}, "dead="),
        ({"dead": np.zeros(3, bool)}, "dead of shape"),
        ({"arrangement": "round"}, "arrangement='round'"),
    ],
)
def test_bad_arguments(arguments, match):
    with pytest.raises(ValueError, match=match):
        layout_of(**{"recording_or_positions": NEUROPIXELS2, **arguments})


def test_traces_of_another_shape():
    layout = layout_of(NEUROPIXELS2)
    with pytest.raises(ValueError, match=r"\(time, 384\)"):
        layout.scatter(np.zeros((3, 383)))
    with pytest.raises(ValueError, match="image of shape"):
        layout.gather(np.zeros((3, 192, 2)))
