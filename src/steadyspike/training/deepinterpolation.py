"""`train_deepinterpolation`: a DeepInterpolation network from lazy recordings, from scratch or fine-tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel


def train_deepinterpolation(
    recordings: Any,
    folder: str | Path,
    *,
    train_start_s: float | None = None,
    train_end_s: float | None = None,
    train_duration_s: float | None = None,
    test_start_s: float | None = None,
    test_end_s: float | None = None,
    test_duration_s: float | None = None,
    test_recordings: Any = None,
    pre_frame: int | None = None,
    post_frame: int | None = None,
    pre_post_omission: int | None = None,
    pre_ms: float = 1.0,
    post_ms: float = 1.0,
    existing_model_path: str | Path | None = None,
    init_from: Any = None,
    train_layers: str | Sequence[str] = "all",
    network: str | None = None,
    size: str | None = None,
    network_kwargs: Mapping[str, Any] | None = None,
    normalization: str | None = None,
    loss: str = "mse",
    focus: float | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 1e-4,
    max_steps: int | None = None,
    max_time_s: float | None = None,
    batch_size: int = 4,
    chunk_frames: int | None = None,
    test_windows: int | None = None,
    evaluate_every: int | None = None,
    patience: int | None = 10,
    gap_s: float = 1.0,
    seed: int = 0,
    device: str = "auto",
    devices: int = 1,
    precision: str = "auto",
    num_readers: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    license_name: str = "unknown",
    data_license: str | None = None,
    progress_bar: bool = True,
) -> DeepInterpolationModel:
    """Train a network that predicts each sample from those around it, or fine-tune one.

    Windows are read from the lazy recordings in the background, normalized per channel with center and scale measured
    on each recording, and laid out by the probe (`steadyspike.core.probe_layout`). Windows never cross borders of
    segments or recordings. The loss leaves out missing and dead contacts, samples that are not finite, and samples
    without full context. The linear part of a fresh "blindspot" starts from a ridge regression. AdamW, with a
    warm-up and then a cosine; the weights with the lowest held-out loss are kept.

    While it runs, everything is in ``<folder>.training``: checkpoint, log and settings. At the end the model folder
    appears as a whole, with ``log.jsonl`` and ``loss.png`` beside the three files of a model.

    Parameters
    ----------
    recordings : BaseRecording or list of BaseRecording
        With probes, of one layout type and sampling frequency; the numbers of channels may differ. Filtered and
        referenced, as they will be denoised.
    folder : str or Path
        The model folder that is written.
    train_start_s, train_end_s, train_duration_s : float or None, default: None
        What is trained on, in s on the time line of all segments of all recordings one after another. None: all but
        what is held out.
    test_start_s, test_end_s, test_duration_s : float or None, default: None
        What is held out. All None: the last tenth of each stretch of training, 30 s at most, or all of
        `test_recordings`. Training leaves it out, and `gap_s` before and after it.
    test_recordings : BaseRecording or list of BaseRecording or None, default: None
        Held out instead of a part of `recordings`.
    pre_frame, post_frame : int or None, default: None
        Samples before and after the gap that the network sees; None: as `pre_ms` and `post_ms` tell.
        "blindspot" sees as much on both sides, at least the larger of them.
    pre_post_omission : int or None, default: None
        Hidden samples on each side of the predicted one; None: 1.
    pre_ms, post_ms : float, default: 1.0
        The same in ms, turned into samples at the sampling frequency.
    existing_model_path, init_from : str, Path, DeepInterpolationModel or None, default: None
        The model to start from: the name of a bundled one, a folder, or a loaded model. It decides on network,
        context and normalization.
    train_layers : {"all", "last"} or list of str, default: "all"
        What trains: all, what makes the output, or the parameters whose names start with a match of one of these
        regular expressions.
    network : {"blindspot", "unet_single_ephys_1024"} or None, default: None
        None: "blindspot".
    size : {"tiny", "small", "base"} or None, default: None
        Of "blindspot"; None: "small".
    network_kwargs : dict or None, default: None
        Other arguments of the class of the network, such as ``{"centre": 1}`` or ``{"width": 16}``.
    normalization : {"channel", "global", "none"} or None, default: None
        `steadyspike.core.normalization.measure_normalization`; None: "channel".
    loss : {"mse", "mae", "charbonnier"}, default: "mse"
        Squared, absolute, or smoothed absolute error in units of each channel's noise. "mean_squared_error" and
        "mean_absolute_error" mean the first two.
    focus : float or None, default: None
        How much more spikes weigh in training, 0 or more: each error counts ``1 + focus * min(|prediction|, 5)`` times.
        What is best to predict stays the same, but rare spikes are learnt sooner. None: 1 for "blindspot", 0 for the
        paper's network. Held-out losses are never weighted.
    learning_rate : float or None, default: None
        None: 5e-3 for "blindspot", 1e-3 for the paper's network; 0.3 times that with `init_from`.
    weight_decay : float, default: 1e-4
        Of AdamW.
    max_steps : int or None, default: None
        None: 5000, or 1000 with `init_from`, unless there is `max_time_s`.
    max_time_s : float or None, default: None
        Wall-clock budget of the training loop in s, evaluations included.
    batch_size : int, default: 4
        Windows in a step.
    chunk_frames : int or None, default: None
        Predicted samples in a window; None: 256, or 32 for the paper's network. Fewer where recordings are shorter.
    test_windows : int or None, default: None
        Held-out windows, spread evenly; None: 32, or 16 for the paper's network. They are kept in memory.
    evaluate_every : int or None, default: None
        Steps between evaluations and checkpoints; None: a twentieth of `max_steps`, 200 at most. A checkpoint is also
        written each minute.
    patience : int or None, default: 10
        Evaluations without a lower held-out loss after which training stops; None: never.
    gap_s : float, default: 1.0
        Around what is held out, used for nothing; 0 or more.
    seed : int, default: 0
        Of first weights and windows.
    device : str, default: "auto"
        "cpu", "cuda", "cuda:1", "mps"; "auto": cuda, else mps, else cpu.
    devices : int, default: 1
        Above 1: Lightning Fabric, as many processes (``pip install steadyspike[train]``). A script then needs
        ``if __name__ == "__main__":``.
    precision : {"auto", "float32", "bfloat16", "float16"}, default: "auto"
        Of the arithmetic; "auto": a half precision on cuda, float32 elsewhere.
    num_readers : int, default: 1
        Threads that read recordings.
    resume : bool, default: False
        Go on from the last checkpoint of the same run, if there is one: on the CPU, the weights are the same to the
        last bit as of a run that never stopped, unless time ends it. Returns the model if it is finished already.
    overwrite : bool, default: False
        Replace a model folder or an unfinished run.
    license_name : str, default: "unknown"
        Of the weights, for the model card.
    data_license : str or None, default: None
        Of what was trained on, such as "cc-by-4.0", for the model card and ``model.config.extra``; None: not told.
    progress_bar : bool, default: True

    Returns
    -------
    model : DeepInterpolationModel
        Loaded from `folder`. Scores are in ``model.config.extra["scores"]`` and on its card.

    Raises
    ------
    ValueError
        If a parameter cannot work or recordings do not fit each other; `ModelError` if `init_from` does not fit them.
        All before data is read.
    FileExistsError
        If `folder` or an unfinished run exists, and neither `resume` nor `overwrite` is set.
    TrainingInterrupted
        After Ctrl-C or SIGTERM, when the state is saved; a `KeyboardInterrupt`.

    References
    ----------
    Lecoq et al., "Removing independent noise in systems neuroscience data using DeepInterpolation", Nature Methods
    2021, doi:10.1038/s41592-021-01285-2.
    """
    from steadyspike.core.stretches import TimeRange
    from steadyspike.library.hub.cards import check_licenses
    from steadyspike.library.models.inference import resolve_device
    from steadyspike.training import plan as plans
    from steadyspike.training.devices import check_devices, find_precision
    from steadyspike.training.loop import LoopSettings
    from steadyspike.training.run import Run, finished

    folder = Path(folder).expanduser().absolute()
    check_licenses(license_name, data_license)
    loss = plans.find_loss(loss)
    for name, value, least in (
        *(
            ("batch_size", batch_size, 1),
            ("chunk_frames", chunk_frames, 1),
            ("test_windows", test_windows, 1),
        ),
        *(("max_steps", max_steps, 1), ("evaluate_every", evaluate_every, 1), ("patience", patience, 1)),
        *(("seed", seed, 0), ("num_readers", num_readers, 1), ("pre_post_omission", pre_post_omission, 0)),
    ):
        if value is not None:
            plans.check_least(value, name, least)
    plans.check_above_zero(learning_rate=learning_rate, max_time_s=max_time_s)
    for name, amount in (("weight_decay", weight_decay), ("focus", focus or 0.0)):
        if not 0 <= amount < float("inf"):
            raise ValueError(f"{name}={amount} must be 0 or more")
    device = resolve_device(device)
    check_devices(devices, device, precision)
    find_precision(precision, device)

    listed = plans.as_recordings(recordings, "recordings")
    tested = [] if test_recordings is None else plans.as_recordings(test_recordings, "test_recordings")
    plans.as_recordings([*listed, *tested], "[*recordings, *test_recordings]")
    chosen = plans.choose_network(
        [*listed, *tested],
        plans.one_model(init_from, existing_model_path),
        {"network": network, "size": size, "network_kwargs": network_kwargs, "normalization": normalization},
        {"pre_frame": pre_frame, "post_frame": post_frame, "pre_post_omission": pre_post_omission},
        (pre_ms, post_ms),
        seed,
    )
    layers = plans.choose_layers(chosen.network, train_layers)
    train, test = plans.split(
        listed,
        tested,
        TimeRange(train_start_s, train_end_s, train_duration_s),
        TimeRange(test_start_s, test_end_s, test_duration_s),
        gap_s,
    )
    defaults = plans.DEFAULTS[chosen.name]
    plan = plans.Plan(
        network=chosen.network,
        layout_type=chosen.layout_type,
        normalization=chosen.normalization,
        recordings=listed,
        test_recordings=tested,
        train=train,
        test=test,
        chunk_frames=chunk_frames or defaults.chunk_frames,
        test_windows=test_windows or defaults.test_windows,
        batch_size=batch_size,
        seed=seed,
        trained_before=chosen.trained_before,
    )
    plans.check_windows(plan)
    if max_steps is None and max_time_s is None:
        max_steps = 5000 if chosen.start is None else 1000
    if learning_rate is None:
        learning_rate = defaults.learning_rate * (1 if chosen.start is None else plans.FINE_TUNING_SLOWDOWN)
    loop = LoopSettings(
        loss=loss,
        focus=defaults.focus if focus is None else focus,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup_steps=min(100, (max_steps or 2000) // 20),
        max_steps=max_steps,
        max_time_s=max_time_s,
        evaluate_every=evaluate_every or max(1, min(200, (max_steps or 4000) // 20)),
        patience=patience,
    )
    linear_start = chosen.name == "blindspot" and chosen.start is None
    run = Run(plan, loop, folder, device, precision, devices, num_readers, progress_bar, linear_start)
    if resume and finished(folder) and not (overwrite and run.work.exists()):
        return run.tidied()
    resume = run.prepare(resume, overwrite)
    notes: dict[str, Any] = {
        "training": {"init_from": chosen.start, "train_layers": _layers_in_words(train_layers, layers)},
        "data_license": data_license,
    }
    with plans.own_random_numbers(seed):
        try:
            run.carry_out(resume)
        finally:
            run.drop_if_not_begun()
        return run.finish(notes, license_name, overwrite)


def _layers_in_words(train_layers: str | Sequence[str], chosen: Sequence[str]) -> str:
    return "all" if train_layers == "all" else ", ".join(chosen)
