"""Units of a sorting: their rates over time, and what of them still depends on the drift."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from steadyspike.reports.pictures.spec import SEQUENTIAL, Picture, axis, coarse, colour_bar, single

if TYPE_CHECKING:
    from spikeinterface import BaseSorting

    from steadyspike.reports.run import Run
    from steadyspike.reports.spikes import Timeline

FEWEST_BINS, MOST_BINS, SPIKES_PER_BIN, MOST_UNITS = 10, 120, 12, 300
"""As many time bins as leave a unit so many spikes in each, within these limits: fewer would show chance."""


def rates_picture(run: Run, sorting: BaseSorting, timeline: Timeline) -> Picture | None:
    """Draw the rate of each unit over time, relative to its largest one, most steady units on top."""
    typical = np.median(list(sorting.count_num_spikes_per_unit().values()) or [0])
    num_bins = int(np.clip(typical / SPIKES_PER_BIN, FEWEST_BINS, MOST_BINS))
    edges = np.linspace(*timeline.limits_s, num_bins + 1)
    counts = []
    for unit in sorting.unit_ids:
        times = []
        for index in range(sorting.get_num_segments()):
            train = sorting.get_unit_spike_train(unit, segment_index=index)
            own = (
                train / sorting.sampling_frequency
                if run.recording is None
                else run.recording.sample_index_to_time(train, segment_index=index)
            )
            times.append(np.asarray(own) + timeline.offsets_s[index])
        counts.append(np.histogram(np.concatenate(times), edges)[0])
    table = np.array(counts, dtype="float64")
    table = table[table.sum(axis=1) > 0]
    if not len(table):
        return None
    steadiness = table.std(axis=1) / table.mean(axis=1)
    order = np.argsort(-steadiness)[-MOST_UNITS:]
    relative = table[order] / table[order].max(axis=1, keepdims=True)
    data = [
        dict(
            type="heatmap",
            x=single((edges[1:] + edges[:-1]) / 2),
            z=coarse(relative),
            colorscale=SEQUENTIAL,
            colorbar=colour_bar("of the largest"),
            hovertemplate="%{x:.0f} s: %{z:.2f}<extra></extra>",
        )
    ]
    caption = (
        f"Rates of {len(order)} of {len(sorting.unit_ids)} units over time, each relative to its largest; the "
        "steadiest are on top. Units that begin or end where the motion is large were rather lost by the sorter than "
        "silent."
    )
    layout = dict(
        xaxis=axis(timeline.label, range=list(timeline.limits_s)), yaxis=axis("unit", showticklabels=False)
    )
    return Picture("units", "Units over time", caption, data, layout, height=420)
