"""What lint demands of a step whose result could be lost: a fact or a policy that decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from drrun.errors import AuthorError
from drrun.lang.diagnostics import Diagnostic, Source
from drrun.lang.load import load_runbook
from drrun.lang.tree import Node
from drrun.places import stock_runbooks
from drrun.plan.bind import bind_for_lint
from drrun.plan.compile import compile_plan
from drrun.plan.early import early_mistakes
from drrun.registry import Registry
from drrun.values import Effect, Repeat, RunId

from .conftest import HEAD, REGISTRY

STOCK = Registry()
DO = "uses: odd.do, with: {key: k, to: v}"
PROVED = "uses: odd.do, with: {key: k, to: v, proved: true}"
SAFE = "uses: world.safe-set, with: {key: k, to: v}"
SET = "uses: world.set, with: {key: k, to: v}"


def said(step: str, specs: Registry) -> list[Diagnostic]:
    """Every mistake of a runbook with this one step."""
    text = f"{HEAD}steps:\n  - {{id: a, hosts: members, {step}}}\n"
    loaded = load_runbook(Path("test.yaml"), text)
    inventory, binding = bind_for_lint(loaded)
    try:
        compile_plan(loaded, inventory, binding, specs, run=RunId("lint"), versions={})
    except AuthorError as error:
        return [d for d in error.diagnostics if isinstance(d, Diagnostic)]
    return []


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (DO, "unknown-undecided"),
        (f"{DO}, on_unknown: ask", ""),
        (f"{DO}, on_unknown: check", "nothing-to-check"),
        (f"{DO}, on_unknown: rerun", "rerun-unsafe"),
        (f"{DO}, repeat: check", "repeat-looser"),
        (PROVED, ""),
        (f"{PROVED}, on_unknown: check", ""),
        (f"{PROVED}, retries: {{attempts: 2}}", "retries-unsafe"),
        (SET, ""),
        (f"{SET}, repeat: safe", "repeat-looser"),
        (SAFE, ""),
        (f"{SAFE}, retries: {{attempts: 2}}", ""),
        (f"{SAFE}, repeat: never, retries: {{attempts: 2}}", "retries-unsafe"),
        (f"{SAFE}, repeat: never", ""),
        ("uses: world.fail, repeat: never", "unknown-undecided"),
        ("uses: world.fail, repeat: check", "nothing-to-check"),
        ("uses: odd.hang, repeat: safe, retries: {attempts: 2}", ""),
        ("uses: odd.hang, repeat: check", "nothing-to-check"),
        ("uses: odd.hang, repeat: check, with: {key: k}", ""),
        ("uses: world.agree, with: {key: k}, retries: {attempts: 2}", ""),
    ],
)
def test_what_a_step_may_say_of_loss_and_failure(step: str, code: str) -> None:
    """Nothing is left open, nothing is looser than the step type; what only reads is free."""
    assert [d.code for d in said(step, REGISTRY)] == ([code] if code else [])


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ("uses: command, with: {argv: [reboot]}", "unknown-undecided"),
        ("uses: command, with: {argv: [reboot], check: [test, -e, /x]}", ""),
        ("uses: command, with: {argv: [reboot]}, on_unknown: ask", ""),
        ("uses: command, with: {argv: [reboot]}, repeat: safe", ""),
        ("uses: command, with: {argv: [reboot]}, repeat: check", "nothing-to-check"),
        ("uses: script, with: {script: reboot}", "unknown-undecided"),
        ("uses: script, with: {script: reboot, check_script: test -e /x}, repeat: check", ""),
        ("uses: service.restart, with: {service: etcd}", ""),
    ],
)
def test_a_raw_command_says_how_it_is_judged(step: str, code: str) -> None:
    """`check:`, `on_unknown:` or the author's word that it is safe."""
    assert [d.code for d in said(step, STOCK)] == ([code] if code else [])


def test_the_mistake_is_at_its_place_and_says_the_next_move() -> None:
    """It points at `uses:`, and names both ways out."""
    (found,) = said("uses: command, with: {argv: [reboot]}", STOCK)
    assert (found.path, found.line) == ("test.yaml", HEAD.count("\n") + 2)
    assert "nothing decides whether it was done" in found.message
    assert "give `check:`" in found.hint
    assert "on_unknown: ask" in found.hint


def test_a_file_that_is_no_runbook_yet_shows_it_too() -> None:
    """With a mistake of the file's own the policy's is shown in the same go."""
    text = f"{HEAD}rolez: {{}}\nsteps:\n  - {{id: a, hosts: members, {DO}}}\n"

    def further(root: Node, source: Source) -> Iterable[Diagnostic]:
        return early_mistakes(root, source, REGISTRY)

    with pytest.raises(AuthorError) as caught:
        load_runbook(Path("test.yaml"), text, further=further)
    found = {d.code for d in caught.value.diagnostics if isinstance(d, Diagnostic)}
    assert found == {"unknown-key", "unknown-undecided"}


def test_every_stock_step_type_is_judged() -> None:
    """Those that may not simply be repeated are few, and each was thought about here."""
    specs = [spec for name in STOCK.steps() if (spec := STOCK.step(name)) is not None]
    changing = [s for s in specs if s.effect is not Effect.READ and s.repeat is not Repeat.SAFE]
    assert {s.uses for s in changing} == {
        "command",
        "script",
        "service.restart",
        "etcd.restore.install",
        "etcd.member.remove",
        "etcd.member.join",
        "etcd.rolling_restart",
        "etcd.upgrade",
        "kube.etcd_servers",
    }
    assert {s.uses for s in specs if s.authors_word} == {"command", "script"}


@pytest.mark.parametrize("path", sorted(stock_runbooks().glob("*.yaml")), ids=lambda p: p.stem)
def test_stock_runbooks_need_no_person_to_decide(path: Path) -> None:
    """Nothing in them says `on_unknown: ask` or loosens `repeat`: facts decide."""
    loaded = load_runbook(path)
    inventory, binding = bind_for_lint(loaded)
    compile_plan(loaded, inventory, binding, STOCK, run=RunId("lint"), versions={})
    assert not re.search(r"^\s*(on_unknown|repeat):", path.read_text(), re.MULTILINE)


@pytest.mark.parametrize("value", ["{proceed_if: 2}", "continue", "skip"])
def test_hosts_are_never_left_out_by_count(value: str) -> None:
    """Only fenced ones, by name: `proceed_if` and its like are no words of a runbook (hazard H5)."""
    text = f"{HEAD}steps:\n  - {{id: a, hosts: members, {SET}, on_unreachable: {value}}}\n"
    with pytest.raises(AuthorError) as caught:
        load_runbook(Path("test.yaml"), text)
    assert "skip-fenced" in str(caught.value.diagnostics)


def test_a_step_about_something_not_known_yet_is_no_bug() -> None:
    """A service that only `-e` will name: lint passes, and nothing is proved by it."""
    text = HEAD + (
        "inputs: {unit: {required: true}}\n"
        "steps:\n  - {id: a, hosts: members, uses: service.stop, with: {service: '{{ inputs.unit }}'}}\n"
    )
    loaded = load_runbook(Path("test.yaml"), text)
    inventory, binding = bind_for_lint(loaded)
    compiled = compile_plan(loaded, inventory, binding, STOCK, run=RunId("lint"), versions={})
    assert {unit.step for unit in compiled.plan.units} == {"a"}
