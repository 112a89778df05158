"""What a model and a preset have in common: each can be pushed to the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from steadyspike.library.hub.artifact import CARD, Form, Staged, refuse_tokens
from steadyspike.library.hub.cards import Usage, complete_card, tags_of
from steadyspike.library.hub.client import push
from steadyspike.library.hub.reference import ArtifactError, check_repo_id, check_tag

if TYPE_CHECKING:
    from steadyspike.library.hub.listing import Pushed


class Shareable:
    """Adds `push_to_hub` to what says its form and kind, writes its files and its card, and loads them again."""

    form: ClassVar[Form]

    if TYPE_CHECKING:

        @property
        def kind(self) -> str:
            """Within its form."""

        @property
        def usage(self) -> Usage:
            """What its card says of all of its kind."""

    def _write(self, folder: Path) -> None:
        """Write all files but the card to an empty folder."""
        raise NotImplementedError

    def _described(self) -> str:
        """Return the card, as far as it is known without a repository."""
        raise NotImplementedError

    def _reload(self, folder: Path) -> None:
        """Load what was written, as after a download."""
        raise NotImplementedError

    def _lacking(self, card: str) -> list[str]:
        """Tell what a card does not say that others have to know, in words that say what to do."""
        return []

    def push_to_hub(
        self,
        repo_id: str,
        *,
        tag: str | None = None,
        private: bool | None = None,
        token: str | None = None,
        message: str | None = None,
        license_name: str | None = None,
    ) -> Pushed:
        """Share this on the Hugging Face Hub; see `steadyspike.push_to_hub`."""
        from huggingface_hub import get_token

        repo_id = check_repo_id(repo_id)
        if tag is not None:
            check_tag(tag)
        secrets = [secret for secret in (token, get_token()) if secret]
        with tempfile.TemporaryDirectory(prefix="steadyspike-push-") as folder:
            staged = self.stage(Path(folder), repo_id, license_name, secrets)
            return push(staged, repo_id, tag=tag, private=private, token=token, message=message)

    def stage(
        self, folder: Path, repo_id: str, license_name: str | None = None, secrets: Iterable[str] = ()
    ) -> Staged:
        """Write this to a folder, with the card that it will have in its repository.

        The folder is empty; without `license_name` the license is what its card says. Raises `ValueError` if it cannot
        be loaded again, its card lacks what others have to know, or a text that is pushed holds one of `secrets`, or
        what looks like an access token.
        """
        self._write(folder)
        card = complete_card(
            self._described(), tags_of(self.form.name, self.kind), self.usage, repo_id, license_name
        )
        lacking = self._lacking(card)
        if lacking:
            raise ArtifactError(f"nothing was pushed: the card ({CARD}) lacks " + "; ".join(lacking))
        (folder / CARD).write_text(card, encoding="utf-8")
        names = tuple(sorted(path.name for path in folder.iterdir()))
        refuse_tokens(folder, secrets)
        self._reload(folder)
        return Staged(self.form, self.kind, self.usage, folder, names)
