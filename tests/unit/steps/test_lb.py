"""Load balancers: what haproxy's answers mean, who is taken out, and who is let in again."""

from __future__ import annotations

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Done, DoneChange, Json, Refused, Reply, StepFailed
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.kube.facts import KubeReady, Ready
from drrun_steps.lb.facts import LbAdmitted, LbDrained, LbServers, Server
from drrun_steps.lb.steps import Admit, Drain

ONE, TWO = ("10.0.0.1", "10.0.0.2")
UP = (Server("api/cp1", ONE, "UP"), Server("api/cp2", TWO, "UP", 3))
VIP = KubeReady("/etc/kubernetes/admin.conf", "https://10.0.0.9:6443")
THERE = LbAdmitted(addresses=(ONE, TWO), names=("cp1", "cp2"))


def group(*servers: Server, drained: bool = False) -> FakeGroup:
    """A balancer, and two API servers' hosts."""
    lb = FakeHost("lb", {LbServers(): servers, LbDrained(): drained, THERE: False})
    lb.address = "10.0.0.9"
    hosts = [FakeHost("cp1", {VIP: Ready(ready=True)}), FakeHost("cp2")]
    hosts[0].address, hosts[1].address = ONE, TWO
    return FakeGroup([lb], roles={"control_plane": hosts})


def test_servers_are_told_with_state_and_connections() -> None:
    """As the script prints `show stat` of haproxy 2.6: a state may have blanks, and bars."""
    told = "api/cp1|10.0.0.1|2|UP\napi/cp2|10.0.0.2||MAINT (via x/y)\napi/cp3|fd00::3|0|no check\n"
    found = LbServers().parse(said(told))
    assert [(s.out, s.up, s.connections) for s in found] == [
        (False, True, 2),
        (True, False, 0),
        (False, True, 0),
    ]
    assert LbServers().parse(said("own\n")) == ()


@pytest.mark.parametrize(
    ("told", "drained"),
    [
        ("api/cp1|10.0.0.1|0|MAINT\napi/cp2|10.0.0.2|0|MAINT\n", True),
        ("api/cp1|10.0.0.1|0|MAINT\napi/cp2|10.0.0.2|1|MAINT\n", False),
        ("api/cp1|10.0.0.1|0|MAINT\napi/cp2|10.0.0.2|0|DOWN\n", False),
        ("api/cp1|10.0.0.1|0|DRAIN\n", False),
        ("own 0\n", True),
        ("own 1\n", False),
    ],
)
def test_drained_means_all_out_and_nobody_connected(told: str, drained: bool) -> None:  # noqa: FBT001
    """One that is down comes back by itself; one that drains keeps its clients."""
    assert LbDrained().parse(said(told)) is drained


def test_admitted_means_that_haproxy_finds_these_well() -> None:
    """Those that stay out are not waited for."""
    told = said("api/cp1|10.0.0.1|0|UP\napi/b|10.0.0.2|0|MAINT\n")
    assert LbAdmitted(addresses=(ONE,)).parse(told)
    assert LbAdmitted(names=("cp1",)).parse(told)
    assert not LbAdmitted(addresses=(ONE, TWO)).parse(told)
    assert LbAdmitted(addresses=(ONE, TWO), but=("api/b",)).parse(told)


def test_a_balancer_that_does_not_tell_is_not_an_empty_one() -> None:
    """No socket, no backend of that name: nobody would be drained, and all would look well."""
    with pytest.raises(StepFailed, match="no /run/haproxy"):
        LbDrained().parse(said("", code=4, err="no /run/haproxy/admin.sock here"))
    with pytest.raises(StepFailed, match="no backend kube"):
        LbDrained(backend="kube").parse(said(""))
    with pytest.raises(StepFailed, match="no server at port 6443"):
        LbDrained().parse(said(""))


def test_who_was_out_before_is_told_and_stays_out() -> None:
    """An operator's maintenance is not ended by a restore."""
    balanced = group(UP[0], Server("api/cp2", TWO, "MAINT"))
    assert Drain().run(balanced) == {"out_before": ["lb:api/cp2"]}
    assert balanced["lb"].change_names == ["drain"]
    there = LbAdmitted(addresses=(ONE, TWO), names=("cp1", "cp2"), but=("api/cp2",))
    balanced["lb"].answers[there] = False
    Admit(but=("lb:api/cp2", "other:api/cp1")).run(balanced)
    admit = balanced["lb"].changes[1]
    assert dict(admit.command.env)["BUT"] == "api/cp2"
    assert admit.sets[LbDrained()] is False


def test_a_balancer_that_is_drained_is_left_alone() -> None:
    """Idempotent."""
    balanced = group(Server("api/cp1", ONE, "MAINT"), drained=True)
    Drain().run(balanced)
    assert balanced["lb"].changes == []


def test_an_api_server_that_nobody_listed_is_refused() -> None:
    """It takes clients, and would write back what it has cached (hazard H3); a dead or fenced one stays out."""
    stranger = Server("api/old", "10.0.0.7", "UP")
    with pytest.raises(Refused, match=r"api/old \(10\.0\.0\.7\)"):
        Drain().run(group(*UP, stranger))
    for state in ("DOWN 1/2", "no check"):
        quiet = group(*UP, Server("api/cp3", "10.0.0.3", state))
        Drain().run(quiet)
        assert "stays out" in quiet["lb"].notes[0]


def test_haproxy_may_know_a_host_by_its_name() -> None:
    """Where it reaches API servers at addresses that are not the inventory's."""
    Drain().run(group(Server("api/cp1", "192.168.1.1", "UP")))


def test_undo_lets_in_whom_the_drain_took_out_and_nobody_else() -> None:
    """What was out before stays out, in whatever order."""
    balanced = group(*UP)
    before: Json = [
        {"name": "api/cp1", "address": ONE, "state": "UP", "connections": 0},
        {"name": "api/cp2", "address": TWO, "state": "MAINT", "connections": 0},
    ]
    done = Done((DoneChange("drain", "lb", {LbServers().key: before}),), {})
    Drain().undo(balanced, done)
    env = dict(balanced["lb"].changes[0].command.env)
    assert (env["SERVERS"], env["ADDRESSES"], env["NAMES"]) == ("api/cp1", "", "")
    Drain().undo(untouched := group(*UP), Done((), {}))
    assert untouched["lb"].changes == []


def test_each_balancer_gets_back_what_it_had_and_one_that_fails_keeps_no_other_away() -> None:
    """Two balancers, of which each had another server out; the first one does not answer."""
    first, second = (FakeHost(name, layout="none") for name in ("lb1", "lb2"))
    first.replies["admit"] = Reply(7, b"", b"no socket\n")
    both = FakeGroup([first, second])

    def had(name: str, out: str) -> DoneChange:
        servers: Json = [
            {
                "name": f"api/{cp}",
                "address": ONE,
                "state": "MAINT" if cp == out else "UP",
                "connections": 0,
            }
            for cp in ("cp1", "cp2")
        ]
        return DoneChange("drain", name, {LbServers().key: servers})

    with pytest.raises(StepFailed, match="lb1: admit ended with 7: no socket"):
        Drain().undo(both, Done((had("lb1", "cp1"), had("lb2", "cp2")), {}))
    assert dict(second.changes[0].command.env)["SERVERS"] == "api/cp1"


def test_admitted_is_proved_through_the_balancer() -> None:
    """Its word is not enough: a client's way is gone once (hazard H16)."""
    balanced = group(*UP, drained=True)
    balanced.roles["control_plane"][0].answers[VIP] = Ready(ready=False, why="no route")
    with pytest.raises(Refused, match="load balancer"):
        Admit().run(balanced)
    elsewhere = KubeReady("/etc/kubernetes/admin.conf", "https://vip:6443")
    balanced = group(*UP, drained=True)
    balanced.roles["control_plane"][0].answers[elsewhere] = Ready(ready=True)
    Admit(vip="https://vip:6443").run(balanced)
    assert elsewhere in balanced.roles["control_plane"][0].asked


def test_clients_that_came_in_early_are_told_of() -> None:
    """Its runtime state is forgotten when haproxy is reloaded."""
    balanced = group(*UP)
    balanced["lb"].answers[THERE] = True
    Admit().run(balanced)
    assert "not drained any more" in balanced["lb"].notes[0]
    assert balanced["lb"].changes == []


def test_undoing_an_admission_takes_clients_out_first() -> None:
    """Before the API servers behind it go back."""
    balanced = group(*UP)
    Admit().undo(balanced, Done((DoneChange("admit", "lb", {}),), {}))
    assert balanced["lb"].change_names == ["drain-again"]
