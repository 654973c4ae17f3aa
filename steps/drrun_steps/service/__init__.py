"""Services of a host: stop and hold, start, restart, and what state they are in."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.service import certificates
from drrun_steps.service.facts import (
    ServiceHeld,
    ServiceInstance,
    ServiceReady,
    ServiceState,
    ServiceSteady,
)
from drrun_steps.service.flags import ServiceFlag
from drrun_steps.service.pause import Pause, Resume
from drrun_steps.service.steps import Restart, Start, State, Stop

STEPS: tuple[type[Step], ...] = (Stop, Start, Restart, State, Pause, Resume)
FACTS: tuple[type[Fact[Any]], ...] = (
    ServiceState,
    ServiceReady,
    ServiceSteady,
    ServiceHeld,
    ServiceInstance,
    ServiceFlag,
    *certificates.FACTS,
)
