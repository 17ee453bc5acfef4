"""What a tier test needs to know of ACE-Step, and its tiers typed in a second time. No torch.

The second table is typed in separately from ACE-Step 1.5's guide to GPU compatibility (2026-02-10),
not derived from `tiers.py`, so that a mistake in either shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, cast

from headroom.memory.footprint import DECODE, DENOISE, WRITE
from headroom.memory.tiers import Tier, Tiers
from headroom.models.acestep.catalogue import LM_PREFIX
from headroom.models.acestep.cost.measures import is_plain
from headroom.models.acestep.networks.component_names import (
    CONDITION,
    DIT,
    SCHEDULE,
    TEXT_ENCODER,
    VAE_DECODER,
)
from headroom.models.acestep.song.song import Song as AceStepSong
from headroom.models.base import Song
from headroom.models.family import Rehearsal

# Columns: tier; its least GiB (a card reports up to half a GiB less than its name); language
# models, the recommended one marked; backend; minutes and songs, with a language model and
# without; what leaves the card while idle; precision of the DiT.
_TABLE = """
tier1      0     -               pt    4/6    1/1  cpu+dit  int8
tier2      4<    -               pt    8/10   1/1  cpu+dit  int8
tier3      6<    *0.6B           pt    8/10   1/2  cpu+dit  int8
tier4      7.5   *0.6B           vllm  8/10   2/4  cpu+dit  int8
tier5      11.5  0.6B,*1.7B      vllm  8/10   2/4  cpu      int8
tier6a     15.5  0.6B,*1.7B      vllm  8/10   4/8  cpu      int8
tier6b     19.5  0.6B,*1.7B,4B   vllm  8/8    4/8  none     none
unlimited  23.5  0.6B,1.7B,*4B   vllm  10/10  8/8  none     none
"""


def _read() -> Iterator[Tier]:
    lines = [line.split() for line in _TABLE.strip().splitlines()]
    for words, after in pairwise([*lines, ["", "inf"]]):
        name, edge, lms, backend, minutes, songs, offload, quantization = words
        with_lm, without = (60 * int(n) for n in minutes.split("/"))
        most, alone = (int(n) for n in songs.split("/"))
        yield Tier(
            name, float(edge.rstrip("<")), float(after[1].rstrip("<")),
            () if lms == "-" else tuple(lms.replace("*", "").split(",")),
            next((size[1:] for size in lms.split(",") if size[0] == "*"), None),
            backend, "pt_mlx_only" if backend == "pt" else "all",
            (with_lm, without), (most, alone), cast("Any", offload),
            None if quantization == "none" else quantization,
            closed=after[1].endswith("<"),
        )  # fmt: skip


def _is_plain(songs: tuple[Song, ...]) -> bool:
    return is_plain(cast("tuple[AceStepSong, ...]", songs))


def _frames(song: Song) -> int:
    return cast("AceStepSong", song).frames


REHEARSAL = Rehearsal(
    published=Tiers(tuple(_read())),
    stand_in="headroom.models.acestep.synthetic:synthetic_model",
    lm_name=lambda size: f"{LM_PREFIX}{size}",
    texts=("caption", "lyrics"),
    # A song sheet that is partly filled in, so that the language model's planning stays short.
    planned={
        "thinking": True, "use_cot_caption": False, "use_cot_language": False,
        "bpm": 96, "keyscale": "C major",
    },
    core=DIT,
    needed=frozenset((DIT, VAE_DECODER, TEXT_ENCODER)),
    exact=(WRITE, CONDITION, SCHEDULE, DENOISE, DECODE),
    is_exact=_is_plain,
    frames=_frames,
)  # fmt: skip
