"""Unfinished work is known by its marker and gone on with for the same only; its notes are whole, or none."""

import pytest

from steadyspike.core.unfinished import Notes, OtherSettingsError, WorkFolder


@pytest.fixture
def work(tmp_path):
    return WorkFolder(tmp_path / "work", "peaks")


def test_it_goes_on_with_the_same_settings_only(work):
    settings = {"threshold": 5.0, "recording": {"samples": "abc"}}
    assert not work.exists()
    assert not work.check(settings)
    work.begin(settings)
    assert work.settings() == {"threshold": "5.0", "recording.samples": '"abc"'}
    assert work.check(settings)
    assert work.check({**settings, "threshold": 6.0}, uncompared=("threshold",))
    with pytest.raises(
        OtherSettingsError, match=r"of other settings: threshold is 5.0 there and 6.0 here\. Begin"
    ):
        work.check({**settings, "threshold": 6.0})
    with pytest.raises(OtherSettingsError, match="of another recording, or of one that was changed since"):
        work.check({**settings, "recording": {"samples": "abd"}})
    with pytest.raises(FileExistsError, match="holds no traces of steadyspike"):
        WorkFolder(work.path, "traces").check(settings)
    with pytest.raises(FileExistsError, match="holds no traces of steadyspike"):
        WorkFolder(work.path, "traces").discard()
    work.discard()
    assert not work.path.exists()
    work.discard()


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "\x00\x00", "[" * 100_000),
        '{"kind": "steadyspike peaks"}',
        '{"kind": "steadyspike peaks", "settings": {"a": 1}}',
        '{"kind": "steadyspike peaks", "format": "x", "settings": {}}',
        '{"kind": ["steadyspike peaks"], "settings": {}}',
    ],
)
def test_a_marker_that_is_none_of_ours_protects_its_folder(work, text):
    work.path.mkdir()
    work.marker.write_text(text)
    for touch in (lambda: work.check({}), work.discard):
        with pytest.raises(FileExistsError, match="holds no peaks of steadyspike; choose another folder"):
            touch()
    assert work.marker.read_text() == text


def test_an_empty_folder_is_taken_and_a_file_is_not(work):
    work.path.mkdir()
    assert not work.check({})
    work.begin({})
    assert work.check({})
    work.discard()
    work.path.write_text("mine")
    for touch in (lambda: work.check({}), work.discard):
        with pytest.raises(FileExistsError, match="holds no peaks"):
            touch()


def test_notes_are_whole_wherever_they_are_cut(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda _: None)
    notes = Notes(tmp_path / "notes.txt")
    lines = [f"0 {number} {number + 1} µ" for number in range(3)]
    with notes.appending([]) as note:
        for line in lines:
            note(line)
    whole = notes.file.read_bytes()
    for cut in range(len(whole) + 1):
        notes.file.write_bytes(whole[:cut])
        kept = notes.read()
        assert kept == lines[: whole[:cut].count(b"\n")]
        with notes.appending(kept) as note:
            note("the next")
        assert notes.read() == [*kept, "the next"]
    for bit in range(0, len(whole) * 8, 5):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        notes.file.write_bytes(damaged)
        assert len(notes.read()) in (1, 2)
        assert set(notes.read()) < set(lines)
