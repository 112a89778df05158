"""Covariance of images with a template that is rolled over depth, for the alignment of time bins."""

import numpy as np


def covariances(images, template, shifts, taper=None):
    r"""Mean product of each image, rolled by each shift, with the template.

    .. math:: c(s, t) = \frac{1}{Y A} \sum_{y, a} w(y - s)\, F_t(y - s, a)\, F_0(y, a)

    Parameters
    ----------
    images : ndarray of float64, shape (num_images, num_depths, num_marks)
        The images F.
    template : ndarray of float64, shape (num_depths, num_marks)
        The template.
    shifts : ndarray of int64, shape (num_shifts,)
        Depth bins by which the images are rolled.
    taper : ndarray of float64, shape (num_depths, 1), or None, default: None
        Weights w of the images; None: 1.

    Returns
    -------
    covariances : ndarray of float64, shape (num_shifts, num_images)
    """
    # rolling the image up is rolling the template down
    templates = np.stack([np.roll(template, -shift, axis=0) for shift in shifts])
    if taper is not None:
        templates = templates * taper
    flat = images.reshape(images.shape[0], -1)
    return templates.reshape(shifts.size, -1) @ flat.T / template.size


def rolled(images, shifts):
    """Roll each image over depth.

    Parameters
    ----------
    images : ndarray, shape (num_images, num_depths, num_marks)
        The images.
    shifts : ndarray of int64, shape (num_images,)
        Depth bins by which each is rolled.

    Returns
    -------
    rolled : ndarray, shape (num_images, num_depths, num_marks)
    """
    result = np.empty_like(images)
    for image, shift, out in zip(images, shifts, result, strict=True):
        cut = shift % image.shape[0]
        out[cut:] = image[: image.shape[0] - cut]
        out[:cut] = image[image.shape[0] - cut :]
    return result
