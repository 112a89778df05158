"""The log of a training run: one JSON object in each line, and a figure of the losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from steadyspike.core.aside import written_aside

LOG, FIGURE = "log.jsonl", "loss.png"


class TrainingLog:
    """`log.jsonl` in a folder: step, train_loss, test_loss, learning_rate, elapsed_s of each evaluation."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def append(self, line: dict[str, Any]) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def lines(self) -> list[dict[str, Any]]:
        """Return all whole lines; a kill may have left part of one."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                break
        return found

    def cut_after(self, step: int) -> None:
        """Drop what was logged after a step: it will be done again."""
        kept = [json.dumps(line) + "\n" for line in self.lines() if line["step"] <= step]
        with written_aside(self.path) as aside:
            aside.write_text("".join(kept), encoding="utf-8")


def save_loss_figure(
    folder: Path, lines: list[dict[str, Any]], loss: str, baseline: float | None = None
) -> None:
    """Draw the losses over steps into `loss.png`.

    `lines` are those of `TrainingLog`, `loss` is what it is called, and `baseline` the held-out loss of the linear
    interpolation.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for key, label, color in (("train_loss", "training", "#9aa5b1"), ("test_loss", "held out", "#0d8a82")):
        points = [(line["step"], line[key]) for line in lines if line[key] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, color=color)
    if baseline is not None:
        axes.axhline(baseline, color="#1f2933", linestyle="--", linewidth=1, label="linear interpolation")
    axes.set_xlabel("step")
    axes.set_ylabel(f"{loss} (in noise levels)")
    axes.legend(frameon=False)
    with written_aside(folder / FIGURE) as aside:
        figure.savefig(aside, format="png", dpi=120)
