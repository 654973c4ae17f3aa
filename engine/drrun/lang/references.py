"""What a runbook says of itself: do its names name something?

Rule 1: everything is read from the tree, not from the model, so that a mistake of the schema
hides none of these.
Rule 2: what cannot be judged without an inventory or the step types is left to the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drrun.lang import hosts
from drrun.lang.diagnostics import Diagnostic, Source, Span, nearest, suggest
from drrun.lang.inputs import input_mistakes
from drrun.lang.template import Template, is_code, is_template, read, read_test
from drrun.lang.template_error import TemplateError
from drrun.lang.tree import MappingNode, Node, ScalarNode, SequenceNode, scalars

ROOTS = ("inputs", "steps", "host", "vars", "roles", "run")
"""The names that a template may begin with."""


def mistakes(root: MappingNode, source: Source) -> Iterator[Diagnostic]:
    """Every name in the runbook that leads nowhere."""
    check = _Check(source, root, _steps(root), _ids(root))
    yield from input_mistakes(root, source)
    yield from check.duplicates()
    for index, step in enumerate(check.steps):
        if step is not None:
            yield from check.needs(index, step)
            yield from check.step(index, step)
    yield from check.rules()


@dataclass(frozen=True, slots=True)
class _Check:
    source: Source
    root: MappingNode
    steps: tuple[MappingNode | None, ...]
    ids: dict[str, int]
    """Each id with the index of its first step."""

    def duplicates(self) -> Iterator[Diagnostic]:
        folded: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            node = _scalar(step, "id")
            if node is None:
                continue
            first = folded.setdefault(node.text.casefold(), index)
            if first != index:
                other = _scalar(self.steps[first], "id")
                line = other.span.line if other else 0
                message = f"the id `{node.text}` is taken"
                hint = f"the first is at line {line}; ids are unique in a runbook"
                yield self.source.diagnostic(node.span, "duplicate-id", message, hint)

    def needs(self, index: int, step: MappingNode) -> Iterator[Diagnostic]:
        mine = _scalar(step, "id")
        needs = step.get("needs")
        for item in needs.items if isinstance(needs, SequenceNode) else ():
            node = _scalar(item, "step") if isinstance(item, MappingNode) else item
            if not isinstance(node, ScalarNode) or node.empty or node.broken:
                continue
            if mine is not None and node.text == mine.text:
                message = f"the step `{node.text}` needs itself"
                yield self.source.diagnostic(node.span, "needs-itself", message)
            elif node.text not in self.ids:
                others = [name for name, at in self.ids.items() if at != index]
                yield self._unknown_step(node.span, node.text, others)

    def step(self, index: int, step: MappingNode) -> Iterator[Diagnostic]:
        yield from self.hosts(step.get("hosts"))
        keep = step.get("keep")
        yield from self.hosts(keep.get("role") if isinstance(keep, MappingNode) else None)
        for key in ("requires", "ensures"):
            for test in _mappings(step.get(key)):
                yield from self.hosts(test.get("hosts"))
        when = _scalar(step, "when")
        if when is not None and not when.broken:
            try:
                yield from self.names(when, read_test(when.text), index)
            except TemplateError as error:
                yield self._bad(when, error)
        for key, entry in step.entries.items():
            if key in {"with", "requires"}:
                yield from self.templates(entry.value, index)
            elif key == "ensures":  # read after the step: its own outputs are there
                yield from self.templates(entry.value, index + 1)
            elif key in {"id", "uses"}:
                yield from self._literal(key, entry.value)

    def rules(self) -> Iterator[Diagnostic]:
        """Hosts and templates of the rules, and of what the services are told by."""
        services = self.root.get("services")
        named = services.entries.values() if isinstance(services, MappingNode) else ()
        tests = [e.value.get("alive") for e in named if isinstance(e.value, MappingNode)]
        for rule in _mappings(self.root.get("rules")):
            tests += [entry.value for key, entry in rule.entries.items() if key != "every"]
        for test in tests:
            if isinstance(test, MappingNode):
                yield from self.hosts(test.get("hosts"))
                yield from self.templates(test, len(self.steps))

    def templates(self, node: Node, before: int) -> Iterator[Diagnostic]:
        """Every template under `node`; it may refer to the steps whose index is below `before`."""
        for loc, text in scalars(node):
            if text.broken or not is_template(text.text) or any(map(is_code, loc)):
                continue
            try:
                yield from self.names(text, read(text.text), before)
            except TemplateError as error:
                yield self._bad(text, error)

    def names(self, node: ScalarNode, template: Template, before: int) -> Iterator[Diagnostic]:
        for name in sorted(template.names):
            root, _, rest = name.partition(".")
            first = rest.partition(".")[0]
            span = self.source.find(node.span, f"{root}.{first}" if first else root)
            if root not in ROOTS:
                message, hint = f"`{root}` is not defined", suggest(root, ROOTS, "defined")
                yield self.source.diagnostic(span, "undefined-name", message, hint)
            elif root == "inputs" and first:
                inputs = self.root.get("inputs")
                known = tuple(inputs.entries) if isinstance(inputs, MappingNode) else ()
                if first not in known:
                    message = f"the input `{first}` is not declared"
                    hint = suggest(first, known, "inputs") or "declare it under `inputs:`"
                    yield self.source.diagnostic(span, "unknown-input", message, hint)
            elif root == "steps" and first:
                yield from self._step_reference(span, first, before)

    def _step_reference(self, span: Span, step: str, before: int) -> Iterator[Diagnostic]:
        at = self.ids.get(step)
        if at is None:
            others = [name for name, index in self.ids.items() if index < before]
            yield self._unknown_step(span, step, others)
        elif at >= before:
            message = f"the step `{step}` has not run yet here"
            hint = "only steps further up can be referred to"
            yield self.source.diagnostic(span, "later-step", message, hint)

    def hosts(self, node: Node | None) -> Iterator[Diagnostic]:
        """A host expression: its syntax, and names that are nearly a role's."""
        if not isinstance(node, ScalarNode) or node.broken or node.empty:
            return
        if is_template(node.text):
            yield from self.templates(node, len(self.steps))
            return
        roles_node = self.root.get("roles")
        roles = tuple(roles_node.entries) if isinstance(roles_node, MappingNode) else ()
        try:
            named = tuple(hosts.names(hosts.parse(node.text)))
        except hosts.HostsError as error:
            span = self._inside(node, error.offset, 1)
            yield self.source.diagnostic(span, error.code, error.message, error.hint)
            return
        for name in named:
            word = name.role if isinstance(name, hosts.Nth) else name.name
            if word in roles or not (isinstance(name, hosts.Nth) or _nearly(word, roles)):
                continue
            span = self._inside(node, name.offset, len(word))
            message = f"`{word}` is not a role of this runbook"
            hint = suggest(word, roles, "roles") or "declare it under `roles:`"
            yield self.source.diagnostic(span, "unknown-role", message, hint)

    def _literal(self, key: str, node: Node) -> Iterator[Diagnostic]:
        if key == "uses" and isinstance(node, ScalarNode) and is_template(node.text):
            message = "a step type cannot be a template"
            yield self.source.diagnostic(node.span, "bad-template", message)

    def _inside(self, node: ScalarNode, offset: int, length: int) -> Span:
        """A part of a text that stands on one line; else the whole of it."""
        span = node.span
        line = self.source.lines[span.line - 1]
        at = line.find(node.text, span.column - 1)
        if at < 0:
            return span
        return Span(span.line, at + offset + 1, span.line, at + offset + 1 + length)

    def _bad(self, node: ScalarNode, error: TemplateError) -> Diagnostic:
        span = self.source.find(node.span, error.name) if error.name else node.span
        return self.source.diagnostic(span, error.code, error.message, error.hint)

    def _unknown_step(self, span: Span, step: str, others: list[str]) -> Diagnostic:
        hint = suggest(step, others, "steps before it")
        return self.source.diagnostic(span, "unknown-step", f"there is no step `{step}`", hint)


def _nearly(word: str, roles: tuple[str, ...]) -> bool:
    """Whether `word` is a misspelt role rather than a host that the inventory may know.

    Hosts are numbered after their roles (etcd1): a word with a digit is left to the plan.
    """
    return bool(nearest(word, roles, cutoff=0.8)) and not any(char.isdigit() for char in word)


def _steps(root: MappingNode) -> tuple[MappingNode | None, ...]:
    steps = root.get("steps")
    items = steps.items if isinstance(steps, SequenceNode) else ()
    return tuple(item if isinstance(item, MappingNode) else None for item in items)


def _ids(root: MappingNode) -> dict[str, int]:
    found: dict[str, int] = {}
    for index, step in enumerate(_steps(root)):
        node = _scalar(step, "id")
        if node is not None:
            found.setdefault(node.text, index)
    return found


def _scalar(node: Node | None, key: str) -> ScalarNode | None:
    value = node.get(key) if isinstance(node, MappingNode) else None
    return value if isinstance(value, ScalarNode) and not value.empty else None


def _mappings(node: Node | None) -> Iterator[MappingNode]:
    if isinstance(node, SequenceNode):
        yield from (item for item in node.items if isinstance(item, MappingNode))
