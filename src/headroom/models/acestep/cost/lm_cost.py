"""What a language model's acts take, in bytes, from sizes alone: its component and its stages.

Weights and cache are exact (tests count the modules and the allocations). So is the room beside
them for the released sizes, whose formulas come from traces of the real loop (`workspaces`); for
other sizes, and for what mlx copies and holds, it is an estimate from above. No torch.
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
from headroom.models.acestep.cost.footprint import SLOWER_PER_PIECE, groups
from headroom.models.acestep.cost.measures import Measured
from headroom.models.acestep.networks.component_names import LANGUAGE_MODEL
from headroom.models.acestep.networks.config import CODE_FRAMES, LATENT_RATE, TextEncoderConfig
from headroom.models.acestep.networks.released import lm_size_of, released_text_encoder
from headroom.models.acestep.text.codes_text import CODEBOOK

CODE_RATE = LATENT_RATE // CODE_FRAMES  # codes a second
TEXT_WORDS = released_text_encoder().vocabulary  # before the first code: the same tokenizer
METADATA_TOKENS = 650  # of a song's metadata at most: a caption of 512 and five short fields
FORCED_TOKENS = 700  # of fixed text at once, at most: a caption that is given
USUAL_METADATA = 140  # as it usually is, for the time it takes
FRAME = 33  # tokens of a prompt with nothing in it; also those of the prompt guided away from
PRECISIONS_OF_LM = ("int8", "fp8")  # four bits break the codes


@dataclass(frozen=True, slots=True)
class Thinking:
    """What a language model has to do for a request.

    prompts   tokens of the prompt of each song
    metadata  tokens of metadata it may write first, and that the codes then follow; 0: none
    codes     codes to write a song; 0: none
    guided    whether the codes are guided away from the empty prompt
    sheets    how often metadata are written: once for all songs, for each, or (0) not at all
    away      tokens of the prompt that is guided away from
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
        """Sequences that are written at once, where all songs go together."""
        return len(self.prompts) * (1 + self.guided)

    def tokens(self) -> int:
        """That a row holds at the end."""
        return max(*self.prompts, self.away) + self.metadata + self.codes


def thinking(
    caption: str, lyrics: str, seconds: float, songs: int, guided: bool, metadata: bool = True
) -> Thinking:
    """The work of a request; words are counted from above, a token for each byte."""
    prompt = FRAME + len(caption.encode()) + len(lyrics.encode())
    room = METADATA_TOKENS if metadata else 0
    return Thinking((prompt,) * songs, room, int(seconds * CODE_RATE), guided)


def footprint(
    work: Thinking, config: TextEncoderConfig, dtype: str, backend: str = "pt"
) -> Footprint:
    """The model, and the stages of the work. `dtype` is that of its activations.

    backend  that writes the codes, as `headroom.lm.backend` names it: graphs keep what they work
             with, and mlx takes the weights once more
    """
    return Footprint((component(config, dtype),), stages(work, config, dtype, backend))


def component(config: TextEncoderConfig, dtype: str) -> Component:
    """The model in its own precision, and in those that leave the codes whole.

    It never passes through: each token would wait for all of it.
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
    return Component(
        LANGUAGE_MODEL, blocks, rest * size, dtype, tuple(others), streams=False
    )  # fmt: skip


def stages(
    work: Thinking, config: TextEncoderConfig, dtype: str, backend: str = "pt"
) -> tuple[Stage, ...]:
    """Metadata first, where they are not given; then the codes, whose cache begins as theirs."""
    found: list[Stage] = []
    layer, size = config.layers * layer_weights(config.sizes), PRECISIONS[dtype].bits // 8
    head = config.sizes.width
    before = max(work.prompts)
    if work.metadata and work.sheets:
        kept = _cache(config, 1, before + work.metadata, size)
        tokens = min(work.metadata, USUAL_METADATA)
        found.append(
            Stage(
                THINK,
                (LANGUAGE_MODEL,),
                _ways(work, config, dtype, thinks=True),
                passes=work.sheets * (tokens + 1),
                flops=2.0 * work.sheets * ((before + tokens) * layer + tokens * head * TEXT_WORDS),
                result=kept if work.codes else 0,
                until=WRITE if work.codes else None,
            )
        )
    if work.codes:
        read = sum(set(work.prompts)) + work.guided * work.away
        each = layer + head * CODEBOOK
        found.append(
            Stage(
                WRITE,
                (LANGUAGE_MODEL,),
                _ways(work, config, dtype, thinks=False, backend=backend),
                passes=work.codes + 1,
                flops=2.0 * (read * layer + work.rows * work.codes * each),
            )
        )
    return tuple(found)


def cache_of(work: Thinking, config: TextEncoderConfig, dtype: str, pieces: int = 1) -> int:
    """Bytes of the cache the codes are written with, where the songs go in so many pieces."""
    size = PRECISIONS[dtype].bits // 8
    most = max(len(group) for group in groups(len(work.prompts), pieces))
    return _cache(config, most * (1 + work.guided), work.tokens(), size)


def _cache(config: TextEncoderConfig, rows: int, tokens: int, size: int) -> int:
    s = config.sizes
    return cache_bytes(config.layers, s.kv_heads, s.head_dim, rows, tokens, size)


def _ways(
    work: Thinking, config: TextEncoderConfig, dtype: str, thinks: bool, backend: str = "pt"
) -> tuple[Way, ...]:
    """All songs at once, then in two groups, and so on; metadata are written once. Converted
    weights are none for mlx: with them torch writes."""
    found = []
    size = PRECISIONS[dtype].bits // 8
    for precision in (dtype, *PRECISIONS_OF_LM):
        if thinks:
            tokens = max(work.prompts) + work.metadata
            room = _room(config, 1, 1, max(work.prompts), tokens, 0, False, dtype, precision)
            room += _cache(config, 1, tokens, size)
            found.append(Way(room, precision=precision))
            continue
        for pieces in range(1, len(work.prompts) + 1):
            songs = max(len(group) for group in groups(len(work.prompts), pieces))
            rows, tokens = songs * (1 + work.guided), work.tokens()
            prompt = max(*work.prompts, work.away) + work.metadata
            more = SLOWER_PER_PIECE * (pieces - 1)
            if backend == "mlx" and precision == dtype:
                room = mlx_room(config, songs, rows, prompt, tokens, dtype)
                found.append(Way(room, pieces, more=more, precision=precision))
                continue
            room = _room(
                config, songs, rows, prompt, tokens, work.codes, work.guided, dtype, precision
            )  # fmt: skip
            room += _cache(config, rows, tokens, size)
            if backend == "vllm":
                room += graphs_room(config, songs, rows, tokens, size)
            found.append(Way(room, pieces, more=more, precision=precision))
    return tuple(found)


def measures(songs: int, rows: int, prompt: int, tokens: int, codes: int, guided: bool) -> Measured:
    """1, prompt tokens read at once, songs beyond the first, positions of all rows, those of one
    row where there are several songs, codes of all songs."""
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
    """Beside the cache: the prompt in a layer, or logits and what is drawn from them."""
    size, s = PRECISIONS[dtype].bits // 8, config.sizes
    largest = 2 * 2 * s.width * s.hidden * size if precision != dtype else 0
    name = lm_size_of(config)
    if name is not None and codes and dtype == "bfloat16":
        kind = "int8" if precision in PRECISIONS_OF_LM else dtype
        known = workspaces.room(name, kind, measures(songs, rows, prompt, tokens, codes, guided))
        if known is not None:
            return known
    words = CODEBOOK if codes else config.vocabulary
    table = capacity(tokens) * (s.head_dim * (size + 4) + rows * (size + 1 + 8))
    each = (4 * s.width + 6 * s.hidden) * size  # of the released sizes 0.6B takes all of it
    reading = prompt * each
    if not codes:  # fixed text is read with the prompt, or behind it: a mask, and every head's keys
        run, seen = min(FORCED_TOKENS, tokens - prompt), capacity(tokens)
        behind = 2 * seen * (run + s.heads * s.head_dim) * size
        reading = max((prompt + run) * each, run * each + behind)
    drawing = _drawing(config, songs, rows, words, size)
    return largest + table + max(reading, drawing) + songs * codes * (8 + 4)


def graphs_room(config: TextEncoderConfig, songs: int, rows: int, tokens: int, size: int) -> int:
    """What a recording of the loop holds beside the loop itself, from above: what a turn works
    with, in memory of its own, and what our own kernels hand from one to the next."""
    s = config.sizes
    handed = rows * (2 * s.width + (2 * s.heads + 2 * s.kv_heads) * s.head_dim + s.hidden) * size
    parts = rows * s.heads * (capacity(tokens) // SPLIT) * (s.head_dim + 2) * 4
    tables = capacity(tokens) * s.head_dim * size
    return _drawing(config, songs, rows, CODEBOOK, size) + handed + parts + tables


def _drawing(config: TextEncoderConfig, songs: int, rows: int, words: int, size: int) -> int:
    """Logits, and what is drawn from them."""
    return rows * words * size + songs * words * (4 * 8 + 8) + rows * config.sizes.width * 8 * size


def mlx_room(
    config: TextEncoderConfig,
    songs: int,
    rows: int,
    prompt: int,
    tokens: int,
    dtype: str,
) -> int:
    """What mlx takes beside torch's weights, from above: a copy of them, its cache (that of the
    prompts is there beside the one it grows to), and a run of a prompt, or logits and what is
    drawn from them. While weights are copied the largest matrix is in between."""
    size, s = PRECISIONS[dtype].bits // 8, config.sizes
    run = min(prompt, MLX_READS)
    scores = 4 * 2 * s.heads * max(run * prompt, rows * tokens)  # where no kernel spares them
    reading = run * (4 * s.width + 4 * s.hidden) * size * 2
    drawing = (rows * size + songs * 4 * 10) * CODEBOOK
    kept = _cache(config, rows, tokens, size) + _cache(config, rows, prompt, size)
    between = config.vocabulary * s.width * size
    working = kept + scores + max(reading, drawing)
    return component(config, dtype).bytes + max(between, working) + MLX_SPARE
