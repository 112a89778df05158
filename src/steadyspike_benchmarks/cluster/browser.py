"""A page as Chromium without a screen opens it, and where its links lead."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import unquote

WIDTHS, HEIGHT = (1280, 390), 1600
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDE = """<script>addEventListener("load", () => {
  document.body.dataset.wide = document.documentElement.scrollWidth - innerWidth;
});</script></body>"""


def open_page(page: Path, pictures: Path) -> dict[str, Any]:
    """Open a page in wide and narrow windows and take pictures; tell what the console said, and of links to nothing."""
    links = set(re.findall(r'<a [^>]*href="([^"#]+)"', page.read_text(encoding="utf8")))
    broken = sorted(link for link in links if not (page.parent / unquote(link)).is_file())
    found: dict[str, Any] = dict(links=len(links), broken_links=broken)
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        return {**found, "browser": "Chromium is not here"}
    pictures.mkdir(exist_ok=True)
    return {**found, "windows": [_window(browser, page, width, pictures) for width in WIDTHS]}


def _window(browser: str, page: Path, width: int, pictures: Path) -> dict[str, Any]:
    """Open a copy that measures itself, which lies beside the page so that links hold."""
    copy = page.with_name("measured.html")
    copy.write_text(page.read_text(encoding="utf8").replace("</body>", WIDE), encoding="utf8")
    try:
        dom, said = _run(browser, width, "--dump-dom", copy.as_uri())
    finally:
        copy.unlink()
    picture = pictures / f"index-{width}.png"
    _run(browser, width, f"--screenshot={picture}", page.as_uri())
    console = [line for line in said.splitlines() if "CONSOLE" in line]
    wide = re.search(r'data-wide="(-?\d+)"', dom)
    return dict(
        width=width,
        console=console,
        wider_than_window_px=int(wide[1]) if wide else None,
        picture=str(picture),
    )


def _run(browser: str, width: int, *options: str) -> tuple[str, str]:
    with tempfile.TemporaryDirectory() as home:
        how = ("--headless", "--no-sandbox", "--enable-logging=stderr", f"--window-size={width},{HEIGHT}")
        command = [browser, *how, f"--user-data-dir={home}", "--virtual-time-budget=5000", *options]
        env = {**os.environ, "HOME": home}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    return done.stdout, done.stderr
