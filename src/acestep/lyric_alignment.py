"""Computes lyric timestamps and scores from `extra_outputs` tensors, in ACE-Step's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from headroom.errors import HeadroomError, InvalidRequest

if TYPE_CHECKING:
    from torch import Tensor

    from headroom.engine.engine import Engine
    from headroom.engine.result import SongResult
    from headroom.models.acestep.model import AceStep
    from headroom.models.acestep.timestamps.timestamps import Timing
    from headroom.models.outputs import Timestamps

MODEL_NOT_INITIALIZED = "Model not initialized"


def alignment_inputs(engine: Engine, result: SongResult) -> dict[str, Any]:
    """The tensors for it in `extra_outputs`, one row per song: condition rows and their mask,
    source and mask, ids of the lyric prompt (padded with its last id). Empty for other families.
    """
    from torch import tensor
    from torch.nn.utils.rnn import pad_sequence

    from headroom.models.acestep.model import AceStep
    from headroom.models.acestep.song.song import Song
    from headroom.models.acestep.text.prompts import lyric_prompt

    if not isinstance(engine.model, AceStep):
        return {}
    tokenizer = engine.model.assets.tokenizer
    ids = [
        tensor(tokenizer.lyrics(lyric_prompt(song.language, song.lyrics)))
        for song in result.songs
        if isinstance(song, Song)
    ]
    end = int(ids[0][-1])
    return {
        "encoder_hidden_states": result.kept["condition"],
        "encoder_attention_mask": result.kept["condition_mask"].long(),
        "context_latents": result.kept["context"],
        "lyric_token_idss": pad_sequence(ids, batch_first=True, padding_value=end),
    }


def timestamps(
    engine: Engine | None,
    tensors: Mapping[str, Tensor],
    mask: Tensor,
    ids: Tensor,
    seconds: float,
    steps: int,
    seed: int | None,
    heads: Mapping[int, Sequence[int]] | None,
) -> dict[str, Any]:
    """The answer of `AceStepHandler.get_lyric_timestamp`; errors are stored in it, not raised.

    tensors  by their old names: latents, condition rows and context, [1, length, width] each
    """
    try:
        timing = _timing(_model(engine), tensors, mask, ids, steps, seed, heads, seconds)
        result = _timed(engine, timing)
    except HeadroomError as error:
        return _error(str(error))
    if not result.lines:
        return _error("; ".join(note.sentence() for note in result.notes))
    return {
        "lrc_text": result.lrc.rstrip("\n"),
        "sentence_timestamps": list(result.lines),
        "token_timestamps": list(result.tokens),
        "success": True,
        "error": None,
    }


def scores(
    engine: Engine | None,
    tensors: Mapping[str, Tensor],
    mask: Tensor,
    ids: Tensor,
    steps: int,
    seed: int | None,
    heads: Mapping[int, Sequence[int]] | None,
) -> dict[str, Any]:
    """The answer of `AceStepHandler.get_lyric_score`; takes the same arguments, never raises."""
    values: dict[str, float] = {}
    try:
        timing = _timing(_model(engine), tensors, mask, ids, steps, seed, heads)
        for name, level in (("lm_score", 1.0), ("dit_score", timing.level)):
            result = _timed(engine, replace(timing, level=level, scored=True))
            if result.score is None:
                raise HeadroomError("; ".join(note.sentence() for note in result.notes))
            values[name] = round(result.score, 4)
    except HeadroomError as error:
        return {"lm_score": 0.0, "dit_score": 0.0, "success": False, "error": str(error)}
    return {**values, "success": True, "error": None}


def _model(engine: Engine | None) -> AceStep:
    """The model of an engine. Raises HeadroomError if there is none of this family."""
    from headroom.models.acestep.model import AceStep

    if engine is None or not isinstance(engine.model, AceStep):
        raise HeadroomError(MODEL_NOT_INITIALIZED)
    return engine.model


def _timed(engine: Engine | None, timing: Timing) -> Timestamps:
    assert engine is not None  # `_model` has checked
    return engine.carry_out(_model(engine).find_words(timing))


def _timing(
    model: AceStep,
    tensors: Mapping[str, Tensor],
    mask: Tensor,
    ids: Tensor,
    steps: int,
    seed: int | None,
    heads: Mapping[int, Sequence[int]] | None,
    seconds: float | None = None,
) -> Timing:
    """The same as work for the model, on the first `seconds`. Raises InvalidRequest for tensors
    that do not fit together."""
    from headroom.models.acestep.networks.config import LATENT_RATE
    from headroom.models.acestep.text.lyric_tokens import lyric_tokens
    from headroom.models.acestep.timestamps.timestamps import SEED, Timing, check_heads, heads_of

    for name, tensor in tensors.items():
        if tensor.dim() != 3 or tensor.shape[0] != 1:
            raise InvalidRequest(name, tuple(tensor.shape), "[1, length, width], of one song")
    latents, conditions, context = (tensor[0].detach().cpu() for tensor in tensors.values())
    channels = model.config.latent_channels
    widths = (channels, model.config.encoder.width, 2 * channels)
    for (name, tensor), width in zip(tensors.items(), widths, strict=True):
        if tensor.shape[-1] != width:
            raise InvalidRequest(name, tuple(tensor.shape), f"a width of {width}")
    if len(context) != len(latents):
        raise InvalidRequest("context_latents", len(context), f"{len(latents)} frames")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InvalidRequest("inference_steps", steps, "a whole number, at least 1")
    frames = len(latents)
    if seconds is not None:
        frames = min(frames, round(seconds * LATENT_RATE))
    if frames < 1:
        raise InvalidRequest("total_duration_seconds", seconds, "a length above 0")
    if heads is not None:
        check_heads(heads, model.config)
    token_ids = ids.flatten().tolist()
    tokenizer = model.assets.tokenizer
    prompt = tokenizer.text(token_ids)
    try:
        # If the ids end inside a character, the text differs from there on.
        pairs = zip(tokenizer.lyrics(prompt), token_ids, strict=False)
        matching = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        words = lyric_tokens(prompt, tokenizer.lyric_spans(prompt)[:matching])
    except ValueError as error:
        raise InvalidRequest("lyric_token_ids", prompt, "those of a lyric prompt") from error
    return Timing(
        latents.float(),
        conditions[mask.flatten().bool().cpu()],
        context.float(),
        words,
        frames,
        1 / steps,
        heads_of(model.config) if heads is None else heads,
        seed=SEED if seed is None else seed,
    )


def _error(message: str) -> dict[str, Any]:
    return {
        "lrc_text": "",
        "sentence_timestamps": [],
        "token_timestamps": [],
        "success": False,
        "error": message,
    }
