"""One parser for `drrun RUNBOOK` and the verbs; a verb's module is imported when it is used."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path

from cyclopts import App, CycloptsError, Parameter

from drrun import __version__
from drrun.cli import verbs
from drrun.errors import UsageError


def parse_and_call(words: Sequence[str]) -> int:
    """Find the verb, parse its options, call it. Raises UsageError and the verb's own errors."""
    parser = build()
    words = with_verb(words)
    try:
        found = parser(words)
    except CycloptsError as error:
        verb = words[0]
        raise UsageError(plain(error), hint=f"`drrun {verb} --help`") from error
    return found if isinstance(found, int) else 0


def build(known: Iterable[verbs.Verb] | None = None) -> App:
    """The parser with these verbs (all of them when not given), none imported."""
    parser = App(
        name="drrun",
        help="Disaster-recovery runbooks that say what they will do, do it once, and prove it.",
        version=__version__,
        default_parameter=Parameter(negative=()),
        help_format="plaintext",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
        result_action="return_value",
    )
    every = (*verbs.VERBS.values(), *verbs.added().values()) if known is None else known
    for verb in every:
        parser.command(verb.target, name=verb.name, help=verb.summary)
    return parser


def with_verb(words: Sequence[str]) -> list[str]:
    """`drrun RUNBOOK …` is `drrun run RUNBOOK …`. Raises UsageError on a word that is nothing."""
    first = words[0]
    if first in verbs.VERBS or first in verbs.added():
        return list(words)
    if not first.startswith("-") and not Path(first).exists():
        _refuse_nothing(first)
    return ["run", *words]


def _refuse_nothing(word: str) -> None:
    """A word that is no file, no stock runbook and no verb is a slip: say which was meant."""
    from drrun.cli.stock import stock_names
    from drrun.lang.diagnostics import did_you_mean

    stock = stock_names()
    if word.removesuffix(".yaml") in stock:
        return
    known = (*verbs.VERBS, *verbs.added(), *stock)
    hint = did_you_mean(word.removesuffix(".yaml"), known)
    raise UsageError(
        f"{word!r} is not a file, not a stock runbook and not a verb",
        hint=hint or f"stock runbooks: {', '.join(stock)}; verbs: `drrun --help`",
    )


def plain(error: CycloptsError) -> str:
    """The parser's complaint as one sentence."""
    return inspect.cleandoc(str(error)).strip().removesuffix(".")
