"""`train_deepinterpolation`: a DeepInterpolation network from lazy recordings, from scratch or fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.core.aside import locking
from steadyspike.core.environment import shows_progress
from steadyspike.core.settings import takes
from steadyspike.training.settings import DeepInterpolationTraining

if TYPE_CHECKING:
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel


@locking
@takes(DeepInterpolationTraining)
def train_deepinterpolation(
    recordings: Any,
    folder: str | Path,
    *,
    test_recordings: Any = None,
    init_from: Any = None,
    existing_model_path: str | Path | None = None,
    settings: DeepInterpolationTraining,
    resume: bool = False,
    overwrite: bool = False,
    progress_bar: bool | None = None,
) -> DeepInterpolationModel:
    """Train a network that predicts each sample from those around it, or fine-tune one.

    Windows are read from the lazy recordings in the background, normalized per channel with center and scale measured
    on each recording, and laid out by the probe (`steadyspike.core.probe_layout`). Windows never cross borders of
    segments or recordings. The loss leaves out missing and dead contacts, samples that are not finite, and samples
    without full context. The linear part of a fresh "blindspot" starts from a ridge regression. AdamW, with a
    warm-up and then a cosine; the weights with the lowest held-out loss are kept.

    While it runs, everything is in ``<folder>.training``: checkpoint, log and settings. At the end the model folder
    appears as a whole, with ``log.jsonl`` and ``loss.png`` beside the three files of a model. A run is resumed on the
    same recordings only, known by their chains and by pieces of what they hold, wherever they lie.

    Parameters
    ----------
    recordings : BaseRecording or list of BaseRecording
        With probes, of one layout type and sampling frequency; the numbers of channels may differ. Filtered and
        referenced, as they will be denoised.
    folder : str or Path
        The model folder that is written.
    test_recordings : BaseRecording or list of BaseRecording or None, default: None
        Held out instead of a part of `recordings`.
    init_from, existing_model_path : str, Path, DeepInterpolationModel or None, default: None
        The model to start from: the name of a bundled one, a folder, or a loaded model. It decides on network,
        context and normalization. Both names mean the same.
    {settings}
    resume : bool, default: False
        Resume the same run from its last checkpoint, if there is one: on the CPU, the weights are the same to the
        last bit as of a run that never stopped, unless time ends it. Returns the model if it is finished already.
    overwrite : bool, default: False
        Replace a model folder or an unfinished run.
    progress_bar : bool or None, default: None
        Show progress. None: as SpikeInterface's global job arguments say.
    **parameters
        Those of `network`, `optimizer` and `data` one by one, as ``max_steps=500, pre_ms=0.5``.

    Returns
    -------
    model : DeepInterpolationModel
        Loaded from `folder`. Scores are in ``model.config.extra["scores"]`` and on its card.

    Raises
    ------
    ValueError
        If a parameter cannot work or recordings do not fit each other; `ModelError` if `init_from` does not fit them.
        All before data is read.
    OtherSettingsError
        If an unfinished run was begun with other settings, or on recordings that hold something else; a `ValueError`.
    FileExistsError
        If `folder` or an unfinished run exists, and neither `resume` nor `overwrite` is set; if ``<folder>.training``
        is something else; or (`InUseError`) if another process is training there.
    TrainingInterrupted
        After Ctrl-C or SIGTERM, when the state is saved; a `KeyboardInterrupt`.

    References
    ----------
    Lecoq et al., "Removing independent noise in systems neuroscience data using DeepInterpolation", Nature Methods
    2021, doi:10.1038/s41592-021-01285-2.
    """
    from steadyspike.library.models.config import is_model_folder
    from steadyspike.library.models.find import own_folder
    from steadyspike.library.models.inference import resolve_device
    from steadyspike.training import plan as plans
    from steadyspike.training.devices import check_devices, find_precision
    from steadyspike.training.loop import own_random_numbers
    from steadyspike.training.run import Run

    folder = own_folder(folder, settings.part)
    optimizer, data = settings.optimizer, settings.data
    device = resolve_device(settings.device)
    check_devices(settings.devices, device, settings.precision)
    find_precision(settings.precision, device)

    listed = plans.as_recordings(recordings, "recordings")
    tested = [] if test_recordings is None else plans.as_recordings(test_recordings, "test_recordings")
    plans.as_recordings([*listed, *tested], "[*recordings, *test_recordings]")
    if init_from is not None and existing_model_path is not None:
        raise ValueError(
            f"{settings.part}: init_from and existing_model_path mean the same; allowed: one of them"
        )
    model = existing_model_path if init_from is None else init_from
    chosen = plans.choose_network([*listed, *tested], model, settings)
    layers = plans.choose_layers(chosen.network, optimizer.train_layers)
    train, test = plans.split(listed, tested, data)
    plan = plans.Plan(
        network=chosen.network,
        layout_type=chosen.layout_type,
        normalization=chosen.normalization,
        recordings=listed,
        test_recordings=tested,
        train=train,
        test=test,
        chunk_frames=data.chunk_frames or chosen.defaults.chunk_frames,
        test_windows=data.test_windows or chosen.defaults.test_windows,
        batch_size=optimizer.batch_size,
        seed=optimizer.seed,
        loss=optimizer.loss,
        focus=chosen.defaults.focus if optimizer.focus is None else optimizer.focus,
        trained_before=chosen.trained_before,
    )
    run = Run(
        plan=plan,
        loop=plans.choose_loop(settings, chosen),
        folder=folder,
        device=device,
        precision=settings.precision,
        devices=settings.devices,
        num_readers=settings.num_readers,
        progress_bar=shows_progress(progress_bar),
        linear_start=chosen.network.name == "blindspot" and chosen.start is None,
    )
    trained = "all" if optimizer.train_layers == "all" else ", ".join(layers)
    notes: dict[str, Any] = {
        "training": {"init_from": chosen.start, "train_layers": trained},
        "data_license": settings.data_license,
    }
    with own_random_numbers(plan.seed):
        if resume and is_model_folder(folder) and not (overwrite and run.work.exists()):
            return run.finished()
        resume = run.prepare(resume, overwrite)
        try:
            run.carry_out(resume)
        finally:
            run.drop_if_not_begun()
        return run.finish(notes, settings.license_name, overwrite)
