"""Importing steadyspike stays light, and its public names are there."""

import subprocess
import sys

import steadyspike

HEAVY = ["torch", "tensorflow", "matplotlib", "scipy.signal", "sklearn", "rich", "typer", "pandas"]


def run(script):
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_import_loads_nothing_heavy():
    script = (
        "import sys, spikeinterface.full; before = set(sys.modules); import steadyspike; "
        "print(*(set(sys.modules) - before))"
    )
    loaded = run(script)
    assert "steadyspike.integration.register" in loaded
    assert not [name for name in HEAVY if name in loaded]


def test_import_alone_loads_nothing_heavy():
    loaded = run("import steadyspike, sys; print(*sys.modules)")
    assert "steadyspike.integration.register" in loaded
    assert not {"torch", "tensorflow", "matplotlib", "sklearn", "rich", "typer"} & set(loaded)


def test_replacements_are_loaded_by_accelerate_alone_and_without_torch():
    # what SpikeInterface loads by itself is not ours
    script = """
import sys, steadyspike
rooms = [name for name in sys.modules if name.startswith("steadyspike.integration.acceleration")]
steadyspike.accelerate()
steadyspike.repair()
print(*rooms, "then", *sys.modules)
"""
    loaded = run(script)
    before, after = loaded[: loaded.index("then")], loaded[loaded.index("then") :]
    assert before == []
    assert "steadyspike.integration.acceleration.replacements.dredge" in after
    assert not {"torch", "tensorflow", "matplotlib", "sklearn", "pandas"} & set(after)


def test_accelerate_compiles_nothing():
    script = """
import steadyspike
steadyspike.accelerate()
from numba.core.dispatcher import Dispatcher
import gc
kernels = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
kernels = [one for one in kernels if one.py_func.__module__.startswith("steadyspike.")]
print(len(kernels) > 20, sum(len(one.signatures) for one in kernels))
"""
    assert run(script) == ["True", "0"]


def test_any_part_can_be_imported_first():
    parts = [
        *("steadyspike.preprocessing.bandpass", "steadyspike.preprocessing.common_reference"),
        *("steadyspike.preprocessing.motion_interpolation", "steadyspike.peaks.localization"),
        *(
            "steadyspike.motion.decentralized",
            "steadyspike.integration.register",
            "steadyspike.library.presets.presets",
        ),
    ]
    # one process for all: each part is imported into an interpreter that has forgotten the package
    script = f"""
import importlib, sys
for part in {parts}:
    for name in [name for name in sys.modules if name.split('.')[0] == 'steadyspike']:
        del sys.modules[name]
    importlib.import_module(part)
    print(len(sys.modules['steadyspike'].registered()))
"""
    assert len(set(run(script))) == 1


def test_public_names():
    for name in steadyspike.__all__:
        assert getattr(steadyspike, name) is not None
    assert set(steadyspike.__all__) <= set(dir(steadyspike))
    assert steadyspike.bandpass_filter.__name__ == "steady_bandpass_filter"
    assert not hasattr(steadyspike, "nonsense")
