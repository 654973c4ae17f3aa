"""What was recorded beside a snapshot when it was taken: read here, believed only of that very file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from drrun.spi import Look


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a snapshot. `sha256` is empty where there is none."""

    sha256: str = ""
    """Of the file that it is the manifest of."""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """From kube.keys, when the snapshot was taken."""
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """From kube.outlook, when the snapshot was taken: host -> question -> what it said."""


@dataclass(frozen=True, slots=True)
class SnapshotManifest(Look[Manifest]):
    """The manifest beside a snapshot on the controller: the same name with .json."""

    name: ClassVar[str] = "kube.snapshot.manifest"
    path: str

    def about(self) -> tuple[str, ...]:
        """The file, which comes with the snapshot."""
        return (f"@file:{self.path}",)

    def look(self) -> Manifest:
        """No manifest is an answer. Raises ValueError where what lies there is none of drrun's."""
        path = Path(f"{Path(self.path).expanduser()}.json")
        if not path.is_file():
            return Manifest()
        said = json.loads(path.read_text(encoding="utf-8"))
        try:
            recorded, answers = said.get("keys") or {}, said.get("answers") or {}
            return Manifest(
                str(said["sha256"]),
                {str(name): str(sum_) for name, sum_ in recorded.items()},
                {
                    str(host): {str(k): str(v) for k, v in of.items()}
                    for host, of in answers.items()
                },
            )
        except (LookupError, AttributeError, TypeError) as error:
            raise ValueError(f"{path} is no manifest of drrun's: {error!r}") from error
