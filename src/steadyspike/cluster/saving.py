"""Write a recording that is computed as it is written, by the workers of many machines, and go on after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.core.addresses import address_of
from steadyspike.core.aside import locked, put_in_place
from steadyspike.core.unfinished import WorkFolder

if TYPE_CHECKING:
    from spikeinterface import BaseRecording


def save_recording(recording: BaseRecording, folder: str | Path, **job_kwargs: Any) -> BaseRecording:
    """Write what ``recording.save(folder=..., format=...)`` writes, chunk by chunk, resumably.

    Chunks that are done are noted beside the place, in a folder whose name ends in ".part". After an interrupt, or a
    crash of a worker, of the scheduler or of the machine, the same call goes on; the folder itself appears when it is
    complete. In a bucket (``s3://``, ``gs://``) chunks are written to their place, from any machine; until all are
    there, nobody can open it.

    Parameters
    ----------
    recording : BaseRecording
        Of any number of segments; with a client, its files lie where the workers see them under the same paths.
    folder : str or Path
        Where to write; new. Zarr where its name ends in ".zarr", else SpikeInterface's binary folder. At an address
        such as ``s3://bucket/name.zarr``: Zarr; keys and endpoint come from the environment of this process and of the
        workers.
    **job_kwargs
        SpikeInterface's job arguments, such as ``n_jobs`` and ``chunk_duration``; and ``client``, a
        `distributed.Client` or an executor of `concurrent.futures` whose workers compute and write the chunks.

    Returns
    -------
    saved : BaseRecording
        What was written.

    Raises
    ------
    FileExistsError
        If the folder is there, or (`InUseError`) another process is writing it.
    ValueError
        If another recording, or other chunks, were begun there (`OtherSettingsError`); the message names the
        differences. If an address is none of a Zarr in a bucket.
    ImportError
        If an address needs a package that is not installed.
    RuntimeError
        If a chunk fails, with its time range, or the scheduler is lost; what is done stays.
    """
    import spikeinterface.full as si

    from steadyspike.cluster.buckets import WRITABLE, save_to_bucket
    from steadyspike.core.saving import ZARR
    from steadyspike.core.saving import save_recording as write

    address = address_of(folder)
    if address is not None:
        if not address.endswith(ZARR) or address.partition("://")[0] not in WRITABLE:
            raise ValueError(
                f"save_recording: folder={str(folder)!r}; allowed: a folder, or s3:// or gs:// and a name that ends in "
                f"{ZARR}"
            )
        save_to_bucket(recording, address, **job_kwargs)
        return si.load(address)
    folder = Path(folder).expanduser().absolute()
    work = WorkFolder(folder.with_name(f"{folder.name}.part"), "unfinished recording", "another folder")
    with locked(folder):
        if folder.exists():
            raise FileExistsError(f"{folder} exists; choose another place, or delete it")
        if not work.check({}):
            work.begin({})
        # as deep as it will lie; the end of its name tells the format
        result = work.path / f"recording{ZARR if folder.suffix == ZARR else ''}"
        write(recording, result, work, **job_kwargs)
        put_in_place(result, folder)
        work.discard()
    return si.load(folder)
