"""The examples of docs/pipelines.md."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import spikeinterface.full as si
import spikeinterface.preprocessing as spre

import steadyspike  # noqa: F401  (enters its motion presets)

PIPELINES = Path(__file__).parents[2] / "docs" / "pipelines"
AIND = dict(detect_kwargs={}, select_kwargs={}, localize_peaks_kwargs={})
"""Of default_params.json in AllenNeuralDynamics/aind-ephys-pipeline."""
JOBS = dict(n_jobs=1, progress_bar=False)


@pytest.fixture(scope="module")
def recording():
    from steadyspike_benchmarks.cluster.wandering import WanderingRecording

    made = WanderingRecording(3 / 3600, num_channels=24, spikes_per_second=150)
    filtered = spre.common_reference(spre.highpass_filter(made, freq_min=300.0), operator="median")
    return filtered.save(format="memory", verbose=False, **JOBS)


@pytest.mark.parametrize("windows", [{}, {"win_step_um": 48.0, "win_scale_um": 48.0}], ids=["none", "theirs"])
def test_the_calls_of_aind_take_our_preset(recording, windows, tmp_path):
    assert "steady_auto" in spre.get_motion_presets()
    motion = spre.compute_motion(
        recording,
        preset="steady_auto",
        folder=tmp_path / "motion",
        estimate_motion_kwargs={"bin_s": 1, **windows},
        raise_error=False,
        **AIND,
        **JOBS,
    )
    assert motion is not None
    from spikeinterface.sortingcomponents.motion import interpolate_motion

    corrected = interpolate_motion(recording.astype("float32"), motion=motion)
    assert corrected.get_num_samples() == recording.get_num_samples()
    assert np.isfinite(corrected.get_traces(end_frame=1000)).all()


def test_snakemake_runs_the_rule(tmp_path):
    pytest.importorskip("snakemake", reason="needs Snakemake")
    from steadyspike_benchmarks.cluster.wandering import WanderingRecording

    made = WanderingRecording(3 / 3600, num_channels=8, spikes_per_second=60)
    made.save(folder=tmp_path / "data" / "monday", verbose=False, **JOBS)
    script = tmp_path / "bin" / "steadyspike"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m steadyspike "$@"\n')
    script.chmod(0o755)
    options = "--preset steady_rigid --preprocess none --no-figures"
    command = [sys.executable, "-m", "snakemake", "-s", PIPELINES / "Snakefile", "--directory", tmp_path]
    command += ["--cores", "1", "--config", "sessions=monday", f"options={options}"]
    environment = {**os.environ, "PATH": f"{script.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert si.load(tmp_path / "corrected" / "monday" / "recording.json").get_num_channels() == 8
