import gc
import threading
import weakref

import numpy as np
import pytest

from steadyspike.kernels.lanes import memory

LARGE = (1024, 512)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    # threads of other tests may still be there
    monkeypatch.setattr(memory, "_threads", weakref.WeakSet())
    monkeypatch.setattr(memory, "_kept", threading.local())
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


def in_thread(work):
    found = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    gc.collect()
    return found[0]


def test_a_new_thread_works_in_the_memory_of_one_that_has_ended(monkeypatch):
    monkeypatch.setattr(memory, "MOST_SPARE_BYTES", 10_000)
    memory._spare.clear()
    first = in_thread(lambda: address(memory.scratch(1000, "float64")))
    assert in_thread(lambda: address(memory.scratch(900, "float64"))) == first
    in_thread(lambda: memory.scratch(20_000, "uint8").size)
    assert len(memory._spare) == 0


def test_more_threads_keep_more_results():
    memory.result(LARGE, "float32")

    def idle_of_two_threads():
        held = [memory.result(LARGE, "float32") for _ in range(5)]
        del held
        return len(memory._idle)

    assert in_thread(idle_of_two_threads) == 2 * memory.MOST_IDLE


def test_aligned_memory_begins_with_a_line():
    for size in (1, 37, 1000):
        array = memory.aligned(size, "float32")
        assert (array.size, array.dtype) == (size, np.float32)
        assert address(array) % memory.LINE_BYTES == 0
