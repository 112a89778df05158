"""Writes what is in this folder; run once, with release 0.1.0, and not to be run again: ``python make.py``.

`tests/test_saved_by_0_1_0.py` loads it with today's code. Absolute paths in JSON files became "{folder}", which the
test replaces by where its copy of this folder lies, and the indentation of chains is gone; everything else is as 0.1.0
wrote it. `make_parent.py`, `make_chains.py` and `make_models.py` are parts of it.
"""

import json
import re
import shutil
import signal
import tempfile
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import torch
from make_chains import motion_of, write_chains
from make_models import write_models
from make_parent import QUIET, parent_in_memory, write_parent

import steadyspike
from steadyspike.motion import OnlineMotionEstimator, save_motion
from steadyspike.peaks import on_disk
from steadyspike.training import loop, run

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def write_presets(folder):
    (folder / "presets").mkdir()
    for name in steadyspike.list_presets():
        preset = steadyspike.load_preset(name).replace(name=f"lab_{name}", doc=f"As {name}; ours")
        if preset.kind == "motion":
            # "both", which steady_neural has never taken
            sign = "pos" if preset.detect_kwargs["method"] == "steady_neural" else "both"
            preset = preset.replace(detect_kwargs={**preset.detect_kwargs, "peak_sign": sign})
        steadyspike.save_preset(preset, folder / "presets" / f"{name}.toml")
        loaded = steadyspike.load_preset(folder / "presets" / f"{name}.toml")
        content = dict(kind=loaded.kind, name=loaded.name, doc=loaded.doc)
        content |= dict(parameters=loaded.parameters) if loaded.kind == "motion" else dict(steps=loaded.steps)
        (folder / "presets" / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def write_peaks(folder):
    recording = parent_in_memory(folder)
    settings = dict(
        preset="steady_nonrigid", detect_kwargs=dict(detect_threshold=5.0), chunk_duration="10ms", **QUIET
    )
    (folder / "peaks").mkdir()
    steadyspike.compute_peaks(recording, folder / "peaks" / "finished", **settings)
    calls = []
    work = on_disk.run_node_pipeline

    def only_once(*args, **kwargs):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return work(*args, **kwargs)

    on_disk.run_node_pipeline = only_once
    try:
        steadyspike.compute_peaks(recording, folder / "peaks" / "unfinished", **settings)
    except KeyboardInterrupt:
        on_disk.run_node_pipeline = work
    for leftover in (folder / "peaks" / "unfinished").glob(".unfinished-*"):
        shutil.rmtree(leftover)


def write_motions(folder):
    (folder / "motions").mkdir()
    motion = motion_of(method="nearest")
    np.savez(
        folder / "motions" / "expected.npz",
        spatial_bins_um=motion.spatial_bins_um,
        **{f"displacement{index}": array for index, array in enumerate(motion.displacement)},
        **{f"times{index}": array for index, array in enumerate(motion.temporal_bins_s)},
    )
    motion.save(folder / "motions" / "saved")
    save_motion(motion, folder / "motions" / "spikeinterface", format="spikeinterface")
    save_motion(motion, folder / "motions" / "dredge", format="dredge", segment_index=1)
    save_motion(motion, folder / "motions" / "medicine", format="medicine", segment_index=1)
    estimator = OnlineMotionEstimator(
        20.0 * np.arange(7),
        **dict(bin_s=0.5, win_step_um=40.0, win_scale_um=50.0, warmup_s=4.0, half_life_s=30.0),
        **dict(max_displacement_um=40.0, max_segment_displacement_um=60.0, start_s=0.5),
    )
    times, depths, amplitudes = online_spikes()
    early = times < 9.3
    estimator.push(times[early], depths[early], amplitudes[early])
    estimator.save(folder / "motions" / "online.npz")
    estimator.push(times[~early], depths[~early], amplitudes[~early])
    estimator.finish()
    np.savez(
        folder / "motions" / "online_expected.npz",
        times_s=times[~early],
        depths_um=depths[~early],
        amplitudes=amplitudes[~early],
        displacement=estimator.motion().displacement[0],
    )


def online_spikes():
    """Spikes of some units that drift, over 14 s."""
    rng = np.random.default_rng(4)
    times = np.sort(rng.uniform(0.5, 14.0, 1_000))
    unit = rng.integers(0, 4, times.size)
    depths = 30.0 * unit + 20 + 8 * np.sin(times) + rng.normal(0, 3, times.size)
    return times, depths, -60.0 - 5 * unit + rng.normal(0, 2, times.size)


def write_cutouts(folder):
    recording = parent_in_memory(folder)
    arguments = dict(threshold=3.5, block_s=0.02, refractory_ms=0.8, ms_before=0.3, ms_after=0.7)
    cutouts = steadyspike.cut_spikes(recording, **arguments, peak_sign="both", **QUIET)
    cutouts.save(folder / "cutouts")


def write_training(folder):
    """A run that Ctrl-C stopped in its 7th step, and the model that it becomes."""
    arguments = dict(
        **dict(size="tiny", pre_ms=0.15, post_ms=0.15, max_steps=12, batch_size=2, chunk_frames=32),
        **dict(test_windows=4, gap_s=0.001, device="cpu", progress_bar=False, learning_rate=2e-3),
        network_kwargs=dict(features=4, dilations=[1], depth_dilations=[1], linear_taps=2, centre_features=2),
    )
    run.RIDGE_ROWS = 10_000
    recording = parent_in_memory(folder)
    with tempfile.TemporaryDirectory() as place:
        model = steadyspike.train_deepinterpolation(recording, Path(place) / "model", **arguments)
        (folder / "training").mkdir()
        np.savez(
            folder / "training" / "expected.npz",
            **{name: weights.numpy() for name, weights in model.network.state_dict().items()},
        )
    (folder / "training" / "arguments.json").write_text(json.dumps(arguments, indent=1) + "\n")
    step = loop._Loop.step

    def with_ctrl_c(self, batch):
        if self.progress.step == 6:
            signal.raise_signal(signal.SIGINT)
        step(self, batch)

    loop._Loop.step = with_ctrl_c
    try:
        steadyspike.train_deepinterpolation(recording, folder / "training" / "model", **arguments)
    except loop.TrainingInterrupted:
        loop._Loop.step = step


def public_paths():
    """Where the documentation and `steadyspike.__all__` say that things are."""
    found = {f"steadyspike.{name}" for name in steadyspike.__all__}
    found |= {f"{steadyspike._MODULES[name]}.{name}" for name in steadyspike.__all__ if name != "__version__"}
    api = (ROOT / "docs" / "api" / "index.rst").read_text(encoding="utf8")
    found |= {f"steadyspike.{name}" for name in re.findall(r"^   (?!:)([\w.]+)$", api, re.MULTILINE)}
    # imported from in the package's own words: `steadyspike.motion` names what docs/api lists one level deeper too
    pages = [
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "tutorials").glob("*.py"),
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
    ]
    for page in pages:
        text = page.read_text(encoding="utf8")
        for module, names in re.findall(r"from (steadyspike[\w.]*) import \(?([\w, \n]+)", text):
            found |= {f"{module}.{name.split()[0]}" for name in names.split(",") if name.split()}
        found |= set(re.findall(r"import (steadyspike(?:\.\w+)+)", text))
        found |= {name.rstrip(".") for name in re.findall(r"(?<![\w/.])steadyspike(?:\.\w+)+", text)}
    return sorted(path for path in found if _is_there(path))


def _is_there(path):
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for name in parts[length:]:
            if not hasattr(found, name):
                print("not there:", path)
                return False
            found = getattr(found, name)
        return True
    return False


def shorten_chains(folder):
    for file in (folder / "chains").glob("*.json"):
        text = json.dumps(json.loads(file.read_text(encoding="utf8")), separators=(",", ":"))
        file.write_text(text.replace(str(folder), "{folder}") + "\n", encoding="utf8")


def main():
    assert steadyspike.__version__ == "0.1.0"
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        for write in (write_parent, write_models, write_chains, write_presets, write_peaks):
            write(folder)
        for write in (write_motions, write_cutouts, write_training):
            write(folder)
        shorten_chains(folder)
        (folder / "public_paths.txt").write_text("\n".join(public_paths()) + "\n", encoding="utf8")
        for new in folder.iterdir():
            old = HERE / new.name
            if old.is_dir():
                shutil.rmtree(old)
            (shutil.copytree if new.is_dir() else shutil.copy)(new, old)


if __name__ == "__main__":
    main()
