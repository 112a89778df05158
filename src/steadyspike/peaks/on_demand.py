"""Waveforms that are extracted only where another node reads them.

SpikeInterface's pipeline computes every node for every chunk, and its localizers come with an extractor of waveforms on
all channels. Ours read a few channels of each spike in the traces, so that what was extracted for them would be read by
nobody, and takes longer than they do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from spikeinterface.core.node_pipeline import ExtractDenseWaveforms, ExtractSparseWaveforms, PipelineNode

if TYPE_CHECKING:
    import numpy as np

# start_frame, end_frame, segment_index, max_margin
NUM_WHERE = 4


class UnreadWaveforms(tuple):
    """Output of an extractor, of one array, which is made as soon as the output is read.

    Outputs that are tuples are added to the arguments of each node that has them for a parent, here by ``__radd__``.
    """

    _extract: Callable[[], np.ndarray]

    def __new__(cls, extract: Callable[[], np.ndarray]) -> UnreadWaveforms:
        """Remember how to extract."""
        unread = super().__new__(cls)
        unread._extract = extract
        return unread

    @cached_property
    def _read(self) -> tuple[np.ndarray]:
        return (self._extract(),)

    def __radd__(self, others: tuple) -> tuple:
        return others + self._read

    def __add__(self, others: Any) -> tuple:
        return self._read + others

    def __iter__(self) -> Iterator[np.ndarray]:
        return iter(self._read)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: Any) -> Any:
        return self._read[index]

    def __reduce__(self) -> tuple:
        return tuple, (self._read,)


class _OnDemand(PipelineNode):
    """Leaves an extractor as it is, except in a pipeline, where it extracts on demand."""

    # the pipeline calls with more arguments than anybody else, and takes an output that is a tuple
    _compute_has_extended_signature = True

    def compute(self, traces: np.ndarray, *arguments: Any) -> np.ndarray | UnreadWaveforms:
        """Extract the waveforms of one chunk, or in a pipeline, which says where the chunk is, promise to."""
        in_pipeline = len(arguments) > NUM_WHERE
        extract = partial(super().compute, traces, *arguments[NUM_WHERE * in_pipeline :])
        return UnreadWaveforms(extract) if in_pipeline and self.return_output is False else extract()


class DenseOnDemand(_OnDemand, ExtractDenseWaveforms):
    """SpikeInterface's extractor of all channels."""


class SparseOnDemand(_OnDemand, ExtractSparseWaveforms):
    """SpikeInterface's extractor of the channels around each peak."""


ON_DEMAND = {ExtractDenseWaveforms: DenseOnDemand, ExtractSparseWaveforms: SparseOnDemand}


def spared_extractor(parents: list[PipelineNode]) -> PipelineNode | None:
    """Make the extractor among a localizer's parents one that extracts on demand.

    Returns it, if the parents are a source of peaks and SpikeInterface's own extractor of these peaks; else None: other
    nodes change waveforms, which then have to be read.
    """
    source, extractor = (parents[0], parents[-1]) if len(parents) == 2 else (None, None)
    if getattr(extractor, "parents", None) != [source]:
        return None
    if type(extractor) in ON_DEMAND:
        # other nodes may have it for a parent already, and it is in the list of nodes
        extractor.__class__ = ON_DEMAND[type(extractor)]
    return extractor if isinstance(extractor, _OnDemand) else None
