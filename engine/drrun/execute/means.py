"""What every session in a run acts through."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from drrun.execute.hosts import Hosts
from drrun.execute.recorder import Recorder
from drrun.ports import Clock, Prompt


@dataclass(slots=True)
class Means:
    """Hosts, journal, time and a person."""

    hosts: Hosts
    recorder: Recorder
    clock: Clock
    prompt: Prompt
    stop: threading.Event
