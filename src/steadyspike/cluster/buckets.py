"""Zarr in a bucket: a store to which any number of machines write the chunks of a recording.

Keys and endpoints come from the environment (``AWS_PROFILE``, ``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), as
fsspec reads them: what is given as an argument would be kept in every chain that is saved.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from steadyspike.core.addresses import check_address
from steadyspike.core.chunk_runs import Chunk, run_chunks, split_client
from steadyspike.core.identity import describe_recording, flatten
from steadyspike.core.saving import ZARR, chunk_size_of
from steadyspike.core.stores import ZarrStore, check_zarr
from steadyspike.core.unfinished import OtherSettingsError, differences

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

WRITABLE = ("s3", "gcs")
"""Where an object is there whole or not at all."""
BEGUN = ".steadyspike-unfinished.json"
"""What a recording that is being written was begun with; its root's metadata are written when all else is there."""
ROOT = (".zattrs", ".zmetadata", ".zgroup")


@contextmanager
def file_system(address: str) -> Iterator[tuple[Any, str]]:
    """Give the file system of an address, and the path there; an error names the address, and what may be missing."""
    import fsspec

    check_address(address)
    try:
        found = fsspec.core.url_to_fs(address)
        # what others have written since is to be seen
        found[0].invalidate_cache()
        yield found
    except (PermissionError, ConnectionError) as error:
        hint = "is the environment set (AWS_PROFILE, AWS_ENDPOINT_URL, ...)?"
        raise type(error)(f"{address}: {error}; {hint}") from error


class RemoteZarrStore(ZarrStore):
    """Where chunks go: a Zarr in an object store, each of whose objects is there whole or not at all.

    Chunks that are there are done, so nothing else is noted; and nobody takes the array for whole until its root's
    metadata are there.
    """

    def __init__(self, recording: BaseRecording, address: str, chunk_size: int) -> None:
        super().__init__(recording, Path(address.rpartition("/")[2]), chunk_size)
        self.address = address

    def begin_or_go_on(self, settings: dict[str, Any]) -> None:
        """Write all but the traces and the root's metadata, unless they are there.

        Raises `FileExistsError` where something else is, and `OtherSettingsError` where another recording was begun.
        """
        with file_system(self.address) as (files, place):
            if not files.exists(f"{place}/{BEGUN}"):
                if files.find(place):
                    raise self._exists()
                self._note(files, place, settings)
            try:
                known = json.loads(files.cat_file(f"{place}/{BEGUN}"))["settings"]
            except FileNotFoundError:
                # another run has just ended there
                raise self._exists() from None
            wanted = flatten(settings)
            if other := sorted(name for name in {*known, *wanted} if known.get(name) != wanted.get(name)):
                raise OtherSettingsError(
                    f"{self.address} holds an unfinished recording {differences(other, known, wanted)}. Choose another "
                    "place, or delete it"
                )
            with self._skeleton() as skeleton:
                for file in skeleton.rglob("*"):
                    name = file.relative_to(skeleton).as_posix()
                    if file.is_file() and name not in ROOT:
                        files.pipe_file(f"{place}/{name}", file.read_bytes())

    def _exists(self) -> FileExistsError:
        return FileExistsError(f"{self.address} exists; choose another place, or delete it")

    def _note(self, files: Any, place: str, settings: dict[str, Any]) -> None:
        content = json.dumps(dict(settings=flatten(settings))).encode()
        try:
            # who comes second reads what the first one wrote
            files.pipe_file(f"{place}/{BEGUN}", content, mode="create")
        except FileExistsError:
            return

    @contextmanager
    def _skeleton(self) -> Iterator[Path]:
        """Make all but the traces in a folder of this machine."""
        import zarr

        with TemporaryDirectory() as folder:
            skeleton = Path(folder) / "skeleton.zarr"
            self.begin(skeleton)
            zarr.consolidate_metadata(str(skeleton))
            yield skeleton

    def written(self) -> set[Chunk]:
        """Find the chunks that are there."""
        done: set[Chunk] = set()
        with file_system(self.address) as (files, place):
            for segment in range(self.recording.get_num_segments()):
                length = self.recording.get_num_samples(segment)
                for name in files.find(f"{place}/traces_seg{segment}"):
                    number = name.rpartition("/")[2].partition(".")[0]
                    if number.isdigit():
                        start = int(number) * self.chunk_size
                        done.add((segment, start, min(start + self.chunk_size, length)))
        return done

    def finish(self) -> None:
        """Write the root's metadata, with which the array is there."""
        with file_system(self.address) as (files, place), self._skeleton() as skeleton:
            for name in ROOT:
                files.pipe_file(f"{place}/{name}", (skeleton / name).read_bytes())
            # of two runs that write the same, the other one may have ended first
            with suppress(FileNotFoundError):
                files.rm_file(f"{place}/{BEGUN}")

    def arguments(self) -> tuple[Any, ...]:
        """Give what `open` takes."""
        return self.recording, self.address

    @staticmethod
    def open(recording: BaseRecording, address: str) -> dict[str, Any]:  # type: ignore[override]
        """Open the arrays of all segments in a worker."""
        import zarr

        with file_system(address) as (files, place):
            arrays = [
                zarr.open_array(
                    files.get_mapper(f"{place}/traces_seg{segment}"), mode="r+", write_empty_chunks=True
                )
                for segment in range(recording.get_num_segments())
            ]
        return dict(recording=recording, arrays=arrays)

    @staticmethod
    def write_chunk(segment: int, start: int, stop: int, worker: dict[str, Any]) -> None:
        """Compute a chunk, and write its object."""
        traces = worker["recording"].get_traces(segment_index=segment, start_frame=start, end_frame=stop)
        worker["arrays"][segment][start:stop] = traces


def save_to_bucket(
    recording: BaseRecording, address: str, *, job_name: str = "write", **job_kwargs: Any
) -> None:
    """Write a Zarr to an object store, or what is missing of it; see `RemoteZarrStore`.

    Job arguments and errors are those of `steadyspike.core.saving.save_recording`.
    """
    from spikeinterface.core.job_tools import divide_time_series_into_chunks

    check_zarr()
    client, job_kwargs = split_client(job_kwargs)
    chunk_size, job_kwargs = chunk_size_of(recording, job_kwargs)
    store = RemoteZarrStore(recording, address, chunk_size)
    store.begin_or_go_on(dict(recording=describe_recording(recording), chunk_size=chunk_size, format=ZARR))
    done = store.written()
    missing = [one for one in divide_time_series_into_chunks(recording, chunk_size) if one not in done]
    if missing:
        how = store.write_chunk, store.open, store.arguments()
        run_chunks(recording, *how, missing, lambda _: None, job_name, client, **job_kwargs)
    store.finish()
