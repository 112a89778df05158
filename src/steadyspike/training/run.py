"""A training run from its plan to the finished model folder."""

from __future__ import annotations

import copy
import hashlib
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from steadyspike.core.aside import refuse_existing
from steadyspike.core.environment import versions
from steadyspike.core.identity import describe_recording
from steadyspike.core.probe_layout import ProbeLayout
from steadyspike.core.unfinished import WorkFolder
from steadyspike.library.models.config import is_model_folder
from steadyspike.library.models.deepinterpolation import (
    DeepInterpolationModel,
    ModelConfig,
    Normalization,
    config_of,
)
from steadyspike.library.models.folder import save_model
from steadyspike.library.models.provenance import chain_of, note_stretches
from steadyspike.networks.cost import num_parameters
from steadyspike.training.baseline import fit_ridge, score, start_linear
from steadyspike.training.cards import interpolation_card
from steadyspike.training.checkpoint import CHECKPOINT, Progress, read_checkpoint
from steadyspike.training.devices import FabricRuntime, Runtime, find_precision
from steadyspike.training.log import FIGURE, LOG, TrainingLog, save_loss_figure
from steadyspike.training.loop import LoopSettings, fit, own_random_numbers
from steadyspike.training.plan import Plan
from steadyspike.training.tasks import Interpolation
from steadyspike.training.windows import Batch, Source, Windows

IN_SETTINGS = ("learning_rate", "weight_decay", "clip_norm")
"""What of the loop's settings a result depends on, other than how long it trains."""
RIDGE_ROWS, MOST_RIDGE_BATCHES = 200_000, 400


@dataclass(frozen=True, eq=False)
class Run:
    """A plan with the way to carry it out."""

    plan: Plan
    loop: LoopSettings
    folder: Path
    device: str
    precision: str
    devices: int = 1
    num_readers: int = 1
    progress_bar: bool = True
    linear_start: bool = False

    @property
    def work(self) -> Path:
        """Folder for the checkpoint and log until the model is finished."""
        return work_folder(self.folder).path

    def settings(self) -> dict[str, Any]:
        """What a result depends on, other than how long it trains; to resume, it must be the same."""
        plan = self.plan
        loop = {name: getattr(self.loop, name) for name in IN_SETTINGS}
        recordings = (*plan.recordings, *plan.test_recordings)
        return {
            "network": plan.network.name,
            "sizes": plan.network.sizes,
            "trained": [name for name, weights in plan.network.named_parameters() if weights.requires_grad],
            "layout": asdict(plan.layout_type),
            "normalization": plan.normalization,
            "recordings": [
                [one.get_num_channels(), one.get_total_samples(), float(one.sampling_frequency)]
                for one in recordings
            ],
            "recording": {str(index): describe_recording(one) for index, one in enumerate(recordings)},
            **{"train": plan.train, "test": plan.test, "test_windows": plan.test_windows},
            **{"chunk_frames": plan.chunk_frames, "batch_size": plan.batch_size, "seed": plan.seed},
            **{"devices": self.devices, "linear_start": self.linear_start},
            **{"loss": plan.loss, "focus": plan.focus, **loop},
            "first_weights": _sha256(plan.network),
        }

    def prepare(self, resume: bool, overwrite: bool) -> bool:
        """Make the work folder; return whether there is something to resume.

        Raises `FileExistsError` if there is a model or an unfinished run, and neither `resume` nor `overwrite` was
        asked for, and `ValueError` if a run is to be resumed with other settings.
        """
        if self.folder.exists() and not overwrite:
            raise FileExistsError(f"{self.folder} exists already; pass overwrite=True to replace a model")
        refuse_existing(self.folder, is_model_folder, overwrite, "model folder, so it is not replaced")
        work, settings = work_folder(self.folder), self.settings()
        if resume and work.check(settings):
            return True
        if work.exists() and not (resume or overwrite):
            raise FileExistsError(
                f"{self.work} holds an unfinished run; "
                "pass resume=True to go on, or overwrite=True to start anew"
            )
        work.discard()
        work.begin(settings)
        return False

    def carry_out(self, resume: bool) -> None:
        """Train, on one device or several; the result is the checkpoint."""
        if self.devices == 1:
            device = torch.device(self.device)
            self.train(Runtime(device, find_precision(self.precision, device)), resume)
            return
        from lightning.fabric import Fabric

        # neither runs the caller's script again from its start; Lightning does not spawn from notebooks
        strategy = "ddp_notebook" if "ipykernel" in sys.modules else "ddp_spawn"
        fabric = Fabric(accelerator=torch.device(self.device).type, devices=self.devices, strategy=strategy)
        # bound to the function, as Lightning walks through arguments and refuses frozen ones
        fabric.launch(partial(_train_in_process, run=self, resume=resume))

    def train(self, runtime: Runtime, resume: bool) -> None:
        """Train in this process."""
        sources, test_sources = self.sources()
        windows = self.plan.windows(sources)
        held_out = self.plan.windows(test_sources, test=True).spread(self.plan.test_windows)
        network = self.plan.network.to(runtime.device)
        begun = time.monotonic()
        resume = resume and (self.work / CHECKPOINT).is_file()
        if self.linear_start and not resume:
            whole = replace(self.plan, batch_size=self.plan.batch_size * runtime.num_ranks)
            start_linear(network, _some(whole.windows(sources), sources[0].layout))
        spent_s = time.monotonic() - begun

        plan = self.plan
        task = Interpolation(network, windows, held_out, plan.loss, plan.focus, runtime, self.num_readers)
        bar = self.progress_bar
        fit(task, self.loop, runtime, self.work, resume=resume, progress_bar=bar, spent_s=spent_s)

    def sources(self) -> tuple[list[Source], list[Source]]:
        """Measure recordings: those to train on, and those held out."""
        sources = self.plan.measured()
        return sources, self.plan.measured(test=True) if self.plan.test_recordings else sources

    def finish(self, notes: dict[str, Any], license_name: str, overwrite: bool) -> DeepInterpolationModel:
        """Score the best weights and write the model folder."""
        progress, parts = read_checkpoint(self.work)
        network: Any = self.plan.network
        network.load_state_dict(parts["best"])
        network.to(self.device).eval()
        sources, test_sources = self.sources()
        scores = self._scores(network, sources, test_sources)
        config = self._config(network.cpu(), sources, test_sources, progress, {**notes, "scores": scores})
        lines = TrainingLog(self.work).lines()
        ridge = (scores["linear interpolation"] or {}).get(self.plan.loss)
        save_loss_figure(self.work, lines, self.plan.loss, ridge)
        card = interpolation_card(config, self.folder.name, license_name, FIGURE)
        beside = [self.work / name for name in (LOG, FIGURE)]
        save_model(self.folder, network, config, card, overwrite=overwrite, beside=beside)
        return self.finished()

    def finished(self) -> DeepInterpolationModel:
        """Delete what is left of the work, and return the finished model."""
        work = work_folder(self.folder)
        if work.settings() is not None:
            work.discard()
        return DeepInterpolationModel.load(self.folder)

    def drop_if_not_begun(self) -> None:
        """Remove the work folder if there is nothing to resume."""
        if not (self.work / CHECKPOINT).is_file():
            work_folder(self.folder).discard()

    def _scores(self, network: Any, sources: list[Source], test_sources: list[Source]) -> dict[str, Any]:
        plan, context = self.plan, network.context
        held_out = plan.windows(test_sources, test=True).spread(plan.test_windows)
        lattice, flat = (
            [source.rearranged("lattice") for source in some] for some in (sources, test_sources)
        )
        layout = lattice[0].layout
        some = _some(plan.windows(lattice), layout)
        ridge = fit_ridge(layout.type.unit, context, network.omission, some)
        spread = plan.windows(flat, test=True).spread(plan.test_windows)
        return {
            "this network": score(network, held_out, context, self.device),
            "linear interpolation": score(ridge, spread, context) if ridge else None,
            "predicting the median": score(None, held_out, context),
        }

    def _config(
        self,
        network: nn.Module,
        sources: list[Source],
        test_sources: list[Source],
        progress: Progress,
        notes: dict[str, Any],
    ) -> ModelConfig:
        plan = self.plan
        if test_sources is sources:
            described = [_described(one, index, plan.train, plan.test) for index, one in enumerate(sources)]
        else:
            described = [_described(one, index, plan.train, []) for index, one in enumerate(sources)]
            described += [_described(one, index, [], plan.test) for index, one in enumerate(test_sources)]
        alone = sources[0] if len(sources) == 1 else None
        normalization = Normalization(
            method=cast(Any, plan.normalization),
            center=None if alone is None else alone.center.tolist(),
            # a dead channel has none
            scale=None if alone is None else [value or 1.0 for value in alone.scale.tolist()],
        )
        training = {
            **notes.pop("training"),
            **{"loss": plan.loss, "focus": plan.focus, "learning_rate": self.loop.learning_rate},
            **{"seed": plan.seed},
            **{"batch_size": plan.batch_size, "chunk_frames": plan.chunk_frames},
            **{"steps": progress.step, "best_step": progress.best_step, "stopped": progress.stopped},
            **{"elapsed_s": round(progress.elapsed_s, 1), "device": self.device, "devices": self.devices},
            **{"initial_loss": progress.initial_loss, "best_loss": progress.best_loss},
        }
        extra = {
            "num_parameters": num_parameters(network),
            "training": training,
            "recordings": described,
            "trained_on": [*plan.trained_before, *note_stretches(plan.recordings, plan.train)],
            "versions": versions(),
            **notes,
        }
        rate = float(plan.recordings[0].sampling_frequency)
        return config_of(network, plan.layout_type, rate, normalization, extra)


def work_folder(folder: Path) -> WorkFolder:
    """Give the folder in which a model is trained."""
    begin_anew = "overwrite=True with resume=False"
    return WorkFolder(folder.with_name(f"{folder.name}.training"), "training", begin_anew)


def _train_in_process(fabric: Any, run: Run, resume: bool) -> None:
    # weights that come from another process share its memory
    plan = replace(run.plan, network=copy.deepcopy(run.plan.network))
    runtime = FabricRuntime(fabric, find_precision(run.precision, fabric.device))
    with own_random_numbers(plan.seed):
        replace(run, plan=plan).train(runtime, resume)


def _some(windows: Windows, layout: ProbeLayout) -> Iterator[Batch]:
    """As many batches as a linear regression needs."""
    unit = layout.type.unit
    units = max(1, layout.mask.size // (len(unit) * len(unit[0])))
    wanted = -(-RIDGE_ROWS // (windows.batch_size * windows.frames * units))
    return windows.stream(0, min(wanted, MOST_RIDGE_BATCHES))


def _described(source: Source, index: int, train: list[Any], test: list[Any]) -> dict[str, Any]:
    rate = source.recording.sampling_frequency
    seconds = [
        sum(one.stop - one.start for one in part if one.recording == index) / rate for part in (train, test)
    ]
    return {
        "description": str(source.recording.name),
        "preprocessing": chain_of(source.recording),
        "is_filtered": bool(source.recording.is_filtered()),
        "num_channels": source.recording.get_num_channels(),
        "dead_channels": int(source.layout.dead.sum()),
        "segments": source.recording.get_num_segments(),
        **{"train_s": round(seconds[0], 3), "test_s": round(seconds[1], 3)},
    }


def _sha256(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for values in network.state_dict().values():
        digest.update(values.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
