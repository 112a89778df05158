"""The recipes of the contributing guide, applied to a copy of the repository and run there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from markdown_code import apply, blocks

ROOT = Path(__file__).resolve().parents[1]
RECIPES = blocks(ROOT / "docs" / "contributing.md")
COMMANDS = [line for block in RECIPES if block.language == "bash" for line in block.code.splitlines()]


def run(arguments, folder):
    environment = dict(os.environ, PYTHONPATH=str(folder / "src"))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_recipes_work_as_they_stand(tmp_path):
    for folder in ("src", "presets"):
        # with the caches, so that kernels are not compiled again
        shutil.copytree(ROOT / folder, tmp_path / folder)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    for helper in ("conftest", "conformance", "parent_recordings", "cli_runner"):
        shutil.copy(ROOT / "tests" / f"{helper}.py", tmp_path / "tests")
    for block in RECIPES:
        if block.path:
            apply(block, tmp_path)

    prefix = "python -m pytest "
    test_files = [command.removeprefix(prefix) for command in COMMANDS if command.startswith(prefix)]
    assert len(test_files) == 8
    # one process for all: most of the time is importing
    report = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", *test_files], tmp_path)
    assert " passed" in report

    for command in COMMANDS:
        if not command.startswith(prefix):
            program, *arguments = command.split()
            assert program == "steadyspike"
            run(["-c", "from steadyspike.cli import app; app()", *arguments], tmp_path)
