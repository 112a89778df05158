"""How well networks denoise after the same training time on the same simulated data.

Each network is trained on recordings of some seeds for a stated wall-clock time and judged on a recording of another
seed, against its traces without noise. Where several learning rates are given, each gets the whole time, and the one
with the lowest loss on what the training held out is judged; the recording that is judged on has no say in it.

A study's folder holds `recordings/`, `models/`, `evaluations/` and `results/`; what is there is not done again, so a
study that was interrupted goes on where it stopped, in the middle of a training too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from steadyspike.core.plain import plain_json
from steadyspike.simulation.noisy import SIZES
from steadyspike_benchmarks.code_version import module_key, settings_key
from steadyspike_benchmarks.denoising_data import NoisyCase, train_ridge, training_cases
from steadyspike_benchmarks.study_peaks import write_aside

UNET, RIDGE = "unet_single_ephys_1024", "ridge"
NETWORKS: dict[str, dict[str, Any]] = {
    **{
        f"blindspot-{size}{'-centre' if centre else ''}": {
            "network": "blindspot",
            "size": size,
            "network_kwargs": {"centre": 1} if centre else {},
        }
        for centre in (False, True)
        for size in ("tiny", "small", "base")
    },
    # sees 1.6 ms on each side by its linear part, which is enough to foretell noise that went through a highpass
    "blindspot-long": {
        "network": "blindspot",
        "size": "tiny",
        "network_kwargs": {"kernel": 4, "dilations": [1, 4], "linear_taps": 48, "linear_reach": 0},
    },
    UNET: {"network": UNET},
    RIDGE: {"network": RIDGE},
}
"""What can be compared, with arguments of `train_deepinterpolation`."""
DEFAULT_NETWORKS = ("blindspot-small", UNET, RIDGE)
JUDGED_FROM = 0.25
"""The first quarter of the judged recording is for the linear interpolation that is fitted on the recording itself."""


@dataclass(frozen=True)
class StudySettings:
    """How networks are trained and judged.

    Parameters
    ----------
    budget_s : float, default: 600.0
        Wall-clock time of each training in s, with its evaluations; above 0.
    train_recordings : int, default: 3
        Recordings to train on.
    train_s, test_s : float, default: 60.0, 20.0
        Length of each of them, and of the one that is judged on.
    num_channels : int or None, default: None
        Contacts; None: the probes' usual numbers, 128 of "np1" and "np2".
    noise : {"coloured", "white"}, default: "coloured"
        Correlated in space and time, or in space only (`simulate_noisy_recording`).
    learning_rates : mapping of str to tuple of float
        Under "blindspot" and "unet_single_ephys_1024", those to try; empty: the default of `train_deepinterpolation`.
    loss : str, default: "mse"
        Of the training, the same for all networks.
    max_steps : int or None, default: None
        Limit on the steps, beside the time.
    device : str, default: "auto"
        To train and judge on.
    num_threads : int, default: 1
        Of torch, on a CPU.
    """

    budget_s: float = 600.0
    train_recordings: int = 3
    train_s: float = 60.0
    test_s: float = 20.0
    num_channels: int | None = None
    noise: str = "coloured"
    learning_rates: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    loss: str = "mse"
    max_steps: int | None = None
    device: str = "auto"
    num_threads: int = 1

    def rates(self, network: str) -> tuple[float | None, ...]:
        """Learning rates that a network is trained with; None stands for the default."""
        return tuple(self.learning_rates.get(NETWORKS[network]["network"], ())) or (None,)

    def trained_alike(self) -> dict[str, Any]:
        """What a training depends on beside network, learning rate and data."""
        return dict(budget_s=self.budget_s, loss=self.loss, max_steps=self.max_steps)


def run_denoising_benchmark(
    folder: str | Path,
    *,
    networks: Iterable[str] = DEFAULT_NETWORKS,
    probes: Iterable[str] = ("np1", "np2"),
    seeds: Iterable[int] = (0,),
    settings: StudySettings | None = None,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = True,
) -> list[dict[str, Any]]:
    """Train networks for the same time and judge each on a recording that it has not seen.

    Parameters
    ----------
    folder : str or Path
        Of the study; what is there is not done again.
    networks : iterable of str
        Keys of `NETWORKS`.
    probes : iterable of str, default: ("np1", "np2")
        Of `steadyspike.simulation.drift`.
    seeds : iterable of int, default: (0,)
        Of the recordings that are judged on; those trained on have seeds from ``1000 * (seed + 1)``.
    settings : StudySettings or None, default: None
        None: the defaults.
    tell : callable
        Called with one line for each result.
    progress_bar : bool, default: True

    Returns
    -------
    results : list of dict
        All in the folder, see `load_results`.

    Raises
    ------
    ValueError
        For a network or probe that is not known, or settings that cannot work; before anything is simulated.
    """
    folder, settings = Path(folder), settings or StudySettings()
    networks, seeds = list(networks), list(seeds)
    unknown = [name for name in networks if name not in NETWORKS]
    if unknown or not networks:
        raise ValueError(f"networks={networks} holds what is not known; allowed: {', '.join(NETWORKS)}")
    if not settings.budget_s > 0:
        raise ValueError(f"budget_s={settings.budget_s} must be above 0")
    cases = [
        (
            NoisyCase(probe, seed, settings.num_channels, settings.test_s, noise=settings.noise),
            training_cases(
                probe,
                seed,
                settings.train_recordings,
                settings.num_channels,
                settings.train_s,
                settings.noise,
            ),
        )
        for seed in seeds
        for probe in probes
    ]
    for test, train in tqdm(cases, desc="denoising benchmark", disable=not progress_bar):
        for network in networks:
            file = folder / "results" / f"{result_name(network, test, train, settings)}.json"
            if file.is_file():
                continue
            result = _measured(folder, network, test, train, settings, progress_bar)
            text = json.dumps(result, indent=1).encode("utf8")
            write_aside(file, lambda stream, text=text: stream.write(text))
            tell(
                f"{network} on {test.name}: error {result['summary']['rms_error']:.4f} after "
                f"{result['training'].get('steps', '-')} steps"
            )
    return load_results(folder)


def load_results(folder: str | Path) -> list[dict[str, Any]]:
    """Read all results of a study.

    Returns
    -------
    results : list of dict
        Each with "network", "probe", "seed", "settings", "device", "training" (of the chosen learning rate; "tried"
        lists all), "num_parameters", "summary", "raw", "linear" and "center" (rows of `DenoisingEvaluation.summary`),
        "sizes" (rows of its `by_size`) and "code".
    """
    folder, results = Path(folder), []
    for file in sorted((folder / "results").glob("*.json")):
        result = json.loads(file.read_text(encoding="utf8"))
        evaluation = json.loads(
            (folder / "evaluations" / file.stem / "evaluation.json").read_text(encoding="utf8")
        )
        center = next(row for row in evaluation["summary"] if row["method"] == "center")
        results.append(dict(result, center=center))
    return results


def result_name(network: str, test: NoisyCase, train: list[NoisyCase], settings: StudySettings) -> str:
    """Name what depends on all of these; results of other settings lie beside it."""
    alike = [settings.trained_alike(), settings.rates(network), [case.name for case in train]]
    return f"{test.name}-{network}-{settings_key(alike)}"


def _trained_alike(train: list[NoisyCase], settings: StudySettings) -> list[Any]:
    """Give what all trainings of a network share, whatever their learning rates."""
    return [settings.trained_alike(), [case.name for case in train]]


def code() -> str:
    """Give the key of the code that results depend on."""
    return settings_key(
        [module_key("steadyspike_benchmarks.denoising"), module_key("steadyspike.networks.blindspot")]
    )


def _measured(
    folder: Path,
    network: str,
    test: NoisyCase,
    train: list[NoisyCase],
    settings: StudySettings,
    progress_bar: bool,
) -> dict[str, Any]:
    from steadyspike.core.environment import machine, versions
    from steadyspike.library.models.inference import resolve_device, torch_threads
    from steadyspike.networks.cost import num_parameters

    recordings = [case.load(folder).recording for case in train]
    models = folder / "models" / f"{test.name}-{network}-{settings_key(_trained_alike(train, settings))}"
    with torch_threads(settings.num_threads):
        tried = [
            _trained(models, network, rate, recordings, test.seed, settings, progress_bar)
            for rate in settings.rates(network)
        ]
        model, training = min(tried, key=lambda one: one[1].get("best_loss") or 0.0)
    evaluation = judge(model, test, folder, settings.device, settings.num_threads)
    name = result_name(network, test, train, settings)
    evaluation.save(folder / "evaluations" / name, overwrite=True)
    return plain_json(
        dict(
            network=network,
            probe=test.probe,
            seed=test.seed,
            settings={**asdict(settings), "num_channels": test.num_channels},
            device=resolve_device(settings.device),
            training={**training, "tried": [one for _, one in tried]},
            num_parameters=num_parameters(model.network),
            **rows_of(evaluation),
            code=code(),
            versions=versions(),
            machine=machine(),
        )
    )


def judge(model: Any, test: NoisyCase, folder: str | Path, device: str = "auto", num_threads: int = 1) -> Any:
    """Evaluate a model on the last three quarters of a recording."""
    from steadyspike.evaluation.denoising.evaluate import evaluate_deepinterpolation

    judged = test.load(folder)
    return evaluate_deepinterpolation(
        judged.recording,
        model,
        judged.sorting,
        judged.clean,
        start_s=JUDGED_FROM * test.duration_s,
        end_s=test.duration_s,
        snr_classes=(SIZES["small"][1], SIZES["medium"][1]),
        device=device,
        num_threads=num_threads,
        progress_bar=False,
    )


def rows_of(evaluation: Any) -> dict[str, Any]:
    """Give the rows of an evaluation's tables: "summary", "raw" and "linear" of all units, "sizes" of the model's."""
    rows = {row["method"]: row for row in evaluation.summary.to_dict("records")}
    sizes = [row for row in evaluation.by_size.to_dict("records") if row["method"] == "model"]
    return plain_json(dict(summary=rows["model"], raw=rows["raw"], linear=rows.get("linear"), sizes=sizes))


def _trained(
    folder: Path,
    network: str,
    rate: float | None,
    recordings: list[Any],
    seed: int,
    settings: StudySettings,
    progress_bar: bool,
) -> tuple[Any, dict[str, Any]]:
    """Train with one learning rate, or load what was trained; the model, and what is known of its training."""
    from steadyspike.library.models.folder import load_model
    from steadyspike.training.deepinterpolation import train_deepinterpolation

    if network == RIDGE:
        place = folder / RIDGE
        model = load_model(place) if place.is_dir() else train_ridge(recordings, place, seed=seed)
        return model, dict(learning_rate=None)
    model = train_deepinterpolation(
        recordings,
        folder / ("rate-default" if rate is None else f"rate-{rate:g}"),
        **NETWORKS[network],
        loss=settings.loss,
        learning_rate=rate,
        max_time_s=settings.budget_s,
        max_steps=settings.max_steps,
        patience=None,
        seed=seed,
        device=settings.device,
        resume=True,
        progress_bar=progress_bar,
    )
    return model, dict(model.config.extra["training"])
