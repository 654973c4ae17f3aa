"""Types of `with:` fields that several step types share: how text becomes a list or nothing."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from drrun.spi import Whole


def _listed(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _maybe(value: object) -> object:
    return None if value == "" else value


Listed = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list of words; `a,b` as one text is a list as well, and empty text is an empty one."""

Numbers = Annotated[tuple[Whole, ...], BeforeValidator(_listed)]
"""A list of whole numbers, written like `Listed`."""

MaybeWhole = Annotated[Whole | None, BeforeValidator(_maybe)]
"""A whole number, or nothing when the text is empty: an input that was not given."""
