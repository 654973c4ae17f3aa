"""Each kind of mistake in a runbook ends with 3, at its place, before any host hears of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
drrun: 1
name: good
title: Good
roles:
  etcd: {min: 1}
steps:
  - id: one
    hosts: etcd
    uses: service.stop
    with: {service: etcd}
  - id: two
    hosts: etcd
    uses: service.start
    with: {service: etcd}
    needs: [one]
"""
MISTAKES = {
    "unknown-key": ("    uses: service.stop\n", "    usse: service.stop\n", "9:5"),
    "unknown-key-of-a-step-type": (
        "with: {service: etcd}\n  - id",
        "with: {sevice: etcd}\n  - id",
        "10:20",
    ),
    "nul-byte": (
        "with: {service: etcd}\n  - id",
        'with: {service: "et\\0cd"}\n  - id',
        "10:24",
    ),
    "wrong-type": ("min: 1", "min: many", "5:15"),
    "cycle": ("    uses: service.stop\n", "    uses: service.stop\n    needs: [two]\n", "10:5"),
    "missing-role": (
        "hosts: etcd\n    uses: service.start",
        "hosts: workers\n    uses: service.start",
        "12:12",
    ),
    "duplicate-id": ("id: two", "id: one", "11:9"),
    "undefined-variable": (
        "service: etcd}\n    needs",
        'service: "{{ inputs.x }}"}\n    needs',
        "14:25",
    ),
}


def _lint(path: Path) -> subprocess.CompletedProcess[str]:
    drrun = Path(sys.executable).with_name("drrun")
    return subprocess.run(
        [drrun, "lint", path], capture_output=True, text=True, check=False, timeout=60
    )


def test_the_runbook_without_a_mistake_passes(tmp_path: Path) -> None:
    """What the others break is whole."""
    path = tmp_path / "good.yaml"
    path.write_text(GOOD)
    done = _lint(path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_found_at_its_place(kind: str, tmp_path: Path) -> None:
    """Exit 3, the file with line and column, and the line itself."""
    right, wrong, place = MISTAKES[kind]
    path = tmp_path / "bad.yaml"
    path.write_text(GOOD.replace(right, wrong, 1))
    assert path.read_text() != GOOD
    done = _lint(path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert f"{path}:{place}" in done.stdout + done.stderr


def test_every_mistake_of_a_file_is_told_in_one_go(tmp_path: Path) -> None:
    """Four mistakes of different kinds, four places, one reading."""
    text = GOOD
    kinds = ("unknown-key", "wrong-type", "duplicate-id", "undefined-variable")
    for kind in kinds:
        right, wrong, _ = MISTAKES[kind]
        text = text.replace(right, wrong, 1)
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    done = _lint(path)
    told = done.stdout + done.stderr
    assert done.returncode == 3, told
    assert [kind for kind in kinds if f"{path}:{MISTAKES[kind][2]}" not in told] == []
