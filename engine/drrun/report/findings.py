"""What lint found, for the programs that show it: annotations of a workflow, and SARIF 2.1.0. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from drrun.lang.diagnostics import Diagnostic
from drrun.values import Json

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def annotation(diagnostic: Diagnostic) -> str:
    """One finding as a command of a GitHub workflow: `::error file=…,line=…::what is wrong`."""
    place = {
        "file": diagnostic.path,
        "line": diagnostic.line,
        "endLine": diagnostic.line,
        "col": diagnostic.column,
        "endColumn": diagnostic.end_column,
        "title": f"drrun: {diagnostic.code}",
    }
    words = ",".join(f"{name}={_property(str(value))}" for name, value in place.items())
    return f"::{diagnostic.severity} {words}::{_data(_told(diagnostic))}"


def sarif(diagnostics: Sequence[Diagnostic], version: str) -> dict[str, Json]:
    """All findings as one SARIF log with one run. Columns count characters, ends are exclusive."""
    codes = sorted({diagnostic.code for diagnostic in diagnostics})
    driver: dict[str, Json] = {
        "name": "drrun",
        "version": version,
        "rules": [{"id": code} for code in codes],
    }
    run: dict[str, Json] = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(diagnostic, codes) for diagnostic in diagnostics],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(diagnostic: Diagnostic, codes: Sequence[str]) -> dict[str, Json]:
    region: dict[str, Json] = {
        "startLine": diagnostic.line,
        "startColumn": diagnostic.column,
        "endLine": diagnostic.line,
        "endColumn": diagnostic.end_column,
    }
    if diagnostic.source_line:
        region["snippet"] = {"text": diagnostic.source_line}
    place: dict[str, Json] = {"artifactLocation": {"uri": _uri(diagnostic.path)}, "region": region}
    return {
        "ruleId": diagnostic.code,
        "ruleIndex": codes.index(diagnostic.code),
        "level": diagnostic.severity,
        "message": {"text": _told(diagnostic)},
        "locations": [{"physicalLocation": place}],
    }


def _told(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.message} ({diagnostic.hint})" if diagnostic.hint else diagnostic.message


def _uri(path: str) -> str:
    """A relative path stays one, so that a viewer finds it in its checkout."""
    return Path(path).as_uri() if Path(path).is_absolute() else quote(Path(path).as_posix())


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
