"""A runbook's file to a runbook: every mistake of the file at once, or a model with positions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from drrun.errors import UsageError
from drrun.lang.diagnostics import Diagnostic, Loc, Source, Span, fail
from drrun.lang.references import mistakes
from drrun.lang.tree import MappingNode, Node, locate
from drrun.lang.validate import validate
from drrun.lang.yaml import parse
from drrun.model.runbook import Runbook
from drrun.values import Digest

_FREE = {"with", "is"}
"""Values whose schema belongs to a step type or a fact: an empty one is theirs to judge."""


@dataclass(frozen=True, slots=True)
class LoadedRunbook:
    """A runbook that passed every check of its file, and where each part of it stands."""

    runbook: Runbook
    tree: Node
    path: Path
    digest: Digest
    """sha256 of the file's bytes."""
    source: Source

    def where(self, loc: Loc) -> Span:
        """The place of `loc`, or of its nearest parent that is in the file."""
        return locate(self.tree, loc).value

    def diagnostic(self, loc: Loc, code: str, message: str, hint: str = "") -> Diagnostic:
        """A mistake at `loc`, such as `("steps", 3, "with", "service")`.

        When `loc` is not in the file (a field that is missing), it points at the key of the
        nearest parent that is.
        """
        place = locate(self.tree, loc)
        span = place.value if place.found == len(loc) else place.named
        return self.source.diagnostic(span, code, message, hint)


Further: TypeAlias = Callable[[Node, Source], Iterable[Diagnostic]]
"""What a higher layer has to say of a tree that has mistakes already."""


def load_runbook(
    path: Path, text: str | None = None, *, further: Further = lambda _root, _source: ()
) -> LoadedRunbook:
    """Read and check a runbook; `text` stands in for the file's content.

    Raises AuthorError with every mistake of the file, UsageError when it cannot be read. Knows
    nothing of step types, facts and inventories: those checks are the plan's, which may add
    `further` mistakes to those of a file that never reaches it.
    """
    raw = read_bytes(path) if text is None else text.encode("utf-8", "surrogatepass")
    document = parse(raw, str(path))
    found = list(document.diagnostics)
    if document.root is None:
        fail(found)
    runbook, wrong = validate(
        Runbook, document.root, document.source, takes_empty=lambda loc: bool(_FREE & set(loc))
    )
    found += wrong
    if isinstance(document.root, MappingNode):
        found += mistakes(document.root, document.source)
    if found or runbook is None:
        fail([*found, *further(document.root, document.source)])
    digest = Digest(hashlib.sha256(raw).hexdigest())
    return LoadedRunbook(runbook, document.root, path, digest, document.source)


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises UsageError in the operator's words."""
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise UsageError(f"there is no file {path}") from exc
    except IsADirectoryError as exc:
        raise UsageError(f"{path} is a folder, not a file") from exc
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
