"""Fast, accurate filtering, localization and motion correction for SpikeInterface.

Importing the package enters its parts into SpikeInterface's tables, for SpikeInterface's own calls to find::

    import spikeinterface.full as si
    import steadyspike

    recording_corrected = si.correct_motion(recording, preset="steady_nonrigid")

`steadyspike.registered()` tells what is where. The names of `__init__.pyi` are loaded when they are first used; what
fewer people need is in `steadyspike.motion`, `steadyspike.peaks` and `steadyspike.evaluation`.
"""

from os import environ as _environ
from typing import Any as _Any

import lazy_loader as _lazy_loader

from steadyspike.core import moved as _moved
from steadyspike.integration.register import register as _register

__version__ = "0.1.0"

_find, __dir__, __all__ = _lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> _Any:
    if name in __all__:
        return _find(name)
    return _moved.moved(name)


_moved.watch()
_register()
if _environ.get("STEADYSPIKE_ACCELERATE", "").strip():
    from steadyspike.integration.acceleration.switch import accelerate_if_told as _accelerate_if_told

    _accelerate_if_told(_environ["STEADYSPIKE_ACCELERATE"])
