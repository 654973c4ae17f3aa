"""A run as JUnit XML: a suite of units, for CI systems and dashboards."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from drrun.journal.outputs import Outputs
from drrun.journal.state import Status, UnitRecord
from drrun.plan.plan import Unit
from drrun.report.story import Phase, Story
from drrun.report.text import BAD, cuts, unit_words
from drrun.report.words import safe
from drrun.values import Outcome


def suite(story: Story, outputs: Outputs) -> str:
    """The XML document."""
    root = ET.Element(
        "testsuite",
        name=story.plan.name,
        hostname=story.plan.inventory_name,
        timestamp=story.began.strftime("%Y-%m-%dT%H:%M:%S") if story.began else "",
        time=f"{story.seconds:.3f}",
    )
    properties = ET.SubElement(root, "properties")
    for name, value in (("run", story.plan.run), ("status", story.status), ("chain", story.head)):
        ET.SubElement(properties, "property", name=name, value=value)
    for name in story.started.approved if story.started is not None else ():
        ET.SubElement(properties, "property", name="approved-by", value=_xml(name))
    for _, event in story.absent:
        value = _xml(f"{event.host}: {event.words}")
        ET.SubElement(properties, "property", name="to-be-readmitted", value=value)
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for phase in story.phases:
        for unit, record in phase.units:
            kind = _case(root, story, phase, (unit, record), outputs)
            counts["tests"] += 1
            if kind:
                counts[kind] += 1
    for name, number in counts.items():
        root.set(name, str(number))
    if cuts(story):
        words = "\n".join(f"cut: {which}: {where}" for which, where in cuts(story))
        ET.SubElement(root, "system-out").text = _xml(words)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _case(
    root: ET.Element,
    story: Story,
    phase: Phase,
    which: tuple[Unit, UnitRecord],
    outputs: Outputs,
) -> str:
    """One unit; gives the count that it adds to. A result that is not known is an error."""
    unit, record = which
    ends = [a for a in phase.attempts if a.unit == unit.id and a.ended is not None]
    took = sum((a.ended - a.began).total_seconds() for a in ends if a.ended is not None)
    case = ET.SubElement(
        root, "testcase", classname=phase.step.uses, name=unit.id, time=f"{took:.3f}"
    )
    if record.status in BAD:
        kind = "error" if record.status is Status.UNKNOWN else "failure"
        bad = ET.SubElement(case, kind, message=_xml(record.why), type=record.status)
        bad.text = _xml("\n".join(unit_words(story, unit.id, outputs)))
        return "errors" if kind == "error" else "failures"
    wrong = phase.went_wrong(unit.id)
    if wrong is not None:
        bad = ET.SubElement(case, "failure", message=_xml(wrong.why), type=str(wrong.outcome))
        bad.text = "undone since"
        return "failures"
    if record.status in {Status.PENDING, Status.UNDONE}:
        word = "not started" if record.status is Status.PENDING else "undone"
        ET.SubElement(case, "skipped", message=word)
        return "skipped"
    if record.outcome is Outcome.SKIPPED:
        ET.SubElement(case, "skipped", message=_xml(record.why))
        return "skipped"
    return ""


def _xml(text: str) -> str:
    """XML 1.0 takes no control characters."""
    return safe(text).replace("\ufffe", "").replace("\uffff", "")
