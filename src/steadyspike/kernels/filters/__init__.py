"""Compiled filters along time."""
