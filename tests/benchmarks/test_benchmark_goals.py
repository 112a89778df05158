import spikeinterface as si

from steadyspike_benchmarks import goals


def test_every_row_has_what_was_found(monkeypatch):
    measured = dict(ratio=12.34, cpu_ratio=12.9, steady_s=0.1, steady_cpu_s=0.08, threaded_s=0.05)
    measured |= dict(agreement="as it is")
    pairs = []
    monkeypatch.setattr(goals, "measure", lambda pair, repeats: pairs.append(pair) or measured)
    monkeypatch.setattr(
        goals, "accelerated_pair", lambda name, material: goals.Pair(None, None, name, "accelerated", None)
    )
    monkeypatch.setattr(goals, "PARTS", dict.fromkeys(("phase", "front"), lambda data: "pair"))
    monkeypatch.setattr(goals, "_pool_gain", lambda material, repeats: 1.5)
    results = goals.run_goals(duration_s=2.0, repeats=1, script_s=None, num_channels=8)
    table = goals.format_goals(results)
    assert len(pairs) == 4 + len(goals.LABS)
    for cells in (
        "| detect_bad_channels, accelerated to plain | 12.3 times (12.9 of the processor) | at least 10 |",
        "| phase shift, bandpass, median reference, ms per second | 50 (40 of the processor) | at most 60 |",
        "| script of AIND, accelerated to plain | 12.3 times (12.9 of the processor), as it is |  |",
    ):
        assert cells in table


def test_chains_of_labs_are_lazy_recordings():
    recording = si.generate_recording(num_channels=16, durations=[0.2], seed=0)
    recording.set_channel_gains(1.0)
    recording.set_channel_offsets(0.0)
    assert goals.kilosort(recording).get_traces(end_frame=100).shape == (100, 16)
