"""How many frames per second networks denoise, in one run on one machine.

Each network is measured as a lazy node, read in chunks of 1 s, and bare: images as large as pay go through the
network, and nothing else is done. Beside them stands the design of the first implementations of DeepInterpolation:
for each frame one read of its surroundings from the parent recording, and one pass through the network (Lecoq et al.
2021, and SpikeInterface's wrapper of it, which computes a batch of such frames at once).

Weights are not trained: what a pass takes does not depend on them. The parent is white noise in memory; on request
also that noise after `bandpass_filter` and `common_reference`, which every read of a frame computes anew.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from steadyspike_benchmarks.denoising import NETWORKS as TRAINED
from steadyspike_benchmarks.denoising import RIDGE, UNET
from steadyspike_benchmarks.device_peak import device_name, peak_of, wait_for
from steadyspike_benchmarks.speed import one_thread

SEEING = "seeing"
NETWORKS = {**TRAINED, SEEING: {"network": SEEING}}
"""What can be timed, untrained."""

RATE = 30_000.0
BLOCKS = {"cpu": (16, 64, 250, 400, 1000), "cuda": (250, 1000, 4000, 16_000), "mps": (250, 1000, 4000)}
"""Frames in an image that are tried; the fastest counts."""
NODE, BARE, UPSTREAM = "lazy node", "bare network", "a read and a pass per frame"
MEMORY, FILTERED = "memory", "filtered"
LEAST_S, WARM_FRAMES = 1.0, 64


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured.

    Parameters
    ----------
    networks : tuple of str
        Keys of `NETWORKS`.
    num_channels : int, default: 384
        Of a Neuropixels 1.0 probe.
    repeats : int, default: 3
        Measurements of each, in turns; the median counts.
    seconds : float, default: 2.0
        About what one measurement takes, above 0.
    devices : tuple of str or None, default: None
        "cpu", "cuda", "mps"; None: "cpu", and an accelerator if there is one.
    parents : tuple of str, default: ("memory", "filtered")
        What is denoised: traces in memory, or these band-passed and referenced.
    """

    networks: tuple[str, ...] = (SEEING, "blindspot-tiny", "blindspot-small", "blindspot-base", UNET, RIDGE)
    num_channels: int = 384
    repeats: int = 3
    seconds: float = 2.0
    devices: tuple[str, ...] | None = None
    parents: tuple[str, ...] = (MEMORY, FILTERED)


@dataclass(frozen=True, eq=False)
class Contender:
    """Something that denoises some frames when it is called with their number.

    Parameters
    ----------
    network, way, parent, device, precision : str
    run : callable
        Denoises about so many frames, and returns how many.
    multiply_adds : int
        That one frame takes.
    """

    network: str
    way: str
    parent: str
    device: str
    precision: str
    run: Callable[[int], int]
    multiply_adds: int


def run_denoising_speed(
    settings: SpeedSettings | None = None, tell: Callable[[str], None] = lambda line: None
) -> dict[str, Any]:
    """Measure all networks on all devices in turns; on a CPU with one thread.

    Parameters
    ----------
    settings : SpeedSettings or None, default: None
    tell : callable
        Called with one line for each result.

    Returns
    -------
    results : dict
        "settings", "machine", "devices" (names), "versions", "peaks" (multiply-adds per second of a large product of
        matrices, for each device and precision) and "rows": "network", "way", "parent", "device", "precision",
        "frames_per_s", "processor_frames_per_s" (by the processor's time), "multiply_adds", "share_of_peak" (on
        a CPU by the processor's time) and "real_time" (frames per second over 30,000).

    Raises
    ------
    ValueError
        For networks, devices or numbers that cannot be.
    """
    from steadyspike.core.environment import machine, versions

    settings = settings or SpeedSettings()
    devices = _devices(settings)
    with tempfile.TemporaryDirectory(prefix="steadyspike-speed-") as folder, one_thread():
        traces = np.random.default_rng(0).standard_normal((round(RATE), settings.num_channels), "float32")
        recordings = _parents(_recording(traces), settings.parents)
        contenders = [
            contender
            for device in devices
            for network in settings.networks
            for contender in _contenders(recordings, network, device, Path(folder))
        ]
        kinds = dict.fromkeys((one.device, one.precision) for one in contenders)
        peaks = {kind: peak_of(*kind) for kind in kinds}
        rows = list(_rows(contenders, peaks, settings, tell))
    return dict(
        settings=asdict(settings),
        machine=machine(),
        devices={device: device_name(device) for device in devices},
        versions=versions(),
        peaks={f"{device}, {precision}": peak for (device, precision), peak in peaks.items()},
        rows=rows,
    )


def _rows(
    contenders: list[Contender],
    peaks: Mapping[tuple[str, str], float],
    settings: SpeedSettings,
    tell: Callable[[str], None],
) -> Iterator[dict[str, Any]]:
    """Measure in turns, so that what else the machine does meets all alike."""
    frames = [_enough_frames(one, settings.seconds) for one in contenders]
    times: list[list[tuple[float, float]]] = [[] for _ in contenders]
    for _ in range(settings.repeats):
        for number, one in enumerate(contenders):
            start, processor = time.perf_counter(), time.process_time()
            done = one.run(frames[number])
            elapsed, busy = time.perf_counter() - start, time.process_time() - processor
            times[number].append((done / elapsed, done / max(busy, 1e-9)))
    for one, own in zip(contenders, times, strict=True):
        rate, by_processor = (median(values) for values in zip(*own, strict=True))
        own_rate = by_processor if one.device == "cpu" else rate
        tell(
            f"{one.network}, {one.way}, {one.parent}, {one.device} {one.precision}: {own_rate:,.0f} frames/s"
        )
        yield dict(
            network=one.network,
            way=one.way,
            parent=one.parent,
            device=one.device,
            precision=one.precision,
            frames_per_s=rate,
            processor_frames_per_s=by_processor if one.device == "cpu" else None,
            multiply_adds=one.multiply_adds,
            share_of_peak=own_rate * one.multiply_adds / peaks[one.device, one.precision],
            real_time=rate / RATE,
        )


def _devices(settings: SpeedSettings) -> tuple[str, ...]:
    from steadyspike.library.models.inference import resolve_device

    unknown = [name for name in settings.networks if name not in NETWORKS]
    if unknown or not settings.networks:
        raise ValueError(
            f"networks={list(settings.networks)} holds what is not known; allowed: {', '.join(NETWORKS)}"
        )
    if not settings.parents or not set(settings.parents) <= {MEMORY, FILTERED}:
        raise ValueError(f"parents={settings.parents} must be some of {MEMORY!r}, {FILTERED!r}")
    if settings.repeats < 1 or not settings.seconds > 0:
        raise ValueError(f"repeats={settings.repeats} must be at least 1, seconds={settings.seconds} above 0")
    if settings.devices is None:
        return tuple(dict.fromkeys(("cpu", resolve_device("auto"))))
    return tuple(resolve_device(device) for device in settings.devices)


def _recording(traces: np.ndarray) -> Any:
    from spikeinterface.core import NumpyRecording

    from steadyspike.simulation.probes import build_probe

    recording = NumpyRecording([traces], RATE)
    recording.set_probe(build_probe("np1", traces.shape[1]))
    return recording


def _parents(recording: Any, names: tuple[str, ...]) -> dict[str, Any]:
    from steadyspike.preprocessing.bandpass import bandpass_filter
    from steadyspike.preprocessing.common_reference import common_reference

    found = {MEMORY: recording, FILTERED: common_reference(bandpass_filter(recording))}
    return {name: found[name] for name in names}


def multiply_adds_per_frame(network: Any, rows: int, columns: int) -> int:
    """Multiply-adds that one more predicted frame takes, counted without computing anything."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    bare = copy.deepcopy(network).to("meta")
    before, after = network.context
    counted = []
    for frames in (100, 300):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            bare(torch.empty(1, before + frames + after, rows, columns, device="meta"))
        counted.append(counter.get_total_flops() // 2)
    return (counted[1] - counted[0]) // 200


def _contenders(recordings: dict[str, Any], name: str, device: str, folder: Path) -> list[Contender]:
    """List the ways to run one network on one device."""
    import torch

    from steadyspike.core.probe_layout import layout_of
    from steadyspike.preprocessing.deepinterpolation import deepinterpolate

    place, first = folder / name, next(iter(recordings.values()))
    network = untrained(first, name, place)
    mask = layout_of(first, arrangement=network.arrangement).mask[0]
    cost = multiply_adds_per_frame(network, *mask.shape)
    found = []
    # the paper's design knows no half precision, and on processors without it that takes longer still
    halves = device != "cpu" or (name == SEEING and torch.cpu._is_avx512_bf16_supported())
    for precision in ("float32", "half") if halves else ("float32",):
        bare = _bare(network, mask, device, precision)
        found.append(Contender(name, BARE, "none", device, precision, bare, cost))
        for parent, recording in recordings.items():
            node = deepinterpolate(recording, place, device=device, precision=precision)
            found.append(Contender(name, NODE, parent, device, precision, _reading(node), cost))
            if name == UNET and precision == "float32":
                run = _frame_by_frame(recording, network, device)
                found.append(Contender(name, UPSTREAM, parent, device, precision, run, cost))
    return found


def untrained(recording: Any, name: str, folder: Path) -> Any:
    """Make a network for a recording with fresh weights, and save it as a model if it is not there.

    Parameters
    ----------
    recording : BaseRecording
    name : str
        A key of `NETWORKS`.
    folder : Path
        Of the model.

    Returns
    -------
    network : nn.Module
        In evaluation mode.
    """
    from steadyspike.core.probe_layout import layout_of
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, config_of
    from steadyspike.library.models.folder import load_model
    from steadyspike.networks.linear import RidgeInterpolator
    from steadyspike.networks.seeing import Seeing
    from steadyspike.training.plan import choose_network
    from steadyspike.training.settings import DeepInterpolationTraining

    if not folder.is_dir():
        network: Any
        if name == RIDGE:
            layout_type = layout_of(recording).type
            network = RidgeInterpolator(layout_type.unit)
        elif name == SEEING:
            layout_type = layout_of(recording).type
            network = Seeing(layout_type.unit)
        else:
            chosen = choose_network([recording], None, DeepInterpolationTraining.of(**NETWORKS[name]))
            network, layout_type = chosen.network, chosen.layout_type
        config = config_of(network, layout_type, recording.get_sampling_frequency())
        DeepInterpolationModel(network.eval(), config).save(folder)
    return load_model(folder).network


def _reading(node: Any) -> Callable[[int], int]:
    """Read a lazy node in chunks of 1 s, or once what is less."""
    length = node.get_num_samples()

    def run(frames: int) -> int:
        if frames < length:
            return len(node.get_traces(start_frame=0, end_frame=max(frames, 1)))
        return sum(len(node.get_traces()) for _ in range(round(frames / length)))

    return run


def _bare(network: Any, mask: np.ndarray, device: str, precision: str) -> Callable[[int], int]:
    """Run images of the length that turns out to be the fastest through a network, folded where that is possible."""
    import torch

    from steadyspike.library.models.inference import Backend
    from steadyspike.networks.cost import bytes_needed

    backend = Backend(_copy(network).to(device), device, precision)
    live = torch.from_numpy(mask.astype("float32"))[None].to(device)
    before, after = backend.context
    fixed, each = bytes_needed(network, *mask.shape)
    limit = 1e9 if device == "cpu" else 8e9

    fold, folded = backend.folding, backend.folding is not None
    live = fold.fold_mask(live, live) if folded else live

    def image(block: int) -> Any:
        made = torch.randn(1, before + block + after, *mask.shape, device=device)
        return fold.fold(made).contiguous(memory_format=torch.channels_last) if folded else made

    def passes(block: int, number: int) -> float:
        values = image(block)
        backend(values, live, folded)
        wait_for(device)
        start = time.perf_counter()
        for _ in range(number):
            backend(values, live, folded)
        wait_for(device)
        return (time.perf_counter() - start) / (block * number)

    fits = [block for block in BLOCKS[backend.device.type] if fixed + each * block < limit] or [1]
    best = min(fits, key=lambda block: passes(block, max(1, 250 // block)))
    values = image(best)

    def run(frames: int) -> int:
        number = max(1, round(frames / best))
        for _ in range(number):
            backend(values, live, folded)
        wait_for(device)
        return best * number

    return run


def _copy(network: Any) -> Any:
    import copy

    return copy.deepcopy(network)


def _frame_by_frame(recording: Any, network: Any, device: str) -> Callable[[int], int]:
    """Denoise as the first implementations did: each frame is read for itself, and goes through the network alone."""
    import torch

    from steadyspike.core.normalization import measure_normalization
    from steadyspike.core.probe_layout import layout_of

    own = _copy(network).to(device)
    layout = layout_of(recording, arrangement=network.arrangement)
    center, scale = (values.astype("float32") for values in measure_normalization(recording))
    before, after = network.context
    seen = [*range(network.pre), *range(before + network.omission + 1, before + after + 1)]
    last = recording.get_num_samples() - after

    def run(frames: int) -> int:
        denoised = []
        with torch.inference_mode():
            for frame in range(before, min(before + frames, last)):
                traces = recording.get_traces(start_frame=frame - before, end_frame=frame + after + 1)
                image = torch.from_numpy(layout.scatter((traces[seen] - center) / scale)).to(device)
                denoised.append(layout.gather(own.predict(image).cpu().numpy())[0] * scale + center)
        run.denoised = np.array(denoised)  # type: ignore[attr-defined]
        return len(denoised)

    return run


def _enough_frames(one: Contender, seconds: float) -> int:
    """Find how many frames take about so many seconds; warms up on the way."""
    frames = one.run(WARM_FRAMES)
    # short reads compute more than they give, so that a busy machine must not shorten them
    clock = time.process_time if one.device == "cpu" else time.perf_counter
    while True:
        start = clock()
        done = one.run(frames)
        elapsed = clock() - start
        if elapsed > 0.2 * seconds or done < frames:
            return max(WARM_FRAMES, round(done * seconds / elapsed))
        frames *= 4
