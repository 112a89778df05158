"""``steadyspike sessions``: one motion for several sessions of one implant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from steadyspike.cli import reading
from steadyspike.cli.correcting import checked, run_one, takes_correcting, tell_result
from steadyspike.cli.errors import Debug, clear_errors, refusals, say, tell
from steadyspike.cli.options import Output

EXAMPLES = """
[bold]Example[/bold]

  steadyspike sessions /data/monday_g0 /data/tuesday_g0 /data/friday_g0 -o together

[bold]What is written[/bold] is what steadyspike correct writes, of all sessions: recording.json has
one segment for each (or as many as the session has), in the order given, and motion_info the motion
of all in one frame of reference.
"""


@takes_correcting
@reading.takes_reading
def sessions(
    recordings: Annotated[
        list[Path],
        typer.Argument(metavar="SESSION...", help="Recordings with the same contacts.", show_default=False),
    ],
    output: Output,
    *,
    how: dict[str, Any],
    asked: dict[str, Any],
    debug: Debug = False,
) -> None:
    """Estimate and correct the motion within and between sessions of one implant.

    Sessions may be hours or days apart, and lie up to 400 um from each other.
    """
    with clear_errors(debug):
        import spikeinterface.full as si

        from steadyspike.cli.output import writing_to
        from steadyspike.motion.info import load_motion_info
        from steadyspike.motion.sessions import check_sessions

        asked = checked(asked)
        with writing_to(output, asked["overwrite"]):
            opened = [reading.open_recording(path, **how) for path in recordings]
            with refusals():
                check_sessions(opened)
            for path, recording in zip(recordings, opened, strict=True):
                say(f"[bold]session[/bold]     {path.name}: {reading.describe(recording)}")
            together = opened[0] if len(opened) == 1 else si.append_recordings(opened)
            tell_result(run_one(together, recordings, output, asked))
        motion = load_motion_info(output / "motion_info")["motion"]
        _tell_offsets(recordings, [one.get_num_segments() for one in opened], motion)


def _tell_offsets(recordings: list[Path], segments: list[int], motion: Any) -> None:
    """Print where each session lies relative to the first."""
    from rich.table import Table

    table = Table("session", "offset (um)", "range within (um)", title="Sessions", title_justify="left")
    first, rest = 0, None
    for path, number in zip(recordings, segments, strict=True):
        moved = np.concatenate(motion.displacement[first : first + number])
        first += number
        middle = np.median(moved, axis=0)
        rest = middle if rest is None else rest
        within = float(np.diff(np.percentile(moved - middle, [2, 98]))[0])
        table.add_row(path.name, f"{np.median(middle - rest):.1f}", f"{within:.1f}")
    tell(table)
