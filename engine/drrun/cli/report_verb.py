"""`drrun report`: the whole record of a run, for people, pages and programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from drrun.cli.driving import promised, source_of, story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.report import document, html, junit, markdown, text, words
from drrun.store.folder import StoredRun

Format = Literal["text", "md", "json", "html", "junit"]


def report(
    run: str | None = None,
    /,
    *,
    format: Format | None = None,  # noqa: A002 - the option's name
    to: Annotated[Path | None, Parameter(name="--to")] = None,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Report a run: summary, phases, outage, changes with before and after, notes, chain head.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        format: text, md, json, html (one file that needs nothing else) or junit.
        to: The file to write; standard output when left out.
        look: How it is shown.
    """
    screen = terminal(look)
    stored = engine(TerminalPrompt(allowed=False)).store.find(run)
    found = rendered(stored, format or ("json" if screen.json else "text"))
    if to is None:
        screen.say(found.rstrip("\n"))
        return 0
    try:
        to.write_text(found, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {to}: {error.strerror}", hint="another --to") from error
    screen.tell(f"wrote {to}")
    return 0


def rendered(stored: StoredRun, format: Format) -> str:  # noqa: A002 - as above
    """The report in one format."""
    story, read = story_of(stored), stored.outputs
    kept = promised(stored, story)
    match format:
        case "text":
            record = text.record(story, read, source_of(story))
            told = [f"  {line}" for line in kept.lines] if kept is not None else []
            return "\n".join([text.status(story), *told, *record])
        case "md":
            return markdown.page(story, read)
        case "json":
            sealed = {} if kept is None else {"sealed": kept.document()}
            return words.as_json({**document.whole(story), **sealed}, indent=2)
        case "html":
            return html.page(story, read)
        case "junit":
            return junit.suite(story, read)
