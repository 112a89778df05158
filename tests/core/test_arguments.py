import numpy as np
import pytest
import spikeinterface as si

from steadyspike.core.arguments import channel_indices

DIGITS = ["0", "1", "3", "10"]


def recording_of(ids):
    return si.NumpyRecording([np.zeros((2, len(ids)))], 30_000.0, channel_ids=ids)


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_ids_in_any_sequence(kind):
    assert channel_indices("ids", kind(["10", "0"]), recording_of(DIGITS), "part").tolist() == [3, 0]
    assert channel_indices("ids", kind([7, 5]), recording_of([5, 6, 7]), "part").tolist() == [2, 0]
    assert channel_indices("ids", [], recording_of(DIGITS), "part").size == 0


@pytest.mark.parametrize(
    "ids",
    [
        "10",
        "AP3",
        3,
        None,
        {"0"},
        [["0", "1"]],
        ["0", ["1"]],
        [0, 1],
        ["01"],
        np.array([True, False, True, True]),
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_list_of_ids_is_refused(ids):
    with pytest.raises(ValueError, match=r"^part: ids=.*as \['0', '1', ...\]"):
        channel_indices("ids", ids, recording_of(DIGITS), "part")


def test_a_mask_is_not_taken_for_the_channels_0_and_1():
    with pytest.raises(ValueError, match=r"True"):
        channel_indices("ids", np.array([True, False]), recording_of([0, 1]), "part")
