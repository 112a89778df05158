"""Recordings and peaks whose motion, spikes and noise are known.

The names of `__init__.pyi` are loaded when they are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
