import json
import os
import signal
import sys
import threading
import time

import pytest
from stand_ins import COMMAND

from steadyspike.cluster import tasks
from steadyspike.cluster.engines import run_here
from steadyspike.cluster.tasks import DONE, FAILED, RUNNING, STOPPED, WAITING, Batch, Children, Task
from steadyspike.core import aside
from steadyspike.core.aside import locked


@pytest.fixture
def batch(tmp_path, monkeypatch):
    def command_line(task, result, n_jobs):
        return [sys.executable, "-S", "-c", COMMAND, *task.arguments, str(result)]

    monkeypatch.setattr(tasks, "command_line", command_line)
    batch = Batch(tmp_path / "batch")
    batch.begin("correct")
    return batch


def add(batch, **arguments):
    for name, what in arguments.items():
        batch.add(Task(name, [what]))
    return list(arguments)


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_fails_spoils_nothing_else_and_a_second_run_does_nothing(batch):
    told = []
    names = add(batch, a="do", b="fail", c="die-once")
    run_here(batch, names, n_jobs=1, at_most=2, told=told.append)
    assert sorted((one.name, one.state) for one in told) == [("a", DONE), ("b", FAILED), ("c", STOPPED)]
    assert batch.outcome("b").error == "no such probe"
    assert batch.outcome("c").error == "killed by signal 9"
    run_here(batch, names, n_jobs=1, at_most=1, told=told.append)
    assert batch.outcome("c").state == DONE
    before = [path.stat().st_mtime_ns for path in sorted((batch.folder / "tasks").glob("*/*"))]
    run_here(batch, names, n_jobs=1, at_most=1, told=told.append)
    assert before == [path.stat().st_mtime_ns for path in sorted((batch.folder / "tasks").glob("*/*"))]


def test_a_failure_is_tried_again_when_asked_or_with_other_arguments(batch):
    add(batch, a="fail")
    assert batch.run("a", 1).state == FAILED
    batch.forget_failure("a")
    assert batch.outcome("a").state == WAITING
    assert batch.run("a", 1).state == FAILED
    add(batch, a="do")
    assert batch.run("a", 1).state == DONE
    with pytest.raises(tasks.OtherArgumentsError, match="a was done with other options: do"):
        add(batch, a="fail")


def test_one_task_is_run_by_one_process_at_a_time(batch):
    add(batch, a="wait")
    children = Children()
    thread = threading.Thread(target=batch.run, args=("a", 1, children))
    thread.start()
    wait_for(lambda: children.running)
    assert batch.run("a", 1).state == RUNNING
    assert batch.outcome("a").state == RUNNING
    children.stop()
    thread.join()
    assert batch.outcome("a").state == STOPPED


def test_two_batches_in_one_folder_take_different_tasks(batch):
    names = add(batch, **{f"task{number}": "do" for number in range(6)})
    told, other = [], []
    thread = threading.Thread(target=run_here, args=(batch, names, 1, 2, other.append))
    thread.start()
    run_here(Batch(batch.folder), names, n_jobs=1, at_most=2, told=told.append)
    thread.join()
    assert {one.state for one in told + other} <= {DONE, RUNNING}
    assert [batch.outcome(name).state for name in names] == [DONE] * len(names)
    noted = [json.loads((batch.folder / "tasks" / name / "state.json").read_text()) for name in names]
    assert [one["attempts"] for one in noted] == [1] * len(names)


def test_a_runner_that_was_killed_leaves_a_task_to_go_on_with(batch):
    add(batch, a="do")
    batch._note("a", {"state": RUNNING})
    assert batch.outcome("a") == tasks.Outcome("a", STOPPED, "killed")
    assert batch.run("a", 1).state == DONE


def test_a_process_that_outlived_its_runner_is_waited_for(batch, monkeypatch):
    add(batch, a="do")
    held, over = threading.Event(), threading.Event()

    def outlive():
        with locked(batch.result("a")):
            held.set()
            over.wait()

    other = threading.Thread(target=outlive)
    other.start()
    held.wait()
    monkeypatch.setattr(aside, "LOCK_WAIT_S", 0.0)
    monkeypatch.setattr(tasks, "OUTLASTED_S", 0.0)
    assert batch.run("a", 1).state == RUNNING
    monkeypatch.setattr(tasks, "OUTLASTED_S", 60.0)
    monkeypatch.setattr(tasks, "OUTLASTED_POLL_S", 0.01)
    threading.Timer(0.1, over.set).start()
    assert batch.run("a", 1).state == DONE
    other.join()


def test_an_interrupt_stops_what_runs_and_begins_nothing_more(batch):
    names = add(batch, a="wait", b="wait", c="do")
    began = batch.folder / "results" / "a.begun"

    def interrupt():
        wait_for(began.exists)
        os.kill(os.getpid(), signal.SIGINT)

    # a shell that begins the tests in the background lets them ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_here(batch, names, n_jobs=1, at_most=1, told=print)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [batch.outcome(name).state for name in names] == [STOPPED, WAITING, WAITING]


def test_folders_of_others_are_refused(tmp_path, batch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(FileExistsError, match="holds no batch"):
        Batch(tmp_path / "mine").begin("correct")
    with pytest.raises(ValueError, match="begun with --do correct"):
        batch.begin("sort")
