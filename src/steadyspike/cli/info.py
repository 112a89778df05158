"""``steadyspike info``: versions, what is registered where, presets."""

from __future__ import annotations

from steadyspike.cli.errors import Debug, clear_errors, tell


def info(debug: Debug = False) -> None:
    """Show versions, what steadyspike registered in SpikeInterface, and the bundled presets."""
    with clear_errors(debug):
        from rich.table import Table

        import steadyspike
        from steadyspike.core.environment import machine, versions

        table = Table("", "version", title="Versions", title_justify="left")
        for package, number in versions().items():
            table.add_row(package, number)
        tell(table)
        computer = machine()
        tell(f"{computer['processor']}, {computer['cores']} cores, {computer['system']}\n")

        tell("[italic]Registered in SpikeInterface[/italic]")
        for place, names in steadyspike.registered().items():
            tell(f"{place}\n    {', '.join(names)}")

        from steadyspike.cli.presets import preset_table

        tell("", preset_table())
