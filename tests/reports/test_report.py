"""The file: whole, by itself, and what it shows is what the run holds."""

import json
import re

import numpy as np
import pytest
import spikeinterface.full as si
from report_runs import make_info, make_motion, make_recording
from spikeinterface.core.motion import Motion

import steadyspike
from steadyspike.motion.info import load_motion_info, save_motion_info
from steadyspike.reports.contents import contents_of
from steadyspike.reports.pictures.spec import Coarse, Picture
from steadyspike.reports.run import run_of
from steadyspike.reports.spikes import spikes_of, timeline_of

FIGURE = re.compile(
    r'<figure class="figure" id="([\w-]+)">.*?<script type="application/json">(.*?)</script>', re.S
)


def figures_in(page):
    return {key: json.loads(text) for key, text in FIGURE.findall(page)}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    info = make_info(motion=make_motion(0.0), verdict="do not correct", displacement_um=0.3)
    assert steadyspike.report(info, file) == file
    return file.read_text(encoding="utf8")


def test_the_page_needs_nothing_else(page):
    head = page[: page.index("</style>")]
    assert "steadyspike report" in head
    outside = page[: page.index("<script>")] + page[page.rindex("<script>") :]
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", outside)
    assert "https://" not in outside
    assert len(page) < 10e6


def test_the_verdict_comes_first_and_what_is_missing_is_said(page):
    body = page[page.index("<main>") :]
    assert body.index("This recording is still") < body.index("<figure")
    assert "not shown" in body
    assert "The recording is not known here." in body


@pytest.mark.parametrize("moved", [True, False])
def test_figures_are_plotly_s(page, moved):
    import plotly.graph_objects as go

    def plain(value):
        if isinstance(value, dict) and "bdata" in value:
            return [1.0, 2.0] if "shape" not in value else [[1.0, 2.0]]
        if isinstance(value, dict):
            return {key: plain(one) for key, one in value.items()}
        if isinstance(value, list):
            return [plain(one) for one in value]
        return "#123456" if isinstance(value, str) and value.startswith("@") else value

    figures = figures_in(page)
    keys = {"window0", "explorer", "motion", "space"}
    if moved:
        figures = {one.key: json.loads(one.to_json()) for one in contents_of(run_of(make_info())).pictures()}
        assert figures.keys() >= {*keys, "evidence", "gain"}
        assert "yaxis2" in figures["window0"]["layout"]
    else:
        # nothing is shown as corrected where nothing was
        assert figures.keys() == {f"{key}-0" for key in keys}
        assert [key for key, one in figures.items() if "Corrected" in json.dumps(one["layout"])] == []
    for spec in figures.values():
        for layout in ({}, spec["narrow"], *(view["layout"] for view in spec["views"])):
            # an unknown name raises
            go.Figure(plain(spec["data"]), plain({**spec["layout"], **layout}))


def test_text_of_a_run_can_not_become_markup(tmp_path):
    info = make_info()
    info["parameters"] = {**info["parameters"], "preset": "<script>alert(1)</script>"}
    info["motion_trust"] = info["motion_trust"].__class__(
        **{**vars(info["motion_trust"]), "reason": "</script><b>x"}
    )
    page = steadyspike.report(info, tmp_path / "r.html").read_text(encoding="utf8")
    assert "<script>alert" not in page
    assert "</script><b>x" not in page
    assert "\\u003c" in Picture("a", "", "", [{"name": "</script>"}], {}).to_json()


def test_coarse_values_come_back_to_a_step():
    values = np.array([3.0, np.nan, -2.0, 7.5])
    packed = Coarse(values).packed()
    whole = np.frombuffer(__import__("base64").b64decode(packed["bdata"]), dtype="uint16")
    assert whole[1] == 65535
    back = packed["low"] + packed["step"] * whole[[0, 2, 3]]
    np.testing.assert_allclose(back, values[[0, 2, 3]], atol=packed["step"])
    same = Coarse(np.full(3, 4.0)).packed()
    assert same["low"] == 4.0
    assert Coarse(np.full(2, np.nan)).packed()["step"] > 0


def test_spikes_are_put_on_one_time_axis_and_corrected():
    info = make_info(motion=make_motion(num_segments=2))
    run = run_of(info)
    timeline = timeline_of(run)
    spikes = spikes_of(run, timeline)
    second = info["peaks"]["segment_index"] == 1
    assert spikes.times_s[second].min() > spikes.times_s[~second].max()
    units = np.linspace(10, 130, 8)
    apart = np.abs(spikes.corrected_um[:, np.newaxis] - units).min(axis=1)
    # times before the first bin and after the last keep those bins' displacement
    assert np.median(apart) < 0.5
    assert np.abs(spikes.depths_um[:, np.newaxis] - units).min(axis=1).mean() > 1.5


def test_a_recording_gives_traces_power_noise_and_a_probe(tmp_path):
    recording = make_recording()
    filtered = si.highpass_filter(recording, dtype="float32")
    still = make_info(motion=make_motion(0.0), verdict="do not correct", displacement_um=0.3)
    run = run_of(still, recording=filtered)
    run.corrected = filtered
    contents = contents_of(run)
    keys = [picture.key for picture in contents.pictures()]
    for key in ("traces", "spectra", "noise", "probe"):
        assert key in keys
    assert [one for one in contents.missing if "could not" in one] == []
    table = dict(contents.recording)
    assert table["channels"] == "16"
    assert table["bad channels"] == "none were called bad"


def test_two_runs_are_side_by_side(tmp_path):
    other = make_info(motion=make_motion(num_windows=1), verdict="correct rigidly")
    file = steadyspike.report({"ours": make_info(), "rigid": other}, tmp_path / "two.html")
    page = file.read_text(encoding="utf8")
    figures = figures_in(page)
    assert {"motion-0", "motion-1"} <= set(figures)
    row = page[page.index(">verdict<") :]
    row = row[: row.index("</tr>")]
    assert "<td>correct</td><td>correct rigidly</td>" in row
    assert 'class="differs"' in page


def test_a_folder_keeps_evidence_and_verdict(tmp_path):
    info = make_info()
    estimate = make_motion(30.0)
    save_motion_info(
        {key: info[key] for key in ("peaks", "peak_locations", "motion", "parameters", "run_times")},
        {**info, "estimate": estimate},
        tmp_path / "motion_info",
    )
    loaded = load_motion_info(tmp_path / "motion_info")
    assert loaded["motion_trust"].reason == info["motion_trust"].reason
    np.testing.assert_array_equal(loaded["motion_trust"].trust[0], info["motion_trust"].trust[0])
    np.testing.assert_array_equal(loaded["displacement_sd_um"], info["displacement_sd_um"])
    assert loaded["estimate"] == estimate
    assert si.load_motion_info(tmp_path / "motion_info")["motion"] == info["motion"]
    file = steadyspike.report(tmp_path / "motion_info")
    assert file == tmp_path / "motion_info" / "report.html"
    assert "moved by 12\u00a0µm" in file.read_text(encoding="utf8")
    assert steadyspike.report(tmp_path / "motion_info") == file


def test_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"report: source=3; allowed: a folder"):
        steadyspike.report(3)
    with pytest.raises(FileNotFoundError, match="is no folder"):
        steadyspike.report(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"steadyspike\.json"):
        steadyspike.report(tmp_path, tmp_path / "r.html")
    with pytest.raises(ValueError, match="2 to be put side by side"):
        steadyspike.report([make_info()] * 3, tmp_path / "r.html")
    with pytest.raises(ValueError, match="None where two runs are compared"):
        steadyspike.report([make_info()] * 2, tmp_path / "r.html", recording=make_recording())
    (tmp_path / "thesis.html").write_text("<html>years of work")
    with pytest.raises(FileExistsError, match="no report"):
        steadyspike.report(make_info(), tmp_path / "thesis.html")
    assert (tmp_path / "thesis.html").read_text() == "<html>years of work"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'steadyspike\[report\]'"):
        steadyspike.report(make_info())


def test_pieces_are_measured_in_time_and_told_in_order():
    from steadyspike.reports import measures

    pieces = [(0, 10 * index, 10 * index + 5) for index in range(40)]
    done, found = measures.measured(pieces, lambda piece: piece[1], 60.0)
    assert (done, found) == (pieces, [piece[1] for piece in pieces])
    done, found = measures.measured(pieces, lambda piece: piece[1], -1.0)
    assert len(done) == measures.FEWEST_PIECES
    assert found == sorted(found) == [piece[1] for piece in done]


NOTHING_KNOWN = dict.fromkeys(
    ("gain", "gain_error", "rigid_gain", "loss_without", "loss_with", "rigid_loss_with", "error_um", "scale"),
    float("nan"),
)


@pytest.mark.parametrize(
    "info",
    [
        dict(num_peaks=0, verdict="cannot tell", motion=make_motion(0.0), num_spikes=0, **NOTHING_KNOWN),
        dict(num_peaks=1),
        dict(motion=make_motion(num_segments=2)),
        dict(motion=make_motion(num_windows=1)),
        dict(motion=Motion([np.ones((1, 1))], [np.array([5.0])], np.array([70.0]))),
    ],
    ids=["no peak", "one peak", "two segments", "rigid", "one bin"],
)
def test_whatever_there_is_can_be_drawn(info):
    contents = contents_of(run_of(make_info(**info)))
    pictures = contents.pictures()
    assert "motion" in {picture.key for picture in pictures}
    for picture in pictures:
        json.loads(picture.to_json())
    assert (contents.lead is None) == (info.get("num_peaks") == 0)
    assert [one for one in contents.missing if "could not" in one] == []
