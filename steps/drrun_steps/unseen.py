"""What a raw command changes behind the rules' back: they see step types, not words (hazard H5)."""

from __future__ import annotations

import re
from collections.abc import Iterable

_CHANGES = {
    "etcdctl": r"put|del|txn|compact(?:ion)?|defrag|move-leader|make-mirror|migrate|lease|auth|user|role"
    r"|member\s+(?:add|remove|update|promote)|alarm\s+disarm|snapshot\s+restore",
    "etcdutl": r"defrag|migrate|snapshot\s+restore",
    "kubeadm": r"init|join|reset|upgrade\s+(?:apply|node)|certs\s+renew",
}
_FOUND = {
    tool: re.compile(
        rf"(?:^|[\s/;&|(`\"']){tool}\s(?:[^;&|\n]*?\s)?(?P<verb>{verbs})(?=$|[\s;&|)])"
    )
    for tool, verbs in _CHANGES.items()
}


def unseen(text: str) -> tuple[str, ...]:
    """What a text changes in etcd or Kubernetes by hand, in words; reading alone is nothing."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return tuple(
        f"no rule can see what `{tool} {' '.join(found['verb'].split())}` changes"
        for tool, pattern in _FOUND.items()
        for line in _joined(lines)
        if (found := pattern.search(line))
    )


def _joined(lines: Iterable[str]) -> list[str]:
    """Lines that go on after a backslash, as one."""
    return "\n".join(lines).replace("\\\n", " ").splitlines()
