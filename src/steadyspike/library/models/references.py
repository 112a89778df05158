"""References to models: what a user may write and what a saved chain holds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.artifact import CONFIG, WEIGHTS
from steadyspike.library.hub.cache import reference_of
from steadyspike.library.models.config import ModelError, read_config
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, ModelConfig
from steadyspike.library.models.find import bundled_folder, find_model, is_keras
from steadyspike.library.models.folder import load_model

if TYPE_CHECKING:
    from steadyspike.library.models.keras.model import KerasModel

PATH = "path"


@dataclass(frozen=True)
class ModelSource:
    """Files of a model, found and identified, but not loaded.

    `path` is a model folder or the file of a Keras model, `sha256` of configuration and weights. `name` is what it
    is called: the name of a bundled model, the absolute path, or the reference to a commit on the Hub. `keras`
    says how to use a Keras model; None: it is a model folder.
    """

    path: Path
    sha256: str
    name: str
    keras: KerasModel | None = None

    @property
    def saved(self) -> str | dict[str, Any]:
        """What a saved chain holds: a path bears the name by which SpikeInterface's `relative_to` knows one."""
        if self.keras is not None:
            return {PATH: str(self.path), **self.keras.model_dump(exclude={"file"})}
        return {PATH: self.name} if self.name == str(self.path) else self.name

    @property
    def sampling_frequency(self) -> float | None:
        """Rate trained at, in Hz; None: not known."""
        return self.config().sampling_frequency if self.keras is None else self.keras.sampling_frequency

    @property
    def normalization(self) -> str:
        """How traces are made ready."""
        return self.config().normalization.method if self.keras is None else self.keras.normalization

    def config(self) -> ModelConfig:
        """Return what `config.json` of a model folder holds; refuse models of other kinds."""
        config = read_config(self.path)
        if not isinstance(config, ModelConfig):
            raise ModelError(f"{self.name}: is a model of kind {config.kind!r}; allowed: 'deepinterpolation'")
        return config


def find_source(model: Any) -> ModelSource:
    """Find the files of a model, whatever way it is referred to.

    A model is a bundled name; the path of a model folder; a reference to the Hub; a loaded model that has a folder;
    the path of a Keras file, or how to use it; or what a saved chain holds of one of them. Raises `ModelError` if it
    cannot be found by what is given.
    """
    from steadyspike.library.models.keras.model import KerasModel

    if isinstance(model, DeepInterpolationModel):
        if model.folder is None:
            raise ModelError(
                "model was not loaded from a folder, where other processes could find it; "
                "allowed: save it with save(folder), then pass the folder"
            )
        model = Path(model.folder)
    if isinstance(model, Mapping) and PATH in model:
        rest = {name: value for name, value in model.items() if name != PATH}
        model = {"file": str(model[PATH]), **rest} if rest else Path(model[PATH])
    if isinstance(model, Mapping):
        model = KerasModel.model_validate(dict(model))
    elif is_keras(model):
        model = KerasModel(file=str(model))
    if isinstance(model, KerasModel):
        model = model.resolved()
        path = Path(model.file)
        return ModelSource(path, _sha256(path), str(path), model)
    if not isinstance(model, str | Path):
        raise ModelError(
            f"model={model!r} is no model; allowed: a bundled name, a folder, a Keras file, or a loaded model"
        )
    path = find_model(model)
    name = path.name if path.parent == bundled_folder() else str(reference_of(path) or path)
    for file in (CONFIG, WEIGHTS):
        if not (path / file).is_file():
            raise FileNotFoundError(f"there is no {file} in the model folder {path}")
    return ModelSource(path, _sha256(path / CONFIG, path / WEIGHTS), name)


def check_unchanged(source: ModelSource, sha256: str | None) -> None:
    """Refuse a model whose files are no longer those that a chain was saved with."""
    if sha256 is not None and sha256 != source.sha256:
        raise ModelError(
            f"{source.name}: is not the model that this recording was denoised with: its files have sha256 "
            f"{source.sha256}, not {sha256}. Bring the old files back, or make the recording anew"
        )


def load_source(source: ModelSource, device: str) -> Any:
    """Load the network of a model onto a device; nothing else of it is needed to predict."""
    check_unchanged(find_source(source.saved), source.sha256)
    if source.keras is not None:
        return source.keras.network(device)
    return load_model(source.path, device).network


def _sha256(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()
