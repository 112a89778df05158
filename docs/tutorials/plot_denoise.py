"""
Denoise a recording
===================

DeepInterpolation (Lecoq et al. 2021) predicts each sample from those before and after it, and so leaves out noise that
is independent from sample to sample. This tutorial goes from a raw recording to a model that is fine-tuned to it, to a
denoised and motion-corrected recording, and measures what is gained and what is lost. :doc:`/denoising` explains more.
"""

# %%
# A raw recording
# ---------------
# With your own data this would be ``si.read_spikeglx(...)`` or any other reader. Here it is simulated, so that the
# traces without noise and the spikes are known: contacts of a Neuropixels 1.0 probe, units of many sizes, noise that
# neighbouring contacts share in part, and drift. An earlier recording of the same kind of probe has other units.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import spikeinterface.full as si
import torch

import steadyspike
from steadyspike.simulation.drift import simulate_drifting_recording
from steadyspike.simulation.noisy import simulate_noisy_recording
from steadyspike.simulation.truth import motion_error

torch.set_num_threads(1)
si.set_global_job_kwargs(n_jobs=1, progress_bar=False)
temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(temporary.name)

probe = dict(probe="np1", num_channels=32)
drift = dict(scenario="rigid_zigzag", amplitude_um=20.0)
units = dict(amplitudes_uV=(40.0, 300.0))
simulated = simulate_noisy_recording(**probe, **drift, **units, duration_s=16.0, seed=0)
today = simulated.saved(folder / "today", with_clean=False).recording
earlier = simulate_noisy_recording(**probe, **drift, **units, duration_s=8.0, seed=1)
earlier = earlier.saved(folder / "earlier", with_clean=False).recording
print(today)

# %%
# Filter and reference
# --------------------
# A highpass, not a bandpass: where noise is cut off above, each sample tells of the noise of the next, and the network
# would learn to keep it.


def preprocess(recording):
    recording = steadyspike.bandpass_filter(recording, freq_min=300.0, freq_max=None)
    return steadyspike.common_reference(recording, operator="median")


recording = preprocess(today)

# %%
# Train a model
# -------------
# A model serves every recording of the same kind of probe, whatever its number of channels. This one is the smallest of
# the networks, trained on the earlier recording for seconds only, so that these pages build quickly: give yours minutes
# to hours. The errors are against noisy samples, so that even a perfect model would keep most of them.

common = dict(device="cpu", progress_bar=False)
model = steadyspike.train_deepinterpolation(
    preprocess(earlier), folder / "my_probe", size="tiny", max_steps=150, **common
)
for name, score in model.config.extra["scores"].items():
    print(f"{name}: held-out mean squared error {score['mse']:.3f}")

# %%
# Fine-tune it
# ------------
# Units differ from one recording to the next, so a few more steps on the recording itself bring more. Its end
# is held out, for an evaluation on what the model has not seen.

fine_tuned = steadyspike.train_deepinterpolation(
    recording, folder / "today_model", init_from=model, max_steps=200, test_start_s=11.0, **common
)
training = fine_tuned.config.extra["training"]
print(f"held-out loss before: {training['initial_loss']:.3f}, after: {training['best_loss']:.3f}")

# %%
# A model folder holds weights, configuration, and a card that tells what the model was trained on and how it scored.

print(sorted(path.name for path in (folder / "today_model").iterdir()))
print(fine_tuned.card[:700])

# %%
# Denoise
# -------
# ``deepinterpolate`` is lazy: samples are predicted when they are read, in chunks of any size. What follows reads it
# more than once, so it is saved.

denoised = steadyspike.deepinterpolate(recording, folder / "today_model", device="cpu")
recording_denoised = denoised.save(folder=folder / "denoised", verbose=False)
print(recording_denoised)

# %%
# Look at it
# ----------
# Those 40 ms of what was held out that have most spikes, channels from the tip of the probe upwards. The difference
# should look like noise: where a spike shows in it, the model has taken a part of the spike away.

spikes = simulated.sorting.to_spike_vector()["sample_index"]
starts = np.arange(330_000, recording.get_num_samples() - 1200, 1200)
start = starts[np.argmax([np.sum((spikes >= first) & (spikes < first + 1200)) for first in starts])]
piece = dict(start_frame=start, end_frame=start + 1200)
order = np.argsort(recording.get_channel_locations()[:, 1])
raw, predicted = (each.get_traces(**piece)[:, order] for each in (recording, recording_denoised))
truth = preprocess(simulated.clean).get_traces(**piece)[:, order]

figure, axes = plt.subplots(4, 1, figsize=(9, 8), sharex=True, layout="constrained")
panels = {
    "recorded": raw,
    "denoised": predicted,
    "difference": raw - predicted,
    "truth, without noise": truth,
}
for axis, (title, shown) in zip(axes, panels.items(), strict=True):
    image = axis.imshow(
        shown.T, aspect="auto", origin="lower", cmap="RdBu_r", vmin=-40, vmax=40, extent=(0, 40, 0, 32)
    )
    axis.set(title=title, ylabel="channel")
axes[-1].set_xlabel("time (ms)")
figure.colorbar(image, ax=axes, label="uV", shrink=0.4)
plt.show()

# %%
# What is gained, and what is lost
# --------------------------------
# ``evaluate_deepinterpolation`` measures it on what was held out: the loss beside that of a linear interpolation; and
# as spikes and noise-free traces are known here, the error against these, how much less noise there is between spikes,
# and what happens to each unit. The amplitude bias is the price of denoising: units get smaller, small ones most.
# Longer training takes less away. d' tells how well a unit's spikes stand out from everything else: where it is not
# higher afterwards, denoising has not helped a template matcher to find that unit.

evaluation = steadyspike.evaluate_deepinterpolation(
    recording,
    {"before": model, "fine-tuned": fine_tuned},
    sorting=simulated.sorting,
    clean=preprocess(simulated.clean),
    start_s=11.0,
    **common,
)
print(evaluation)

# %%
# Templates of units, small to large, before and after. The evaluation of your own data needs no truth: without
# ``clean``, templates are compared with those of the recording itself, and without ``sorting`` the losses remain.

figure = evaluation.plot_templates()

# %%
# Correct the motion
# ------------------
# The denoised recording is a recording like any other. More peaks stand out in it. Whether they make the estimate of
# the motion better is another question: the true motion is known here, so both estimates can be compared with it.

drifting = simulate_drifting_recording(**probe, **drift, duration_s=16.0, seed=0)
found = {}
for name, each in (("recorded", recording), ("denoised", recording_denoised)):
    corrected, motion, info = si.correct_motion(
        each, preset="steady_auto", output_motion=True, output_motion_info=True
    )
    found[name] = corrected, motion, info
    error = np.abs(motion_error(drifting, motion)).mean()
    print(f"{name}: {info['peaks'].size} peaks, mean absolute error of the motion {error:.2f} um")

figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, sharey=True, layout="constrained")
for row, (name, (_, motion, info)) in zip(axes, found.items(), strict=True):
    times = recording.sample_index_to_time(info["peaks"]["sample_index"])
    depths = info["peak_locations"]["y"]
    displacement = motion.get_displacement_at_time_and_depth(times, depths)
    for axis, shown, when in zip(row, (depths, depths - displacement), ("before", "after"), strict=True):
        axis.scatter(times, shown, s=2, c="black", alpha=0.4, linewidths=0)
        axis.set(title=f"{name}, {when} motion correction")
    row[0].set_ylabel("depth (um)")
for axis in axes[1]:
    axis.set_xlabel("time (s)")
plt.show()

# %%
# Go on with it
# -------------
# The result is lazy again. Saved as JSON it holds the whole chain, and the hash of the model. To hand traces to a spike
# sorter, write them with ``recording_corrected.save(folder=...)``.
#
# The same from the shell::
#
#     steadyspike train earlier -o my_probe
#     steadyspike train today -o today_model --init-from my_probe
#     steadyspike evaluate today --model today_model --start 11
#     steadyspike denoise today --model today_model -o denoised
#     steadyspike correct denoised/recording -o corrected

recording_corrected = found["denoised"][0]
print(recording_corrected)
