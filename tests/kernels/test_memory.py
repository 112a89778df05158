import gc
import threading

import numpy as np
import pytest

from steadyspike.kernels.lanes import memory

LARGE = (1024, 512)


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    memory._idle.clear()
    yield
    memory._idle.clear()


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_when_the_last_view_is_gone():
    array = memory.result(LARGE, "float32")
    assert array.shape == LARGE
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.writeable
    first = address(array)
    view = array[5:, ::2].T
    view[:] = 7.0
    del array
    other = memory.result(LARGE, "float32")
    other[:] = 3.0
    assert address(other) != first
    assert (view == 7.0).all()
    del view
    assert address(memory.result((512, 512), "float64")) == first


def test_what_does_not_fit_is_new_and_little_is_kept():
    first = address(memory.result(LARGE, "float64"))
    small = memory.result((256, 512), "float64")
    assert address(small) != first
    assert address(memory.result(LARGE, "float64")) == first
    held = [memory.result(LARGE, "float32") for _ in range(5)]
    del held, small
    assert len(memory._idle) == memory.MOST_IDLE
    assert memory.result((3, 4), "int16").flags.owndata
    assert memory.result((0, 4), "int16").shape == (0, 4)


def test_scratch_belongs_to_its_thread():
    room = memory.scratch(1000, "float64")
    assert room.shape == (1000,)
    assert address(memory.scratch(10, "float32")) == address(room)
    others = []
    thread = threading.Thread(target=lambda: others.append(memory.scratch(10, "float32")))
    thread.start()
    thread.join()
    assert address(others[0]) != address(room)
    assert memory.scratch(2 * memory.MOST_KEPT_BYTES, "uint8").size == 2 * memory.MOST_KEPT_BYTES


def test_aligned_memory_begins_with_a_line():
    for size in (1, 37, 1000):
        array = memory.aligned(size, "float32")
        assert (array.size, array.dtype) == (size, np.float32)
        assert address(array) % memory.LINE_BYTES == 0
