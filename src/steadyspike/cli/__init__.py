"""The command line: ``steadyspike --help``."""

from steadyspike.cli.app import app

__all__ = ["app"]
