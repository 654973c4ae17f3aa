"""Who else writes is paused by name, held, and let go on as it was (hazard H9, pitfall 43)."""

from __future__ import annotations

import pytest

from drrun.spi import Done, DoneChange, Refused, Reply, StepFailed
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.service.facts import ServiceHeld, ServiceReady, ServiceState, ServiceSteady
from drrun_steps.service.pause import Pause, Resume

STATE, HELD, READY = ServiceState("puppet"), ServiceHeld("puppet"), ServiceReady("puppet")
STEADY = ServiceSteady("puppet")


def _group(cp1: str = "running", git: str = "missing", *, held: bool = False) -> FakeGroup:
    """Two hosts and what each says of puppet."""
    hosts = [
        FakeHost(name, {STATE: state, HELD: held and state != "missing", READY: True, STEADY: True})
        for name, state in (("cp1", cp1), ("git", git))
    ]
    return FakeGroup(hosts)


def _pause(*names: str) -> Pause:
    return Pause(services=names)


def test_one_that_runs_is_held_and_stopped_where_it_is() -> None:
    """The hold first: configuration management starts again what only stops."""
    group = _group()
    assert _pause("puppet").run(group) == {"paused": {"cp1": ["puppet"]}}
    assert group["cp1"].change_names == ["hold-puppet", "stop-puppet"]
    assert group["git"].changes == []


def test_nobody_named_pauses_nobody_and_is_said() -> None:
    """A run without an answer goes on, and nobody may think that it was looked after."""
    group = _group()
    assert _pause().run(group) == {"paused": {}}
    assert "nobody said who else writes" in group.notes[0]
    assert "-e writers=none" in group.notes[0]


def test_none_is_an_answer() -> None:
    """Another note, and nothing is asked of any host."""
    group = _group()
    assert _pause("none").run(group) == {"paused": {}}
    assert group.notes == ["no other writers, as said"]
    assert not [host for host in group.hosts if host.asked]


def test_a_name_that_no_host_has_is_refused_before_anything_is_paused() -> None:
    """A slip of the pen would pause nobody; all names are looked up first."""
    group = _group()
    for host in group.hosts:
        host.answers[ServiceState("pupet")] = "missing"
    with pytest.raises(Refused, match=r"none of cp1, git has pupet\.service"):
        _pause("puppet", "pupet").run(group)
    assert not [host for host in group.hosts if host.changes]


def test_one_that_does_not_run_is_left_alone() -> None:
    """Else it would be started at the end, though it never ran."""
    group = _group("stopped")
    assert _pause("puppet").run(group) == {"paused": {}}
    assert group["cp1"].changes == []
    assert "does not run" in group["cp1"].notes[0]


def test_one_that_an_attempt_before_has_paused_goes_on_at_the_end() -> None:
    """Held and stopped: only drrun holds."""
    group = _group("stopped", held=True)
    assert _pause("puppet").run(group) == {"paused": {"cp1": ["puppet"]}}
    assert group["cp1"].changes == []


def test_the_undo_lets_go_on_what_the_step_paused_and_nothing_else() -> None:
    """A hold of before stays."""
    group = _group("stopped", held=True)
    done = Done((DoneChange("stop-puppet", "cp1", {}),), {})
    _pause("puppet").undo(group, done)
    assert group["cp1"].change_names == ["start-puppet"]
    both = Done((DoneChange("hold-puppet", "git", {}), DoneChange("stop-puppet", "git", {})), {})
    _pause("puppet").undo(group, both)
    assert group["git"].change_names == ["lift-puppet", "start-puppet"]


def test_one_that_does_not_come_back_keeps_no_other_paused() -> None:
    """Every unit of every host is let go on; the one that is not is named."""
    group = _group("stopped", held=True)
    changes = [
        DoneChange(f"{verb}-puppet", host.name, {})
        for host in group.hosts
        for verb in ("hold", "stop")
    ]
    group["cp1"].replies["start-puppet"] = Reply(1, b"", b"no such program\n")
    with pytest.raises(StepFailed, match=r"^cp1: start-puppet ended with 1: no such program$"):
        _pause("puppet").undo(group, Done(tuple(changes), {}))
    assert group["git"].change_names == ["lift-puppet", "start-puppet"]


def test_all_clear_starts_what_was_paused_where_it_was() -> None:
    """The hold is lifted first, or the start would fail; its undo pauses again."""
    group = _group("stopped", held=True)
    resume = Resume(paused={"cp1": ["puppet"]})
    resume.run(group)
    assert group["cp1"].change_names == ["lift-puppet", "start-puppet"]
    assert group["git"].changes == []
    done = Done((DoneChange("lift-puppet", "cp1", {}), DoneChange("start-puppet", "cp1", {})), {})
    resume.undo(group, done)
    assert group["cp1"].change_names[2:] == ["hold-puppet", "stop-puppet"]
    Resume(paused={}).run(group)
