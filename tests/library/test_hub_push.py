"""Pushing: what arrives, what is refused before or after the Hub was asked, and that nothing is lost or given away."""

import os
import shutil

import pytest
import torch
import yaml
from hub_examples import small_model
from hub_server import OTHER, OWNER, READER
from PIL import Image

from steadyspike.library.hub.artifact import PAIR
from steadyspike.library.hub.cards import complete_card, tags_of
from steadyspike.library.hub.client import versions
from steadyspike.library.hub.reference import ArtifactError, HubError, HubReference
from steadyspike.library.models.config import ModelError
from steadyspike.library.models.deepinterpolation import DeepInterpolationModel
from steadyspike.library.models.folder import load_folder
from steadyspike.library.presets.files import bundled_files
from steadyspike.library.presets.presets import save_preset
from steadyspike.library.sharing import fetch, pull_from_hub, push_to_hub

OF_A_MODEL = tags_of("model", "deepinterpolation"), DeepInterpolationModel.usage


def card_of(hub, repo="lab/small"):
    text = hub.repos[repo].files["README.md"].data.decode()
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def commits(hub, repo="lab/small"):
    return len(hub.repos[repo].commits)


def test_a_model_arrives_as_it_is(hub, model, tmp_path):
    pushed = model.push_to_hub("lab/small", tag="v1", message="First", license_name="cc-by-4.0")
    repo = hub.repos["lab/small"]
    assert (pushed.changed, pushed.tag, pushed.url) == (True, "v1", f"{hub.url}/lab/small")
    assert pushed.ref == f"hf:lab/small@{repo.tags['v1']}" == f"hf:lab/small@{repo.branches['main']}"
    assert str(pushed) == f"{pushed.ref} (tag v1): pushed"
    assert repo.titles[repo.tags["v1"]] == "First"
    assert not repo.private
    assert set(repo.files) == {".gitattributes", "README.md", "config.json", "model.safetensors", *PAIR}
    assert {name for name, file in repo.files.items() if file.lfs} == {"model.safetensors", *PAIR}
    model.save(tmp_path / "local")
    for name in ("config.json", "model.safetensors", *PAIR):
        assert repo.files[name].data == (tmp_path / "local" / name).read_bytes()
    metadata, body = card_of(hub)
    assert metadata["library_name"] == "steadyspike"
    assert metadata["license"] == "cc-by-4.0"
    assert {"spikeinterface", "electrophysiology", "steadyspike", "steadyspike-deepinterpolation"} <= {
        *metadata["tags"]
    }
    assert 'steadyspike.deepinterpolate(recording, "hf:lab/small")' in body
    assert "doi:10.1038/s41592-021-01285-2" in body
    assert "Trained on nothing." in body


def test_small_files_that_the_hub_keeps_in_git(hub, model):
    hub.lfs_suffixes = ()
    model.push_to_hub("lab/small")
    assert not any(file.lfs for file in hub.repos["lab/small"].files.values())
    assert torch.equal(pull_from_hub("hf:lab/small").network.out.weight, model.network.out.weight)
    assert not model.push_to_hub("lab/small").changed


def test_what_is_there_is_not_pushed_again(hub, model):
    first = model.push_to_hub("lab/small", tag="v1")
    for tag in (None, "v1"):
        again = model.push_to_hub("lab/small", tag=tag)
        assert (again.ref, again.changed) == (first.ref, False)
        assert "is there already; nothing was pushed" in str(again)
    assert commits(hub) == 2
    assert len(hub.paths("POST", "/commit/")) == len(hub.paths("POST", "/tag/")) == 1
    second = model.push_to_hub("lab/small", tag="v1.0")
    assert second.changed
    assert versions("hf:lab/small") == {"v1": first.ref[-40:], "v1.0": first.ref[-40:]}
    assert commits(hub) == 2


def test_a_tag_is_never_moved(hub, model):
    first = model.push_to_hub("lab/small", tag="v1")
    other = small_model(seed=1)
    with pytest.raises(
        HubError, match=r"hf:lab/small@v1 is there with other content .*tags are never moved.*: v1"
    ):
        other.push_to_hub("lab/small", tag="v1")
    assert commits(hub) == 2
    second = other.push_to_hub("lab/small", tag="v2")
    assert versions("hf:lab/small") == {"v1": first.ref[-40:], "v2": second.ref[-40:]}
    # the older version is still what it was, and pushing it changes nothing
    assert not model.push_to_hub("lab/small", tag="v1").changed
    assert hub.repos["lab/small"].branches["main"] == second.ref[-40:]


def test_presets_arrive_with_their_card(hub, preset, tmp_path):
    pushed = preset.push_to_hub("lab/rigid", tag="v1")
    assert pull_from_hub("hf:lab/rigid@v1") == preset
    metadata, body = card_of(hub, "lab/rigid")
    assert {"steadyspike-preset", "steadyspike-motion"} <= set(metadata["tags"])
    assert "| estimate motion | steady_decentralized | direction y, rigid True |" in body
    assert 'si.correct_motion(recording, preset="hf:lab/rigid")' in body
    # by its file, comments and all
    file = save_preset(preset, tmp_path / "lab.toml")
    file.write_text("# 80 um suits our tetrodes\n" + file.read_text())
    push_to_hub(file, "lab/rigid")
    assert hub.repos["lab/rigid"].files["preset.toml"].data.startswith(b"# 80 um")
    assert not push_to_hub(str(file), "lab/rigid").changed
    assert pull_from_hub(pushed.ref) == pull_from_hub("hf:lab/rigid")


def test_every_bundled_preset_can_be_shared(hub):
    for name in bundled_files():
        push_to_hub(name, f"lab/{name}")
        assert pull_from_hub(f"hf:lab/{name}").name == name
    assert "steadyspike.load_preset(" in card_of(hub, "lab/neuropixels1")[1]


def test_the_figure_of_the_card_goes_along_and_a_stale_one_goes(hub, tmp_path):
    model = small_model(card="# Small\n\n![Losses](loss.png)\n")
    model.save(tmp_path / "model")
    Image.new("L", (2, 2)).save(tmp_path / "model" / "loss.png")
    (tmp_path / "model" / "log.jsonl").write_text("{}\n")
    push_to_hub(tmp_path / "model", "lab/small")
    files = hub.repos["lab/small"].files
    assert set(files) == {
        *(".gitattributes", "README.md", "config.json", "model.safetensors", "loss.png"),
        *PAIR,
    }
    assert fetch("hf:lab/small").folder.joinpath("loss.png").is_file()
    shutil.copyfile(tmp_path / "model" / "log.jsonl", tmp_path / "model" / "loss.png")
    with pytest.raises(ArtifactError, match=r"loss\.png: is no PNG"):
        push_to_hub(tmp_path / "model", "lab/small")
    model.push_to_hub("lab/small")
    assert "loss.png" not in hub.repos["lab/small"].files


def test_a_card_that_does_not_say_enough_is_refused(hub):
    with pytest.raises(ArtifactError, match=r"a licence.*## Data.*## Scores.*linear interpolation"):
        small_model(card="", known=False).push_to_hub("lab/small")
    told = "# Ours\n\n## Data\n\nA mouse.\n\n## Scores\n\n| ours | 0.9 |\n"
    with pytest.raises(ArtifactError, match="lacks the score of the baseline"):
        small_model(card=told, known=False).push_to_hub("lab/small", license_name="mit")
    empty = told.replace("A mouse.", "") + "Linear interpolation: 1.0\n"
    with pytest.raises(ArtifactError, match='lacks a section "## Data"'):
        small_model(card=empty, known=False).push_to_hub("lab/small", license_name="mit")
    assert "lab/small" not in hub.repos


def test_a_card_keeps_what_its_author_wrote_and_is_completed_once():
    card = "---\nlicense: mit\ntags: [mouse]\ndatasets: [lab/raw]\n---\n# Ours\n\nWords.\n"
    whole = complete_card(card, *OF_A_MODEL, "lab/a")
    assert complete_card(whole, *OF_A_MODEL, "lab/a") == whole
    moved = complete_card(whole, *OF_A_MODEL, "other/b", "cc0-1.0")
    assert "lab/a" not in moved
    metadata = yaml.safe_load(moved.split("---\n")[1])
    assert (metadata["license"], metadata["datasets"]) == ("cc0-1.0", ["lab/raw"])
    assert "mouse" in metadata["tags"]
    assert "# Ours\n\nWords.\n" in moved
    with pytest.raises(ValueError, match="metadata of the card are not valid"):
        complete_card("---\ntags: [\n---\n", *OF_A_MODEL, "lab/a")


def test_another_laboratory_shares_it_on(hub, model, monkeypatch):
    model.push_to_hub("lab/small", tag="v1")
    monkeypatch.setitem(os.environ, "HF_TOKEN", OTHER)
    push_to_hub("hf:lab/small@v1", "others/copy")
    assert "hf:others/copy" in card_of(hub, "others/copy")[1]
    ours, theirs = (hub.repos[name].files["model.safetensors"].data for name in ("lab/small", "others/copy"))
    assert ours == theirs


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"repo_id": "small"}, "allowed: owner/name"),
        ({"repo_id": "lab/sm all"}, "allowed: owner/name"),
        ({"repo_id": "lab/../x"}, "allowed: owner/name"),
        ({"tag": "main"}, "tag='main' cannot be a tag"),
        ({"tag": "deadbeef"}, "commit hash"),
        ({"tag": "v 1"}, "tag='v 1'"),
        ({"tag": "../v1"}, "tag="),
        ({"shared": 3}, "int cannot be shared; allowed: a model, a preset"),
        ({"shared": "steady_nothing"}, "no model 'steady_nothing'"),
    ],
)
def test_arguments_that_cannot_work(hub, model, arguments, match):
    with pytest.raises(ValueError, match=match):
        push_to_hub(**{"shared": model, "repo_id": "lab/small", **arguments})
    assert not hub.requests


def test_what_cannot_be_used_is_not_pushed(hub, model):
    with torch.no_grad():
        model.network.out.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="not finite"):
        model.push_to_hub("lab/small")
    with pytest.raises(ArtifactError, match=r"README\.md holds what looks like an access token"):
        small_model(card=f"# Mine\n\nUse it with {OTHER}\n").push_to_hub("lab/small")
    with pytest.raises(ArtifactError, match="access token"):
        small_model(card="# Mine\n\nUse it with sesame\n").push_to_hub("lab/small", token="sesame")
    assert not hub.requests


@pytest.mark.parametrize(
    ("token", "match"),
    [
        ("hf_nobodyKnowsThisOne", "does not accept the access token"),
        (READER, "does not allow this; take one that may write"),
        (OTHER, "does not allow this; take one that may write"),
    ],
)
def test_tokens_that_may_not(hub, model, token, match, caplog):
    model.push_to_hub("lab/there")
    for repo in ("lab/small", "lab/there"):
        with pytest.raises(HubError, match=match) as caught:
            small_model(seed=1).push_to_hub(repo, token=token)
        assert token not in str(caught.value)
    assert list(hub.repos) == ["lab/there"]
    assert commits(hub, "lab/there") == 2
    assert token not in caplog.text


def test_private_stays_private_and_public_is_not_taken_for_private(hub, model):
    model.push_to_hub("lab/secret", private=True)
    assert hub.repos["lab/secret"].private
    small_model(seed=1).push_to_hub("lab/secret")
    assert hub.repos["lab/secret"].private
    with pytest.raises(HubError, match="is private already, and private=False was asked for"):
        small_model(seed=2).push_to_hub("lab/secret", private=False)
    model.push_to_hub("lab/open")
    with pytest.raises(HubError, match="is public already, and private=True"):
        small_model(seed=1).push_to_hub("lab/open", private=True)
    assert commits(hub, "lab/open") == 2


def test_what_someone_keeps_there_is_not_replaced(hub, model, preset):
    hub.put("lab/bert", {"config.json": b"{}", "README.md": b"# BERT\n"})
    with pytest.raises(HubError, match="holds something else, which is not replaced by a model"):
        model.push_to_hub("lab/bert")
    model.push_to_hub("lab/small")
    with pytest.raises(HubError, match="holds a model, which is not replaced by a preset"):
        preset.push_to_hub("lab/small")
    assert hub.repos["lab/bert"].files["config.json"].data == b"{}"
    # the Hub reads tags from the card some time after it was pushed
    hub.repos["lab/small"].metadata = dict
    assert small_model(seed=1).push_to_hub("lab/small").changed
    assert not small_model(seed=1).push_to_hub("lab/small").changed


def test_requests_that_fail_for_a_while_are_repeated(hub, model):
    hub.fail("POST", "/preupload/", times=2, status=503)
    hub.fail("PUT", "/lfs/", times=1, status=500)
    hub.fail("POST", "objects/batch", times=1, status=429, headers={"Retry-After": "1"})
    assert model.push_to_hub("lab/small", tag="v1").changed
    # three files, one of them twice
    assert len(hub.paths("PUT")) == 4
    assert torch.equal(pull_from_hub("hf:lab/small@v1").network.out.weight, model.network.out.weight)


@pytest.mark.parametrize(
    ("method", "where", "status", "match"),
    [
        ("POST", "/commit/", 500, "does not work at the moment .status 500"),
        ("POST", "/commit/", 412, "someone else pushed in the meantime"),
        ("POST", "/repos/create", 429, "asks to wait"),
        ("POST", "/tag/", 409, "it is there already"),
        ("PUT", "/lfs/", 403, "does not allow this"),
        ("PUT", "/lfs/", 503, "does not work at the moment"),
        ("GET", "/refs", 502, "does not work at the moment"),
    ],
)
def test_a_push_that_fails_can_be_done_again(hub, model, method, where, status, match):
    # each of three files is tried six times
    hub.fail(method, where, times=18, status=status)
    with pytest.raises(HubError, match=match) as caught:
        model.push_to_hub("lab/small", tag="v1")
    assert "hf:lab/small" in str(caught.value)
    hub.faults.clear()
    assert model.push_to_hub("lab/small", tag="v1").changed
    assert commits(hub) == 2
    assert list(versions("hf:lab/small")) == ["v1"]


def test_nothing_is_pushed_offline(hub, model, offline):
    offline()
    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        model.push_to_hub("lab/small")
    assert not hub.requests


def test_methods_in_the_manner_of_the_mixin(hub, model, tmp_path):
    model.save_pretrained(tmp_path / "saved", push_to_hub=True, repo_id="lab/small", tag="v1")
    for pulled in (
        type(model).from_pretrained("lab/small", revision="v1"),
        type(model).from_pretrained("hf:lab/small@v1"),
        type(model).from_pretrained(tmp_path / "saved"),
    ):
        assert torch.equal(pulled.network.out.weight, model.network.out.weight)
    assert load_folder(tmp_path / "saved").config == model.config
    with pytest.raises(ValueError, match="differ; pass one of them"):
        type(model).from_pretrained("hf:lab/small@v1", revision="v2")
    with pytest.raises(ValueError, match="is a folder"):
        type(model).from_pretrained(tmp_path / "saved", revision="v2")
    with pytest.raises(FileExistsError):
        model.save_pretrained(tmp_path / "saved")
    with pytest.raises(ValueError, match="allowed: both, or neither"):
        model.save_pretrained(tmp_path / "other", push_to_hub=True)
    with pytest.raises(TypeError):
        type(model).from_pretrained("lab/small", strict=False)


def test_a_token_is_nowhere_in_what_is_written(hub, model, preset, tmp_path, caplog, capfd):
    caplog.set_level("DEBUG")
    del os.environ["HF_TOKEN"]
    model.push_to_hub("lab/small", tag="v1", token=OWNER, private=True)
    preset.push_to_hub("lab/rigid", token=OWNER, private=True)
    pull_from_hub("hf:lab/small@v1", token=OWNER)
    pull_from_hub("hf:lab/rigid", token=OWNER)
    errors = []
    hub.fail("GET", "/revision/v0", times=1, status=500)
    for wrong in ("hf:lab/small@v9", "hf:lab/nothing", "hf:lab/small@v0"):
        with pytest.raises(HubError) as caught:
            pull_from_hub(wrong, token=OWNER)
        errors.append(repr(caught.getrepr()))
    pushed = [file.data for repo in hub.repos.values() for file in repo.files.values()]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 8
    said = [caplog.text, *capfd.readouterr(), *errors, *map(repr, (HubReference.parse("hf:lab/small@v1"),))]
    assert not [one for one in [*pushed, *written] if OWNER.encode() in one]
    assert not [one for one in said if OWNER in one]
