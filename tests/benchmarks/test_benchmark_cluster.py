import numpy as np
import spikeinterface.full as si

from steadyspike_benchmarks.cluster.sizing import MOTION, PARTS, format_sizing
from steadyspike_benchmarks.cluster.wandering import BLOCK, WanderingRecording


def test_a_wandering_recording_is_the_same_however_it_is_read(tmp_path):
    recording = WanderingRecording(3 / 3600, num_channels=8, spikes_per_second=400)
    whole = recording.get_traces()
    assert whole.shape == (3 * BLOCK, 8)
    pieces = [
        recording.get_traces(start_frame=start, end_frame=min(start + 7_013, len(whole)))
        for start in range(0, len(whole), 7_013)
    ]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    recording.dump_to_json(tmp_path / "recording.json")
    loaded = si.load(tmp_path / "recording.json")
    np.testing.assert_array_equal(loaded.get_traces(end_frame=100), whole[:100])
    # spikes of 60 uV and more, on noise of 7 uV
    assert (whole * recording.get_channel_gains()[0]).min() < -50


def test_sizes_follow_from_what_a_channel_hour_takes():
    results = [
        dict(part=part, hours=0.5, num_channels=2, cpu_seconds=seconds, peak_mb=100.0, imports_mb=90.0)
        for part, seconds in zip((*PARTS, MOTION), (1.0, 3.0, 7.0, 19.0, 0.0), strict=True)
    ]
    table = format_sizing(results)
    assert "| detect and localize | 3.00 | 3.1 | 100 |" in table
    assert "| channel-hours | 18,432 | 9,216 |" in table
    # 3600 s * 30,000 samples * 2 bytes in 4 s
    assert "| detect and localize | 54 | 2.3 | 23.1 |" in table
    # read and written
    assert "| interpolate and save | 54 | 2.3 | 23.1 |" in table
    assert "| denoise, core-hours | 97.3 | 48.6 |" in table
