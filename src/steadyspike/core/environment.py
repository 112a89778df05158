"""Versions and machine, as every stored result names them, and SpikeInterface's job defaults."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "steadyspike",
    "spikeinterface",
    "probeinterface",
    "numpy",
    "scipy",
    "numba",
    "torch",
    "matplotlib",
)

SUPPORTED_SERIES = ("0.103", "0.104", "0.105")


class UnsupportedSpikeInterfaceError(ImportError):
    """The installed SpikeInterface is of another series than this steadyspike was made for."""


def own_version() -> str:
    """Give the version of steadyspike, without importing the package."""
    return version("steadyspike")


def own_commit() -> str | None:
    """Give the commit of steadyspike, where it was installed from a repository or runs in a checkout; else None."""
    import json
    import subprocess
    from importlib.metadata import distribution
    from pathlib import Path

    try:
        origin = json.loads(distribution("steadyspike").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    if "vcs_info" in origin:
        return str(origin["vcs_info"]["commit_id"])
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def peak_memory_mb() -> float | None:
    """Give the largest resident memory of this process, or of one that it has started and waited for; None: unknown."""
    try:
        import resource
    except ImportError:
        return None
    largest = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # bytes on macOS, kB elsewhere
    return largest / (1e6 if platform.system() == "Darwin" else 1e3)


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages whose results may depend on them."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, str | int]:
    """Describe the computer in words that help to compare run times."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_name(),
        "cores": usable_cores(),
    }


def usable_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_spikeinterface_version() -> None:
    """Raise unless the installed SpikeInterface is of a supported series."""
    import spikeinterface

    version = spikeinterface.__version__
    if ".".join(version.split(".")[:2]) not in SUPPORTED_SERIES:
        supported = ", ".join(f"{series}.x" for series in SUPPORTED_SERIES)
        raise UnsupportedSpikeInterfaceError(
            f"steadyspike {own_version()} works with spikeinterface {supported}; "
            f"installed is {version}. Install a fitting one with: "
            f"pip install 'spikeinterface=={SUPPORTED_SERIES[-1]}.*' (or take another steadyspike)"
        )


def is_before(series: str) -> bool:
    """Whether the installed SpikeInterface is older than a series, such as "0.105"."""
    import spikeinterface

    installed, asked = (
        [int(number) for number in text.split(".")[:2]] for text in (spikeinterface.__version__, series)
    )
    return installed < asked


def shows_progress(progress_bar: bool | None) -> bool:
    """Whether to show progress; None: as SpikeInterface's global job arguments say."""
    if progress_bar is not None:
        return bool(progress_bar)
    from spikeinterface.core.globals import get_global_job_kwargs

    return bool(get_global_job_kwargs().get("progress_bar", True))


@contextmanager
def job_defaults(**job_kwargs: Any) -> Iterator[None]:
    """Make job arguments SpikeInterface's defaults for a while.

    `correct_motion` estimates noise levels without passing its job arguments on, and would show a progress
    bar for them in any case.
    """
    from spikeinterface.core import globals as si_globals

    before, was_set = si_globals.get_global_job_kwargs(), si_globals.is_set_global_job_kwargs_set()
    si_globals.set_global_job_kwargs(**job_kwargs)
    try:
        yield
    finally:
        si_globals.reset_global_job_kwargs()
        si_globals.set_global_job_kwargs(**before)
        si_globals.global_job_kwargs_set = was_set


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
