"""The only package that touches SpikeInterface's own tables, methods and functions."""
