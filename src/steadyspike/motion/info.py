"""A motion info on disk, as SpikeInterface writes it, with the evidence and the verdict beside it."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from spikeinterface.core.motion import Motion

from steadyspike.motion.trust import MotionTrust

EXPLAINED, DEVIATION, VERDICT, ESTIMATE = "explained", "displacement_sd_um", "motion_trust", "estimate"
"""What comes along with a motion info, under the names of the estimators' extra outputs."""
VERDICT_FILE = "verdict.json"


def save_motion_info(motion_info: dict[str, Any], extra: dict[str, Any], folder: str | Path) -> None:
    """Write a motion info as SpikeInterface does, and what the estimator told besides.

    Parameters
    ----------
    motion_info : dict
        As `spikeinterface.full.compute_motion` gives it with ``output_motion_info=True``.
    extra : dict
        Extra outputs of an estimator; of these "explained", "displacement_sd_um", "motion_trust" and, where another
        motion than the estimate was returned, "estimate" are written.
    folder : str or Path
        Where to; must not be there.
    """
    import spikeinterface.full as si

    folder = Path(folder)
    si.save_motion_info(motion_info, folder)
    for name in (EXPLAINED, DEVIATION):
        if extra.get(name) is not None:
            np.save(folder / f"{name}.npy", extra[name])
    if extra.get(EXPLAINED) is not None:
        # under the name of 0.1.0 too, for one release
        np.save(folder / "trust.npy", extra[EXPLAINED])
    if extra.get(VERDICT) is not None:
        text = json.dumps(extra[VERDICT].to_dict(), indent=1)
        (folder / VERDICT_FILE).write_text(text, encoding="utf8")
    if extra.get(ESTIMATE, motion_info["motion"]) is not motion_info["motion"]:
        extra[ESTIMATE].save(folder / ESTIMATE)


def load_motion_info(folder: str | Path) -> dict[str, Any]:
    """Load a motion info with the evidence and the verdict that `steadyspike correct` wrote beside it.

    Parameters
    ----------
    folder : str or Path
        A folder of `spikeinterface.full.save_motion_info`, such as motion_info/ of ``steadyspike correct``.

    Returns
    -------
    motion_info : dict
        What `spikeinterface.full.load_motion_info` gives, and of what follows that which is there: "explained" and
        "displacement_sd_um" (um), ndarrays of shape (num_times, num_windows) with segments one after the other;
        "motion_trust", the verdict, a `steadyspike.motion.trust.MotionTrust`; and "estimate", the `Motion` that was
        judged, which is another than "motion" where the verdict was followed.

    Raises
    ------
    FileNotFoundError
        If there is no motion info.
    """
    import spikeinterface.full as si

    folder = Path(folder)
    info: dict[str, Any] = si.load_motion_info(folder)
    for name in (EXPLAINED, DEVIATION):
        if (folder / f"{name}.npy").is_file():
            info[name] = np.load(folder / f"{name}.npy", allow_pickle=False)
    if (folder / VERDICT_FILE).is_file():
        info[VERDICT] = trust_from_dict(json.loads((folder / VERDICT_FILE).read_text(encoding="utf8")))
    if (folder / ESTIMATE).is_dir():
        info[ESTIMATE] = Motion.load(folder / ESTIMATE)
    return info


def trust_from_dict(content: dict[str, Any]) -> MotionTrust:
    """Make a verdict of what `MotionTrust.to_dict` gave; what a later version added is left out."""
    known = {one.name for one in fields(MotionTrust)}
    numbers = {name: value for name, value in content.items() if name in known - {"trust", "evidence"}}
    # JSON has no NaN
    numbers = {name: float("nan") if value is None else value for name, value in numbers.items()}
    # verdicts of before say nothing of the evidence in each bin
    trust, evidence = (
        [np.array(part, dtype="float64") for part in content.get(name, [])] for name in ("trust", "evidence")
    )
    return MotionTrust(trust=trust, evidence=evidence, **numbers)
