"""Denoising judged on real noise: ``denoising-checks``, ``-injected``, ``-held-out``, ``-noise``, ``-teachers``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike_benchmarks.cli.denoising import Files, Seeds, Threads, checked_files, write_results
from steadyspike_benchmarks.cli.parsing import positive_numbers, shares_of_one, whole_numbers


def denoising_injected(
    recording: Annotated[Path, typer.Argument(help="Raw, in one segment, a few s: what can be loaded.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A bundled name, a folder, or hf:owner/name.")],
    level: Annotated[
        str, typer.Option("--level", help="Sizes of spikes in noise levels, with commas.")
    ] = "5,9",
    seed: Seeds = "0,1,2",
    threads: Threads = 1,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Add known spikes to a recording of your own, and measure what ways to denoise make of them.

    The recording is filtered and referenced as `steadyspike denoise` does it. Its own spikes count as noise.
    """
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.denoising_injected import injected_table, run_injected

        files = checked_files(output)
        found = run_injected(
            load_recording(recording),
            model,
            positive_numbers(level, "--level"),
            whole_numbers(seed, "--seed"),
            num_threads=threads,
        )
        tables = [f"{one:g} noise levels:\n\n{injected_table(rows)}" for one, rows in found.items()]
        write_results(files, found, "\n\n".join(tables))


def denoising_held_out(
    recording: Annotated[
        Path, typer.Argument(help="Raw, in one segment, some tenths of a s: what can be loaded.")
    ],
    model: Annotated[list[str], typer.Option("--model", "-m", help="A model; may be given several times.")],
    fit_until: Annotated[
        float, typer.Option("--fit-until", min=0.04, help="In s; what follows is judged on.")
    ] = 0.25,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Compare models with linear fits to a recording of your own, on a part that no fit has seen.

    With and without the phase shift, if the recording tells when its channels are sampled.
    """
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.denoising_held_out import held_out_losses, losses_table

        files, loaded = checked_files(output), load_recording(recording)
        known = loaded.get_property("inter_sample_shift") is not None
        found = {
            name: held_out_losses(loaded, model, fit_until, shifted)
            for name, shifted in (("as sampled", False), ("phase shift", True))
            if known or not shifted
        }
        write_results(files, found, losses_table(found))


def denoising_noise(
    recording: Annotated[
        Path, typer.Argument(help="Raw, in one segment, some tenths of a s: what can be loaded.")
    ],
    fit_until: Annotated[
        float, typer.Option("--fit-until", min=0.04, help="In s; what follows is compared with.")
    ] = 0.25,
    figure: Annotated[Path | None, typer.Option("--figure", help="A .png or .svg file to write.")] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="A .json file for the fitted model, as the package's own.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Fit the noise of a recording's first part, draw from the fit, and compare with the second part."""
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike.evaluation.figures.noise import plot_noise
        from steadyspike_benchmarks.denoising_noise import compare_noise, noise_table

        model, summaries = compare_noise(load_recording(recording), fit_until)
        if figure is not None:
            plot_noise(summaries).savefig(figure, dpi=150)
        if write is not None:
            digits = json.loads(
                json.dumps(model.to_dict()), parse_float=lambda number: float(f"{float(number):.4g}")
            )
            write.write_text(json.dumps(digits) + "\n", encoding="utf8")
        typer.echo(noise_table(summaries))


def denoising_teachers(
    recording: Annotated[
        Path, typer.Argument(help="Raw, in one segment, some tenths of a s: what can be loaded.")
    ],
    model: Annotated[list[str], typer.Option("--model", "-m", help="A model; may be given several times.")],
    start: Annotated[
        float, typer.Option("--start", min=0, help="What is judged on begins here, in s.")
    ] = 0.25,
    level: Annotated[
        str, typer.Option("--level", help="Sizes of spikes in noise levels, with commas.")
    ] = "5,9,15",
    seed: Seeds = "0,1,2",
    share: Annotated[
        str,
        typer.Option(
            "--share", help="Shares of the recorded traces kept with networks that see all samples, 0 to 1."
        ),
    ] = "0,0.5",
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Compare models, however they were taught, on spikes added to real noise; blind ones also fused."""
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.denoising_injected import prepare
        from steadyspike_benchmarks.denoising_teachers import compare_teachers, teachers_table

        shares = shares_of_one(share, "--share")
        files, ready = checked_files(output), prepare(load_recording(recording))
        found = compare_teachers(
            ready.frame_slice(round(start * ready.sampling_frequency), ready.get_num_samples()),
            *(model, positive_numbers(level, "--level"), whole_numbers(seed, "--seed")),
            shares=shares,
        )
        write_results(files, found, teachers_table(found))


def denoising_teach(
    name: Annotated[str, typer.Argument(help="steady-np1-seeing or steady-np2-seeing.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder; complete or not at all.")],
    recording: Annotated[
        Path | None, typer.Option("--recording", help="Raw, to judge it on. Default: drawn noise.")
    ] = None,
    start: Annotated[
        float, typer.Option("--start", min=0, help="What is judged on begins here, in s.")
    ] = 0.25,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the training.")] = 3000,
    budget_s: Annotated[
        float | None, typer.Option("--budget-s", help="Wall-clock seconds of it, at most. Default: no limit.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Teach a network that sees all samples by spikes added to noise, and write it with its card."""
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.denoising_teachers import teach
        from steadyspike_benchmarks.taught import PROBES, write_taught

        if name not in PROBES:
            raise UsageError(f"name={name!r} is not known; allowed: {', '.join(PROBES)}")
        loaded = None if recording is None else load_recording(recording)
        taught = teach(PROBES[name], steps, max_time_s=budget_s)
        made = write_taught(name, output, *taught, loaded, start)
        typer.echo(made.card)


def denoising_checks(
    recording: Annotated[
        Path | None,
        typer.Argument(help="Raw, in one segment, some tenths of a s, to check on besides drawn noise."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Bundled denoisers. Default: all of them.")
    ] = None,
    start: Annotated[
        float, typer.Option("--start", min=0, help="The recording is used from here on, in s.")
    ] = 0.25,
    level: Annotated[
        str, typer.Option("--level", help="Sizes of spikes in noise levels, with commas.")
    ] = "5,9,15",
    seed: Seeds = "0,1,2,3",
    share: Annotated[
        float | None,
        typer.Option("--share", min=0, max=1, help="Recorded share that is kept. Default: the recipe's."),
    ] = None,
    cards: Annotated[
        Path | None,
        typer.Option("--cards", help="Folder of the bundled models, to put the checks into their cards."),
    ] = None,
    output: Files = None,
    debug: Debug = False,
) -> None:
    """Make all artifact checks of the bundled denoisers, on spikes added to noise.

    Networks that see all samples are checked by the recipe for a sorter, others as they predict.
    """
    with clear_errors(debug):
        from steadyspike.core.loading import load_recording
        from steadyspike_benchmarks.denoising_checks import BUNDLED, check_denoisers, checks_text, write_cards

        files, names = checked_files(output), model or list(BUNDLED)
        unknown = [name for name in names if name not in BUNDLED]
        if unknown:
            raise UsageError(f"--model {', '.join(unknown)} is not known; allowed: {', '.join(BUNDLED)}")
        if share is not None and cards is not None:
            raise UsageError("--share is not for --cards, which hold the checks of the recipe")
        levels, seeds = positive_numbers(level, "--level"), whole_numbers(seed, "--seed")
        found = check_denoisers(
            {name: (name, BUNDLED[name]) for name in names},
            None if recording is None else load_recording(recording),
            **{"start_s": start, "levels": levels, "seeds": seeds, "share": share},
            tell=lambda line: typer.echo(line, err=True),
        )
        write_results(files, found, checks_text(found))
        if cards is not None:
            write_cards(cards, found, levels, seeds)


def register(app: typer.Typer) -> None:
    """Add these commands to ``python -m steadyspike_benchmarks``."""
    app.command("denoising-checks")(denoising_checks)
    app.command("denoising-injected")(denoising_injected)
    app.command("denoising-held-out")(denoising_held_out)
    app.command("denoising-noise")(denoising_noise)
    app.command("denoising-teachers")(denoising_teachers)
    app.command("denoising-teach")(denoising_teach)
