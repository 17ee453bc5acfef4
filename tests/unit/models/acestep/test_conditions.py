"""Words and timbre as condition rows: their order, who shares them, what the switch changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from headroom.models.acestep.networks.config import dit_config, text_encoder_config
from headroom.models.acestep.networks.encoders import Conditioner, text_encoder
from headroom.models.acestep.rendering.conditions import Conditions, encode_conditions
from headroom.models.acestep.requests.songs import Text2Music
from headroom.models.acestep.requests.variants import VARIANTS
from headroom.models.acestep.song.compose import compose
from headroom.models.acestep.song.song import Song
from headroom.models.acestep.text.prompts import PromptTokenizer
from headroom.nn.qwen3 import Qwen3
from support.near import assert_agrees, twice
from support.tiny import PRESETS
from support.tokenizer import byte_tokenizer

BASE = VARIANTS["acestep-v15-base"]
SIZES = PRESETS["2b-like"]
FRAMES = SIZES.dit.timbre_fix_frame
SILENCE = torch.randn(FRAMES, 8, generator=torch.Generator().manual_seed(1))
VOICE, DRUMS = torch.randn(2, FRAMES, 8, generator=torch.Generator().manual_seed(2))
# Tokens of the text around the words: a token a byte, "<|endoftext|>" twice.
CAPTION_ROWS = len(
    "# Instruction\nFill the audio semantic mask based on the given conditions:\n\n"
    "# Caption\n\n\n# Metas\n- bpm: N/A\n- timesignature: N/A\n- keyscale: N/A\n"
    "- duration: 10 seconds\n\n"
) + 2  # fmt: skip
LYRIC_ROWS = len("# Languages\nunknown\n\n# Lyric\n[Instrumental]") + 2


@pytest.fixture(scope="module")
def networks() -> tuple[Qwen3, Conditioner]:
    made = (
        text_encoder(text_encoder_config(SIZES.text.config())),
        Conditioner(dit_config(SIZES.dit.config())),
    )
    torch.manual_seed(0)
    for part in made:
        for value in part.parameters():
            nn.init.normal_(value, std=0.3)
    return made


def songs(*requests: Text2Music) -> list[Song]:
    return [song for request in requests for song in compose(request, BASE, (1,)).songs]


def request(**fields: object) -> Text2Music:
    return Text2Music.model_validate({"caption": "x", "duration": 10, **fields})


@torch.inference_mode()
def encode(
    networks: tuple[Qwen3, Conditioner],
    made: Sequence[Song],
    references: Sequence[tuple[Tensor, ...]] | None = None,
) -> Conditions:
    text, conditioner = networks
    tokenizer = PromptTokenizer(byte_tokenizer())
    given = references or [()] * len(made)
    made = [
        replace(song, references=tuple(map(str, range(len(rows)))))
        for song, rows in zip(made, given, strict=True)
    ]
    where = torch.device("cpu")
    return encode_conditions(made, given, SILENCE, text, conditioner, tokenizer, where)


def changed(first: Tensor, second: Tensor) -> list[int]:
    """Rows that differ by more than rounding: matrix products of other shapes sum in other orders,
    on some processors."""
    rounding = 64 * torch.finfo(first.dtype).eps * float(first.abs().max())
    apart = (first - second).abs().amax(dim=1)
    return [i for i, difference in enumerate(apart.tolist()) if difference > rounding]


def test_lyrics_then_timbre_then_caption(networks: tuple[Qwen3, Conditioner]) -> None:
    plain = encode(networks, songs(request()))
    rows, lengths = plain.first
    assert lengths == (LYRIC_ROWS + 1 + CAPTION_ROWS + 1,) == (len(rows),)
    assert plain.shared == (1,) and plain.second is None
    sung, _ = encode(
        networks, songs(request(vocal_language="unknown", lyrics="[Instrumentam]"))
    ).first
    assert changed(rows, sung)[-1] == LYRIC_ROWS - 1  # the lyric encoder sees both ways
    said, _ = encode(networks, songs(request(caption="y"))).first
    assert changed(rows, said)[0] > LYRIC_ROWS + len("# Instruction\n")  # the text encoder one


def test_a_reference_changes_its_row_and_no_other(networks: tuple[Qwen3, Conditioner]) -> None:
    made = songs(request())
    rows, _ = encode(networks, made).first
    same, _ = encode(networks, made, [(SILENCE,)]).first
    assert torch.equal(rows, same)
    other, exact = twice(lambda: encode(networks, made, [(VOICE,)]).first[0])
    assert changed(rows, other) == [LYRIC_ROWS]
    both, lengths = encode(networks, made, [(VOICE, DRUMS)]).first
    assert lengths == (len(rows) + 1,)
    head = LYRIC_ROWS + 1
    assert_agrees(both[:head], other[:head], exact[:head])
    assert_agrees(both[head + 1 :], other[head:], exact[head:])


def test_songs_of_the_same_words_share_one_condition(
    networks: tuple[Qwen3, Conditioner],
) -> None:
    made = songs(request(), request(), request(caption="y"), request())
    made[1] = replace(made[1], seed=9, frames=300, kept=299, retake_seed=3, retake_variance=0.1)
    found = encode(networks, made)
    assert found.shared == (2, 1, 1)  # only neighbours share
    rows = found.first[0].split(found.first[1])
    alone, exact = twice(lambda: encode(networks, made[:1]).first[0])
    assert_agrees(rows[0], alone, exact)
    assert_agrees(rows[2], alone, exact)


@pytest.mark.parametrize(
    "fields",
    [
        {"caption": "y"}, {"lyrics": "la"}, {"vocal_language": "de"}, {"bpm": 90},
        {"keyscale": "C major"}, {"timesignature": "3"}, {"duration": 11}, {"instruction": "Do:"},
    ],
    ids=str,
)  # fmt: skip
def test_other_words_are_another_condition(
    fields: dict[str, object], networks: tuple[Qwen3, Conditioner]
) -> None:
    found = encode(networks, songs(request(), request(**fields)))
    assert found.shared == (1, 1) and len(found.first[1]) == 2


def test_references_are_never_shared(networks: tuple[Qwen3, Conditioner]) -> None:
    found = encode(networks, songs(request(), request()), [(VOICE,), (DRUMS,)])
    assert found.shared == (1, 1)
    first, second = found.first[0].split(found.first[1])
    assert changed(first, second) == [LYRIC_ROWS]
    assert encode(networks, songs(request(), request()), [(), (DRUMS,)]).shared == (1, 1)
    assert encode(networks, songs(request(), request()), [(VOICE,), ()]).shared == (1, 1)


def test_the_switch_changes_the_instruction_alone(networks: tuple[Qwen3, Conditioner]) -> None:
    coded = request(audio_codes="<|audio_code_1|>" * 50, audio_cover_strength=0.5)
    found = encode(networks, songs(coded, coded), [(VOICE,), (VOICE,)])
    assert found.second is not None
    (rows, lengths), (after, lengths_after) = found.first, found.second
    assert lengths == tuple(n + 2 for n in lengths_after)  # two letters fewer
    one, other = rows.split(lengths)[0], after.split(lengths_after)[0]
    head = LYRIC_ROWS + 1 + len("# Instruction\n")
    plain, exact = twice(lambda: encode(networks, songs(request(duration=10)), [(VOICE,)]).first[0])
    assert_agrees(one[:head], plain[:head], exact[:head])
    assert_agrees(other, plain, exact)


def test_the_null_condition_comes_along_under_guidance_only(
    networks: tuple[Qwen3, Conditioner],
) -> None:
    guided = encode(networks, songs(request())).null
    assert guided is not None and torch.equal(guided, networks[1].null_condition_emb)
    assert encode(networks, songs(request(guidance_scale=1))).null is None
