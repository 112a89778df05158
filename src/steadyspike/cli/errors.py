"""How commands fail: one line that says what is wrong, and an exit code.

0: done. 1: it failed on the way. 2: it cannot work as it was asked. 3: what is left needs a program that is not
installed here. 130: it was stopped, as by Ctrl-C.
"""

from __future__ import annotations

import re
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

FAILED, MISUSED, NOT_INSTALLED, STOPPED = 1, 2, 3, 130

Debug = Annotated[bool, typer.Option("--debug", help="On an error, show where in the code it came from.")]


class UsageError(Exception):
    """What was asked cannot work; the message says why and what would."""


@contextmanager
def clear_errors(debug: bool = False) -> Iterator[None]:
    """Turn exceptions into one line on standard error and an exit code.

    With `debug` exceptions come through with their traceback.
    """
    from steadyspike.core.aside import InUseError
    from steadyspike.core.loading_errors import LoadingError
    from steadyspike.library.presets.files import PresetError

    with _interrupts() as interrupts:
        try:
            yield
        except KeyboardInterrupt:
            _stop()
        except (typer.Exit, typer.Abort):
            raise
        except (UsageError, LoadingError, PresetError, InUseError) as error:
            _fail(error, MISUSED, debug)
        except Exception as error:
            if interrupts:
                # compiled code, such as a library that is being imported, may turn an interrupt into an error
                _stop()
            _fail(error, FAILED, debug)


@contextmanager
def refusals(*names: str, **renamed: str) -> Iterator[None]:
    """Tell what our functions refuse before they begin in the words of the command line, with exit code 2.

    `names` are arguments that are options of the same name: "max_steps" stands for ``--max-steps``. `renamed` are
    options of other names, by argument; or what else to replace, by what stands there.
    """
    phrases = {text: renamed.pop(text) for text in list(renamed) if not text.isidentifier()}
    options = {**{name: f"--{name.replace('_', '-')}" for name in names}, **renamed}
    # a name of one word is an argument only where a value follows it
    words = "|".join(sorted(options, key=len, reverse=True))

    def option(found: re.Match[str]) -> str:
        name, equals = found.groups()
        if not equals and "_" not in name:
            return found.group()
        return options[name] + (" " if equals else "")

    try:
        yield
    except (ValueError, FileNotFoundError, FileExistsError, ImportError) as error:
        text = str(error)
        for phrase, instead in phrases.items():
            text = text.replace(phrase, instead)
        text = re.sub(rf"\b({words})\b(=?)", option, text) if words else text
        raise UsageError(text) from error


@contextmanager
def said_warnings(category: type[Warning]) -> Iterator[None]:
    """Say warnings of one category as notes, without the line of code that they come from."""

    def show(message: Any, kind: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(kind, category):
            say(f"[yellow]note[/yellow]: {message}")
        else:
            before(message, kind, *where, **more)

    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        before: Any = warnings.showwarning
        warnings.showwarning = cast(Any, show)
        yield


def say(message: str) -> None:
    """Print a message for people on standard error, where it does not mix with results."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True).print(_styled(message))


def tell(*results: str | Table) -> None:
    """Print results: texts, as `say` does, and tables, whose cells are taken as they are."""
    from rich.console import Console

    for result in results:
        if isinstance(result, str):
            Console(soft_wrap=True).print(_styled(result))
        else:
            Console(markup=False, emoji=False, highlight=False).print(result)


def _styled(message: str) -> Text:
    """Style what a message begins with, "[yellow]note[/yellow]: ...": all else may hold any brackets, as paths do."""
    from rich.text import Text

    from steadyspike.library.hub.cards import printable

    # a message can quote what others wrote
    message = printable(message)
    head = re.match(r"\[([a-z ]+)\](.*?)\[/\1\]", message)
    if head is None:
        return Text(message)
    return Text.assemble((head[2], head[1]), message[head.end() :])


def _stop() -> NoReturn:
    say("[yellow]stopped[/yellow]: an output is there as a whole, or not at all")
    raise typer.Exit(STOPPED) from None


def error_line(error: Exception, kind: bool | None = None) -> str:
    """Write an error in one line; with its `kind` in front (None: unless it is one of ours)."""
    from steadyspike.core.loading_errors import LoadingError

    text = str(error).strip() or "no message"
    if kind or (kind is None and not isinstance(error, UsageError | LoadingError)):
        text = f"{type(error).__name__}: {text}"
    return f"[bold red]error[/bold red]: {' '.join(text.split())}"


def _fail(error: Exception, code: int, debug: bool) -> NoReturn:
    if debug:
        from rich.console import Console

        Console(stderr=True).print_exception()
    say(error_line(error, code == FAILED))
    raise typer.Exit(code) from None


@contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Clean up on a polite kill, such as a batch system's, as on Ctrl-C; the list holds the signals that came."""
    came: list[int] = []

    def interrupt(number: int, _: Any) -> NoReturn:
        came.append(number)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield came
        return
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
