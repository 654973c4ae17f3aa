"""The verbs for authors: lint, explain, graph, steps, schema, inventory, init, doctor."""

from __future__ import annotations

import json

from inline_snapshot import snapshot
from tests.unit.cli.conftest import Desk

from drrun.cli.main import run
from drrun.lang.diagnostics import Diagnostic
from drrun.report.findings import annotation, sarif

WRONG = """\
drrun: 1
name: wrong
title: Two mistakes
roles:
  members: {min: 1}
steps:
  - id: stop
    hosts: membres
    uses: world.set
    with: {key: server, to: stopped}
  - id: start
    hosts: member
    uses: world.set
    with: {key: server, to: running}
"""


UNSEEN = """\
drrun: 1
name: unseen
title: A member removed by hand
roles:
  etcd: {min: 1}
steps:
  - id: remove
    uses: command
    on_unknown: ask
    with: {argv: [etcdctl, member, remove, 8e9e05c52164694d]}
"""


def test_lint_of_good_files_exits_0(desk: Desk) -> None:
    """Runbooks and inventories that are right give exit 0."""
    said = desk("lint", "demo.yaml", "failing.yaml", "inventory.yaml")
    assert (said.code, said.out) == (0, "")


def test_lint_shows_every_mistake(desk: Desk) -> None:
    """Mistakes are shown with place, caret and hint, all at once; exit 3."""
    desk.write("wrong.yaml", WRONG)
    said = desk("lint", "wrong.yaml", "demo.yaml")
    assert said.code == 3
    assert said.out == snapshot("""\
error[unknown-role]: `membres` is not a role of this runbook
 --> wrong.yaml:8:12
  |
8 |     hosts: membres
  |            ^^^^^^^
  = help: did you mean `members`?

error[unknown-role]: `member` is not a role of this runbook
  --> wrong.yaml:12:12
   |
12 |     hosts: member
   |            ^^^^^^
   = help: did you mean `members`?
""")


def test_lint_for_programs(desk: Desk) -> None:
    """--format json has places and codes, one object a mistake."""
    desk.write("wrong.yaml", WRONG)
    document = json.loads(desk("lint", "wrong.yaml", "--format", "json").out)
    assert document["diagnostics"][0] == {
        "path": "wrong.yaml",
        "line": 8,
        "column": 12,
        "end_column": 19,
        "code": "unknown-role",
        "severity": "error",
        "message": "`membres` is not a role of this runbook",
        "hint": "did you mean `members`?",
    }


def test_lint_for_workflows_is_exact(desk: Desk) -> None:
    """--format github: one command a mistake, and what would end a property is escaped."""
    desk.write("wrong.yaml", WRONG)
    assert desk("lint", "wrong.yaml", "--format", "github").out == snapshot("""\
::error file=wrong.yaml,line=8,endLine=8,col=12,endColumn=19,title=drrun%3A unknown-role::`membres` is not a role of this runbook (did you mean `members`?)
::error file=wrong.yaml,line=12,endLine=12,col=12,endColumn=18,title=drrun%3A unknown-role::`member` is not a role of this runbook (did you mean `members`?)
""")
    assert annotation(Diagnostic("a,b:c.yaml", 1, 2, 3, "x", "100 %\nof it")) == (
        "::error file=a%2Cb%3Ac.yaml,line=1,endLine=1,col=2,endColumn=3,title=drrun%3A x::"
        "100 %25%0Aof it"
    )


def test_lint_warns_of_what_rules_cannot_see(desk: Desk) -> None:
    """A warning is shown, and is no mistake: exit 0."""
    desk.write("unseen.yaml", UNSEEN)
    code = run(["lint", "unseen.yaml"])
    said = desk.capture.readouterr()
    assert code == 0
    assert said.out == snapshot("""\
warning[unseen]: no rule can see what `etcdctl member remove` changes
 --> unseen.yaml:8:11
  |
8 |     uses: command
  |           ^^^^^^^
  = help: use a step type that says what it does, or see to the order by hand
""")
    assert "1 file, no mistakes, 1 warning" in said.err
    assert run(["lint", "unseen.yaml", "--format", "github"]) == 0
    assert desk.capture.readouterr().out.startswith("::warning file=unseen.yaml,line=8,")


def test_a_sarif_log_has_what_the_schema_requires(desk: Desk) -> None:
    """2.1.0: every required property, the enumerations, and places that are in the file."""
    desk.write("wrong.yaml", WRONG)
    desk.write("unseen.yaml", UNSEEN)
    assert run(["lint", "wrong.yaml", "unseen.yaml", "--format", "sarif"], desk.make) == 3
    log = json.loads(desk.capture.readouterr().out)
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    (only,) = log["runs"]
    assert only["columnKind"] in {"utf16CodeUnits", "unicodeCodePoints"}
    driver = only["tool"]["driver"]
    assert driver["name"] == "drrun"
    ids = [rule["id"] for rule in driver["rules"]]
    assert len(set(ids)) == len(ids)
    assert len(only["results"]) >= 3
    for result in only["results"]:
        assert result["message"]["text"]
        assert result["level"] in {"none", "note", "warning", "error"}
        assert ids[result["ruleIndex"]] == result["ruleId"]
        (location,) = result["locations"]
        place = location["physicalLocation"]
        assert place["artifactLocation"] == {"uri": place["artifactLocation"]["uri"]}
        lines = (desk.folder / place["artifactLocation"]["uri"]).read_text().splitlines()
        region = place["region"]
        assert region["startLine"] == region["endLine"]
        assert lines[region["startLine"] - 1] == region["snippet"]["text"]
        assert (
            1 <= region["startColumn"] <= region["endColumn"] <= len(region["snippet"]["text"]) + 1
        )


def test_paths_in_sarif_are_uris() -> None:
    """A relative one stays relative, with what a URI cannot hold escaped; an absolute one is file://."""
    log = sarif(
        [Diagnostic("my book.yaml", 1, 1, 2, "a", "m"), Diagnostic("/a b.yaml", 1, 1, 2, "b", "m")],
        "1.0",
    )
    text = json.dumps(log)
    assert '"uri": "my%20book.yaml"' in text
    assert '"uri": "file:///a%20b.yaml"' in text
    assert sarif([], "1.0")["runs"] == [
        {
            "tool": {"driver": {"name": "drrun", "version": "1.0", "rules": []}},
            "columnKind": "unicodeCodePoints",
            "results": [],
        }
    ]


def test_explain_says_why_a_step_waits_and_what_guards_it(desk: Desk) -> None:
    """Explain shows where, effect, undo, needs, guards and commands, without asking a host."""
    desk.world.down |= set(desk.world.values)
    said = desk("explain", "demo.yaml", "wipe", "-i", "inventory.yaml")
    assert said.code == 0
    assert said.out == snapshot("""\
2 wipe: Replace the data
  demo.yaml:12

  uses        world.wipe (from not installed)
  on          h[1-3]
  effect      DESTROYS
  repeat      never: when its result is lost, a person decides
  undo        yes
  on failure  the run stops, and can be resumed

  Set a key of the world, destroying what was there; guarded by the rule it carries.

  waits for:
    stop: order

  guarded: refused unless:
    world.value(key_=server) is stopped on h[1-3], because wiping under a live server loses data (from world.wipe)

  with:
    key: data
    to: restored

  sends, as far as it is known without asking a host:
    ? wipe@h1: known after asking the host (offline); --dry-run asks the hosts
    ? wipe@h2: known after asking the host (offline); --dry-run asks the hosts
    ? wipe@h3: known after asking the host (offline); --dry-run asks the hosts
""")
    assert desk("explain", "demo.yaml", "wpie").code == 2


def test_graphs(desk: Desk) -> None:
    """Graph draws the order as a tree, as Mermaid and as dot."""
    assert desk("graph", "demo.yaml").out == snapshot("""\
demo: Wipe and restore

     step   on       effect    after
     stop   members  change    -
!    wipe   members  DESTROYS  stop
     start  members  change    wipe
     agree  members  read      start
""")
    assert desk("graph", "demo.yaml", "--format", "mermaid").out == snapshot("""\
flowchart TD
    s1["stop<br>members<br>change"]
    s2{{"wipe<br>members<br>DESTROYS"}}
    s3["start<br>members<br>change"]
    s4["agree<br>members<br>read"]
    s1 --> s2
    s2 --> s3
    s3 --> s4
    classDef destroys stroke:#c0392b,stroke-width:3px
    class s2 destroys
""")
    assert "s1 -> s2;" in desk("graph", "demo.yaml", "--format", "dot").out


def test_steps_lists_and_documents(desk: Desk) -> None:
    """Steps lists step types; --facts lists facts; a name gives all of one."""
    assert "world.wipe" in desk("steps").out
    assert "world.value" in desk("steps", "--facts").out
    assert desk("steps", "world.wipe").out == snapshot("""\
world.wipe (from not installed)

  Set a key of the world, destroying what was there; guarded by the rule it carries.

  runs     on each of its hosts
  effect   destroy
  repeat   never
  undo     yes
  outputs  was

  with:
    key: string, required
    to: string, required
    guard_key: string, default "server"
    role: string, default "members"
""")
    assert desk("steps", "world.wip").code == 2


def test_schemas_are_json(desk: Desk) -> None:
    """Schema prints JSON Schemas; a runbook's knows the installed step types."""
    assert "world.wipe" in json.dumps(json.loads(desk("schema", "runbook").out))
    assert json.loads(desk("schema", "inventory").out)["title"] == "drrun inventory"


def test_inventory_show(desk: Desk) -> None:
    """Inventory show gives hosts and groups as drrun reads them."""
    assert desk("inventory", "show").out == snapshot("""\
test · inventory.yaml

  host  address  user     port     as root  layout   through
  h1    h1       (ssh's)  (ssh's)  sudo     systemd
  h2    h2       (ssh's)  (ssh's)  sudo     systemd
  h3    h3       (ssh's)  (ssh's)  sudo     systemd

  group    hosts
  members  h[1-3]
""")


def test_init_gives_files_that_lint_clean(desk: Desk) -> None:
    """What init writes passes lint with the stock step types; it overwrites nothing."""
    assert desk("init", "new").code == 0
    assert run(["lint", "new/runbook.yaml", "new/inventory.yaml"]) == 0
    assert desk("init", "new").code == 2


def test_doctor_asks_every_host(desk: Desk) -> None:
    """A host that does not answer makes doctor exit 4 and gives its next move."""
    desk.world.down |= set(desk.world.values)
    said = desk("doctor")
    assert said.code == 4
    assert said.out.count("cannot be reached") == 3
