import numpy as np
import pytest
from probeinterface import generate_linear_probe
from spikeinterface.core import NumpyRecording
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

import steadyspike  # noqa: F401  (registers the methods)


def recording_of(pitch_um, num_channels=16):
    probe = generate_linear_probe(num_elec=num_channels, ypitch=pitch_um)
    probe.set_device_channel_indices(np.arange(num_channels))
    traces = np.random.default_rng(0).normal(size=(6000, num_channels)).astype("float32")
    recording = NumpyRecording([traces], 30_000.0)
    recording.set_probe(probe)
    return recording


def peaks_of(count=40):
    rng = np.random.default_rng(1)
    peaks = np.zeros(
        count,
        dtype=[
            ("sample_index", "int64"),
            ("channel_index", "int64"),
            ("amplitude", "float64"),
            ("segment_index", "int64"),
        ],
    )
    peaks["sample_index"] = np.sort(rng.integers(100, 5900, count))
    peaks["channel_index"] = rng.integers(0, 16, count)
    return peaks


@pytest.mark.parametrize(
    ("pitch_um", "method", "kwargs"),
    [(20.0, "steady_grid_convolution", {}), (50.0, "steady_monopolar", {"enforce_decrease": True})],
)
def test_the_method_follows_the_pitch(pitch_um, method, kwargs):
    recording, peaks = recording_of(pitch_um), peaks_of()
    chosen = localize_peaks(recording, peaks, method="steady_auto", job_kwargs=dict(n_jobs=1))
    expected = localize_peaks(
        recording, peaks, method=method, method_kwargs=kwargs, job_kwargs=dict(n_jobs=1)
    )
    np.testing.assert_array_equal(chosen, expected)
    workers = localize_peaks(
        recording, peaks, method="steady_auto", job_kwargs=dict(n_jobs=2, pool_engine="thread")
    )
    np.testing.assert_array_equal(workers, expected)
