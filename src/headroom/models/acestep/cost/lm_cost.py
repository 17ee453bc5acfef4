"""What a language model's work needs, in bytes, from sizes alone: its component and its stages. No
torch.

Weights and cache are exact (tests compare them with the modules and the allocations). So is the
workspace for the released sizes, whose formulas come from traces of the real loop (`workspaces`).
For other sizes, and for what mlx copies and holds, it is an upper bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from headroom.lm.cost import MLX_READS, MLX_SPARE, SPLIT, cache_bytes, capacity
from headroom.memory.footprint import THINK, WRITE, Component, Footprint, Form, Stage, Way
from headroom.memory.precision import PRECISIONS, matrix_bytes
from headroom.models.acestep.cost import workspaces
from headroom.models.acestep.cost.components import (
    attention_shapes,
    layer_matrices,
    layer_vectors,
    layer_weights,
    mlp_shapes,
)
from headroom.models.acestep.cost.footprint import SLOWER_PER_PIECE, song_groups
from headroom.models.acestep.cost.measures import Measured
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.networks.config import TextEncoderConfig
from headroom.models.acestep.networks.released import lm_size_of, released_text_encoder
from headroom.models.acestep.text.codes_text import CODE_RATE, CODEBOOK

TEXT_WORDS = released_text_encoder().vocabulary  # ids before the codes; the tokenizer is the same
METADATA_TOKENS = 650  # most tokens of a song's metadata: a caption of 512 and five short fields
FORCED_TOKENS = 700  # most tokens of fixed text at a time: a given caption
USUAL_METADATA = 140  # tokens of typical metadata, to estimate the time
FRAME = 33  # tokens of an empty prompt; also of the prompt that codes are guided away from
PRECISIONS_OF_LM = ("int8", "fp8")  # with four bits the codes break


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a language model has to do for a request.

    prompts   tokens of each song's prompt
    metadata  most tokens of metadata written, or given, before the codes; 0: none
    codes     codes to write per song; 0: none
    guided    whether the codes are guided away from the empty prompt
    sheets    how often metadata are written: once for all songs, once for each, or never (0)
    away      tokens of the prompt that codes are guided away from
    """

    prompts: tuple[int, ...]
    metadata: int
    codes: int
    guided: bool
    sheets: int = 1
    away: int = FRAME

    def __post_init__(self) -> None:
        if not self.prompts or min(self.prompts) < 1 or self.metadata < 0 or self.codes < 0:
            raise ValueError(f"no work for a language model: {self}")

    @property
    def rows(self) -> int:
        """The number of sequences written at a time, if all songs are written together."""
        return len(self.prompts) * (1 + self.guided)

    def tokens(self) -> int:
        """The number of tokens a row holds at the end."""
        return max(*self.prompts, self.away) + self.metadata + self.codes


def thinking(
    caption: str, lyrics: str, seconds: float, songs: int, guided: bool, metadata: bool = True
) -> Thinking:
    """The work of a request; token counts are upper bounds, one token for each byte."""
    prompt = FRAME + len(caption.encode()) + len(lyrics.encode())
    room = METADATA_TOKENS if metadata else 0
    return Thinking((prompt,) * songs, room, int(seconds * CODE_RATE), guided)


def lm_footprint(
    work: Thinking,
    config: TextEncoderConfig,
    dtype: str,
    backend: str = "pt",
    name: str = LANGUAGE_MODEL,
) -> Footprint:
    """The model, and the stages of the work. `dtype` is the type of its activations.

    backend  the loop that writes the codes, as named by `headroom.lm.backend`: graphs keep their
             working memory, and mlx holds a second copy of the weights
    name     of its component
    """
    return Footprint(
        (component(config, dtype, name),), lm_stages(work, config, dtype, backend, name)
    )


def component(config: TextEncoderConfig, dtype: str, name: str = LANGUAGE_MODEL) -> Component:
    """The model in its own precision, and in those that do not break the codes.

    Its weights are never streamed: each token would wait for all of them.
    """
    s, size = config.sizes, PRECISIONS[dtype].bits // 8
    vectors = config.layers * layer_vectors(s)
    rest = s.width * (config.vocabulary + 1) + vectors
    shapes = (*attention_shapes(s), *mlp_shapes(s))
    others = []
    for precision in PRECISIONS_OF_LM:
        sizes = [matrix_bytes(rows, columns, precision, size) for rows, columns in shapes]
        stored, scales = sum(a for a, _ in sizes), sum(b for _, b in sizes)
        blocks = (stored,) * config.layers
        others.append(Form(precision, blocks, rest * size + config.layers * scales))
    blocks = (layer_matrices(s) * size,) * config.layers
    return Component(name, blocks, rest * size, dtype, tuple(others), streams=False)


def lm_stages(
    work: Thinking,
    config: TextEncoderConfig,
    dtype: str,
    backend: str = "pt",
    name: str = LANGUAGE_MODEL,
) -> tuple[Stage, ...]:
    """Metadata first, unless they are given; then the codes, whose cache starts with that of the
    metadata.
    """
    result: list[Stage] = []
    layer, size = config.layers * layer_weights(config.sizes), PRECISIONS[dtype].bits // 8
    head = config.sizes.width
    before = max(work.prompts)
    if work.metadata and work.sheets:
        cache = _cache(config, 1, before + work.metadata, size)
        tokens = min(work.metadata, USUAL_METADATA)
        result.append(
            Stage(
                THINK,
                (name,),
                _ways(work, config, dtype, thinks=True),
                passes=work.sheets * (tokens + 1),
                flops=2.0 * work.sheets * ((before + tokens) * layer + tokens * head * TEXT_WORDS),
                result=cache if work.codes else 0,
                until=WRITE if work.codes else None,
            )
        )
    if work.codes:
        read = sum(set(work.prompts)) + work.guided * work.away
        each = layer + head * CODEBOOK
        result.append(
            Stage(
                WRITE,
                (name,),
                _ways(work, config, dtype, thinks=False, backend=backend),
                passes=work.codes + 1,
                flops=2.0 * (read * layer + work.rows * work.codes * each),
            )
        )
    return tuple(result)


def cache_of(work: Thinking, config: TextEncoderConfig, dtype: str, pieces: int = 1) -> int:
    """Bytes of the cache for writing the codes, with the songs divided into this many pieces."""
    size = PRECISIONS[dtype].bits // 8
    most = max(len(group) for group in song_groups(len(work.prompts), pieces))
    return _cache(config, most * (1 + work.guided), work.tokens(), size)


def _cache(config: TextEncoderConfig, rows: int, tokens: int, size: int) -> int:
    s = config.sizes
    return cache_bytes(config.layers, s.kv_heads, s.head_dim, rows, tokens, size)


def _ways(
    work: Thinking, config: TextEncoderConfig, dtype: str, thinks: bool, backend: str = "pt"
) -> tuple[Way, ...]:
    """All songs at once, then in two groups, and so on; metadata are written one at a time. mlx
    does not take converted weights: with those, torch writes."""
    ways = []
    size = PRECISIONS[dtype].bits // 8
    for precision in (dtype, *PRECISIONS_OF_LM):
        if thinks:
            tokens = max(work.prompts) + work.metadata
            room = _room(config, 1, 1, max(work.prompts), tokens, 0, False, dtype, precision)
            room += _cache(config, 1, tokens, size)
            ways.append(Way(room, precision=precision))
            continue
        for pieces in range(1, len(work.prompts) + 1):
            songs = max(len(group) for group in song_groups(len(work.prompts), pieces))
            rows, tokens = songs * (1 + work.guided), work.tokens()
            prompt = max(*work.prompts, work.away) + work.metadata
            more = SLOWER_PER_PIECE * (pieces - 1)
            if backend == "mlx" and precision == dtype:
                room = mlx_room(config, songs, rows, prompt, tokens, dtype)
                ways.append(Way(room, pieces, more=more, precision=precision))
                continue
            room = _room(
                config, songs, rows, prompt, tokens, work.codes, work.guided, dtype, precision
            )  # fmt: skip
            room += _cache(config, rows, tokens, size)
            if backend == "vllm":
                room += graphs_room(config, songs, rows, tokens, size)
            ways.append(Way(room, pieces, more=more, precision=precision))
    return tuple(ways)


def measures(songs: int, rows: int, prompt: int, tokens: int, codes: int, guided: bool) -> Measured:
    """1, prompt tokens read at a time, songs beyond the first, positions of all rows, those of one
    row if there are several songs, codes of all songs."""
    key = f"write{' guided' * guided}{' batch' * (songs > 1)}"
    each = capacity(tokens)
    one = each if songs > 1 else 0
    return Measured(key, (1, prompt, songs - 1, each * rows, one, songs * codes))


def _room(
    config: TextEncoderConfig,
    songs: int,
    rows: int,
    prompt: int,
    tokens: int,
    codes: int,
    guided: bool,
    dtype: str,
    precision: str,
) -> int:
    """Bytes besides the cache: the prompt in a layer, or the logits and the sampling from them."""
    size, s = PRECISIONS[dtype].bits // 8, config.sizes
    largest = 2 * 2 * s.width * s.hidden * size if precision != dtype else 0
    name = lm_size_of(config)
    if name is not None and codes and dtype == "bfloat16":
        kind = "int8" if precision in PRECISIONS_OF_LM else dtype
        measured = workspaces.room(name, kind, measures(songs, rows, prompt, tokens, codes, guided))
        if measured is not None:
            return measured
    words = CODEBOOK if codes else config.vocabulary
    table = capacity(tokens) * (s.head_dim * (size + 4) + rows * (size + 1 + 8))
    each = (4 * s.width + 6 * s.hidden) * size  # of the released sizes, 0.6B uses all of it
    reading = prompt * each
    if not codes:  # fixed text is read with the prompt, or after it: a mask, and every head's keys
        run, positions = min(FORCED_TOKENS, tokens - prompt), capacity(tokens)
        behind = 2 * positions * (run + s.heads * s.head_dim) * size
        reading = max((prompt + run) * each, run * each + behind)
    drawing = _drawing(config, songs, rows, words, size)
    return largest + table + max(reading, drawing) + songs * codes * (8 + 4)


def graphs_room(config: TextEncoderConfig, songs: int, rows: int, tokens: int, size: int) -> int:
    """An upper bound for what recorded graphs hold besides the plain loop: the working memory of a
    turn, allocated separately, and what our own kernels pass on to one another."""
    s = config.sizes
    handed = rows * (2 * s.width + (2 * s.heads + 2 * s.kv_heads) * s.head_dim + s.hidden) * size
    parts = rows * s.heads * (capacity(tokens) // SPLIT) * (s.head_dim + 2) * 4
    tables = capacity(tokens) * s.head_dim * size
    return _drawing(config, songs, rows, CODEBOOK, size) + handed + parts + tables


def _drawing(config: TextEncoderConfig, songs: int, rows: int, words: int, size: int) -> int:
    """Bytes of the logits and of the sampling from them."""
    return rows * words * size + songs * words * (4 * 8 + 8) + rows * config.sizes.width * 8 * size


def mlx_room(
    config: TextEncoderConfig,
    songs: int,
    rows: int,
    prompt: int,
    tokens: int,
    dtype: str,
) -> int:
    """An upper bound for what mlx needs besides torch's weights: a copy of them, its cache (that of
    the prompts exists beside the one it grows to), and a run of a prompt, or the logits and the
    sampling from them. While weights are copied, the largest matrix exists once more."""
    size, s = PRECISIONS[dtype].bits // 8, config.sizes
    run = min(prompt, MLX_READS)
    scores = 4 * 2 * s.heads * max(run * prompt, rows * tokens)  # if no kernel avoids them
    reading = run * (4 * s.width + 4 * s.hidden) * size * 2
    drawing = (rows * size + songs * 4 * 10) * CODEBOOK
    caches = _cache(config, rows, tokens, size) + _cache(config, rows, prompt, size)
    between = config.vocabulary * s.width * size
    working = caches + scores + max(reading, drawing)
    return component(config, dtype).bytes + max(between, working) + MLX_SPARE
