"""Windows of lazy recordings for training: read in the background, normalized, and laid out as images.

What step n trains on depends on the seed and on n alone, so that a resumed run sees the same.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from steadyspike.core.normalization import measure_normalization
from steadyspike.core.probe_layout import ProbeLayout, layout_of
from steadyspike.core.stretches import Stretch
from steadyspike.core.voltage import voltage_signs

CHUNKS_IN_BLOCK, CHUNKS_IN_ROUND = 4, 32
ROUNDS_AHEAD = 2


class Batch(NamedTuple):
    """Images to train on.

    `image`, float32 (batch, before + frames + after, rows, columns), holds normalized traces: NaN where the recording
    is not finite, 0 where there is no live contact. `mask`, float32 (batch, rows, columns), is 1 where there is one.
    """

    image: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class Source:
    """A recording with what makes images of it.

    Channels without a scale are dead in the layout. ``(traces - center) / scale``, float64 (num_channels,), is what a
    network sees (`steadyspike.core.normalization`), turned over where the gain is negative.
    """

    recording: Any
    layout: ProbeLayout
    center: np.ndarray
    scale: np.ndarray

    @classmethod
    def of(cls, recording: Any, arrangement: str, normalization: str) -> Source:
        """Measure a recording."""
        center, scale = measure_normalization(recording, normalization)
        return cls(recording, layout_of(recording, dead=scale <= 0, arrangement=arrangement), center, scale)

    def rearranged(self, arrangement: str) -> Source:
        """Return the same with its contacts laid out otherwise."""
        layout = layout_of(self.recording, dead=self.scale <= 0, arrangement=arrangement)
        return Source(self.recording, layout, self.center, self.scale)

    def read(self, stretch: Stretch) -> np.ndarray:
        """Read a stretch as images, ndarray of float32, shape (shanks, time, rows, columns)."""
        traces = self.recording.get_traces(
            segment_index=stretch.segment, start_frame=stretch.start, end_frame=stretch.stop
        ).astype("float32")
        traces -= self.center.astype("float32")
        traces /= np.where(self.scale > 0, self.scale, 1).astype("float32") * voltage_signs(self.recording)
        traces[~np.isfinite(traces)] = np.nan
        return self.layout.scatter(traces)


class _Chunk(NamedTuple):
    block: int
    offset: int


class _Round(NamedTuple):
    """Some steps whose windows are read together."""

    number: int
    steps: list[list[_Chunk]]
    blocks: list[Stretch]
    read: list[Future[np.ndarray]]

    def windows(self, place: int) -> list[tuple[int, np.ndarray, int]]:
        """Recording, images and offset of each window of a step."""
        return [
            (self.blocks[chunk.block].recording, self.read[chunk.block].result(), chunk.offset)
            for chunk in self.steps[place]
        ]


class Windows:
    """Windows within stretches of recordings.

    Sources are of one layout type; their numbers of channels may differ. Windows are read from within `stretches` of
    them; those that are shorter than one are not used. The network reads `context` samples before and after each
    predicted one, of which a window has `frames`, or fewer if no stretch is long enough; a batch has `batch_size`
    windows. Raises `ValueError` if no stretch holds the context and one sample.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        stretches: Sequence[Stretch],
        context: tuple[int, int],
        frames: int,
        batch_size: int = 4,
        seed: int = 0,
    ) -> None:
        longest = max((stretch.stop - stretch.start for stretch in stretches), default=0)
        self.around = sum(context)
        self.frames = min(frames, longest - self.around)
        if self.frames < 1:
            raise ValueError(
                f"the longest stretch has {longest} samples, but a window needs {self.around + 1}: "
                f"{context[0]} before and {context[1]} after a predicted one"
            )
        self.sources, self.context, self.batch_size, self.seed = sources, context, batch_size, seed
        size = self.frames + self.around
        self.stretches = [stretch for stretch in stretches if stretch.stop - stretch.start >= size]
        places = np.array([stretch.stop - stretch.start - size + 1 for stretch in self.stretches])
        self._odds = places / places.sum()

    def stream(
        self,
        first: int,
        stop: int | None = None,
        num_readers: int = 1,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> Iterator[Batch]:
        """Give batch after batch, read by threads in the background.

        From the number `first` to before `stop`; None: without end. At most 2 rounds of 32 windows are held at a time.
        Of `num_ranks` processes, each gets its share of the batches that one of them would get with a `batch_size` that
        is as many times as large.
        """
        steps_in_round = -(-CHUNKS_IN_ROUND // (self.batch_size * num_ranks))
        waiting: deque[_Round] = deque()
        with ThreadPoolExecutor(num_readers, thread_name_prefix="steadyspike-reader") as pool:
            try:
                for step in itertools.count(first):
                    if step == stop:
                        return
                    number, place = divmod(step, steps_in_round)
                    while waiting and waiting[0].number < number:
                        waiting.popleft()
                    for ahead in range(number + len(waiting), number + ROUNDS_AHEAD):
                        steps, blocks = self._plan(ahead, steps_in_round, rank, num_ranks)
                        read = [pool.submit(self.sources[one.recording].read, one) for one in blocks]
                        waiting.append(_Round(ahead, steps, blocks, read))
                    yield self._batch(waiting[0].windows(place))
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def spread(self, num_windows: int) -> list[Batch]:
        """Return at most `num_windows` windows, spread over all stretches; none predicts what another does."""
        places = [
            stretch._replace(start=start, stop=start + self.frames + self.around)
            for stretch in self.stretches
            for start in range(stretch.start, stretch.stop - self.frames - self.around + 1, self.frames)
        ]
        chosen = np.unique(np.linspace(0, len(places) - 1, min(num_windows, len(places))).round().astype(int))
        spread = [places[i] for i in chosen]
        read = [(one.recording, self.sources[one.recording].read(one), 0) for one in spread]
        size = self.batch_size
        return [self._batch(read[first : first + size]) for first in range(0, len(read), size)]

    def _plan(
        self, number: int, num_steps: int, rank: int, num_ranks: int
    ) -> tuple[list[list[_Chunk]], list[Stretch]]:
        """Draw the blocks that are read for a round of steps, and shuffle their windows; give a rank's share."""
        # the 0 is of earlier versions, for which a resumed run sees the same
        rng = np.random.default_rng([self.seed, 0, number])
        blocks: list[Stretch] = []
        chunks: list[_Chunk] = []
        wanted = num_steps * self.batch_size * num_ranks
        while len(chunks) < wanted:
            stretch = self.stretches[rng.choice(len(self.stretches), p=self._odds)]
            length = stretch.stop - stretch.start
            # windows that follow each other share one read, which spares the margins of filters
            fitting = min(CHUNKS_IN_BLOCK, (length - self.around) // self.frames)
            size = fitting * self.frames + self.around
            start = stretch.start + int(rng.integers(length - size + 1))
            chunks += [_Chunk(len(blocks), k * self.frames) for k in range(fitting)]
            blocks.append(stretch._replace(start=start, stop=start + size))
        shuffled = [chunks[i] for i in rng.permutation(len(chunks))[:wanted]]
        size = self.batch_size
        steps = [shuffled[k : k + size] for k in range(rank * size, wanted, num_ranks * size)]
        return _with_own_blocks(steps, blocks)

    def _batch(self, read: Sequence[tuple[int, np.ndarray, int]]) -> Batch:
        length = self.frames + self.around
        images = [image[:, offset : offset + length] for _, image, offset in read]
        masks = [self.sources[recording].layout.mask for recording, _, _ in read]
        rows = max(image.shape[2] for image in images)
        images = [_with_rows(image, rows, axis=2) for image in images]
        masks = [_with_rows(mask, rows, axis=1) for mask in masks]
        return Batch(np.concatenate(images), np.concatenate(masks).astype("float32"))


def _with_own_blocks(
    steps: list[list[_Chunk]], blocks: list[Stretch]
) -> tuple[list[list[_Chunk]], list[Stretch]]:
    """Leave out blocks of which nothing is in the steps."""
    used = sorted({chunk.block for step in steps for chunk in step})
    place = {block: index for index, block in enumerate(used)}
    own = [[chunk._replace(block=place[chunk.block]) for chunk in step] for step in steps]
    return own, [blocks[block] for block in used]


def _with_rows(values: np.ndarray, rows: int, axis: int) -> np.ndarray:
    """Add empty rows: recordings of one layout type may have different numbers of channels."""
    missing = rows - values.shape[axis]
    if not missing:
        return values
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, missing)
    return np.pad(values, widths)
