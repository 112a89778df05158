"""``python -m steadyspike_benchmarks``: how fast and how accurate, against SpikeInterface."""

from steadyspike_benchmarks.cli.app import app

app(prog_name="python -m steadyspike_benchmarks")
