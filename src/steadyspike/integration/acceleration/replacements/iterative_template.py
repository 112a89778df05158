"""`iterative_template_registration`, the heart of the method `iterative_template`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from spikeinterface.sortingcomponents.motion.iterative_template import kriging_kernel

from steadyspike.integration.acceleration.calls import NotCoveredError
from steadyspike.integration.acceleration.declarations import replaces


@replaces(
    "spikeinterface.sortingcomponents.motion.iterative_template",
    "iterative_template_registration",
    name="iterative_template",
    sources=("2544cb28cdb734d8",),
)
def registration(
    spikecounts_hist_images: np.ndarray,
    non_rigid_windows: Sequence[np.ndarray] | None = None,
    num_shifts_global: int = 15,
    num_iterations: int = 10,
    num_shifts_block: int = 5,
    smoothing_sigma: float = 0.5,
    kriging_sigma: float = 1,
    kriging_p: float = 2,
    kriging_d: float = 2,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Do what `iterative_template_registration` does.

    The images stay where they are, and how far each is rolled is kept instead: a covariance at a shift is one row of a
    matrix product with the rolled template.
    """
    images = np.asarray(spikecounts_hist_images)
    if non_rigid_windows is None or num_iterations < 1 or images.ndim != 3 or images.shape[0] < 2:
        raise NotCoveredError("no windows, no iteration, or fewer than two time bins")
    inside = [np.flatnonzero(np.asarray(window) > 1e-5) for window in non_rigid_windows]
    if any(bins.size < 2 for bins in inside):
        raise NotCoveredError("a window of fewer than two depth bins")
    # SpikeInterface leaves out the last bin
    slices = [(bins[0], bins[-1]) for bins in inside]
    aligned, target, rigid_shifts = _align(images, num_shifts_global, num_iterations)
    shifts = np.arange(-num_shifts_block, num_shifts_block + 1)
    block = np.empty((shifts.size, images.shape[0], len(slices)))
    for index, (start, stop) in enumerate(slices):
        taper = np.asarray(non_rigid_windows[index])[start:stop, None]
        # a window is applied to both, so its square to one of them; rolled as one
        block[:, :, index] = covariances(
            np.ascontiguousarray(aligned[:, start:stop]), target[start:stop] * taper, shifts, taper
        )
    refined = _refine(block, shifts, smoothing_sigma, kriging_sigma, kriging_p, kriging_d)
    return refined + rigid_shifts[:, None], target, block


def _align(images: np.ndarray, num_shifts: int, num_iterations: int) -> tuple[Any, Any, Any]:
    """Roll each image by whole bins towards the mean of all, in rounds."""
    shifts = np.arange(-num_shifts, num_shifts + 1)
    images = images - images.mean(axis=1, keepdims=True)
    total = np.zeros(images.shape[0], dtype="int64")
    target = images[images.shape[0] // 2 - 1]
    for _ in range(num_iterations - 1):
        best = shifts[np.argmax(covariances(images, target, shifts), axis=0)]
        images = rolled(images, best)
        total += best
        target = images.mean(axis=0)
    return images, target, total


def _refine(
    block: np.ndarray,
    shifts: np.ndarray,
    smoothing_sigma: float,
    kriging_sigma: float,
    kriging_p: float,
    kriging_d: float,
) -> np.ndarray:
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    smooth = np.stack([gaussian_filter(one, smoothing_sigma) for one in block])
    smooth = gaussian_filter1d(smooth, smoothing_sigma, axis=0)
    fine = np.linspace(shifts[0], shifts[-1], (shifts.size - 1) * 10 + 1)
    kernel = kriging_kernel(shifts[:, None], fine[:, None], sigma=kriging_sigma, p=kriging_p, d=kriging_d)
    upsampled = np.stack([kernel.T @ smooth[:, :, index] for index in range(block.shape[2])], axis=2)
    return fine[np.argmax(upsampled, axis=0)]


def covariances(
    images: np.ndarray, template: np.ndarray, shifts: np.ndarray, taper: np.ndarray | None = None
) -> np.ndarray:
    r"""Mean product of each image, rolled by each shift, with the template.

    .. math:: c(s, t) = \frac{1}{Y A} \sum_{y, a} w(y - s)\, F_t(y - s, a)\, F_0(y, a)

    `images` F (num_images, num_depths, num_marks) and `template` (num_depths, num_marks) are float64, `shifts` depth
    bins by which the images are rolled, `taper` (num_depths, 1) weights w of the images (None: 1). Returns float64
    (num_shifts, num_images).
    """
    # rolling the image up is rolling the template down
    templates = np.stack([np.roll(template, -shift, axis=0) for shift in shifts])
    if taper is not None:
        templates = templates * taper
    flat = images.reshape(images.shape[0], -1)
    return templates.reshape(shifts.size, -1) @ flat.T / template.size


def rolled(images: np.ndarray, shifts: np.ndarray) -> np.ndarray:
    """Roll each image over depth.

    `images` are (num_images, num_depths, num_marks), `shifts` (num_images,) depth bins.
    """
    result = np.empty_like(images)
    for image, shift, out in zip(images, shifts, result, strict=True):
        # a tenth of the time of `numpy.roll`
        cut = shift % image.shape[0]
        out[cut:] = image[: image.shape[0] - cut]
        out[:cut] = image[image.shape[0] - cut :]
    return result
