"""References to the Hugging Face Hub, ``hf:owner/name@revision``, and what can go wrong with one.

Nothing here touches the network, and importing it is cheap.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

PREFIX = "hf:"
EXAMPLE = "hf:owner/name, or hf:owner/name@revision with a tag, a branch or a commit hash"
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_TOKEN = re.compile(r"hf_[A-Za-z0-9]{16,}")


class HubError(OSError):
    """The Hub could not be reached, or did not do what was asked; the message says what to do."""


class NotOnDiskError(HubError, FileNotFoundError):
    """Something from the Hub is not on this machine, and it cannot be downloaded now."""


class ArtifactError(ValueError):
    """What a repository of the Hub holds cannot be used; the message names the repository and what is wrong."""


@dataclass(frozen=True)
class HubReference:
    """A repository of the Hub at a revision.

    `repo_id` is "owner/name", `revision` a tag, a branch or a commit hash; None: the newest of the main branch.
    """

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, ref: str) -> Self:
        """Read "hf:owner/name" or "hf:owner/name@revision"."""
        repo_id, at, revision = ref.removeprefix(PREFIX).partition("@")
        if not ref.startswith(PREFIX) or (at and not _is_revision(revision)):
            raise ValueError(f"{ref!r} is no reference to the Hugging Face Hub; allowed: {EXAMPLE}")
        return cls(check_repo_id(repo_id), revision or None)

    @property
    def pinned(self) -> bool:
        """Whether the revision is a commit hash, behind which nothing ever changes."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None

    def at(self, revision: str) -> Self:
        """Return the same repository at another revision."""
        return replace(self, revision=revision)

    def __str__(self) -> str:
        return PREFIX + self.repo_id + (f"@{self.revision}" if self.revision else "")


def is_reference(ref: Any) -> bool:
    """Whether something is meant as a reference to the Hub."""
    return isinstance(ref, str) and ref.startswith(PREFIX)


def tell_of_own(name: str, own: Path) -> None:
    """Warn where something in the working directory bears the name of what is bundled, and is passed over."""
    if own.exists():
        warnings.warn(
            f"{name!r} is what steadyspike brings along, and not {own} of the working directory; "
            f"write './{own}' for that",
            stacklevel=3,
        )


def check_repo_id(repo_id: str) -> str:
    """Return a repository's id, "owner/name", or raise ValueError."""
    parts = repo_id.removeprefix(PREFIX).split("/") if isinstance(repo_id, str) else []
    if len(parts) != 2 or not all(_NAME.fullmatch(part) for part in parts) or re.search(r"--|\.\.", repo_id):
        raise ValueError(f"repo_id={repo_id!r} is no repository of the Hugging Face Hub; allowed: owner/name")
    return "/".join(parts)


def check_tag(tag: str) -> str:
    """Return a tag that can be told from branches and commits, or raise ValueError."""
    if not _is_revision(tag) or "/" in tag or tag == "main" or re.fullmatch(r"[0-9a-f]{7,40}", tag):
        raise ValueError(
            f"tag={tag!r} cannot be a tag; allowed: letters, digits, '.', '_' and '-', such as 'v1', "
            "and nothing that could be the branch 'main' or a commit hash"
        )
    return tag


def without_tokens(text: str, *tokens: Any) -> str:
    """Return a text with access tokens blotted out, those given and all that look like one."""
    for token in tokens:
        if isinstance(token, str) and token:
            text = text.replace(token, "<token>")
    return _TOKEN.sub("<token>", text)


def holds_token(text: str) -> bool:
    """Whether something in a text looks like an access token of the Hub."""
    return _TOKEN.search(text) is not None


def _is_revision(revision: str) -> bool:
    return (
        isinstance(revision, str)
        and len(revision) <= 100
        and ".." not in revision
        and not revision.endswith((".lock", "."))
        and _REVISION.fullmatch(revision) is not None
    )
