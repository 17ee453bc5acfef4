"""Prompts of Step1, in all three variants."""

from __future__ import annotations

import pytest

from headroom.models.stepaudio.text.audio_ids import Codes
from headroom.models.stepaudio.text.prompts import Edit, Variant, clone_prompt, edit_prompt
from headroom.models.stepaudio.text.vocabulary import BOS, BOT, EOT, Vocabulary
from unit.models.stepaudio.test_vocabulary import real as real

CODES = Codes((5, 6), (6, 7, 8))
GOLDEN = tuple(map(int, """
1 4 2323 78 4566 348 15135 324 16064 411 15665 43794 353 8394 2446 35226 327 770 324 15027 350
10281 412 3199 32157 353 47371 39881 22115 6000 358 13311 765 8897 326 9630 49709 324 574 332
348 10255 3739 346 417 456 2275 850 324 32918 327 1988 769 549 11209 358 352 78 794 779 14484
467 1121 456 2275 850 78 794 563 46874 412 324 4008 324 21320 78 794 13908 337 2170 410 5842
324 39453 6000 78 794 324 11248 18809 412 674 324 7035 412 78 19770 352 2537 883 8708 32157 350
6364 4814 353 504 4995 358 31257 558 10281 353 19798 336 1472 33907 15665 15340 332 353 417 456
2275 6000 326 78 3 4 4623 78 12065 336 2308 15665 992 29799 326 392 2765 19892 358 336 15665
379 352 324 24419 2844 78 78 65541 65542 66566 66567 66568 78 3 4 15886 78
""".split()))  # fmt: skip


def plain(words: Vocabulary, ids: tuple[int, ...]) -> str:
    """The text of a prompt, with its ids for control as signs."""
    raw = b""
    signs = {BOS: "◁", BOT: "⟨", EOT: "⟩"}
    for number in ids:
        text = words.pieces.texts[number]
        if text.startswith("<0x") and len(text) == 6:
            raw += bytes([int(text[3:5], 16)])
        else:
            raw += signs.get(number, text).encode()
    return raw.decode().replace("▁", " ")


def test_the_golden_prompt_of_161_ids(real: Vocabulary) -> None:
    edit = Edit("emotion", "happy")
    assert len(GOLDEN) == 161
    assert edit_prompt(real, edit, "hello world", CODES.text, "intended") == GOLDEN
    template = list(GOLDEN)
    template[131] = 17_758
    assert edit_prompt(real, edit, " hello world ", CODES.text) == tuple(template)


VARIANTS: tuple[Variant, ...] = ("template", "intended", "released")


@pytest.mark.parametrize("variant", VARIANTS)
def test_an_edit_prompt_asks_in_the_frame_of_its_variant(
    words: Vocabulary, variant: Variant
) -> None:
    text = plain(words, edit_prompt(words, Edit("speed", "slower"), "hello", CODES.text, variant))
    mark = "◁" if variant == "released" else ""
    asked = (
        "Make the following audio more slower. The text corresponding to the audio is: hello\n\n"
    )
    gap = "" if variant == "template" else f"{mark} "
    assert text.startswith(f"◁⟨{mark} system\nAs a highly skilled audio editing and tuning")
    assert text.endswith(
        f"audio edits and enhancements.\n⟩⟨{mark} human\n{gap}{asked}"
        "<audio_5><audio_6><audio_1030><audio_1031><audio_1032>\n"
        f"⟩⟨{mark} assistant\n"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_clone_prompt_speaks_the_target_without_a_space_before_it(
    words: Vocabulary, variant: Variant
) -> None:
    text = plain(words, clone_prompt(words, "ab c", "hello", CODES.text, variant, "me"))
    mark = "◁" if variant == "released" else ""
    assert text == (
        f"◁⟨{mark} system\n"
        "Generate audio with the following timbre, prosody and speaking style\n\n"
        "[speaker_start]\nspeaker name: me\nspeaker prompt text: \nhello\n"
        "speaker audio tokens: \n<audio_5><audio_6><audio_1030><audio_1031><audio_1032>\n"
        f"[speaker_end]\n⟩⟨{mark} human\nab c⟩⟨{mark} assistant\n"
    )


def test_trap_prompt_variants(words: Vocabulary) -> None:
    """Clone prompts of two variants are equal, edit prompts differ in one space."""
    clones = [clone_prompt(words, "ab", "c", CODES.text, variant) for variant in VARIANTS]
    assert clones[0] == clones[1] != clones[2]
    edits = [edit_prompt(words, Edit("vad"), "", CODES.text, variant) for variant in VARIANTS]
    assert len({*edits}) == 3
    assert plain(words, edits[1]).replace("human\n Remove", "human\nRemove") == plain(
        words, edits[0]
    )


@pytest.mark.parametrize(
    ("edit", "begins"),
    [
        (Edit("emotion", "remove"), "Remove any emotion in the following audio and the reference"),
        (Edit("speed", "remove"), "Remove any emotion in the following audio"),
        (Edit("style", "remove"), "Remove any speaking styles in the following audio"),
        (Edit("style", "whisper"), "Make the following audio more whisper style. The text"),
        (Edit("denoise"), "Remove any noise from the given audio while preserving"),
        (Edit("vad"), "Remove any silent portions from the given audio while"),
        (
            Edit("paralinguistic", target="a [Sigh] b"),
            "Add some non-verbal sounds to make the audio more natural, the new text is : "
            "a [Sigh] b\n  The text corresponding to the audio is: ab\n",
        ),
    ],
)
def test_each_kind_of_edit_has_its_instruction(edit: Edit, begins: str) -> None:
    instruction = edit.instruction("  ab ")
    assert instruction.startswith(begins)
    assert instruction.endswith("\n")
    assert "  ab" not in instruction.removesuffix("\n")[-5:]
