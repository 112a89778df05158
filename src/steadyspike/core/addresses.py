"""Addresses of recordings, such as ``s3://bucket/name.zarr``, and what is needed to open one."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
"""What fsspec needs for each kind of address."""
SECRETS = ("key", "secret", "token", "password")

# pathlib makes one slash of two
_ADDRESS = re.compile(rf"({'|'.join(PACKAGES)}):/{{1,2}}(?=[^/])")


def address_of(path: str | Path) -> str | None:
    """Give the address that a path, or what `pathlib` made of one, stands for; None for one on this machine."""
    text = path.as_posix() if isinstance(path, Path) else str(path)
    found = _ADDRESS.match(text)
    if found is None:
        return None
    # the name by which SpikeInterface knows it
    kind = "gcs" if found[1] == "gs" else found[1]
    return f"{kind}://{text[found.end() :]}".rstrip("/")


def as_text(path: object) -> str:
    """Write a path, or the address that `pathlib` has made one of; of anything else, what `str` gives."""
    return (address_of(path) if isinstance(path, Path) else None) or str(path)


def check_address(address: str, stream_mode: str | None = None) -> None:
    """Raise `ImportError` unless what reads an address is installed: remfile, by that mode of NWB, else fsspec."""
    package = "remfile" if stream_mode == "remfile" else PACKAGES[address.partition("://")[0]]
    if find_spec(package) is None:
        extra = package if package == "gcsfs" else "'steadyspike[remote]'"
        raise ImportError(f"{address} needs {package}: pip install {extra}")


def check_options(options: dict[str, Any]) -> None:
    """Refuse secrets among the options of a reader, since a chain that is saved holds them; raises `ValueError`."""
    given = {str(name).lower() for name in (options.get("storage_options") or {})}
    secret = sorted(name for name in given if any(part in name for part in SECRETS))
    if secret:
        raise ValueError(
            f"storage_options: {', '.join(secret)} would be written into what is saved; set the environment instead "
            "(AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; GOOGLE_APPLICATION_CREDENTIALS)"
        )


def reads_remotely(recording: BaseRecording) -> bool:
    """Whether a chain begins with what lies at an address."""
    from spikeinterface import BaseRecording

    def is_remote(value: Any) -> bool:
        if isinstance(value, BaseRecording):
            return is_remote(value._kwargs)
        if isinstance(value, dict | list | tuple):
            return any(is_remote(one) for one in (value.values() if isinstance(value, dict) else value))
        return isinstance(value, str | Path) and address_of(value) is not None

    return is_remote(recording)
