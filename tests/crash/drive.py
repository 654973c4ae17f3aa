"""One controller as a process of its own: starts, resumes or takes over the run, and dies where it is told.

python -m tests.crash.drive start|resume|takeover INVENTORY STATE AT TRACE
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

from drrun.app import App
from drrun.registry import GROUP, Registry
from drrun.store.folder import FolderStore
from drrun.testing.crash import CrashingJournal, CrashingTransport, Points
from drrun.testing.world import Answers
from drrun.transport.routes import Transports

HERE = Path(__file__).parent


def main(verb: str, inventory: str, state: str, at: str, trace: str) -> int:
    """Drive; write the names of the points that were passed."""
    points = Points(int(at))
    app = App(
        Answers(),
        registry=Registry([EntryPoint("crash", "tests.crash.steps", GROUP)]),
        store=FolderStore(Path(state)),
        transport=CrashingTransport(Transports(), points),
        wrap=lambda journal: CrashingJournal(journal, points),
    )
    if verb == "start":
        answers = {"folder": f"/var/tmp/crash/{Path(state).name}", "file": str(HERE / "payload")}
        plan = app.plan(app.load(str(HERE / "twelve.yaml")), Path(inventory), answers)
        finish = app.start(plan)
    elif verb == "takeover":
        finish = app.takeover(None)
    else:
        finish = app.resume(None)
    Path(trace).write_text("\n".join(points.names))
    sys.stderr.write(f"{finish}\n")
    return finish.exit_code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
