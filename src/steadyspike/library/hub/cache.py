"""What lies in the cache of the Hub's client: found without the network, and held against its hash."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from steadyspike.library.hub.reference import ArtifactError, HubReference

SHA256_DIGITS = 64
_HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
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


def note_commit(ref: HubReference, commit: str) -> None:
    """Note which commit a revision names now, where the cache can be written."""
    with suppress(OSError), _aside(_folder_of(ref) / "refs" / (ref.revision or "main")) as aside:
        aside.write_text(commit, encoding="utf-8")


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


def has_hash(path: Path, known: str) -> bool:
    """Whether a file is there and has the content that the Hub knows by a hash."""
    try:
        return content_hash(path, len(known) == SHA256_DIGITS) == known
    except OSError:
        return False


def kept_as(path: Path) -> str | None:
    """Return the hash under which the cache keeps a file; None if it is missing, or is no longer what was downloaded.

    The cache keeps content under its hash, and a file is a link to it, or a copy where a file system has no links.
    """
    blobs = path.parents[2] / "blobs"
    try:
        if not path.is_symlink():
            hashes = [content_hash(path, large) for large in (False, True)]
            return next((known for known in hashes if has_hash(blobs / known, known)), None)
        linked = path.parent / os.readlink(path)
    except OSError:
        return None
    own = linked.parent.resolve() == blobs.resolve()
    return linked.name if own and has_hash(linked, linked.name) else None


def downloaded_file(
    pinned: HubReference, name: str, known: str | None, receive: Callable[[Path], None]
) -> Path:
    """Have a file of a commit in the cache with the content of a hash, whatever lies there.

    The reference is by commit, `known` the hash of the content as the Hub lists it. `receive` writes the content to a
    path; it is called if the cache does not have it, and what it wrote is checked before it takes its place there.
    """
    from huggingface_hub.file_download import are_symlinks_supported

    if not isinstance(known, str) or not _HASH.fullmatch(known):
        raise ArtifactError(f"{pinned}: {name}: its hash is not known")
    own = _folder_of(pinned)
    path, blob = own / "snapshots" / str(pinned.revision) / name, own / "blobs" / known
    if kept_as(path) == known:
        return path
    if not has_hash(blob, known):
        with _aside(blob) as aside:
            receive(aside)
            if not has_hash(aside, known):
                raise another_file(pinned, name)
    with _aside(path) as aside:
        if are_symlinks_supported(own.parent):
            aside.symlink_to(os.path.relpath(blob, path.parent))
        else:
            shutil.copyfile(blob, aside)
    return path


@contextmanager
def _aside(place: Path) -> Iterator[Path]:
    """Give a path to write a file to, which then takes its place. Whoever else writes the same at once does no harm."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=place.parent) as folder:
        yield Path(folder) / place.name
        os.replace(Path(folder) / place.name, place)


def _folder_of(ref: HubReference) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = repo_folder_name(repo_id=ref.repo_id, repo_type="model")
    return Path(constants.HF_HUB_CACHE).expanduser() / folder


def another_file(pinned: HubReference, name: str) -> ArtifactError:
    """Say that what comes, or would come, is not what was listed."""
    return ArtifactError(
        f"{pinned}: {name}: is not the file that the Hub lists, but another; nothing of it was kept"
    )
