"""Fast, accurate filtering, localization and motion correction for SpikeInterface."""

__version__ = "0.1.0"
