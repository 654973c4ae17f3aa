"""The command line of drrun as a process of its own, whose one host is this machine.

python -m tests.fire.drive WORDS, with the agent's folder in FIRE_BASE
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import EntryPoint

from drrun.app import App
from drrun.cli.main import run
from drrun.ports import Prompt
from drrun.registry import GROUP, Registry
from drrun.transport.agent import AgentSetting
from drrun.transport.routes import Transports


def make(prompt: Prompt) -> App:
    """The engine, with nothing in it faked but where the agent keeps its files."""
    return App(
        prompt,
        registry=Registry([EntryPoint("fire", "tests.fire.steps", GROUP)]),
        transport=Transports(local=AgentSetting(base=os.environ["FIRE_BASE"])),
    )


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], make))
