"""``steadyspike presets``: list, show, check, pull and push presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli.errors import FAILED, Debug, UsageError, clear_errors, tell
from steadyspike.cli.sharing import OnHub, Reference, Repository, Words, takes_push

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="List, show, check and share presets.", no_args_is_help=True)

Kind = Annotated[
    str | None, typer.Option("--kind", help="Only [bold]motion[/bold] or only [bold]preprocessing[/bold].")
]


def preset_table(kind: str | None = None) -> Table:
    """Make a table of the bundled presets."""
    from rich.table import Table

    import steadyspike

    table = Table("preset", "for", "what it does", title="Presets", title_justify="left")
    for name in steadyspike.list_presets(kind):
        preset = steadyspike.load_preset(name)
        table.add_row(name, preset.kind, preset.doc)
    return table


@app.command("list")
def list_command(kind: Kind = None, hub: OnHub = False, search: Words = None, debug: Debug = False) -> None:
    """List presets: bundled and downloaded ones, or those on the Hugging Face Hub."""
    with clear_errors(debug):
        from steadyspike.cli import sharing
        from steadyspike.library.presets.files import KINDS

        sharing.print_list("preset", KINDS, kind, hub, search, preset_table)


@app.command()
def show(
    preset: Annotated[
        str, typer.Argument(help="A bundled name, the path of a TOML file, or hf:owner/name@revision.")
    ],
    debug: Debug = False,
) -> None:
    """Print a preset as TOML, ready to be saved to a file and changed.

    [bold]Example[/bold]: steadyspike presets show steady_nonrigid > my_lab.toml
    """
    with clear_errors(debug):
        from steadyspike.cli.sharing import hub_refusals
        from steadyspike.library.hub.cards import printable
        from steadyspike.library.presets.files import read_text
        from steadyspike.library.presets.presets import find_preset

        with hub_refusals():
            path = find_preset(preset)
        if not path.is_file():
            raise UsageError(f"{path} does not exist")
        typer.echo(printable(read_text(path)), nl=False)


@app.command()
def validate(
    files: Annotated[
        list[str], typer.Argument(help="Bundled names, paths of TOML files, or hf:owner/name@revision.")
    ],
    debug: Debug = False,
) -> None:
    """Check presets: every key, method, type and value. The exit code is 1 if any cannot work."""
    with clear_errors(debug):
        import steadyspike
        from steadyspike.library.presets.files import PresetError

        wrong = 0
        for file in files:
            try:
                preset = steadyspike.load_preset(Path(file) if Path(file).is_file() else file)
            except (PresetError, FileNotFoundError) as error:
                wrong += 1
                tell(f"[red]wrong[/red] {file}: {error}")
            else:
                tell(f"[green]good[/green]  {file}: {preset.kind}, {preset.doc}")
        if wrong:
            raise typer.Exit(FAILED)


@app.command()
def pull(
    ref: Reference,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a copy to this .toml file too.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Download a preset from the Hugging Face Hub and check it; it then loads without a network."""
    with clear_errors(debug):
        from steadyspike.cli import sharing

        sharing.pull(ref, "preset", output)


@app.command()
@takes_push
def push(
    preset: Annotated[
        str, typer.Argument(help="The path of a TOML file, or any other reference to a preset.")
    ],
    repository: Repository,
    *,
    how: dict[str, Any],
    debug: Debug = False,
) -> None:
    """Share a preset on the Hugging Face Hub. Log in before, with: hf auth login."""
    with clear_errors(debug):
        from steadyspike.cli import sharing
        from steadyspike.library.presets.presets import load_preset

        with sharing.hub_refusals():
            load_preset(preset)
        sharing.push(preset, repository, **how)
