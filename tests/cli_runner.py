"""Runs commands in this process, as `typer` does it for tests."""

from typer.testing import CliRunner

from steadyspike.cli import app
from steadyspike_benchmarks.cli.app import app as benchmarks


def run(*arguments):
    """Run ``steadyspike`` with these arguments, on a terminal wide enough for whole messages."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def run_benchmark(*arguments):
    """Run ``python -m steadyspike_benchmarks`` likewise."""
    return CliRunner().invoke(benchmarks, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def assert_nothing_left(folder):
    """Assert that a folder is empty, hidden files included."""
    assert [path.name for path in folder.iterdir()] == []
