"""A process with the engine part of a service, until it is killed: `service_parent.py FOLDER`."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from headroom.engine.options import EngineOptions
from headroom.service.config import from_settings
from headroom.service.supervisor import Supervisor
from headroom.settings import load

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    config = from_settings(load({"HEADROOM_DATA_DIR": str(folder)}))
    config = replace(config, database=folder / "jobs.db", storage=folder / "files", free_bytes=0)
    with Supervisor(config, EngineOptions(device="cpu", threads=1), web=False):
        while True:
            time.sleep(1)
