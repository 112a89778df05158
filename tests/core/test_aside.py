"""Files and folders appear complete or not at all, and replace only what they may."""

import os

import pytest

from steadyspike.core import aside
from steadyspike.core.aside import UNFINISHED, folder_aside, refuse_existing, written_aside


def content(folder):
    """Return the text of each file below a folder by name."""
    return {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if not path.is_dir()
    }


def write_file(path, text):
    with written_aside(path) as unfinished:
        unfinished.write_text(text)


def write_folder(path, text):
    with folder_aside(path) as unfinished:
        (unfinished / "part").write_text(text)


WRITERS = {"file": (write_file, "made/it"), "folder": (write_folder, "made/it/part")}


@pytest.mark.parametrize("kind", WRITERS)
def test_it_appears_when_it_is_complete(tmp_path, kind):
    write, name = WRITERS[kind]
    path = tmp_path / "made" / "it"
    write(path, "first")
    assert content(tmp_path) == {name: "first"}
    write(path, "second")
    assert content(tmp_path) == {name: "second"}
    assert [child.name for child in path.parent.iterdir()] == ["it"]


@pytest.mark.parametrize("before", WRITERS)
@pytest.mark.parametrize("after", WRITERS)
def test_either_replaces_either(tmp_path, before, after):
    WRITERS[before][0](tmp_path / "made" / "it", "first")
    WRITERS[after][0](tmp_path / "made" / "it", "second")
    assert content(tmp_path) == {WRITERS[after][1]: "second"}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, kind, error):
    write, name = WRITERS[kind]
    path = tmp_path / "made" / "it"

    def write_half():
        with written_aside(path) as unfinished:
            unfinished.write_text("half")
            assert unfinished.name.startswith(UNFINISHED)
            assert unfinished.parent == path.parent
            raise error

    for known in ({}, {name: "first"}):
        with pytest.raises(error):
            write_half()
        assert content(tmp_path) == known
        assert not list(tmp_path.rglob(f"{UNFINISHED}*"))
        write(path, "first")


def test_a_rename_that_fails_leaves_the_old_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "it", "first")

    def refused(source, target):
        assert not target.exists()
        raise PermissionError(target)

    monkeypatch.setattr(aside.os, "replace", refused)
    with pytest.raises(PermissionError):
        write_folder(tmp_path / "it", "second")
    assert content(tmp_path) == {"it/part": "first"}


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_permissions_are_those_of_anything_new(tmp_path):
    write_file(tmp_path / "file", "")
    write_folder(tmp_path / "folder", "")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").touch()
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain" / "file").stat().st_mode
    assert (tmp_path / "folder").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_only_folders_of_ours_are_replaced_and_only_if_asked(tmp_path):
    folder = tmp_path / "it"
    refuse_existing(folder, "marker", False, "model folder")
    folder.mkdir()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="it exists already; and is no model folder"):
            refuse_existing(folder, "marker", overwrite, "model folder")
    (folder / "marker").touch()
    with pytest.raises(FileExistsError, match="it exists already; pass overwrite=True to replace it"):
        refuse_existing(folder, "marker", False, "model folder")
    refuse_existing(folder, "marker", True, "model folder")
