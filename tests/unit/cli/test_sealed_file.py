"""The file of a sealed plan: damage, forgery, secrets, races, and what a run made of it."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drrun.app import App
from drrun.errors import DrrunError, PlanDamaged, Refused, UsageError
from drrun.execute.sealed import FORMAT, Sealed, decode
from drrun.report.promise import promise
from drrun.report.story import Story
from drrun.sealing import asked, review, seal
from drrun.store.plan_file import read_plan, write_plan
from drrun.testing.world import Answers
from drrun.values import Command, HostName, Json, Secret, canonical, digest

from .conftest import Desk


@pytest.fixture(name="app")
def _app(desk: Desk) -> App:
    """The engine of the desk."""
    return desk.make(Answers())


@pytest.fixture(name="sealed")
def _sealed(desk: Desk, app: App) -> Sealed:
    """The plan of the desk's runbook, sealed into plan.drrun."""
    where = desk.folder / "inventory.yaml"
    plan = app.plan(app.load("demo.yaml"), where, {})
    question = asked(plan, "demo.yaml", where, {}, ())
    return write_plan(seal(app, app.forecast(plan), question), desk.folder / "plan.drrun")


def resealed(sealed: Sealed) -> Sealed:
    """What a forger makes: other content, and a seal that fits it."""
    return decode(sealed.text(), "forged")


# -- reading ----------------------------------------------------------------------------------


def test_a_plan_comes_back_as_it_was_written(desk: Desk, sealed: Sealed) -> None:
    """Reading gives the very plan, and writing it again the very bytes."""
    path = desk.folder / "plan.drrun"
    again = read_plan(path)
    assert again == sealed
    assert again.text() == path.read_bytes()
    assert again.digest == json.loads(path.read_bytes().splitlines()[-1])["sha256"]


def test_one_changed_character_anywhere_is_found(sealed: Sealed) -> None:
    """In each line, the first, the middle and the last character: never read as a plan."""
    content = sealed.text()
    starts = [0, *(n + 1 for n, byte in enumerate(content) if byte == 0x0A)][:-1]
    ends = [*starts[1:], len(content)]
    places = {p for s, e in zip(starts, ends, strict=True) for p in (s, (s + e) // 2, e - 2, e - 1)}
    for place in sorted(places):
        changed = bytearray(content)
        changed[place] ^= 1
        with pytest.raises((PlanDamaged, UsageError, Refused)):
            decode(bytes(changed), "plan")


def test_a_plan_that_was_cut_short_is_found(sealed: Sealed) -> None:
    """At every line and in the middle of it; also with something put behind the seal."""
    lines = sealed.text().splitlines(keepends=True)
    for count in range(1, len(lines)):
        with pytest.raises(PlanDamaged):
            decode(b"".join(lines[:count]), "plan")
    for content in (sealed.text()[:-1], sealed.text() + b"{}\n", sealed.text() + b"\n"):
        with pytest.raises(PlanDamaged):
            decode(content, "plan")
    with pytest.raises(UsageError):
        decode(b"", "plan")


def test_lines_in_another_order_are_found(sealed: Sealed) -> None:
    """The seal covers the order, too."""
    lines = sealed.text().splitlines(keepends=True)
    lines[5], lines[6] = lines[6], lines[5]
    with pytest.raises(PlanDamaged):
        decode(b"".join(lines), "plan")


def _with_seal(records: list[Mapping[str, Json]]) -> bytes:
    import hashlib

    body = b"".join(canonical(record) + b"\n" for record in records)
    return body + canonical({"type": "seal", "sha256": hashlib.sha256(body).hexdigest()}) + b"\n"


def test_a_newer_format_says_so(sealed: Sealed) -> None:
    """Refused, naming both formats."""
    head, *rest = [json.loads(line) for line in sealed.text().splitlines()[:-1]]
    with pytest.raises(Refused, match=f"format {FORMAT + 1}"):
        decode(_with_seal([{**head, "format": FORMAT + 1}, *rest]), "plan")


def test_a_sealed_file_that_is_no_plan_is_damage(sealed: Sealed) -> None:
    """A seal that fits does not make sense of nonsense: no traceback, a kind of its own."""
    head, *rest = [json.loads(line) for line in sealed.text().splitlines()[:-1]]
    for records in (
        [head],
        [head, *rest[:3]],
        [head, *reversed(rest)],
        [head, *rest, {"type": "unit"}],
    ):
        with pytest.raises(PlanDamaged):
            decode(_with_seal(records), "plan")


# -- forgery ----------------------------------------------------------------------------------


def test_a_forged_command_refuses_and_is_never_sent(desk: Desk, app: App, sealed: Sealed) -> None:
    """Who puts another command into a plan and seals it anew gets a refusal: plans are not executed."""
    path = desk.folder / "plan.drrun"
    path.write_bytes(
        _with_seal([_evil(json.loads(x)) for x in path.read_bytes().splitlines()[:-1]])
    )
    refused = desk("apply", "plan.drrun", "--yes")
    assert refused.code == 5
    assert "wipe@h1: set on h1 would send another command" in refused.err
    assert "evil → restored" in refused.err
    assert not desk.world.effects


def _evil(record: dict[str, Json]) -> dict[str, Json]:
    text = json.dumps(record)
    if record["type"] != "unit":
        return record
    evil: dict[str, Json] = json.loads(text.replace('"data", "restored"', '"data", "evil"'))
    return evil


def test_a_change_taken_out_of_a_plan_refuses(desk: Desk, app: App, sealed: Sealed) -> None:
    """What reviewers were not shown is not done."""
    units = tuple(
        dataclasses.replace(unit, changes=()) if unit.unit == "wipe@h2" else unit
        for unit in sealed.forecast.units
    )
    forged = dataclasses.replace(sealed, forecast=dataclasses.replace(sealed.forecast, units=units))
    with pytest.raises(Refused, match="wipe@h2: set on h2 would be made as well now"):
        review(app, resealed(forged))


def test_other_code_refuses(app: App, sealed: Sealed) -> None:
    """A drrun, or a plugin, that is not the one of the dry-run: named, with both digests."""
    code = {package: text.replace("sha256:", "sha256:0") for package, text in sealed.code.items()}
    with pytest.raises(Refused, match=r"code: drrun changed\n +drrun .* → drrun "):
        review(app, resealed(dataclasses.replace(sealed, code=code)))


def test_a_plugin_is_sealed_by_its_code() -> None:
    """The stock step types are in the seal with distribution, version and digest."""
    from drrun.registry import Registry, code_digest

    found = Registry().code(["etcd.verdict", "service.stop", "none.such"])
    assert list(found) == ["drrun_steps"]
    assert found["drrun_steps"].startswith("drrun ")
    assert found["drrun_steps"].endswith(f" sha256:{code_digest('drrun_steps')}")


def test_a_package_s_digest_is_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One changed byte of a plugin's file changes it; a compiled file does not."""
    from drrun.registry import code_digest

    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "plugged_in"
    package.mkdir()
    (package / "__init__.py").write_text("A = 1\n")
    (package / "text.sh").write_text("true\n")

    def now() -> str:
        code_digest.cache_clear()
        return code_digest("plugged_in")

    first = now()
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"1")
    assert now() == first
    (package / "text.sh").write_text("false\n")
    assert now() != first


# -- secrets ----------------------------------------------------------------------------------


def test_a_secret_in_a_plan_is_refused(desk: Desk, app: App, sealed: Sealed) -> None:
    """A Secret has no canonical JSON: nothing is written, and its value is not in the message."""
    plan = dataclasses.replace(sealed.forecast.plan, inputs={"token": Secret("s3cret")})  # type: ignore[dict-item]
    leaky = dataclasses.replace(sealed, forecast=dataclasses.replace(sealed.forecast, plan=plan))
    with pytest.raises(Refused, match="never holds a secret") as caught:
        write_plan(leaky, desk.folder / "leak.drrun")
    assert "s3cret" not in str(caught.value)
    assert not (desk.folder / "leak.drrun").exists()


def test_a_secret_in_a_command_is_a_slot() -> None:
    """Form and preview, which a plan keeps of a command, hold the mask alone."""
    command = Command(argv=("login", Secret("s3cret")), env={"TOKEN": Secret("s3cret")})
    assert b"s3cret" not in canonical(command.form())
    assert "s3cret" not in command.preview
    assert command.form() == {
        "text": "",
        "argv": ["login", {"secret": True}],
        "env": {"TOKEN": {"secret": True}},
    }


# -- once -------------------------------------------------------------------------------------


def test_of_two_that_apply_at_once_one_wins(desk: Desk, sealed: Sealed) -> None:
    """Eight controllers with one plan and one state folder: one run, each effect once."""
    ready = threading.Barrier(8)

    def one(_: int) -> str:
        app = desk.make(Answers())
        reviewed = review(app, sealed)
        ready.wait(timeout=30)
        try:
            return app.start(reviewed.plan, (), sealed).status
        except DrrunError as error:
            return error.message.partition(": ")[2]

    with ThreadPoolExecutor(8) as pool:
        ends = sorted(pool.map(one, range(8)))
    assert ends == ["a sealed plan is applied once"] * 7 + ["done"]
    assert set(desk.world.effects.values()) == {1}
    assert len(desk.world.effects) == 9


# -- what a run made of it --------------------------------------------------------------------


def test_what_moves_between_review_and_run_is_a_deviation(
    desk: Desk, app: App, sealed: Sealed
) -> None:
    """One change fewer, told as such: neither hidden nor a reason to stop half-way."""
    reviewed = review(app, sealed)
    desk.world.of(HostName("h2"))["server"] = "stopped"
    app.start(reviewed.plan, (), sealed)
    stored = app.store.load(sealed.run)
    kept = promise(Story.of(stored.plan, stored.records), sealed)
    assert (kept.kept, kept.sealed) == (8, 9)
    assert kept.deviations == ("not made: stop@h2: set on h2",)


def test_a_change_besides_and_another_command_are_deviations(
    desk: Desk, app: App, sealed: Sealed
) -> None:
    """Against a plan that says less, or something else, than the run did."""
    app.start(review(app, sealed).plan, (), sealed)
    stored = app.store.load(sealed.run)
    story = Story.of(stored.plan, stored.records)
    units = list(sealed.forecast.units)
    assert [unit.unit for unit in units[:2]] == ["stop@h1", "stop@h2"]
    other = dataclasses.replace(units[1].changes[0], command=Command(argv=("x",)).form())
    units[0] = dataclasses.replace(units[0], changes=())
    units[1] = dataclasses.replace(units[1], changes=(other,))
    less = dataclasses.replace(
        sealed, forecast=dataclasses.replace(sealed.forecast, units=tuple(units))
    )
    assert promise(story, less).deviations == (
        "made besides: stop@h1: set on h1: set server stopped",
        "another command: stop@h2: set on h2: set server stopped",
    )


def test_a_command_with_a_hole_is_compared_by_name(app: App, sealed: Sealed) -> None:
    """What a run alone can give fits the slot that was sealed for it."""
    app.start(review(app, sealed).plan, (), sealed)
    stored = app.store.load(sealed.run)
    slot: Json = {"text": "", "env": {}, "argv": ["set", "server", {"known_after": "a.b"}]}
    units = list(sealed.forecast.units)
    units[0] = dataclasses.replace(
        units[0], changes=(dataclasses.replace(units[0].changes[0], command=slot),)
    )
    holed = dataclasses.replace(
        sealed, forecast=dataclasses.replace(sealed.forecast, units=tuple(units))
    )
    assert promise(Story.of(stored.plan, stored.records), holed).deviations == ()


def test_the_seal_is_a_digest_of_all_that_was_planned(app: App, sealed: Sealed) -> None:
    """Two plans of one moment differ, since each is a run of its own."""
    again = dataclasses.replace(sealed, salt="other")
    assert resealed(again).digest != sealed.digest
    assert digest(sealed.asked.runbook) != sealed.digest
