"""Loading a runbook: every mistake of the file, each at its place, or a model with positions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from drrun.errors import AuthorError, UsageError
from drrun.lang.diagnostics import Diagnostic, render
from drrun.lang.load import load_runbook

GOOD = """\
drrun: 1
name: restore-cluster
title: Restore
objectives: {rto: 15m, rpo: 1h}
inputs:
  snapshot: {type: path, required: true}
  mode: {type: choice, choices: [full, part], default: full}
roles:
  etcd: {min: 3, whole: true}
  control_plane: {}
rules:
  - every: {uses: etcd.restore.install}
    needs_state: {fact: service.state, hosts: control_plane, is: stopped}
    because: a live API server keeps what it has cached
steps:
  - id: stage
    hosts: etcd
    uses: etcd.restore.prepare
    with: {snapshot: "{{ inputs.snapshot }}"}
  - id: stop-api
    hosts: control_plane & !etcd[0]
    uses: service.stop
    needs: [stage, {step: stage, per: host}]
    timeout: 90s
    tags: night
  - id: install
    uses: etcd.restore.install
    when: inputs.mode == 'full'
    requires: [{fact: etcd.snapshot.digest, is: "{{ steps.stage.outputs.digest }}", within: 30s}]
"""

PATH = Path("r.yaml")


def mistakes(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(AuthorError) as caught:
        load_runbook(PATH, text)
    return tuple(one for one in caught.value.diagnostics if isinstance(one, Diagnostic))


def lines(text: str) -> list[str]:
    return [f"{one.path}:{one.line}:{one.column} {one.code}" for one in mistakes(text)]


def test_a_good_runbook_loads() -> None:
    """Text becomes what the schema says: numbers, flags, durations, lists."""
    loaded = load_runbook(PATH, GOOD)
    runbook = loaded.runbook
    assert runbook.objectives.rto == 900
    assert runbook.roles["etcd"].min == 3
    assert runbook.roles["etcd"].whole is True
    assert runbook.steps[1].timeout == 90
    assert runbook.steps[1].tags == ("night",)
    assert runbook.steps[0].needs is None
    assert [need.per for need in runbook.steps[1].needs or ()] == ["all", "host"]
    assert loaded.digest == hashlib.sha256(GOOD.encode()).hexdigest()


def test_places_of_anything() -> None:
    """A path into the runbook gives its line and column; a missing part gives its parent."""
    loaded = load_runbook(PATH, GOOD)
    assert (loaded.where(("steps", 0, "with", "snapshot")).line) == 19
    there = loaded.diagnostic(("steps", 1, "timeout"), "x", "too short")
    missing = loaded.diagnostic(("steps", 0, "with", "service"), "x", "is missing")
    assert (there.line, there.column, there.end_column) == (24, 14, 17)
    assert (missing.line, missing.column, missing.end_column) == (19, 5, 9)
    assert missing.source_line.lstrip().startswith("with:")


@pytest.mark.parametrize(
    ("old", "new", "expected", "says"),
    [
        ("hosts: etcd\n", "hots: etcd\n", "17:5 unknown-key", "did you mean `hosts`?"),
        ("title: Restore", "title:", "3:1 no-value", "`title` has no value"),
        ("title: Restore\n", "", "1:1 missing-field", "`title` is missing"),
        ("    uses: service.stop\n", "", "20:5 missing-field", "`uses` is missing"),
        ("drrun: 1", "drrun: 2", "1:8 not-a-choice", '`drrun` must be 1, not "2"'),
        ("min: 3", "min: three", "9:15 wrong-type", "must be a whole number"),
        ("min: 3", "min: 1_000", "9:15 wrong-type", "must be a whole number"),
        ("min: 3", "min: 3.0", "9:15 wrong-type", "must be a whole number"),
        ("min: 3", "min: [3]", "9:10 wrong-type", "not a list"),
        ("min: 3", "min: -1", "9:15 out-of-range", "must be at least 0"),
        ("min: 3", "min: 3, max: 2", "9:23 out-of-range", "can have no hosts"),
        ("whole: true", "whole: yes", "9:25 wrong-type", "must be true or false"),
        ("whole: true", "whole: no", "9:25 wrong-type", "must be true or false"),
        ("timeout: 90s", "timeout: 90", "24:14 wrong-type", "write 90s, 5m"),
        ("timeout: 90s", "timeout: 22:30", "24:14 wrong-type", "is not a duration"),
        ("timeout: 90s", "timeout: 0s", "24:14 out-of-range", "must be more than 0"),
        ("timeout: 90s", "order: paralel", "24:12 not-a-choice", "did you mean `parallel`?"),
        ("name: restore-cluster", "name: Restore", "2:7 bad-name", "lower-case letters"),
        ("id: stop-api", "id: ..", "20:9 bad-name", "must be a name"),
        ("id: stop-api", "id: stage", "20:9 duplicate-id", "the first is at line 16"),
        ("needs: [stage,", "needs: [stag,", "23:13 unknown-step", "did you mean `stage`?"),
        ("{step: stage,", "{step: stop-api,", "23:27 needs-itself", "needs itself"),
        ("needs: [stage,", "needs: [[stage],", "23:13 wrong-type", "must be a mapping"),
        ("control_plane &", "control-plane &", "21:12 unknown-role", "`control_plane`?"),
        ("etcd[0]", "etd[0]", "21:29 unknown-role", "did you mean `etcd`?"),
        ("etcd[0]", "etcd[0", "21:35 bad-hosts", "`]` is expected before the end"),
        ("etcd[0]", "(etcd", "21:34 bad-hosts", "`)` is expected"),
        ("inputs.snapshot }}", "inputs.snapshto }}", "19:26 unknown-input", "`snapshot`?"),
        ("steps.stage.out", "steps.stge.out", "29:53 unknown-step", "did you mean `stage`?"),
        ("steps.stage.out", "steps.install.out", "29:53 later-step", "has not run yet"),
        ("inputs.mode ==", "input.mode ==", "28:11 undefined-name", "did you mean `inputs`?"),
        ("inputs.mode ==", "inputs.mode =", "28:11 bad-template", "cannot be read"),
        ("inputs.snapshot }}", "inputs.snapshot", "19:22 bad-template", "cannot be read"),
        ("{{ inputs.snapshot }}", "{% raw %}", "19:23 bad-template", "only expressions"),
        ("[full, part]", "[]", "7:24 no-choices", "a choice of nothing"),
        (", choices: [full, part]", "", "7:16 no-choices", "a choice of nothing"),
        ("default: full", "default: ful", "7:56 bad-default", "did you mean `full`?"),
        ("type: path", "type: pth", "6:20 not-a-choice", "did you mean `path`?"),
        ("  snapshot: {", "  snap-shot: {", "6:3 bad-name", "write snap_shot"),
        ("hosts: control_plane,", "hosts: control_plan,", "13:47 unknown-role", "`control_plane`?"),
    ],
)
def test_one_mistake_one_place(old: str, new: str, expected: str, says: str) -> None:
    """Each mistake is found at its line and column and says what to write."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    assert f"r.yaml:{expected}" in lines(text)
    assert says in render(mistakes(text))


def test_every_mistake_at_once() -> None:
    """A file with mistakes of the reader, the schema and the names reports them all."""
    text = (
        GOOD.replace("title: Restore", "title:")
        .replace("rto: 15m", "rto: soon")
        .replace("min: 3", "min: 3, min: 4")
        .replace('"{{ inputs.snapshot }}"}', '"{{ inputs.snapshto }}"}')
        .replace("id: stop-api", "id: stage")
        .replace("timeout: 90s", "timeot: 90s")
        .replace("steps.stage.outputs", "steps.stag.outputs")
    )
    assert lines(text) == [
        "r.yaml:3:1 no-value",
        "r.yaml:4:19 wrong-type",
        "r.yaml:9:18 duplicate-key",
        "r.yaml:19:26 unknown-input",
        "r.yaml:20:9 duplicate-id",
        "r.yaml:23:13 needs-itself",
        "r.yaml:23:27 needs-itself",
        "r.yaml:24:5 unknown-key",
        "r.yaml:29:53 unknown-step",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("hosts: etcd\n", "hosts: etcd1\n"),
        ("hosts: etcd\n", "hosts: cp1 | controller\n"),
        ("hosts: etcd\n", 'hosts: "{{ inputs.snapshot }}"\n'),
        ('with: {snapshot: "{{ inputs.snapshot }}"}', "with: {script: 'x ${#a} {{.ID}} {% x'}"),
        ('with: {snapshot: "{{ inputs.snapshot }}"}', "with: {snapshot: }"),
        (
            "    requires: [",
            "    ensures: [{fact: f, is: '{{ steps.install.outputs.x }}'}]\n    requires: [",
        ),
        ("steps.stage.outputs.digest }}", "steps.stop-api.outputs.digest }}"),
    ],
    ids=["host", "hosts", "template", "script", "free-empty", "own-output", "dashed-id"],
)
def test_what_a_file_alone_cannot_judge_passes(old: str, new: str) -> None:
    """Names of hosts, code and the fields of step types are left to the plan."""
    assert old in GOOD
    load_runbook(PATH, GOOD.replace(old, new, 1))


def test_a_root_that_is_no_mapping() -> None:
    """A list or a word instead of a runbook is one clear mistake."""
    assert lines("- a\n") == ["r.yaml:1:1 wrong-type"]
    assert "the file must be a mapping" in mistakes("hello\n")[0].message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A missing file and a folder are the command line's mistakes, not the author's."""
    with pytest.raises(UsageError, match="there is no file"):
        load_runbook(tmp_path / "nope.yaml")
    with pytest.raises(UsageError, match="is a folder"):
        load_runbook(tmp_path)


def test_diagnostics_as_json() -> None:
    """Machines get the same as people, by stable keys."""
    (one,) = mistakes(GOOD.replace("min: 3", "min: x"))
    assert one.json() == {
        "path": "r.yaml",
        "line": 9,
        "column": 15,
        "end_column": 16,
        "code": "wrong-type",
        "severity": "error",
        "message": '`min` must be a whole number, not "x"',
        "hint": "",
    }
