"""What the Hub's client raises, in sentences that say what to do, and without access tokens."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from steadyspike.library.hub.reference import HubError, HubReference, NotOnDiskError, without_tokens

LOG_IN = "log in with `hf auth login` (or set HF_TOKEN) as someone who may see it"
STATUSES = {
    401: "the Hub does not accept the access token; log in anew with `hf auth login`, or set another HF_TOKEN",
    404: "there is no such thing on the Hub",
    409: "it is there already, or someone else is changing it; try again",
    412: "someone else pushed in the meantime; look at their version, then push again",
    429: "the Hub asks to wait, as there were too many requests; try again in a few minutes",
}
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def not_on_disk(ref: HubReference, why: str, form: str | None = None) -> NotOnDiskError:
    """Say what to download, and how."""
    how = f"steadyspike {form or 'model'}s pull {ref}" + ("" if form else " (or presets pull)")
    return NotOnDiskError(f"{ref} is not on this machine {why}. With a connection, run: {how}")


@contextmanager
def clear_errors(
    ref: HubReference | None, token: Any = None, form: str | None = None, writing: bool = False
) -> Iterator[None]:
    """Turn what the client raises into a `HubError`; other errors pass.

    `ref` is what was asked for; None: a search. The token must not be in a message. `form`, "model" or "preset", is
    what is wanted; `writing` says whether something is pushed.
    """
    try:
        yield
    except HubError:
        raise
    except Exception as error:
        words = _in_words(error, ref, writing)
        if words is None:
            raise
        unreachable = f"the Hub cannot be reached ({_first_line(error)})"
        if words or ref is None or writing:
            text = f"{ref or 'search'}: {words or unreachable}"
            raise HubError(without_tokens(text, token)) from None
        raise not_on_disk(ref, without_tokens(f"and {unreachable}", token), form) from None


@contextmanager
def from_the_hub() -> Iterator[None]:
    """Take an answer that the client cannot read as one of somebody else, who answers in the place of the Hub."""
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise ConnectionError(
            "what answers is not the Hub, but perhaps a login page of the network, or a proxy; open a page in a "
            "browser, and look at HF_ENDPOINT"
        ) from None


def is_unreachable(error: BaseException) -> bool:
    """Whether there was no answer, or the answer was that the Hub is down or too busy."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return error.response is not None and (
            error.response.status_code >= 500 or error.response.status_code == 429
        )
    return _in_words(error, None) == ""


def _in_words(error: BaseException, ref: HubReference | None, writing: bool = False) -> str | None:
    """Say what happened; empty if the Hub cannot be reached, None for errors of a program."""
    from huggingface_hub import errors

    if isinstance(error, errors.HfHubHTTPError):
        return _answer_in_words(error, ref, writing)
    if isinstance(error, OSError) and "Consistency check failed" in str(error):
        return "the download broke off; try again"
    wrapped = (RuntimeError, errors.LocalEntryNotFoundError, errors.RevisionResolutionError)
    if isinstance(error, wrapped) and error.__cause__ is not None:
        return _in_words(error.__cause__, ref, writing)
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE:
        from huggingface_hub import constants

        why = error.strerror or type(error).__name__
        return f"the cache, {constants.HF_HUB_CACHE}, cannot be written ({why}); set HF_HOME to a folder of yours"
    # the client may change its HTTP library, whose errors have no base in common with others
    from_http = any(base.__module__.partition(".")[0].startswith("httpx") for base in type(error).__mro__)
    known = (errors.OfflineModeIsEnabled, errors.RevisionResolutionError, errors.LocalEntryNotFoundError)
    return "" if from_http or isinstance(error, (*known, ConnectionError, TimeoutError)) else None


def _answer_in_words(error: Any, ref: HubReference | None, writing: bool) -> str:
    from huggingface_hub import errors

    status = error.response.status_code if error.response is not None else None
    if isinstance(error, errors.GatedRepoError):
        return f"its owner asks for a permission first; ask for it on its page, then {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"there is no such repository, or it is private; {LOG_IN}"
    if isinstance(error, errors.RevisionNotFoundError):
        revision = ref.revision if ref is not None else None
        return (
            f"the repository has no revision {revision!r}; see: steadyspike models show {ref and ref.repo_id}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return "a file that the repository lists is not there; try again"
    if status == 403:
        may = "write to" if writing else "read"
        return f"the access token does not allow this; take one that may {may} this repository"
    if status is not None and status >= 500:
        return f"the Hub does not work at the moment (status {status}); try again later"
    return STATUSES.get(status or 0, f"the Hub refused (status {status}): {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
