"""Text to tree: YAML without its traps, and every mistake with its place.

Rule 1: scalars are text. `22:30`, `no`, `0755`, `1.10` and `~` stay as they look.
Rule 2: what makes YAML surprising is a mistake: duplicate keys, tags, anchors, aliases, merge
keys, a second document, keys that are not text.
Rule 3: reading is bounded: 5 MB, 50 levels, 250 000 values, 500 mistakes. Aliases are never followed, so nothing can explode.

The C parser's events are walked instead of its composed nodes: a composed alias is already
resolved, and a composed document is as deep as its author liked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drrun.lang.diagnostics import START, Diagnostic, Source, Span
from drrun.lang.tree import Entry, MappingNode, Node, ScalarNode, SequenceNode

if TYPE_CHECKING:
    from yaml import YAMLError

MAX_BYTES = 5_000_000
MAX_DEPTH = 50
MAX_VALUES = 250_000
MAX_MISTAKES = 500

_CONTROL = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*(?P<nul>\\(?:0|x00|u0000|U00000000))")
_EXOTIC_BREAKS = "\x85\u2028\u2029"
_UNQUOTED = re.compile(r"(?:^\s*|[:\-\[,{]\s+|\[)(?P<open>\{[{%])")
_QUOTE_IT = "quote the whole value: '{{ … }}'"
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"
_SPECIAL = "quote a value that begins with one of @ ` % ! & * { [ |"


@dataclass(frozen=True, slots=True)
class Document:
    """What was read. `root` is None when the text is too broken to make a tree of."""

    source: Source
    root: Node | None
    diagnostics: tuple[Diagnostic, ...]


class _Stop(Exception):
    """Nothing sensible can be read after this point."""


def parse(data: bytes | str, path: str) -> Document:
    """Read one YAML (or JSON) document. Never raises: mistakes are in `diagnostics`."""
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    if len(raw) > MAX_BYTES:
        return _refused(path, "too-large", f"the file is larger than {MAX_BYTES // 10**6} MB")
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        column = len(raw[raw.rfind(b"\n", 0, exc.start) + 1 : exc.start].decode("utf-8")) + 1
        message = f"byte 0x{raw[exc.start]:02x} is not UTF-8"
        return _refused(
            path, "not-utf8", message, "save the file as UTF-8", line=line, column=column
        )
    source = Source.of(path, text)
    if controls := _controls(source):
        return Document(source, None, controls)
    return _Reader(source, text).document()


def _refused(
    path: str, code: str, message: str, hint: str = "", *, line: int = 1, column: int = 1
) -> Document:
    diagnostic = Diagnostic(path, line, column, column + 1, code, message, hint)
    return Document(Source(path, ()), None, (diagnostic,))


def _controls(source: Source) -> tuple[Diagnostic, ...]:
    return tuple(
        source.diagnostic(
            Span(number, match.start() + 1, number, match.end() + 1),
            "control-character",
            f"the control character U+{ord(match.group()):04X} is not accepted",
            'delete it, or write it as "\\xNN" inside double quotes',
        )
        for number, line in enumerate(source.lines, 1)
        for match in _CONTROL.finditer(line)
    )


class _Reader:
    """Builds the tree from the parser's events; keeps going after every mistake it can."""

    def __init__(self, source: Source, text: str) -> None:
        self.source = source
        self.diagnostics: list[Diagnostic] = []
        self.masked: set[tuple[int, int]] = set()
        self.values = 0
        # libyaml breaks lines at U+2028 and its kin, editors do not: they go in disguise.
        unused = (chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in text)
        self.disguise = {ord(char): next(unused) for char in _EXOTIC_BREAKS if char in text}
        self.reveal = {ord(mask): chr(code) for code, mask in self.disguise.items()}
        self.lines = [line.translate(self.disguise) for line in source.lines]

    def document(self) -> Document:
        kept: list[Diagnostic] = []
        root: Node | None = None
        while True:
            self.diagnostics = []
            self.values = 0
            before = len(self.masked)
            root = self._attempt()
            if len(self.masked) == before or before >= 200:
                break
            kept += [d for d in self.diagnostics if d.code == "unquoted-template"]
        return Document(self.source, root, tuple(dict.fromkeys(kept + self.diagnostics)))

    def _attempt(self) -> Node | None:
        """Read the whole text once. An unquoted template is masked, for another attempt."""
        import yaml

        loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        events = yaml.parse("\n".join(self.lines), Loader=loader)
        try:
            return self._root(iter(events))
        except _Stop:
            return None
        except yaml.YAMLError as exc:
            with suppress(_Stop):
                self._syntax(exc)
            return None

    def _root(self, events: Iterator[Any]) -> Node | None:
        root: Node | None = None
        for event in events:
            match type(event).__name__:
                case "DocumentStartEvent" if root is not None:
                    message = "a second document begins here"
                    self._report(_span(event), "many-documents", message, "one file, one document")
                    return root
                case "StreamStartEvent" | "DocumentStartEvent" | "DocumentEndEvent":
                    pass
                case "StreamEndEvent":
                    break
                case _:
                    root = self._node(event, events, 1)
        if root is None or (isinstance(root, ScalarNode) and root.empty):
            self._report(START, "empty-file", "the file is empty")
            return None
        return root

    def _node(self, event: Any, events: Iterator[Any], depth: int) -> Node:
        span = _span(event)
        if depth > MAX_DEPTH:
            self._report(span, "too-deep", _TOO_DEEP)
            raise _Stop
        self.values += 1
        if self.values > MAX_VALUES:
            self._report(span, "too-large", f"the file has more than {MAX_VALUES} values")
            raise _Stop
        broken = self._decorations(event, span)
        match type(event).__name__:
            case "ScalarEvent":
                broken = broken or (span.line, span.column) in self.masked
                empty = not event.value and not event.style
                text = event.value.translate(self.reveal) if self.reveal else event.value
                if "\0" in text:
                    broken = self._nul(span)
                return ScalarNode(text, span, empty, broken)
            case "SequenceStartEvent":
                items: list[Node] = []
                while type(item := next(events)).__name__ != "SequenceEndEvent":
                    items.append(self._node(item, events, depth + 1))
                return SequenceNode(tuple(items), span, broken)
            case "MappingStartEvent":
                return self._mapping(event, span, events, depth)
            case _:
                return ScalarNode("", span, broken=True)

    def _mapping(self, start: Any, span: Span, events: Iterator[Any], depth: int) -> Node:
        entries: dict[str, Entry] = {}
        broken = False
        while type(event := next(events)).__name__ != "MappingEndEvent":
            key = self._node(event, events, depth + 1)
            value = self._node(next(events), events, depth + 1)
            if not isinstance(key, ScalarNode):
                broken = True
                if not self._mask(span.line, span.column):
                    self._report(key.span, "key-not-text", "a key must be plain text")
            elif key.empty:
                self._report(key.span, "empty-key", "a key is missing before the colon")
            elif key.text == "<<" and not key.broken:
                hint = "write the keys out: a runbook is read in the night, from top to bottom"
                self._report(key.span, "merge-key", "merge keys (<<) are not accepted", hint)
            elif key.text in entries:
                first = entries[key.text].span
                message = f"the key `{key.text}` stands here twice"
                hint = f"the first is at line {first.line}, column {first.column}"
                self._report(key.span, "duplicate-key", message, hint)
            else:
                entries[key.text] = Entry(key.text, key.span, value)
        return MappingNode(entries, span, broken or bool(start.anchor or start.tag))

    def _decorations(self, event: Any, span: Span) -> bool:
        """Report an alias, an anchor or a tag; True when there was one."""
        here = Span(span.line, span.column, span.line, span.column + 1)
        quote = "to mean the character itself, quote the value"
        if type(event).__name__ == "AliasEvent":
            message = f"aliases (*{event.anchor}) are not accepted"
            self._report(span, "alias", message, f"write the value out; {quote}")
            return True
        if event.anchor:
            message = f"anchors (&{event.anchor}) are not accepted"
            self._report(here, "anchor", message, f"write the value out; {quote}")
        if event.tag:
            message = f"tags ({event.tag}) are not accepted"
            self._report(here, "tag", message, f"the schema knows the type; {quote}")
        return bool(event.anchor or event.tag)

    def _nul(self, span: Span) -> bool:
        """Report a NUL byte where it is written: no command, path or variable can carry one."""
        for number in range(span.line, span.end_line + 1):
            start = span.column - 1 if number == span.line else 0
            if match := _NUL.search(self.source.lines[number - 1], start):
                span = Span(number, match.start("nul") + 1, number, match.end() + 1)
                break
        hint = "put binary data into a file, and copy that"
        self._report(span, "nul-byte", "a NUL byte cannot be in a value", hint)
        return True

    def _syntax(self, exc: YAMLError) -> None:
        """Report what the parser could not read, in the words of the likeliest cause."""
        problem = getattr(exc, "problem", None) or str(exc)
        mark = getattr(exc, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        context = getattr(exc, "context_mark", None)
        for number in {line, context.line + 1 if context else line}:
            if self._mask(number):
                return
        if line > len(self.lines):
            line, column = len(self.lines), len(self.lines[-1]) + 1
        if self.lines[line - 1][column - 1 :][:1] == "\t":
            self._tabs(line)
            return
        # libyaml's own bound, met where it reads far ahead of its events.
        if "nesting depth" in problem:
            self._report(Span(line, column, line, column + 1), "too-deep", _TOO_DEEP)
            return
        where = getattr(exc, "context", None) or ""
        hint = ""
        if context and context.line + 1 < line and ("flow" in where or "quoted" in where):
            problem = "what begins here is never closed, or lacks a comma"
            hint = f"reading came to an end at line {line}"
            line, column = context.line + 1, context.column + 1
        elif "cannot start any token" in problem or "anchor" in where or "alias" in where:
            hint = _SPECIAL
        elif "mapping values are not allowed" in problem:
            hint = "quote a value that holds `: `, or check the indentation"
        elif problem == "did not find expected key":
            hint = "check the indentation of this line, and the quotes on the line before"
        self._report(Span(line, column, line, column + 1), "syntax", problem, hint)

    def _tabs(self, first: int) -> None:
        for number, text in enumerate(self.lines[first - 1 :], first):
            indent = text[: len(text) - len(text.lstrip())]
            if "\t" in indent and (number == first or indent.startswith("\t")) and text.strip():
                column = indent.index("\t") + 1
                span = Span(number, column, number, len(indent) + 1)
                message = "a tab cannot indent YAML"
                self._report(span, "tab", message, "indent with spaces")
        if not self.diagnostics or self.diagnostics[-1].code != "tab":
            column = self.lines[first - 1].index("\t") + 1
            span = Span(first, column, first, column + 1)
            self._report(span, "tab", "a tab cannot stand here", "use spaces")

    def _mask(self, line: int, column: int | None = None) -> bool:
        """Report an unquoted `{{` of this line and cross it out; False when there is none."""
        text = self.lines[line - 1] if line <= len(self.lines) else ""
        for match in _UNQUOTED.finditer(text):
            start = match.start("open")
            if column is not None and start != column - 1:
                continue
            closing = text.find({"{{": "}}", "{%": "%}"}[match["open"]], start)
            end = closing + 2 if closing >= 0 else len(text)
            span = Span(line, start + 1, line, end + 1)
            message = "a value that begins with a template must be quoted"
            self._report(span, "unquoted-template", message, _QUOTE_IT)
            self.masked.add((line, start + 1))
            self.lines[line - 1] = text[:start] + "x" * (end - start) + text[end:]
            return True
        return False

    def _report(self, span: Span, code: str, message: str, hint: str = "") -> None:
        self.diagnostics.append(self.source.diagnostic(span, code, message, hint))
        if len(self.diagnostics) >= MAX_MISTAKES:
            raise _Stop


def _span(event: Any) -> Span:
    start, end = event.start_mark, event.end_mark
    return Span(start.line + 1, start.column + 1, end.line + 1, end.column + 1)
