"""A report in a real browser: Chromium without a screen draws every figure, and buttons do what they say."""

import os
import re
import shutil
import subprocess

import pytest
from report_runs import make_info

import steadyspike

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)")

LONG_WORD = f'<ul class="warnings"><li>{"get_template_peak_shift_" * 4}</li></ul>'
AFTER = """
<script>
steadyspikeReport.ready.then(async () => {
  const wait = (ms) => new Promise((next) => setTimeout(next, ms));
  const range = () => document.querySelector("#explorer-0 .plot").layout.yaxis.range.join();
  const eye = () => JSON.stringify(document.querySelector("#space-0 .plot").layout.scene.camera.eye);
  const before = [range(), eye(), document.documentElement.dataset.theme];
  document.querySelectorAll("#explorer-0 [data-view]")[1].click();
  document.querySelector("#space-0 [data-turn]").click();
  await wait(300);
  document.querySelector("#space-0 [data-turn]").click();
  document.getElementById("theme").click();
  await wait(200);
  const after = [range(), eye(), document.documentElement.dataset.theme];
  const wide = Math.max(...[...document.querySelectorAll("body *")].map((one) => one.getBoundingClientRect().right));
  const fits = wide <= innerWidth + 1 && document.documentElement.scrollWidth <= innerWidth;
  document.body.dataset.seen = [...before.map((one, index) => one !== after[index]), fits].join();
});
</script>
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    info = make_info()
    # a probe that is longer than a window
    info["peak_locations"]["y"] *= 4
    file = steadyspike.report(info, tmp_path_factory.mktemp("browser") / "report.html")
    page = file.read_text(encoding="utf8")
    file.write_text(page.replace("</body>", LONG_WORD + AFTER + "</body>"), encoding="utf8")
    return file


@pytest.mark.parametrize("width", [1280, 390])
def test_every_figure_is_drawn_and_can_be_used(file, width, tmp_path):
    command = [
        *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu-sandbox", "--enable-unsafe-swiftshader"),
        *("--use-angle=swiftshader", "--enable-logging=stderr", f"--window-size={width},900"),
        *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom", file.as_uri()),
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert [line for line in console if re.search("error|exception|webgl", line, re.IGNORECASE)] == []
    page = file.read_text(encoding="utf8")
    number = page.count('<figure class="figure" id=')
    assert f'data-drawn="{number}"' in done.stdout
    # every figure holds what plotly draws into it
    assert done.stdout.count('class="plot-container plotly"') == number
    assert 'data-seen="true,true,true,true"' in done.stdout
