"""
Small spikes: detect, denoise and localize them with networks
=============================================================

A threshold takes noise for spikes and misses small ones, and noise pulls the locations of those that it finds. This
tutorial finds the spikes of a simulated recording with `steady_neural`, looks at what the denoiser makes of their
waveforms, and localizes them with `steady_denoised_monopolar`. The truth is known, so that all of it can be judged.
"""

# %%
# A noisy recording
# -----------------
# A few seconds of a filtered recording are enough for the networks, which were trained before: they come with
# steadyspike.

import matplotlib.pyplot as plt
import numpy as np
import spikeinterface.full as si
from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, PeakRetriever, run_node_pipeline
from spikeinterface.sortingcomponents.peak_detection import detect_peaks
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike
from steadyspike.simulation.spiky import simulate_spiky_recording

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)
simulated = simulate_spiky_recording("np1", noise_uV=15.0, seed=7, duration_s=6.0, num_channels=64)
recording = simulated.recording
contacts = recording.get_channel_locations()

# %%
# Detect
# ------
# A threshold finds more true spikes and more noise the lower it is. The network is at one point, above the line.
# Spikes below 3 noise levels are not asked for.

spikes = simulated.sorting.to_spike_vector()
units = spikes["unit_index"]
truth = dict(
    samples=spikes["sample_index"],
    channels=simulated.channels[units],
    locations=contacts,
    counts=simulated.snr[units] >= 3.0,
)
settings = dict(noise_levels=simulated.noise_levels)
thresholds = np.arange(3.5, 7.01, 0.5)
by_threshold = []
for threshold in thresholds:
    found = detect_peaks(
        recording,
        method="locally_exclusive",
        method_kwargs=dict(detect_threshold=threshold, exclude_sweep_ms=0.5, radius_um=60.0, **settings),
    )
    by_threshold.append(steadyspike.evaluation.score_detection(found, **truth))
peaks = detect_peaks(recording, method="steady_neural", method_kwargs=settings)
neural = steadyspike.evaluation.score_detection(peaks, **truth)

best = max(by_threshold, key=lambda scores: scores.f1)
print(f"F1 of the best threshold {best.f1:.3f}, of steady_neural {neural.f1:.3f}")

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
precision = [scores.precision for scores in by_threshold]
axes.plot(
    precision, [scores.recall for scores in by_threshold], "o-", label="thresholds of 3.5 to 7 noise levels"
)
axes.plot(neural.precision, neural.recall, "s", ms=9, label="steady_neural")
axes.set(xlabel="precision", ylabel="recall")
axes.legend()

# %%
# Denoise
# -------
# The denoiser is a node of SpikeInterface's pipelines: waveforms in, waveforms out. Anything can sit behind it.

source = PeakRetriever(recording, peaks)
waveforms = ExtractDenseWaveforms(
    recording, parents=[source], ms_before=1.5, ms_after=2.5, return_output=True
)
denoised = steadyspike.peaks.DenoiseWaveforms(
    recording, parents=[source, waveforms], return_output=True, **settings
)
raw, clean = run_node_pipeline(
    recording, [source, waveforms, denoised], job_kwargs=dict(n_jobs=1), job_name="denoise"
)

small = np.argsort(np.abs(np.abs(peaks["amplitude"]) - 4.5 * np.median(simulated.noise_levels)))[:4]
figure, all_axes = plt.subplots(1, 4, figsize=(10, 3), sharey=True, layout="constrained")
before = int(1.5 * recording.sampling_frequency / 1000) - denoised.nbefore
for axes, spike in zip(all_axes, small, strict=True):
    channel = peaks["channel_index"][spike]
    times_ms = (np.arange(clean.shape[1]) - denoised.nbefore) / recording.sampling_frequency * 1000
    axes.plot(
        times_ms, raw[spike, before : before + clean.shape[1], channel], color="0.7", label="as recorded"
    )
    axes.plot(times_ms, clean[spike, :, channel], color="C0", label="denoised")
    axes.set_xlabel("ms")
all_axes[0].set_ylabel("uV")
all_axes[0].legend()

# %%
# Localize
# --------
# Distance of each small spike (under 8 noise levels) from the place of its unit. The curve that is higher is better.

owners = steadyspike.peaks.units_of_peaks(peaks, simulated.sorting)
amplitudes = np.abs(peaks["amplitude"]) / simulated.noise_levels[peaks["channel_index"]]
judged = (owners >= 0) & (amplitudes < 8.0)
places = simulated.unit_locations[owners[judged]]

figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
for method in ("center_of_mass", "monopolar_triangulation", "steady_denoised_monopolar"):
    found = localize_peaks(recording, peaks[judged], method=method)
    errors = np.hypot(found["x"] - places[:, 0], found["y"] - places[:, 1])
    print(f"{method}: median {np.median(errors):.1f} um from the truth")
    axes.plot(np.sort(errors), np.linspace(0, 1, len(errors)), label=method)
axes.set(xlim=(0, 60), xlabel="distance from the unit (um)", ylabel="share of spikes")
axes.legend()

# %%
# For motion correction all of this is one preset: ``si.correct_motion(recording, preset="steady_denoised")``. To train
# the networks on recordings of your own, see the page on networks for spikes.
