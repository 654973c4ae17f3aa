"""Keep the journals of this version for ever: `python -m tests.golden.add`, once a release.

    python -m tests.golden.add                        every scene that this version has not kept yet
    python -m tests.golden.add --from FOLDER NAME     a run from elsewhere: its plan and its journal

Rule 1: what is kept is never written again. A scene that is there is left as it is.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drrun import __version__
from drrun.store.folder import OUTPUT, FolderStore

from .keeping import HERE, RUN, Desk, answers, hosts_from_json, hosts_to_json
from .scenes import SAYS, SCENES, Scene, desk_in, elsewhere, gone_on


def main(words: Sequence[str]) -> int:
    """Add what is missing."""
    version = HERE / __version__
    match words:
        case []:
            for scene in SCENES:
                place = version / scene.__name__.replace("_", "-")
                if not place.exists():
                    with tempfile.TemporaryDirectory() as folder:
                        keep(scene, Path(folder), place)
                    print(f"kept {place.relative_to(HERE)}")
        case ["--from", folder, name]:
            place = version / name
            if place.exists():
                print(f"{place} is kept already: what is kept is never written again")
                return 1
            keep_files(Path(folder), place)
            _write(place / "answers.json", answers(FolderStore(place.parent).load(place.name)))
        case _:
            print(__doc__)
            return 2
    return 0


def keep(scene: Scene, folder: Path, place: Path) -> None:
    """Make a scene, and keep its files, its hosts, and what both lead to."""
    desk = desk_in(folder / "made")
    with elsewhere():
        scene(desk)
    stored = desk.app().store.load(RUN)
    keep_files(stored.folder, place)
    hosts = hosts_to_json(desk.world)
    _write(place / "hosts.json", hosts)
    again = Desk(desk.root, hosts_from_json(hosts), desk.stamps, SAYS.get(scene.__name__, ()))
    found = {**answers(stored), "says": list(again.says), "then": gone_on(again)}
    _write(place / "answers.json", found)


def keep_files(folder: Path, place: Path) -> None:
    """The plan, the journal and the outputs."""
    place.mkdir(parents=True)
    for name in ("plan.json", "journal.jsonl"):
        shutil.copyfile(folder / name, place / name)
    shutil.copytree(folder / OUTPUT, place / OUTPUT)


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
