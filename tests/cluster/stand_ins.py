"""What stands for a command of steadyspike in a batch; small sessions and models for real ones."""

import os
import subprocess
import sys

# it does as its argument says, and writes its result last
COMMAND = """
import os, pathlib, signal, sys, time
what, result = sys.argv[1], pathlib.Path(sys.argv[2])
trace = result.with_name(result.name + ".begun")
trace.parent.mkdir(parents=True, exist_ok=True)
first = not trace.exists()
trace.write_text("x")
if what == "fail":
    print("error: no such probe")
    sys.exit(2)
if what == "die-once" and first:
    os.kill(os.getpid(), signal.SIGKILL)
if what == "wait":
    time.sleep(60)
result.mkdir()
(result / "steadyspike.json").write_text("{}")
"""


def small_model(recording, folder):
    """Save a small network with random weights for the layout of a recording; give its folder."""
    import torch

    from steadyspike.core.probe_layout import layout_of
    from steadyspike.library.models.deepinterpolation import Normalization, config_of
    from steadyspike.library.models.folder import save_model
    from steadyspike.networks import make_network

    kind = layout_of(recording).type
    torch.manual_seed(0)
    sizes = {"unit": [list(row) for row in kind.unit], "taps": 4, "omission": 2}
    network = make_network("ridge", sizes).eval()
    layout = layout_of(recording, arrangement=network.arrangement)
    rate = recording.get_sampling_frequency()
    save_model(folder, network, config_of(network, layout.type, rate, Normalization(method="channel")))
    return str(folder)


def small_session(folder):
    """Save a small drifting recording of whole numbers; give it."""
    import spikeinterface.full as si

    from steadyspike.simulation.drift import simulate_drifting_recording

    simulated = simulate_drifting_recording(
        "rigid_zigzag", num_channels=12, duration_s=4.0, num_units=6, seed=0
    )
    whole = si.astype(simulated.recording, "int16", round=True)
    return whole.save(folder=folder, format="binary", n_jobs=1, progress_bar=False, verbose=False)


def small_batch(folder):
    """Write a session, a corrupt one, their table, and a model; give the folder."""
    small_model(small_session(folder / "good"), folder / "model")
    (folder / "broken.nwb").write_text("nothing")
    (folder / "sessions.csv").write_text("recording\ngood\nbroken.nwb\n")
    return folder


def begun(*arguments, environment=None):
    """Begin a command of steadyspike in a process of its own, whose words are read from its output."""
    return subprocess.Popen(
        [sys.executable, "-m", "steadyspike", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "COLUMNS": "200", **(environment or {})},
    )
