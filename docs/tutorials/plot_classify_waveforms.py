"""
Spikes or noise: a classifier of waveforms, and a look at the units
===================================================================

A low threshold finds small spikes, and noise with them. This tutorial trains a classifier on one recording, drops noise
from the peaks of another one before they are localized, and clusters what is left.
"""

# %%
# Labelled waveforms
# ------------------
# Labels come from wherever they are known: a sorting that was curated, or recordings with a second electrode inside of
# a cell. Here recordings are simulated, and the true spike times are known. A recording of its own is for validation.

import numpy as np
import spikeinterface.full as si
from spikeinterface.sortingcomponents.peak_detection import detect_peaks

import steadyspike
from steadyspike.evaluation.figures import plot_classifier_scores, plot_embedding
from steadyspike.peaks.embedding import aligned_waveforms, peak_waveforms
from steadyspike_benchmarks.embedding import simulate_tetrode

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)


def labelled_peaks(seed, duration_s=12.0):
    """Peaks over a low threshold, their waveforms on all four channels, and their units (-1: noise)."""
    recording, sorting = simulate_tetrode(num_units=4, duration_s=duration_s, seed=seed)
    settings = dict(detect_threshold=3.5, noise_levels=np.full(4, 10.0), exclude_sweep_ms=0.5)
    peaks = detect_peaks(recording, method="locally_exclusive", method_kwargs=settings)
    waveforms = peak_waveforms(recording, peaks, ms_before=0.5, ms_after=0.9)
    return recording, peaks, waveforms, steadyspike.peaks.units_of_peaks(peaks, sorting)


_, _, waveforms, units = labelled_peaks(seed=1)
_, _, other_waveforms, other_units = labelled_peaks(seed=2)
print(f"{len(units)} peaks, of which {np.mean(units >= 0):.0%} are spikes")

# %%
# Train and judge
# ---------------
# Sizes, calibration and threshold are chosen on the validation recording. The judgement is on a third recording, with
# units that none of the networks has seen.

options = dict(validation=(other_waveforms, other_units >= 0), sampling_frequency=30_000.0, nbefore=15)
model = steadyspike.train_spike_classifier(waveforms, units >= 0, **options)
network = steadyspike.train_spike_classifier(waveforms, units >= 0, network="cnn", max_epochs=5, **options)

recording, peaks, new_waveforms, truth = labelled_peaks(seed=3)
scores = {
    name: steadyspike.evaluation.evaluate_spike_classifier(one, new_waveforms, truth >= 0)
    for name, one in (("discriminant", model), ("CNN", network))
}
figure = plot_classifier_scores(scores, title="A recording that no classifier has seen")

# %%
# Drop noise
# ----------
# `classify_peaks` cuts the waveforms itself, chunk by chunk.

labels = steadyspike.classify_peaks(recording, peaks, model)
spikes, spike_units = peaks[labels["is_spike"]], truth[labels["is_spike"]]
print(f"{len(peaks)} peaks, {np.sum(truth >= 0)} of them spikes; kept {len(spikes)}")

# %%
# Units at a glance
# -----------------
# The waveforms are aligned to a fraction of a sample, embedded by principal components, and clustered.

embedding = steadyspike.peaks.embed_peaks(recording, spikes, num_dimensions=4)
clusters = steadyspike.peaks.cluster_embedding(embedding.points)
agreement = steadyspike.peaks.cluster_agreement(clusters, spike_units)
print(f"{agreement['clusters']} clusters, {agreement['units']} units: {agreement['adjusted_rand']:.2f}")
figure = plot_embedding(
    embedding.points, clusters, waveforms=aligned_waveforms(recording, spikes), title="HDBSCAN"
)

# %%
# The same in three dimensions, coloured by the true units:
figure = plot_embedding(embedding.points, spike_units, dimensions=(0, 1, 2), title="True units")
