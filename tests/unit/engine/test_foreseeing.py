"""What the outage will wait for is asked before it begins: refused, accepted, told, or not asked."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from drrun.journal.events import ChangeIntended, OutageForeseen
from drrun.testing.world import Crash
from drrun.values import HostName

from .conftest import HEAD, Bench, compiled

STEPS = """
- {id: note, hosts: members, uses: world.set, with: {key: note, to: taken}}
- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
- {id: await, hosts: members, uses: odd.await, with: {key: probe, value: "yes"}}
"""
EVERY = ("h1", "h2", "h3")


def bench_of(steps: str = STEPS, said: str = "", server: str = "running", **probes: str) -> Bench:
    """Three hosts with a server, and a probe that says `yes` unless it is told otherwise."""
    bench = Bench(compiled(steps, HEAD, {"accept_answers": said} if said else None))
    for host in EVERY:
        keys = bench.world.of(HostName(host))
        keys["server"], keys["probe"] = server, probes.get(host, "yes")
    return bench


def standings(answers: Any) -> dict[str, str]:
    """Host -> how its answer stands."""
    return {one["host"]: one["standing"] for one in answers}


def sent(bench: Bench) -> set[str]:
    """The steps that sent a change."""
    return {e.unit.partition("@")[0] for e in bench.of(ChangeIntended)}  # type: ignore[union-attr]


def test_a_wrong_answer_refuses_before_the_first_stop() -> None:
    """What takes nothing away was done, nothing was stopped, and the refusal names host, answer and way out."""
    bench = bench_of(h2="probe-port")
    end = bench.drive()
    assert (end.status, end.exit_code) == ("refused", 5)
    assert sent(bench) == {"note"}
    assert "h2: probe-port, must be 'yes'" in end.why
    assert standings(bench.of(OutageForeseen)[0].answers) == {  # type: ignore[union-attr]
        "h1": "good",
        "h2": "bad",
        "h3": "good",
    }


def test_a_dry_run_says_the_same() -> None:
    """The forecast is refused at the step that would stop, with the word that accepts the answer."""
    forecast = bench_of(h2="probe-port").forecast()
    assert [unit.step for unit in forecast.refusals] == ["stop"] * len(forecast.refusals)
    assert forecast.exit_code == 5
    assert "-e accept_answers=await:probe@h2" in forecast.refusals[0].hint


def test_what_a_refusal_prints_lets_the_next_run_through() -> None:
    """The accepted answer is recorded as such; an acceptance of another host does not count."""
    bench = bench_of(said="await:probe@h2", h2="no")
    bench.drive()
    assert "stop" in sent(bench)
    assert standings(bench.of(OutageForeseen)[0].answers)["h2"] == "accepted"  # type: ignore[union-attr]
    assert bench_of(said="await:probe@h1", h2="no").drive().status == "refused"


def test_what_is_down_is_not_asked_and_needs_no_acceptance() -> None:
    """With every server down no answer can refuse: most recoveries begin so."""
    bench = bench_of(server="crashed", h1="no", h2="no", h3="no")
    bench.drive()
    assert "stop" in sent(bench)
    assert set(standings(bench.of(OutageForeseen)[0].answers).values()) == {"down"}  # type: ignore[union-attr]
    forecast = bench_of(server="crashed", h1="no").forecast()
    assert not [unit for unit in forecast.refusals if unit.step == "stop"]


def test_a_step_that_may_fail_does_not_refuse() -> None:
    """Its answer is told: the run goes on when that step fails."""
    steps = STEPS.replace('value: "yes"}}', 'value: "yes"}, on_failure: continue}')
    bench = bench_of(steps, h3="no")
    bench.drive()
    assert "stop" in sent(bench)
    assert standings(bench.of(OutageForeseen)[0].answers)["h3"] == "told"  # type: ignore[union-attr]


def test_once_something_was_taken_away_nothing_refuses() -> None:
    """A controller that dies in the outage, and resumes, is not stopped half-way by an answer."""
    bench = bench_of()
    for fuse in range(10, 200):
        bench = bench_of()
        bench.world.fuse = fuse
        with suppress(Crash):
            bench.drive()
        if "stop" in sent(bench):
            break
    assert {h for h in EVERY if bench.world.of(HostName(h))["server"] == "running"}
    bench.world.fuse = None
    for host in EVERY:
        bench.world.of(HostName(host))["probe"] = "no"
    bench.drive()
    last = bench.of(OutageForeseen)[-1].answers  # type: ignore[union-attr]
    assert set(standings(last).values()) <= {"told", "down"}
    assert all(bench.world.of(HostName(h))["server"] == "stopped" for h in EVERY)


def test_an_answer_that_makes_no_sense_is_a_wrong_one() -> None:
    """A question that cannot be asked while its source says that all is well refuses, with the reason."""
    bench = bench_of(STEPS.replace("odd.await", "odd.await-number"), h2="not a number")
    end = bench.drive()
    assert end.status == "refused"
    assert "cannot be read" in end.why
    assert sent(bench) == {"note"}


def test_a_run_that_takes_nothing_away_is_not_asked() -> None:
    """A backup is not refused for what no outage of it will wait for."""
    bench = bench_of(STEPS.replace("to: stopped", "to: here"), h1="no")
    bench.drive()
    assert bench.of(OutageForeseen) == []
