"""What lies in the cache of the Hub's client: found without the network, and held against its announced hash."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from steadyspike.library.hub.reference import HubReference

_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)")


def cached_file(pinned: HubReference, name: str) -> Path | None:
    """Return a file of a commit, if it was downloaded."""
    from huggingface_hub import try_to_load_from_cache

    found: Any = try_to_load_from_cache(pinned.repo_id, name, revision=pinned.revision)
    return Path(found) if isinstance(found, str) else None


def cached_commit(ref: HubReference) -> str | None:
    """Return the commit that a revision named when it was last asked for."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    if ref.pinned:
        return ref.revision
    try:
        resolved = HfApi().resolve_revision(ref.repo_id, revision=ref.revision, local_files_only=True)
    except RevisionResolutionError:
        return None
    return resolved.resolved


def downloaded(required: Collection[str]) -> list[tuple[HubReference, list[str]]]:
    """List the commits in the cache that have all of some files, with the tags and branches that named them."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir(constants.HF_HUB_CACHE).repos
    except CacheNotFound:
        return []
    found = [
        (HubReference(repository.repo_id, one.commit_hash), sorted(one.refs))
        for repository in repositories
        for one in repository.revisions
        if repository.repo_type == "model" and set(required) <= {file.file_name for file in one.files}
    ]
    return sorted(found, key=lambda pair: str(pair[0]))


def reference_of(folder: Path) -> HubReference | None:
    """Return the reference by commit of a folder in the cache; None for any other folder."""
    from huggingface_hub import constants

    repository = _SNAPSHOT.fullmatch(folder.parent.parent.name)
    if repository is None or folder.parent.name != "snapshots":
        return None
    if folder.parents[2].resolve() != Path(constants.HF_HUB_CACHE).expanduser().resolve():
        return None
    ref = HubReference(f"{repository['owner']}--{repository['name']}".replace("--", "/"), folder.name)
    return ref if ref.pinned else None


def content_hash(path: Path, large: bool) -> str:
    """Return the hash by which the Hub knows a file: SHA-256 of a large one, git's SHA-1 of a small one."""
    if large:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def is_as_announced(path: Path, size: int | None = None) -> bool:
    """Whether a file has the size and the content that the Hub announced.

    The cache keeps content under its hash, and a file is a link to it; where a file system has no links, only the size
    can be checked.
    """
    try:
        if size is not None and path.stat().st_size != size:
            return False
        if not path.is_symlink():
            return True
        content = _content(path)
        return content is not None and content_hash(content, len(content.name) == 64) == content.name
    except OSError:
        return False


def drop(path: Path) -> None:
    """Remove a file, and the content that it links to, from the cache."""
    content = _content(path) if path.is_symlink() else None
    path.unlink(missing_ok=True)
    if content is not None:
        content.unlink(missing_ok=True)


def _content(path: Path) -> Path | None:
    """Follow the link of a file to its content; None if that is not where the cache of its repository keeps it."""
    linked = path.parent / os.readlink(path)
    own = path.parents[2] / "blobs"
    return linked if linked.parent.resolve() == own.resolve() else None
