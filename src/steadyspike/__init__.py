"""Fast, accurate filtering, localization and motion correction for SpikeInterface.

Importing the package enters its parts into SpikeInterface's tables, for SpikeInterface's own calls to find::

    import spikeinterface.full as si
    import steadyspike

    recording_corrected = si.correct_motion(recording, preset="steady_nonrigid")

`steadyspike.registered()` tells what is where.
"""

from importlib import import_module
from os import environ
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.evaluation import drift_metrics
    from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation
    from steadyspike.evaluation.detection import score_detection
    from steadyspike.evaluation.spike_classification import evaluate_spike_classifier
    from steadyspike.integration.acceleration.switch import accelerate, accelerated
    from steadyspike.integration.register import registered
    from steadyspike.library.hub.client import pull_from_hub, push_to_hub
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, load_model
    from steadyspike.library.models.spikes import SpikeDetectorModel, WaveformDenoiserModel
    from steadyspike.library.models.waveforms import SpikeClassifier, WaveformAutoencoderModel
    from steadyspike.library.presets.presets import list_presets, load_preset, save_preset
    from steadyspike.motion.sessions import estimate_motion_sessions
    from steadyspike.motion.trust import motion_trust
    from steadyspike.peaks.classification import classify_peaks
    from steadyspike.peaks.clusters import (
        align_waveforms,
        cluster_agreement,
        cluster_embedding,
        embed_waveforms,
    )
    from steadyspike.peaks.embedding import embed_peaks, units_of_peaks
    from steadyspike.peaks.on_disk import compute_peaks
    from steadyspike.peaks.residual import localize_residual
    from steadyspike.peaks.spike_cutouts import cut_spikes
    from steadyspike.peaks.waveforms import DenoiseWaveforms
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.common_reference import common_reference
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate
    from steadyspike.preprocessing.motion_by_shank import interpolate_motion_by_shank
    from steadyspike.preprocessing.motion_interpolation import interpolate_motion
    from steadyspike.training.autoencoder import train_waveform_autoencoder
    from steadyspike.training.deepinterpolation import train_deepinterpolation
    from steadyspike.training.spike_classifier import train_spike_classifier
    from steadyspike.training.spike_detector import train_spike_detector
    from steadyspike.training.waveform_denoiser import train_waveform_denoiser

__version__ = "0.1.0"

__all__ = [
    "DeepInterpolationModel",
    "DenoiseWaveforms",
    "SpikeClassifier",
    "SpikeDetectorModel",
    "WaveformAutoencoderModel",
    "WaveformDenoiserModel",
    "__version__",
    "accelerate",
    "accelerated",
    "align_waveforms",
    "bandpass_filter",
    "classify_peaks",
    "cluster_agreement",
    "cluster_embedding",
    "common_reference",
    "compute_peaks",
    "cut_spikes",
    "deepinterpolate",
    "drift_metrics",
    "embed_peaks",
    "embed_waveforms",
    "estimate_motion_sessions",
    "evaluate_deepinterpolation",
    "evaluate_spike_classifier",
    "interpolate_motion",
    "interpolate_motion_by_shank",
    "list_presets",
    "load_model",
    "load_preset",
    "localize_residual",
    "motion_trust",
    "pull_from_hub",
    "push_to_hub",
    "registered",
    "save_preset",
    "score_detection",
    "train_deepinterpolation",
    "train_spike_classifier",
    "train_spike_detector",
    "train_waveform_autoencoder",
    "train_waveform_denoiser",
    "units_of_peaks",
]

_MODULES = {
    "accelerate": "steadyspike.integration.acceleration.switch",
    "accelerated": "steadyspike.integration.acceleration.switch",
    "SpikeClassifier": "steadyspike.library.models.waveforms",
    "WaveformAutoencoderModel": "steadyspike.library.models.waveforms",
    "align_waveforms": "steadyspike.peaks.clusters",
    "classify_peaks": "steadyspike.peaks.classification",
    "cluster_agreement": "steadyspike.peaks.clusters",
    "cluster_embedding": "steadyspike.peaks.clusters",
    "cut_spikes": "steadyspike.peaks.spike_cutouts",
    "embed_peaks": "steadyspike.peaks.embedding",
    "embed_waveforms": "steadyspike.peaks.clusters",
    "evaluate_spike_classifier": "steadyspike.evaluation.spike_classification",
    "train_spike_classifier": "steadyspike.training.spike_classifier",
    "train_waveform_autoencoder": "steadyspike.training.autoencoder",
    "units_of_peaks": "steadyspike.peaks.embedding",
    "drift_metrics": "steadyspike.evaluation",
    "evaluate_deepinterpolation": "steadyspike.evaluation.denoising.evaluate",
    "compute_peaks": "steadyspike.peaks.on_disk",
    "estimate_motion_sessions": "steadyspike.motion.sessions",
    "motion_trust": "steadyspike.motion.trust",
    "bandpass_filter": "steadyspike.preprocessing.bandpass",
    "common_reference": "steadyspike.preprocessing.common_reference",
    "deepinterpolate": "steadyspike.preprocessing.deepinterpolation",
    "interpolate_motion_by_shank": "steadyspike.preprocessing.motion_by_shank",
    "interpolate_motion": "steadyspike.preprocessing.motion_interpolation",
    "DeepInterpolationModel": "steadyspike.library.models.deepinterpolation",
    "load_model": "steadyspike.library.models.deepinterpolation",
    "list_presets": "steadyspike.library.presets.presets",
    "load_preset": "steadyspike.library.presets.presets",
    "save_preset": "steadyspike.library.presets.presets",
    "pull_from_hub": "steadyspike.library.hub.client",
    "push_to_hub": "steadyspike.library.hub.client",
    "registered": "steadyspike.integration.register",
    "train_deepinterpolation": "steadyspike.training.deepinterpolation",
    "DenoiseWaveforms": "steadyspike.peaks.waveforms",
    "SpikeDetectorModel": "steadyspike.library.models.spikes",
    "WaveformDenoiserModel": "steadyspike.library.models.spikes",
    "localize_residual": "steadyspike.peaks.residual",
    "score_detection": "steadyspike.evaluation.detection",
    "train_spike_detector": "steadyspike.training.spike_detector",
    "train_waveform_denoiser": "steadyspike.training.waveform_denoiser",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'steadyspike' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


import_module("steadyspike.integration.register").register()
if environ.get("STEADYSPIKE_ACCELERATE", "0") not in ("", "0"):
    import_module("steadyspike.integration.acceleration.switch").accelerate()
