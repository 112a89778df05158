"""
From a recording to units
=========================

What a recording is corrected for is the units that a sorter finds in it. This tutorial leads from a raw recording that
drifts to units in a viewer, as ``steadyspike sort`` does in one command: preprocess, correct, sort with the switches
that fit, and compute what a viewer and a curator need.
"""

# %%
# A recording
# -----------
# With your own data this would be ``si.read_spikeglx(...)``. Here it is simulated, so that the true units are known: 16
# contacts, 24 seconds, eight neurons, moving up and down by 20 um.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import spikeinterface.full as si

import steadyspike
from steadyspike import sorting
from steadyspike.evaluation import drift_metrics
from steadyspike.simulation.drift import simulate_drifting_recording

si.set_global_job_kwargs(n_jobs=1, progress_bar=False)
temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
folder = Path(temporary.name)

simulated = simulate_drifting_recording(
    "rigid_zigzag", num_channels=16, duration_s=24.0, num_units=8, amplitude_um=20.0, seed=0
)
simulated.recording.astype("int16", round=True).save(folder=folder / "raw", verbose=False)
recording = si.load(folder / "raw")

# %%
# Preprocess and correct
# ----------------------
# The corrected traces are written once, because a sorter reads them many times.

filtered = steadyspike.common_reference(steadyspike.bandpass_filter(recording))
corrected, motion = si.correct_motion(filtered, preset="steady_auto", output_motion=True)
corrected = corrected.save(folder=folder / "corrected", verbose=False)

# %%
# Sort
# ----
# The sorter should do nothing that was done here. ``sorting.parameters`` looks at the chain of the recording, and says
# what to switch off, and why. (The warning is about the simulation: it has no file that tells where it came from.)
# SpikeInterface's ``simple`` sorter needs no installation, but has to be told how
# many units there are; with real recordings take another one, such as ``"kilosort4"`` or ``"lupin"``.

parameters = sorting.parameters("simple", corrected)
print(parameters)

units = si.run_sorter(
    "simple",
    corrected,
    folder=folder / "sorter",
    clusterer="kmeans",
    clusterer_kwargs={"n_clusters": 8, "random_state": 0},
    **parameters,
)
print(units)

# %%
# An analyzer
# -----------
# It holds what viewers show and what curators go by.

analyzer = si.create_sorting_analyzer(units, corrected, format="binary_folder", folder=folder / "analyzer")
analyzer.compute(
    [
        "random_spikes",
        "noise_levels",
        "waveforms",
        "templates",
        "spike_amplitudes",
        "spike_locations",
        "unit_locations",
        "correlograms",
        "template_metrics",
    ]
)
analyzer.compute("quality_metrics", metric_names=["num_spikes", "snr", "rp_violation"])
metrics = analyzer.get_extension("quality_metrics").get_data()
print(metrics[["num_spikes", "snr", "rp_contamination"]].round(2))

# %%
# Do the units still depend on the motion?
# ----------------------------------------
# Units that a correction has put right do not care where the tissue was. ``drift_metrics`` tests whether amplitude and
# rate of each depend on the displacement.

found = drift_metrics(analyzer, motion, bin_s=1.0)
print(found)

locations = analyzer.get_extension("unit_locations").get_data()
spikes = units.to_spike_vector()
places = analyzer.get_extension("spike_locations").get_data()

figure_, axis = plt.subplots(figsize=(9, 4), layout="constrained")
axis.scatter(
    spikes["sample_index"] / recording.sampling_frequency,
    places["y"],
    c=spikes["unit_index"],
    cmap="tab10",
    s=3,
    linewidths=0,
)
axis.scatter(np.full(len(locations), 25.0), locations[:, 1], marker="<", c="black")
axis.set(xlabel="time (s)", ylabel="depth (um)", title="spikes by unit, after the correction")
plt.show()

# %%
# Open it
# -------
# SpikeInterface's viewer opens the folder: ``sigui analyzer``, or ``steadyspike view`` what ``steadyspike sort`` wrote.
# For phy, export it; ``phy template-gui params.py`` in that folder then shows it.

si.export_to_phy(analyzer, folder / "phy", compute_pc_features=False, verbose=False)
print(sorted(path.name for path in (folder / "phy").iterdir())[:5])

# %%
# All of this is one command for a run on the disk:
#
# .. code-block:: bash
#
#    steadyspike sort /data/my_run_g0 --sorter kilosort4 --output sorted
#
# It keeps each stage that is done, so that an interrupted run goes on where it stopped.
