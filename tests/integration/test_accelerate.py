import inspect
import json
import os
import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest
import spikeinterface.full as si
from spikeinterface.core import job_tools
from spikeinterface.preprocessing.filter import FilterRecordingSegment

import steadyspike
from steadyspike.integration.acceleration import calls, patching, switch, threads
from steadyspike.integration.acceleration.declarations import declared


@pytest.fixture(scope="module")
def recording():
    return si.generate_recording(num_channels=6, durations=[1.0, 0.5], seed=0)


def held():
    """Whatever the places of all patches hold, as far as their modules are imported."""
    places = {
        (module, patch.attribute)
        for patch in declared(repairs=False) + declared(repairs=True)
        for module in patch.modules
        if module in sys.modules
    }
    return {place: inspect.getattr_static(*patching._holder(place)) for place in places}


def test_turning_off_restores_everything():
    before = held()
    starts = job_tools.process_worker_initializer, job_tools.thread_worker_initializer
    steadyspike.accelerate()
    steadyspike.repair()
    assert all(patching._is_ours(now, place) for place, now in held().items())
    assert not steadyspike.accelerated().unavailable
    assert not steadyspike.repaired().unavailable
    steadyspike.accelerate()
    steadyspike.accelerate(False)
    assert held() != before
    steadyspike.repair(False)
    assert held() == before
    assert (job_tools.process_worker_initializer, job_tools.thread_worker_initializer) == starts


def test_every_part_exists_and_keeps_its_signature():
    for patch in declared(repairs=False):
        for module in patch.modules:
            import_module(module)
            original = patching.original_of(module, patch.attribute)
            theirs = list(inspect.signature(original).parameters.values())
            if isinstance(inspect.getattr_static(*patching._holder((module, patch.attribute))), classmethod):
                theirs = theirs[1:]
            ours = inspect.signature(patch.function).parameters.values()
            assert len(theirs) == len(ours), patch
            for one, other in zip(theirs, ours, strict=True):
                assert (one.default, one.kind) == (other.default, other.kind), (patch, one)
            # the first of a method is never named
            skipped = "." in patch.attribute
            assert [one.name for one in theirs][skipped:] == [one.name for one in ours][skipped:], patch


def test_as_context_manager_it_takes_back_what_it_changed(recording):
    original = FilterRecordingSegment.get_traces
    filtered = si.bandpass_filter(recording)
    with steadyspike.accelerate():
        assert FilterRecordingSegment.get_traces is not original
        with steadyspike.accelerate(names=["notch_filter"], num_threads=2):
            assert threads.num_threads() == 2
            filtered.get_traces(segment_index=0)
            assert "bandpass_filter" not in steadyspike.accelerated()
        assert threads.num_threads() == 1
        filtered.get_traces(segment_index=0)
        assert steadyspike.accelerated()["bandpass_filter"].taken == 1
    assert FilterRecordingSegment.get_traces is original


def test_context_manager_takes_back_after_an_error():
    original = FilterRecordingSegment.get_traces
    with pytest.raises(KeyError), steadyspike.accelerate():
        raise KeyError("a script's own")
    assert FilterRecordingSegment.get_traces is original


def test_report_tells_calls_reasons_and_own_time(recording):
    with steadyspike.accelerate():
        chain = si.bandpass_filter(si.notch_filter(recording, freq=3000.0))
        chain.get_traces(segment_index=0)
        si.filter(recording, margin_ms=5.0, filter_mode="ba").get_traces(segment_index=0)
        report = steadyspike.accelerated()
        assert report.on
        printed = repr(report)
    assert report["bandpass_filter"].taken == report["notch_filter"].taken == 1
    assert report["bandpass_filter"].seconds > 0
    assert report["filter"].taken == 0
    assert sum(report["filter"].fell_back.values()) == 1
    assert "left to SpikeInterface: filter_mode='ba'" in printed
    assert not steadyspike.accelerated().on


def test_calls_inside_a_call_are_not_counted_twice():
    import time

    calls.forget()
    with calls.measured("outer"):
        with calls.measured("inner"):
            time.sleep(0.05)
        with calls.measured("inner"):
            time.sleep(0.05)
    counted = calls.counted()
    assert counted["outer"].seconds < counted["inner"].seconds


def test_a_call_that_raises_is_not_counted():
    with pytest.raises(ZeroDivisionError), calls.measured("part"):
        raise ZeroDivisionError
    assert calls.counted() == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"names": ["bandpas_filter"]}, "bandpas_filter.*allowed: .*bandpass_filter"),
        ({"num_threads": 0}, "num_threads=0; allowed"),
        ({"num_threads": 1.5}, "num_threads=1.5; allowed"),
        ({"num_threads": True}, "num_threads=True; allowed"),
    ],
)
def test_bad_arguments_change_nothing(arguments, message):
    with pytest.raises(ValueError, match=message):
        steadyspike.accelerate(**arguments)
    assert not steadyspike.accelerated().on


def test_saved_chain_is_spikeinterfaces_own(recording, tmp_path):
    with steadyspike.accelerate():
        chain = si.common_reference(si.bandpass_filter(recording))
        saved = json.dumps(chain.to_dict(recursive=True), default=str)
        chain.dump_to_json(tmp_path / "chain.json")
    assert "steadyspike" not in saved
    assert "steadyspike" not in (tmp_path / "chain.json").read_text()


@pytest.mark.parametrize(
    "settings", [{"pool_engine": "thread"}, {"pool_engine": "process", "mp_context": "fork"}]
)
def test_workers_give_the_same_samples(recording, settings):
    filtered = si.bandpass_filter(recording, dtype="float32")
    with steadyspike.accelerate(num_threads=2):
        alone = filtered.get_traces(segment_index=0, start_frame=0, end_frame=10000)
        kept = filtered.save(
            format="memory", n_jobs=2, chunk_duration="100ms", progress_bar=False, **settings
        )
    np.testing.assert_allclose(
        kept.get_traces(segment_index=0, end_frame=10000), alone, rtol=0, atol=2e-3 * alone.std()
    )


SPAWNED = """
import spikeinterface.full as si
from spikeinterface.core.job_tools import TimeSeriesChunkExecutor
import sys

def tell(segment_index, start_frame, end_frame, context):
    import sys
    context["recording"].get_traces(segment_index=segment_index, start_frame=start_frame, end_frame=end_frame)
    return sys.modules["steadyspike"].accelerated()["bandpass_filter"].taken if "steadyspike" in sys.modules else 0

def start(recording):
    return {"recording": recording}

if __name__ == "__main__":
    if sys.argv[1:]:
        import steadyspike
        steadyspike.accelerate()
    recording = si.bandpass_filter(si.generate_recording(num_channels=4, durations=[2.0], seed=0))
    executor = TimeSeriesChunkExecutor(
        recording, tell, start, (recording,), n_jobs=2, chunk_duration="1s", pool_engine="process",
        mp_context="spawn", handle_returns=True,
    )
    counts = executor.run()
    assert all(count > 0 for count in counts), counts
"""


@pytest.mark.parametrize("by", [["call"], []], ids=["call", "steadyspike run"])
def test_spawned_workers_are_accelerated(tmp_path, by):
    script = tmp_path / "script.py"
    script.write_text(SPAWNED)
    run = [] if by else ["-m", "steadyspike", "run"]
    subprocess.run([sys.executable, *run, str(script), *by], check=True, timeout=300)


@pytest.mark.parametrize(
    ("value", "on"),
    [
        *[(value, True) for value in ("1", "true", "Yes", " ON ")],
        *[(value, False) for value in ("0", "False", "no", " off", "", "  ")],
    ],
)
def test_environment_says_whether_importing_accelerates(value, on):
    script = "import steadyspike; print(steadyspike.accelerated().on)"
    environment = {**os.environ, "STEADYSPIKE_ACCELERATE": value}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", script],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == str(on)


def test_value_that_means_neither_is_told():
    with pytest.warns(
        UserWarning, match="STEADYSPIKE_ACCELERATE='maybe'; allowed: 1, true, yes, on, 0, false"
    ):
        switch.accelerate_if_told("maybe")
    assert not steadyspike.accelerated().on


def test_threads_cover_every_range_once():
    with steadyspike.accelerate(num_threads=3):
        seen = np.zeros(100, dtype=int)
        ranges = []

        def work(start, stop):
            seen[start:stop] += 1
            ranges.append((start, stop))

        threads.over_ranges(work, 100, multiple=8)
        assert (seen == 1).all()
        assert all(start % 8 == 0 for start, _ in ranges)
        assert len(ranges) == 3
        ranges.clear()
        threads.over_ranges(work, 100, smallest=80)
        assert ranges == [(0, 100)]


def test_error_in_a_thread_is_raised():
    def work(start, stop):
        if start:
            raise RuntimeError("in a thread")

    with steadyspike.accelerate(num_threads=2), pytest.raises(RuntimeError, match="in a thread"):
        threads.over_ranges(work, 10)


def test_one_name_is_no_list_of_letters():
    with (
        steadyspike.accelerate(names="bandpass_filter"),
        pytest.raises(ValueError, match=r"names=\['bandpas'\]"),
    ):
        steadyspike.accelerate(names="bandpas")
