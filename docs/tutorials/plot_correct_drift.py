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

import matplotlib.pyplot as plt
import numpy as np
import spikeinterface.full as si
from spikeinterface.sortingcomponents.motion import estimate_motion

import steadyspike
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike.simulation.truth import motion_error, true_motion

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
# ``steady_nonrigid`` is a preset of ``si.correct_motion`` like SpikeInterface's own: it detects spikes,
# localizes them, estimates how the spikes' depths move together, and returns the recording with that motion
# removed.

recording_corrected, motion, motion_info = si.correct_motion(
    recording, preset="steady_nonrigid", output_motion=True, output_motion_info=True
)
print(motion)

# %%
# Look at it
# ----------
# Each dot is a spike, at its time and its depth on the probe. Before the correction the bands of dots, which
# are neurons, move together; subtracting the estimated displacement straightens them.

peaks, depths = motion_info["peaks"], motion_info["peak_locations"]["y"]
times = recording.sample_index_to_time(peaks["sample_index"])
displacement = motion.get_displacement_at_time_and_depth(times, depths)

figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
for axis, shown, title in zip(axes, (depths, depths - displacement), ("before", "after"), strict=True):
    axis.scatter(times, shown, s=3, c="black", alpha=0.5, linewidths=0)
    axis.set(title=title, xlabel="time (s)")
axes[0].set_ylabel("depth (um)")
plt.show()

# %%
# Compare with the truth
# ----------------------
# The simulation knows the true motion. An estimate is defined up to one constant, which is removed.

error = motion_error(simulated, motion)
print(f"mean absolute error: {np.abs(error).mean():.2f} um")

truth = true_motion(simulated, motion.temporal_bins_s[0], motion.spatial_bins_um)
middle = motion.spatial_bins_um.size // 2

figure, axis = plt.subplots(figsize=(9, 3), layout="constrained")
for shown, label, width in ((truth, "true", 5), (motion, "estimated", 1.5)):
    displacement = shown.displacement[0][:, middle]
    displacement = displacement - np.median(displacement)
    axis.plot(shown.temporal_bins_s[0], displacement, label=label, linewidth=width)
axis.set(xlabel="time (s)", ylabel="displacement (um)")
axis.legend()
plt.show()

# %%
# How far to trust it
# -------------------
# Your own recordings come without a truth. With ``extra_outputs=True`` the estimator says how far each time bin
# can be trusted, at each depth: the standard deviation of the bin's own measurement, and ``explained``, which is 0
# where there are no spikes and falls where the spikes do not fit the rest of the recording. To see it fall, the
# same spikes are used again with their depths shuffled in the last ten seconds.

peak_locations = motion_info["peak_locations"].copy()
late = np.flatnonzero(times > 20.0)
peak_locations[late] = np.random.default_rng(0).permutation(peak_locations[late])
parameters = motion_info["parameters"]["estimate_motion_kwargs"]
_, extra = estimate_motion(recording, peaks, peak_locations, extra_outputs=True, **parameters)
for name, unit in (("explained", ""), ("displacement_sd_um", " um")):
    first, last = np.median(extra[name][:20]), np.median(extra[name][20:])
    print(f"{name}: {first:.2f}{unit} in the first 20 s, {last:.2f}{unit} in the last 10 s")

# %%
# Go on with it
# -------------
# The corrected recording is an ordinary lazy recording. Saved as JSON it holds the whole chain, motion
# included, and loads again in a process that never imported steadyspike. To hand traces to a spike sorter,
# write them with ``recording_corrected.save(folder=...)``.

recording_corrected.dump_to_json(folder / "corrected.json")
reloaded = si.load(folder / "corrected.json")

before = recording_corrected.get_traces(start_frame=0, end_frame=3000)
after = reloaded.get_traces(start_frame=0, end_frame=3000)
print("the reloaded recording has the same traces:", np.array_equal(before, after))
