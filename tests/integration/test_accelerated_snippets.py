import numpy as np
import pytest
import spikeinterface.full as si
from localization_inputs import PEAK_DTYPE, RATE, on_probe, simulated
from spikeinterface.core.node_pipeline import ExtractSparseWaveforms, PeakRetriever, SpikeRetriever

import steadyspike


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_sparse_waveforms(dtype):
    traces, peaks = simulated(40, dtype=dtype, seed=14)
    node = ExtractSparseWaveforms(on_probe(traces), ms_before=0.4, ms_after=0.8, radius_um=45.0)
    theirs = node.compute(traces, peaks)
    with steadyspike.accelerate():
        ours = node.compute(traces, peaks)
        assert steadyspike.accelerated()["node_pipeline"].taken == 1
        with pytest.raises(ValueError, match="broadcast"):
            node.compute(traces[:30], peaks)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def test_slices_of_peaks():
    peaks = np.zeros(500, dtype=PEAK_DTYPE)
    peaks["sample_index"] = np.sort(np.random.default_rng(0).integers(0, 300, 500))
    peaks["segment_index"][250:] = 1
    peaks["sample_index"][250:] -= peaks["sample_index"][250]
    recordings = on_probe(np.zeros((400, 3), "float32")), on_probe([np.zeros((400, 3), "float32")] * 2)
    for recording, some in zip(recordings, (peaks[:250], peaks), strict=True):
        retriever = PeakRetriever(recording, some)
        for segment in range(recording.get_num_segments()):
            for start, end in ((0, 0), (0, 400), (100, 101), (50, 120), (399, 1000)):
                theirs = retriever.get_peak_slice(segment, start, end, 7)
                with steadyspike.accelerate():
                    ours = retriever.get_peak_slice(segment, start, end, 7)
                assert tuple(ours) == tuple(theirs)


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"include_spikes_in_margin": True},
        *(
            {"channel_from_template": False, "peak_sign": sign, "radius_um": 45.0}
            for sign in ("neg", "pos", "both")
        ),
    ],
)
def test_retrieved_spikes(kwargs):
    generator = np.random.default_rng(3)
    traces = generator.normal(size=(2, 3000, 24)).astype("float32")
    traces[0, 500:900, 4] = np.nan
    recording = on_probe(list(traces))
    trains = [{unit: np.sort(generator.choice(3000, 60, replace=False)) for unit in "abc"} for _ in range(2)]
    sorting = si.NumpySorting.from_unit_dict(trains, RATE)
    sorting.set_property("main_channel_id", recording.channel_ids[[3, 11, 22]])
    retriever = SpikeRetriever(sorting, recording, **kwargs)
    for segment in range(2):
        frames = (segment, 400, 1000, 30)
        arguments = (traces[segment, 370:1030], 400, 1000, segment, 30, retriever.get_peak_slice(*frames))
        (theirs,) = retriever.compute(*arguments)
        with steadyspike.accelerate():
            (ours,) = retriever.compute(*arguments)
        assert theirs.size > 20
        assert ours.dtype == theirs.dtype
        for field in theirs.dtype.names:
            np.testing.assert_array_equal(ours[field], theirs[field])
    assert steadyspike.accelerated()["node_pipeline"].taken == 2
