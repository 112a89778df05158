"""Compiled parts of motion estimation."""
