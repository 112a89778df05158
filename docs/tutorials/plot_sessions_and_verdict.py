"""
Sessions, shanks, and whether to correct at all
===============================================

Two recordings of one implant, made on two days, shall be sorted together. This tutorial registers them to each other,
asks whether the correction helps, and measures what of the drift is left.
"""

# %%
# Two sessions
# ------------
# Here both are simulated: one tissue that moves a little, with a jump of 27 um where one session ends and the other
# begins. With your own data this would be two recordings from the same contacts, filtered and referenced as usual.

import warnings

import numpy as np
import spikeinterface.full as si
from spikeinterface.core.motion import Motion

import steadyspike
from steadyspike.evaluation.figures import plot_drift_metrics, plot_motion_comparison, plot_motion_trust
from steadyspike.motion import compare_motions, restrict_motion, smooth_motion
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike.simulation.truth import true_displacement

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)

simulated = simulate_drifting_recording("sessions", num_channels=64, duration_s=50.0, seed=0)
tissue = simulated.displacement_vector
jump_s = (np.argmax(np.abs(np.diff(tissue))) + 1) / simulated.displacement_sampling_frequency
frame = int(jump_s * simulated.recording.sampling_frequency)
monday = simulated.recording.frame_slice(0, frame)
tuesday = simulated.recording.frame_slice(frame, simulated.recording.get_num_samples())
tuesday.shift_times(86_400.0)
print(monday)
print(tuesday)

# %%
# One motion for each session, in one frame
# -----------------------------------------
# Each session is registered within itself, the sessions are put in place as wholes, over up to 400 um, and all of it is
# refined together. The hours between them don't matter. A recording of several segments would do as well, and
# ``shanks="separate"`` would give each shank of a probe its own motion.

sessions = steadyspike.estimate_motion_sessions([monday, tuesday], progress_bar=False)
print(f"tuesday lies {sessions.offsets_um[1].round(1)} um from monday, by depth")

errors = []
for motion, day_s in zip(sessions.motions, (0.0, 86_400.0), strict=True):
    seconds, depths = motion.temporal_bins_s[0], np.linspace(0.0, 620.0, 20)
    estimate = motion.get_displacement_at_time_and_depth(seconds, depths, grid=True)
    errors.append(estimate - true_displacement(simulated, seconds - day_s, depths).T)
errors = np.concatenate(errors, axis=1)
print(f"mean error after one offset: {np.abs(errors - np.median(errors)).mean():.2f} um")

# %%
# The corrected sessions are the segments of one lazy recording, ready for a sorter.

recording_corrected = sessions.recording_corrected
print(recording_corrected)

# %%
# Should this be corrected?
# -------------------------
# A bad correction is worse than none. ``motion_trust`` asks spikes that were held out: do they fit the others better
# when the motion is taken out? And from the geometry of the probe: do waveforms lose more by the drift, or by being
# interpolated? The preset ``steady_auto``, which was used above, has asked already.

verdict = sessions.extra["motion_trust"]
print(verdict)
figure = plot_motion_trust(verdict)

# %%
# Where nothing moves, no motion is returned, and a warning says so. ``follow_verdict=False`` would return whatever was
# estimated.

still = simulate_drifting_recording("still", num_channels=64, duration_s=20.0, seed=1)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    _, motion = si.correct_motion(still.recording, preset="steady_auto", output_motion=True)
print(next(str(warning.message) for warning in said if "steady_auto" in str(warning.message)))
print(f"largest displacement: {np.abs(motion.displacement[0]).max():.1f} um")

# %%
# Work with motions
# -----------------
# Motions can be resampled, smoothed, composed, inverted, cut and compared, and read from and written to the files of
# other programs (``steadyspike.motion.load_motion`` and ``save_motion``).

first = sessions.motions[0]
smooth = smooth_motion(restrict_motion(first, stop_s=20.0), sigma_s=3.0)
print(compare_motions(smooth, first))
figure = plot_motion_comparison({"estimate": first, "smoothed": smooth})

# %%
# What is left of the drift
# -------------------------
# After sorting, ``drift_metrics`` tells which units still depend on the displacement: their amplitude, or their firing
# rate. Here the true units of the simulation stand for a sorting of the recording that was not corrected.

analyzer = si.create_sorting_analyzer(simulated.sorting, simulated.recording, sparse=False)
analyzer.compute(["random_spikes", "templates", "noise_levels", "spike_amplitudes"])
second = sessions.motions[1]
whole = Motion(
    np.concatenate([first.displacement[0], second.displacement[0]]),
    np.concatenate([first.temporal_bins_s[0], second.temporal_bins_s[0] - 86_400.0]),
    first.spatial_bins_um,
)
metrics = steadyspike.evaluation.drift_metrics(analyzer, whole, bin_s=1.0, num_permutations=200)
print(metrics.recording.to_string(index=False))
figure = plot_drift_metrics(metrics)
