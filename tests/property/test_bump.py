"""Why the restore has no step that stages again: the staged bump is always enough (hazard H10)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drrun_steps.etcd.identity import bump
from drrun_steps.etcd.verdict import tolerance

REVISIONS = st.integers(min_value=1, max_value=2**40)


@given(snapshot=REVISIONS, newest=REVISIONS, moving=st.booleans(), complete=st.booleans())
def test_whatever_the_verdict_lets_be_lost_lies_below_the_staged_revisions(
    *, snapshot: int, newest: int, moving: bool, complete: bool
) -> None:
    """Every revision up to the accepted limit is under snapshot + bump.

    So what is measured again after the stop is either above the limit, and the run fails before
    the swap, or below the staged revisions: nothing has to be staged a second time.
    """
    gap = max(0, newest - snapshot)
    limit = max(newest, snapshot) + tolerance(gap, moving=moving)
    raised = bump(newest, snapshot, complete=complete, capable=True)
    assert snapshot + raised > limit
