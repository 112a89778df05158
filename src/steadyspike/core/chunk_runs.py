"""Run a function on chunks of a recording: in SpikeInterface's pools on this machine, or on the workers of a client.

A client is a `distributed.Client`, or any executor of `concurrent.futures`, such as mpi4py's. It comes as ``client``
among the job arguments, or from `working_on`. Chunks are handed out in order, a few for each worker beyond what it
works on, and taken back in order: what waits to be taken stays bounded, whatever the length of the recording.
"""

from __future__ import annotations

import itertools
import pickle
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from steadyspike.core.addresses import reads_remotely

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

Chunk = tuple[int, int, int]

CLIENT = "client"
"""Among job arguments; SpikeInterface knows no such argument."""
HANDED_OUT = 4
"""Chunks for each thread of the workers: being worked on, waiting for it, or waiting to be taken back."""
FEWEST_HANDED_OUT = 8
LOST = ("CancelledError", "FutureCancelledError", "FuturesCancelledError", "CommClosedError")
KILLED = "KilledWorker"

_CURRENT: ContextVar[Any] = ContextVar("client", default=None)


class ChunkError(RuntimeError):
    """A chunk failed; the message names the job, its time range, and why."""


class LostClientError(RuntimeError):
    """The scheduler was lost; what is on the disk stays, and the same call goes on from there."""


@contextmanager
def working_on(client: Any) -> Iterator[None]:
    """Let the chunks of everything in a block be worked on by the workers of a client; None: here."""
    token = _CURRENT.set(client)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def split_client(job_kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Take the client out of job arguments: the one that is given, or that of `working_on`, or None."""
    rest = {name: value for name, value in job_kwargs.items() if name != CLIENT}
    given = job_kwargs.get(CLIENT)
    return (_CURRENT.get() if given is None else given), rest


def run_chunks(
    recording: BaseRecording,
    func: Callable[..., Any],
    init_func: Callable[..., dict[str, Any]],
    init_args: tuple[Any, ...],
    chunks: list[Chunk],
    gather: Callable[[Any], None],
    job_name: str,
    client: Any,
    **job_kwargs: Any,
) -> None:
    """Call a function on each chunk, and `gather` with what each call gave, in the order of the chunks.

    `func` takes segment, first and last frame, and what ``init_func(*init_args)`` gave once in each worker, as with
    SpikeInterface's executor. With a client all of them are pickled, the workers see the same files under the same
    paths, and a chunk may be worked on twice, where a worker was lost. Raises `ChunkError` for a chunk that fails, here
    or there, and `LostClientError`; chunks before it were gathered.
    """
    from spikeinterface.core.job_tools import TimeSeriesChunkExecutor

    if client is None:
        if reads_remotely(recording):
            # a connection does not outlive a fork
            job_kwargs["mp_context"] = "spawn"
        here = _Here(func, recording.sampling_frequency, job_name)
        executor = TimeSeriesChunkExecutor(
            recording, here, init_func, init_args, gather_func=gather, job_name=job_name, **job_kwargs
        )
        executor.run(chunks)
        return
    threads = job_kwargs.get("max_threads_per_worker", 1)
    work = _Work(client, func, (init_func, init_args), threads)
    shown = _shown(chunks, job_name, bool(job_kwargs.get("progress_bar", False)))
    with closing(work.results(chunks, recording, job_name)) as results:
        for _, result in zip(shown, results, strict=True):
            gather(result)


@dataclass(frozen=True)
class _Here:
    """A function on chunks, whose failures name the chunk."""

    func: Callable[..., Any]
    sampling_frequency: float
    job_name: str

    def __call__(self, segment: int, start: int, stop: int, worker: dict[str, Any]) -> Any:
        try:
            return self.func(segment, start, stop, worker)
        except Exception as error:
            why = _why(error)
            raise _failed((segment, start, stop), self.sampling_frequency, self.job_name, why) from error


class _Work:
    """What is handed out to the workers of one client."""

    def __init__(self, client: Any, func: Callable[..., Any], start: Any, threads: int | None) -> None:
        self.client, self.func, self.threads = client, func, threads
        self.token = token_hex(8)
        self.is_dask = hasattr(client, "scheduler_info")
        self.content: Any = pickle.dumps((_as_here(), start))
        if self.is_dask:
            # a result, unlike what is scattered, is made again where its worker is lost
            self.content = client.submit(_itself, self.content, key=f"steadyspike-{self.token}", pure=False)

    def results(
        self, chunks: list[Chunk], recording: BaseRecording, job_name: str
    ) -> Generator[Any, None, None]:
        """Give the results in order."""
        left = iter(chunks)
        out: deque[tuple[Chunk, Any]] = deque()
        try:
            while True:
                try:
                    for chunk in itertools.islice(left, max(0, self._most() - len(out))):
                        out.append((chunk, self._submit(chunk, job_name)))
                except Exception as error:
                    if type(error).__name__ not in LOST:
                        raise
                    raise _lost(job_name) from error
                if not out:
                    return
                chunk, future = out.popleft()
                try:
                    result = future.result()
                except Exception as error:
                    raise _told(error, chunk, recording, job_name) from error
                del future
                yield result
        finally:
            for _, future in out:
                future.cancel()

    def _submit(self, chunk: Chunk, job_name: str) -> Any:
        more: dict[str, Any] = {}
        if self.is_dask:
            name = job_name.replace(" ", "-") or "chunk"
            more = dict(pure=False, key=f"{name}-{self.token}-{'-'.join(map(str, chunk))}")
        return self.client.submit(_work, self.token, self.content, self.func, chunk, self.threads, **more)

    def _most(self) -> int:
        """Give how many chunks may be out; workers may come and go."""
        client = self.client
        threads = sum(client.nthreads().values()) if self.is_dask else getattr(client, "_max_workers", 1)
        return max(FEWEST_HANDED_OUT, HANDED_OUT * threads)


_HELD = threading.local()


def _work(token: str, content: bytes, func: Callable[..., Any], chunk: Chunk, threads: int | None) -> Any:
    """Work on a chunk, in a thread of a worker, which keeps what the job begins with."""
    from contextlib import nullcontext

    from threadpoolctl import threadpool_limits

    if getattr(_HELD, "token", None) != token:
        # from the process that submitted this function, which Dask unpickles likewise: nothing from a file or the Hub
        do_as_there, (init_func, init_args) = pickle.loads(content)
        if do_as_there is not None:
            do_as_there()
        _HELD.context, _HELD.token = init_func(*init_args), token
    with nullcontext() if threads is None else threadpool_limits(limits=threads):
        return func(*chunk, _HELD.context)


def _itself(content: bytes) -> bytes:
    return content


def _as_here() -> Any:
    """Give what makes another process compute as this one, where it is accelerated."""
    from spikeinterface.core import job_tools

    return getattr(getattr(job_tools, "process_worker_initializer", None), "do_as_parent", None)


def _told(error: Exception, chunk: Chunk, recording: BaseRecording, job_name: str) -> Exception:
    """Name the chunk that failed."""
    kind = type(error).__name__
    if kind in LOST:
        return _lost(job_name)
    why = _why(error)
    if kind == KILLED:
        why = f"every worker that began it died, as for lack of memory ({why})"
    return _failed(chunk, recording.sampling_frequency, job_name, why)


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _failed(chunk: Chunk, rate: float, job_name: str, why: str) -> ChunkError:
    segment, first, last = chunk
    where = f"{first / rate:.3f} to {last / rate:.3f} s of segment {segment} (samples {first} to {last})"
    return ChunkError(f"{job_name}: {where}: {why}")


def _lost(job_name: str) -> LostClientError:
    return LostClientError(
        f"{job_name}: the connection to the scheduler was lost; what is done is kept, and the same call goes on"
    )


def _shown(chunks: list[Chunk], job_name: str, progress_bar: bool) -> Any:
    if not progress_bar:
        return chunks
    from tqdm.auto import tqdm

    return tqdm(chunks, desc=f"{job_name} (workers of a client)")
