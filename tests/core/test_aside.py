"""Files and folders appear complete or not at all, replace only what they may, and are written by one at a time."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest
from failures import ctrl_c, disk_full, fail_everywhere, killed

from steadyspike.core import aside
from steadyspike.core.aside import (
    UNFINISHED,
    InUseError,
    folder_aside,
    locked,
    locking,
    put_in_place,
    refuse_existing,
    remove,
    written_aside,
)

FORKS = "fork" in multiprocessing.get_all_start_methods()


def content(folder):
    """Return the text of each file below a folder by name."""
    return {
        str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if not path.is_dir()
    }


def write_file(path, text):
    with written_aside(path) as unfinished:
        unfinished.write_text(text)


def write_folder(path, text):
    with folder_aside(path, "part") as unfinished:
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


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_leaves_what_was_there(tmp_path, kind, error):
    write, name = WRITERS[kind]
    path = tmp_path / "made" / "it"

    def write_half():
        with written_aside(path, "part") as unfinished:
            unfinished.write_text("half")
            assert unfinished.name.startswith(UNFINISHED)
            assert unfinished.parent == path.parent
            raise error

    for known in ({}, {name: "first"}):
        with pytest.raises(error):
            write_half()
        assert content(tmp_path) == known
        # nor folders that were made for it
        assert (tmp_path / "made").exists() == bool(known)
        assert not list(tmp_path.rglob(f"{UNFINISHED}*"))
        write(path, "first")


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    "fail", [disk_full, ctrl_c, pytest.param(killed, marks=pytest.mark.skipif(not FORKS, reason="forks"))]
)
def test_whatever_step_fails_the_old_or_the_new_is_there_as_a_whole(tmp_path, kind, fail):
    write, name = WRITERS[kind]
    path = tmp_path / "made" / "it"
    write(path, "first")

    def check(number):
        # what a kill left comes right when the path is locked next
        with locked(path):
            pass
        assert content(tmp_path) in ({name: "first"}, {name: "second"}), number
        write(path, "first")

    steps = fail_everywhere(lambda: write(path, "second"), check, fail)
    assert steps >= {"file": 4, "folder": 7}[kind]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path, kind):
    write, _ = WRITERS[kind]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "book.tex").write_text("years of work")
    with pytest.raises(
        FileExistsError, match="thesis is a folder that holds something else, and is not replaced"
    ):
        write(tmp_path / "thesis", "it")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(FileExistsError, match="file is a file"):
        write_folder(tmp_path / "file", "it")
    assert content(tmp_path) == {"thesis/book.tex": "years of work", "file": "a file"}
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "it")
    assert "it" in content(tmp_path).values()


def test_only_what_has_our_marker_is_deleted(tmp_path):
    ours, thesis = tmp_path / "ours", tmp_path / "thesis"
    for folder in (ours, thesis):
        (folder / "blocks").mkdir(parents=True)
        (folder / "blocks" / "0").write_text("")
    (ours / "settings.json").write_text("{}")
    for path, marker in (
        (thesis, thesis / "settings.json"),
        (thesis, ours / "settings.json"),
        (thesis / "blocks", ours / "settings.json"),
        (tmp_path, ours / "settings.json"),
    ):
        with pytest.raises(FileExistsError, match="was not made by steadyspike, and is not deleted"):
            remove(path, marker)
    assert len(content(tmp_path)) == 3
    remove(ours / "blocks", ours / "settings.json")
    assert set(content(tmp_path)) == {"ours/settings.json", "thesis/blocks/0"}
    remove(ours, ours / "settings.json")
    remove(ours, ours / "settings.json")
    assert set(content(tmp_path)) == {"thesis/blocks/0"}
    with pytest.raises(ValueError, match="does not bear a name that is deleted"):
        aside._delete(thesis)


def test_a_folder_is_deleted_as_a_whole_whatever_interrupts_it(tmp_path, monkeypatch):
    write_folder(tmp_path / "it", "first")
    with monkeypatch.context() as patch:
        patch.setattr(aside.shutil, "rmtree", lambda *_, **__: ctrl_c())
        with pytest.raises(KeyboardInterrupt):
            remove(tmp_path / "it", tmp_path / "it" / "part")
    assert not (tmp_path / "it").exists()
    write_folder(tmp_path / "it", "second")
    assert content(tmp_path) == {"it/part": "second"}


def test_a_link_to_a_folder_is_replaced_and_what_it_leads_to_stays(tmp_path):
    write_folder(tmp_path / "elsewhere", "first")
    (tmp_path / "it").symlink_to(tmp_path / "elsewhere")
    write_folder(tmp_path / "it", "second")
    assert content(tmp_path) == {"elsewhere/part": "first", "it/part": "second"}


def test_what_another_run_left_of_another_path_stays(tmp_path):
    for name in (f"{UNFINISHED}01234567-new-others", f"{UNFINISHED}0123-new-it", ".unfinished-it", "it.part"):
        (tmp_path / name).write_text("")
    (tmp_path / f"{UNFINISHED}01234567-new-it").mkdir()
    (tmp_path / f"{UNFINISHED}01234567-deleted-it").mkdir()
    write_file(tmp_path / "it", "made")
    assert set(content(tmp_path)) == {
        "it",
        f"{UNFINISHED}01234567-new-others",
        f"{UNFINISHED}0123-new-it",
        ".unfinished-it",
        "it.part",
    }


HOLDS = """
import sys
from pathlib import Path
from steadyspike.core.aside import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path):
    """A path that another process has locked."""
    path = tmp_path / "made" / "it [red]"
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield path, process
    process.kill()
    process.communicate()


def test_two_processes_do_not_write_the_same(held, monkeypatch):
    path, process = held
    monkeypatch.setattr(aside, "LOCK_WAIT_S", 0.0)
    stale = path.with_name(f"{UNFINISHED}01234567-new-{path.name}")
    stale.write_text("what the other one writes")
    for write in (write_file, write_folder):
        with pytest.raises(
            InUseError, match=r"it \[red\] is being written by another run of steadyspike; wait"
        ):
            write(path, "it")
    (path.parent / "elsewhere").symlink_to(path.parent)
    with pytest.raises(InUseError), locked(path.parent / "elsewhere" / path.name):
        pass
    assert stale.exists()
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    write_file(path, "it")
    assert not stale.exists()
    assert sorted(child.name for child in path.parent.iterdir()) == ["elsewhere", path.name]


def test_a_lock_is_of_one_thread_which_may_take_it_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(aside, "LOCK_WAIT_S", 0.0)
    refused = []

    def other():
        try:
            write_file(tmp_path / "it", "other")
        except InUseError as error:
            refused.append(error)

    @locking
    def write(first, folder=None):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        write_file(folder, first)

    write("ours", tmp_path / "it")
    assert len(refused) == 1
    assert content(tmp_path) == {"it": "ours"}


def test_what_is_renamed_is_on_the_disk_before(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(opened):
        steps.append(os.readlink(f"/proc/self/fd/{opened}"))
        fsync(opened)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
    new = tmp_path / "new"
    (new / "inner").mkdir(parents=True)
    (new / "inner" / "file").write_text("")
    put_in_place(new, tmp_path / "it")
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("no /proc here")
    assert steps == [str(new / "inner" / "file"), str(new / "inner"), str(new), "replace", str(tmp_path)]


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
