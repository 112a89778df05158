"""Compiled detection, localization and denoising of spikes.

What many functions here take:

channels : np.ndarray
    Main channel of each spike, shape (num_spikes,).
neighbours, counts : np.ndarray
    Contacts around each, itself first, and how many: as `contact_features.neighbour_lists` returns them.
locations : np.ndarray
    Contact positions, shape (num_channels, 2), in um, finite.
scales : np.ndarray
    Factor on each channel, shape (num_channels,): one over its noise level; 0 leaves a channel out.
"""
