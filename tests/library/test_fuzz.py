"""Whatever a preset or a configuration holds, nothing but our own errors comes out.

`STEADYSPIKE_FUZZ=2000 pytest tests/library/test_fuzz.py` draws so many other examples, each of 3 s at most.
"""

import copy
import datetime
import inspect
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from steadyspike.library.models.config import KINDS, ModelError, NetworkConfig, expected_weights, kind_class
from steadyspike.library.models.find import bundled_models
from steadyspike.library.models.folder import load_model
from steadyspike.library.presets.files import bundled_files
from steadyspike.library.presets.presets import PresetError, load_preset, save_preset
from steadyspike.networks import network_class

EXAMPLES = os.environ.get("STEADYSPIKE_FUZZ")
fuzz = settings(
    max_examples=int(EXAMPLES or 20),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=3000 if EXAMPLES else None,
    suppress_health_check=list(HealthCheck),
)
LONGEST_MESSAGE = 100_000

NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.floats(),
    st.sampled_from([2**31, 2**63, -(2**63), 10**6, 10**30, 10**4000, 0.0, 1e-300, 5e-324, 0.5]),
)
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["", "auto", "y", "locally_exclusive", "../x", "nan", "\ud800", "\0"]),
)
PLAIN = st.recursive(
    st.one_of(NUMBERS, WORDS, st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=8,
)


def nested(depth, kinds):
    value = 1
    for number in range(depth):
        value = [value] if kinds[number % len(kinds)] == "list" else {"a": value}
    return value


DEEP = st.builds(nested, st.integers(1, 3000), st.sampled_from([["list"], ["table"], ["list", "table"]]))
LONG = st.builds(
    lambda value, number: [value] * number, st.one_of(NUMBERS, WORDS), st.sampled_from([1000, 100_000])
)


def places(content, path=()):
    """List where values lie, as far as a few tables down."""
    if path:
        yield path
    if len(path) < 5:
        listed = enumerate(content) if isinstance(content, list) else ()
        for key, value in content.items() if isinstance(content, dict) else listed:
            yield from places(value, (*path, key))


@st.composite
def changed(draw, contents, values):
    """Draw a good content of which a few values are replaced, removed or added."""
    content = copy.deepcopy(draw(st.sampled_from(contents)))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(list(places(content))))
        inner = content
        for key in path:
            inner = inner[key]
        how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if how == "replace":
            inner[last] = draw(values)
        elif how == "remove" and len(content) > 1:
            del inner[last]
        elif isinstance(inner, dict):
            inner[draw(WORDS)] = draw(values)
        else:
            inner.append(draw(values))
    return content


PRESETS = [tomlkit.parse(path.read_text(encoding="utf-8")).unwrap() for path in bundled_files().values()]
NO_TOML = st.one_of(st.none(), st.builds(object), st.just(datetime.date(2026, 1, 1)), st.binary(max_size=4))


@fuzz
@given(changed(PRESETS, st.one_of(PLAIN, PLAIN, DEEP, LONG, NO_TOML)))
def test_presets_of_any_content(tmp_path, content):
    file = tmp_path / "preset.toml"
    file.unlink(missing_ok=True)
    with suppress(PresetError):
        save_preset(content, file)
    if file.exists():
        load_preset(file)
    with suppress(PresetError):
        load_preset("steady_rigid").replace(**content)


PIECES = [
    *("a.", "'a'.", '"a".', "a . ", "[", "[[", "{a=", "x=[", "a=1\n", "[a.a]\n", "[[a]]\n", "[a]\n"),
    *("a={b.c.d={", "'''", '"""', "'", '"', "\\'", '\\"', "#", "\\", "9", "1e", "\n"),
]
ENDS = ["", "a=1\n", "a]\n", "]\n", "]]\n", '"""', "'''", "}"]
repeated = st.builds(
    lambda piece, number, end: piece * number + end,
    st.sampled_from(PIECES),
    st.sampled_from([1, 10, 1000, 30_000, 100_000]),
    st.sampled_from(ENDS),
)
TOML = st.one_of(
    st.binary(max_size=200),
    st.text(st.sampled_from("a1.=\"'[]{},#\n \\eE+-_:TZ\r\t"), max_size=300).map(str.encode),
    st.lists(repeated, max_size=20).map(lambda parts: "".join(parts)[:199_000].encode()),
)


@fuzz
@given(TOML)
def test_presets_of_any_bytes(tmp_path, content):
    (tmp_path / "preset.toml").write_bytes(content)
    with pytest.raises(PresetError):
        load_preset(tmp_path / "preset.toml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make a model folder without a configuration."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def refused(folder, text):
    (folder / "config.json").write_bytes(text)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert len(str(caught.value)) < LONGEST_MESSAGE


CONFIGS = [json.loads((path / "config.json").read_text()) for path in bundled_models().values()]


@fuzz
@given(changed(CONFIGS, st.one_of(PLAIN, PLAIN, DEEP, LONG, st.none())))
def test_configurations_of_any_content(folder, content):
    try:
        text = json.dumps(content).encode()
    except RecursionError:
        text = b'{"schema_version": 1, "kind": ' + b"[" * 3000
    refused(folder, text)


JSON = st.one_of(
    st.binary(max_size=100),
    st.text(st.sampled_from('{}[]:,"1e-\\u'), max_size=100).map(str.encode),
    st.builds(
        lambda piece, number: piece * number,
        st.sampled_from([b"[", b'{"a":', b"9", b'"']),
        st.integers(1, 10**5),
    ),
)


@fuzz
@given(JSON, st.sampled_from(["schema_version", "kind", "extra", "network"]))
def test_configurations_of_any_bytes(folder, content, key):
    refused(folder, content)
    refused(folder, json.dumps({**CONFIGS[0], key: "HERE"}).encode().replace(b'"HERE"', content))


SIZES = st.one_of(
    st.integers(0, 5),
    st.sampled_from([2**20, 2**31, 2**63, 10**30, -1, 1.5, True, None, "a", {}]),
    st.sampled_from(
        [[], [[]], [[1, 1]], [[1], [0]], [[1, 0], [0]], [[0]], ["a"], [1, 2], [1.5], [2**63], [0]]
    ),
    st.sampled_from([[1] * 100_000, [[1] * 100_000], [[1]] * 100_000]),
    PLAIN,
)


@st.composite
def networks(draw):
    """Draw a class of configurations, and a network of it with sizes that have the right names."""
    config_class = kind_class(draw(st.sampled_from(sorted(KINDS)))).config_class
    name = draw(st.sampled_from(config_class.networks))
    names = list(inspect.signature(network_class(name).__init__).parameters)[1:]
    return (
        config_class,
        name,
        {one: draw(SIZES) for one in draw(st.lists(st.sampled_from(names), unique=True))},
    )


@fuzz
@given(networks())
def test_networks_of_any_sizes(drawn):
    config_class, name, sizes = drawn
    with suppress(ValueError):
        network = NetworkConfig(name=name, sizes=sizes)
        # the rest of the configuration is not looked at before there is a network
        expected_weights(Path(), config_class.model_construct(network=network))
