"""What the Hub's client tells about repositories, in our words; nothing here asks the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from steadyspike.library.hub.artifact import FIGURE, FILES, Staged
from steadyspike.library.hub.cache import has_hash

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo


@dataclass(frozen=True)
class Pushed:
    """Where an artifact is now.

    Parameters
    ----------
    ref : str
        Reference by commit.
    tag : str or None
        The tag it has.
    changed : bool
        Whether anything was pushed; if not, it was there already.
    url : str
        Of its page.
    license : str or None
        That its card names.
    """

    ref: str
    tag: str | None
    changed: bool
    url: str
    license: str | None

    def __str__(self) -> str:
        as_tag = f" (tag {self.tag})" if self.tag else ""
        done = "pushed" if self.changed else "is there already; nothing was pushed"
        return f"{self.ref}{as_tag}: {done}"


@dataclass(frozen=True)
class Listed:
    """What the Hub says of a file: its size in bytes, and its hash (`steadyspike.library.hub.cache.content_hash`)."""

    size: int | None
    hash: str | None


@dataclass(frozen=True)
class Found:
    """A repository that a search found."""

    repo_id: str
    kind: str
    license: str
    downloads: int
    updated: str
    private: bool

    @classmethod
    def of(cls, info: ModelInfo) -> Self:
        """Take over what the Hub lists of a repository."""
        kinds = [
            tag.removeprefix("steadyspike-") for tag in info.tags or [] if tag.startswith("steadyspike-")
        ]
        return cls(
            repo_id=info.id,
            kind=", ".join(kind for kind in kinds if kind not in FILES) or "-",
            license=license_of(info) or "-",
            downloads=info.downloads or 0,
            updated=f"{info.last_modified:%Y-%m-%d}" if info.last_modified else "-",
            private=bool(info.private),
        )


def license_of(info: ModelInfo) -> str | None:
    """Return the licence that the card in a repository names."""
    card: Any = info.card_data
    named = card.get("license") if hasattr(card, "get") else None
    return named if isinstance(named, str) else None


def listed_files(info: ModelInfo) -> dict[str, Listed]:
    """Return what the Hub says of each file of a commit."""
    return {
        str(one.rfilename): Listed(one.size, one.lfs.sha256 if one.lfs is not None else one.blob_id)
        for one in info.siblings or []
    }


def stale_figures(info: ModelInfo, staged: Staged) -> list[str]:
    """List the figures in a repository that the artifact no longer has."""
    return [name for name in listed_files(info) if FIGURE.fullmatch(name) and name not in staged.names]


def is_same(info: ModelInfo, staged: Staged) -> bool:
    """Whether a commit holds exactly the files of an artifact, besides what is none of ours."""
    there = listed_files(info)
    return not stale_figures(info, staged) and all(
        name in there and has_hash(staged.folder / name, there[name].hash or "") for name in staged.names
    )
