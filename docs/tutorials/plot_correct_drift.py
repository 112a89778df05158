"""
Correct drift in a recording
============================

The brain moves relative to the probe, so the same neuron appears at another depth a minute later. This
tutorial takes a recording that drifts, finds the motion, removes it, and checks the result. It uses
SpikeInterface's own functions all along; ``import steadyspike`` only gives them new methods and presets.
"""

# %%
# A recording that drifts
# -----------------------
# With your own data this would be ``si.read_spikeglx(...)`` or any other reader. Here it is simulated, so
# that the true motion is known: 48 channels of a Neuropixels 1.0 probe, 30 seconds, moving up and down by
# 20 um, written to a folder as int16 as a probe would deliver it.

import tempfile
from pathlib import Path

import numpy as np
import spikeinterface.full as si

import steadyspike
from steadyspike.evaluation.figures import plot_motion_map, plot_motion_trust, plot_raster
from steadyspike.simulation import motion_error, simulate_drifting_recording, true_motion

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)
temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(temporary.name)

simulated = simulate_drifting_recording(
    "rigid_zigzag", num_channels=48, duration_s=30.0, amplitude_um=20.0, seed=0
)
simulated.recording.astype("int16", round=True).save(folder=folder / "raw", verbose=False)

recording = si.load(folder / "raw")
print(recording)

# %%
# Filter and reference
# --------------------
# Motion is estimated from spikes, so the recording is first filtered to the band of spikes, and what all
# channels share is removed. Both steps are lazy: nothing is computed until traces are read.

recording = steadyspike.bandpass_filter(recording, freq_min=300.0, freq_max=6000.0)
recording = steadyspike.common_reference(recording, operator="median")

# %%
# Correct the motion
# ------------------
# ``steady_auto`` is a preset of ``si.correct_motion`` like SpikeInterface's own: it detects spikes, localizes them,
# estimates how the spikes' depths move together, asks spikes that were held out whether to believe that, and returns
# the recording with the motion removed.

recording_corrected, motion, motion_info = si.correct_motion(
    recording, preset="steady_auto", output_motion=True, output_motion_info=True
)
print(motion)

# %%
# Look at it
# ----------
# Each dot is a spike, at its time and its depth on the probe. Before the correction the bands of dots, which
# are neurons, move together; subtracting the estimated displacement straightens them.

figure = plot_raster(motion_info, recording)

# %%
# Compare with the truth
# ----------------------
# The simulation knows the true motion. An estimate is defined up to one constant, which is removed.

print(f"mean absolute error: {np.abs(motion_error(simulated, motion)).mean():.2f} um")
truth = true_motion(simulated, motion.temporal_bins_s[0], motion.spatial_bins_um)
figure = plot_motion_map(motion, truth=truth)

# %%
# How far to trust it
# -------------------
# Your own recordings come without a truth. The verdict asks spikes that were held out how much likelier they become
# once the motion is taken out, and what an interpolation would cost.

peaks, peak_locations = motion_info["peaks"], motion_info["peak_locations"]
verdict = steadyspike.motion_trust(recording, motion, peaks, peak_locations)
print(verdict)
figure = plot_motion_trust(verdict, motion)

# %%
# The report says all of this in one file for any browser, from the traces of each step to what to do next; see
# :doc:`/report`.

file = folder / "report.html"
steadyspike.report(motion_info, file, recording=recording, corrected=recording_corrected)
print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB")

# %%
# Go on with it
# -------------
# The corrected recording is an ordinary lazy recording. Saved as JSON it holds the whole chain, motion
# included, and loads again in a process that never imported steadyspike. To hand traces to a spike sorter,
# write them with ``recording_corrected.save(folder=...)``; :doc:`plot_sort_units` goes on from here.

recording_corrected.dump_to_json(folder / "corrected.json")
reloaded = si.load(folder / "corrected.json")

before = recording_corrected.get_traces(start_frame=0, end_frame=3000)
after = reloaded.get_traces(start_frame=0, end_frame=3000)
print("the reloaded recording has the same traces:", np.array_equal(before, after))
