"""Benchmarks: each part against its upstream twin, and estimates against known motion."""
