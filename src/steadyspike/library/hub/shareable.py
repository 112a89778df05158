"""The methods of models that share and load them, as users of the Hub's own mixin know them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from steadyspike.library.hub.reference import PREFIX, HubReference, is_reference

if TYPE_CHECKING:
    from steadyspike.library.hub.client import Pushed


class ShareableModel:
    """Adds `push_to_hub`, `from_pretrained` and `save_pretrained` to models."""

    if TYPE_CHECKING:

        @classmethod
        def load(cls, folder: str | Path, device: str = "cpu") -> Self:
            """Load as the class does."""

        def save(self, folder: str | Path, overwrite: bool = False) -> None:
            """Save as the class does."""

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
        """Share this model on the Hugging Face Hub; see `steadyspike.push_to_hub`."""
        from steadyspike.library.hub.client import push_to_hub

        return push_to_hub(
            self,
            repo_id,
            tag=tag,
            private=private,
            token=token,
            message=message,
            license_name=license_name,
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        local_files_only: bool | None = None,
        device: str = "cpu",
    ) -> Self:
        """Load a model from a folder or from the Hugging Face Hub.

        Weights that do not fit the network in name, shape, type, or that are not finite are always refused: there is
        no ``strict=False``.

        Parameters
        ----------
        pretrained_model_name_or_path : str or Path
            A folder, or "owner/name" on the Hub; "hf:owner/name@revision" is understood too.
        revision : str or None, default: None
            Tag, branch or commit hash on the Hub; None: that of the reference, else the newest.
        token : str or None, default: None
            Access token; None: that of ``hf auth login`` or of HF_TOKEN.
        local_files_only : bool or None, default: None
            True: only what was downloaded before; see `offline` of `steadyspike.pull_from_hub`.
        device : str, default: "cpu"
            For the weights.

        Raises
        ------
        ValueError
            If `revision` is given for a folder, or differs from that of the reference.
        HubError
            As `steadyspike.pull_from_hub`.
        ModelError
            If it is of another kind, or its files do not fit each other.
        """
        name = pretrained_model_name_or_path
        if isinstance(name, Path) or (not is_reference(name) and Path(name).is_dir()):
            if revision is not None:
                raise ValueError(f"revision={revision!r}, but {str(name)!r} is a folder; allowed: None")
            return cls.load(Path(name), device)
        ref = HubReference.parse(name if is_reference(name) else PREFIX + name)
        if revision is not None:
            if ref.revision not in (None, revision):
                raise ValueError(f"revision={revision!r} and {name!r} differ; pass one of them")
            ref = HubReference.parse(f"{PREFIX}{ref.repo_id}@{revision}")
        from steadyspike.library.hub.client import fetch

        fetched = fetch(str(ref), "model", token=token, offline=local_files_only)
        return cls.load(fetched.folder, device)

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        overwrite: bool = False,
        **push_to_hub_kwargs: Any,
    ) -> None:
        """Save as a model folder, and push it if wanted.

        Parameters
        ----------
        save_directory : str or Path
            The folder.
        repo_id : str or None, default: None
            Where to push to; needed if `push_to_hub` is True.
        push_to_hub : bool, default: False
            Whether to push too.
        overwrite : bool, default: False
            Whether a model folder that is there is replaced.
        **push_to_hub_kwargs
            Of `push_to_hub`.

        Raises
        ------
        ValueError
            If it shall be pushed and there is no `repo_id`, or the other way round.
        FileExistsError
            If the folder is there.
        """
        if push_to_hub != (repo_id is not None) or (push_to_hub_kwargs and not push_to_hub):
            raise ValueError(f"push_to_hub={push_to_hub} and repo_id={repo_id!r}; allowed: both, or neither")
        self.save(save_directory, overwrite=overwrite)
        if repo_id is not None:
            self.push_to_hub(repo_id, **push_to_hub_kwargs)
