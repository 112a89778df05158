"""Hostile and broken repositories are refused, with what is wrong, before anything of them is used."""

import os
import re
from pathlib import Path

import pytest
from hostile import CASES, PRESET, REFUSALS, table
from hub_examples import lab_preset, small_model
from hub_server import Handler
from huggingface_hub import constants

from steadyspike.library.hub.artifact import FIGURE
from steadyspike.library.sharing import fetch, load_fetched

DOCS = Path(__file__).resolve().parents[2] / "docs"
READ = re.compile(
    rf"config\.json|(model|test_input|test_output)\.safetensors|preset\.toml|README\.md|{FIGURE.pattern}"
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Files of a model and of a preset without fault."""
    files = {}
    for kind, shared in (("model", small_model()), ("preset", lab_preset())):
        folder = tmp_path_factory.mktemp(kind)
        shared.stage(folder, "lab/shared")
        files[kind] = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files


def pull(*args, **kwargs):
    """Pull one form and refuse the other, as `steadyspike models pull` and `presets pull` do."""
    return load_fetched(fetch(*args, **kwargs))


def refusal(case, hub, good):
    """Pull a bad repository, and return the error."""
    hub.put("lab/shared", case.change(dict(good["preset" if case.preset else "model"])))
    with pytest.raises(REFUSALS, match=case.match) as caught:
        pull("hf:lab/shared", case.wanted)
    return caught.value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_it_is_refused(case, hub, good, tmp_path):
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    error = refusal(case, hub, good)
    assert "hf:lab/shared" in str(error)
    assert str(tmp_path) not in str(error)
    assert all(READ.fullmatch(name) for name in downloaded(hub))
    # what has no end is stopped while it comes: the client takes it in pieces of 10 MB
    assert hub.sent_bytes < 30_000_000
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert all(path.is_relative_to(constants.HF_HUB_CACHE) for path in written)
    # nothing of it is loaded later either
    with pytest.raises(REFUSALS):
        pull("hf:lab/shared", case.wanted, offline=True)


def downloaded(hub):
    """List the names of the files that were downloaded, from the Hub itself or from where it stores large ones."""
    paths = (re.split(r"/resolve/[^/]+/|/stored/[^/]+/[^/]+/[^/]+/", path) for path in hub.paths("GET"))
    return [parts[1] for parts in paths if len(parts) == 2]


def test_files_beside_an_artifact_are_never_downloaded(hub, good):
    others = {
        "evil.pkl": b"",
        "train.py": b"",
        "folder/more.safetensors": b"",
        "log.jsonl": b"",
        ".gitattributes": b"",
    }
    hub.put("lab/shared", {**good["model"], **others})
    folder = pull("hf:lab/shared").folder
    ours = [
        "README.md",
        "config.json",
        "model.safetensors",
        "test_input.safetensors",
        "test_output.safetensors",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ours
    assert sorted(downloaded(hub)) == sorted(path.name for path in folder.iterdir())


def test_the_documentation_shows_what_each_gives(hub, good):
    outcomes = [(case, refusal(case, hub, good)) for case in CASES]
    page = (DOCS / "sharing.md").read_text(encoding="utf-8")
    new = table(outcomes)
    if os.environ.get("STEADYSPIKE_WRITE_DOCS"):
        page = re.sub(r"\| repository \| refused with.*?\n(?!\|)", lambda _: new, page, flags=re.DOTALL)
        (DOCS / "sharing.md").write_text(page, encoding="utf-8")
    assert new in page, "STEADYSPIKE_WRITE_DOCS=1 pytest tests/hub/test_hub_hostile.py writes the table"


def test_a_link_out_of_the_cache_is_not_followed(hub, good, tmp_path):
    hub.put("lab/shared", good["preset"])
    path = pull_path("hf:lab/shared")
    secret = tmp_path / "secret.toml"
    secret.write_bytes(good["preset"][PRESET])
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(REFUSALS, match="missing or damaged"):
        pull("hf:lab/shared", offline=True)
    assert pull("hf:lab/shared").name == "lab_rigid"
    assert path.resolve() != secret
    assert secret.is_file()


def pull_path(ref):
    return fetch(ref).folder / PRESET


@pytest.mark.parametrize("what", ["another preset", "a hash that leaves"])
def test_what_the_server_says_is_held_against_the_listing_before_anything_is_downloaded(hub, good, what):
    case = next(
        case for case in CASES if f"server says {what}" in case.what or f"server has {what}" in case.what
    )
    refusal(case, hub, good)
    assert not downloaded(hub)


@pytest.mark.parametrize("commit", ["../../../owned", "", None, 3])
def test_a_commit_that_is_none(hub, good, commit, tmp_path, monkeypatch):
    hub.put("lab/shared", good["preset"])
    described = Handler.described
    monkeypatch.setattr(Handler, "described", lambda *args: {**described(*args), "sha": commit})
    before = set(tmp_path.rglob("*"))
    with pytest.raises(REFUSALS, match="hf:lab/shared"):
        pull("hf:lab/shared")
    assert set(tmp_path.rglob("*")) == before


def test_a_card_that_is_no_text_does_no_harm(hub, good):
    hub.put("lab/shared", {**good["model"], "README.md": b"\xff\xfe\x00 card"})
    assert pull("hf:lab/shared").card.endswith("card")
