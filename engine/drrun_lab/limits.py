"""Kernel limits that booted hosts share with this machine.

All hosts run as this machine's root, so that root's allowance of inotify instances (128 on Debian)
is shared by every systemd, udevd and journald of every lab. The host that finds none left dies in
its first second with "Too many open files".
"""

from __future__ import annotations

from pathlib import Path

from drrun.errors import LabError
from drrun_lab.progress import Progress

_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
_ENOUGH = 1024
"""A host takes about five."""


def make_room(progress: Progress) -> None:
    """Raise the limit until this machine's next boot, and say so. Raises LabError when it cannot."""
    if int(_INSTANCES.read_text()) >= _ENOUGH:
        return
    try:
        _INSTANCES.write_text(str(_ENOUGH))
    except OSError as exc:
        raise LabError(
            f"{_INSTANCES} cannot be raised to {_ENOUGH}: {exc.strerror}",
            hint=f"sysctl -w fs.inotify.max_user_instances={_ENOUGH} where this machine's root is",
        ) from exc
    progress.say(f"raised fs.inotify.max_user_instances to {_ENOUGH}, until the next boot")
