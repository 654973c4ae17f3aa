"""Types of `with:` fields that several step types share: how text becomes a list or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from drrun.spi import Whole


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _maybe(value: object) -> object:
    return None if value == "" else value


def _fits(size: int, what: str) -> None:
    if size > ARGUMENT:
        raise ValueError(
            f"{what} has {size} bytes, and Linux hands no program more than {ARGUMENT} in one "
            "piece: put them into a file"
        )


def _word(word: str) -> str:
    _fits(len(word.encode()) + 1, "this word")
    return word


def _variables(env: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in env.items():
        _fits(len(f"{name}={value}".encode()) + 1, name)
    return env


ARGUMENT = 128 * 1024
"""Bytes of one argument or one variable, its NUL included, that Linux hands to a program."""

Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list of words; `a,b` as one text is a list as well, and empty text is an empty one."""

Words = Annotated[tuple[Annotated[str, AfterValidator(_word)], ...], BeforeValidator(_listed)]
"""A program and its arguments, written like `Listed`; each must fit into what exec(2) takes."""

Variables = Annotated[Mapping[str, str], AfterValidator(_variables)]
"""Variables for programs; each must fit into what exec(2) takes."""

Numbers = Annotated[tuple[Whole, ...], BeforeValidator(_listed)]
"""A list of whole numbers, written like `Listed`."""

MaybeWhole = Annotated[Whole | None, BeforeValidator(_maybe)]
"""A whole number, or nothing when the text is empty: an input that was not given."""

OUTSIDERS = "outsiders"
"""The component: who on a host uses what is proved to be down, and is no part of the control plane."""
