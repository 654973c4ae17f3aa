"""Real hosts and clusters to rehearse on: `drrun lab` and its library.

lab = Lab.up("lab", LabSpec(hosts=3, etcd="3.5"))
lab.ssh("cp1", "systemctl is-active etcd")
lab.reset()
lab.down()
"""

from __future__ import annotations

from drrun_lab.lab import Lab
from drrun_lab.layout import LabHost, LabSpec
from drrun_lab.progress import Progress

__all__ = ["Lab", "LabHost", "LabSpec", "Progress"]
