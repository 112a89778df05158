"""The models that ship with the package, trained on simulated recordings alone by `benchmark train-bundled`.

Recordings of a probe are simulated with other units, amplitudes, noise and drift in each, the network is trained on
them, and judged beside a linear interpolation that was fitted on the same recordings, on recordings of other seeds.
The card of the model says where it comes from, and how it scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from steadyspike.evaluation.denoising.tables import markdown_table
from steadyspike.simulation.noisy import AMPLITUDE_SPREAD, AMPLITUDES_UV, NOISE_LEVELS_UV
from steadyspike_benchmarks.denoising import NETWORKS, RIDGE, judge, rows_of
from steadyspike_benchmarks.denoising_data import NoisyCase, train_ridge
from steadyspike_benchmarks.denoising_tables import COLUMNS

LICENSE = "mit"
FIRST_SEED = 500_000
"""Training recordings have seeds from here on, which no study uses for what it judges on."""
NOISE_FACTORS = (1.0, 0.75, 1.5)
LOG, FIGURE = "log.jsonl", "loss.png"


@dataclass(frozen=True)
class BundledModel:
    """How a bundled model is made.

    Parameters
    ----------
    probe : str
        A key of `steadyspike.simulation.drift.PROBES`.
    doc : str
        What it is for, in one line.
    network : str, default: "blindspot-small"
        A key of `steadyspike_benchmarks.denoising.NETWORKS`, none but blind-spot networks: others are too large.
    """

    probe: str
    doc: str
    network: str = "blindspot-small"


BUNDLED = {
    "steady-np1": BundledModel("np1", "Neuropixels 1.0 probes, and others with their pattern of contacts"),
    "steady-np2": BundledModel("np2", "Neuropixels 2.0 probes with one or four shanks"),
}


@dataclass(frozen=True)
class BundledSettings:
    """How a bundled model is trained and judged.

    Parameters
    ----------
    budget_s : float, default: 3600.0
        Wall-clock time of the training in s; above 0.
    recordings, train_s : int, float, default: 6, 60.0
        Simulated recordings to train on, and the length of each in s.
    tests, test_s : int, float, default: 2, 30.0
        Those that it is judged on.
    num_channels : int or None, default: None
        Contacts; None: the probe's usual number. The network runs on any number.
    network : str or None, default: None
        Another one than the model's own.
    noise : str, default: "coloured"
        Of what it is trained and judged on, as `simulate_noisy_recording` has it.
    learning_rate : float or None, default: None
        As `train_deepinterpolation` takes it.
    max_steps : int or None, default: None
        Limit on the steps, beside the time.
    device : str, default: "auto"
        To train and judge on.
    num_threads : int, default: 1
        Of torch, on a CPU.
    """

    budget_s: float = 3600.0
    recordings: int = 6
    train_s: float = 60.0
    tests: int = 2
    test_s: float = 30.0
    num_channels: int | None = None
    network: str | None = None
    noise: str = "coloured"
    learning_rate: float | None = None
    max_steps: int | None = None
    device: str = "auto"
    num_threads: int = 1

    def cases(self, probe: str) -> tuple[list[NoisyCase], list[NoisyCase]]:
        """List the recordings to train on, and those to judge on."""
        train = [
            NoisyCase(
                *(probe, FIRST_SEED + number, self.num_channels, self.train_s, factor),
                clean=False,
                noise=self.noise,
            )
            for number, factor in zip(range(self.recordings), NOISE_FACTORS * self.recordings, strict=False)
        ]
        test = [
            NoisyCase(probe, seed, self.num_channels, self.test_s, noise=self.noise)
            for seed in range(self.tests)
        ]
        return train, test


def train_bundled(
    name: str,
    folder: str | Path,
    *,
    work: str | Path | None = None,
    settings: BundledSettings | None = None,
    overwrite: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    progress_bar: bool = True,
) -> Any:
    """Simulate, train, judge, and write the folder of a bundled model.

    Parameters
    ----------
    name : str
        A key of `BUNDLED`.
    folder : str or Path
        Of the model; it appears when it is complete.
    work : str or Path or None, default: None
        For recordings (15 MB per second of 128 channels) and the unfinished training, which goes on from there if it
        was interrupted. It is kept. None: beside `folder`, with ".work" after its name.
    settings : BundledSettings or None, default: None
    overwrite : bool, default: False
        Replace a model folder that is there.
    tell : callable
        Called with one line for each step.
    progress_bar : bool, default: True

    Returns
    -------
    model : DeepInterpolationModel

    Raises
    ------
    ValueError
        For a name that is not known, or settings that cannot be; before anything is simulated.
    FileExistsError
        If `folder` exists, and `overwrite` is False or it is no model folder.
    """
    from steadyspike.library.hub.artifact import CONFIG
    from steadyspike.library.models.folder import load_model, save_model
    from steadyspike.library.models.inference import torch_threads

    settings, folder = settings or BundledSettings(), Path(folder).expanduser().absolute()
    if name not in BUNDLED:
        raise ValueError(f"name={name!r} is not known; allowed: {', '.join(BUNDLED)}")
    made = replace(BUNDLED[name], network=settings.network or BUNDLED[name].network)
    allowed = [one for one in NETWORKS if one.startswith("blindspot")]
    if made.network not in allowed:
        raise ValueError(f"network={made.network!r} cannot be bundled; allowed: {', '.join(allowed)}")
    for what, value in (
        ("budget_s", settings.budget_s),
        ("recordings", settings.recordings),
        ("tests", settings.tests),
    ):
        if not value > 0:
            raise ValueError(f"{what}={value} must be above 0")
    if folder.exists() and not (overwrite and (folder / CONFIG).is_file()):
        raise FileExistsError(
            f"{folder} exists already; overwrite=True replaces a model folder, and nothing else"
        )
    work = folder.with_name(f"{folder.name}.work") if work is None else Path(work).expanduser().absolute()
    train, test = settings.cases(made.probe)
    with torch_threads(settings.num_threads):
        model, ridge = _trained(name, made, train, work, settings, tell, progress_bar)
        scores = _scores({"this network": model, "linear interpolation": ridge}, test, work, settings, tell)
    simulation = dict(
        train=[case.name for case in train],
        test=[case.name for case in test],
        amplitudes_uV=list(AMPLITUDES_UV),
        amplitude_spread=AMPLITUDE_SPREAD,
        noise_levels_uV=list(NOISE_LEVELS_UV),
        noise_factors=sorted({case.noise_factor for case in train}),
        scores=scores,
    )
    extra = {**model.config.extra, "trained_on_simulation_only": True, "simulation": simulation}
    config = type(model.config).model_validate({**model.config.model_dump(), "extra": extra})
    card = _card(name, made, model.card, scores, train, test)
    beside = [model.folder / file for file in (LOG, FIGURE)]
    save_model(folder, model.network, config, card, overwrite=True, beside=beside)
    tell(f"{folder} is written")
    return load_model(folder)


def _trained(
    name: str,
    made: BundledModel,
    train: Sequence[NoisyCase],
    work: Path,
    settings: BundledSettings,
    tell: Callable[[str], None],
    progress_bar: bool,
) -> tuple[Any, Any]:
    """Train the network, and fit the linear interpolation on the same recordings."""
    from steadyspike.library.models.folder import load_model
    from steadyspike.training.deepinterpolation import train_deepinterpolation

    recordings = []
    for case in train:
        recordings.append(case.load(work).recording)
        recordings[-1].name = f"simulated: {case.name}"
        tell(f"{case.name} is there")
    model = train_deepinterpolation(
        recordings,
        work / "models" / name,
        **NETWORKS[made.network],
        learning_rate=settings.learning_rate,
        max_time_s=settings.budget_s,
        max_steps=settings.max_steps,
        patience=None,
        device=settings.device,
        resume=True,
        license_name=LICENSE,
        progress_bar=progress_bar,
    )
    tell(f"{name} is trained")
    place = work / "models" / f"{name}-{RIDGE}"
    return model, load_model(place) if place.is_dir() else train_ridge(recordings, place)


def _scores(
    models: dict[str, Any],
    test: Sequence[NoisyCase],
    work: Path,
    settings: BundledSettings,
    tell: Callable[[str], None],
) -> dict[str, dict[str, float | None]]:
    """Judge models on all test recordings; means over these, and of the recordings as they are."""
    found: dict[str, list[dict[str, Any]]] = {}
    for case in test:
        for name, model in models.items():
            rows = rows_of(judge(model, case, work, settings.device, settings.num_threads))
            found.setdefault(name, []).append(rows["summary"])
        found.setdefault("no denoising", []).append(rows["raw"])
        tell(f"judged on {case.name}")
    return {
        name: {
            column: fmean(known)
            if (known := [row[column] for row in rows if row[column] is not None])
            else None
            for column in COLUMNS
        }
        for name, rows in found.items()
    }


def _card(
    name: str,
    made: BundledModel,
    card: str,
    scores: dict[str, dict[str, float | None]],
    train: Sequence[NoisyCase],
    test: Sequence[NoisyCase],
) -> str:
    """Put into the card of the training where the data come from, and how the model scored."""
    title, low, high = f"# {name}\n", *NOISE_LEVELS_UV
    factors = sorted({case.noise_factor for case in train})
    warning = "\n".join(
        [
            "",
            "> **Trained on simulation only.** This network has never seen a real recording. Fine-tune it on yours,",
            "> and check it there, before you rely on it:",
            f'> `steadyspike.train_deepinterpolation(recording, "my-model", init_from="{name}")`.',
            "",
            f"For {made.doc}, at 30 kHz.",
            "",
        ]
    )
    about = "\n".join(
        [
            "## Simulation",
            "",
            f"Trained on {len(train)} recordings of {train[0].duration_s:g} s ({made.probe}, {train[0].num_channels} "
            "channels), each with units, templates, spike trains, drift (a random walk within 20 um) and noise of its "
            f"own: amplitudes of {AMPLITUDES_UV[0]:g} to {AMPLITUDES_UV[1]:g} uV, noise of {low * factors[0]:g} to "
            f"{high * factors[-1]:g} uV, correlated between contacts and from sample to sample, above 300 Hz and not "
            "low-passed, without a common reference.",
            "",
            f"Judged on the last three quarters of {len(test)} recordings of {test[0].duration_s:g} s and other seeds, "
            "against their traces without noise:",
            "",
            _score_table(scores),
            "",
            "Errors are in noise levels of each channel; amplitude and shape bias and d' are medians over units. The",
            "linear interpolation is a ridge regression fitted on the same training recordings. Made by",
            f"`python -m steadyspike_benchmarks train-bundled {name}`.",
            "",
            "",
        ]
    )
    # the title that training gave is the name of its folder
    return card.replace(title, title + warning, 1).replace("## Data\n", about + "## Data\n", 1)


def _score_table(scores: dict[str, dict[str, float | None]]) -> str:
    rows = []
    for column, label in COLUMNS.items():
        values = [own[column] for own in scores.values()]
        rows.append([label, *("-" if value is None else f"{value:.3f}" for value in values)])
    return markdown_table(["", *scores], rows)
