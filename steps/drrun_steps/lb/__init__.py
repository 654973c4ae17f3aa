"""Load balancers of the API servers: who is behind one, taken out, and let in again."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.lb import facts
from drrun_steps.lb.steps import Admit, Drain

STEPS: tuple[type[Step], ...] = (Drain, Admit)
FACTS: tuple[type[Fact[Any]], ...] = facts.FACTS
