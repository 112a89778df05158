"""Folders as Kilosort and phy write them, made by hand, with everything that is true about them."""

import numpy as np

FS, DURATION_S, NUM_CHANNELS, NUM_SAMPLES = 30_000.0, 60.0, 48, 61
POSITIONS = np.column_stack([np.tile([11.0, 43.0], 24), np.repeat(np.arange(24) * 20.0, 2)])
NUM_UNITS = 12
PEAKS_UV = np.linspace(80.0, 300.0, NUM_UNITS)
GAIN_UV = 2.5


def trains(seed=0, num_units=NUM_UNITS, rate=20.0, refractory_s=0.004):
    """Spike times in samples, of renewal processes that are refractory."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_units):
        gaps = refractory_s + rng.exponential(1 / rate - refractory_s, int(3 * rate * DURATION_S))
        times = np.cumsum(gaps)
        found.append(np.round(times[times < DURATION_S - 0.1] * FS).astype("int64"))
    return found


def whitening(seed=1):
    """Some whitening matrix that is not symmetric, near to a multiple of the identity."""
    rng = np.random.default_rng(seed)
    return (0.1 * np.eye(NUM_CHANNELS) + 0.002 * rng.normal(size=(NUM_CHANNELS, NUM_CHANNELS))).astype(
        "float32"
    )


def channels():
    """Channel on which each unit is largest, the deepest unit first."""
    return np.linspace(4, NUM_CHANNELS - 5, NUM_UNITS).astype(int)


def templates_before_whitening():
    """Mean waveforms in counts: `PEAKS_UV` peak to peak on the largest channel."""
    shape = np.zeros(NUM_SAMPLES)
    shape[20], shape[26] = -0.75, 0.25
    found = np.zeros((NUM_UNITS, NUM_SAMPLES, NUM_CHANNELS), dtype="float64")
    for unit, channel in enumerate(channels()):
        distance = np.linalg.norm(POSITIONS - POSITIONS[channel], axis=1)
        found[unit] = np.outer(shape, PEAKS_UV[unit] / GAIN_UV * np.exp(-distance / 20.0))
    return found


def spikes(seed=0):
    """Times, units, and positions around each unit's place, in the order of time."""
    rng = np.random.default_rng(seed)
    each = trains(seed)
    times = np.concatenate(each)
    units = np.repeat(np.arange(NUM_UNITS), [len(one) for one in each])
    order = np.argsort(times, kind="stable")
    times, units = times[order], units[order]
    places = POSITIONS[channels()][units] + rng.normal(0, 1.5, (len(units), 2))
    amplitudes = PEAKS_UV[units] / 10 * rng.normal(1, 0.05, len(units))
    return times, units, places.astype("float32"), amplitudes.astype("float32")


def ops(**other):
    """What Kilosort4 says of a run whose batches have 2 s."""
    settings = {
        "fs": FS,
        "batch_size": 60_000,
        "Th_universal": 9,
        "acg_threshold": 0.2,
        "ccg_threshold": 0.25,
    }
    return {
        **settings,
        "settings": settings,
        "nblocks": 1,
        "Nbatches": 30,
        "yblk": np.array([230.0]),
        "dshift": np.zeros((30, 1)),
        "kcoords": np.zeros(NUM_CHANNELS),
        **other,
    }


def save_ops(folder, **other):
    np.save(folder / "ops.npy", np.array(ops(**other), dtype=object), allow_pickle=True)


def kilosort4_folder(folder, seed=0, **other):
    """Write a whole folder of Kilosort4; `other` goes into ops.npy."""
    times, units, places, amplitudes = spikes(seed)
    folder.mkdir(parents=True, exist_ok=True)
    matrix = whitening()
    arrays = dict(
        spike_times=times, spike_clusters=units.astype("int32"), spike_templates=units.astype("int32"),
        spike_positions=places, amplitudes=amplitudes, channel_positions=POSITIONS.astype("float32"),
        channel_map=np.arange(NUM_CHANNELS) + 3, channel_shanks=np.zeros(NUM_CHANNELS),
        templates=(templates_before_whitening() @ matrix.T).astype("float32"),
        templates_ind=np.tile(np.arange(NUM_CHANNELS), (NUM_UNITS, 1)),
        whitening_mat=np.eye(NUM_CHANNELS) / 200, whitening_mat_dat=matrix,
        similar_templates=np.eye(NUM_UNITS), pc_features=np.zeros((len(times), 6, 10), "float32"),
        pc_feature_ind=np.tile(np.arange(10), (NUM_UNITS, 1)),
    )  # fmt: skip
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    save_ops(folder, **other)
    (folder / "params.py").write_text(
        f"dat_path = 'x.bin'\nn_channels_dat = 50\nsample_rate = {FS}\nhp_filtered = False\n"
    )
    table(folder, "KSLabel", ["good"] * (NUM_UNITS - 1) + ["mua"])
    table(folder, "ContamPct", [f"{5.0 * unit:.1f}" for unit in range(NUM_UNITS)])
    return folder


def table(folder, name, values, file=None, units=None):
    """Write a table of clusters as Kilosort and phy do."""
    units = range(len(values)) if units is None else units
    lines = [f"cluster_id\t{name}", *(f"{unit}\t{value}" for unit, value in zip(units, values, strict=True))]
    (folder / f"{file or f'cluster_{name}'}.tsv").write_text("\n".join(lines) + "\n")


def kilosort25_folder(folder, seed=0):
    """Write what Kilosort 2.5 writes: columns, no positions, no ops.npy, templates on 16 channels each."""
    kilosort4_folder(folder, seed)
    for name in ("spike_times", "spike_clusters", "spike_templates", "amplitudes"):
        array = np.load(folder / f"{name}.npy")
        np.save(
            folder / f"{name}.npy", array.astype("uint64" if "spike" in name else "float64")[:, np.newaxis]
        )
    full = np.load(folder / "templates.npy")
    near = np.argsort(-np.ptp(full, axis=1), axis=1)[:, :16]
    np.save(folder / "templates.npy", np.take_along_axis(full, near[:, np.newaxis], axis=2))
    np.save(folder / "templates_ind.npy", near.astype("float64"))
    for name in (
        "ops",
        "spike_positions",
        "channel_shanks",
        "whitening_mat_dat",
        "pc_features",
        "pc_feature_ind",
    ):
        (folder / f"{name}.npy").unlink()
    return folder
