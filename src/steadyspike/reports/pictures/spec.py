"""One figure of a report: traces and layout of plotly, small, in colours that follow the page.

A text that begins with "@" is a colour of the page, of the same name in its style sheet. Arrays travel as bytes.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

RASTER = [[0.0, "@paper"], [0.06, "@paper"], [1.0, "@ink"]]
"""Spikes per pixel."""
SIGNED = [[0.0, "@low"], [0.5, "@paper"], [1.0, "@high"]]
"""Displacement: blue and orange, which every kind of colour vision tells apart."""
FOR_OR_AGAINST = [[0.0, "@high"], [0.5, "@paper"], [1.0, "@accent"]]
"""Evidence against a motion and for it, in the colours of the verdicts."""
EVIDENCE = [[0.0, "@poor"], [0.03, "@poor"], [0.09, "@between"], [0.6, "@good"], [1.0, "@best"]]
"""Evidence: from orange, where spikes say nothing, to blue; most of the scale is where good and poor part."""
SEQUENTIAL = "Cividis"
LINES = ("@line0", "@line1", "@line2", "@line3", "@line4", "@line5")

MOST_STEPS = 2**16 - 1
TYPES = {"float32": "f4", "float64": "f8", "uint8": "u1", "int16": "i2", "int32": "i4", "uint16": "u2"}


@dataclass
class Picture:
    """A figure: `data` and `layout` are plotly's, `caption` says in words what is seen.

    `narrow` changes the layout on a phone, `views` are layouts, and visible traces, to choose from: dicts of "label",
    "layout" and "visible". Heights are in pixels; `turns` gives the figure a button that turns it.
    """

    key: str
    title: str
    caption: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    height: int = 380
    narrow: dict[str, Any] = field(default_factory=dict)
    narrow_height: int = 0
    views: list[dict[str, Any]] = field(default_factory=list)
    turns: bool = False

    def to_json(self) -> str:
        """Write what the page draws; nothing in it can end the script that holds it."""
        content = dict(
            data=self.data,
            layout=self.layout,
            narrow=self.narrow,
            views=[{"layout": {}, **view} for view in self.views],
            height=self.height,
            narrowHeight=self.narrow_height or self.height,
        )
        text = json.dumps(content, default=_packed, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c")


@dataclass(frozen=True)
class Coarse:
    """Values of which 65,535 steps between the least and the largest are enough for a picture; half as large."""

    values: np.ndarray

    def packed(self) -> dict[str, Any]:
        """Give whole numbers, with what makes values of them; the largest one stands for NaN."""
        known = np.isfinite(self.values)
        low = float(self.values[known].min()) if known.any() else 0.0
        span = float(self.values[known].max()) - low if known.any() else 0.0
        step = span / (MOST_STEPS - 1) or 1.0
        whole = np.full(self.values.shape, MOST_STEPS, dtype="uint16")
        whole[known] = np.rint((self.values[known] - low) / step)
        return {**_packed(whole), "step": step, "low": low}


def coarse(values: Any) -> Coarse:
    """Give values of which a picture needs no more digits than it has pixels."""
    return Coarse(np.asarray(values, dtype="float64"))


def _packed(value: Any) -> Any:
    if isinstance(value, Coarse):
        return value.packed()
    if isinstance(value, np.ndarray):
        value = np.ascontiguousarray(value)
        packed = {
            "dtype": TYPES[value.dtype.name],
            "bdata": base64.b64encode(value.tobytes()).decode("ascii"),
        }
        return packed if value.ndim == 1 else {**packed, "shape": ", ".join(map(str, value.shape))}
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} can't be written")


def single(values: Any) -> np.ndarray:
    """Give values in single precision."""
    return np.asarray(values, dtype="float32")


def axis(title: str = "", **more: Any) -> dict[str, Any]:
    """Make an axis with a title."""
    return {"title": {"text": title}, **more}


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """Make a colour bar as high as its panel."""
    return {"title": {"text": title, "side": "right"}, "thickness": 10, "outlinewidth": 0, **more}


def heading(text: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    """Write the title of a panel above its upper left corner, given as shares of the figure."""
    place = dict(x=x, y=y, xref="paper", yref="paper", xanchor="left", yanchor="bottom", align="left")
    return dict(text=f"<b>{text}</b>", showarrow=False, **place, **more)
