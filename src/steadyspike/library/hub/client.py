"""Sharing models and presets on the Hugging Face Hub: the only file that touches the network.

A repository holds one artifact (`steadyspike.library.hub.artifact`). What is pulled lies in the cache of the Hub's own
client, by commit; a commit that is there is used without asking the network. All requests are made by that client,
which finds the access token by itself (``hf auth login``, or the environment variable HF_TOKEN).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from steadyspike.core.environment import own_version
from steadyspike.library.hub.artifact import (
    FIGURE,
    FILES,
    MAX_BYTES,
    Form,
    Staged,
    check_figure,
    check_names,
    check_size,
    form_of,
    wanted_files,
)
from steadyspike.library.hub.cache import (
    another_file,
    cached_commit,
    cached_file,
    downloaded_file,
    kept_as,
    note_commit,
)
from steadyspike.library.hub.cards import tag_of
from steadyspike.library.hub.errors import clear_errors, from_the_hub, is_unreachable, not_on_disk
from steadyspike.library.hub.listing import (
    Found,
    Listed,
    Pushed,
    is_same,
    license_of,
    listed_files,
    stale_figures,
)
from steadyspike.library.hub.reference import ArtifactError, HubError, HubReference, is_reference

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Fetched:
    """An artifact in the cache: its reference by commit, its folder, and its form."""

    ref: HubReference
    folder: Path
    form: Form


def fetch(ref: str, *forms: Form, token: str | None = None, offline: bool | None = None) -> Fetched:
    """Have the files of an artifact in the cache, and download what is missing.

    `ref` is "hf:owner/name" or "hf:owner/name@revision", with a tag, a branch or a commit hash; forms other than
    `forms` are refused. `token` and `offline` are those of `steadyspike.pull_from_hub`.
    """
    from huggingface_hub import HfApi, constants

    asked = HubReference.parse(ref)
    offline = constants.is_offline_mode() if offline is None else offline
    wanted = forms[0].name if len(forms) == 1 else None
    with clear_errors(asked, token, wanted):
        api = HfApi(token=token)
        commit = cached_commit(asked) if offline or asked.pinned else _newest(api, asked)
        if commit is None:
            raise not_on_disk(asked, "and downloads are switched off", wanted)
        pinned = asked.at(commit)
        if not pinned.pinned:
            raise ArtifactError(f"{asked}: stands for {commit!r}, which is no commit")
        found = _cached(pinned, forms)
        if found is not None:
            return found
        if offline:
            raise _partial(pinned, wanted)
        return _download(api, pinned, forms)


def _newest(api: HfApi, asked: HubReference) -> str | None:
    """Ask which commit a tag or branch names, and note it; without an answer, take the commit that was last known."""
    known = cached_commit(asked)
    try:
        commit = str(_info(api, asked.repo_id, asked.revision).sha)
    except Exception as error:
        if known is None or not is_unreachable(error):
            raise
        warnings.warn(
            f"the Hub does not answer: {asked} is taken as it was last known, {known}", stacklevel=2
        )
        return known
    if commit != known and asked.at(commit).pinned:
        note_commit(asked, commit)
    return commit


def pin(ref: Any, form: Form) -> Any:
    """Return a reference to the Hub by its commit, with its files in the cache; anything else as it is."""
    return str(fetch(ref, form).ref) if is_reference(ref) else ref


def versions(ref: str, *, token: str | None = None) -> dict[str, str]:
    """List the tags of a repository with the commits that they name.

    Parameters
    ----------
    ref : str
        "hf:owner/name".
    token : str or None, default: None
        As `steadyspike.pull_from_hub` takes it.

    Returns
    -------
    versions : dict
        Tag to commit hash.
    """
    from huggingface_hub import HfApi

    asked = HubReference.parse(ref)
    with clear_errors(asked, token):
        return _tags(HfApi(token=token), asked.repo_id)


def search(
    form: str | None = None,
    kind: str | None = None,
    words: str | None = None,
    *,
    limit: int = 50,
    token: str | None = None,
) -> list[Found]:
    """Find models and presets on the Hub by the tags of their cards.

    Parameters
    ----------
    form : {"model", "preset"} or None, default: None
    kind : str or None, default: None
        Such as "deepinterpolation" or "motion".
    words : str or None, default: None
        In the name of the repository.
    limit : int, default: 50
    token : str or None, default: None
        For private repositories of one's own.
    """
    from huggingface_hub import HfApi

    wanted = ["steadyspike", *(tag_of(one) for one in (form, kind) if one)]
    with clear_errors(None, token), from_the_hub():
        listed = HfApi(token=token).list_models(filter=wanted, search=words, limit=limit, cardData=True)
        return [Found.of(one) for one in listed]


# what is downloaded


def _cached(pinned: HubReference, forms: Sequence[Form]) -> Fetched | None:
    """Return an artifact if all of it is in the cache as it was announced."""
    for required in FILES.values():
        files = [cached_file(pinned, name) for name in required]
        if all(path is not None and kept_as(path) for path in files):
            return Fetched(pinned, cast(Path, files[0]).parent, form_of(required, str(pinned), forms))
    return None


def _partial(pinned: HubReference, wanted: str | None) -> HubError:
    for form, required in FILES.items():
        lacking = [name for name in required if cached_file(pinned, name) is None]
        if len(lacking) < len(required):
            what = ", ".join(lacking) or "a file"
            return not_on_disk(pinned, f"as a whole ({what} is missing or damaged)", form)
    return not_on_disk(pinned, "and downloads are switched off", wanted)


def _download(api: HfApi, pinned: HubReference, forms: Sequence[Form]) -> Fetched:
    """Check what a commit lists, then download and check the file that tells the kind, then the others."""
    where = str(pinned)
    listed = listed_files(_info(api, pinned.repo_id, pinned.revision))
    check_names(listed, where)
    own = form_of(listed, where, forms)
    limits: Mapping[str, int] = MAX_BYTES
    folder = Path()
    for name in wanted_files(own, listed):
        path = _download_file(api, pinned, name, listed[name], limits)
        if name == own.marker:
            folder = path.parent
            with own.naming(pinned, folder):
                own.kind(folder)
                limits = {**limits, **own.most_bytes(folder)}
        elif FIGURE.fullmatch(name):
            check_figure(path, where)
    return Fetched(pinned, folder, own)


def _download_file(
    api: HfApi, pinned: HubReference, name: str, listed: Listed, limits: Mapping[str, int] = MAX_BYTES
) -> Path:
    """Have a file in the cache that is the listed one; what else the Hub would send is not taken."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    check_size(name, listed.size, str(pinned), limits)

    def receive(path: Path) -> None:
        url = hf_hub_url(pinned.repo_id, name, revision=pinned.revision)
        told = get_hf_file_metadata(url, token=api.token, timeout=TIMEOUT_S, retry_on_errors=True)
        if told.etag != listed.hash or told.size not in (None, listed.size):
            raise another_file(pinned, name)
        # large files are stored elsewhere, where the token has no business
        token = api.token if urlsplit(told.location).netloc == urlsplit(url).netloc else False
        with _Limited(path, cast(int, listed.size), another_file(pinned, name)) as file:
            http_get(
                told.location,
                file,
                headers=build_hf_headers(token=token),
                expected_size=listed.size,
                displayed_filename=name,
            )

    return downloaded_file(pinned, name, listed.hash, receive)


class _Limited(io.BufferedWriter):
    """A new file that takes only so many bytes, whatever comes."""

    def __init__(self, path: Path, most: int, error: Exception) -> None:
        super().__init__(io.FileIO(path, "x"))
        self.most, self.error = most, error

    def write(self, content: Any) -> int:
        if self.tell() + len(content) > self.most:
            raise self.error
        return super().write(content)


# what is pushed


def push(
    staged: Staged,
    repo_id: str,
    *,
    tag: str | None = None,
    private: bool | None = None,
    token: str | None = None,
    message: str | None = None,
) -> Pushed:
    """Push an artifact that is ready, unless it is there already; arguments as in `steadyspike.push_to_hub`."""
    from huggingface_hub import HfApi, constants

    where = HubReference(repo_id)
    with clear_errors(where, token, writing=True):
        if constants.is_offline_mode():
            raise HubError(f"{where}: cannot be pushed, as HF_HUB_OFFLINE is set; unset it and push again")
        return _push(HfApi(token=token), staged, repo_id, tag, private, message)


def _push(
    api: HfApi, staged: Staged, repo_id: str, tag: str | None, private: bool | None, message: str | None
) -> Pushed:
    with from_the_hub():
        url = str(api.create_repo(repo_id, private=private, exist_ok=True))
    head = _info(api, repo_id, "main")
    _check_is_ours(api, head, staged, private)
    staged.keep_license(repo_id, license_of(head))
    commit, changed = head.sha, False
    tagged = _tags(api, repo_id)
    if tag in tagged:
        if not is_same(_info(api, repo_id, tagged[tag]), staged):
            raise HubError(
                f"hf:{repo_id}@{tag} is there with other content (commit {tagged[tag]}), and tags are never moved; "
                f"take another one. There are: {', '.join(sorted(tagged))}"
            )
        return Pushed(str(HubReference(repo_id, tagged[tag])), tag, False, url, staged.license)
    if not is_same(head, staged):
        commit, changed = _commit(api, staged, head, message), True
    assert commit is not None
    if tag is not None:
        api.create_tag(repo_id, tag=tag, revision=commit)
        changed = True
    return Pushed(str(HubReference(repo_id, commit)), tag, changed, url, staged.license)


def _info(api: HfApi, repo_id: str, revision: str | None) -> ModelInfo:
    with from_the_hub():
        return api.model_info(repo_id, revision=revision, files_metadata=True, timeout=TIMEOUT_S)


def _tags(api: HfApi, repo_id: str) -> dict[str, str]:
    """Return the commit of each tag."""
    with from_the_hub():
        return {one.name: one.target_commit for one in api.list_repo_refs(repo_id).tags}


def _check_is_ours(api: HfApi, head: ModelInfo, staged: Staged, private: bool | None) -> None:
    """Refuse to push over other content of the repository, or where it would be public by mistake."""
    listed = listed_files(head)
    for form, (marker, *_) in FILES.items():
        if marker not in listed:
            continue
        if not _is_ours(api, head, staged.form, form, listed[marker]):
            raise HubError(
                f"hf:{head.id}: holds something else, which is not replaced by a {staged.form.name}"
            )
        if form != staged.form.name:
            raise HubError(f"hf:{head.id}: holds a {form}, which is not replaced by a {staged.form.name}")
    if private is not None and head.private is not None and head.private != private:
        now = "private" if head.private else "public"
        raise HubError(
            f"hf:{head.id}: is {now} already, and private={private} was asked for; change it on its page, "
            "or leave `private` out"
        )


def _is_ours(api: HfApi, head: ModelInfo, form: Form, there: str, listed: Listed) -> bool:
    """Whether what is in a repository was made by us: its tags say so, or else the file that tells the kind."""
    if "steadyspike" in (head.tags or []):
        return True
    if there != form.name:
        return False
    pinned = HubReference(head.id, head.sha)
    try:
        form.kind(_download_file(api, pinned, form.marker, listed).parent)
    except ValueError:
        return False
    return True


def _commit(api: HfApi, staged: Staged, head: ModelInfo, message: str | None) -> str:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    operations: list[Any] = [CommitOperationAdd(name, staged.folder / name) for name in staged.names]
    operations += [CommitOperationDelete(name) for name in stale_figures(head, staged)]
    message = message or f"{staged.kind} {staged.form.name}, with steadyspike {own_version()}"
    # a commit that someone else made meanwhile is an error, not lost
    return api.create_commit(head.id, operations, commit_message=message, parent_commit=head.sha).oid
