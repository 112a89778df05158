"""Compiled detection, localization and denoising of spikes."""
