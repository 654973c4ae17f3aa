"""lab.json: what a lab is, so that another process finds it again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Literal, Self

from drrun.errors import LabError
from drrun_lab.layout import LabSpec, Layout

_FILE = "lab.json"
_VERSION = 1
_Stage = Literal["making", "ready"]


@dataclass(frozen=True, slots=True)
class LabRecord:
    """A lab's layout, the read-only layers its hosts are mounted on and their versions.

    `stage` is `ready` once the cluster has answered and a pristine copy of it was kept.
    """

    layout: Layout
    layers: tuple[Path, ...]
    versions: Mapping[str, str]
    images: Path | None = None
    """What containerd of a kubeadm host begins with."""
    stage: _Stage = "making"
    cluster_uid: str = ""

    def ready(self, cluster_uid: str) -> Self:
        """The same lab, bootstrapped."""
        return replace(self, stage="ready", cluster_uid=cluster_uid)

    def write(self, folder: Path) -> None:
        """Keep the record in a lab's folder, whole or not at all."""
        content = {
            "drrun_lab": _VERSION,
            "name": self.layout.name,
            "subnet": str(self.layout.subnet),
            "spec": asdict(self.layout.spec),
            "layers": [str(layer) for layer in self.layers],
            "versions": dict(self.versions),
            "images": str(self.images or ""),
            "stage": self.stage,
            "cluster_uid": self.cluster_uid,
        }
        draft = folder / f".{_FILE}"
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(folder / _FILE)

    @classmethod
    def read(cls, folder: Path) -> LabRecord | None:
        """The record of the lab in `folder`, if there is one. Raises LabError on a damaged one."""
        path = folder / _FILE
        try:
            content = json.loads(path.read_text())
            layout = Layout(
                content["name"], LabSpec(**content["spec"]), IPv4Network(content["subnet"])
            )
            return LabRecord(
                layout,
                tuple(Path(layer) for layer in content["layers"]),
                content["versions"],
                Path(content["images"]) if content.get("images") else None,
                content["stage"],
                content["cluster_uid"],
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as exc:
            raise LabError(f"{path} is not a lab's record: {exc}") from exc


def records(state: Path) -> dict[str, LabRecord]:
    """Every lab on this machine, by name."""
    if not state.is_dir():
        return {}
    found = (
        (folder.name, LabRecord.read(folder))
        for folder in sorted(state.iterdir())
        if folder.is_dir()
    )
    return {name: record for name, record in found if record}
