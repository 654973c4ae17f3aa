"""Why the restore has no step that stages again: the staged bump is always enough (hazard H10)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drrun_steps.etcd.identity import bump
from drrun_steps.etcd.verdict import limit_of, most

REVISIONS = st.integers(min_value=1, max_value=2**40)


@given(snapshot=REVISIONS, newest=REVISIONS, moving=st.booleans(), complete=st.booleans())
def test_whatever_the_verdict_lets_be_lost_lies_below_the_staged_revisions(
    *, snapshot: int, newest: int, moving: bool, complete: bool
) -> None:
    """Every revision up to the accepted limit is under snapshot + bump, whatever loss may be named.

    So what is measured again after the stop is either above the limit, and the run fails before
    the swap, or below the staged revisions: nothing has to be staged a second time.
    """
    named = most(max(0, newest - snapshot), moving=moving)
    limit = limit_of(snapshot, newest, named, moving=moving)
    raised = bump(newest, snapshot, complete=complete, capable=True)
    assert snapshot + raised > limit
