"""What a dry-run still knows after a change of which nobody can say what it does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from drrun.execute.forecast import Overlay
from drrun.spi import ANYTHING, Fact
from drrun.values import HostName
from drrun_steps.host import HostListening
from drrun_steps.kube.facts import KubeReady
from drrun_steps.probes import CommandCheck, HttpAnswer
from drrun_steps.service.facts import ServiceState

HERE, THERE = HostName("h1"), HostName("h2")
OPEN: Sequence[Fact[Any]] = (
    CommandCheck(("pg_isready",)),
    HostListening(5432),
    HttpAnswer("http://127.0.0.1/"),
)


@pytest.mark.parametrize("fact", OPEN, ids=lambda fact: str(fact.name))
def test_nobody_knows_what_an_open_question_asks(fact: Fact[Any]) -> None:
    """A service that stops may answer it, on whatever host it is asked: a run will look."""
    overlay = Overlay()
    assert overlay.get(HERE, fact) == (False, None)
    overlay.touch(THERE, ("service:postgresql",), "stop.stop")
    known, value = overlay.get(HERE, fact)
    assert (known, repr(value)) == (True, "<known after stop.stop>")


def test_nobody_knows_what_a_command_does() -> None:
    """Nothing of its host is known after it, nor what the cluster has in common; other hosts are."""
    overlay = Overlay()
    overlay.set(HERE, ServiceState("etcd"), "stopped")
    overlay.touch(HERE, (ANYTHING,), "mend.run")
    assert repr(overlay.get(HERE, ServiceState("etcd"))[1]) == "<known after mend.run>"
    assert overlay.get(THERE, ServiceState("etcd")) == (False, None)
    assert overlay.get(THERE, KubeReady())[0], "an API server rests on all of etcd"


def test_what_a_change_sets_is_known_after_it_and_what_says_its_parts_spares_the_rest() -> None:
    """`check` is true once its command ran; with `touches` said, other services are as they were."""
    overlay, check = Overlay(), CommandCheck(("test", "-e", "/done"))
    overlay.touch(HERE, ("service:postgresql",), "mend.run")
    overlay.set(HERE, check, value=True)
    assert overlay.get(HERE, check) == (True, True)
    assert overlay.get(HERE, ServiceState("etcd")) == (False, None)
    overlay.touch(HERE, ("service:postgresql",), "again.run")
    assert repr(overlay.get(HERE, check)[1]) == "<known after again.run>"
