import pytest

from steadyspike_benchmarks import denoising_memory as benchmark
from steadyspike_benchmarks.denoising_memory import (
    ChainSettings,
    format_denoising_memory,
    make_chain,
    run_denoising_memory,
)


def test_a_process_reads_the_chain_and_tells_its_peak():
    told = []
    (result,) = run_denoising_memory([1.0], num_channels=8, chunk_s=0.5, tell=told.append)
    assert 50 < result["imports_mb"] <= result["first_chunk_mb"] <= result["peak_mb"] < 4000
    assert result["elapsed_s"] > 0
    assert len(told) == 1


def test_a_process_that_takes_too_much_is_stopped_and_said_so():
    (result,) = run_denoising_memory([1.0], num_channels=8, limit_mb=20.0)
    assert "0.02 GB" in result["stopped"]
    text = format_denoising_memory([result])
    assert "stopped: passed 0.02 GB" in text
    assert text.splitlines()[2].endswith("no |")


def test_the_chain_denoises_and_corrects_int16(tmp_path):
    chain = make_chain(ChainSettings(0.2, num_channels=8), tmp_path)
    names = []
    node = chain
    while node is not None:
        names.append(type(node).__name__)
        node = node.get_parent()
    assert "Interpolate" in names[0]
    assert "DeepInterpolate" in names[1]
    assert chain.get_traces().shape == (6000, 8)


def test_the_table_tells_how_the_peak_grows():
    one = dict(num_channels=384, chunk_s=1.0, device="cpu", imports_mb=300.0, limit_mb=4000.0)
    short = dict(one, seconds=10.0, first_chunk_mb=900.0, peak_mb=1000.0, elapsed_s=18.0)
    long = dict(one, seconds=40.0, first_chunk_mb=900.0, peak_mb=1015.0, elapsed_s=78.0)
    text = format_denoising_memory([short, long])
    assert "changes by 15 MB, 0.50 MB for each second" in text
    assert "takes 2.0 s" in text
    assert " 461 |" in text


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (dict(seconds=[0.0]), "seconds"),
        (dict(seconds=[]), "seconds"),
        (dict(limit_mb=0), "limit_mb"),
        (dict(chunk_s=-1.0), "chunk_s"),
        (dict(model="no-such-model"), "no model"),
    ],
)
def test_what_cannot_be_is_refused(arguments, name, monkeypatch):
    monkeypatch.setattr(benchmark, "run_watched", None)
    with pytest.raises(ValueError, match=name):
        run_denoising_memory(**arguments)
