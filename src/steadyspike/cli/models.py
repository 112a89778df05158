"""``steadyspike models``: list, show, test, pull, push and import models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli.errors import Debug, UsageError, clear_errors
from steadyspike.cli.options import Device
from steadyspike.cli.sharing import OnHub, Reference, Repository, Words, takes_push

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(
    help="List, show, share and convert models.",
    no_args_is_help=True,
    epilog="""
[bold]Examples[/bold]

  steadyspike models list --hub --kind deepinterpolation

  steadyspike models pull hf:lab/np1-denoiser@v1

  steadyspike models test hf:lab/np1-denoiser@v1

  steadyspike models push my_model lab/np1-denoiser --tag v1 --license cc-by-4.0

  steadyspike models import unet.h5 my_model --probe NP1000 --sampling-frequency 30000
""",
)


def bundled_table(kind: str | None = None) -> Table:
    """Make a table of the bundled models."""
    from rich.table import Table

    from steadyspike.library.models.config import read_config
    from steadyspike.library.models.find import bundled_models

    table = Table("model", "kind", "network", title="Bundled", title_justify="left")
    for name, folder in bundled_models().items():
        config = read_config(folder)
        if kind in (None, config.kind):
            table.add_row(name, config.kind, config.network.name)
    return table


@app.command("list")
def list_command(
    hub: OnHub = False,
    kind: Annotated[
        str | None, typer.Option("--kind", help="Only this kind, such as deepinterpolation.")
    ] = None,
    search: Words = None,
    debug: Debug = False,
) -> None:
    """List models: bundled and downloaded ones, or those on the Hugging Face Hub."""
    with clear_errors(debug):
        from steadyspike.cli import sharing
        from steadyspike.library.models.config import KINDS

        sharing.print_list("model", KINDS, kind, hub, search, bundled_table)


@app.command()
def show(
    model: Annotated[str, typer.Argument(help="A bundled name, a model folder, or hf:owner/name@revision.")],
    debug: Debug = False,
) -> None:
    """Print what a model is: its reference, its hash, and its card."""
    with clear_errors(debug):
        from steadyspike.cli.sharing import hub_refusals, shown_versions
        from steadyspike.library.hub.cache import reference_of
        from steadyspike.library.hub.cards import printable
        from steadyspike.library.hub.reference import is_reference
        from steadyspike.library.models.find import find_model
        from steadyspike.library.models.folder import load_folder

        with hub_refusals():
            folder = find_model(model)
            loaded = load_folder(folder)
        typer.echo(f"model:    {reference_of(folder) or folder}")
        typer.echo(f"kind:     {loaded.config.kind}")
        parameters = sum(weights.numel() for weights in loaded.network.parameters())
        typer.echo(f"network:  {loaded.config.network.name}, {parameters:,} parameters")
        if is_reference(model):
            typer.echo(f"versions: {shown_versions(model)}")
        typer.echo("\n" + printable(loaded.card))


@app.command("test")
def pair_command(
    model: Annotated[str, typer.Argument(help="A bundled name, a model folder, or hf:owner/name@revision.")],
    device: Device = "auto",
    debug: Debug = False,
) -> None:
    """Compute the test pair of a model again; fails where it does not give what it gave when it was saved."""
    with clear_errors(debug):
        from steadyspike.cli.sharing import hub_refusals
        from steadyspike.library.models.inference import resolve_device
        from steadyspike.library.models.pair_check import check_pair

        with hub_refusals("device"):
            tested = check_pair(model, resolve_device(device))
        typer.echo(
            f"{model}: differs from its test pair by {tested.difference:.1e} of the largest output; "
            f"allowed: {tested.allowed:.0e}"
        )
        if not tested.passed:
            raise typer.Exit(1)


@app.command()
def pull(
    ref: Reference,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a copy to this folder too.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Download a model from the Hugging Face Hub and check it; it then loads without a network."""
    with clear_errors(debug):
        from steadyspike.cli import sharing

        sharing.pull(ref, "model", output)


@app.command()
@takes_push
def push(
    model: Annotated[str, typer.Argument(help="A model folder, or any other reference to a model.")],
    repository: Repository,
    *,
    how: dict[str, Any],
    debug: Debug = False,
) -> None:
    """Share a model on the Hugging Face Hub. Log in before, with: hf auth login."""
    with clear_errors(debug):
        from steadyspike.cli import sharing

        if model.lower().endswith(".toml"):
            raise UsageError(f"{model} is a preset; see: steadyspike presets push --help")
        sharing.push(model, repository, **how)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A .h5 of Keras, or a .pt or .pth of torch.")],
    folder: Annotated[Path, typer.Argument(help="The model folder that is written.")],
    probe: Annotated[
        str | None,
        typer.Option("--probe", help="Trained on: a probeinterface JSON, or a part number such as NP1000."),
    ] = None,
    sampling_frequency: Annotated[
        float | None, typer.Option("--sampling-frequency", help="Trained on, in Hz.", min=1.0)
    ] = None,
    pre: Annotated[
        int | None, typer.Option("--pre", help="Frames before the gap. Default: half of the input.", min=0)
    ] = None,
    omission: Annotated[
        int, typer.Option("--omission", help="Hidden samples on each side of the predicted one.", min=0)
    ] = 1,
    arrangement: Annotated[
        str, typer.Option("--arrangement", help="Of contacts in the image: interleaved, packed or lattice.")
    ] = "interleaved",
    license_name: Annotated[str, typer.Option("--license", help="Of the weights.")] = "unknown",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model folder.")] = False,
    debug: Debug = False,
) -> None:
    """Convert weights of older works into a model folder. Nothing that the file holds is run."""
    with clear_errors(debug):
        from steadyspike.cli.errors import refusals
        from steadyspike.library.models.legacy.convert import ImportOptions, import_model

        options = ImportOptions(
            sampling_frequency=sampling_frequency,
            probe=probe,
            pre=pre,
            omission=omission,
            arrangement=arrangement,
            license_name=license_name,
        )
        with refusals("probe", "sampling_frequency", "pre", "omission", "arrangement", "overwrite"):
            model = import_model(file, folder, options, overwrite=overwrite)
        typer.echo(f"{folder}: {model.config.kind}, {model.config.network.name}")
