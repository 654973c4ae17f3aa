"""What controllers will delete and detach when they start: told before, and never in the way."""

from __future__ import annotations

from tests.unit.steps.recorded_answers import said

from drrun.spi import NotKnown
from drrun_steps.kube.orphans import KubeOrphans, Orphans, told

LISTED = """\
node|w1
pod|default/here|w1
pod|default/gone|w9
pod|default/not-placed|
volume|pv1
attachment|a1|w1|pv1
attachment|a2|w9|pv1
attachment|a3|w1|pv7
attachment|a4|w1|
"""


def test_pods_and_attachments_without_a_node_or_a_volume_are_found() -> None:
    """A pod that was not placed yet and a volume that is written inline are as they should be."""
    found = KubeOrphans().parse(said(LISTED))
    assert found == Orphans(("default/gone",), ("a2 (pv1 on w9)", "a3 (pv7 on w1)"))
    pods, attachments = told(found)
    assert "controllers will delete default/gone: bound to Nodes" in pods
    assert "controllers will detach a2 (pv1 on w9), a3 (pv7 on w1):" in attachments


def test_where_there_is_nothing_nothing_is_said() -> None:
    """Neither of a cluster in order, nor of one that is not restored yet."""
    assert list(told(KubeOrphans().parse(said("node|w1\npod|default/here|w1\n")))) == []
    assert list(told(NotKnown("the restored cluster's"))) == []


def test_a_list_that_takes_too_long_is_told_and_keeps_nobody_waiting() -> None:
    """A cluster of thousands of nodes: the restore goes on, and says that it did not look."""
    found = KubeOrphans().parse(said("", code=124, err="timed out"))
    assert list(told(found)) == ["what controllers will delete or detach is not told: timed out"]


def test_many_are_counted() -> None:
    """Ten are named."""
    (line,) = told(Orphans(pods=tuple(f"default/p{n}" for n in range(25))))
    assert "default/p9 and 15 more:" in line
