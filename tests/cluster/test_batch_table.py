import pytest

from steadyspike.cluster.table import folder_name, read_sessions


def write(folder, name, text):
    file = folder / name
    file.write_text(text, encoding="utf8")
    return file


def test_cells_become_options(tmp_path):
    table = "recording, name, stream, reader_option, no_figures\nmon/run, , imec0.ap, a=1; b=2, true\ntue, last, , ,\n"
    monday, last = read_sessions(write(tmp_path, "sessions.csv", table))
    assert (monday.name, monday.recording) == ("run", str(tmp_path / "mon" / "run"))
    assert list(monday.arguments()) == [
        *("--stream", "imec0.ap", "--reader-option", "a=1", "--reader-option", "b=2"),
        "--no-figures",
    ]
    assert (last.name, list(last.arguments())) == ("last", [])


def test_toml_holds_the_same(tmp_path):
    text = '[[sessions]]\nrecording = "/data/run"\nsegment = 1\nset = ["a.b=1", "c.d=2"]\nrigid = false\n'
    (session,) = read_sessions(write(tmp_path, "sessions.toml", text))
    assert session.recording == "/data/run"
    assert list(session.arguments()) == ["--segment", "1", "--set", "a.b=1", "--set", "c.d=2"]


def test_recordings_of_the_same_name_bear_that_of_the_folder_above_too(tmp_path):
    sessions = read_sessions(
        write(tmp_path, "sessions.csv", "recording\nmon/run\ntue/run\ns3://there/other run\n")
    )
    assert [one.name for one in sessions] == ["mon-run", "tue-run", "other-run"]
    assert sessions[2].recording == "s3://there/other run"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "session\nx\n", "no column recording"),
        ("a.csv", "recording,stream\nx\n", "line 2: as many cells"),
        ("a.csv", "recording,stream\n,imec0\n", "line 2: no recording"),
        ("a.csv", "recording\n\n", "holds no session"),
        ("a.csv", "recording,name\nx,one\ny,one\n", "two sessions are called one"),
        ("a.csv", "recording,name\nx,../one\n", "allowed: letters"),
        ("a.toml", "recordings = 3\n", "is to hold"),
        ("a.toml", "[[sessions", "is no TOML"),
        ("a.toml", "[[sessions]]\nrecording = 'x'\n[sessions.probe]\nkind = 1\n", "probe is no option"),
    ],
)
def test_what_is_no_table_is_told(tmp_path, name, text, told):
    with pytest.raises(ValueError, match=told):
        read_sessions(write(tmp_path, name, text))


def test_names_are_those_of_folders():
    assert folder_name("imec0.ap / 1") == "imec0.ap-1"
    assert folder_name("..") == "session"
