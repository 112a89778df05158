"""Recordings and peaks whose motion, spikes and noise are known."""
