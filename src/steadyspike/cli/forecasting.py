"""What one recording of a batch will take, for the queue of a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.cli import reading
from steadyspike.cli.errors import say

if TYPE_CHECKING:
    from steadyspike.cluster.tasks import Task


def uses_gpu(command: str, values: dict[str, Any]) -> bool:
    """Whether a command computes on a GPU: by its --device, or by what SpikeInterface says of its sorter."""
    if command == "denoise":
        return str(values["device"]).startswith("cuda")
    if command == "sort":
        from spikeinterface.sorters.sorterlist import sorter_dict

        sorter = sorter_dict.get(values["sorter"])
        return sorter is not None and sorter.gpu_capability.startswith("nvidia")
    return False


def forecast_of(
    command: str, task: Task, values: dict[str, Any], n_jobs: int
) -> tuple[float | None, float | None]:
    """Forecast memory in MB and seconds of a correction; None where they are not known, as of a sorter.

    Noise levels and two seconds of the recording are read.
    """
    from steadyspike.motion.forecast import forecast_motion

    if command != "correct":
        return None, None
    jobs = dict(n_jobs=n_jobs, chunk_duration=values["chunk_duration"], progress_bar=False)
    try:
        opened = reading.open_recording(Path(task.about["recording"]), **reading.how_of(values))
        # bad channels are not searched for: few channels less are no matter here
        steps, _ = reading.preprocessing_steps(opened, values["preprocess"])
        kept = [step for step in steps if step["name"] not in reading.FINDERS]
        expected = forecast_motion(
            reading.apply_steps(opened, kept), preset=reading.pin_preset(values["preset"]), **jobs
        )
    except Exception as error:
        say(f"[yellow]note[/yellow]: {task.name} cannot be forecast: {error}")
        return None, None
    seconds = (expected.detect_s or 0.0) + (expected.estimate_s or 0.0)
    return expected.memory_mb, seconds if expected.estimate_s is not None else None
