"""`steadyspike run script.py` does what `python script.py` does, accelerated."""

import subprocess
import sys

import cli_runner
import pytest

import steadyspike

TOLD = '''# -*- coding: latin-1 -*-
"""Tells what a script can see of how it is run; é."""
import inspect
import json
import multiprocessing
import os
import pickle
import sys


class Here:
    pass


def in_worker(number):
    return 2 * number, os.path.basename(sys.modules["__main__"].__file__), type(Here()).__module__


if __name__ == "__main__":
    main = sys.modules["__main__"]
    print(json.dumps([
        sys.argv, __file__, __name__, sys.path[0], str(__spec__), __package__, __doc__, os.getcwd(),
        main.__dict__ is globals(), inspect.getsource(Here), type(pickle.loads(pickle.dumps(Here()))).__module__,
        sys.excepthook is sys.__excepthook__, __builtins__ is __import__("builtins"),
    ]))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(in_worker, [1, 2]))
    if "key" in sys.argv:
        {}["missing"]
    if "interrupt" in sys.argv:
        raise KeyboardInterrupt
    import atexit
    atexit.register(lambda: print(Here, sys.argv))
    sys.exit("bye" if "bye" in sys.argv else 3)
'''


def run(command, folder):
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("argument", ["bye", "key", "--help"])
def test_script_sees_what_it_sees_without_us(tmp_path, argument):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "told.py").write_bytes(TOLD.encode("latin-1"))
    script = ["scripts/told.py", argument, "--names", "-m", "--", "x y"]
    expected = run(script, tmp_path)
    assert expected[0] == (3 if argument == "--help" else 1)
    assert run(["-m", "steadyspike", "run", "--repair", *script], tmp_path) == expected


def test_interrupted_script_ends_as_one(tmp_path):
    (tmp_path / "told.py").write_bytes(TOLD.encode("latin-1"))
    code, _, said = run(["-m", "steadyspike", "run", "told.py", "interrupt"], tmp_path)
    assert code == 130
    assert said.rstrip().endswith("KeyboardInterrupt")


def test_script_that_python_cannot_read(tmp_path):
    (tmp_path / "wrong.py").write_text("x = (\n", encoding="utf8")
    assert run(["-m", "steadyspike", "run", "wrong.py"], tmp_path) == run(["wrong.py"], tmp_path)


MODULE = """
import sys
import spikeinterface.preprocessing as spre
from spikeinterface.core import generate_recording

def work():
    import os
    print(__name__, __package__, __spec__.name, sys.argv[1:], os.path.basename(sys.argv[0]), sys.path[0] == os.getcwd())

if __name__ == "__main__":
    work()
    recording = generate_recording(num_channels=4, durations=[1.0], seed=0)
    spre.bandpass_filter(recording).get_traces()
    spre.center(recording).get_traces()
    if "steadyspike" in sys.modules:
        steadyspike = sys.modules["steadyspike"]
        from steadyspike.integration.acceleration import threads
        print({name: calls.taken for name, calls in steadyspike.accelerated().items()}, threads.num_threads())
        print(sorted(steadyspike.repaired().defects))
"""


def test_module_is_run_with_the_options_before_it(tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "pipeline.py").write_text(MODULE, encoding="utf8")
    plain = run(["-m", "lab.pipeline", "--threads", "7"], tmp_path)
    assert plain[0] == 0, plain[2]
    options = ["--threads", "2", "--names", "bandpass_filter", "--names", "whiten"]
    code, said, errors = run(
        ["-m", "steadyspike", "run", *options, "-m", "lab.pipeline", "--threads", "7"], tmp_path
    )
    assert code == 0, errors
    assert said.splitlines() == [plain[1].strip(), "{'bandpass_filter': 1} 2", "[]"]


def test_repair_is_an_option(tmp_path):
    (tmp_path / "script.py").write_text(MODULE.replace("    work()\n", ""), encoding="utf8")
    code, said, errors = run(["-m", "steadyspike", "run", "--repair", "script.py"], tmp_path)
    assert code == 0, errors
    assert "'bandpass_filter': 1" in said
    assert "'medicine'" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.py"], "nothing.py is not a file"),
        (["--names", "bandpas", "here.py"], "bandpas"),
        (["--threads", "0", "here.py"], "--threads 0"),
        ([], "Missing argument"),
    ],
)
def test_what_cannot_be_run_is_told_before(tmp_path, monkeypatch, arguments, message):
    (tmp_path / "here.py").write_text("print('it ran')", encoding="utf8")
    monkeypatch.chdir(tmp_path)
    result = cli_runner.run("run", *arguments)
    assert result.exit_code == 2
    assert "it ran" not in result.stdout
    assert message in result.stderr
    assert not steadyspike.accelerated().on
