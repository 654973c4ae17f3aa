"""Sealed plans at the command line: what refuses one, what may move, and that it is applied once."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from drrun.execute.sealed import decode
from drrun.values import HostName

from .conftest import Desk, Said

RUNBOOK = """\
drrun: 1
name: swap
title: Wipe and restore one cluster
inputs:
  snapshot: {type: path, required: true}
  to: {type: string, default: restored}
roles:
  members: {min: 1, whole: true}
steps:
  - id: which
    title: Ask which cluster this is
    hosts: members
    uses: world.agree
    with: {key: cluster}
  - id: mode
    title: Prove that all are in the same mode
    hosts: members
    uses: world.agree
    with: {key: mode}
  - id: stop
    hosts: members
    uses: world.set
    with: {key: server, to: stopped}
  - id: wipe
    hosts: members
    uses: world.wipe
    with: {key: data, to: "{{ inputs.to }}"}
  - id: start
    hosts: members
    uses: world.set
    with: {key: server, to: "{{ vars.level }}"}
"""
INVENTORY = """\
drrun_inventory: 1
name: test
vars: {level: running, password: hunter2}
hosts:
  h[1-3]:
groups:
  members: [h1, h2, h3]
"""
HOSTS = [HostName(name) for name in ("h1", "h2", "h3")]


@pytest.fixture(name="sealed")
def _sealed(desk: Desk) -> Desk:
    """A desk on which a plan was sealed into plan.drrun."""
    desk.write("swap.yaml", RUNBOOK)
    desk.write("inventory.yaml", INVENTORY)
    desk.write("snapshot.db", "a snapshot")
    for host in HOSTS:
        desk.world.of(host).update(cluster="c1", mode="calm")
    assert seal(desk).code == 0
    return desk


def seal(desk: Desk) -> Said:
    """Seal the plan."""
    return desk("swap.yaml", "-e", "snapshot=snapshot.db", "--dry-run", "--out", "plan.drrun")


def edit(desk: Desk, name: str, old: str, new: str) -> None:
    """Put `new` for `old` in a file."""
    text = (desk.folder / name).read_text()
    assert old in text
    desk.write(name, text.replace(old, new))


def runs(desk: Desk) -> list[str]:
    """The runs of the desk."""
    state = desk.folder / "state"
    return sorted(path.name for path in state.iterdir()) if state.is_dir() else []


# -- what refuses -----------------------------------------------------------------------------


def _runbook(desk: Desk) -> None:
    edit(desk, "swap.yaml", "key: data, to", "key: store, to")


def _comment(desk: Desk) -> None:
    edit(desk, "swap.yaml", "drrun: 1", "# nothing else\ndrrun: 1")


def _broken(desk: Desk) -> None:
    edit(desk, "swap.yaml", "uses: world.wipe", "uses: world.wipes")


def _host(desk: Desk) -> None:
    edit(desk, "inventory.yaml", "h[1-3]:", "h[1-4]:")


def _member(desk: Desk) -> None:
    edit(desk, "inventory.yaml", "h[1-3]:", "h[1-4]:")
    edit(desk, "inventory.yaml", "[h1, h2, h3]", "[h1, h2, h3, h4]")
    desk.world.of(HostName("h4")).update(cluster="c1", mode="calm", server="running")


def _var(desk: Desk) -> None:
    edit(desk, "inventory.yaml", "hunter2", "hunter3")


def _used_var(desk: Desk) -> None:
    edit(desk, "inventory.yaml", "level: running", "level: up")


def _address(desk: Desk) -> None:
    edit(desk, "inventory.yaml", "h[1-3]:", "h[1-2]:\n  h3: {address: elsewhere}")


def _host_key(desk: Desk) -> None:
    desk.world.keys[HostName("h2")] = "SHA256:another"


def _snapshot(desk: Desk) -> None:
    desk.write("snapshot.db", "another snapshot")


def _identity(desk: Desk) -> None:
    for host in HOSTS:
        desk.world.of(host)["cluster"] = "c2"


def _guard(desk: Desk) -> None:
    desk.world.of(HostName("h3"))["mode"] = "wild"


REASONS: dict[str, tuple[Callable[[Desk], None], tuple[str, ...]]] = {
    "runbook": (_runbook, ("swap.yaml was edited", "step wipe on h[1-3], with.key: data → store")),
    "comment": (_comment, ("swap.yaml was edited",)),
    "broken-runbook": (_broken, ("swap.yaml was edited, and makes no plan any more",)),
    "host-added": (_host, ("inventory: the host h4 was added",)),
    "member-added": (_member, ("the host h4 was added", "the group members changed", "+h4")),
    "var": (_var, ("inventory: the var password changed",)),
    "used-var": (_used_var, ("inventory: the var level changed",)),
    "address": (_address, ("inventory: address of h3 changed", "h3 → elsewhere")),
    "host-key": (_host_key, ("the host key of h2 changed", "→ SHA256:another")),
    "snapshot": (_snapshot, ("the file of the input snapshot changed", "snapshot.db")),
    "identity": (_identity, ("world.value(key_=cluster) of h1 is another one", "c1 → c2")),
    "guard": (_guard, ("mode would be refused now", "h3", "they must agree")),
}


@pytest.mark.parametrize(("move", "words"), REASONS.values(), ids=REASONS)
def test_what_moved_refuses_the_plan_and_is_named(
    sealed: Desk, move: Callable[[Desk], None], words: tuple[str, ...]
) -> None:
    """Exit 5, the thing named, no host changed, no run made; put back, the plan holds again."""
    before = {name: (sealed.folder / name).read_text() for name in ("swap.yaml", "inventory.yaml")}
    kept = {host: dict(sealed.world.of(host)) for host in HOSTS}
    move(sealed)
    refused = sealed("apply", "plan.drrun", "--yes")
    assert refused.code == 5, refused
    assert [word for word in words if word not in refused.err] == []
    assert "seal a new plan" in refused.err
    assert "hunter" not in refused.err
    assert not sealed.world.effects
    assert runs(sealed) == []
    for name, text in before.items():
        sealed.write(name, text)
    sealed.write("snapshot.db", "a snapshot")
    sealed.world.keys.clear()
    for host in HOSTS:
        sealed.world.of(host).update(kept[host])
    assert sealed("apply", "plan.drrun", "--yes").code == 0


def test_each_finding_is_there_for_programs(sealed: Desk) -> None:
    """--output json: kind, exit code, and one text for each thing that moved."""
    _host(sealed)
    _host_key(sealed)
    said = sealed("apply", "plan.drrun", "--yes", "--output", "json")
    record = json.loads(said.out.splitlines()[-1])
    assert (record["kind"], record["exit_code"]) == ("Stale", 5)
    assert [text.split(":")[0] for text in record["findings"]] == ["inventory", "host-key"]


# -- what may move ----------------------------------------------------------------------------


def test_a_fact_that_merely_moved_is_told_and_the_run_goes_on(sealed: Desk) -> None:
    """Other data on one host: the plan holds, says what moved, and is applied."""
    sealed.world.of(HostName("h2"))["data"] = "newer"
    said = sealed("apply", "plan.drrun", "--yes")
    assert said.code == 0
    assert "moved  1 thing" in said.err
    assert "world.value(key_=data) of h2: old → newer" in said.err
    assert "9 of 9 changes as sealed" in said.out


def test_a_change_that_is_not_needed_any_more_is_told(sealed: Desk) -> None:
    """A server that somebody stopped since: one change fewer, named before and after."""
    sealed.world.of(HostName("h2"))["server"] = "stopped"
    said = sealed("apply", "plan.drrun", "--yes")
    assert said.code == 0
    assert "stop@h2: set on h2 is not needed any more" in said.err
    assert "8 of 9 changes as sealed" in said.out
    assert "not made: stop@h2: set on h2" in said.out


def test_a_change_that_nobody_saw_refuses(desk: Desk) -> None:
    """A server that was stopped when the plan was sealed, and runs: its stop was never reviewed."""
    desk.world.of(HostName("h2"))["server"] = "stopped"
    assert desk("demo.yaml", "--dry-run", "--out", "plan.drrun").code == 0
    desk.world.of(HostName("h2"))["server"] = "running"
    refused = desk("apply", "plan.drrun", "--yes")
    assert refused.code == 5
    assert "stop@h2: set on h2 would be made as well now: set server stopped" in refused.err
    assert not desk.world.effects


def test_nothing_moved_is_said(sealed: Desk) -> None:
    """`apply --dry-run` compares and changes nothing; the plan can still be applied."""
    said = sealed("apply", "plan.drrun", "--dry-run")
    assert said.code == 0
    assert "moved  nothing that was read when this was sealed" in said.out
    assert not sealed.world.effects
    assert sealed("apply", "plan.drrun", "--yes").code == 0


# -- once -------------------------------------------------------------------------------------


def test_a_plan_is_applied_once(sealed: Desk) -> None:
    """The second time is refused, names the run, and no effect is doubled."""
    assert sealed("apply", "plan.drrun", "--yes").code == 0
    effects = dict(sealed.world.effects)
    run = decode((sealed.folder / "plan.drrun").read_bytes(), "plan").run
    again = sealed("apply", "plan.drrun", "--yes")
    assert again.code == 5
    assert f"it is the run {run}" in again.err
    assert dict(sealed.world.effects) == effects
    assert runs(sealed) == [run]


def test_the_run_is_the_one_that_was_sealed(sealed: Desk) -> None:
    """The plan's run id is the run's; the journal begins with the seal; the file lies beside it."""
    said = sealed("apply", "plan.drrun", "--yes", "--output", "json")
    content = (sealed.folder / "plan.drrun").read_bytes()
    plan = decode(content, "plan")
    started = next(
        record
        for record in map(json.loads, said.out.splitlines())
        if record["type"] == "run.started"
    )
    assert (started["run"], started["body"]["sealed"]) == (plan.run, plan.digest)
    assert (sealed.folder / "state" / plan.run / "sealed.drrun").read_bytes() == content
    report = json.loads(sealed("report", plan.run, "--format", "json").out)
    assert report["sealed"] == {
        "digest": plan.digest,
        "changes": 9,
        "as_sealed": 9,
        "not_reached": 0,
        "deviations": [],
    }


def test_a_plan_that_was_applied_elsewhere_is_void_here(sealed: Desk) -> None:
    """The hosts know the run: another controller's. Exit 5, nothing is done twice, no resume."""
    run = decode((sealed.folder / "plan.drrun").read_bytes(), "plan").run
    sealed.world.fences[(HostName("h1"), run, 1)] = "somebody@bastion:7"
    refused = sealed("apply", "plan.drrun", "--yes")
    assert refused.code == 5
    assert "applied already, by another controller" in refused.err
    assert "somebody@bastion:7" in refused.err
    assert not sealed.world.effects
    assert sealed("resume", run).code == 2
    assert sealed("takeover", run).code == 2
    assert not sealed.world.effects


def test_what_destroys_still_needs_a_word(sealed: Desk) -> None:
    """A plan is no consent: without --yes or --confirm nothing starts, and the plan is not used up."""
    refused = sealed("apply", "plan.drrun")
    assert refused.code == 5
    assert "--confirm test" in refused.err
    assert sealed("apply", "plan.drrun", "--confirm", "test").code == 0


# -- sealing ----------------------------------------------------------------------------------


def test_the_file_is_its_owner_s_alone_and_holds_no_var(sealed: Desk) -> None:
    """Mode 0600, no part of it left beside it; the value of a var that no step uses is not in it."""
    path = sealed.folder / "plan.drrun"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in sealed.folder.iterdir() if "part" in p.name] == []
    assert b"hunter2" not in path.read_bytes()
    assert b"password" in path.read_bytes()


def test_a_run_that_would_be_refused_is_not_sealed(desk: Desk) -> None:
    """Exit 5, and no file."""
    for host in HOSTS:
        desk.world.of(host)["server"] = host
    desk.write(
        "no.yaml",
        (desk.folder / "demo.yaml").read_text().replace("steps:\n", _AGREE_FIRST, 1),
    )
    said = desk("no.yaml", "--dry-run", "--out", "plan.drrun")
    assert said.code == 5
    assert "plan.drrun was not written" in said.err
    assert not (desk.folder / "plan.drrun").exists()


_AGREE_FIRST = """steps:
  - id: first
    hosts: members
    uses: world.agree
    with: {key: server}
"""


def test_offline_is_not_sealed(desk: Desk) -> None:
    """A plan that asked no host says nothing to hold on to: exit 2."""
    said = desk("demo.yaml", "--dry-run", "--offline", "--out", "plan.drrun")
    assert said.code == 2
    assert not (desk.folder / "plan.drrun").exists()


def test_out_belongs_to_a_dry_run(desk: Desk) -> None:
    """--out without --dry-run runs nothing: exit 2."""
    assert desk("demo.yaml", "--yes", "--out", "plan.drrun").code == 2
    assert not desk.world.effects


def test_only_a_plan_is_overwritten(sealed: Desk) -> None:
    """A new plan replaces the old one; a file that is none is left as it is."""
    old = (sealed.folder / "plan.drrun").read_bytes()
    assert seal(sealed).code == 0
    assert (sealed.folder / "plan.drrun").read_bytes() != old
    words = ("swap.yaml", "-e", "snapshot=snapshot.db", "-n", "--out")
    assert sealed(*words, "inventory.yaml").code == 2
    assert (sealed.folder / "inventory.yaml").read_text() == INVENTORY


def test_a_plan_that_lies_elsewhere_is_found_by_its_options(sealed: Desk, tmp_path: Path) -> None:
    """--runbook and -i say where they lie now; what counts is what is in them."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("swap.yaml", "inventory.yaml"):
        (sealed.folder / name).rename(moved / name)
    assert sealed("apply", "plan.drrun", "--yes").code == 2
    where = ("--runbook", str(moved / "swap.yaml"), "-i", str(moved / "inventory.yaml"))
    assert sealed("apply", "plan.drrun", "--yes", *where).code == 0


def test_a_narrowed_plan_is_applied_narrowed(desk: Desk) -> None:
    """--limit and role.ROLE=GROUP are part of what was asked, and are asked again."""
    desk.write(
        "inventory.yaml",
        "drrun_inventory: 1\nname: test\nhosts: {'h[1-3]': {}}\ngroups: {all: [h1, h2, h3]}\n",
    )
    desk.write(
        "demo.yaml", (desk.folder / "demo.yaml").read_text().replace("world.wipe", "world.set")
    )
    words = ("-e", "role.members=all", "--limit", "h2", "-n", "--out", "plan.drrun")
    assert desk("demo.yaml", *words).code == 0
    assert desk("apply", "plan.drrun").code == 0
    assert {host for host, _, _ in desk.world.effects} == {"h2"}


# -- reading ----------------------------------------------------------------------------------


def test_a_review_shows_what_will_be_done_and_what_it_rests_on(sealed: Desk) -> None:
    """The dry-run's list, the pinned things, the guards, every command in full, the promise."""
    said = sealed("plan", "show", "plan.drrun", "--verbose")
    assert said.code == 0
    for words in (
        "! 4  wipe",
        "h[1-3]  set: set data restored",
        "fact           h1 world.value(key_=cluster)",
        "15 guards evaluated again",
        "9 other facts may move",
        'wipe@h1: world.value(key_=server) of h2 must be "stopped"',
        "  wipe@h3: set on h3\n    set data restored",
        "Given unchanged facts and successful steps",
        "It does not prove that a restore will",
    ):
        assert words in said.out, words
    assert not sealed.world.effects


def test_a_review_for_programs(sealed: Desk) -> None:
    """--output json: the forecast, digest, run and pinned facts as one document."""
    document = json.loads(sealed("plan", "show", "plan.drrun", "--output", "json").out)
    assert document["type"] == "plan"
    assert {fact["value"] for fact in document["pinned"]} == {"c1"}
    assert len(document["units"]) == 11


def test_what_is_no_plan_is_usage(desk: Desk) -> None:
    """A runbook, or nothing at all, in a plan's place: exit 2 with the way to make one."""
    assert "--out FILE" in desk("apply", "demo.yaml").err
    assert desk("apply", "demo.yaml").code == 2
    assert desk("apply", "none.drrun").code == 2
