"""Known spikes added to real noise: where and how large they are, how they stand out, and the command's table."""

import numpy as np
import pytest
from cli_runner import run_benchmark

from steadyspike.simulation.drift import make_noise
from steadyspike.simulation.probes import build_probe
from steadyspike_benchmarks import denoising_injected as benchmark

RATE = 30_000.0


@pytest.fixture(scope="module")
def raw():
    noise = make_noise(build_probe("np2", 32), (6.0, 8.0), 0.6, RATE, 0)
    noise.set_channel_gains(1.0)
    noise.set_channel_offsets(0.0)
    return noise


@pytest.fixture(scope="module")
def ready(raw):
    return benchmark.prepare(raw)


def test_spikes_are_as_large_as_asked_and_where_the_sorting_says(ready):
    injected = benchmark.inject(ready, 20.0, 1)
    clean = injected.clean.get_traces(0)
    np.testing.assert_array_equal(injected.recording.get_traces(0), ready.get_traces(0) + clean)
    for unit in injected.sorting.unit_ids:
        times = injected.sorting.get_unit_spike_train(unit, segment_index=0)
        heights = [-(clean[time - 5 : time + 6] / injected.noise).min() for time in times]
        # the contacts around the one that was drawn are as near, or nearer to the unit
        assert np.median(heights) == pytest.approx(20.0, rel=0.25)
        assert clean[(times[0] + times[1]) // 2 : (times[0] + times[1]) // 2 + 20].min() > -0.1


def test_larger_spikes_stand_out_more_and_no_spikes_do_not(ready):
    values = {}
    for level in (0.01, 4.0, 12.0):
        injected = benchmark.inject(ready, level, 2)
        values[level] = benchmark.whitened_d_prime(injected, injected.recording)
    assert abs(values[0.01]) < 1.0 < values[4.0] < values[12.0]


def test_the_command_prints_each_way(raw, tmp_path):
    raw.frame_slice(0, 9_000).save(folder=tmp_path / "raw", n_jobs=1, progress_bar=False)
    done = run_benchmark(
        *("denoising-injected", tmp_path / "raw", "-m", "steady-np2", "--level", "9", "--seed", "0"),
        *("-o", tmp_path / "found.md"),
    )
    assert done.exit_code == 0, done.output
    assert "9 noise levels" in done.output
    for way in benchmark.WAYS:
        assert f"| {way} " in (tmp_path / "found.md").read_text()
