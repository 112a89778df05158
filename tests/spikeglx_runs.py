"""Imitations of what SpikeGLX writes."""

import numpy as np

UV_PER_COUNT = 2.34375


def write_spikeglx_run(folder, traces, sampling_frequency, probe=0):
    """Write the smallest run that neo takes for SpikeGLX: an AP and an LF stream, each with its sync channel.

    `traces` (num_samples, num_channels) are int16, in counts of `UV_PER_COUNT`, of a Neuropixels 1.0 probe, which is
    added to a run that is there.
    """
    probe_folder = folder / f"{folder.name}_imec{probe}"
    probe_folder.mkdir(parents=True)
    num_channels = traces.shape[1]
    for band, rate in (("ap", sampling_frequency), ("lf", sampling_frequency / 10)):
        stem = f"{folder.name}_t0.imec{probe}.{band}"
        with_sync = np.hstack([traces, np.zeros((len(traces), 1), "int16")])
        with_sync.tofile(probe_folder / f"{stem}.bin")
        counts = f"{num_channels},0,1" if band == "ap" else f"0,{num_channels},1"
        names = "".join(f"({band.upper()}{i};{i}:{i})" for i in range(num_channels))
        names += f"(SY0;{num_channels}:{num_channels})"
        meta = {
            "imSampRate": rate,
            "snsApLfSy": counts,
            "nSavedChans": num_channels + 1,
            "fileSizeBytes": with_sync.nbytes,
            "imAiRangeMax": 0.6,
            "imAiRangeMin": -0.6,
            "imMaxInt": 512,
            "imDatPrb_type": 0,
            "typeThis": "imec",
            "imDatPrb_pn": "NP1000",
            "imDatPrb_sn": 1,
            "firstSample": 0,
            "fileName": f"D:/{stem}.bin",
            "~snsChanMap": f"({num_channels},{num_channels},1){names}",
            "~imroTbl": f"(0,{num_channels})" + "".join(f"({i} 0 0 500 250 1)" for i in range(num_channels)),
            "snsSaveChanSubset": f"0:{num_channels}",
        }
        text = "\n".join(f"{key}={value}" for key, value in meta.items())
        (probe_folder / f"{stem}.meta").write_text(text + "\n")
    return folder
