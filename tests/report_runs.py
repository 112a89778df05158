"""Small runs to report of, whose spikes and motion are made up."""

import numpy as np
from spikeinterface.core.motion import Motion
from spikeinterface.core.node_pipeline import base_peak_dtype

from steadyspike.motion.trust import MotionTrust
from steadyspike.simulation.drift import build_probe
from steadyspike.simulation.noise import CorrelatedNoiseRecording

RATE = 30_000.0


def make_recording(duration_s=10.0, num_channels=16):
    probe = build_probe("np1", num_channels)
    recording = CorrelatedNoiseRecording(probe.contact_positions, np.ones(16), int(duration_s * RATE))
    recording.set_probe(probe)
    return recording


def make_motion(size_um=12.0, duration_s=10.0, num_windows=3, num_segments=1):
    times = np.arange(0.5, duration_s)
    windows = np.linspace(0, 140, num_windows) if num_windows > 1 else np.array([70.0])
    moved = np.outer(np.sin(times), np.linspace(1, 0.6, num_windows)) * size_um / 2
    return Motion([moved] * num_segments, [times] * num_segments, windows)


def make_trust(motion, verdict="correct", **numbers):
    defaults = dict(
        reason="Because of it: held-out spikes gain 0.100 +- 0.010 nats each.",
        displacement_um=12.0,
        gain=0.1,
        gain_error=0.01,
        rigid_gain=0.08,
        rigid_gain_error=0.01,
        rigid_advantage=-0.02,
        rigid_advantage_error=0.01,
        fitted_parameters=3.0,
        rigid_fitted_parameters=1.0,
        scale=1.0,
        error_um=0.4,
        loss_without=0.2,
        loss_with=0.01,
        rigid_loss_with=0.05,
        num_spikes=2000,
        num_spikes_used=2000,
    )
    trust = [np.full(part.shape, 0.3) for part in motion.displacement]
    evidence = [np.linspace(-3.0, 20.0, part.size).reshape(part.shape) for part in motion.displacement]
    return MotionTrust(verdict=verdict, trust=trust, evidence=evidence, **{**defaults, **numbers})


def make_info(motion=None, num_peaks=800, verdict="correct", duration_s=10.0, **numbers):
    """A motion info with evidence and verdict; the spikes of eight units that move with it, in all segments."""
    motion = make_motion() if motion is None else motion
    rng = np.random.default_rng(5)
    peaks = np.zeros(num_peaks, dtype=base_peak_dtype)
    unit = rng.integers(8, size=num_peaks)
    peaks["sample_index"] = np.sort(rng.integers(int(duration_s * RATE), size=num_peaks))
    peaks["amplitude"] = -rng.uniform(20, 200, 8)[unit]
    peaks["segment_index"] = np.sort(rng.integers(motion.num_segments, size=num_peaks))
    locations = np.zeros(num_peaks, dtype=[("x", "f8"), ("y", "f8"), ("z", "f8")])
    locations["x"] = rng.uniform(0, 50, 8)[unit]
    locations["y"] = np.linspace(10, 130, 8)[unit]
    for segment in range(motion.num_segments):
        mine = peaks["segment_index"] == segment
        if mine.any():
            times = peaks["sample_index"][mine] / RATE
            locations["y"][mine] += motion.get_displacement_at_time_and_depth(
                times, locations["y"][mine], segment
            )
    shape = np.concatenate(motion.displacement).shape
    return dict(
        peaks=peaks,
        peak_locations=locations,
        motion=motion,
        run_times=dict(detect_and_localize=2.0, estimate_motion=0.5),
        parameters=dict(preset="steady_auto", estimate_motion_kwargs=dict(method="steady_auto", bin_s=1.0)),
        explained=np.full(shape, 0.4),
        displacement_sd_um=np.full(shape, 0.5),
        motion_trust=make_trust(motion, verdict, **numbers),
    )
