"""What ``steadyspike models`` and ``steadyspike presets`` share: pulling, pushing and listing what is on the Hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from steadyspike.cli.errors import UsageError, refusals, say, tell
from steadyspike.cli.options import option, takes_options

if TYPE_CHECKING:
    from rich.table import Table

    from steadyspike.library.hub.client import Fetched

Reference = Annotated[
    str, typer.Argument(help="hf:owner/name, or hf:owner/name@ with a tag, branch or commit.")
]
Repository = Annotated[str, typer.Argument(help="Where to: owner/name. It is made if it does not exist.")]
takes_push = takes_options(
    "how",
    [
        option("tag", str | None, None, "Name for this version, such as v1. Never moved."),
        option(
            *("private", bool | None, None, "Who sees it. Default: as it is; public if it is new."),
            *("--private/--public",),
            show_default=False,
        ),
        option("message", str | None, None, "Of the commit."),
        option(
            "license_name", str | None, None, "Such as cc-by-4.0. Default: what the card says.", "--license"
        ),
    ],
)
"""Gives a command the options of `push`, whose values its argument `how` holds."""

OnHub = Annotated[bool, typer.Option("--hub", help="Search the Hugging Face Hub instead.")]
Words = Annotated[str | None, typer.Option("--search", help="With --hub: words of the repository's name.")]
ARGUMENTS = ("tag", "private", "message")


@contextmanager
def hub_refusals(*names: str, **renamed: str) -> Iterator[None]:
    """Tell what cannot work as asked in the words of the command line."""
    with refusals(*ARGUMENTS, *names, license_name="--license", **renamed):
        yield


def push(shared: str, repo_id: str, **how: Any) -> None:
    """Push a model or a preset, and say what was done."""
    from steadyspike.library.sharing import push_to_hub

    with hub_refusals():
        pushed = push_to_hub(shared, repo_id, **how)
    typer.echo(str(pushed))
    typer.echo(f"page: {pushed.url}")
    if pushed.license is None:
        say(
            "[yellow]note[/yellow]: the card names no licence, so others may not use it; push again with --license"
        )


def pull(ref: str, form: str, output: Path | None) -> None:
    """Download a model or a preset and check it; write a copy if one is wanted."""
    from steadyspike.library.hub.reference import is_reference
    from steadyspike.library.sharing import fetch, load_fetched

    if not is_reference(ref):
        raise UsageError(f"{ref} is not on the Hub; allowed: hf:owner/name")
    if output is not None and output.exists():
        raise UsageError(f"--output {output} exists; choose another")
    with hub_refusals():
        fetched = fetch(ref, form)
        load_fetched(fetched)
    typer.echo(str(fetched.ref))
    typer.echo(f"versions: {shown_versions(ref)}")
    typer.echo(str(fetched.folder))
    if output is not None:
        _copy(fetched, output)
        typer.echo(f"copied to {output}")


def shown_versions(ref: str) -> str:
    """List the tags of a repository in a line."""
    from steadyspike.library.hub.cards import printable
    from steadyspike.library.hub.client import versions
    from steadyspike.library.hub.reference import HubError

    try:
        tags = versions(ref)
    except HubError:
        return "not known without a connection"
    return printable(", ".join(f"{tag} ({commit[:7]})" for tag, commit in tags.items())) or "none"


def _copy(fetched: Fetched, output: Path) -> None:
    from steadyspike.cli.output import new_folder
    from steadyspike.core.aside import written_aside
    from steadyspike.library.models.find import own_folder

    if fetched.form.name == "preset":
        if output.suffix.lower() != ".toml":
            raise UsageError(
                f"--output {output} is no place for a preset; allowed: a name that ends in .toml"
            )
        with written_aside(output) as aside:
            shutil.copyfile(fetched.folder / fetched.form.marker, aside)
        return
    with refusals(folder="--output"), new_folder(own_folder(output, "models pull")) as folder:
        for path in sorted(fetched.folder.iterdir()):
            shutil.copyfile(path, folder / path.name)


def found_table(form: str, kind: str | None, words: str | None) -> Table:
    """Make a table of what the Hub has."""
    from rich.table import Table

    from steadyspike.library.hub.cards import printable
    from steadyspike.library.hub.client import search

    table = Table(
        form, "kind", "licence", "downloads", "updated", "", title="On the Hub", title_justify="left"
    )
    for one in search(form, kind, words):
        shown = (f"hf:{one.repo_id}", one.kind, one.license, str(one.downloads), one.updated)
        table.add_row(*(printable(text) for text in shown), "private" if one.private else "")
    return table


def downloaded_table(form: str, kind: str | None = None) -> Table:
    """Make a table of what was downloaded before, and loads without a network."""
    from rich.table import Table

    from steadyspike.library.hub.cache import cached_file, downloaded
    from steadyspike.library.sharing import FORMS

    table = Table(form, "kind", "commit", "last known as", title="Downloaded", title_justify="left")
    for ref, names in downloaded(FORMS[form].required):
        marker = cached_file(ref, FORMS[form].marker)
        try:
            found = FORMS[form].kind(marker.parent) if marker is not None else None
        except ValueError:
            # other libraries' files lie in the same cache
            continue
        if found is not None and kind in (None, found):
            table.add_row(f"hf:{ref.repo_id}", found, ref.revision, ", ".join(names))
    return table


def print_list(
    form: str,
    kinds: Collection[str],
    kind: str | None,
    hub: bool,
    words: str | None,
    bundled: Callable[[str | None], Table],
) -> None:
    """Print what is bundled and what was downloaded, or what is on the Hub."""
    if kind is not None and kind not in kinds:
        raise UsageError(f"--kind {kind} is not known; allowed: {', '.join(kinds)}")
    if words and not hub:
        raise UsageError("--search is for --hub")
    if hub:
        print_tables(found_table(form, kind, words))
    else:
        print_tables(bundled(kind), downloaded_table(form, kind))


def print_tables(*tables: Table) -> None:
    """Print the tables that have rows, or say that there is nothing."""
    filled = [table for table in tables if table.row_count]
    tell(*filled if filled else ("nothing found",))
