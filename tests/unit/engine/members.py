"""Step types that add and remove members: what such types must carry, over the small world.

The world's keys stand for facts of a real cluster: `dead` names a member that does not answer,
`unsettled` one that was added and has not started yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drrun.spi import (
    Alike,
    Alone,
    Demand,
    Done,
    Duty,
    Effect,
    Fact,
    Flag,
    Host,
    HostStep,
    Repeat,
    Rule,
    State,
    argv,
    step_done,
)
from drrun.testing.steps import Value

ONE_AT_A_TIME = "two changes of membership at once can leave a cluster without a quorum"
REMOVE_FIRST = "adding first makes four members of three, with one dead: none may fail any more"
LEARNER_FIRST = "a living member is removed when its successor has caught up, not before"
ONE_SOURCE = "members made from different snapshots form one cluster with different contents"
SETTLED = "a member that was added and has not started counts against the quorum already"
JOINED = State(Value("joined").ref, "yes")


class _Membership(HostStep):
    effect, repeat = Effect.CHANGE, Repeat.SAFE
    role: str = "members"

    def rules(self) -> Sequence[Demand]:
        return [
            Alone("membership", ONE_AT_A_TIME),
            Rule(Value("unsettled").ref, self.role, "", SETTLED, standing=True),
        ]


class Add(_Membership):
    """Add a member."""

    uses = "member.add"
    learner: Flag = False

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """A member more."""
        return {Value("joined"): "yes"}

    def rules(self) -> Sequence[Demand]:
        """Not while a member is dead."""
        dead = Rule(Value("dead").ref, self.role, "", REMOVE_FIRST, standing=True)
        return [*super().rules(), dead]

    def run(self, host: Host) -> None:
        """Add it."""
        host.change("add", argv("set", "joined", "yes"), sets={Value("joined"): "yes"})


class Promote(_Membership):
    """Make a learner a voter."""

    uses = "member.promote"

    def run(self, host: Host) -> None:
        """Promote it."""
        host.change("promote", argv("set", "learner", "no"), sets={Value("learner"): "no"})


class Remove(_Membership):
    """Remove a member, dead or alive."""

    uses = "member.remove"
    dead: Flag = False

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """A dead one is gone."""
        return {Value("dead"): ""} if self.dead else {}

    def rules(self) -> Sequence[Demand]:
        """A dead one before anybody is added; a living one after its successor was promoted."""
        if not self.dead:
            done = step_done("member.promote")
            return [*super().rules(), Rule(done, "", value=True, because=LEARNER_FIRST)]
        done = step_done("member.remove")
        first = Rule(
            done,
            self.role,
            value=True,
            because=REMOVE_FIRST,
            before=JOINED,
            earlier=True,
            some=True,
        )
        return [*super().rules(), first]

    def run(self, host: Host) -> None:
        """Remove it."""
        host.change("remove", argv("set", "dead", ""), sets={Value("dead"): ""})


class Seed(HostStep):
    """Make a member's data from a snapshot."""

    uses, effect, repeat = "member.seed", Effect.DESTROY, Repeat.SAFE
    snapshot: str
    outputs = ("from_",)

    def rules(self) -> Sequence[Demand]:
        """One snapshot for all; and a member that was seeded is started anew."""
        return [
            Alike("snapshot", self.snapshot, ONE_SOURCE),
            Duty(Value("server").ref, "", "running", "a seeded member is started again", anew=True),
        ]

    def run(self, host: Host) -> Mapping[str, str]:
        """Seed it."""
        host.change("seed", argv("set", "data", self.snapshot))
        return {"from_": self.snapshot}


class Bounce(HostStep):
    """Restart the server."""

    uses, effect, repeat = "member.bounce", Effect.CHANGE, Repeat.SAFE

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """It runs."""
        return {Value("server"): "running"}

    def passes(self) -> Mapping[Fact[Any], Any]:
        """It was stopped for a moment."""
        return {Value("server"): "stopped"}

    def run(self, host: Host) -> None:
        """Restart it."""
        host.change("bounce", argv("set", "server", "running"), sets={Value("server"): "running"})


class Turn(HostStep):
    """Away and back: a member is not healthy for a while."""

    uses, effect, repeat = "member.turn", Effect.CHANGE, Repeat.SAFE

    def run(self, host: Host) -> None:
        """Two changes, and the member is away between them."""
        for name, value in (("leave", "no"), ("return", "yes")):
            sets: dict[Fact[Any], str] = {Value("healthy"): value}
            host.change(name, argv("set", "healthy", value), sets=sets)

    def undo(self, host: Host, done: Done) -> None:
        """Away and back once more."""
        host.change("leave-again", argv("set", "healthy", "no"))
        host.change("return-again", argv("set", "healthy", "yes"))


STEPS = (Add, Promote, Remove, Seed, Bounce, Turn)
FACTS = ()
