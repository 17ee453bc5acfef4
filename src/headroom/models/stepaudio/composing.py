"""From a request to speech with every decision made. No torch is loaded."""

from __future__ import annotations

from headroom.audio.files import Info, probe_audio
from headroom.errors import InvalidSource
from headroom.models.stepaudio.requests.speech import Clone
from headroom.models.stepaudio.requests.speech import Edit as EditRequest
from headroom.models.stepaudio.song import Drawing, Speech
from headroom.models.stepaudio.text.audio_ids import GROUP_SECONDS
from headroom.models.stepaudio.text.prompts import Edit

SHORTEST, LONGEST = 0.5, 30.0  # seconds of a recording
LOWEST_RATE = 16_000  # Hz


def speech_of(request: Clone | EditRequest, seeds: tuple[int, ...]) -> tuple[Speech, ...]:
    """A version for each seed. Raises InvalidSource for a recording that cannot be used."""
    clone = isinstance(request, Clone)
    field = "prompt_audio" if clone else "source_audio"
    path = request.prompt_audio if isinstance(request, Clone) else request.source_audio
    info = _examined(probe_audio(path, field, 2 * LONGEST), str(path), field)
    edit = None
    if request.edit_type is not None:
        target = request.text if isinstance(request, EditRequest) else ""
        edit = Edit(request.edit_type, request.edit_info or "", target)
    return tuple(
        Speech(
            task=request.task,
            seed=seed,
            path=str(path),
            field=field,
            seconds=info.seconds,
            said=request.prompt_text if isinstance(request, Clone) else request.source_text,
            parts=request.parts if isinstance(request, Clone) else ("",),
            clones=clone,
            edit=edit,
            passes=0 if edit is None else request.passes,
            groups=max(1, int(request.max_seconds / GROUP_SECONDS)),
            drawing=Drawing(request.temperature, request.top_k, request.top_p),
            variant=request.prompt_format,
        )
        for seed in seeds
    )


def _examined(info: Info, path: str, field: str) -> Info:
    """Raise InvalidSource for a recording that is too short, too long or of too low a rate."""
    if info.rate < LOWEST_RATE:
        allowed = f"a recording of at least {LOWEST_RATE} Hz"
        raise InvalidSource(field, path, f"has {info.rate} samples a second", allowed)
    if not SHORTEST <= info.seconds <= LONGEST:
        allowed = f"a recording of {SHORTEST:g} to {LONGEST:g} s"
        raise InvalidSource(field, path, f"is {info.seconds:.2f} s long", allowed)
    return info
