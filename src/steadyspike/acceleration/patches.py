"""What is accelerated: SpikeInterface's part, where it is, and what takes its place."""

from __future__ import annotations

from steadyspike.acceleration.patching import Patch

PATCHES: tuple[Patch, ...] = (
    Patch(
        "filter",
        "spikeinterface.preprocessing.filter",
        "FilterRecordingSegment.get_traces",
        "steadyspike.acceleration.filters.filtered_traces",
        by_class=(
            ("BandpassFilterRecording", "bandpass_filter"),
            ("HighpassFilterRecording", "highpass_filter"),
            ("NotchFilterRecording", "notch_filter"),
            ("CausalFilterRecording", "causal_filter"),
        ),
    ),
    Patch(
        "common_reference",
        "spikeinterface.preprocessing.common_reference",
        "CommonReferenceRecordingSegment.get_traces",
        "steadyspike.acceleration.reference.referenced_traces",
    ),
    Patch(
        "get_noise_levels",
        "spikeinterface.core.recording_tools",
        "_noise_level_chunk",
        "steadyspike.acceleration.noise.noise_level_of_chunk",
    ),
    Patch(
        "by_channel",
        "spikeinterface.sortingcomponents.peak_detection.by_channel",
        "ByChannelPeakDetector.compute",
        "steadyspike.acceleration.detection.by_channel_peaks",
    ),
    Patch(
        "locally_exclusive",
        "spikeinterface.sortingcomponents.peak_detection.locally_exclusive",
        "LocallyExclusivePeakDetector.compute",
        "steadyspike.acceleration.detection.locally_exclusive_peaks",
    ),
    Patch(
        "center_of_mass",
        "spikeinterface.sortingcomponents.peak_localization.center_of_mass",
        "LocalizeCenterOfMass.compute",
        "steadyspike.acceleration.localization.center_of_mass",
    ),
    Patch(
        "monopolar_triangulation",
        "spikeinterface.sortingcomponents.peak_localization.monopolar",
        "LocalizeMonopolarTriangulation.compute",
        "steadyspike.acceleration.localization.monopolar_triangulation",
    ),
    Patch(
        "grid_convolution",
        "spikeinterface.sortingcomponents.peak_localization.grid",
        "LocalizeGridConvolution.compute",
        "steadyspike.acceleration.localization.grid_convolution",
    ),
    Patch(
        "monopolar_triangulation",
        "spikeinterface.postprocessing.localization_tools",
        "solve_monopolar_triangulation",
        "steadyspike.acceleration.unit_locations.solved_monopole",
    ),
    Patch(
        "node_pipeline",
        "spikeinterface.core.node_pipeline",
        "_init_peak_pipeline",
        "steadyspike.acceleration.pipeline.started_pipeline",
    ),
    Patch(
        "node_pipeline",
        "spikeinterface.core.node_pipeline",
        "ExtractSparseWaveforms.compute",
        "steadyspike.acceleration.waveforms.sparse_waveforms",
    ),
    Patch(
        "node_pipeline",
        "spikeinterface.core.node_pipeline",
        "PeakRetriever.get_peak_slice",
        "steadyspike.acceleration.waveforms.peak_slice",
    ),
    Patch(
        "node_pipeline",
        "spikeinterface.core.node_pipeline",
        "SpikeRetriever.compute",
        "steadyspike.acceleration.waveforms.retrieved_spikes",
    ),
    Patch(
        "motion_histogram",
        "spikeinterface.sortingcomponents.motion.motion_utils",
        "make_2d_motion_histogram",
        "steadyspike.acceleration.histograms.motion_histogram",
    ),
    Patch(
        "motion_histogram",
        "spikeinterface.sortingcomponents.motion.decentralized",
        "make_2d_motion_histogram",
        "steadyspike.acceleration.histograms.motion_histogram",
    ),
    Patch(
        "motion_histogram",
        "spikeinterface.sortingcomponents.motion.dredge",
        "make_2d_motion_histogram",
        "steadyspike.acceleration.histograms.motion_histogram",
    ),
    Patch(
        "motion_histogram",
        "spikeinterface.sortingcomponents.motion.motion_utils",
        "make_3d_motion_histograms",
        "steadyspike.acceleration.histograms.motion_histograms",
    ),
    Patch(
        "motion_histogram",
        "spikeinterface.sortingcomponents.motion.iterative_template",
        "make_3d_motion_histograms",
        "steadyspike.acceleration.histograms.motion_histograms",
    ),
    Patch(
        "decentralized",
        "spikeinterface.sortingcomponents.motion.decentralized",
        "DecentralizedRegistration.run",
        "steadyspike.acceleration.decentralized.run",
    ),
    Patch(
        "iterative_template",
        "spikeinterface.sortingcomponents.motion.iterative_template",
        "iterative_template_registration",
        "steadyspike.acceleration.iterative_template.registration",
    ),
    Patch(
        "dredge_ap",
        "spikeinterface.sortingcomponents.motion.dredge",
        "dredge_ap",
        "steadyspike.acceleration.dredge.registration",
    ),
    Patch(
        "interpolate_motion_arguments",
        "spikeinterface.sortingcomponents.motion.motion_interpolation",
        "InterpolateMotionRecording.__init__",
        "steadyspike.acceleration.repairs.start_interpolation",
    ),
    Patch(
        "compute_motion",
        "spikeinterface.preprocessing.motion",
        "compute_motion",
        "steadyspike.acceleration.repairs.compute_motion",
    ),
    Patch(
        "compute_motion",
        "spikeinterface.preprocessing",
        "compute_motion",
        "steadyspike.acceleration.repairs.compute_motion",
    ),
    Patch(
        "compute_motion",
        "spikeinterface.full",
        "compute_motion",
        "steadyspike.acceleration.repairs.compute_motion",
    ),
    Patch(
        "medicine",
        "spikeinterface.sortingcomponents.motion.medicine",
        "MedicineRegistration.run",
        "steadyspike.acceleration.repairs.run_medicine",
    ),
    Patch(
        "interpolate_motion",
        "spikeinterface.sortingcomponents.motion.motion_interpolation",
        "InterpolateMotionRecordingSegment.get_traces",
        "steadyspike.acceleration.interpolation.interpolated_traces",
    ),
    Patch(
        "interpolate_motion",
        "spikeinterface.sortingcomponents.motion.motion_interpolation",
        "interpolate_motion_on_traces",
        "steadyspike.acceleration.interpolation.interpolated_array",
    ),
    Patch(
        "interpolate_motion",
        "spikeinterface.sortingcomponents.motion",
        "interpolate_motion_on_traces",
        "steadyspike.acceleration.interpolation.interpolated_array",
    ),
    Patch(
        "phase_shift",
        "spikeinterface.preprocessing.phase_shift",
        "PhaseShiftRecordingSegment.get_traces",
        "steadyspike.acceleration.phase_shift.shifted_traces",
    ),
)

REPAIRS: dict[str, str] = {
    "dredge_ap": 'preset="dredge" works: SpikeInterface passes batching_mode="offline", which its estimator refuses',
    "interpolate_motion_arguments": "interpolate_motion takes several segments with border_mode='remove_channels', and "
    "integers, which become float32 as its documentation says",
    "compute_motion": "compute_motion and correct_motion take select_kwargs: SpikeInterface calls detect_peaks with an "
    "argument that it has no more",
    "medicine": "method='medicine' gives time bins in the recording's times, and the direction it was asked for",
}
"""Name of a patch that repairs a defect, to what it repairs in a sentence."""
