"""Cards: the README of a shared model or preset, with metadata by which the Hub filters.

`complete_card` adds to any card what the Hub and a reader need: tags, licence, how to use it from its repository, and
how to cite it. The rest of a card is left as its author wrote it.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

NO_LICENSE = "unknown"
LONGEST_LICENSE = 100
LICENSE_ALLOWED = f"one line of up to {LONGEST_LICENSE} characters, such as 'cc-by-4.0'"
BEGIN, END = "<!-- steadyspike: use -->", "<!-- steadyspike: end -->"
_SECTION = re.compile(rf"\n*{re.escape(BEGIN)}.*?{re.escape(END)}\n*", re.DOTALL)

SPIKEINTERFACE_PAPER = (
    "Buccino et al., SpikeInterface, a unified framework for spike sorting. eLife 9, e61834 (2020), "
    "doi:10.7554/eLife.61834"
)


@dataclass(frozen=True)
class Usage:
    """What the card of each artifact of a kind says.

    `title` is what the kind is called, `code` lines of Python that use one, where "{ref}" stands for the reference to
    it; `papers` are to be cited besides SpikeInterface's.
    """

    title: str
    code: tuple[str, ...] = ("import steadyspike", 'model = steadyspike.pull_from_hub("{ref}")')
    papers: tuple[str, ...] = ()


def tags_of(form: str, kind: str) -> list[str]:
    """Return the tags by which the Hub finds an artifact."""
    return ["steadyspike", "spikeinterface", "electrophysiology", tag_of(form), tag_of(kind)]


def tag_of(word: str) -> str:
    """Return the tag of a form or a kind."""
    return f"steadyspike-{word.replace('_', '-')}"


def complete_card(
    card: str, tags: Sequence[str], usage: Usage, repo_id: str, license_name: str | None = None
) -> str:
    """Add to a card what it lacks to be on the Hub.

    `card` is Markdown, with metadata above it or without, `tags` are those of `tags_of`. `license_name` is an
    identifier that the Hub knows, such as "cc-by-4.0"; None: what the card says, else "unknown". The result is the same
    for the same arguments, and for a card that is complete already. Raises `ValueError` if the metadata of the card are
    not valid.
    """
    parsed = _parsed(card)
    data = parsed.data
    kept = [str(tag) for tag in data.get("tags") or []]
    data["license"] = license_name or data.get("license") or NO_LICENSE
    data["library_name"] = "steadyspike"
    data["tags"] = list(dict.fromkeys([*tags, *kept]))
    if "| mae | mse |" in card:
        data["metrics"] = ["mae", "mse"]
    body = _SECTION.sub("\n\n", parsed.text).strip("\n")
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n\n{use_section(usage, repo_id)}\n"


def license_of(card: str) -> str | None:
    """Return the licence that a card names; None if it names none."""
    named = _parsed(card).data.get("license")
    return None if named in (None, NO_LICENSE) else str(named)


def has_section(card: str, title: str) -> bool:
    """Whether a card has a section of the second level with words in it."""
    found = re.search(rf"^## {re.escape(title)}\s*$(.*?)(?=^## |\Z)", card, re.MULTILINE | re.DOTALL)
    return found is not None and bool(_SECTION.sub("", found.group(1)).strip())


def check_license(name: str) -> str:
    """Return the name of a licence that suits a card: a short, printable line without "|", "<" and ">"."""
    if not name.strip() or len(name) > LONGEST_LICENSE or not name.isprintable() or set("|<>") & set(name):
        raise ValueError(f"{name!r} is no name of a licence; allowed: {LICENSE_ALLOWED}")
    return name


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


def use_section(usage: Usage, repo_id: str) -> str:
    """Write how an artifact is used from its repository, and how it is cited."""
    ref = f"hf:{repo_id}"
    use = [line.format(ref=ref) for line in usage.code]
    return "\n".join(
        [
            *(BEGIN, "## Use", "", "```python", *use, "```", ""),
            f"`{ref}@<tag or commit>` is one version of it.",
            *("", "## Cite", "", f"This repository and version (`{ref}@<commit>`), steadyspike, and:", ""),
            *(f"- {paper}" for paper in [*usage.papers, SPIKEINTERFACE_PAPER]),
            END,
        ]
    )


def printable(text: str) -> str:
    """Return a text from outside without characters that control a terminal."""
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
