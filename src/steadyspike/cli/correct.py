"""``steadyspike correct``: from recordings to motion-corrected recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli import reading
from steadyspike.cli.correcting import checked, run_one, takes_correcting, tell_result
from steadyspike.cli.errors import FAILED, Debug, UsageError, clear_errors, error_line, say, tell
from steadyspike.cli.notes import without_compiling
from steadyspike.cli.options import Output

if TYPE_CHECKING:
    from steadyspike.cli.correction import Correction

EXAMPLES = """
[bold]Examples[/bold]

A SpikeGLX run, with the filters that fit its probe:

  steadyspike correct /data/my_run_g0 -o corrected

A stream of an Open Ephys session, your own preset, int16 traces for a sorter:

  steadyspike correct session --stream ProbeB-AP -p lab.toml -o out -f binary --dtype int16

A raw file of a tetrode:

  steadyspike correct raw.dat --reader binary --probe tetrode -o out --reader-option
  sampling_frequency=30000 --reader-option num_channels=4 --reader-option dtype=int16

Several runs, each in a folder of its own below corrected, with a table at the end:

  steadyspike correct /data/monday_g0 /data/tuesday_g0 -o corrected

[bold]What is written[/bold]

[bold]report.html[/bold]: one file that tells what happened, for any browser, offline.

[bold]recording.json[/bold]: the corrected recording, computed when it is read:
si.load("out/recording.json").

[bold]motion_info/[/bold]: peaks, their locations, the motion, its evidence, standard deviation and
verdict: steadyspike.motion.load_motion_info("out/motion_info"), or si.load_motion_info for the
motion alone.

[bold]figures/[/bold]: verdict, rasters, motion map, peaks on the probe, run times.

[bold]recording/[/bold] or [bold]recording.zarr/[/bold]: the traces, with -f binary or -f zarr.

Until all of that is there, the bad channels, the peaks of every 20 s of the recording and, with -f
binary, the traces that are done are kept in a folder beside it whose name ends in .part: after an
interrupt or a crash, the same command goes on from there.
"""

Recordings = Annotated[
    list[Path],
    typer.Argument(
        metavar="RECORDING...",
        help="What SpikeInterface saved, or a file or folder of an acquisition system; of several, each is corrected "
        "by itself.",
        show_default=False,
    ),
]


@takes_correcting
@reading.takes_reading
def correct(
    recordings: Recordings,
    output: Output,
    *,
    how: dict[str, Any],
    asked: dict[str, Any],
    debug: Debug = False,
) -> None:
    """Estimate and correct the motion of recordings."""
    with clear_errors(debug):
        asked = checked(asked)
        if len(recordings) == 1:
            tell_result(_correct(recordings[0], output, how, asked))
        else:
            _correct_all(recordings, output, how, asked)


def _correct(recording: Path, output: Path, how: dict[str, Any], asked: dict[str, Any]) -> Correction:
    from steadyspike.cli.output import writing_to

    # nothing is opened for an output that may not be written
    with writing_to(output, asked["overwrite"]):
        return run_one(reading.open_recording(recording, **how), recording, output, asked)


def _correct_all(recordings: list[Path], output: Path, how: dict[str, Any], asked: dict[str, Any]) -> None:
    """Correct one recording after the other; what fails is told, and the others are done."""
    from rich.table import Table

    names = _names(recordings)
    table = Table("recording", "verdict", "displacement", "peaks", "time", title="Runs", title_justify="left")
    failed = 0
    for recording, name in zip(recordings, names, strict=True):
        say("")
        say(f"[bold]{name}[/bold]")
        try:
            done = _correct(recording, output / name, how, asked)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            failed += 1
            say(error_line(error))
            table.add_row(name, "failed", "", "", "")
            continue
        tell_result(done)
        seconds = sum(without_compiling(done.run_times).values())
        table.add_row(
            name, done.verdict, f"{done.displacement_um:.1f} um", f"{done.num_peaks:,}", f"{seconds:.1f} s"
        )
    tell("", table, f"reports: {output}/*/report.html")
    if failed:
        say(f"[bold red]error[/bold red]: {failed} of {len(recordings)} runs failed, see above")
        raise typer.Exit(FAILED)


def _names(recordings: list[Path]) -> list[str]:
    """Name the folders of several runs, with the folder above where the names are the same."""
    plain = [path.absolute().name for path in recordings]
    longer = [f"{path.absolute().parent.name}-{path.absolute().name}" for path in recordings]
    names = [more if plain.count(name) > 1 else name for name, more in zip(plain, longer, strict=True)]
    if len(set(names)) < len(names):
        raise UsageError("two of the recordings have the same name; correct them one by one")
    return names
