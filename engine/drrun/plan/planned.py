"""One step of a runbook, as the plan holds it."""

from __future__ import annotations

from drrun.model.fencing import Unreached
from drrun.model.runbook import Step
from drrun.model.spec import StepSpec
from drrun.plan.plan import PlanStep, Retry
from drrun.plan.policies import effective
from drrun.values import HostName, StepId


def planned(
    step: Step,
    spec: StepSpec,
    hosts: tuple[HostName, ...],
    line: int,
    *,
    on_unreachable: Unreached,
    fenced: tuple[HostName, ...],
    tolerate: int,
) -> PlanStep:
    """The step as a plan holds it: its own words, and its type's where it has none."""
    retries = step.retries
    return PlanStep(
        id=StepId(step.id),
        uses=step.uses,
        kind=spec.kind,
        effect=spec.effect,
        repeat=effective(step.repeat, spec),
        repeat_said=step.repeat is not None,
        title=step.title or spec.title,
        hosts=hosts,
        line=line,
        timeout=step.timeout,
        retry=Retry(retries.attempts, retries.delay, retries.backoff == "exponential")
        if retries
        else Retry(),
        on_failure=step.on_failure,
        on_unknown=step.on_unknown,
        when=step.when,
        undoable=spec.undoable,
        point_of_no_return=step.point_of_no_return,
        safe_point=step.safe_point,
        always=step.always,
        accept_unknown=step.accept_unknown,
        tags=step.tags,
        on_unreachable=on_unreachable,
        fenced=fenced,
        spread=step.spread,
        tolerate=tolerate,
    )
