"""What the parts weigh, by arithmetic, is what the modules weigh."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from headroom.hardware.machine import card
from headroom.memory.planner import plan
from headroom.models.stepaudio.cost.components import (
    Networks,
    components,
    flow_weights,
    language_component,
    linguistic_weights,
    semantic_weights,
    vocoder_weights,
    voice_weights,
)
from headroom.models.stepaudio.cost.footprint import speech_footprint
from headroom.models.stepaudio.networks import shapes as released
from headroom.models.stepaudio.networks.config import RELEASED
from headroom.models.stepaudio.networks.flow import Flow
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.speaker import SpeakerNetwork
from headroom.models.stepaudio.networks.step1 import Step1
from headroom.models.stepaudio.networks.vocoder import Vocoder
from headroom.models.stepaudio.song import FRAME_TOKENS, Drawing, Speech
from headroom.models.stepaudio.text.prompts import Edit, Variant, clone_prompt, edit_prompt
from headroom.models.stepaudio.text.vocabulary import Vocabulary
from headroom.runtime.quantize import quantize
from headroom.units import GIB
from support import speech_checkpoint as made
from support.real_sizes import numbers, shapes_of


def test_the_arithmetic_is_that_of_the_modules() -> None:
    for sizes in (released.LINGUISTIC, made.LINGUISTIC):
        assert linguistic_weights(sizes) == numbers(
            shapes_of(lambda s=sizes: LinguisticTokenizer(s))
        )
    for sizes in (released.SEMANTIC, made.SEMANTIC):
        assert semantic_weights(sizes) == numbers(shapes_of(lambda s=sizes: SemanticTokenizer(s)))
    for sizes in (released.SPEAKER, made.VOICE):
        assert voice_weights(sizes) == numbers(shapes_of(lambda s=sizes: SpeakerNetwork(s)))
    for sizes in (released.FLOW, made.FLOW):
        assert flow_weights(sizes) == numbers(shapes_of(lambda s=sizes: Flow(s)))
    for sizes in (released.VOCODER, made.VOCODER):
        assert vocoder_weights(sizes) == numbers(shapes_of(lambda s=sizes: Vocoder(s)))


@pytest.mark.parametrize("precision", ["bfloat16", "int8", "fp8"])
def test_the_language_model_weighs_what_is_planned_in_each_precision(precision: str) -> None:
    module = Step1(made.LANGUAGE).to(torch.bfloat16)
    if precision != "bfloat16":
        quantize(module, precision)
    weight = sum(tensor.nbytes for tensor in module.state_dict().values())
    assert language_component(made.LANGUAGE, "bfloat16").form(precision).bytes == weight
    assert language_component(RELEASED, "bfloat16").bytes == 7_059_412_992


def speech(**changes: object) -> Speech:
    values: dict[str, object] = {
        "task": "clone", "seed": 1, "path": "a.wav", "field": "prompt_audio", "seconds": 10.0,
        "said": "hello", "parts": ("world",), "clones": True, "edit": None,
        "passes": 0, "groups": 250,
        "drawing": Drawing(0.7, 50, 1.0), "variant": "template",
    }  # fmt: skip
    return Speech(**{**values, **changes})  # type: ignore[arg-type]


CARDS = [(24, "bfloat16"), (16, "bfloat16"), (12, "bfloat16"), (8, "bfloat16"), (6, "int8")]


@pytest.mark.parametrize(("gigabytes", "precision"), CARDS)
def test_there_is_a_plan_for_every_card(gigabytes: int, precision: str) -> None:
    footprint = speech_footprint((speech(),), Networks(), "bfloat16")
    made_plan = plan(footprint, card(gigabytes))
    assert made_plan.peak <= gigabytes * GIB
    language = made_plan.placement("step1")
    assert (language.precision or "bfloat16") == precision
    assert sum(component.bytes for component in components(Networks(), "bfloat16")) == (
        pytest.approx(8.94e9, rel=0.01)
    )


def test_no_frame_of_a_prompt_has_more_tokens_than_are_planned(words: Vocabulary) -> None:
    variants: tuple[Variant, ...] = ("template", "intended", "released")
    edits = [Edit("paralinguistic"), Edit("denoise"), Edit("vad"), Edit("style", "exaggerated")]
    for variant in variants:
        prompts = [edit_prompt(words, edit, "", "", variant) for edit in edits]
        prompts.append(clone_prompt(words, "", "", "", variant))
        assert max(map(len, prompts)) <= FRAME_TOKENS


def test_every_pass_of_an_edit_has_stages_of_its_own() -> None:
    footprint = speech_footprint(
        (speech(clones=False, edit=Edit("vad"), passes=3),), Networks(), "bfloat16"
    )
    assert [stage.name for stage in footprint.stages][3:6] == [
        "decode",
        "listen, pass 2",
        "write codes, pass 2",
    ]
    assert len(footprint.stages) == 12


def test_importing_the_family_imports_no_torch(tmp_path: Path) -> None:
    from unit.test_house import torch_after

    assert (
        torch_after("headroom.models.stepaudio.unopened", "headroom.models.stepaudio.family") == ""
    )
