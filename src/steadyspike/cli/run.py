"""``steadyspike run``: a script that cannot be edited, accelerated."""

from __future__ import annotations

import builtins
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from steadyspike.cli.errors import FAILED, STOPPED, UsageError, clear_errors, refusals

EXAMPLES = """
[bold]Examples[/bold]

  steadyspike run script.py --an-option-of-the-script 3

  steadyspike run --repair --threads -1 script.py

  python -m steadyspike run -m my_lab.pipeline /data/my_run_g0
"""


def run(
    script: Annotated[str, typer.Argument(metavar="SCRIPT", help="A Python file; with -m, a module's name.")],
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGUMENTS]...", help="What the script gets.")
    ] = None,
    is_module: Annotated[bool, typer.Option("-m", help="Run a module, as python -m does.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair defects of SpikeInterface too; see steadyspike.repair().")
    ] = False,
    threads: Annotated[
        int,
        typer.Option(
            "--threads", help="Threads of each call where there is no pool of workers; -1: one per core."
        ),
    ] = 1,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--names", help="A part to accelerate, such as bandpass_filter; repeat it. Default: all."
        ),
    ] = None,
) -> None:
    """Run a script of SpikeInterface as `python script.py` does, on the kernels of steadyspike.

    Options of steadyspike stand before the script, those of the script after it. Worker processes that SpikeInterface
    starts are accelerated too.
    """
    with clear_errors(), refusals("names", num_threads="--threads"):
        import steadyspike

        if not is_module and not Path(script).is_file():
            raise UsageError(f"{script} is not a file")
        steadyspike.accelerate(names=names or None, num_threads=threads)
        if repair:
            steadyspike.repair()
    # typer's own shows errors in the code of a command line, not of a script
    sys.excepthook = sys.__excepthook__
    try:
        _run_module(script, arguments or []) if is_module else _run_file(script, arguments or [])
    except SystemExit:
        raise
    except BaseException as error:
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.excepthook(type(error), error.with_traceback(trace), trace)
        raise SystemExit(STOPPED if isinstance(error, KeyboardInterrupt) else FAILED) from None


def _run_file(script: str, arguments: list[str]) -> None:
    """Do what Python does with a script; processes that it spawns find it where they look for it."""
    path = os.path.abspath(script)
    code = compile(Path(path).read_bytes(), path, "exec", dont_inherit=True)
    module = ModuleType("__main__")
    vars(module).update(
        __file__=path, __builtins__=builtins, __cached__=None, __loader__=SourceFileLoader("__main__", path)
    )
    _set_argv_and_path([script, *arguments], os.path.dirname(os.path.realpath(path)))
    # it stays until the end, when what the script has registered for its exit is called
    sys.modules["__main__"] = module
    exec(code, vars(module))


def _run_module(name: str, arguments: list[str]) -> None:
    import runpy

    _set_argv_and_path([name, *arguments], os.getcwd())
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def _set_argv_and_path(argv: list[str], folder: str) -> None:
    sys.argv[:] = argv
    if not sys.flags.safe_path:
        sys.path[0] = folder
