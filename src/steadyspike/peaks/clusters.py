"""Waveforms in a few numbers, and clusters of those: functions on arrays.

The clusters are a look at what is in a channel, not a spike sorting: units that are alike share one, and drift tears
one apart. `cluster_agreement` tells how far they follow a sorting that is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from steadyspike.core.arguments import refuse
from steadyspike.core.settings import Settings, parameter, takes
from steadyspike.library.models.waveforms import WaveformAutoencoderModel, as_waveforms

DBSCAN_QUANTILE = 0.9
SMOOTHING = (0.125, 0.25, 0.25, 0.25, 0.125)


class AlignmentSettings(Settings):
    """Parameters of `align_waveforms`."""

    part = "align_waveforms"

    reach: int = parameter(5, "The peak is looked for in so many samples before and after it", ge=1)


class EmbeddingSettings(Settings):
    """Parameters of `embed_waveforms`."""

    part = "embed_waveforms"

    method: Literal["pca", "autoencoder"] = parameter(
        "pca",
        "Principal components of the flattened waveforms (scikit-learn's `PCA`), or the middle of an autoencoder",
    )
    num_dimensions: int = parameter(3, "Of the space that they are embedded in", ge=1)
    seed: int = parameter(0, "Of all random numbers", ge=0)


class ClusteringSettings(Settings):
    """Parameters of `cluster_embedding`."""

    part = "cluster_embedding"

    method: Literal["hdbscan", "dbscan"] = parameter(
        "hdbscan", "HDBSCAN finds clusters of any density, DBSCAN those denser than a limit"
    )
    min_cluster_size: int | None = parameter(
        None, "Of HDBSCAN; None: a hundredth of the points, 20 at least", ge=2
    )
    eps: float | None = parameter(
        None,
        """Of DBSCAN: points this near are neighbours. None: the distance within which 9 of 10 points have `min_samples`
        others""",
        gt=0,
    )
    min_samples: int = parameter(
        10, "Neighbours that make a point part of the dense inside of a cluster", ge=1
    )


@takes(AlignmentSettings)
def align_waveforms(waveforms: Any, nbefore: int, *, settings: AlignmentSettings) -> np.ndarray:
    """Shift waveforms by fractions of a sample, so that the peaks of their energy come to lie at one sample.

    Detected peaks lie on samples, and on the one channel that is largest: the same unit then comes with several
    alignments, which look like several units. The energy, summed over channels and smoothed over time, has its peak
    interpolated by a parabola; all channels are shifted alike, as a band-limited signal (by its Fourier transform).

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        Filtered, so that they are around 0. What is shifted in at one end comes from the other: cut some more samples
        than are needed.
    nbefore : int
        Sample at which the peaks are to lie.
    {settings}

    Returns
    -------
    aligned : ndarray of float32, shape (num_waveforms, num_samples, num_channels)
        Waveforms that are not finite come out as NaN.

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    waveforms = as_waveforms(waveforms).astype("float32", copy=False)
    count, num_samples, _ = waveforms.shape
    reach = settings.reach
    low, high = max(1, nbefore - reach), min(num_samples - 1, nbefore + reach + 1)
    if not 0 <= nbefore < num_samples or low >= high:
        refuse("nbefore", nbefore, f"a sample inside of the {num_samples}", settings.part)
    energy = np.einsum("ntc,ntc->nt", waveforms, waveforms)
    padded = np.pad(energy, ((0, 0), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(SMOOTHING), axis=1)
    energy = windows @ np.array(SMOOTHING, "float32")
    peak = low + np.argmax(np.nan_to_num(energy[:, low:high]), axis=1)
    before, there, after = (energy[np.arange(count), peak + step] for step in (-1, 0, 1))
    curvature = np.minimum(before - 2 * there + after, -1e-12)
    shift = peak + np.clip(0.5 * (before - after) / curvature, -0.5, 0.5) - nbefore
    phase = np.exp(2j * np.pi * np.fft.rfftfreq(num_samples) * shift[:, np.newaxis])
    spectrum = np.fft.rfft(waveforms, axis=1) * phase[:, :, np.newaxis]
    return np.fft.irfft(spectrum, num_samples, axis=1).astype("float32")


@dataclass(frozen=True, eq=False)
class WaveformEmbedding:
    """Waveforms embedded in a few dimensions.

    Parameters
    ----------
    points : ndarray of float32, shape (num_waveforms, num_dimensions)
        NaN where a waveform is not finite.
    method : {"pca", "autoencoder"}
    model : sklearn.decomposition.PCA or WaveformAutoencoderModel
        What embedded them.
    explained : float
        Share of the waveforms' variance about their mean that comes back from the points.
    """

    points: np.ndarray
    method: str
    model: Any
    explained: float

    def transform(self, waveforms: Any) -> np.ndarray:
        """Embed other waveforms of the same sizes; returns points (num_waveforms, num_dimensions)."""
        return _transform(self.model, as_waveforms(waveforms))


@takes(EmbeddingSettings)
def embed_waveforms(
    waveforms: Any,
    settings: EmbeddingSettings,
    *,
    model: WaveformAutoencoderModel | None = None,
    **kwargs: Any,
) -> WaveformEmbedding:
    """Embed waveforms in a few dimensions.

    Parameters
    ----------
    waveforms : ndarray, shape (num_waveforms, num_samples) or (num_waveforms, num_samples, num_channels)
        At least 20, aligned to their peak, on the same channels.
    {settings}
    model : WaveformAutoencoderModel or None, default: None
        An autoencoder that is trained already; None: one is trained on the waveforms.
    **kwargs
        Of `sklearn.decomposition.PCA`, or of `steadyspike.train_waveform_autoencoder`.

    Returns
    -------
    embedding : WaveformEmbedding

    Raises
    ------
    ValueError
        If a parameter cannot work.
    """
    waveforms = as_waveforms(waveforms)
    method, num_dimensions, seed = settings.method, settings.num_dimensions, settings.seed
    if model is not None and method != "autoencoder":
        refuse("model", model, f"None with method={method!r}, as a model is an autoencoder", settings.part)
    finite = np.isfinite(waveforms).all(axis=(1, 2))
    most = min(int(finite.sum()), int(np.prod(waveforms.shape[1:])))
    if model is None and (finite.sum() < 20 or num_dimensions > most):
        raise ValueError(
            f"{settings.part}: {finite.sum()} finite waveforms of {np.prod(waveforms.shape[1:])} values cannot have "
            f"num_dimensions={num_dimensions}; allowed: 20 waveforms or more, and no more dimensions than values"
        )
    used = waveforms[finite]
    if method == "pca":
        from sklearn.decomposition import PCA

        found: Any = PCA(num_dimensions, **{"random_state": seed, **kwargs}).fit(used.reshape(len(used), -1))
        explained = float(found.explained_variance_ratio_.sum())
    else:
        from steadyspike.training.autoencoder import train_waveform_autoencoder

        found = model or train_waveform_autoencoder(used, num_dimensions=num_dimensions, seed=seed, **kwargs)
        left = np.square(used - found.reconstruct(used)).mean()
        explained = float(1 - left / max(np.square(used - used.mean(axis=0)).mean(), 1e-12))
    return WaveformEmbedding(_transform(found, waveforms), method, found, explained)


def _transform(model: Any, waveforms: np.ndarray) -> np.ndarray:
    finite = np.isfinite(waveforms).all(axis=(1, 2))
    used = waveforms[finite]
    if isinstance(model, WaveformAutoencoderModel):
        found = model.transform(used)
    elif len(used):
        found = model.transform(used.reshape(len(used), -1))
    else:
        found = np.empty((0, model.n_components_))
    points = np.full((len(waveforms), found.shape[1]), np.nan, "float32")
    points[finite] = found
    return points


@takes(ClusteringSettings)
def cluster_embedding(points: Any, settings: ClusteringSettings, **kwargs: Any) -> np.ndarray:
    """Cluster embedded waveforms by their density, with scikit-learn.

    Parameters
    ----------
    points : ndarray, shape (num_waveforms, num_dimensions)
        As `embed_waveforms` gives them; NaN is in no cluster.
    {settings}
    **kwargs
        Of `sklearn.cluster.HDBSCAN` or `sklearn.cluster.DBSCAN`.

    Returns
    -------
    labels : ndarray of int, shape (num_waveforms,)
        -1: in no cluster.

    Raises
    ------
    ValueError
        If a parameter cannot work.

    References
    ----------
    Ester, Kriegel, Sander, Xu, KDD 1996. Campello, Moulavi, Sander, PAKDD 2013.
    """
    points = np.asarray(points)
    if points.ndim != 2:
        raise ValueError(
            f"{settings.part}: points has shape {points.shape}; allowed: (num_waveforms, num_dimensions)"
        )
    min_samples = settings.min_samples
    finite = np.isfinite(points).all(axis=1)
    labels = np.full(len(points), -1)
    used = points[finite]
    if len(used) <= min_samples:
        return labels
    if settings.method == "hdbscan":
        from sklearn.cluster import HDBSCAN

        size = settings.min_cluster_size or max(20, len(used) // 100)
        if size > len(used):
            return labels
        options = {"min_cluster_size": size, "min_samples": min_samples, "copy": True}
        labels[finite] = HDBSCAN(**{**options, **kwargs}).fit_predict(used)
        return labels
    from sklearn.cluster import DBSCAN

    radius = _usual_distance(used, min_samples) if settings.eps is None else settings.eps
    labels[finite] = DBSCAN(**{"eps": radius, "min_samples": min_samples, **kwargs}).fit_predict(used)
    return labels


def _usual_distance(points: np.ndarray, number: int) -> float:
    from sklearn.neighbors import NearestNeighbors

    # the nearest neighbour of a point is itself
    distances, _ = NearestNeighbors(n_neighbors=number).fit(points).kneighbors(points)
    return max(float(np.quantile(distances[:, -1], DBSCAN_QUANTILE)), 1e-9)


def cluster_agreement(labels: Any, truth: Any) -> dict[str, float]:
    """Compare clusters with the true units.

    Parameters
    ----------
    labels : ndarray of int, shape (num_waveforms,)
        Clusters; -1: none.
    truth : ndarray of int, shape (num_waveforms,)
        Units; -1: not known, left out.

    Returns
    -------
    agreement : dict
        "adjusted_rand" of all waveforms of known unit, those in no cluster taken as one cluster more (1: perfect, 0:
        as by chance); "adjusted_rand_clustered" without those; "clustered", their share; "clusters" and "units", how
        many there are.

    References
    ----------
    Hubert, Arabie, "Comparing partitions", Journal of Classification 1985.
    """
    from sklearn.metrics import adjusted_rand_score

    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.shape != truth.shape or labels.ndim != 1:
        raise ValueError(
            f"labels and truth have shapes {labels.shape} and {truth.shape}; allowed: (num_waveforms,)"
        )
    known = truth >= 0
    labels, truth = labels[known], truth[known]
    inside = labels >= 0
    return {
        "adjusted_rand": float(adjusted_rand_score(truth, labels)) if len(labels) else float("nan"),
        "adjusted_rand_clustered": (
            float(adjusted_rand_score(truth[inside], labels[inside])) if inside.any() else float("nan")
        ),
        "clustered": float(inside.mean()) if len(labels) else float("nan"),
        "clusters": len(np.unique(labels[inside])),
        "units": len(np.unique(truth)),
    }
