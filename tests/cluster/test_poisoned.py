"""A chunk whose traces cannot be read is named by its time on this machine too, and what was done stays."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from poisoned import assert_named_and_kept, denoise, find_peaks, saved_noise
from stand_ins import small_model


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return saved_noise(tmp_path_factory.mktemp("poisoned") / "raw")


@pytest.fixture(params=["here", "process", "thread", "executor"])
def how(request):
    with ThreadPoolExecutor(2) as pool:
        if request.param == "executor":
            yield dict(n_jobs=1, client=pool)
        elif request.param == "here":
            yield dict(n_jobs=1)
        else:
            yield dict(n_jobs=2, pool_engine=request.param)


def test_in_detection(recording, tmp_path, how):
    assert_named_and_kept(find_peaks, recording, "detect and localize", tmp_path, how)


def test_in_denoising(recording, tmp_path, how):
    model = small_model(recording, tmp_path / "model")
    assert_named_and_kept(denoise, recording, "write", tmp_path, how, model=model)
