"""``steadyspike info``: versions, what is registered where, presets."""

from __future__ import annotations

from steadyspike.cli.errors import Debug, clear_errors


def info(debug: Debug = False) -> None:
    """Show versions, what steadyspike registered in SpikeInterface, and the bundled presets."""
    with clear_errors(debug):
        from rich.console import Console
        from rich.table import Table

        import steadyspike
        from steadyspike.core.environment import machine, versions

        console = Console()
        table = Table("", "version", title="Versions", title_justify="left")
        for package, number in versions().items():
            table.add_row(package, number)
        console.print(table)
        computer = machine()
        console.print(f"{computer['processor']}, {computer['cores']} cores, {computer['system']}\n")

        console.print("[italic]Registered in SpikeInterface[/italic]")
        for place, names in steadyspike.registered().items():
            console.print(f"{place}\n    {', '.join(names)}", highlight=False, soft_wrap=True)
        console.print()

        from steadyspike.cli.presets import preset_table

        console.print(preset_table())
