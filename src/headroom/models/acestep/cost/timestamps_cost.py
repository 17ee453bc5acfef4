"""What finding a song's lyric timestamps needs, in bytes, computed from sizes alone. No torch.

Exact for the released sizes, as in `footprint`; an upper bound for others.
"""

from __future__ import annotations

from headroom.memory.footprint import Footprint, Stage, Way
from headroom.memory.precision import CONVERTED
from headroom.models.acestep.cost import measures
from headroom.models.acestep.cost.components import Networks, components
from headroom.models.acestep.cost.footprint import (
    converting,
    layers_flops,
    layers_room,
    traced_bytes,
)
from headroom.models.acestep.networks.component_names import DIT, SCHEDULE, TIME

ALIGN = "align"
_STATES = 8  # latents held at a time: the song, noise, source and mask, and their copies
_TIMES = 1


def timing_footprint(frames: int, rows: int, layers: int, networks: Networks) -> Footprint:
    """A song of so many latent frames and condition rows through the DiT's first layers."""
    config, size = networks.config, networks.size
    width, tokens = config.dit.width, -(-frames // config.patch)
    table = _TIMES * 7 * width * size
    schedule = Stage(
        SCHEDULE,
        (TIME,),
        (
            Way(
                traced_bytes(networks, measures.schedule(_TIMES))
                or 2 * (_TIMES + 1) * 8 * width * size
            ),
        ),
        flops=4.0 * _TIMES * 7 * width * width,
        result=table,
        until=ALIGN,
    )
    ways = (
        Way(_room(frames, rows, layers, networks, precision), precision=precision)
        for precision in (networks.dtype, *CONVERTED)
    )
    align = Stage(
        ALIGN,
        (DIT,),
        tuple(ways),
        passes=2,  # for the keys of the condition, and for the song
        flops=layers_flops([tokens], rows, config, layers),
        host=_host(tokens, rows),
    )
    # The plan includes all parts of a song, so that those that fit beside these may stay loaded.
    return Footprint(components((), networks), (schedule, align))


def _room(frames: int, rows: int, layers: int, networks: Networks, precision: str) -> int:
    config, size = networks.config, networks.size
    work = measures.align_work(frames, rows, config)
    if precision in ("int8", "fp8"):
        exact = traced_bytes(networks, work, "int8") if networks.dtype == "bfloat16" else None
        if exact is not None:
            return exact
    tokens = -(-frames // config.patch)
    plain = traced_bytes(networks, work)
    if plain is None:
        table = (config.dit_layers + 2) * 6 * config.dit.width * size * (_TIMES + 1)
        states = 4 * _STATES * frames * config.latent_channels
        looked = 12 * tokens * rows + 8 * (tokens + rows) * config.dit.head_dim
        plain = layers_room([tokens], rows, config, size, layers) + table + states + looked
    return plain + converting(tokens, rows, networks, precision)


def _host(tokens: int, rows: int) -> int:
    """Bytes of the attention maps and their results: a few matrices in fp32, one in fp64."""
    return tokens * rows * (6 * 4 + 8)
