"""Step types and facts by name, from the `drrun.steps` entry points. Built-ins enter by this door.

An entry point NAME gives a module with STEPS and FACTS; it serves every `uses: NAME.…` and every
fact `NAME.…`, and is imported when one of them is first asked for.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from drrun.errors import AuthorError, DrrunError, NotKnownError
from drrun.model.describe import described
from drrun.model.rule import Alike, Demand, Duty, FactRef, Rule
from drrun.model.spec import Effects, FactSpec, Problem, StepSpec
from drrun.spi import Fact, GroupStep, HostStep, Step
from drrun.values import Digest, Json, NotKnown

GROUP = "drrun.steps"


class Registry:
    """What is installed. Implements the compiler's `Specs` and the executor's `Catalog`."""

    def __init__(self, points: Sequence[EntryPoint] | None = None) -> None:
        found = entry_points(group=GROUP) if points is None else points
        self._points = {point.name: point for point in found}
        self._modules: dict[str, tuple[dict[str, type[Step]], dict[str, type[Fact[Any]]]]] = {}
        self._specs: dict[str, StepSpec] = {}
        self._sources: dict[str, str] = {}

    def _module(self, name: str) -> tuple[dict[str, type[Step]], dict[str, type[Fact[Any]]]]:
        prefix = name.partition(".")[0]
        if prefix not in self._points:
            return {}, {}
        if prefix not in self._modules:
            module = self._points[prefix].load()
            steps = {step.uses: step for step in getattr(module, "STEPS", ())}
            facts = {fact.name: fact for fact in getattr(module, "FACTS", ())}
            _validate(prefix, steps, facts)
            self._modules[prefix] = (steps, facts)
        return self._modules[prefix]

    # --- for the compiler --------------------------------------------------------------------

    def step(self, uses: str) -> StepSpec | None:
        """The spec of a step type, or None."""
        if uses not in self._specs:
            kind = self._module(uses)[0].get(uses)
            if kind is None:
                return None
            self._specs[uses] = _spec(kind, self._source(uses))
        return self._specs[uses]

    def _source(self, name: str) -> str:
        prefix = name.partition(".")[0]
        if prefix not in self._sources:  # each look parses the distribution's metadata again
            dist = self._points[prefix].dist
            said = f"{dist.name} {dist.version}" if dist is not None else "not installed"
            self._sources[prefix] = said
        return self._sources[prefix]

    def fact(self, name: str) -> FactSpec | None:
        """The spec of a fact, or None."""
        kind = self._module(name)[1].get(name)
        if kind is None:
            return None

        def check(args: Mapping[str, object]) -> FactRef:
            return self.make_fact(name, args).ref

        def value(written: object) -> Json:
            answer: Json = kind.answers.dump_python(
                kind.answers.validate_python(written), mode="json"
            )
            return answer

        return FactSpec(
            name, _title(kind), TypeAdapter(kind).json_schema, check, value, kind.when_fenced
        )

    def steps(self) -> Sequence[str]:
        """Every step type's name."""
        return sorted(uses for prefix in self._points for uses in self._module(prefix)[0])

    def facts(self) -> Sequence[str]:
        """Every fact's name."""
        return sorted(name for prefix in self._points for name in self._module(prefix)[1])

    def code(self, names: Iterable[str]) -> Mapping[str, str]:
        """Package -> `distribution version sha256:…`, of what has these step types and facts."""
        found: dict[str, str] = {}
        for name in names:
            point = self._points.get(name.partition(".")[0])
            if point is not None:
                package = point.module.partition(".")[0]
                found[package] = f"{self._source(name)} sha256:{code_digest(package)}"
        return dict(sorted(found.items()))

    # --- for the executor --------------------------------------------------------------------

    def make_step(self, uses: str, fields: Mapping[str, object]) -> Step:
        """A configured step. Raises AuthorError."""
        kind = self._module(uses)[0].get(uses)
        if kind is None:
            raise AuthorError(f"there is no step type {uses!r} here", hint="install what has it")
        try:
            return _build(kind, fields)
        except ValidationError as error:
            problems = "; ".join(p.message for p in _problems(error))
            raise AuthorError(f"{uses}: {problems}") from error

    def make_fact(self, name: str, args: Mapping[str, object]) -> Fact[Any]:
        """A fact with its arguments. Raises AuthorError."""
        kind = self._module(name)[1].get(name)
        if kind is None:
            raise AuthorError(f"there is no fact {name!r} here", hint="`drrun steps --facts`")
        hints = get_type_hints(kind)
        unknown = [arg for arg in args if arg not in hints]
        if unknown:
            raise AuthorError(f"the fact {name} has no argument {unknown[0]!r}")
        try:
            fact: Fact[Any] = TypeAdapter(kind).validate_python(dict(args))
        except ValidationError as error:
            problems = "; ".join(p.message for p in _problems(error))
            raise AuthorError(f"the fact {name}: {problems}") from error
        return fact


@cache
def code_digest(package: str) -> Digest:
    """The sha256 of every file of an installed package: its code, whatever its version says.

    The same in a wheel and in a checkout. Raises DrrunError when there is no such package.
    """
    spec = find_spec(package)
    if spec is None:
        raise DrrunError(f"the package {package} is not installed")
    roots = [Path(place) for place in spec.submodule_search_locations or ()]
    files = [(p.relative_to(root).as_posix(), p) for root in roots for p in root.rglob("*")]
    if not roots and spec.origin:
        files = [(Path(spec.origin).name, Path(spec.origin))]
    total = hashlib.sha256()
    for name, path in sorted(files):
        if path.is_file() and not _NO_CODE & set(Path(name).parts):
            total.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return Digest(total.hexdigest())


_NO_CODE = {"__pycache__", "_runbooks"}
"""What lies beside code: compiled files, and the runbooks of a wheel, which are sealed as such."""


def _validate(
    prefix: str, steps: Mapping[str, type[Step]], facts: Mapping[str, type[Fact[Any]]]
) -> None:
    """A plugin's mistakes are found when it is loaded, and name the plugin."""
    for name, kind in {**steps, **facts}.items():
        if name != prefix and not name.startswith(f"{prefix}."):
            raise DrrunError(f"the plugin {prefix} has {name!r}, which is not in its name space")
        if not inspect.getdoc(kind):
            raise DrrunError(f"the plugin {prefix}: {name} has no docstring")


def _spec(kind: type[Step], source: str) -> StepSpec:
    base = HostStep if issubclass(kind, HostStep) else GroupStep
    return StepSpec(
        uses=kind.uses,
        kind="host" if base is HostStep else "group",
        effect=kind.effect,
        repeat=kind.repeat,
        title=_title(kind),
        doc=inspect.getdoc(kind) or "",
        describe=lambda: described(kind),
        fields=tuple(kind.model_fields),
        outputs=kind.outputs,
        undoable=kind.undo is not base.undo,  # type: ignore[attr-defined]
        authors_word=kind.authors_word,
        source=source,
        check=lambda fields: _check(kind, fields),
        effects=lambda fields: _effects(kind, fields),
        asks=kind.questions is not Step.questions,
    )


def _title(kind: type) -> str:
    return (inspect.getdoc(kind) or "").splitlines()[0].rstrip(".")


def _holes(fields: Mapping[str, object]) -> set[str]:
    return {name for name, value in fields.items() if _has_hole(value)}


def _has_hole(value: object) -> bool:
    if isinstance(value, NotKnown):
        return True
    if isinstance(value, Mapping):
        return any(_has_hole(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(_has_hole(inner) for inner in value)


def _check(kind: type[Step], fields: Mapping[str, object]) -> tuple[Problem, ...]:
    """Problems of the fields that are known; a hole counts as given, and is taken on trust."""
    holes = _holes(fields)
    try:
        kind(**{name: value for name, value in fields.items() if name not in holes})
    except ValidationError as error:
        found = [p for p in _problems(error) if not p.where or p.where[0] not in holes]
    else:
        found = []
    unknown = sorted(holes - set(kind.model_fields))
    return (
        *found,
        *(Problem((name,), f"{name}: is not a field of this step type") for name in unknown),
    )


def _problems(error: ValidationError) -> tuple[Problem, ...]:
    found = []
    for item in error.errors():
        message = {
            "missing": "is missing",
            "extra_forbidden": "is not a field of this step type",
        }.get(item["type"], item["msg"])
        found.append(Problem(tuple(item["loc"]), f"{'.'.join(map(str, item['loc']))}: {message}"))
    return tuple(found)


def _effects(kind: type[Step], fields: Mapping[str, object]) -> Effects:
    """Transitions and rules of the configured step.

    Raises AuthorError when rules rest on a field that only a run can give: they cannot be proved.
    """
    made = _build(kind, fields)
    holes = _holes(fields)
    cautions: tuple[str, ...] = ()
    transitions: Mapping[str, Json] = {}
    passes: Mapping[str, Json] = {}
    try:
        transitions = {fact.key: _promised(fact, v) for fact, v in made.transitions().items()}
        passes = {fact.key: _promised(fact, v) for fact, v in made.passes().items()}
        cautions = tuple(made.cautions())
    except (NotKnownError, TypeError):  # a hole is no key of a dictionary
        if not holes:
            raise
        cautions = (f"what {kind.uses} brings about is known only when it runs",)
    try:
        rules = tuple(_settled(demand) for demand in made.rules())
        repr(rules)
        [demand.fact.key for demand in rules if isinstance(demand, Rule | Duty)]
    except (NotKnownError, TypeError) as error:
        if not holes:
            raise
        raise AuthorError(
            f"the rules of {kind.uses} rest on a field that only a run can give",
            hint=f"write it out, or take it from inputs: {', '.join(sorted(holes))}",
        ) from error
    return Effects(transitions, passes, rules, cautions, _checkable(made))


def _settled(demand: Demand) -> Demand:
    """A demand whose value may hold holes: equal when their templates are."""
    if not isinstance(demand, Alike):
        return demand
    return replace(demand, value=_plain(demand.value))


def _plain(value: object) -> Json:
    if isinstance(value, NotKnown):
        return {"known_after": value.origin}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value  # type: ignore[return-value]


def _checkable(made: Step) -> bool:
    """What the step says of itself; a check that is not known yet is taken on trust."""
    try:
        return made.checkable()
    except NotKnownError:
        return True


def _promised(fact: Fact[Any], value: object) -> Json:
    """A promised state as JSON; one that is not known yet equals nothing, so it proves nothing."""
    if isinstance(value, NotKnown):
        return {"known_after": value.origin}
    promised: Json = fact.answers.dump_python(value, mode="json")
    return promised


def _build(kind: type[Step], fields: Mapping[str, object]) -> Step:
    """The step, validated; fields that hold a hole are taken on trust. Raises ValidationError."""
    holes = _holes(fields)
    if not holes:
        return kind(**fields)
    values = {
        name: value if name in holes else _validated(kind, name, value)
        for name, value in fields.items()
    }
    return kind.model_construct(_fields_set=None, **values)


def _validated(kind: type[Step], name: str, value: object) -> object:
    field = kind.model_fields[name]
    annotation: Any = (
        Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    )
    return TypeAdapter(annotation).validate_python(value)
