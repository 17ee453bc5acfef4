"""The released variants of ACE-Step's DiT as data: their abilities and their defaults. No torch.

The open fields of a request (`inference_steps`, `shift`, `guidance_scale`) are decided here and
nowhere else. Source: ACE-Step 1.5, released configs, model zoo table and task constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from headroom.audio.formats import WITH_BITRATE
from headroom.diffusion.schedule import CustomTimes
from headroom.errors import InvalidRequest
from headroom.models.acestep.reasons import reason
from headroom.models.acestep.requests.common_fields import GuidanceFields
from headroom.models.acestep.requests.language_fields import LanguageFields
from headroom.models.acestep.requests.songs import (
    TASKS,
    UNPLANNED,
    AnyMusicRequest,
    AnyPlanned,
    Lego,
    PlannedFields,
    Text2Music,
    keeps_source,
)
from headroom.models.acestep.requests.source_fields import EdgeFields
from headroom.models.acestep.text.codes_text import CODEBOOK, code_levels
from headroom.nn.config_fields import ConfigFields
from headroom.params.clamp import Note
from headroom.params.describe import TASK, Param, describe
from headroom.params.knob import Limit
from headroom.params.narrow import narrow, without
from headroom.reasons import Reason

Kind: TypeAlias = Literal["turbo", "base", "sft"]
_Idle: TypeAlias = tuple[tuple[str, ...], Reason]  # field names, and why they have no effect


@dataclass(frozen=True, slots=True)
class Variant:
    """One DiT: what it can do, and its values for fields left open.

    name          name of the checkpoint folder
    large         XL (4B) instead of 2B
    tasks         tasks it was trained for
    steps, shift  used if the request leaves them open
    guidance      likewise; None: distilled, never guided
    custom_times  how it reads a list of times
    stems         trained for single stems; reads `global_caption`
    codebook      how many audio codes it knows
    """

    name: str
    kind: Kind
    large: bool
    tasks: tuple[str, ...]
    steps: int
    steps_limit: Limit
    shift: float
    guidance: float | None
    custom_times: CustomTimes
    stems: bool = False
    codebook: int = CODEBOOK

    @property
    def limits(self) -> Mapping[str, Limit]:
        """Limits tighter than the request's own, by field; for `clamp` and `narrow`."""
        return MappingProxyType({"inference_steps": self.steps_limit})

    @property
    def dcw(self) -> bool:
        """Whether steps are corrected in the wavelet domain if the request leaves that open."""
        return self.kind == "turbo"

    @property
    def never_used(self) -> tuple[str, ...]:
        """Fields that can never have an effect here, whatever the other fields are."""
        guidance = tuple(GuidanceFields.model_fields) if self.guidance is None else ()
        return guidance if self.stems else (*guidance, "global_caption")


_THREE = ("text2music", "cover", "repaint")
_TURBO = Variant(
    name="acestep-v15-turbo",
    kind="turbo",
    large=False,
    tasks=_THREE,
    steps=8,
    steps_limit=Limit(1, 20, reason("turbo_steps")),
    shift=3.0,
    guidance=None,
    custom_times=CustomTimes.SNAP,
)
_BASE = Variant(
    name="acestep-v15-base",
    kind="base",
    large=False,
    tasks=tuple(TASKS),
    steps=50,
    steps_limit=Limit(1, 200, reason("base_steps")),
    shift=1.0,
    guidance=7.0,
    custom_times=CustomTimes.GIVEN,
)
_SFT = replace(_BASE, name="acestep-v15-sft", kind="sft", tasks=_THREE)

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        variant.name: variant
        for variant in (
            _TURBO,
            replace(_TURBO, name="acestep-v15-turbo-shift1", shift=1.0),
            replace(_TURBO, name="acestep-v15-turbo-shift3"),
            replace(_TURBO, name="acestep-v15-turbo-continuous", custom_times=CustomTimes.FREE),
            # Named in the official code, but not published.
            replace(_TURBO, name="acestep-v15-turbo-rl"),
            replace(_TURBO, name="acestep-v15-turbo-fix-inst-shift3"),
            replace(
                _TURBO,
                name="acestep-v15-turbo-fix-inst-shift-continuous",
                custom_times=CustomTimes.FREE,
            ),
            replace(_TURBO, name="acestep-v15-turbo-fix-inst-shift-dynamic"),
            replace(_SFT, name="acestep-v15-base-sft-fix-inst"),
            _BASE,
            _SFT,
            replace(_TURBO, name="acestep-v15-xl-turbo", large=True),
            replace(_BASE, name="acestep-v15-xl-base", large=True),
            replace(_SFT, name="acestep-v15-xl-sft", large=True),
            # The bundled small model samples as turbo does and accepts any task.
            replace(_TURBO, name="acestep-v15-nano", tasks=tuple(TASKS)),
        )
    }
)


def variant_of(config: Mapping[str, object], folder: str | Path) -> Variant:
    """The variant of a DiT folder, from its config.json and its name.

    A folder with a released name is that variant unless its config contradicts it; any other is
    identified by `is_turbo`, `model_version` and `encoder_hidden_size` (XL), and keeps its own
    name. Raises InvalidCheckpoint if these fields hold invalid values.
    """
    name = Path(folder).name
    fields = ConfigFields(config, folder)
    version = fields.word("model_version").lower()
    turbo = fields.flag("is_turbo", "turbo" in (version or name))
    large = "encoder_hidden_size" in fields
    stems = fields.flag("is_lego_sft", False)
    codebook = prod(code_levels(fields))
    fields.check()
    variant = VARIANTS.get(name)
    if variant is None or (variant.kind == "turbo", variant.large) != (turbo, large):
        variant = _TURBO if turbo else _SFT if "sft" in (version or name) else _BASE
        variant = replace(variant, name=name, large=large)
    if stems:
        variant = replace(variant, stems=True, tasks=tuple(TASKS))
    return replace(variant, codebook=codebook)


def offered(model: type[AnyMusicRequest], variant: Variant) -> tuple[Param, ...]:
    """The parameters to show for a variant, with its tighter limits; none for a task it lacks."""
    if model.model_fields[TASK].default not in variant.tasks:
        return ()
    shown = narrow(without(describe(model), variant.never_used), variant.limits)
    return tuple(_decided(param, variant) for param in shown)


def check_task(task: str, variant: Variant) -> None:
    """Raise InvalidRequest if the variant was not trained for the task; it names those it was
    trained for.
    """
    if task not in variant.tasks:
        able = " or ".join(v.name for v in VARIANTS.values() if task in v.tasks)
        allowed = f"with {variant.name}: {', '.join(variant.tasks)} ({task} needs {able})"
        raise InvalidRequest(TASK, task, allowed)


def unused(request: AnyMusicRequest, variant: Variant) -> tuple[Note, ...]:
    """A note for every field that was set but that this variant or combination cannot use.

    A field set to its default gets no note. Raises InvalidRequest as `check_task` does.
    """
    check_task(request.task, variant)
    notes: dict[str, Note] = {}
    for names, why in (*_by_variant(request, variant), *_by_combination(request)):
        for name in names:
            if name not in notes and _was_set(request, name):
                notes[name] = Note(name, getattr(request, name), None, why)
    return tuple(notes.values())


def corrects(request: AnyMusicRequest, variant: Variant) -> bool:
    """Whether the steps are corrected in the wavelet domain (DCW)."""
    return variant.dcw if request.dcw_enabled is None else request.dcw_enabled


def unused_in_planning(request: AnyPlanned) -> tuple[Note, ...]:
    """A note for every field that was set but that planning a song cannot use."""
    idle: list[_Idle] = []
    if request.thinking and request.plan_metadata:
        idle.append((("plan_metadata",), reason("sheet_by_thinking")))
    if not request.writes_codes:
        names = ("lm_cfg_scale", "lm_repetition_penalty", "lm_negative_prompt")
        idle.append((names, reason("no_codes_written")))
    if request.lm_seed is not None:
        idle.append((("lm_shared_metadata",), reason("one_plan_by_lm_seed")))
    notes: tuple[Note, ...] = ()
    if request.thinking and not isinstance(request, Text2Music):
        why = reason("codes_replace_recording")
        notes = (Note("thinking", True, "a song sheet without audio codes", why),)
    return notes + tuple(
        Note(name, getattr(request, name), None, why)
        for names, why in idle
        for name in names
        if _was_set(request, name)
    )


def _was_set(request: AnyMusicRequest, name: str) -> bool:
    field = type(request).model_fields.get(name)
    return (
        field is not None
        and name in request.model_fields_set
        and getattr(request, name) != field.default
    )


def _by_variant(request: AnyMusicRequest, variant: Variant) -> Iterator[_Idle]:
    if variant.guidance is None:
        yield tuple(GuidanceFields.model_fields), reason("never_guided", model=variant.name)
    elif request.guidance_scale is not None and request.guidance_scale <= 1:
        yield tuple(GuidanceFields.model_fields)[1:], reason("no_guidance")
    if not corrects(request, variant):
        names = ("dcw_mode", "dcw_scaler", "dcw_high_scaler", "dcw_wavelet")
        off = request.dcw_enabled is False
        yield names, reason("dcw_off") if off else reason("dcw_unasked", model=variant.name)
    if not variant.stems:
        yield ("global_caption",), reason("no_stems", model=variant.name)


def _by_combination(request: AnyMusicRequest) -> Iterator[_Idle]:
    yield from _by_words(request)
    yield from _by_source(request)
    yield from _by_sampler(request)
    yield from _by_output(request)


def _by_words(request: AnyMusicRequest) -> Iterator[_Idle]:
    if isinstance(request, PlannedFields) and request.asks is None:
        if request.plan_metadata and not request.to_fill:
            yield ("plan_metadata",), reason("nothing_to_fill_in")
        names = tuple(LanguageFields.model_fields)
        yield names, reason("not_planned")
        if not isinstance(request, Text2Music):
            yield ("thinking",), reason("nothing_to_fill_in")
    if not isinstance(request, PlannedFields):
        yield ("thinking",), UNPLANNED
    elif isinstance(request, Text2Music) and request.audio_codes:
        yield ("thinking",), reason("codes_given")
    if request.instrumental:
        yield ("lyrics",), reason("instrumental")
    if request.instruction is not None:
        yield ("track", "tracks"), reason("instruction_given")


def _by_source(request: AnyMusicRequest) -> Iterator[_Idle]:
    if not isinstance(request, Text2Music):
        yield ("duration",), reason("length_of_source")
    elif request.audio_codes:
        yield ("duration",), reason("length_of_codes")
    else:
        yield ("audio_cover_strength",), reason("no_source")
    if isinstance(request, Lego) and not keeps_source(request):
        names = tuple(EdgeFields.model_fields)
        yield names, reason("no_region")
    if isinstance(request, EdgeFields) and request.repaint_mode != "balanced":
        yield ("repaint_strength",), reason("strength_of_mode", mode=request.repaint_mode)


def _by_sampler(request: AnyMusicRequest) -> Iterator[_Idle]:
    if request.timesteps is not None:
        yield ("inference_steps", "shift"), reason("timesteps_given")
    if request.infer_method == "sde":
        yield ("sampler_mode",), reason("sde_solver")
    if request.seeds:
        yield ("seed",), reason("seeds_for_each")
    if len(request.seeds) > request.batch_size:
        yield ("batch_size",), reason("song_for_each_seed", seeds=len(request.seeds))
    if request.retake_variance == 0:
        yield ("retake_seed",), reason("no_retake")
    if request.dcw_mode != "double":
        yield ("dcw_high_scaler",), reason("one_strength", mode=request.dcw_mode)
    if request.dcw_mode == "pix":
        yield ("dcw_wavelet",), reason("pix_without_bands")


def _by_output(request: AnyMusicRequest) -> Iterator[_Idle]:
    if request.enable_normalization is False:
        yield ("normalization_db",), reason("normalisation_off")
    elif request.enable_normalization is None and keeps_source(request):
        why = reason("normalisation_off_for_source")
        yield ("normalization_db",), why
    if request.audio_format not in (None, *WITH_BITRATE):
        yield ("bitrate",), reason("no_bit_rate", format=request.audio_format)


def _decided(param: Param, variant: Variant) -> Param:
    """The parameter, with the value that this variant takes if it is left open."""
    default = {
        "inference_steps": variant.steps,
        "shift": variant.shift,
        "guidance_scale": variant.guidance,
        "dcw_enabled": variant.dcw,
    }.get(param.name)
    if default is None:
        return param
    left_open = f"{variant.name} takes {param.shown(default)}"
    return replace(param, knob=replace(param.knob, left_open=left_open))
