"""Accelerate SpikeInterface in scripts that can't be edited; used by steadyspike_startup.pth alone.

Python runs that file when it starts, and it imports this module if ``STEADYSPIKE_ACCELERATE`` is set. Nothing is loaded
before the script itself imports SpikeInterface.
"""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path


def watch() -> None:
    """Import steadyspike, which reads the environment, as soon as somebody has imported SpikeInterface."""
    package = find_spec("steadyspike")
    if package is None or package.origin is None:
        return
    # by its path, as a name within the package would load the package, and that SpikeInterface
    spec = spec_from_file_location(
        "_steadyspike_late_import", Path(package.origin).with_name("late_import.py")
    )
    if spec is None or spec.loader is None:
        return
    late_import = module_from_spec(spec)
    sys.modules[spec.name] = late_import
    spec.loader.exec_module(late_import)
    late_import.after_import("spikeinterface", lambda: import_module("steadyspike"))
