"""Lazy recording nodes that enter SpikeInterface's preprocessing tables."""
