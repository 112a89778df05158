"""`with` blocks of `accelerate` and `repair` that are nested, or overlap in threads."""

import gc
import multiprocessing
import threading

import pytest
from spikeinterface.core import job_tools
from spikeinterface.preprocessing.filter import FilterRecordingSegment

import steadyspike
from steadyspike.integration.acceleration import switch, threads

ORIGINAL = FilterRecordingSegment.get_traces


def is_on():
    on = FilterRecordingSegment.get_traces is not ORIGINAL
    assert on == steadyspike.accelerated().on
    return on


class InThread:
    """A block that is opened and closed in a thread of its own."""

    def __init__(self, **arguments):
        self.leave, self.entered = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self.work, kwargs=arguments)
        self.thread.start()
        assert self.entered.wait(30)

    def work(self, **arguments):
        with steadyspike.accelerate(**arguments):
            self.entered.set()
            self.leave.wait(30)

    def close(self):
        self.leave.set()
        self.thread.join(30)


@pytest.mark.parametrize("order", ["first opened ends first", "last opened ends first"])
def test_on_while_any_block_is_open(order):
    first, second = InThread(), InThread()
    blocks = [first, second] if order == "first opened ends first" else [second, first]
    assert is_on()
    blocks[0].close()
    assert is_on()
    blocks[1].close()
    assert not is_on()


def test_block_opened_last_decides_and_then_the_one_before():
    first = InThread(names=["notch_filter"], num_threads=2)
    assert threads.num_threads() == 2
    second = InThread(names=["bandpass_filter"], num_threads=3)
    assert threads.num_threads() == 3
    assert switch._acceleration.setting.names == ("bandpass_filter",)
    first.close()
    assert switch._acceleration.setting.names == ("bandpass_filter",)
    third = InThread(num_threads=4)
    assert switch._acceleration.setting.names is None
    third.close()
    assert switch._acceleration.setting.names == ("bandpass_filter",)
    second.close()
    assert threads.num_threads() == 1
    assert not is_on()


def test_plain_call_is_what_holds_outside_of_blocks():
    with steadyspike.accelerate(num_threads=2):
        steadyspike.accelerate(num_threads=3)
        assert threads.num_threads() == 2
    assert is_on()
    assert threads.num_threads() == 3
    with steadyspike.accelerate(False):
        assert not is_on()
    assert is_on()
    with steadyspike.accelerate():
        steadyspike.accelerate(False)
        assert is_on()
    assert not is_on()


def test_call_whose_result_is_kept_can_be_opened_later_and_again():
    steadyspike.accelerate(num_threads=2)
    kept = steadyspike.accelerate(num_threads=3)
    assert threads.num_threads() == 3
    for _ in range(2):
        with kept, kept:
            assert threads.num_threads() == 3
        assert threads.num_threads() == 2


def test_plain_calls_leave_nothing_behind():
    for _ in range(100):
        steadyspike.accelerate()
    gc.collect()
    steadyspike.accelerate(False)
    assert len(switch._acceleration._base) <= 2


def test_many_blocks_at_once_end_off():
    def work():
        for _ in range(20):
            with steadyspike.accelerate():
                assert is_on()

    workers = [threading.Thread(target=work) for _ in range(4)]
    errors = []
    threading.excepthook, before = lambda arguments: errors.append(arguments), threading.excepthook
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(60)
    finally:
        threading.excepthook = before
    assert not errors
    assert not is_on()


def test_repairs_do_not_accelerate_and_acceleration_does_not_repair():
    with steadyspike.repair() as told:
        assert not is_on()
        assert repr(told) == repr(steadyspike.repaired())
        with steadyspike.accelerate():
            assert is_on()
            assert steadyspike.repaired().on
        assert not is_on()
        assert steadyspike.repaired().on
    with steadyspike.accelerate() as told:
        assert not steadyspike.repaired().on
        assert repr(told) == repr(steadyspike.accelerated())


def _told(_):
    return steadyspike.accelerated().on, sorted(steadyspike.repaired().defects), threads.num_threads()


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
def test_worker_does_as_its_parent_with_one_thread():

    with steadyspike.accelerate(names=["whiten"], num_threads=3), steadyspike.repair(names=["medicine"]):
        # as SpikeInterface's pools do, which start their workers by this
        parent = job_tools.process_worker_initializer.do_as_parent
        with multiprocessing.get_context("fork").Pool(1, initializer=parent) as pool:
            assert pool.map(_told, [0]) == [(True, ["medicine"], 1)]
