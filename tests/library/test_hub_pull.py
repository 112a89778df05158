"""Pulling: by tag, branch and commit; private ones; without a network; and what broke on the way or in the cache."""

import errno
import os
import socket
from concurrent.futures import ThreadPoolExecutor

import huggingface_hub
import pytest
import torch
from hub_examples import small_model
from hub_server import OTHER, OWNER, READER, Stored
from huggingface_hub import constants

import steadyspike
from steadyspike.library.hub.cache import reference_of
from steadyspike.library.hub.client import search, versions
from steadyspike.library.hub.reference import (
    ArtifactError,
    HubError,
    HubReference,
    NotOnDiskError,
    without_tokens,
)
from steadyspike.library.models.find import find_model
from steadyspike.library.models.references import find_source
from steadyspike.library.sharing import fetch, pull_from_hub

WEIGHTS = "model.safetensors"


@pytest.fixture
def shared(hub, new_cache):
    """Push two versions of a model, and start with an empty cache as someone else."""
    refs = [small_model(seed).push_to_hub("lab/small", tag=f"v{seed}").ref for seed in (1, 2)]
    new_cache()
    hub.requests.clear()
    return refs


@pytest.fixture
def no_network(monkeypatch):
    """Return a function after which nobody answers."""

    def cut():
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
        )

    return cut


def is_version(seed, model):
    return torch.equal(model.network.out.weight, small_model(seed).network.out.weight)


def test_by_tag_branch_and_commit(hub, shared):
    for ref, seed in (("hf:lab/small", 2), ("hf:lab/small@main", 2), ("hf:lab/small@v1", 1), (shared[0], 1)):
        assert is_version(seed, pull_from_hub(ref))
        fetched = fetch(ref)
        assert str(fetched.ref) == shared[seed - 1]
        assert reference_of(fetched.folder) == fetched.ref
        assert not fetched.folder.joinpath(".gitattributes").exists()
    # what two versions have in common is downloaded once
    assert len(hub.paths("GET", "config.json")) == 1
    assert len(hub.paths("GET", WEIGHTS)) == 2


def test_a_commit_that_is_there_needs_no_network(hub, shared, no_network, offline):
    pull_from_hub(shared[0])
    hub.requests.clear()
    assert is_version(1, pull_from_hub(shared[0]))
    assert not hub.requests
    no_network()
    assert is_version(1, pull_from_hub(shared[0]))
    offline()
    assert is_version(1, pull_from_hub(shared[0]))


def test_a_tag_that_somebody_moved_does_not_change_a_commit(hub, shared):
    fetched = fetch("hf:lab/small@v1")
    hub.repos["lab/small"].tags["v1"] = hub.repos["lab/small"].tags["v2"]
    assert is_version(1, pull_from_hub(str(fetched.ref)))
    assert is_version(2, pull_from_hub("hf:lab/small@v1"))


def test_references_are_understood_everywhere_a_model_is(shared):
    assert find_model("hf:lab/small@v1") == fetch(shared[0]).folder
    assert find_source("hf:lab/small@v1").saved == shared[0]
    assert find_source(pull_from_hub("hf:lab/small@v1")).saved == shared[0]
    assert find_source(steadyspike.load_model("hf:lab/small")).saved == shared[1]
    with pytest.raises(ValueError, match="holds a model; what is wanted here is a preset"):
        steadyspike.load_preset("hf:lab/small")


def test_what_is_not_there(shared):
    with pytest.raises(
        HubError, match=r"hf:lab/nothing: there is no such repository, or it is private; log in"
    ):
        pull_from_hub("hf:lab/nothing")
    with pytest.raises(
        HubError, match=r"hf:lab/small@v9: the repository has no revision 'v9'; see: .* lab/small"
    ):
        pull_from_hub("hf:lab/small@v9")
    with pytest.raises(HubError, match="has no revision '0000"):
        pull_from_hub("hf:lab/small@" + "0" * 40)


@pytest.mark.parametrize(
    "bad", ["lab/small", "hf:small", "hf:lab/small@", "hf:lab/small@a b", "hf:lab/small@-x", 3]
)
def test_references_that_are_none(bad):
    with pytest.raises((ValueError, AttributeError), match=r"Hugging Face Hub|no attribute"):
        pull_from_hub(bad)


def test_a_token_goes_to_the_hub_only(hub, shared):
    pull_from_hub("hf:lab/small@v1", token=OWNER)
    sent = [token for method, path, token in hub.requests if path.startswith("/stored/")]
    # weights, and the pair that tests them
    assert sent == [None] * 3
    assert {token for method, path, token in hub.requests if "/resolve/" in path} == {OWNER}


def test_private_repositories(hub, model, new_cache, monkeypatch, caplog):
    model.push_to_hub("lab/secret", tag="v1", private=True)
    for token, answer in (
        (OWNER, None),
        (READER, None),
        (OTHER, "no such repository, or it is private; log in"),
        ("hf_nobodyKnowsThisOne", "does not accept the access token"),
    ):
        new_cache(token)
        if answer is None:
            assert pull_from_hub("hf:lab/secret@v1", token=token).config == model.config
            continue
        with pytest.raises(HubError, match=answer) as caught:
            pull_from_hub("hf:lab/secret@v1", token=token)
        assert token not in str(caught.value) + caplog.text
    monkeypatch.delitem(os.environ, "HF_TOKEN")
    with pytest.raises(HubError, match=r"or it is private; log in with `hf auth login`"):
        pull_from_hub("hf:lab/secret")
    assert hub.requests[-1][2] is None


def test_a_gated_repository_says_to_ask(hub, shared):
    hub.fail("GET", "/revision/v1", status=403, headers={"X-Error-Code": "GatedRepo"})
    with pytest.raises(HubError, match="asks for a permission first"):
        pull_from_hub("hf:lab/small@v1")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_what_was_downloaded_loads_and_else_it_says_what_to_do(hub, shared, how, offline):
    pull_from_hub("hf:lab/small@v1")
    hub.requests.clear()
    if how == "environment":
        offline()
    arguments = {"offline": True} if how == "argument" else {}
    for ref in ("hf:lab/small@v1", shared[0]):
        assert is_version(1, pull_from_hub(ref, **arguments))
    for ref in ("hf:lab/small", "hf:lab/small@v2", shared[1], "hf:lab/nothing"):
        with pytest.raises(
            NotOnDiskError, match=f"{ref} is not on this machine .* run: steadyspike models pull {ref}"
        ):
            pull_from_hub(ref, **arguments)
    assert not hub.requests


def test_without_a_network_the_last_known_version_is_used(hub, shared, no_network):
    pull_from_hub("hf:lab/small@v1")
    no_network()
    with pytest.warns(UserWarning, match=f"taken as it was last known, {shared[0][-40:]}"):
        assert is_version(1, pull_from_hub("hf:lab/small@v1"))
    with pytest.raises(
        NotOnDiskError, match=r"hf:lab/small@v2 is not on this machine and the Hub cannot be reached"
    ):
        pull_from_hub("hf:lab/small@v2")
    with pytest.raises(NotOnDiskError, match="run: steadyspike models pull hf:lab/small"):
        pull_from_hub(shared[1])
    with pytest.raises(HubError, match="search: the Hub cannot be reached"):
        search()


def test_a_network_that_swallows_everything_is_not_waited_for(shared, monkeypatch):
    pull_from_hub("hf:lab/small@v1")
    monkeypatch.setattr("steadyspike.library.hub.client.TIMEOUT_S", 0.1)
    # connections are accepted, but nobody answers
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.warns(UserWarning, match="does not answer"):
            assert is_version(1, pull_from_hub("hf:lab/small@v1"))
        with pytest.raises(NotOnDiskError, match="the Hub cannot be reached"):
            pull_from_hub("hf:lab/small@v2")


def test_several_at_once(hub, shared):
    with ThreadPoolExecutor(4) as pool:
        pulled = list(pool.map(pull_from_hub, ["hf:lab/small@v1", "hf:lab/small@v2"] * 4))
    assert all(is_version(1 + index % 2, one) for index, one in enumerate(pulled))
    assert is_version(2, pull_from_hub(shared[1], offline=True))


def test_a_partial_snapshot_is_noticed(hub, shared):
    folder = fetch("hf:lab/small@v1").folder
    (folder / WEIGHTS).unlink()
    with pytest.raises(NotOnDiskError, match=r"as a whole \(model.safetensors is missing or damaged\)"):
        pull_from_hub(shared[0], offline=True)
    with pytest.raises(NotOnDiskError, match="as a whole"):
        find_model_offline(shared[0])
    assert is_version(1, pull_from_hub(shared[0]))
    assert is_version(1, pull_from_hub(shared[0], offline=True))


def find_model_offline(ref):
    return fetch(ref, "model", offline=True)


@pytest.mark.parametrize("damage", [b"", b"x"])
def test_a_damaged_file_is_noticed_and_downloaded_again(hub, shared, damage):
    blob = fetch("hf:lab/small@v1").folder.joinpath(WEIGHTS).resolve()
    content = blob.read_bytes()
    blob.chmod(0o644)
    blob.write_bytes(content[:-1] + damage)
    with pytest.raises(NotOnDiskError, match="missing or damaged"):
        pull_from_hub(shared[0], offline=True)
    assert is_version(1, pull_from_hub(shared[0]))
    assert blob.read_bytes() == content


@pytest.fixture
def no_links(monkeypatch):
    """Let the cache be on a file system without symbolic links, as on most Windows machines."""
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda _: False)


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b""])
@pytest.mark.parametrize("name", ["config.json", WEIGHTS])
def test_a_copy_that_was_damaged_is_noticed_and_downloaded_again(hub, shared, no_links, name, damage):
    copy = fetch("hf:lab/small@v1").folder / name
    content = copy.read_bytes()
    assert not copy.is_symlink()
    assert is_version(1, pull_from_hub(shared[0], offline=True))
    copy.write_bytes(damage(content))
    with pytest.raises(NotOnDiskError, match="missing or damaged"):
        pull_from_hub(shared[0], offline=True)
    for whole in (copy, copy.parents[2] / "blobs" / Stored(content, name == WEIGHTS).hash):
        whole.write_bytes(damage(content))
    with pytest.raises(NotOnDiskError, match="missing or damaged"):
        pull_from_hub(shared[0], offline=True)
    assert is_version(1, pull_from_hub(shared[0]))
    assert copy.read_bytes() == content


def test_the_files_of_another_version_are_noticed(hub, shared, no_links):
    folders = [fetch(ref).folder for ref in shared]
    (folders[0] / WEIGHTS).write_bytes((folders[1] / WEIGHTS).read_bytes()[:-4] + bytes(4))
    assert is_version(1, pull_from_hub(shared[0]))


def test_copies_that_the_client_itself_downloaded_are_held_against_the_listing(hub, shared, monkeypatch):
    monkeypatch.setattr(
        "huggingface_hub.file_download._create_symlink", lambda blob, path, **_: os.rename(blob, path)
    )
    ref = HubReference.parse(shared[0])
    for name in ("config.json", WEIGHTS):
        path = huggingface_hub.hf_hub_download(ref.repo_id, name, revision=ref.revision)
    assert not os.path.islink(path)
    with open(path, "r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(bytes(4))
    assert is_version(1, pull_from_hub(shared[0]))


@pytest.fixture
def read_only(monkeypatch):
    """Return a function after which the cache is another user's (the tests may run as root)."""

    def refuse(dir, **_):
        raise PermissionError(errno.EACCES, "Permission denied", str(dir))

    return lambda: monkeypatch.setattr("tempfile.TemporaryDirectory", refuse)


def test_a_cache_that_is_for_reading_only(hub, shared, read_only):
    pull_from_hub("hf:lab/small@v1")
    hub.repos["lab/small"].tags["new"] = shared[0][-40:]
    read_only()
    for ref in ("hf:lab/small@v1", "hf:lab/small@new", shared[0]):
        assert is_version(1, pull_from_hub(ref))
    with pytest.raises(HubError, match=r"the cache, .* cannot be written \(Permission denied\); set HF_HOME"):
        pull_from_hub("hf:lab/small@v2")


def test_a_login_page_in_place_of_the_hub(hub, shared):
    pull_from_hub("hf:lab/small@v1")
    for method in ("GET", "HEAD", "POST"):
        hub.fail(method, "", times=100, page=b"<html><body>Welcome to the airport</body></html>")
    with pytest.warns(UserWarning, match="does not answer"):
        assert is_version(1, pull_from_hub("hf:lab/small@v1"))
    for ask in (
        lambda: pull_from_hub("hf:lab/small@v2"),
        search,
        lambda: versions("hf:lab/small"),
        lambda: small_model().push_to_hub("lab/small"),
    ):
        with pytest.raises(HubError, match="not the Hub, but perhaps a login page of the network"):
            ask()


@pytest.mark.parametrize(
    "listed",
    [
        b"[]",
        b"3",
        b'"x"',
        b"null",
        b'{"id": 1}',
        b'{"id": "a", "siblings": [{"rfilename": 3}]}',
        b"[" * 100_000,
    ],
)
def test_a_listing_that_is_none(hub, shared, listed):
    hub.fail("GET", "/api/", times=100, page=listed)
    for ask in (lambda: pull_from_hub("hf:lab/small@v1"), lambda: pull_from_hub(shared[0])):
        with pytest.raises((HubError, ArtifactError), match="hf:lab/small"):
            ask()


def test_a_download_that_is_cut_goes_on_where_it_was(hub, shared):
    hub.fail("GET", WEIGHTS, times=2, cut_after=1000)
    assert is_version(1, pull_from_hub("hf:lab/small@v1"))
    assert len(hub.paths("GET", WEIGHTS)) == 3


def test_a_download_that_never_ends_leaves_the_cache_whole(hub, shared):
    hub.fail("GET", WEIGHTS, times=100, cut_after=0)
    with pytest.raises(NotOnDiskError, match="the Hub cannot be reached"):
        pull_from_hub("hf:lab/small@v1")
    with pytest.raises(NotOnDiskError, match=r"model\.safetensors is missing"):
        pull_from_hub("hf:lab/small@v1", offline=True)
    names = [name for _, _, files in os.walk(constants.HF_HUB_CACHE) for name in files]
    assert not [name for name in names if name.endswith("incomplete")]
    hub.faults.clear()
    assert is_version(1, pull_from_hub("hf:lab/small@v1"))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_hub_that_is_busy_is_asked_again(hub, shared, status):
    hub.fail("HEAD", "config.json", times=2, status=status)
    hub.fail("GET", WEIGHTS, times=1, status=429)
    assert is_version(1, pull_from_hub("hf:lab/small@v1"))


def test_a_hub_that_does_not_work(hub, shared):
    hub.fail("GET", "/api/models", times=100, status=503)
    with pytest.raises(HubError, match=r"hf:lab/small@v1: the Hub does not work .* \(status 503\)"):
        pull_from_hub("hf:lab/small@v1")
    hub.faults.clear()
    pull_from_hub("hf:lab/small@v1")
    hub.fail("GET", "/api/models", times=100, status=503)
    with pytest.warns(UserWarning, match="does not answer"):
        assert is_version(1, pull_from_hub("hf:lab/small@v1"))
    hub.faults.clear()
    hub.fail("HEAD", "/resolve/", times=100, status=403)
    with pytest.raises(HubError, match="does not allow this; take one that may read this repository"):
        pull_from_hub("hf:lab/small@v2")


def test_search_by_tag(hub, model, preset):
    model.push_to_hub("lab/small", license_name="mit")
    preset.push_to_hub("lab/rigid")
    model.push_to_hub("lab/secret", private=True)
    hub.put("lab/bert", {"config.json": b"{}", "README.md": b"---\ntags: [bert]\n---\n"})
    assert {one.repo_id for one in search()} == {"lab/small", "lab/rigid", "lab/secret"}
    assert {one.repo_id for one in search(token=OTHER)} == {"lab/small", "lab/rigid"}
    (found,) = search("model", "deepinterpolation", "small")
    assert (found.repo_id, found.kind, found.license) == ("lab/small", "deepinterpolation", "mit")
    assert [one.repo_id for one in search("preset", "motion")] == ["lab/rigid"]
    assert versions("hf:lab/small") == {}


def test_a_card_of_someone_else_cannot_harm(hub, shared):
    listed = hub.repos["lab/small"]
    listed.metadata = lambda: {
        "tags": ["steadyspike", "steadyspike-model"],
        "license": ["a", 1],
        "model-index": "x",
    }
    assert search("model")[0].repo_id == "lab/small"


def test_texts_without_tokens():
    text = f"GET /x?token={OWNER} and sesame"
    assert without_tokens(text, "sesame", None) == "GET /x?token=<token> and <token>"
    assert str(HubReference.parse("hf:lab/small@v1")) == "hf:lab/small@v1"
