"""Recordings in which the probe was moved on purpose: presets held against the manipulator.

`course` finds where the manipulator was, `measures` compares motions and units with it, `study` runs and keeps results,
and `page` writes the one page that is sent back.
"""
