"""``steadyspike presets``: list, show and check presets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from steadyspike.cli.errors import FAILED, Debug, UsageError, clear_errors

if TYPE_CHECKING:
    from rich.table import Table

app = typer.Typer(help="List, show and check presets.", no_args_is_help=True)

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
def list_command(kind: Kind = None, debug: Debug = False) -> None:
    """List the bundled presets."""
    with clear_errors(debug):
        from rich.console import Console

        if kind not in (None, "motion", "preprocessing"):
            raise UsageError(f"--kind {kind} is not known; allowed: motion, preprocessing")
        Console().print(preset_table(kind))


@app.command()
def show(
    preset: Annotated[str, typer.Argument(help="A bundled name, or the path of a TOML file.")],
    debug: Debug = False,
) -> None:
    """Print a preset as TOML, ready to be saved to a file and changed.

    [bold]Example[/bold]: steadyspike presets show steady_nonrigid > my_lab.toml
    """
    with clear_errors(debug):
        from steadyspike.presets import find_preset

        path = find_preset(preset)
        if not path.is_file():
            raise UsageError(f"{path} does not exist")
        typer.echo(path.read_text(encoding="utf8"), nl=False)


@app.command()
def validate(
    files: Annotated[list[str], typer.Argument(help="Bundled names, or paths of TOML files.")],
    debug: Debug = False,
) -> None:
    """Check presets: every key, method, type and value. The exit code is 1 if any cannot work."""
    with clear_errors(debug):
        from rich.console import Console
        from rich.markup import escape

        import steadyspike
        from steadyspike.preset_files import PresetError

        console = Console(soft_wrap=True)
        wrong = 0
        for file in files:
            try:
                preset = steadyspike.load_preset(Path(file) if Path(file).is_file() else file)
            except (PresetError, FileNotFoundError) as error:
                wrong += 1
                console.print(f"[red]wrong[/red] {escape(file)}: {escape(str(error))}")
            else:
                console.print(f"[green]good[/green]  {escape(file)}: {preset.kind}, {escape(preset.doc)}")
        if wrong:
            raise typer.Exit(FAILED)
