"""Compiled sums, medians, products and interpolations across the channels or columns of an array."""
