"""Cards: the README of a shared model or preset, with metadata by which the Hub filters.

`complete_card` adds to any card what the Hub and a reader need: tags, licence, how to use it from its repository, and
how to cite it. The rest of a card is left as its author wrote it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

NO_LICENSE = "unknown"
LONGEST_LICENSE = 100
BEGIN, END = "<!-- steadyspike: use -->", "<!-- steadyspike: end -->"
_SECTION = re.compile(rf"\n*{re.escape(BEGIN)}.*?{re.escape(END)}\n*", re.DOTALL)

TITLES = {
    "deepinterpolation": "DeepInterpolation network",
    "spike_detector": "Spike detector",
    "waveform_denoiser": "Waveform denoiser",
    "spike_classifier": "Classifier of spikes and noise",
    "waveform_autoencoder": "Autoencoder of waveforms",
    "motion": "Motion correction preset",
    "preprocessing": "Preprocessing preset",
}
_STEADY, _FULL = "import steadyspike", "import spikeinterface.full as si"
_COMPONENTS = "from spikeinterface.sortingcomponents."
USES = {
    "deepinterpolation": (_STEADY, 'recording_denoised = steadyspike.deepinterpolate(recording, "{ref}")'),
    "spike_detector": (
        f"{_COMPONENTS}peak_detection import detect_peaks",
        _STEADY,
        'peaks = detect_peaks(recording, method="steady_neural", method_kwargs=dict(model="{ref}"))',
    ),
    "waveform_denoiser": (
        f"{_COMPONENTS}peak_localization import localize_peaks",
        _STEADY,
        'localizing = dict(method="steady_denoised_monopolar", method_kwargs=dict(model="{ref}"))',
        "peak_locations = localize_peaks(recording, peaks, **localizing)",
    ),
    "spike_classifier": (_STEADY, 'labels = steadyspike.pull_from_hub("{ref}").predict(waveforms)'),
    "motion": (_FULL, _STEADY, 'recording_corrected = si.correct_motion(recording, preset="{ref}")'),
    "preprocessing": (
        _FULL,
        _STEADY,
        'steps = steadyspike.load_preset("{ref}").steps',
        "recording_ready = si.apply_preprocessing_pipeline(recording, steps)",
    ),
}
OTHER_USE = (_STEADY, 'model = steadyspike.pull_from_hub("{ref}")')
PAPERS = {
    "deepinterpolation": "Lecoq et al., Removing independent noise in systems neuroscience data using "
    "DeepInterpolation. Nature Methods 18, 1401-1408 (2021), doi:10.1038/s41592-021-01285-2",
}
SPIKEINTERFACE_PAPER = (
    "Buccino et al., SpikeInterface, a unified framework for spike sorting. eLife 9, e61834 (2020), "
    "doi:10.7554/eLife.61834"
)


def tags_of(form: str, kind: str) -> list[str]:
    """Return the tags by which the Hub finds an artifact."""
    return ["steadyspike", "spikeinterface", "electrophysiology", tag_of(form), tag_of(kind)]


def tag_of(word: str) -> str:
    """Return the tag of a form or a kind."""
    return f"steadyspike-{word.replace('_', '-')}"


def complete_card(card: str, form: str, kind: str, repo_id: str, license_name: str | None = None) -> str:
    """Add to a card what it lacks to be on the Hub.

    Parameters
    ----------
    card : str
        Markdown, with metadata above it or without.
    form, kind : str
        Of the artifact.
    repo_id : str
        Where it will be.
    license_name : str or None, default: None
        An identifier that the Hub knows, such as "cc-by-4.0"; None: what the card says, else "unknown".

    Returns
    -------
    card : str
        The same for the same arguments, and for a card that is complete already.

    Raises
    ------
    ValueError
        If the metadata of the card are not valid.
    """
    parsed = _parsed(card)
    data = parsed.data
    kept = [str(tag) for tag in data.get("tags") or []]
    data["license"] = license_name or data.get("license") or NO_LICENSE
    data["library_name"] = "steadyspike"
    data["tags"] = list(dict.fromkeys([*tags_of(form, kind), *kept]))
    if kind == "deepinterpolation" and "| mae |" in card:
        data["metrics"] = ["mae", "mse"]
    body = _SECTION.sub("\n\n", parsed.text).strip("\n")
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n\n{use_section(kind, repo_id)}\n"


def license_of(card: str) -> str | None:
    """Return the licence that a card names; None if it names none."""
    named = _parsed(card).data.get("license")
    return None if named in (None, NO_LICENSE) else str(named)


def check_licenses(license_name: str, data_license: str | None = None) -> None:
    """Refuse licences that are no short text of one line, before a network is trained for hours.

    Parameters
    ----------
    license_name : str
        Of the weights.
    data_license : str or None, default: None
        Of what they were trained on; None: not told.

    Raises
    ------
    ValueError
        If one is empty, longer than 100 characters, or holds what is no printable text, or "|", "<" or ">".
    """
    for name, value in (("license_name", license_name), ("data_license", data_license)):
        if name == "data_license" and value is None:
            continue
        text = value if isinstance(value, str) else ""
        if (
            not text.strip()
            or len(text) > LONGEST_LICENSE
            or not text.isprintable()
            or set("|<>") & set(text)
        ):
            raise ValueError(
                f"{name}={value!r} cannot be the name of a licence; allowed: one line of up to {LONGEST_LICENSE} "
                "characters, such as 'cc-by-4.0'"
            )


def license_metadata(license_name: str) -> str:
    """Write the licence of the weights as a line of the metadata of a card."""
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9.+-]*", license_name)
    # a text in JSON is one in YAML
    return f"license: {license_name if plain else json.dumps(license_name)}"


def licenses_told(license_name: str, data_license: str | None) -> str:
    """Say both licences in the text of a card; the metadata of the Hub have a place for that of the weights only."""
    return (
        f"Licence of the weights: {license_name}. Licence of the training data: {data_license or 'not told'}."
    )


def _parsed(card: str) -> ModelCard:
    from huggingface_hub import ModelCard
    from yaml import YAMLError

    # an empty block keeps the client from warning that there is none
    content = card if card.startswith("---") else f"---\n{{}}\n---\n{card}"
    try:
        return ModelCard(content, ignore_metadata_errors=True)
    except (YAMLError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the metadata of the card are not valid: {error}") from None


def use_section(kind: str, repo_id: str) -> str:
    """Write how an artifact is used from its repository, and how it is cited."""
    ref = f"hf:{repo_id}"
    use = [line.format(ref=ref) for line in USES.get(kind, OTHER_USE)]
    papers = [PAPERS[kind]] if kind in PAPERS else []
    return "\n".join(
        [
            *(BEGIN, "## Use", "", "```python", *use, "```", ""),
            f"`{ref}@<tag or commit>` is one version of it.",
            *("", "## Cite", "", f"This repository and version (`{ref}@<commit>`), steadyspike, and:", ""),
            *(f"- {paper}" for paper in [*papers, SPIKEINTERFACE_PAPER]),
            END,
        ]
    )


def printable(text: str) -> str:
    """Return a text of someone else without what could steer a terminal."""
    return "".join(
        one for one in text if one in "\n\t" or unicodedata.category(one) not in ("Cc", "Cf", "Co", "Cs")
    )


def table(rows: Mapping[str, Any]) -> list[str]:
    """Write a table of two columns in Markdown."""
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def brief(value: Any) -> str:
    """Say a value in the cell of a table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {brief(inner)}" for name, inner in value.items()) or "-"
    if isinstance(value, list) and len(value) > 8:
        return f"{len(value)} values"
    return str(value).replace("|", "\\|").replace("\n", " ")
