"""Compiled parts of motion estimation.

What many functions here take:

spikes : registration.Spikes
    The spikes of all segments.
profiles : lfp_registration.Profiles
    Of the local field potential, of all time bins; all zero where a time bin is to be left out.
knots_um : ndarray of float64, shape (num_windows,)
    Increasing depths at which the displacement is estimated: the centers of the windows. It is linear in between.
windows : ndarray of float64, shape (num_windows, num_windows)
    Weight of each center in each window.
windows_of : callable
    ``windows_of(depths_um)`` gives the weight of each depth in each window, shape (num_windows, num_depths).
depth_range_um : tuple of float
    Lowest and highest depth, before correction, of the spikes that are used.
segment_edges : ndarray of int64, shape (num_segments + 1,)
    First time bin of each segment, and the end of the last.
settings
    The numbers that steer it: the class of settings in its module.
progress : callable
    ``progress(iterable, label)`` gives the iterable back, perhaps showing how far it is.
"""
