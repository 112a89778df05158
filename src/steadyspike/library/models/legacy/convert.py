"""Files of other libraries and older works, converted into our model folders: which converter reads which file.

A converter is a function ``convert(file, options)`` that returns a `SavedModel`. It never runs anything that a file
holds: HDF5 is read as data, and a checkpoint of torch with ``weights_only=True``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probeinterface import Probe

    from steadyspike.library.models.folder import SavedModel

MAX_BYTES = 2_000_000_000


@dataclass(frozen=True)
class ImportOptions:
    """What a file does not tell.

    Parameters
    ----------
    sampling_frequency : float or None
        Of the recordings trained on, in Hz; None: what the converter knows of the file's origin.
    probe : str or None
        Of the recordings trained on: a probeinterface JSON file, or a part number of a Neuropixels probe ("NP1000").
    pre : int or None
        Samples before the gap; None: half of those that the network sees.
    omission : int
        Samples hidden on each side of the predicted one.
    arrangement : str
        Of the contacts in the image, as `steadyspike.core.probe_layout.layout_of` takes it.
    normalization : str
        "global", "channel" or "none".
    license_name : str
        Of the weights.
    """

    sampling_frequency: float | None = None
    probe: str | None = None
    pre: int | None = None
    omission: int = 1
    arrangement: str = "interleaved"
    normalization: str = "global"
    license_name: str = "unknown"


@dataclass(frozen=True)
class Converter:
    """Which files a converter reads, and where it is ("module:function")."""

    what: str
    suffixes: tuple[str, ...]
    target: str


CONVERTERS = (
    Converter(
        "DeepInterpolation's unet_single_ephys_1024 in Keras' legacy format",
        (".h5", ".hdf5"),
        "steadyspike.library.models.legacy.convert:from_keras",
    ),
    Converter(
        "YASS' waveform denoiser and spike detectors, and the zebra finch classifiers and autoencoder, of torch",
        (".pt", ".pth"),
        "steadyspike.library.models.legacy.waveforms:from_torch",
    ),
)


def import_model(
    file: str | Path, folder: str | Path, options: ImportOptions | None = None, overwrite: bool = False
) -> SavedModel:
    """Convert a file of another library into a model folder.

    Parameters
    ----------
    file : str or Path
        What to read.
    folder : str or Path
        The model folder that is written, whole or not at all.
    options : ImportOptions or None, default: None
        What the file does not tell.
    overwrite : bool, default: False
        Whether a model folder that is there is replaced.

    Returns
    -------
    model : SavedModel
        Loaded from `folder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If no converter reads it, it is not what its converter reads, or an option is missing.
    FileExistsError
        If the folder is there.
    """
    from steadyspike.library.models.folder import load_folder

    file = Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    if file.stat().st_size > MAX_BYTES:
        raise ValueError(f"{file} has {file.stat().st_size} bytes; allowed: up to {MAX_BYTES}")
    model = find_converter(file)(file, options or ImportOptions())
    model.save(folder, overwrite=overwrite)
    return load_folder(Path(folder).expanduser().absolute())


def find_converter(file: Path) -> Callable[[Path, ImportOptions], SavedModel]:
    """Return the converter of a file, by the end of its name."""
    for converter in CONVERTERS:
        if file.suffix.lower() in converter.suffixes:
            module, _, name = converter.target.partition(":")
            found: Callable[[Path, ImportOptions], SavedModel] = getattr(import_module(module), name)
            return found
    if file.suffix.lower() == ".keras":
        raise ValueError(
            f"file={str(file)!r} needs no conversion: it is taken as a model as it is, with TensorFlow"
        )
    known = "; ".join(f"{', '.join(one.suffixes)}: {one.what}" for one in CONVERTERS)
    raise ValueError(f"file={str(file)!r} cannot be converted; allowed: {known}")


def origin_of(file: Path) -> dict[str, Any]:
    """Say where a model comes from, for `extra` in its configuration."""
    from steadyspike.core.environment import versions

    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {"imported_from": {"file": file.name, "sha256": digest}, "versions": versions()}


def imported_card(config: Any, license_name: str) -> str:
    """Write the card of a converted model: what it is, and which file it was."""
    from steadyspike.library.hub.cards import license_metadata
    from steadyspike.library.models.folder import model_card

    origin = config.extra["imported_from"]
    return (
        f"---\n{license_metadata(license_name)}\n---\n\n{model_card(config)}\n"
        f"Converted from `{origin['file']}` (SHA-256 `{origin['sha256']}`).\n"
    )


def from_keras(file: Path, options: ImportOptions) -> SavedModel:
    """Convert DeepInterpolation's network for electrophysiology (Lecoq et al. 2021) from a Keras file."""
    from steadyspike.core.probe_layout import layout_of
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, Normalization, config_of
    from steadyspike.library.models.keras.weights import read_keras_unet

    if options.probe is None or options.sampling_frequency is None:
        raise ValueError(
            f"{file}: does not tell which recordings it is for; needed: probe (a probeinterface JSON file, or a part "
            "number such as NP1000) and sampling_frequency"
        )
    network = read_keras_unet(file, options.omission, options.pre, options.arrangement)
    layout = layout_of(read_probe(options.probe).contact_positions, arrangement=options.arrangement)
    config = config_of(
        network,
        layout.type,
        options.sampling_frequency,
        Normalization.model_validate({"method": options.normalization}),
        origin_of(file),
    )
    return DeepInterpolationModel(network, config, imported_card(config, options.license_name))


def read_probe(probe: str) -> Probe:
    """Read a probe from a probeinterface JSON file, or build a Neuropixels probe by its part number."""
    from probeinterface import read_probeinterface
    from probeinterface.neuropixels_tools import build_neuropixels_probe

    if Path(probe).is_file():
        try:
            probes = read_probeinterface(probe).probes
        except Exception as error:
            raise ValueError(f"probe={probe!r} cannot be read: {error}") from None
        if len(probes) != 1:
            raise ValueError(f"probe={probe!r} holds {len(probes)} probes; allowed: 1")
        return probes[0]
    try:
        return build_neuropixels_probe(probe)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"probe={probe!r} is neither a file nor a part number of a Neuropixels probe, such as NP1000"
        ) from None
