"""The fenced code blocks of a documentation page, and how a recipe's blocks are applied to a folder."""

import re
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """One fenced block: its language, and its text without the fences."""

    language: str
    code: str

    @property
    def path(self):
        """The file that the first line names, or None."""
        first = self.code.split("\n", 1)[0]
        match = re.fullmatch(r"(?:#|---) ((?:src|tests|presets)/\S+)", first)
        return match and match.group(1)


def blocks(page: Path):
    """List the fenced blocks that name their language."""
    return [Block(*match.groups()) for match in FENCE.finditer(page.read_text(encoding="utf-8"))]


def apply(block: Block, folder: Path):
    """Write the block's file, or make its change: lines with - and blank are found once and replaced."""
    target = folder / block.path
    body = block.code.split("\n", 1)[1]
    if block.language != "diff":
        assert not target.exists(), f"{block.path} is new in its recipe"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(body, encoding="utf-8")
        return
    text = target.read_text(encoding="utf-8")
    lines = body.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    assert text.count(old) == 1, f"{block.path} no longer holds this once:\n{old}"
    target.write_text(text.replace(old, new), encoding="utf-8")
