"""``python -m steadyspike`` is the ``steadyspike`` command."""

from steadyspike.cli import app

app(prog_name="steadyspike")
