"""Webhooks that block the way back: told, set aside by name alone, and put back."""

from __future__ import annotations

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Done, DoneChange, Json, NotKnown, Refused, StepFailed
from drrun.testing import FakeHost
from drrun_steps.kube.aggregated import KubeAggregatedLost
from drrun_steps.kube.orphans import KubeOrphans, Orphans
from drrun_steps.kube.webhooks import KubeWebhooks, RestoreWebhooks, Webhook, Webhooks

KIND = "ValidatingWebhookConfiguration"
BLOCKS = Webhook(KIND, "guard", "pods.guard.io", "Fail", "guard/web")
ALIVE = Webhook(KIND, "other", "w.other.io", "Fail", "other/web", ready=True)
ASIDE = Webhook(KIND, "guard", "pods.guard.io", "Ignore", "guard/web")
BACK = Webhook(KIND, "guard", "pods.guard.io", "Ignore", "guard/web", ready=True)


def host(*found: Webhook) -> FakeHost:
    """An API server that has these."""
    return FakeHost(
        "cp1", {KubeWebhooks(): found, KubeAggregatedLost(): (), KubeOrphans(): Orphans()}
    )


def test_a_webhook_whose_service_has_no_endpoint_blocks() -> None:
    """One that is asked by URL is not known to; one that is ignored does not."""
    told = (
        f"{KIND}|guard|pods.guard.io|Fail|guard/web\n{KIND}|other|w.other.io|Fail|other/web\n"
        f"{KIND}|far|w.far.io|Fail|\n{KIND}|soft|w.soft.io|Ignore|soft/web\n== ready\nother/web\n"
    )
    found = KubeWebhooks().parse(said(told))
    assert found[0] == BLOCKS
    assert found[1] == ALIVE
    assert [one.blocks for one in found] == [True, False, False, False]
    assert KubeWebhooks().parse(said("")) == ()
    with pytest.raises(StepFailed, match="tells no webhooks"):
        KubeWebhooks().parse(said("", code=3, err="connection refused"))


def test_an_api_that_nobody_answers_for_is_told() -> None:
    """Aggregated ones alone have a Service; what is not told is an error, not an empty list."""
    told = (
        "v1beta1.metrics.k8s.io|kube-system/metrics\nv1.other.io|other/web\n== ready\nother/web\n"
    )
    lost = KubeAggregatedLost().parse(said(told))
    assert lost == ("v1beta1.metrics.k8s.io (kube-system/metrics)",)
    assert KubeAggregatedLost().parse(said("== ready\n")) == ()
    with pytest.raises(StepFailed, match="tells no APIs"):
        KubeAggregatedLost().parse(said("", code=3, err="connection refused"))
    asked = FakeHost(
        "cp1", {KubeWebhooks(): (), KubeAggregatedLost(): lost, KubeOrphans(): Orphans()}
    )
    assert Webhooks().run(asked) == {"ignored": []}
    assert "nobody answers for the API v1beta1.metrics.k8s.io" in asked.notes[0]


def test_what_blocks_is_told_and_left_as_it_is() -> None:
    """Nobody's admission control is weakened without a word from the operator."""
    quiet = host(BLOCKS, ALIVE)
    assert Webhooks().run(quiet) == {"ignored": []}
    assert quiet.changes == []
    assert len(quiet.notes) == 1
    assert "guard/web has no ready endpoint" in quiet.notes[0]


def test_what_was_named_is_set_aside_and_told() -> None:
    """All of it that refuses, and nothing else; a name that is not there is told as well."""
    named = host(BLOCKS, ALIVE)
    assert Webhooks(ignore=("guard", "gard")).run(named) == {"ignored": [BLOCKS.key]}
    assert named.change_names == ["ignore"]
    assert dict(named.changes[0].command.env)["NAMES"] == "guard gard"
    assert "no webhook configuration 'gard'" in named.notes[0]
    assert "nothing guards there" in named.notes[1]
    ignored = host(ASIDE)
    assert Webhooks(ignore=("guard",)).run(ignored) == {"ignored": []}
    assert ignored.changes == []


def test_before_the_api_server_answers_nothing_is_promised() -> None:
    """A dry-run of a restore: what is there then is known by the run alone."""
    away = FakeHost("cp1", {KubeWebhooks(): NotKnown("the restored cluster's")})
    assert Webhooks().run(away) == {"ignored": []}
    assert "when the API server answers" in away.notes[0]


def test_it_is_put_back_when_somebody_answers_for_it() -> None:
    """Before, it would block the way again: the step stops and says what to do."""
    with pytest.raises(Refused, match="blocks the way back again"):
        RestoreWebhooks(ignored=(BLOCKS.key,)).run(host(ASIDE))
    there = host(BACK)
    RestoreWebhooks(ignored=(BLOCKS.key,)).run(there)
    env = dict(there.changes[0].command.env)
    assert (env["HOOKS"], env["POLICY"], env["NAMES"]) == (BLOCKS.key, "Fail", "")


def test_where_nothing_was_set_aside_nothing_is_asked() -> None:
    """The usual restore."""
    RestoreWebhooks().run(quiet := FakeHost("cp1"))
    assert quiet.asked == []


def test_undo_puts_back_what_was_set_aside() -> None:
    """By what was there before, not by what was named: one that was ignored before stays so."""
    before: Json = [
        {"kind": KIND, "configuration": "guard", "name": "a", "policy": "Fail"},
        {"kind": KIND, "configuration": "guard", "name": "b", "policy": "Ignore"},
        {"kind": KIND, "configuration": "other", "name": "c", "policy": "Fail"},
    ]
    done = Done((DoneChange("ignore", "cp1", {KubeWebhooks().key: before}),), {})
    undone = host(ASIDE)
    Webhooks(ignore=("guard",)).undo(undone, done)
    assert dict(undone.changes[0].command.env)["HOOKS"] == f"{KIND}/guard/a"
    again = host(BACK)
    RestoreWebhooks(ignored=(BACK.key,)).undo(again, Done((DoneChange("put-back", "cp1", {}),), {}))
    assert again.change_names == ["ignore-again"]
