"""Where the contacts of a recording lie: shanks, distances, and images with rows (depth) and columns."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.core.contact_grid import ContactGrid, grid_of

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

ARRANGEMENTS = ("lattice", "interleaved", "packed")
CONTACTS_IN_UNIT = 4
WIDEST_UNIT, STRIP_COLUMNS = 16, 8
PITCH_TOLERANCE = 0.1


@dataclass(frozen=True)
class LayoutType:
    """What recordings have in common that one network can serve, whatever their number of channels.

    `name` is such as "staggered 4 columns 20 um", `pattern` how the contacts lie (`grid_of`), `arrangement` how they
    are put into the image (`layout_of`), which has `columns`. `unit`, rows of 0 and 1, says where the pattern, which
    repeats along the probe, has contacts; it is as wide as the image, but for planar arrays of more than 16 columns,
    where it repeats across too. `pitch_um` is that between rows, and between columns of the lattice; 0 where there is
    one alone or none is known.
    """

    name: str
    pattern: str
    columns: int
    unit: tuple[tuple[int, ...], ...]
    pitch_um: tuple[float, float]
    arrangement: str = "lattice"

    @property
    def halo(self) -> int:
        """Columns beyond a unit that a network should see at each side: 0 where a unit is as wide as the image."""
        width = len(self.unit[0])
        return width // 2 if width < self.columns else 0

    def mismatch(self, other: LayoutType, pitch: bool = True) -> str | None:
        """Tell why a network made for this type can not be used for another; None: it can.

        `other` is the recording's. With `pitch` distances must agree too, to 10 %; without is for training that starts
        from this network.
        """
        for name in ("arrangement", "pattern", "columns", "unit"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"{name} is {mine!r} in the layout {self.name!r}, and {theirs!r} in {other.name!r}"
        far = np.abs(np.subtract(self.pitch_um, other.pitch_um)) > PITCH_TOLERANCE * np.maximum(
            self.pitch_um, 1e-9
        )
        # an irregular probe has no distance that its contacts share
        if pitch and self.pattern != "irregular" and np.any(far):
            return f"pitch_um is {self.pitch_um} in the layout {self.name!r}, and {other.pitch_um} in {other.name!r}"
        return None


@dataclass(frozen=True, eq=False)
class ProbeLayout:
    """Where each channel of a recording lies in an image of (shanks, rows, columns).

    `row`, `column` and `shank` (num_channels,) are the cell of each channel, and `cells` its index in the flattened
    image; rows rise with depth coordinate y. `num_rows` are those of each shank. `mask` (num_shanks, rows, columns) has
    the cells with a live contact; shorter shanks end with empty rows.
    """

    type: LayoutType
    row: np.ndarray
    column: np.ndarray
    shank: np.ndarray
    num_rows: np.ndarray
    mask: np.ndarray
    cells: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        cells = np.ravel_multi_index((self.shank, self.row, self.column), self.mask.shape)
        object.__setattr__(self, "cells", cells)

    @property
    def name(self) -> str:
        """Name of the layout type."""
        return self.type.name

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shanks, rows and columns of the image."""
        return self.mask.shape

    @property
    def num_channels(self) -> int:
        """Number of channels, dead ones included."""
        return len(self.row)

    @property
    def dead(self) -> np.ndarray:
        """Dead channels, ndarray of bool, shape (num_channels,)."""
        return ~self.mask.ravel()[self.cells]

    def scatter(self, traces: np.ndarray, dtype: Any = "float32") -> np.ndarray:
        """Put traces into an image; dead and missing contacts are 0.

        From (time, num_channels) to (num_shanks, time, rows, columns), in C order.
        """
        if traces.ndim != 2 or traces.shape[1] != self.num_channels:
            raise ValueError(
                f"traces of shape {traces.shape} must have the shape (time, {self.num_channels})"
            )
        shanks, rows, columns = self.shape
        image = np.zeros((shanks, len(traces), rows * columns), dtype)
        live = ~self.dead
        cell = self.row * columns + self.column
        for shank in range(shanks):
            own = np.flatnonzero(live & (self.shank == shank))
            image[shank][:, cell[own]] = traces[:, own]
        return image.reshape(shanks, len(traces), rows, columns)

    def gather(self, image: np.ndarray) -> np.ndarray:
        """Take the channels out of an image: the reverse of `scatter`.

        It stays in its type; a dead channel has what the image holds in its cell.
        """
        shanks, rows, columns = self.shape
        if image.ndim != 4 or (image.shape[0], *image.shape[2:]) != self.shape:
            raise ValueError(
                f"image of shape {image.shape} must have the shape ({shanks}, time, {rows}, {columns})"
            )
        flat = image.reshape(shanks, image.shape[1], rows * columns)
        traces = np.empty((image.shape[1], self.num_channels), image.dtype)
        cell = self.row * columns + self.column
        for shank in range(shanks):
            own = np.flatnonzero(self.shank == shank)
            traces[:, own] = flat[shank][:, cell[own]]
        return traces


def layout_of(
    recording_or_positions: Any, shanks: Any = None, dead: Any = None, arrangement: str = "lattice"
) -> ProbeLayout:
    """Lay contacts out on a grid of rows (depth, y) and columns (x), one image for each shank.

    A recording has a probe; positions (num_channels, 2 or 3) are x and y in um, z is ignored, in any order. `shanks` is
    that of each channel; None: as the recording's probe tells, or all on one. `dead` channels are bool of shape
    (num_channels,), or their indices. Raises `ValueError` if positions or shanks have the wrong shape or are not
    finite, or the arrangement is none of

    - "lattice": a cell for each place of the lattice: 192 rows of 4 columns, half of them empty, for the 384 staggered
      contacts of Neuropixels 1.0
    - "interleaved": one row for each contact, by depth and in a row from the greatest x to the least; even rows in the
      first of 2 columns, odd in the second: 384 x 2 (Lecoq et al. 2021). Places without a contact keep their row.
    - "packed": the columns of a staggered lattice closed up: 192 x 2 (SpikeInterface's DeepInterpolation)
    """
    if arrangement not in ARRANGEMENTS:
        raise ValueError(f"arrangement={arrangement!r} is not known; allowed: {', '.join(ARRANGEMENTS)}")
    if hasattr(recording_or_positions, "get_channel_locations"):
        if shanks is None:
            shanks = shank_of_channels(recording_or_positions)
        recording_or_positions = recording_or_positions.get_channel_locations()
    positions = np.asarray(recording_or_positions, dtype="float64")
    if positions.ndim != 2 or positions.shape[1] not in (2, 3) or len(positions) == 0:
        raise ValueError(f"positions of shape {positions.shape} must have the shape (num_channels, 2 or 3)")
    if not np.isfinite(positions[:, :2]).all():
        raise ValueError("positions must be finite")
    shank = _numbered(shanks, len(positions))
    grid = grid_of(positions[:, :2], shank)
    layout_type, row, column = _ARRANGE[arrangement](grid)
    rows = np.array([row[shank == number].max() + 1 for number in range(shank.max() + 1)])
    mask = np.zeros((len(rows), rows.max(), layout_type.columns), bool)
    mask[shank, row, column] = ~_dead(dead, len(positions))
    return ProbeLayout(layout_type, row, column, shank, rows, mask)


def _numbered(shanks: Any, num_channels: int) -> np.ndarray:
    if shanks is None:
        return np.zeros(num_channels, "int64")
    shanks = np.asarray(shanks)
    if shanks.shape != (num_channels,):
        raise ValueError(f"shanks of shape {shanks.shape} must have the shape ({num_channels},)")
    return np.unique(shanks, return_inverse=True)[1].astype("int64")


def _dead(dead: Any, num_channels: int) -> np.ndarray:
    if dead is None:
        return np.zeros(num_channels, bool)
    dead = np.asarray(dead)
    if dead.dtype == bool:
        if dead.shape != (num_channels,):
            raise ValueError(f"dead of shape {dead.shape} must have the shape ({num_channels},)")
        return dead
    if dead.size and (dead.ndim != 1 or dead.min() < 0 or dead.max() >= num_channels):
        raise ValueError(f"dead={dead.tolist()} must be indices of channels, 0 to {num_channels - 1}")
    return np.isin(np.arange(num_channels), dead)


def _type_of(grid: ContactGrid, columns: int, unit: np.ndarray, arrangement: str) -> LayoutType:
    """Name a type after the lattice, whatever the arrangement."""
    if grid.pattern == "group":
        name = f"group {grid.columns} contacts"
    elif grid.pattern == "irregular":
        name = "irregular"
    else:
        name = f"{grid.pattern} {grid.columns} column{'s' * (grid.columns > 1)} {grid.row_um:.3g} um"
    cells = tuple(tuple(int(cell) for cell in row) for row in unit)
    pitch_um = (round(grid.row_um, 2), round(grid.column_um, 2))
    return LayoutType(name, grid.pattern, columns, cells, pitch_um, arrangement)


def _lattice(grid: ContactGrid) -> tuple[LayoutType, np.ndarray, np.ndarray]:
    staggered = grid.pattern == "staggered"
    in_two_rows = grid.columns if staggered else 2 * grid.columns
    rows = max(1, 2 * CONTACTS_IN_UNIT // in_two_rows)
    if grid.pattern == "group":
        rows = 1
    elif staggered:
        rows += rows % 2
    width = grid.columns if grid.columns <= WIDEST_UNIT else STRIP_COLUMNS
    unit = np.ones((rows, width), int)
    if staggered:
        unit = 1 - np.add.outer(np.arange(rows), np.arange(width)) % 2
    return _type_of(grid, grid.columns, unit, "lattice"), grid.row + grid.phase, grid.column


def _in_row(grid: ContactGrid) -> tuple[int, np.ndarray]:
    """Contacts in a full row, and the place of each channel in its row, counted from the least x."""
    if grid.pattern == "staggered":
        return -(-grid.columns // 2), grid.column // 2
    return grid.columns, grid.column


def _packed(grid: ContactGrid) -> tuple[LayoutType, np.ndarray, np.ndarray]:
    width, place = _in_row(grid)
    rows = max(1, CONTACTS_IN_UNIT // width) if grid.pattern != "group" else 1
    unit = np.ones((rows, width if width <= WIDEST_UNIT else STRIP_COLUMNS), int)
    return _type_of(grid, width, unit, "packed"), grid.row, place


def _interleaved(grid: ContactGrid) -> tuple[LayoutType, np.ndarray, np.ndarray]:
    width, place = _in_row(grid)
    row = grid.row * width + width - 1 - place
    unit = np.tile(np.eye(2, dtype=int), (CONTACTS_IN_UNIT // 2, 1))
    return _type_of(grid, 2, unit, "interleaved"), row, row % 2


_ARRANGE = {"lattice": _lattice, "interleaved": _interleaved, "packed": _packed}


def shank_of_channels(recording: Any) -> np.ndarray:
    """Number the shanks of all probes and give that of each channel.

    They are counted from 0, int32, in the order in which the channels name them; zeros where the probe tells none
    apart.
    """
    contacts = recording.get_probegroup().to_numpy(complete=True)
    fields = [field for field in ("probe_index", "shank_ids") if field in contacts.dtype.names]
    names = list(zip(*(contacts[field].tolist() for field in fields), strict=True))
    seen = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([seen[name] for name in names], dtype="int32")


def attach_probe(recording: BaseRecording, probe: Any, check_overlap: bool = True) -> None:
    """Give a recording a probe, or a group of them, in place in every series of SpikeInterface.

    Before 0.105 a copy is made unless `in_place` is told, which is deprecated since.
    """
    attach = recording.set_probegroup if hasattr(probe, "probes") else recording.set_probe
    parameters = inspect.signature(attach).parameters
    options = {}
    if "in_place" in parameters and parameters["in_place"].default is False:
        options["in_place"] = True
    if "check_overlap" in parameters and not check_overlap:
        options["check_overlap"] = False
    attach(probe, **options)
