"""How long the first correction on a machine waits for compilation, and what later processes are spared.

Two fresh processes correct a few seconds of simulated data, from raw samples to corrected ones. The first
finds an empty cache of compiled kernels, the second the cache that the first one filled.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

SCRIPT = """
import json, time
import numba.core.event as event
import spikeinterface.full as si
import steadyspike
from steadyspike.simulation.drift import simulate_drifting_recording

raw = simulate_drifting_recording("still", num_channels=32, duration_s=4.0, seed=0).recording
raw = raw.save(format="memory", n_jobs=1, progress_bar=False)
start = time.perf_counter()
with event.install_timer("numba:compile", lambda seconds: None) as timer:
    filtered = steadyspike.bandpass_filter(raw, freq_min=300.0, freq_max=6000.0)
    recording = steadyspike.common_reference(filtered)
    corrected = si.correct_motion(recording, preset="steady_nonrigid", n_jobs=1, progress_bar=False)
    corrected.get_traces(start_frame=0, end_frame=30_000)
total = time.perf_counter() - start
print(json.dumps({"total_s": total, "compiling_s": timer.duration if timer.done else 0.0}))
"""


def measure_compilation() -> dict[str, float]:
    """Correct in two fresh processes, with an empty and with a filled cache of compiled kernels.

    Returns
    -------
    measured : dict of str to float
        "first_s" and "second_s": seconds of the same correction with the empty and with the filled cache;
        "first_compiling_s" and "second_compiling_s": how much of that was compiling.
    """
    with tempfile.TemporaryDirectory() as cache:
        first, second = _run(cache), _run(cache)
    return {
        "first_s": first["total_s"],
        "first_compiling_s": first["compiling_s"],
        "second_s": second["total_s"],
        "second_compiling_s": second["compiling_s"],
    }


def _run(cache: str) -> dict[str, float]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the correction failed: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
