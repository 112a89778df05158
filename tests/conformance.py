"""The suite that every lazy recording node passes.

A node is declared once and then run through every check::

    NODE = Node(make=bandpass_filter, arguments=[dict(freq_min=500.0, ...)], tolerance=1e-4)

    @pytest.mark.parametrize("check", CHECKS, ids=check_name)
    def test_bandpass_conforms(check, tmp_path):
        check(NODE, tmp_path)

`arguments` must move EVERY argument of the node away from its default at least once: the suite reads the
signature and fails on a forgotten one, because an argument that is missing from the saved chain makes a
reloaded recording compute something else without a word.

The checks of samples run on every kind of awkward recordings too (`parent_recordings.AWKWARD`), so that `arguments`
may have to depend on the recording.
"""

import dataclasses
import functools
import inspect
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import spikeinterface as si
from parent_recordings import (
    AWKWARD,
    LENGTHS,
    NEGATIVE,
    OFFSET_UV,
    PLAIN,
    SAMPLING_FREQUENCY,
    UNSIGNED,
    WORKERS,
    channel_ids,
    dress,
    file_parent,
    make_traces,
    numpy_parent,
)

RELOAD_SCRIPT = """
import json, pathlib, pickle, sys
import numpy as np
import spikeinterface as si
assert "steadyspike" not in sys.modules, "the reload must bring steadyspike in by itself"
folder = pathlib.Path(sys.argv[1])
for path in sorted(folder.glob("*.json")) + sorted(folder.glob("*.pkl")) + sorted(folder.glob("*.pickled")):
    recording = pickle.loads(path.read_bytes()) if path.suffix == ".pickled" else si.load(path)
    for index in range(recording.get_num_segments()):
        np.save(f"{path}.{index}.npy", recording.get_traces(segment_index=index))
        np.save(f"{path}.{index}.times.npy", recording.get_times(segment_index=index))
"""


def no_arguments(recording):
    """Required arguments of a node that has none."""
    return {}


@dataclasses.dataclass(frozen=True)
class Node:
    """One lazy node under test.

    Parameters
    ----------
    make : callable
        `make(recording, **kwargs)` returns the lazy recording.
    arguments : list of dict, or callable
        Sets of keyword arguments; together they change every argument of `make` from its default. A callable
        takes the parent recording (whose ids, segments and times the values may need) and returns the list.
    required : callable, optional
        Takes the parent recording, returns the arguments that `make` cannot do without.
    tolerance : float
        Largest difference allowed between two ways to cut the recording into chunks, as a fraction of
        the standard deviation of the output. 0 asks for identical samples.
    changed_properties : tuple of str
        Channel properties which the node is meant to change.
    """

    make: Callable
    arguments: list | Callable
    required: Callable = no_arguments
    tolerance: float = 0.0
    changed_properties: tuple = ()

    def cases(self, recording) -> list[dict]:
        """Keyword arguments of every case: the defaults first, then each declared set."""
        declared = self.arguments(recording) if callable(self.arguments) else self.arguments
        required = self.required(recording)
        return [required] + [{**required, **kwargs} for kwargs in declared]

    def nodes(self, recording) -> list:
        """Build the node of each case on `recording`."""
        return [self.make(recording, **kwargs) for kwargs in self.cases(recording)]

    def parameters(self) -> dict:
        """Parameters of the node, without the recording."""
        parameters = dict(inspect.signature(self.make).parameters)
        parameters.pop("recording")
        return parameters

    def assert_same(self, value, expected, message="", std=None):
        """Fail unless both have one type and shape and agree to the tolerance (`std`: of the output)."""
        assert value.shape == expected.shape, f"{message}: shape {value.shape}, expected {expected.shape}"
        assert value.dtype == expected.dtype, f"{message}: {value.dtype}, expected {expected.dtype}"
        if expected.size == 0:
            return
        allowed = self.tolerance * (expected.std(dtype="float64") if std is None else std)
        # one unit more for integers: two values apart by a rounding error may round to neighbours
        allowed += expected.dtype.kind in "iu" and self.tolerance > 0
        difference = np.abs(value.astype("float64") - expected.astype("float64"))
        assert difference.max() <= allowed, f"{message}: off by {difference.max()}, allowed {allowed}"


def whole(recording, segment_index=0):
    """All samples of one segment, read at once."""
    return recording.get_traces(segment_index=segment_index)


def read_in_chunks(recording, chunk_size, segment_index=0):
    """All samples of one segment, read `chunk_size` at a time."""
    num_samples = recording.get_num_samples(segment_index)
    starts = range(0, num_samples, chunk_size)
    chunks = [recording.get_traces(segment_index, start, start + chunk_size) for start in starts]
    return np.concatenate(chunks)


def expected_dtype(kwargs, parent_dtype):
    """Type that a node declares: the one asked for, else floating point as the parent, else float32."""
    if kwargs.get("dtype") is not None:
        return np.dtype(kwargs["dtype"])
    return np.dtype(parent_dtype) if parent_dtype in ("float32", "float64") else np.dtype("float32")


def check_every_argument_is_changed(node, folder):
    recording = numpy_parent()
    cases = node.cases(recording)
    for name, parameter in node.parameters().items():
        changed = any(name in kwargs and not same(kwargs[name], parameter.default) for kwargs in cases)
        assert changed, f"no declared case changes the argument {name!r} from its default"
    unknown = {name for kwargs in cases for name in kwargs} - set(node.parameters())
    assert not unknown, f"the node has no such arguments: {unknown}"


def same(value, default):
    """Whether two argument values are equal, whatever their types."""
    try:
        return bool(np.all(value == default)) and (value is None) == (default is None)
    except (TypeError, ValueError):
        return False


def check_every_argument_is_saved(node, folder):
    for recording in node.nodes(numpy_parent()):
        missing = set(node.parameters()) - set(recording._kwargs)
        assert not missing, f"_kwargs forgets {missing}"


def check_any_chunk_size(node, folder, kind=PLAIN):
    for dtype in kind.dtypes:
        for recording in node.nodes(numpy_parent(dtype, kind=kind)):
            for segment_index in range(2):
                expected = whole(recording, segment_index)
                for chunk_size in (97, 499, 1500) if kind is PLAIN else (97,):
                    value = read_in_chunks(recording, chunk_size, segment_index)
                    node.assert_same(value, expected, f"{dtype} in chunks of {chunk_size}")


def check_single_samples(node, folder, kind=PLAIN):
    for recording in node.nodes(numpy_parent(kind.dtypes[-1], kind=kind)):
        for segment_index in range(2):
            expected = whole(recording, segment_index)
            std, last = expected.std(dtype="float64"), len(expected) - 1
            for start in (0, 1, 2, 17, last // 2, last - 1, last):
                value = recording.get_traces(segment_index, start, start + 1)
                node.assert_same(value, expected[start : start + 1], f"sample {start}", std)


def check_any_channels(node, folder, kind=PLAIN):
    stop = kind.lengths[1] - 7
    for dtype in kind.dtypes:
        for recording in node.nodes(numpy_parent(dtype, kind=kind)):
            segment = recording.segments[1]
            expected = segment.get_traces(30, stop, slice(None))
            last = expected.shape[1] - 1
            subsets = [
                slice(2, 5),
                slice(None, None, 2),
                slice(None, None, -1),
                [last],
                [last, 0, last // 2],
                [0, 0],
            ]
            for subset in [None, np.array([last, 0]), np.array([], dtype="int64"), *subsets]:
                value = segment.get_traces(30, stop, subset)
                wanted = expected if subset is None else expected[:, subset]
                node.assert_same(value, wanted, f"channels {subset}")
            some = [last, min(1, last), 0]
            ids = recording.channel_ids[some]
            value = recording.get_traces(1, 30, stop, channel_ids=ids)
            node.assert_same(value, expected[:, some], f"channel ids {ids}")


def check_segments_alone(node, folder, kind=PLAIN):
    """A segment gives the same samples whether or not there are others."""
    together = numpy_parent(kind.dtypes[0], kind=kind)
    for segment_index in range(2):
        alone = si.select_segment_recording(together, segment_index)
        for one, many in zip(node.nodes(alone), node.nodes(together), strict=True):
            node.assert_same(whole(one), whole(many, segment_index), f"segment {segment_index} alone")


def check_declared_dtype(node, folder, kind=PLAIN):
    for dtype in ("int16", "uint16", "float32", "float64") if kind is PLAIN else kind.dtypes:
        parent = numpy_parent(dtype, kind=kind)
        for kwargs, recording in zip(node.cases(parent), node.nodes(parent), strict=True):
            declared = recording.get_dtype()
            assert declared == expected_dtype(kwargs, dtype), f"{dtype} parent: declares {declared}"
            for start, end in ((0, 100), (5, 6), (80, 80), (0, kind.lengths[1])):
                traces = recording.get_traces(1, start, end)
                assert traces.dtype == declared
                assert traces.shape == (end - start, recording.get_num_channels())
            assert np.isfinite(recording.get_traces(1)).all()


def check_integer_output_saturates(node, folder):
    if "dtype" not in node.parameters():
        return
    huge = [make_traces(400, "float32") * 1e4]
    parent = dress(si.NumpyRecording(huge, SAMPLING_FREQUENCY, channel_ids=channel_ids()))
    for kwargs in node.cases(parent):
        exact = whole(node.make(parent, **{**kwargs, "dtype": "float64"}))
        value = whole(node.make(parent, **{**kwargs, "dtype": "int16"}))
        assert value.dtype == np.int16
        difference = value - np.clip(np.round(exact), -32_768, 32_767)
        assert np.abs(difference).max() <= 1


def check_times(node, folder):
    for time_vectors in (False, True):
        parent = file_parent(folder, time_vectors=time_vectors)
        for recording in node.nodes(parent):
            for segment_index, length in enumerate(LENGTHS):
                times = recording.get_times(segment_index=segment_index)
                np.testing.assert_array_equal(times, parent.get_times(segment_index=segment_index))
                assert recording.sample_index_to_time(length - 1, segment_index) == times[-1]
                assert recording.get_start_time(segment_index) == times[0]


def check_metadata(node, folder, kind=PLAIN):
    parent = numpy_parent(kind.dtypes[0], kind=kind)
    for recording in node.nodes(parent):
        ids = recording.channel_ids
        assert recording.sampling_frequency == parent.sampling_frequency
        assert recording.get_num_segments() == parent.get_num_segments()
        assert set(ids) <= set(parent.channel_ids)
        np.testing.assert_array_equal(recording.get_channel_locations(), parent.get_channel_locations(ids))
        for key in set(parent.get_property_keys()) - set(node.changed_properties):
            np.testing.assert_array_equal(recording.get_property(key), parent.get_property(key, ids=ids), key)
        assert recording.get_annotation("experimenter") == "Ada"
        assert parent.get_annotation("is_filtered") is False


def check_parent_untouched(node, folder, kind=PLAIN):
    for dtype in kind.dtypes:
        traces = [kind.counts(length, dtype, seed) for seed, length in enumerate(kind.lengths)]
        copies = [array.copy() for array in traces]
        parent = kind.dress(si.NumpyRecording(traces, SAMPLING_FREQUENCY, channel_ids=kind.channel_ids()))
        for recording in node.nodes(parent):
            result = whole(recording)
            read_in_chunks(recording, 499, 1)
            assert not np.shares_memory(result, traces[0]), "the result is a view of the parent's samples"
        for array, copy in zip(traces, copies, strict=True):
            np.testing.assert_array_equal(array, copy)


def check_short_recordings(node, folder, kind=PLAIN):
    plain = ((0,), (0, 301), (1,), (2,), (7,), (50,), (53, 1))
    for lengths in plain if kind is PLAIN else ((0, 31), (1,)):
        for dtype in kind.dtypes:
            parent = numpy_parent(dtype, lengths, kind)
            for recording in node.nodes(parent):
                for segment_index, length in enumerate(lengths):
                    expected = whole(recording, segment_index)
                    assert expected.shape == (length, recording.get_num_channels())
                    assert expected.dtype == recording.get_dtype()
                    assert np.isfinite(expected).all()
                    if length:
                        value = read_in_chunks(recording, 20, segment_index)
                        node.assert_same(value, expected, f"{length} samples")


def check_reload_in_new_process(node, folder):
    """A saved chain computes the same samples in a process which never imported steadyspike."""
    expected = {}
    for kind, dtype, time_vectors in (
        (PLAIN, "float32", True),
        (PLAIN, "int16", False),
        (WORKERS, "uint16", False),
    ):
        parent = file_parent(folder, dtype, time_vectors, kind)
        for index, recording in enumerate(node.nodes(parent)):
            name = f"{dtype}_{index}"
            recording.dump_to_json(folder / f"{name}.json")
            recording.dump_to_pickle(folder / f"{name}.pkl")
            (folder / f"{name}.pickled").write_bytes(pickle.dumps(recording))
            for suffix in (".json", ".pkl", ".pickled"):
                expected[name + suffix] = recording
    command = [sys.executable, "-c", RELOAD_SCRIPT, str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    for name, recording in expected.items():
        for segment_index in range(len(LENGTHS)):
            value = np.load(folder / f"{name}.{segment_index}.npy")
            np.testing.assert_array_equal(value, whole(recording, segment_index), f"{name}: other samples")
            times = np.load(folder / f"{name}.{segment_index}.times.npy")
            np.testing.assert_array_equal(times, recording.get_times(segment_index=segment_index))


def check_json_is_plain(node, folder):
    """The saved chain is strict JSON, without NaN or Infinity, which other readers refuse."""
    for index, recording in enumerate(node.nodes(file_parent(folder))):
        path = folder / f"plain_{index}.json"
        recording.dump_to_json(path)
        json.loads(path.read_text(), parse_constant=lambda constant: refuse(constant))


def refuse(constant):
    """Fail on a constant which is not JSON."""
    raise AssertionError(f"{constant} in the saved chain")


def check_threads(node, folder, kind=PLAIN):
    """Threads that read the same node at the same time disturb nothing of each other."""
    with ThreadPoolExecutor(4) as pool:
        for recording in node.nodes(numpy_parent(kind.dtypes[0], kind=kind)):
            expected = whole(recording)
            starts = range(0, len(expected), 101)
            chunks = pool.map(lambda start: recording.get_traces(0, start, start + 101), starts)  # noqa: B023
            node.assert_same(np.concatenate(list(chunks)), expected, "read by threads")


def check_thread_workers(node, folder):
    recording = node.nodes(file_parent(folder, "uint16", kind=WORKERS))[-1]
    check_saved(node, recording, folder / "threads", pool_engine="thread")


def check_forked_workers(node, folder):
    if sys.platform != "linux":
        return
    recording = node.nodes(file_parent(folder, "uint16", kind=WORKERS))[-1]
    check_saved(node, recording, folder / "forked", pool_engine="process", mp_context="fork")


def check_spawned_workers(node, folder):
    recording = node.nodes(file_parent(folder, "uint16", kind=WORKERS))[-1]
    check_saved(node, recording, folder / "spawned", pool_engine="process", mp_context="spawn")


def check_saved(node, recording, folder, **pool):
    """What two workers save equals what one call reads."""
    saved = recording.save(folder=folder, n_jobs=2, chunk_size=401, progress_bar=False, **pool)
    assert saved.get_dtype() == recording.get_dtype()
    for segment_index in range(recording.get_num_segments()):
        node.assert_same(whole(saved, segment_index), whole(recording, segment_index), str(pool))


def check_same_voltages(node, folder):
    """Counts of another type or sign that stand for the same voltages give the same voltages."""
    expected = [
        one.get_traces(0, return_in_uV=True) for one in node.nodes(in_uv_without_offset(PLAIN, "int16"))
    ]
    for kind, dtype in ((UNSIGNED, "uint16"), (NEGATIVE, "int16")):
        nodes = node.nodes(in_uv_without_offset(kind, dtype))
        for recording, wanted in zip(nodes, expected, strict=True):
            if recording.get_dtype().kind == "f":
                difference = np.abs(recording.get_traces(0, return_in_uV=True) - wanted).max()
                # float32 near 32,768 counts
                allowed = max(2 * node.tolerance, 1e-4) * wanted.std() + 0.01
                assert difference <= allowed, f"{kind.name}: off by {difference} uV, allowed {allowed}"


def in_uv_without_offset(kind, dtype):
    """Recording of a kind whose middle count is no voltage."""
    parent = numpy_parent(dtype, PLAIN.lengths, kind)
    parent.set_channel_offsets(parent.get_channel_offsets() - OFFSET_UV)
    return parent


SAMPLE_CHECKS = (
    check_any_chunk_size,
    check_single_samples,
    check_any_channels,
    check_segments_alone,
    check_declared_dtype,
    check_metadata,
    check_parent_untouched,
    check_short_recordings,
    check_threads,
)


def check_awkward(kind, node, folder):
    """All checks of samples on a kind of awkward recordings."""
    for check in SAMPLE_CHECKS:
        check(node, folder, kind)


CHECKS = (
    check_every_argument_is_changed,
    check_every_argument_is_saved,
    *SAMPLE_CHECKS,
    check_integer_output_saturates,
    check_times,
    check_reload_in_new_process,
    check_json_is_plain,
    check_thread_workers,
    check_forked_workers,
    check_spawned_workers,
    check_same_voltages,
    *(functools.partial(check_awkward, kind) for kind in AWKWARD),
)


def check_name(check):
    """Name of a check as pytest shows it."""
    if isinstance(check, functools.partial):
        return check.args[0].name.replace(" ", "_")
    return check.__name__.removeprefix("check_")
