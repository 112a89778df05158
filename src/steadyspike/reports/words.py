"""What a report says: the verdict for who records from brains, what was done, warnings, and how to go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from steadyspike.motion.trust import CLEAR_ERRORS, MIN_RANGE_UM, MIN_SPIKES, MIN_TIMES, WILD_SHARE, percent

if TYPE_CHECKING:
    from steadyspike.motion.trust import MotionTrust
    from steadyspike.reports.run import Run

GOOD, STILL, CAREFUL, FAILED, PLAIN = "good", "still", "careful", "failed", "plain"
"""Kinds of a headline; the page gives each a sign and a colour."""
LARGE_LOSS = 0.02
"""Share of a spike's energy left by the correction, from which on a word is said of it."""


@dataclass(frozen=True)
class Headline:
    """The verdict in a sentence, its kind, and the reason with its numbers."""

    kind: str
    sentence: str
    reason: str


def headline(run: Run) -> Headline:
    """Say what happened, so that it is true of a still recording, of a failed estimate, and without spikes."""
    if run.motion is None:
        model = run.facts.get("request", {}).get("model")
        what = f"The recording was denoised by DeepInterpolation with {model}; " if model else ""
        return Headline(PLAIN, f"{what}{'n' if what else 'N'}o motion was estimated here.", "")
    trust, done = run.trust, run.was_corrected
    if run.peaks is not None and len(run.peaks) == 0:
        sentence = "No spikes were found, so nothing can be known of drift, and nothing was corrected."
        return Headline(
            FAILED, sentence, "Is the recording filtered, and its probe and its gains the right ones?"
        )
    if trust is None:
        span = span_of(run)
        sentence = f"The motion that was found spans {span:.1f} µm; whether it is right has not been judged."
        return Headline(CAREFUL, sentence, "")
    reason = nicely(trust.reason)
    if trust.verdict.startswith("correct"):
        return _of_real_motion(run, trust, reason)
    if trust.verdict == "cannot tell":
        few = trust.num_spikes < MIN_SPIKES or len(np.concatenate(trust.trust)) < MIN_TIMES
        why = "there are too few spikes to judge by" if few else "the spikes neither confirm nor exclude it"
        after = (
            "the motion was corrected all the same: look before you use it"
            if done
            else "nothing was corrected"
        )
        return Headline(CAREFUL, f"Whether the tissue moved can't be told: {why}; {after}.", reason)
    if _failed(trust):
        after = (
            "It was corrected all the same: don't sort this."
            if done
            else "Nothing was corrected, and the recording is as it was."
        )
        return Headline(FAILED, f"The motion estimate failed: the spikes contradict it. {after}", reason)
    return _of_no_motion(trust, done, reason)


def with_noise(run: Run, said: Headline, before: str, after: str) -> Headline:
    """Say what became of the noise of a median channel, where that is what the run was for."""
    model = run.facts.get("request", {}).get("model")
    if run.motion is not None or not model:
        return said
    sentence = (
        f"The recording was denoised by DeepInterpolation with {model}: the noise of a median channel went from "
        f"{before} to {after}."
    )
    return Headline(PLAIN, sentence, "Whether spikes kept their size, steadyspike evaluate tells.")


def _of_real_motion(run: Run, trust: MotionTrust, reason: str) -> Headline:
    span = trust.displacement_um
    if not run.was_corrected:
        sentence = (
            f"The tissue moved by {span:.0f} µm, as held-out spikes confirm, and nothing was corrected."
        )
        return Headline(CAREFUL, sentence, reason)
    rigid = run.motion is not None and run.motion.spatial_bins_um.size == 1
    if trust.verdict == "correct" or rigid:
        kind = "rigid motion" if rigid else "motion"
        how = "as a whole " if rigid else ""
        sentence = (
            f"The tissue moved {how}by {_amount(span)} along the probe; spikes that were held out confirm it, and the "
            f"{kind} was corrected."
        )
        return Headline(GOOD, sentence, reason)
    sentence = (
        f"The tissue moved by {_amount(span)}, as a whole; a motion that differs with depth was corrected, which the "
        "spikes don't support: correct rigidly."
    )
    return Headline(CAREFUL, sentence, reason)


def _of_no_motion(trust: MotionTrust, done: bool, reason: str) -> Headline:
    if trust.displacement_um < MIN_RANGE_UM:
        after = "what was corrected is too small to matter" if done else "nothing had to be corrected"
        span = f"{trust.displacement_um:.1f} µm"
        sentence = f"This recording is still: the motion that was found spans {span}, and {after}."
        return Headline(STILL, sentence, reason)
    if "are real" in trust.reason:
        after = "it was corrected all the same" if done else "it was left alone"
        sentence = f"The tissue moved, but a correction would cost more than it brings; {after}."
        return Headline(CAREFUL if done else STILL, sentence, reason)
    after = (
        "It was corrected all the same, which may do harm: look before you use it."
        if done
        else "Nothing was corrected, and the recording is as it was."
    )
    return Headline(
        CAREFUL if done else STILL, f"There is no motion that the spikes confirm. {after}", reason
    )


def _failed(trust: MotionTrust) -> bool:
    contradicted = trust.gain < -CLEAR_ERRORS * trust.gain_error and trust.displacement_um >= MIN_RANGE_UM
    times = sum(len(part) for part in trust.trust)
    return contradicted or trust.wild_bins > WILD_SHARE * max(times, 1)


def _amount(span_um: float) -> str:
    return f"{span_um:.0f} µm" if span_um >= 10 else f"{span_um:.1f} µm"


def span_of(run: Run) -> float:
    """Give the range of the displacement around its median at each depth, 2nd to 98th percentile, um."""
    if run.motion is None:
        return 0.0
    moved = np.concatenate(run.motion.displacement)
    return float(np.diff(np.percentile(moved - np.median(moved, axis=0), [2, 98]))[0]) if moved.size else 0.0


def nicely(text: str) -> str:
    """Write units and signs as in print."""
    return text.replace("+-", "±").replace(" um ", " µm ").replace(" um)", " µm)").replace(" um,", " µm,")


def in_words(seconds: float) -> str:
    """Write a duration."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def losses(trust: MotionTrust) -> str:
    """Say what drift costs, in spikes; empty where it is not known."""
    left = trust.loss_with if trust.verdict == "correct" else trust.rigid_loss_with
    if not (np.isfinite(trust.loss_without) and np.isfinite(left)):
        return ""
    return (
        f"Left alone, drift would blur {percent(trust.loss_without)} of a spike's energy; the correction leaves "
        f"{percent(left)}."
    )


def done(run: Run) -> list[str]:
    """Say what was done, in short sentences."""
    request = run.facts.get("request", {})
    lines = []
    if run.recording is not None:
        total, number = run.recording.get_total_duration(), run.recording.get_num_segments()
        where = f" in {number} segments" if number > 1 else ""
        channels = run.recording.get_num_channels()
        lines.append(
            f"{in_words(total)}{where} of {channels} channels at {run.recording.sampling_frequency:g} Hz."
        )
    if request.get("preprocess"):
        lines.append(f"Preprocessing: {request['preprocess']}.")
    if request.get("model"):
        lines.append(f"Denoised by DeepInterpolation with {request['model']}.")
    preset = request.get("preset") or run.facts.get("parameters", {}).get("preset")
    if run.motion is not None:
        bins = np.concatenate([np.diff(part) for part in run.motion.temporal_bins_s])
        bin_s = f"time bins of {np.median(bins):.3g} s" if bins.size else "one time bin"
        windows = run.motion.spatial_bins_um.size
        how = "one window (rigid)" if windows == 1 else f"{windows} windows along the probe"
        spikes = "" if run.peaks is None else f" from {len(run.peaks):,} spikes"
        lines.append(f"Motion{f' by preset {preset}' if preset else ''}{spikes}, in {bin_s} and {how}.")
    if request.get("save_as") in ("binary", "zarr"):
        dtype = f" as {request['dtype']}" if request.get("dtype") else ""
        lines.append(f"Traces were written{dtype} ({request['save_as']}).")
    elif run.folder is not None and run.corrected is not None:
        lines.append("The result is lazy: it is computed when it is read.")
    return lines


def warnings_of(run: Run, odd: list[str]) -> list[str]:
    """List what the reader should know before using the result."""
    found = [nicely(str(text)) for text in run.facts.get("warnings") or []]
    found += [f"{text[0].upper()}{text[1:]}." for text in odd]
    trust = run.trust
    if trust is not None:
        if trust.wild_bins:
            found.append(
                f"{trust.wild_bins} time bins stand up to {trust.wild_um:.0f} µm away from those around them, and too "
                "few spikes speak for it."
            )
        if np.isfinite(trust.loss_with) and trust.verdict == "correct" and trust.loss_with > LARGE_LOSS:
            found.append(
                f"The correction leaves {percent(trust.loss_with)} of a spike's energy lost; units far apart in time "
                "may still differ."
            )
    if run.motion is not None and _touches_limits(run):
        found.append(
            "The motion is as large as the probe is long: only the depths that stay on it can be followed."
        )
    return list(dict.fromkeys(found))


def _touches_limits(run: Run) -> bool:
    if run.recording is None or not run.recording.has_channel_location():
        return False
    extent = float(np.ptp(run.recording.get_channel_locations()[:, 1]))
    return extent > 0 and span_of(run) > 0.5 * extent


def how_to_go_on(run: Run, kind: str) -> tuple[list[str], str]:
    """Give advice in sentences, and code that goes on from here (empty where there is none)."""
    advice = {
        GOOD: "Sort the corrected recording, and tell the sorter not to correct again.",
        STILL: "Sort the recording as it is; a sorter's own drift correction may be left off.",
        CAREFUL: "Look at the pictures of spikes over depth before you sort: do units keep theirs?",
        PLAIN: "Estimate and correct the motion next: steadyspike correct takes this folder's recording.json.",
        FAILED: "Look at traces and noise below: find out whether there are spikes, and on which channels.",
    }
    lines = [run.facts.get("next") or advice[kind]]
    if run.sorting is not None and run.folder is not None:
        lines = [
            "Look at the units: steadyspike view opens this folder. Which to keep is for you to say, or a curator."
        ]
    if kind in (CAREFUL, FAILED) and run.peaks is not None and len(run.peaks):
        lines.append(
            "With few spikes, longer time bins help (--set estimate_motion.bin_s=5), or a rigid motion (--rigid)."
        )
    if run.folder is None or not run.opens:
        return lines, ""
    if run.sorting is not None:
        return lines, f'steadyspike view "{run.folder.absolute().as_posix()}"'
    place = (run.folder.absolute() / run.opens).as_posix()
    code = (
        "import spikeinterface.full as si\nimport steadyspike\n\n"
        f'recording = si.load("{place}")\n'
        'parameters = steadyspike.sorting.parameters("kilosort4", recording)\n'
        'sorting = si.run_sorter("kilosort4", recording, folder="kilosort4", **parameters)'
    )
    return lines, code


def settings_tables(run: Run) -> list[tuple[str, list[tuple[str, str]]]]:
    """Give the parameters of each step as they were really chosen: name, rows."""
    tables = []
    parameters: dict[str, Any] = dict(run.facts.get("parameters") or {})
    names = {
        "detect_kwargs": "Detection",
        "select_kwargs": "Selection",
        "localize_peaks_kwargs": "Localization",
        "estimate_motion_kwargs": "Motion",
        "interpolate_motion_kwargs": "Interpolation",
    }
    for key, title in names.items():
        values = parameters.get(key)
        if values:
            tables.append((title, [(str(name), shown(value)) for name, value in values.items()]))
    request = run.facts.get("request")
    if request:
        hidden = ("overrides",)
        rows = [(name, shown(value)) for name, value in request.items() if name not in hidden]
        tables.insert(0, ("Asked for", rows))
    return tables


def shown(value: Any) -> str:
    """Write a value for a table."""
    if isinstance(value, dict):
        return ", ".join(f"{name}={shown(one)}" for name, one in value.items()) or "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "-" if value is None else str(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
