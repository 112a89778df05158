"""Hostile and broken repositories, and the table of what each of them gives in the documentation.

`STEADYSPIKE_WRITE_DOCS=1 pytest tests/hub/test_hub_hostile.py` writes the table into `docs/sharing.md`.
"""

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import dataclass

import tomlkit
import torch
from hub_server import Stored
from safetensors.torch import load, save

from steadyspike.library.hub.reference import HubError

CONFIG, WEIGHTS, CARD, PRESET = "config.json", "model.safetensors", "README.md", "preset.toml"
REFUSALS = (ValueError, HubError)


@dataclass(frozen=True)
class Case:
    """What is wrong with a repository: `change` takes the files of a good one and changes them."""

    what: str
    change: Callable[[dict], dict]
    match: str
    preset: bool = False
    wanted: str | None = None


def config(**fields):
    """Change fields of config.json; a name with __ goes into nested ones."""

    def change(files):
        content = json.loads(files[CONFIG])
        for name, value in fields.items():
            *path, last = name.split("__")
            inner = content
            for part in path:
                inner = inner[part]
            inner[last] = value
        return {**files, CONFIG: json.dumps(content).encode()}

    return change


def toml(**fields):
    """Change keys of preset.toml; a name with __ goes into a table."""

    def change(files):
        content = tomlkit.parse(files[PRESET].decode())
        for name, value in fields.items():
            table, _, key = name.rpartition("__")
            (content[table] if table else content)[key] = value
        return {**files, PRESET: tomlkit.dumps(content).encode()}

    return change


def weights(how):
    """Change the weights, given as a dictionary of tensors."""

    def change(files):
        tensors = load(files[WEIGHTS])
        how(tensors)
        return {**files, WEIGHTS: save(tensors)}

    return change


def with_file(name, data):
    """Add a file, or replace one; a function gets the old content."""
    return lambda files: {**files, name: data(files[name]) if callable(data) else data}


def another_of_its_size(data):
    other = data.replace(b"as our laboratory", b"as the laboratory")
    assert other != data
    return Stored(other, listed_hash=Stored(data).git_hash, told_hash=Stored(other).git_hash)


def without(*names, **more):
    """Leave files out."""
    return lambda files: {name: data for name, data in files.items() if name not in names}


def fill(name, value):
    def how(tensors):
        tensors[name].view(-1)[0] = value

    return weights(how)


MODELS = [
    Case("weights hold NaN", fill("out.weight", float("nan")), "is not finite in out.weight"),
    Case("weights hold infinity", fill("out.bias", float("inf")), "is not finite in out.bias"),
    Case(
        "weights of other shapes than the configuration says",
        config(network__sizes__features=8),
        r"out\.weight is \(\(4, 4, 1, 1\), 'float32'\), should be",
    ),
    Case(
        "sizes in the configuration that no memory could hold",
        config(network__sizes__features=10**8),
        "does not fit config.json",
    ),
    Case("a weight is missing", weights(lambda own: own.pop("out.bias")), "out.bias is missing"),
    Case(
        "a weight that the network does not have",
        weights(lambda own: own.update(more=torch.zeros(1))),
        "more is not of this network",
    ),
    Case(
        "weights of another type",
        weights(lambda own: own.update({"out.bias": own["out.bias"].long()})),
        "out.bias is .*int64",
    ),
    Case(
        "weights cut off in the middle",
        with_file(WEIGHTS, lambda data: data[:-100]),
        "not a whole safetensors",
    ),
    Case(
        "far more bytes of weights than the configuration has use for",
        with_file(WEIGHTS, lambda data: data + bytes(2_000_000)),
        r"model\.safetensors: has \d+ bytes; allowed: up to",
    ),
    Case(
        "a pickle named model.safetensors",
        with_file(WEIGHTS, pickle.dumps({"out.bias": [0.0]})),
        "not a whole safetensors",
    ),
    Case(
        "weights as pickle only",
        lambda files: {CONFIG: files[CONFIG], "pytorch_model.bin": pickle.dumps(0)},
        "model.safetensors is missing. There is pytorch_model.bin, which is never read",
    ),
    Case("weights without a configuration", without(CONFIG), "is neither a model"),
    Case("an empty repository", lambda files: {".gitattributes": b""}, "is neither a model"),
    Case(
        "code only",
        lambda files: {"modeling.py": b"import os", CARD: b""},
        "modeling.py, which is never read",
    ),
    Case("a configuration of 3 MB", with_file(CONFIG, b" " * 3_000_000), "config.json: has 3000000 bytes"),
    Case("a configuration nested 100,000 deep", with_file(CONFIG, b"[" * 100_000), "is not valid JSON"),
    Case("a number of 100,000 digits", with_file(CONFIG, b"1" * 100_000), "is not valid JSON"),
    Case("a configuration that is no JSON", with_file(CONFIG, b"network: blindspot"), "is not valid JSON"),
    Case(
        "a configuration of another library",
        with_file(CONFIG, b'{"model_type": "bert"}'),
        "schema_version is missing",
    ),
    Case(
        "a newer schema",
        config(schema_version=99),
        "has schema_version 99.*pip install --upgrade steadyspike",
    ),
    Case("a kind that is not known", config(kind="oracle"), "kind: 'oracle' is not known"),
    Case("a kind that is a list", config(kind=[]), r"kind: \[\] is not known"),
    Case(
        "a list of a hundred thousand layers",
        config(network__sizes__dilations=[1] * 100_000),
        "has more than 1000 values",
    ),
    Case("a key that is not known", config(trust_remote_code=True), "trust_remote_code: Extra inputs"),
    Case("code as the name of a network", config(network__name="os.system('id')"), "network"),
    Case("a sampling frequency of NaN", config(sampling_frequency=float("nan")), "sampling_frequency"),
    Case("a file named ../../.bashrc", with_file("../../.bashrc", b"id"), "would leave its folder"),
    Case("a file named /etc/cron.d/job", with_file("/etc/cron.d/job", b"id"), "would leave its folder"),
    Case("a file named ..\\run.bat", with_file("..\\run.bat", b"id"), "would leave its folder"),
    Case("a file named C:run.bat", with_file("C:run.bat", b"id"), "would leave its folder"),
    Case("a name that steers the terminal", with_file("\x1b[2Jx.png", b""), "would leave its folder"),
    Case(
        "config.json is a symbolic link (git keeps its target as the content)",
        with_file(CONFIG, b"../../../../home/user/.ssh/id_rsa"),
        "is not valid JSON",
    ),
    Case(
        "the server sends another file than it lists",
        with_file(CONFIG, lambda data: Stored(data, listed_hash="0" * 40)),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server sends more than it lists",
        with_file(CARD, lambda data: Stored(data * 50, listed_size=10)),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server sends a file without an end",
        with_file(
            CARD, lambda data: Stored(data.ljust(100_000), listed_size=11, listed_hash="0" * 40, endless=True)
        ),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server sends weights without an end",
        with_file(WEIGHTS, lambda data: Stored(data, lfs=True, listed_hash="0" * 64, endless=True)),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server says another hash than it lists",
        with_file(CONFIG, lambda data: Stored(data + b"\n", told_hash="0" * 40)),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server says a hash that leaves the cache",
        with_file(CONFIG, lambda data: Stored(data + b"\n", told_hash="../../../owned")),
        "is not the file that the Hub lists",
    ),
    Case(
        "the server lists a hash that leaves the cache",
        with_file(WEIGHTS, lambda data: Stored(data, lfs=True, listed_hash="../../../../owned")),
        "its hash is not known",
    ),
    Case("a card of 2 MB", with_file(CARD, b"#" * 2_000_000), "README.md: has 2000000 bytes"),
    Case("a figure that is no PNG", with_file("loss.png", b"<svg onload=alert(1)>"), "loss.png: is no PNG"),
    Case("a figure of 20 MB", with_file("loss.png", bytes(20_000_000)), "loss.png: has 20000000 bytes"),
    Case("a model and a preset in one", with_file(PRESET, b"schema = 1"), "allowed: one model or one preset"),
    Case("a model where a preset is wanted", dict, "what is wanted here is a preset", wanted="preset"),
]

PRESETS = [
    Case("a preset where a model is wanted", dict, "what is wanted here is a model", True, "model"),
    Case("a key that is not known", toml(run="rm"), "run: is no key of a preset", True),
    Case(
        "a parameter that is not known",
        toml(detect_kwargs__shell="id"),
        "detect_kwargs.shell: is no parameter of 'locally_exclusive'",
        True,
    ),
    Case(
        "code as a method",
        toml(estimate_motion_kwargs__method="__import__('os').system"),
        "estimate_motion_kwargs.method: .* is no method",
        True,
    ),
    Case(
        "code as a value",
        toml(detect_kwargs__detect_threshold="np.linspace(5, 8, 3)"),
        r"detect_threshold: is 'np\.linspace\(5, 8, 3\)'; allowed: a number",
        True,
    ),
    Case("a value out of range", toml(detect_kwargs__detect_threshold=-1.0), "allowed: a number > 0", True),
    Case(
        "a value that is not finite",
        toml(detect_kwargs__detect_threshold=float("inf")),
        "a finite number",
        True,
    ),
    Case("a newer schema", toml(schema=99), "newer than this version of steadyspike knows; upgrade", True),
    Case("a kind that is not known", toml(kind="script"), "kind: is 'script'", True),
    Case("a preset that is no TOML", with_file(PRESET, b"schema: 1"), "is not valid TOML", True),
    Case(
        "a preset nested 100,000 deep", with_file(PRESET, b"x = " + b"[" * 100_000), "is not valid TOML", True
    ),
    Case(
        "a key of 90,000 parts",
        with_file(PRESET, b"a." * 90_000 + b"a = 1"),
        "a key of 20 parts or more",
        True,
    ),
    Case(
        "tables nested 3,000 deep",
        with_file(PRESET, lambda data: data + b"\n[x." + b".".join([b"a"] * 3_000) + b"]"),
        "a key of 20 parts or more",
        True,
    ),
    Case(
        "lists nested 50 deep",
        toml(detect_kwargs__detect_threshold=json.loads("[" * 50 + "]" * 50)),
        "nested deeper than 10",
        True,
    ),
    Case(
        "a number of 100,000 digits", with_file(PRESET, b"x = " + b"1" * 100_000), "is not valid TOML", True
    ),
    Case(
        "the server has another preset of the same size than it lists",
        with_file(PRESET, another_of_its_size),
        "is not the file that the Hub lists",
        True,
    ),
    Case(
        "the server sends another preset of the same size than it lists and says",
        with_file(PRESET, lambda data: Stored(data[::-1], listed_hash=Stored(data).git_hash)),
        "is not the file that the Hub lists",
        True,
    ),
    Case("a preset of 1 MB", with_file(PRESET, b"#" * 1_000_000), "preset.toml: has 1000000 bytes", True),
]
CASES = MODELS + PRESETS


def shown(error):
    """Say an error as the documentation shows it: the same on every machine, and not too long."""
    text = re.sub(r"@[0-9a-f]{40}", "", str(error).splitlines()[0])
    # words of other libraries, and lists that grow
    text = re.sub(r"(is not valid JSON|is not valid TOML|is not a whole safetensors file): .*", r"\1", text)
    text = re.sub(r"; allowed: [^;]*, [^;]*, .*", "; allowed: ...", text)
    return text if len(text) <= 180 else text[:180].rsplit(" ", 1)[0] + " ..."


def table(outcomes):
    """Write the table from pairs of a case and its error."""
    rows = [
        f"| {'preset' if case.preset else 'model'}: {_cell(case.what)} | {_cell(shown(error))} |"
        for case, error in outcomes
    ]
    return "\n".join(["| repository | refused with |", "|---|---|", *rows]) + "\n"


def _cell(text):
    return (
        text.replace("\\", "\\\\")
        .replace("|", "\\|")
        .replace("<", "\\<")
        .replace("_", "\\_")
        .replace("*", "\\*")
    )
