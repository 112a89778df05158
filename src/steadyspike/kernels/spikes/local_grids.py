"""Grids of templates around each contact of a probe.

Around each main channel lie a few hundred grid points. A template stands for a source at one of them, at one
of a few distances from the probe (planes), and says how large the spike would be on each contact. All that is
known about the surroundings of one main channel is its local grid. On a regular probe most channels have the
same surroundings, shifted; those share one local grid, so that memory does not grow with the probe.
"""

from typing import NamedTuple

import numpy as np

from steadyspike.kernels.spikes.contact_features import SAME_DISTANCE_UM, padded_rows

# positions that agree to this many decimals (in um) make the same surroundings
DECIMALS = 3


class LocalGrids(NamedTuple):
    """Templates around each main channel; `build_local_grids` makes it.

    `grid_index`, int64 (num_channels,), is the local grid of each channel; `contacts`, int64 (num_channels, most rows),
    the channel of each row of the weights, padded with -1. `sizes`, int64 (num_grids, 2), are the rows and grid points
    of each local grid, `starts`, int64 (num_grids, 3), where it begins in `weights`, `spans` and `offsets`.

    `weights`, float32, are those of all local grids, one after the other, each (rows, planes, grid points); `spans`,
    int64 (total rows, num_planes, 2), the first grid point with a weight, and the one after the last, for each row and
    plane; `offsets` (2, total) the grid points, x and y relative to the main channel, in um; `planes` (num_planes,) the
    values that `locate_on_grid` averages for z.
    """

    grid_index: np.ndarray
    contacts: np.ndarray
    sizes: np.ndarray
    starts: np.ndarray
    weights: np.ndarray
    spans: np.ndarray
    offsets: np.ndarray
    planes: np.ndarray


def build_local_grids(locations, weigh, radius_um, upsampling_um, margin_um, reach_um):
    """Lay a grid over the probe and collect, for each main channel, the templates near it.

    The grid starts `margin_um` outside the lowest x and y of all contacts and has a point every
    `upsampling_um`; those up to `radius_um` from the main channel are its templates.

    `locations` (num_channels, 2) are in um, finite. `weigh` takes distances in um, (num_contacts, num_templates), and
    returns the weights (num_planes, num_contacts, num_templates) and the value of each plane. Contacts farther than
    `reach_um` from a main channel have no weight in any of its templates. The step is above 0, the margin not
    negative. Memory, per distinct surroundings: 4 bytes x contacts with weight x planes x templates.
    """
    locations = np.ascontiguousarray(locations, dtype=np.float64)
    axes = [_grid_axis(column, upsampling_um, margin_um) for column in locations.T]
    known: dict[bytes, int] = {}
    blocks: list[tuple] = []
    contacts: list[np.ndarray] = []
    grid_index = np.empty(len(locations), dtype=np.int64)
    for channel, location in enumerate(locations):
        near, positions = _surroundings(locations, location, reach_um)
        offsets = _templates(axes, location, radius_um)
        key = b"|".join((np.round(where, DECIMALS) + 0.0).tobytes() for where in (positions, offsets))
        if key not in known:
            known[key] = len(blocks)
            blocks.append(_weigh_block(positions, offsets, weigh))
        grid_index[channel] = known[key]
        contacts.append(near[blocks[known[key]][0]])
    return _pack(grid_index, contacts, blocks)


def grids_of_weights(locations, positions, weights, near, planes):
    """Collect, for each main channel, the templates near it, out of the weights of all templates.

    `positions` (num_templates, 2), in um, and `weights` (num_planes, num_channels, num_templates), float32, are of all
    templates; `near` (num_channels, num_templates) says which belong to which main channel, `planes` are the values of
    the planes. One local grid for each channel.
    """
    first, last = _reach(weights)
    blocks, contacts = [], []
    planes = np.asarray(planes, dtype=np.float64)
    for location, row in zip(locations, near, strict=True):
        templates = np.flatnonzero(row)
        reached = np.zeros(0, dtype=np.int64)
        if templates.size:
            reached = np.flatnonzero((first <= templates[-1]) & (last >= templates[0]))
        block = weights[np.ix_(np.arange(len(weights)), reached, templates)].transpose(1, 0, 2)
        used = (block > 0).any(axis=(1, 2))
        blocks.append((used, np.ascontiguousarray(block[used]), positions[templates] - location, planes))
        contacts.append(reached[used])
    return _pack(np.arange(len(locations)), contacts, blocks)


def _reach(weights):
    """Return the first and the last template with a weight for each contact."""
    any_plane = (weights > 0).any(axis=0)
    last = any_plane.shape[1] - 1 - any_plane[:, ::-1].argmax(axis=1)
    return any_plane.argmax(axis=1), np.where(any_plane.any(axis=1), last, -1)


def _grid_axis(coordinates, upsampling_um, margin_um):
    first, last = coordinates.min() - margin_um, coordinates.max() + margin_um
    # a tenth of a step more, so that rounding does not lose the last point
    return np.arange(first, last + upsampling_um / 10, upsampling_um)


def _surroundings(locations, location, reach_um):
    """List the contacts in reach and where they are, seen from the main channel."""
    relative = locations - location
    near = np.flatnonzero(np.hypot(relative[:, 0], relative[:, 1]) <= reach_um + SAME_DISTANCE_UM)
    return near, relative[near]


def _templates(axes, location, radius_um):
    """Offsets of the grid points in the circle around a contact."""
    reach = radius_um + SAME_DISTANCE_UM
    x, y = (axis[np.abs(axis - here) <= reach] - here for axis, here in zip(axes, location, strict=True))
    offsets = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return offsets[np.hypot(offsets[:, 0], offsets[:, 1]) <= reach]


def _weigh_block(positions, offsets, weigh):
    """Return which contacts have any weight, their weights, the offsets and the values of the planes."""
    distances = np.sqrt(((positions[:, np.newaxis] - offsets) ** 2).sum(axis=2))
    weights, planes = weigh(distances)
    weights = np.asarray(weights, dtype=np.float32).transpose(1, 0, 2)
    used = (weights > 0).any(axis=(1, 2))
    return used, weights[used], offsets, np.asarray(planes, dtype=np.float64)


def _pack(grid_index, contacts, blocks):
    weights = [weights for _, weights, _, _ in blocks]
    sizes = np.array([(block.shape[0], block.shape[2]) for block in weights], dtype=np.int64)
    lengths = [(block.size, block.shape[0], block.shape[2]) for block in weights]
    starts = np.cumsum(np.array([(0, 0, 0), *lengths[:-1]], dtype=np.int64), axis=0)
    padded, _ = padded_rows(contacts)
    spans = np.concatenate([_spans(block) for block in weights])
    offsets = np.ascontiguousarray(np.concatenate([offsets for _, _, offsets, _ in blocks]).T)
    flat = np.concatenate([block.ravel() for block in weights])
    return LocalGrids(grid_index, padded, sizes, starts, flat, spans, offsets, blocks[0][3])


def _spans(weights):
    used = weights > 0
    if not used.size:
        return np.zeros((*weights.shape[:2], 2), dtype=np.int64)
    last = weights.shape[2] - used[:, :, ::-1].argmax(axis=2)
    return np.stack([used.argmax(axis=2), np.where(used.any(axis=2), last, 0)], axis=2).astype(np.int64)
