"""Whether a model computes its test pair again (`steadyspike.library.models.pairs`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from steadyspike.library.hub.artifact import PAIR
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.find import find_model
from steadyspike.library.models.folder import SavedModel, load_folder
from steadyspike.library.models.pairs import OUTPUT, run_example

# of the largest output: float32 is summed in another order by each processor
TOLERANCE = 1e-4


@dataclass(frozen=True)
class PairTest:
    """How far a model is from its test pair: `difference` and `allowed`, as shares of the largest output."""

    difference: float
    allowed: float = TOLERANCE

    @property
    def passed(self) -> bool:
        """Whether the model computes what it computed when it was saved."""
        return self.difference <= self.allowed


def check_pair(model: Any, device: str = "cpu") -> PairTest:
    """Compute the test pair of a model again.

    Parameters
    ----------
    model : str, Path or model
        A bundled name, a model folder, a reference to the Hub, or a model that was loaded from one of them.
    device : str, default: "cpu"
        Where it computes, as torch names it.

    Returns
    -------
    tested : PairTest
        ``tested.passed`` says whether both agree.

    Raises
    ------
    ModelError
        If there is no test pair, or it is not of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = model.folder if isinstance(model, SavedModel) else find_model(model)
    missing = [name for name in PAIR if folder is None or not (folder / name).is_file()]
    if folder is None or missing:
        raise ModelError(f"model={model}: has no {' and '.join(missing)}; save it anew to have a test pair")
    loaded = load_folder(folder, device)
    try:
        inputs, expected = load_file(folder / PAIR[0]), load_file(folder / PAIR[1])[OUTPUT]
        found = run_example(loaded.network, inputs)
        if found.shape != expected.shape:
            raise ValueError(f"it gives the shape {tuple(found.shape)}, not {tuple(expected.shape)}")
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"{folder}: its test pair is not of this network: {error}") from None
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    difference = float((found - expected).abs().max()) if expected.numel() else 0.0
    return PairTest(difference / largest if largest > 0 else difference)
