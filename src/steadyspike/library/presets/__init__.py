"""Presets of motion correction and of preprocessing chains."""
