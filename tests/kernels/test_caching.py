"""Kernels work, slower to start, where what was compiled cannot be kept."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core import caching as numbas
from numba.core import dispatcher

import steadyspike
from steadyspike.kernels import caching

FROM_FUNCTION = caching.KernelLocator.from_function.__func__


def doubled(values):
    return 2 * values


@pytest.fixture
def ours(monkeypatch):
    """A function that numba takes for one of the package's."""
    monkeypatch.setattr(doubled, "__module__", "steadyspike.kernels.nothing")
    return doubled


def refuse(*args, **kwargs):
    raise PermissionError(13, "Permission denied")


def full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def compiled(function):
    kernel = numba.njit(cache=True)(function)
    np.testing.assert_array_equal(kernel(np.arange(3.0)), [0.0, 2.0, 4.0])
    return kernel


@pytest.fixture
def nowhere(monkeypatch):
    """None of the usual places can be written."""
    for locator in (*numbas.FunctionCache._impl_class._locator_classes, caching.KernelLocator):
        monkeypatch.setattr(locator, "from_function", classmethod(lambda cls, *args: None))


def test_only_functions_of_the_package_get_our_cache(ours):
    assert dispatcher.FunctionCache is caching.cache_of
    assert type(caching.cache_of(ours)) is caching.KernelCache
    assert type(caching.cache_of(refuse)) is numbas.FunctionCache


def test_temporary_files_are_used_last(ours, nowhere, monkeypatch, tmp_path):
    # what was switched off above is not ours
    monkeypatch.setattr(
        caching.TemporaryFolderLocator,
        "from_function",
        classmethod(FROM_FUNCTION),
    )
    monkeypatch.setattr(caching.tempfile, "tempdir", str(tmp_path))
    kernel = compiled(ours)
    folder = tmp_path / f"steadyspike-numba-{caching.user_id()}"
    assert Path(kernel._cache.cache_path).parent == folder
    assert list(folder.rglob("*.nbc"))
    if os.name == "posix":
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert numba.njit(cache=True)(ours)(np.arange(3.0))[2] == 4.0
    with pytest.raises(RuntimeError, match="no locator available"):
        numbas.FunctionCache(ours)


def test_user_cache_where_no_folder_is_asked_for_or_that_cannot_be_written(ours, monkeypatch, tmp_path):
    monkeypatch.setattr(
        caching.platformdirs, "user_cache_dir", lambda *args, **kwargs: str(tmp_path / "user")
    )
    (tmp_path / "file").touch()
    for asked, used in (("", "user"), (str(tmp_path / "file"), "user"), (str(tmp_path / "asked"), "asked")):
        monkeypatch.setattr(numba.config, "CACHE_DIR", asked)
        assert Path(compiled(ours)._cache.cache_path).parent == tmp_path / used
    assert sorted(path.name for path in tmp_path.iterdir()) == ["asked", "file", "user"]


def test_kernels_are_known_by_their_sources(monkeypatch, tmp_path):
    modules = {
        "outer": "from steadyspike.kernels.lanes import (\n    inner,\n)\n",
        "lanes/inner": "from steadyspike.kernels.base import SIZE\n",
        "base": "SIZE = 1\n",
        "other": "SIZE = 2\n",
    }

    def stamps(where):
        monkeypatch.setattr(caching, "ROOT", tmp_path / where)
        caching.source_stamp.cache_clear()
        files = [tmp_path / where / "steadyspike" / "kernels" / f"{name}.py" for name in modules]
        for file, text in zip(files, modules.values(), strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return [caching.source_stamp(str(file)) for file in files]

    before = stamps("here")
    assert len(set(before)) == 4
    # installed elsewhere and anew
    assert stamps("there") == before
    modules["base"] = "SIZE = 3\n"
    changed = [one != other for one, other in zip(stamps("here"), before, strict=True)]
    assert changed == [True, True, True, False]
    caching.source_stamp.cache_clear()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere each user has temporary files of their own")
def test_folder_that_others_can_write_is_not_used(ours, monkeypatch, tmp_path):
    monkeypatch.setattr(caching.tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"steadyspike-numba-{caching.user_id()}"
    folder.mkdir()
    folder.chmod(0o777)
    assert caching.TemporaryFolderLocator.from_function(ours, __file__) is None
    folder.chmod(0o755)
    assert caching.TemporaryFolderLocator.from_function(ours, __file__) is not None
    shutil.rmtree(folder)
    (tmp_path / "of_others").mkdir()
    folder.symlink_to(tmp_path / "of_others")
    assert caching.TemporaryFolderLocator.from_function(ours, __file__) is None
    monkeypatch.setattr(caching.tempfile, "gettempdir", full)
    assert caching.TemporaryFolderLocator.from_function(ours, __file__) is None


def test_without_any_place_kernels_are_compiled_anew(ours, nowhere):
    assert type(compiled(ours)._cache) is numbas.NullCache


@pytest.mark.parametrize("error", [refuse, full])
def test_cache_that_cannot_be_written_or_read(ours, monkeypatch, tmp_path, error):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(numbas.IndexDataCacheFile, "save", error)
        kernel = compiled(ours)
        # a second type, after the first could not be kept
        assert kernel(np.arange(3))[2] == 4
    assert not list(tmp_path.rglob("*.nbc"))
    compiled(ours)
    assert list(tmp_path.rglob("*.nbc"))
    monkeypatch.setattr(numbas.IndexDataCacheFile, "load", error)
    compiled(ours)


def test_cache_that_was_cut_short_is_made_anew(ours, monkeypatch, tmp_path):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    compiled(ours)
    for file in tmp_path.rglob("*.nb?"):
        file.write_bytes(b"")
    compiled(ours)
    assert all(file.stat().st_size for file in tmp_path.rglob("*.nb?"))


SCRIPT = """
import numpy as np
import spikeinterface.full as si
import steadyspike
from spikeinterface.core.node_pipeline import base_peak_dtype
from spikeinterface.sortingcomponents.peak_localization import localize_peaks

recording = si.generate_recording(num_channels=8, durations=[1.0], seed=0)
filtered = si.bandpass_filter(recording)
theirs = filtered.get_traces()
steadyspike.accelerate()
np.testing.assert_allclose(filtered.get_traces(), theirs, atol=1e-3 * theirs.std())
assert steadyspike.accelerated()["bandpass_filter"].taken == 1
peaks = np.zeros(10, dtype=base_peak_dtype)
peaks["sample_index"] = np.arange(10) * 1000 + 500
found = localize_peaks(
    recording, peaks, method="center_of_mass", job_kwargs=dict(n_jobs=1, progress_bar=False)
)
assert len(found) == 10
assert steadyspike.accelerated()["center_of_mass"].taken == 1
print(steadyspike.__file__)
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of folders are those of POSIX")
def test_whole_package_read_only_and_no_home(tmp_path):
    package = tmp_path / "installed" / "steadyspike"
    shutil.copytree(
        Path(steadyspike.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "bundled")
    )
    locked = tmp_path / "locked"
    locked.mkdir()
    # no room for our temporary cache either
    (tmp_path / "temporary").mkdir()
    (tmp_path / "temporary" / f"steadyspike-numba-{caching.user_id()}").mkdir()
    (tmp_path / "temporary" / f"steadyspike-numba-{caching.user_id()}").chmod(0o777)
    folders = [path for path in [locked, package, *package.rglob("*")] if path.is_dir()]
    environment = {
        **{key: value for key, value in os.environ.items() if key != "XDG_CACHE_HOME"},
        "HOME": str(locked / "home"),
        "NUMBA_CACHE_DIR": str(locked / "numba"),
        "TMPDIR": str(tmp_path / "temporary"),
        "PYTHONPATH": str(package.parent),
    }
    for folder in folders:
        folder.chmod(0o555)
    try:
        if not as_user(f"open({str(locked / 'file')!r}, 'w')", environment).returncode:
            pytest.skip("this user writes wherever it likes, and setpriv is not there to change that")
        done = as_user(SCRIPT, environment)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(package / "__init__.py")
    assert not list(tmp_path.rglob("*.nb?"))


def as_user(script, environment):
    """Run a script that permissions hold for, by root too."""
    command = [sys.executable, "-c", script]
    if os.getuid() == 0 and shutil.which("setpriv"):
        without = "-dac_override,-dac_read_search,-fowner"
        command = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}", *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
