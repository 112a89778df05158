"""What is shipped, and that files which state the same fact state it alike."""

import ast
import itertools
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

import steadyspike

ROOT = Path(__file__).resolve().parents[1]


def _read(name):
    return (ROOT / name).read_text(encoding="utf-8")


PROJECT = tomllib.loads(_read("pyproject.toml"))["project"]
EXTRAS = {
    "test",
    "docs",
    "lint",
    "tensorflow",
    "train",
    "report",
    "view",
    "cluster",
    "remote",
    "bench",
    "full",
}
IMPORT_NAMES = {
    "pillow": "PIL",
    "scikit-learn": "sklearn",
    "medicine-neuro": "medicine",
    "pyyaml": "yaml",
    "spikeinterface-gui": "spikeinterface_gui",
}


@pytest.fixture(scope="module")
def wheel_files(tmp_path_factory):
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_wheel_holds_every_preset(wheel_files):
    presets = {path.relative_to(ROOT / "presets").as_posix() for path in (ROOT / "presets").rglob("*.toml")}
    assert presets
    shipped = {
        name.removeprefix("steadyspike/library/presets/bundled/")
        for name in wheel_files
        if name.endswith(".toml")
    }
    assert shipped == presets


def test_wheel_holds_every_module_and_nothing_else(wheel_files):
    package = ROOT / "src" / "steadyspike"
    modules = {
        f"steadyspike/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*.py*")
        if path.suffix in (".py", ".pyi")
    }
    shipped = {name for name in wheel_files if ".dist-info/" not in name and not name.endswith(".toml")}
    models = {f"steadyspike/{path.relative_to(package).as_posix()}" for path in _bundled_files()}
    names = ("report.html.j2", "report.css", "report.js", "index.html.j2", "index.js")
    templates = {f"steadyspike/reports/templates/{name}" for name in names}
    others = {"steadyspike/py.typed", "steadyspike/simulation/measured_noise.json"}
    assert shipped == modules | models | templates | others


def test_bundled_models_are_small_and_whole():
    for folder in {path.parent for path in _bundled_files()}:
        assert {path.name for path in folder.iterdir()} >= {"model.safetensors", "config.json", "README.md"}
    assert sum(path.stat().st_size for path in _bundled_files()) < 8e6


def _bundled_files():
    return [path for path in (ROOT / "src/steadyspike/library/models/bundled").rglob("*") if path.is_file()]


def test_one_version_everywhere():
    citation = yaml.safe_load(_read("CITATION.cff"))
    newest = re.search(r"^## \[(\d[^]]*)\]", _read("CHANGELOG.md"), re.MULTILINE)
    assert citation["version"] == newest.group(1) == steadyspike.__version__


def test_citation_names_a_title_year_and_authors_for_each_paper():
    citation = yaml.safe_load(_read("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    for paper in citation["references"]:
        assert {"type", "title", "authors", "year", "notes"} <= paper.keys(), paper.get("title")


def test_extras_are_the_promised_ones():
    assert set(PROJECT["optional-dependencies"]) == EXTRAS


def test_every_import_is_a_declared_dependency():
    declared = {"steadyspike", "steadyspike_benchmarks"}
    extras = PROJECT["optional-dependencies"].values()
    for requirement in itertools.chain(PROJECT["dependencies"], *extras):
        name = re.match(r"[\w.-]+", requirement).group().lower()
        declared.add(IMPORT_NAMES.get(name, name))
    for path in (ROOT / "src").rglob("*.py"):
        undeclared = _imported_packages(path) - declared - sys.stdlib_module_names
        assert not undeclared, f"{path} imports {undeclared}, which pyproject.toml does not name"


def test_the_conda_recipe_asks_for_the_same_versions():
    recipe = yaml.safe_load(_read("packaging/recipe.yaml"))
    other_names = {"torch": "pytorch", "matplotlib": "matplotlib-base", "lazy_loader": "lazy-loader"}
    wanted = {f"python {PROJECT['requires-python']}"}
    for requirement in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["report"]):
        name, versions = re.match(r"([\w.-]+)(.*)", requirement).groups()
        wanted.add(f"{other_names.get(name, name)} {versions}".strip())
    assert set(recipe["requirements"]["run"]) == wanted
    assert recipe["context"]["version"].endswith(f'default="{steadyspike.__version__}") }}}}')


def test_a_release_is_checked_before_it_is_published():
    release = yaml.safe_load(_read(".github/workflows/release.yml"))["jobs"]
    assert set(release["publish"]["needs"]) == {"build", "wheel"}
    assert release["publish"]["permissions"] == {"id-token": "write"}
    matrix = release["wheel"]["strategy"]["matrix"]
    assert PROJECT["requires-python"].removeprefix(">=") in matrix["python"]
    assert len(matrix["os"]) == 3


def _imported_packages(path):
    packages = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            packages |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            packages.add(node.module.split(".")[0])
    return packages


def test_readme_has_exactly_two_set_up_commands():
    readme = _read("README.md")
    set_up = readme.split("\n## Set up\n")[1].split("\n## ")[0]
    commands = re.findall(r"```bash\n(.*?)```", set_up, re.DOTALL)
    assert [command.count("\n") for command in commands] == [1, 1], "each is one line"
    assert commands[0].rstrip().endswith("steadyspike demo")
    marked = re.findall(r"^<!-- test-command -->\n```bash\n(.*?)```", readme, re.DOTALL | re.MULTILINE)
    assert marked == [commands[1]], "continuous integration takes its test command from below the marker"


def test_readme_links_and_pictures_exist():
    readme = _read("README.md")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", readme) if "://" not in target]
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_pre_commit_runs_the_linter_of_continuous_integration():
    pinned = set(_read(".ci/constraints.txt").split())
    hooks = yaml.safe_load(_read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    ruff = {package for hook in hooks for package in hook["additional_dependencies"] if "ruff" in package}
    assert ruff
    assert ruff <= pinned
