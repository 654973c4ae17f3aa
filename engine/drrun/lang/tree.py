"""An authored document as a tree of text with positions.

Rule 1: every scalar is text. What `22:30`, `no` or `1.10` means is for the schema to say.
Rule 2: a node that is `broken` stands where the reader already reported a mistake; nobody
reports another one there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from drrun.lang.diagnostics import Loc, Span


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A text. `empty` is a value that was left out (`key:`), which is not the text `""`."""

    text: str
    span: Span
    empty: bool = False
    broken: bool = False

    def plain(self) -> str | None:
        """The text, or None when the value was left out."""
        return None if self.empty else self.text


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    items: tuple[Node, ...]
    span: Span
    broken: bool = False

    def plain(self) -> list[object]:
        """The list as data."""
        return [item.plain() for item in self.items]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key and its value."""

    key: str
    span: Span
    value: Node


@dataclass(frozen=True, slots=True)
class MappingNode:
    """Keys and values, in the order of the file."""

    entries: Mapping[str, Entry]
    span: Span
    broken: bool = False

    def plain(self) -> dict[str, object]:
        """The mapping as data."""
        return {key: entry.value.plain() for key, entry in self.entries.items()}

    def get(self, key: str) -> Node | None:
        """The value at `key`, or None."""
        entry = self.entries.get(key)
        return entry.value if entry else None


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at a path, or at its nearest parent that is there."""

    node: Node
    key: Span | None = field(default=None)
    """The key that leads to the node; None at the root and in lists."""
    found: int = 0
    """How many parts of the path were there."""

    @property
    def named(self) -> Span:
        """Where to point for the thing as a whole: its key, or else its first line."""
        return self.key or _first_line(self.node)

    @property
    def value(self) -> Span:
        """Where to point for its value: the text, else the key, else the first line."""
        if isinstance(self.node, ScalarNode) and not self.node.empty:
            return self.node.span
        return self.named


def locate(root: Node, loc: Loc) -> Place:
    """Walk `loc` from `root` as far as it goes.

    Parts that name nothing in the document are stepped over: pydantic puts the tags of unions
    and the names of validators into its paths.
    """
    place = Place(root)
    for part in loc:
        node = place.node
        if isinstance(node, MappingNode) and isinstance(part, str) and part in node.entries:
            entry = node.entries[part]
            place = Place(entry.value, entry.span, place.found + 1)
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.items):
            place = Place(node.items[part], None, place.found + 1)
    return place


def scalars(node: Node, loc: Loc = ()) -> Iterator[tuple[Loc, ScalarNode]]:
    """Every text under `node` with its path, in the order of the file; keys are not texts."""
    if isinstance(node, ScalarNode):
        yield loc, node
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.items):
            yield from scalars(item, (*loc, index))
    else:
        for key, entry in node.entries.items():
            yield from scalars(entry.value, (*loc, key))


def _first_line(node: Node) -> Span:
    """The first key of a block mapping; the opening mark of anything else that has one."""
    if isinstance(node, MappingNode) and node.entries:
        key = next(iter(node.entries.values())).span
        if (key.line, key.column) == (node.span.line, node.span.column):
            return key
    return node.span
