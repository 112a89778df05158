"""How commands open and preprocess a recording: their shared options, and what these do."""

from __future__ import annotations

import functools
import json
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli.errors import UsageError, say
from steadyspike.cli.options import option, parse_settings, takes_options

if TYPE_CHECKING:
    from probeinterface import ProbeGroup
    from spikeinterface import BaseRecording

    from steadyspike.core.unfinished import WorkFolder

SHORT_PROBES = ("tetrode", "linear-PITCH")
"""Names of probes for `--probe`; the pitch is in um."""

RecordingPath = Annotated[
    Path, typer.Argument(help="What SpikeInterface saved, or a file or folder of an acquisition system.")
]
_reading = functools.partial(option, rich_help_panel="Reading")
_OPTIONS = [
    _reading("stream", str | None, None, "Name or id, where there are several."),
    _reading("segment", int | None, None, "Only this one. Default: all, together."),
    _reading("shank", int | None, None, "Only this one, counted from 0. Default: all, together."),
    _reading("reader", str | None, None, "Format, such as spikeglx. Default: recognized."),
    _reading("reader_option", list[str] | None, None, "Argument of the reader.", metavar="KEY=VALUE"),
    _reading(
        "probe",
        str | None,
        None,
        "Where none is known, or another: a file of probeinterface (.json, .prb), "
        f"{' or '.join(SHORT_PROBES)} (contacts in the order of the channels).",
    ),
    _reading("trust_pickle", bool, False, "Open a .pkl file. Doing so runs any code inside it."),
]
takes_reading = takes_options("how", _OPTIONS)
"""Gives a command the options of `open_recording`, whose values its argument `how` holds."""

Preprocess = Annotated[
    str,
    typer.Option(
        "--preprocess",
        help="A preprocessing preset, a TOML file, hf:owner/name, [bold]none[/bold], or [bold]auto[/bold]: none if the "
        "recording is filtered; else a highpass of 300 Hz and a common reference, and what else fits its Neuropixels "
        "probe.",
    ),
]

BAD_CHANNELS = "bad_channels"
FINDERS = ("detect_and_interpolate_bad_channels", "detect_and_remove_bad_channels")
"""Preprocessing steps that read the recording to find bad channels; and where these are kept."""

ACCELERATED = (
    "detect_bad_channels",
    "interpolate_bad_channels",
    "get_noise_levels",
    "locally_exclusive",
    "by_channel",
)
"""SpikeInterface's parts between ours, which would take longer than these, and give the same on our kernels."""

FILTERS: list[dict[str, Any]] = [
    {"name": "steady_bandpass_filter", "params": {"freq_min": 300.0, "freq_max": 6000.0}},
    {"name": "steady_common_reference", "params": {}},
]
"""Preprocessing of a recording about whose probe nothing is known."""


def accelerated_parts() -> AbstractContextManager[Any]:
    """Do what is SpikeInterface's between our parts on our kernels too, here and in worker processes: `ACCELERATED`."""
    import steadyspike

    return nullcontext() if steadyspike.accelerated().on else steadyspike.accelerate(names=ACCELERATED)


def how_of(values: dict[str, Any]) -> dict[str, Any]:
    """Pick the arguments of `open_recording` out of all that a command was given."""
    return {one.name: values[one.name] for one in _OPTIONS}


def open_recording(
    path: Path,
    *,
    probe: str | None,
    segment: int | None,
    reader_option: list[str] | None,
    shank: int | None = None,
    purpose: str = "motion",
    **how: Any,
) -> BaseRecording:
    """Open a recording with a probe, or say what is missing.

    `probe` is a file of probeinterface to attach or one of `SHORT_PROBES`, `segment` and `shank` the ones to keep
    (None: all), `reader_option` are arguments of the reader as ``key=value``, and `purpose` says what contact positions
    are needed for. `path` and what else is given are those of `load_recording`.
    """
    from steadyspike.core.addresses import as_text
    from steadyspike.core.loading import load_recording

    options = parse_settings(reader_option or [], "--reader-option")
    recording = load_recording(path, reader_options=options, **how)
    if probe is not None:
        _attach_probe(recording, probe)
    if not recording.has_channel_location():
        raise UsageError(
            f"{as_text(path)} has no probe, and {purpose} needs contact positions; give one with --probe: a file of "
            f"probeinterface, {' or '.join(SHORT_PROBES)}"
        )
    number = recording.get_num_segments()
    if segment is not None and not 0 <= segment < number:
        raise UsageError(f"--segment {segment} is not there; the recording has {number}, counted from 0")
    if segment is not None and number > 1:
        recording = recording.select_segments([segment])
    return recording if shank is None else _only_shank(recording, shank)


def _only_shank(recording: BaseRecording, shank: int) -> BaseRecording:
    import numpy as np

    from steadyspike.core.probe_layout import shank_of_channels

    of_channels = shank_of_channels(recording)
    members = np.flatnonzero(of_channels == shank)
    if not members.size:
        raise UsageError(
            f"--shank {shank} is not there; the recording has {of_channels.max() + 1}, counted from 0"
        )
    return recording.select_channels(recording.channel_ids[members])


def pin_preset(preset: str) -> str:
    """Return a preset on the Hub by its commit, so that all of a run uses the same; others as they are."""
    from steadyspike.cli.sharing import hub_refusals
    from steadyspike.library.hub.client import pin
    from steadyspike.library.presets.presets import PRESET_FORM

    with hub_refusals():
        return str(pin(preset, PRESET_FORM))


def describe(recording: BaseRecording) -> str:
    """Say in one line what a recording is."""
    channels, rate = recording.get_num_channels(), recording.get_sampling_frequency()
    number = recording.get_num_segments()
    segments = f" in {number} segments" if number > 1 else ""
    return f"{channels} channels, {rate:g} Hz, {recording.get_total_duration():.1f} s{segments}, {recording.dtype}"


def preprocess(
    recording: BaseRecording, choice: str, work: WorkFolder | None = None
) -> tuple[BaseRecording, str]:
    """Apply a preprocessing preset.

    `choice` is "none", "auto", a bundled preset, a TOML file or a reference to the Hub, `work` that of `apply_steps`.
    Returns the lazy recording, and what was applied, in words.
    """
    steps, chosen = preprocessing_steps(recording, choice)
    return apply_steps(recording, steps, work), chosen


def preprocessing_steps(recording: BaseRecording, choice: str) -> tuple[list[dict[str, Any]], str]:
    """Give the steps that a choice stands for, and their name; arguments are as for `preprocess`."""
    import steadyspike

    chosen = fitting_preset(recording) if choice == "auto" else pin_preset(choice)
    if chosen == "none":
        return [], "none"
    if chosen == "filters":
        return FILTERS, "bandpass and common reference"
    try:
        preset = steadyspike.load_preset(chosen)
    except FileNotFoundError as error:
        raise UsageError(str(error)) from None
    if preset.kind != "preprocessing":
        raise UsageError(f"{chosen} is a motion preset; steadyspike correct takes it as --preset")
    return preset.steps, chosen


def denoising_steps(recording: BaseRecording, choice: str) -> tuple[list[dict[str, Any]], str]:
    """Give the steps before DeepInterpolation, and their name; arguments are as for `preprocess`.

    What "auto" stands for keeps all above the lower corner. Where noise is cut off above, it is no longer independent
    from sample to sample: a network that sees the samples beside the hidden one predicts it, and keeps it.
    """
    steps, chosen = preprocessing_steps(recording, choice)
    if choice == "auto" and steps:
        known = chosen.startswith("neuropixels")
        chosen = f"{chosen}, with a highpass only" if known else "highpass and common reference"
        steps = [_opened_above(step) for step in steps]
    if any(_upper_corner(step) for step in steps):
        say(
            "[yellow]note[/yellow]: after a bandpass, noise can be predicted from the samples beside it, and stays. "
            "Better is a highpass, as --preprocess auto does it"
        )
    return steps, chosen


def _upper_corner(step: dict[str, Any]) -> bool:
    """Whether a step is a bandpass, ours or SpikeInterface's."""
    is_bandpass = step["name"] in ("steady_bandpass_filter", "bandpass_filter")
    return is_bandpass and (step.get("params") or {}).get("freq_max", 6000.0) is not None


def _opened_above(step: dict[str, Any]) -> dict[str, Any]:
    return {**step, "params": {**step["params"], "freq_max": None}} if _upper_corner(step) else step


def apply_steps(
    recording: BaseRecording, steps: list[dict[str, Any]], work: WorkFolder | None = None
) -> BaseRecording:
    """Apply preprocessing steps, lazily; bad channels found on the way are named, and kept in a work folder."""
    import spikeinterface.full as si

    applied = recording
    for index, step in enumerate(steps):
        if (
            work is not None
            and step["name"] in FINDERS
            and "bad_channel_ids" not in (step.get("params") or {})
        ):
            bad = _bad_channels(recording, steps[: index + 1], work)
            step = {**step, "params": {**(step.get("params") or {}), "bad_channel_ids": bad}}
        applied = si.apply_preprocessing_pipeline(applied, [step])
    node = applied
    while node is not None and node is not recording:
        bad = node._kwargs.get("bad_channel_ids")
        if bad is not None and len(bad):
            say(f"[bold]bad channels[/bold]  {', '.join(map(str, bad))}")
        node = node.get_parent()
    return applied


def _bad_channels(recording: BaseRecording, steps: list[dict[str, Any]], work: WorkFolder) -> list[Any]:
    """Find the bad channels that the last step is to leave out, or take those that an interrupted run found."""
    import numpy as np
    import spikeinterface.full as si

    from steadyspike.cli.output import begin, refused_work
    from steadyspike.core.aside import written_aside
    from steadyspike.core.identity import describe_recording
    from steadyspike.core.unfinished import OtherSettingsError, WorkFolder

    found = WorkFolder(work.path / BAD_CHANNELS / str(len(steps)), "bad channels")
    settings, file = dict(recording=describe_recording(recording), steps=steps), found.path / "ids.json"
    with refused_work():
        begin(work)
    try:
        goes_on = found.check(settings)
    except OtherSettingsError:
        goes_on = False
    if goes_on and file.is_file():
        return list(json.loads(file.read_text(encoding="utf8")))
    bad = si.apply_preprocessing_pipeline(recording, steps).to_dict()["kwargs"]["bad_channel_ids"]
    ids = np.asarray(bad).tolist()
    found.discard()
    found.begin(settings)
    with written_aside(file) as aside:
        aside.write_text(json.dumps(ids), encoding="utf8")
    return list(ids)


def fitting_preset(recording: BaseRecording) -> str:
    """Name the preset that fits the probe; "filters" if it is unknown, "none" if nothing is left to do."""
    if recording.is_filtered():
        return "none"
    known = recording.get_property("inter_sample_shift") is not None and recording.has_scaleable_traces()
    if not known:
        return "filters"
    probe = recording.get_probe()
    description = f"{probe.annotations.get('description', '')} {probe.model_name or ''}"
    if "2.0" in description or "NP2" in description:
        return "neuropixels2"
    if "1.0" in description or "NP1" in description:
        return "neuropixels1"
    return "filters"


def check_place(recordings: list[Path], output: Path) -> None:
    """Refuse an output folder that holds what is read: to replace it would delete that."""
    for recording in recordings:
        if output.absolute() in recording.absolute().parents or output.absolute() == recording.absolute():
            raise UsageError(
                f"{recording} lies in {output}, which would be replaced; choose another --output"
            )


def _attach_probe(recording: BaseRecording, given: str) -> None:
    try:
        from steadyspike.core.probe_layout import attach_probe

        attach_probe(recording, _probe_group(given, recording.get_num_channels()))
    except Exception as error:
        raise UsageError(f"--probe {given}: {error}") from None


def _probe_group(given: str, num_channels: int) -> ProbeGroup:
    """Read a file of probeinterface, or make a short probe whose contacts are in the order of the channels."""
    from probeinterface import (
        ProbeGroup,
        generate_linear_probe,
        generate_tetrode,
        read_prb,
        read_probeinterface,
    )

    kind, _, pitch = given.partition("-")
    if given == "tetrode" or (kind == "linear" and pitch):
        probe = (
            generate_tetrode() if given == "tetrode" else generate_linear_probe(num_channels, float(pitch))
        )
        if probe.get_contact_count() != num_channels:
            raise ValueError(
                f"it has {probe.get_contact_count()} contacts, and the recording {num_channels} channels"
            )
        probe.set_device_channel_indices(range(num_channels))
        group = ProbeGroup()
        group.add_probe(probe)
        return group
    return read_prb(given) if Path(given).suffix == ".prb" else read_probeinterface(given)
