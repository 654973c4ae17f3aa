"""JSON Schemas for editors."""

from __future__ import annotations

import json
from typing import Any

from drrun.model.schema import inventory_schema, runbook_schema
from drrun.model.spec import Effects, StepSpec
from drrun.values import Effect, Json, Repeat


def spec(uses: str, schema: dict[str, Json]) -> StepSpec:
    return StepSpec(
        uses=uses,
        kind="host",
        effect=Effect.CHANGE,
        repeat=Repeat.SAFE,
        title="Stop it",
        doc="Stop a component.",
        describe=lambda: schema,
        fields=(),
        outputs=(),
        undoable=True,
        authors_word=False,
        source="test",
        check=lambda _: (),
        effects=lambda _: Effects(),
    )


STOP = spec(
    "service.stop",
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["service"],
        "properties": {
            "service": {"type": "string"},
            "count": {"type": "integer", "minimum": 1},
            "mode": {"type": "string", "enum": ["a", "b"]},
            "ratio": {"type": "number"},
            "sub": {"$ref": "#/$defs/Sub"},
        },
        "$defs": {"Sub": {"type": "object", "properties": {"n": {"type": "boolean"}}}},
    },
)
READ = spec("file.read", {"type": "object", "properties": {}})


def step() -> Any:
    return runbook_schema([STOP, READ])["$defs"]


def test_uses_decides_what_with_holds() -> None:
    """Each step type is an if/then, with its definitions at the root under its own name."""
    definitions = step()
    first, second = definitions["Step"]["allOf"]
    assert definitions["Step"]["properties"]["uses"]["enum"] == ["file.read", "service.stop"]
    assert first["if"]["properties"]["uses"] == {"const": "file.read"}
    assert second["then"]["required"] == ["with"]
    assert second["then"]["properties"]["with"] == {"$ref": "#/$defs/with.service.stop"}
    assert definitions["with.service.stop"]["description"] == "Stop a component."
    assert "service.stop.Sub" in definitions


def test_what_an_editor_reads_is_accepted() -> None:
    """`min: 3` and `min: "3"`, `whole: true` and `whole: "true"` are the same to drrun."""
    role = step()["RoleSpec"]["properties"]
    assert role["min"]["type"] == ["integer", "string"]
    assert role["min"]["minimum"] == 0
    assert set(map(str, role["whole"]["enum"])) >= {"True", "False", "true", "false"}
    assert runbook_schema([])["properties"]["drrun"]["enum"] == ["1", 1]
    assert "number" in runbook_schema([])["properties"]["title"]["type"]


def test_a_template_may_stand_anywhere_in_with() -> None:
    """Choices, numbers and objects of step types take `{{ … }}` as well."""
    fields = step()["with.service.stop"]["properties"]
    template = {"pattern": r"\{\{", "type": "string"}
    assert all(template in fields[name]["anyOf"] for name in ("count", "mode", "sub"))
    assert fields["ratio"]["type"] == ["number", "string"]
    assert {"$ref": "#/$defs/service.stop.Sub"} in fields["sub"]["anyOf"]


def test_durations_and_left_out_values() -> None:
    """Durations are written 90s; null is offered nowhere but for a host with nothing to say."""
    fields = step()["Step"]["properties"]
    assert fields["timeout"]["type"] == "string"
    assert fields["needs"]["items"]["anyOf"][1] == {"$ref": "#/$defs/Need"}
    assert '"null"' not in json.dumps(runbook_schema([]))
    assert json.dumps(inventory_schema()).count('"null"') == 1


def test_every_field_says_what_it_is() -> None:
    """Hover texts come from the docstrings of the models."""
    for schema in (runbook_schema([]), inventory_schema()):
        for definition in (schema, *schema["$defs"].values()):
            assert definition.get("description")
            assert all("description" in field for field in definition["properties"].values())


def test_the_same_bytes_every_time() -> None:
    """The order in which step types are found does not show."""
    one, two = runbook_schema([STOP, READ]), runbook_schema([READ, STOP])
    assert json.dumps(one) == json.dumps(two)
    assert one["$schema"].endswith("2020-12/schema")
    assert "drrun_inventory" in inventory_schema()["required"]
