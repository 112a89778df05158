"""Cut-outs of threshold crossings against a plain loop."""

import numpy as np
import pytest
import spikeinterface.full as si

import steadyspike
from steadyspike.peaks.spike_cutouts import SpikeCutouts

RATE = 10_000.0
QUIET = dict(n_jobs=1, progress_bar=False)


def traces(seed=0, length=9_000, channels=3):
    rng = np.random.default_rng(seed)
    found = rng.standard_normal((length, channels)).astype("float32")
    found[length // 2 :] *= 4  # noise that changes
    for channel in range(channels):
        for sample in rng.integers(0, length, length // 150):
            found[sample : sample + 4, channel] -= 10.0 if sample < length // 2 else 40.0
    return found


def recording(*segments, **kwargs):
    return si.NumpyRecording(list(segments), RATE, **kwargs)


def by_hand(x, threshold, block, period, nbefore, nafter, sign):
    starts = list(range(0, len(x), block))
    if len(starts) > 1 and len(x) - starts[-1] < block / 2:
        starts.pop()
    found = []
    for channel in range(x.shape[1]):
        last = -(10**9)
        for sample in range(1, len(x)):
            first = max(start for start in starts if start <= sample)
            stop = min([start for start in starts if start > first] or [len(x)])
            part = x[first:stop, channel].astype("float64")
            now, before = x[sample, channel] - part.mean(), x[sample - 1, channel] - part.mean()
            limit = threshold * part.std()
            beyond = {"neg": lambda v, k=limit: v < -k, "pos": lambda v, k=limit: v > k,
                      "both": lambda v, k=limit: abs(v) > k}[sign]  # fmt: skip
            if beyond(now) and not beyond(before) and sample - last >= period:
                last = sample
                if sample - nbefore >= 0 and sample + nafter <= len(x):
                    found.append((sample, channel, x[sample - nbefore : sample + nafter, channel]))
    return sorted(found, key=lambda one: one[:2])


@pytest.mark.parametrize("sign", ["neg", "pos", "both"])
def test_against_a_plain_loop(sign):
    x = traces(length=2_300) if sign == "neg" else -traces(length=2_300)
    cutouts = steadyspike.peaks.cut_spikes(
        recording(x),
        threshold=3.0,
        block_s=0.1,
        refractory_ms=2.0,
        ms_before=0.5,
        ms_after=1.5,
        peak_sign=sign,
        **QUIET,
    )
    expected = by_hand(x, 3.0, 1000, 20, 5, 15, sign)
    assert len(expected) > 30
    np.testing.assert_array_equal(cutouts.peaks["sample_index"], [one[0] for one in expected])
    np.testing.assert_array_equal(cutouts.peaks["channel_index"], [one[1] for one in expected])
    np.testing.assert_array_equal(cutouts.waveforms, [one[2] for one in expected])
    largest = [one[2][5:][np.abs(one[2][5:]).argmax()] for one in expected]
    np.testing.assert_array_equal(cutouts.peaks["amplitude"], np.float32(largest))


def test_chunks_and_jobs_do_not_matter():
    parts = traces(0), traces(1, length=4_321), np.zeros((0, 3), "float32")
    one = steadyspike.peaks.cut_spikes(recording(*parts), block_s=0.2, **QUIET)
    other = steadyspike.peaks.cut_spikes(
        recording(*parts),
        block_s=0.2,
        n_jobs=2,
        pool_engine="thread",
        chunk_duration="0.05s",
        progress_bar=False,
    )
    np.testing.assert_array_equal(one.peaks, other.peaks)
    np.testing.assert_array_equal(one.waveforms, other.waveforms)
    assert set(one.peaks["segment_index"]) == {0, 1}
    alone = steadyspike.peaks.cut_spikes(recording(parts[1]), block_s=0.2, **QUIET)
    np.testing.assert_array_equal(one.waveforms[one.peaks["segment_index"] == 1], alone.waveforms)


def test_threshold_follows_the_noise():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40_000, 1)).astype("float32")
    x[20_000:] *= 10
    fixed = steadyspike.peaks.cut_spikes(recording(x), threshold=3.5, block_s=4.0, **QUIET)
    adapting = steadyspike.peaks.cut_spikes(recording(x), threshold=3.5, block_s=1.0, **QUIET)
    late = [np.mean(found.peaks["sample_index"] >= 20_000) for found in (fixed, adapting)]
    assert late[0] == 1.0
    assert 0.2 < late[1] < 0.8


def test_window_of_the_older_work_at_30_khz():
    x = traces()
    cutouts = steadyspike.peaks.cut_spikes(si.NumpyRecording([x], 30_000.0), **QUIET)
    assert cutouts.waveforms.shape[1] == 42
    assert cutouts.waveforms.dtype == np.float32


def test_saved_as_arrays(tmp_path):
    cutouts = steadyspike.peaks.cut_spikes(recording(traces()), **QUIET)
    cutouts.save(tmp_path / "cutouts")
    again = SpikeCutouts.load(tmp_path / "cutouts")
    np.testing.assert_array_equal(again.peaks, cutouts.peaks)
    np.testing.assert_array_equal(again.waveforms, cutouts.waveforms)
    assert again.settings == cutouts.settings
    assert [path.name for path in tmp_path.iterdir()] == ["cutouts"]
    with pytest.raises(FileExistsError):
        cutouts.save(tmp_path / "cutouts")


def test_int16_constant_and_broken_traces():
    x = (100 * traces()).astype("int16")
    as_float = steadyspike.peaks.cut_spikes(recording(x.astype("float32")), **QUIET)
    as_int = steadyspike.peaks.cut_spikes(recording(x), **QUIET)
    np.testing.assert_array_equal(as_int.waveforms, as_float.waveforms)
    broken = traces()
    broken[:, 1] = 3.0
    broken[100:200, 0] = np.nan
    found = steadyspike.peaks.cut_spikes(recording(broken), **QUIET)
    assert 1 not in found.peaks["channel_index"]
    assert {0, 2} <= set(found.peaks["channel_index"].tolist())
    assert len(steadyspike.peaks.cut_spikes(recording(np.zeros((3, 2), "float32")), **QUIET).peaks) == 0


@pytest.mark.parametrize(
    "wrong",
    [dict(threshold=0.0), dict(block_s=-1.0), dict(refractory_ms=-1.0), dict(ms_before=-0.1), dict(ms_after=0.0),
     dict(peak_sign="up"), dict(threshold=np.nan)],
)  # fmt: skip
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        steadyspike.peaks.cut_spikes(recording(traces()), **wrong)


@pytest.mark.parametrize("hum", [50, 60])
def test_preset_takes_out_the_hum(hum):
    time = np.arange(30_000) / RATE
    tones = {frequency: np.sin(2 * np.pi * frequency * time) for frequency in (hum, 5 * hum, 1000)}
    x = np.stack(list(tones.values()), axis=1).astype("float32")
    steps = steadyspike.load_preset(f"spike_front_end_{hum}hz").steps
    steps[-1]["params"]["freq_max"] = 4000.0
    filtered = si.apply_preprocessing_pipeline(recording(x), steps).get_traces()[10_000:20_000]
    power = filtered.std(axis=0) / x.std(axis=0)
    assert power[0] < 0.01
    assert power[1] < 0.05
    assert power[2] > 0.95
