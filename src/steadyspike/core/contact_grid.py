"""The lattice that the contacts of a probe lie on: whole-numbered rows and columns from positions in um."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

MAX_GAP_ROWS = 8
MAX_GROUP = 4
STAGGERED_FROM = 5


class ContactGrid(NamedTuple):
    """Rows and columns of contacts, and the pattern they make.

    `phase` is 1 for channels of a shank whose row 0 has no contact in column 0 of a staggered lattice.
    """

    pattern: str
    row: np.ndarray
    column: np.ndarray
    columns: int
    row_um: float
    column_um: float
    phase: np.ndarray


def grid_of(positions: np.ndarray, shanks: np.ndarray) -> ContactGrid:
    """Find rows and columns of contacts, counted from 0 on each shank.

    A lattice is looked for first: the smallest steps along y and x of which all others are multiples, pooled over
    shanks. Where there is none, rows follow the order of depth. `positions` (num_channels, 2) are x and y in um,
    `shanks` (num_channels,) are counted from 0. The pattern is one of - "group": at most 4 contacts on each shank
    (tetrodes): one row, columns by depth, then x - "staggered": every other cell of the lattice is empty, like black
    and white of a chessboard - "aligned": any other lattice - "irregular": no lattice: one column, rows by depth, then
    x
    """
    from scipy.spatial import KDTree

    if np.bincount(shanks).max() <= MAX_GROUP:
        row, column = np.zeros_like(shanks), _rank(positions, shanks)
        return ContactGrid("group", row, column, int(column.max()) + 1, 0.0, 0.0, row)
    # coordinates closer than this are one: a tenth of the distance between neighbours, 1 um at most
    nearest_um = KDTree(positions).query(positions, k=2)[0][:, 1]
    tolerance_um = min(1.0, 0.1 * float(np.median(nearest_um)))
    x_um, column = _axis(positions[:, 0], shanks, tolerance_um)
    y_um, row = _axis(positions[:, 1], shanks, tolerance_um)
    if x_um is None or y_um is None or _crowded(row, column, shanks):
        return _irregular(positions, shanks)
    staggered = _is_staggered(row, column, shanks)
    phase = (row + column) % 2 if staggered else np.zeros_like(row)
    row = _close_gaps(row, shanks)
    columns = int(column.max()) + 1
    if _cells(row, column, shanks) > 4 * len(row) + 8:
        return _irregular(positions, shanks)
    return ContactGrid("staggered" if staggered else "aligned", row, column, columns, y_um, x_um, phase)


def _irregular(positions: np.ndarray, shanks: np.ndarray) -> ContactGrid:
    steps = [np.diff(np.sort(positions[shanks == shank, 1])) for shank in np.unique(shanks)]
    row = _rank(positions, shanks)
    column = np.zeros_like(row)
    return ContactGrid("irregular", row, column, 1, float(np.median(np.concatenate(steps))), 0.0, column)


def _rank(positions: np.ndarray, shanks: np.ndarray) -> np.ndarray:
    """Place of each contact on its shank, by depth, then x, then order of channels."""
    ranks = np.zeros(len(shanks), dtype="int64")
    for shank in np.unique(shanks):
        own = np.flatnonzero(shanks == shank)
        ranks[own[np.lexsort((positions[own, 0], positions[own, 1]))]] = np.arange(len(own))
    return ranks


def _axis(values: np.ndarray, shanks: np.ndarray, tolerance_um: float) -> tuple[float | None, np.ndarray]:
    """Step of a lattice along one axis, None where there is none, and the place of each value on it."""
    place = np.zeros(len(values), dtype="int64")
    own = [np.flatnonzero(shanks == shank) for shank in np.unique(shanks)]
    own = [channels[np.argsort(values[channels], kind="stable")] for channels in own]
    apart = [np.diff(values[channels]) for channels in own]
    pooled = np.concatenate(apart)
    pooled = pooled[pooled > tolerance_um]
    if pooled.size == 0:
        return 0.0, place
    step = _common_step(pooled, 2 * tolerance_um)
    if step is None:
        return None, place
    spans = []
    for channels, gaps in zip(own, apart, strict=True):
        # step by step, so that small errors do not add up along a probe
        steps = np.where(gaps > tolerance_um, np.round(gaps / step), 0).astype("int64")
        place[channels[1:]] = np.cumsum(steps)
        spans.append((steps.sum(), np.ptp(values[channels])))
    num_steps, span = max(spans)
    return float(span / num_steps), place


def _common_step(apart: np.ndarray, tolerance_um: float) -> float | None:
    """Greatest length of which all distances are whole multiples, None if it is less than a third of the least."""
    for parts in (1, 2, 3):
        least = np.median(apart[apart <= apart.min() + tolerance_um]) / parts
        whole = np.round(apart / least)
        step = float(np.median(apart / whole))
        if np.abs(apart - whole * step).max() <= max(0.1 * step, tolerance_um / 2):
            return step
    return None


def _crowded(row: np.ndarray, column: np.ndarray, shanks: np.ndarray) -> bool:
    cells = np.stack([shanks, row, column], axis=1)
    return len(np.unique(cells, axis=0)) < len(cells)


def _cells(row: np.ndarray, column: np.ndarray, shanks: np.ndarray) -> int:
    return len(np.unique(shanks)) * (int(row.max()) + 1) * (int(column.max()) + 1)


def _is_staggered(row: np.ndarray, column: np.ndarray, shanks: np.ndarray) -> bool:
    if column.max() == 0 or row.max() == 0 or len(row) < STAGGERED_FROM:
        return False
    colour = (row + column) % 2
    return all(np.ptp(colour[shanks == shank]) == 0 for shank in np.unique(shanks))


def _close_gaps(row: np.ndarray, shanks: np.ndarray) -> np.ndarray:
    """Shorten long stretches without contacts, by multiples of 4 rows, so that the phase of the pattern stays."""
    row = row.copy()
    for shank in np.unique(shanks):
        own = shanks == shank
        used = np.unique(row[own])
        surplus = np.maximum(np.diff(used) - 1 - MAX_GAP_ROWS, 0) // 4 * 4
        row[own] -= np.concatenate(([0], np.cumsum(surplus)))[np.searchsorted(used, row[own])]
    return row
