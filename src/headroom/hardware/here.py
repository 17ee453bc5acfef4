"""The machine a plan is made for, without loading torch where it is known already."""

from __future__ import annotations

from headroom.hardware.host import Processor, host_machine, remembered, standing_for
from headroom.hardware.machine import Machine
from headroom.settings import AUTO, Settings
from headroom.units import GIB


def machine_here(settings: Settings, word: str = AUTO) -> Machine:
    """The machine of the device named by `word`, or else by the settings, with its cap.

    Raises InvalidRequest for an unknown device, and for one that is not present.
    """
    processor = host_without_torch(settings, word)
    if processor is not None:
        cap = settings.vram_for("cpu")
        machine = host_machine(processor, None if cap is None else int(cap * GIB))
        return standing_for(machine, settings)
    from headroom.hardware.probe import machine_of, open_probed

    return machine_of(open_probed(settings, word), settings)


def host_without_torch(settings: Settings, word: str = AUTO) -> Processor | None:
    """The processor, where that is the device meant and the installed torch told of it before.

    None where torch must be loaded to tell.
    """
    named = settings.device if word == AUTO else word
    if named.strip().lower() not in (AUTO, "cpu"):
        return None
    return remembered(settings.cache_dir)
