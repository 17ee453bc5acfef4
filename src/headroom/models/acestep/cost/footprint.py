"""What rendering songs needs, in bytes, computed from sizes alone: components and stages. No torch.

Weights are exact (a test compares them with the modules). So are workspaces of the released sizes,
whose formulas come from traces of the real modules (`workspaces`). For other sizes, and for the
state that samplers other than the plain one keep, the figures are upper bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from headroom.memory.footprint import DECODE, DENOISE, Footprint, Stage, Way
from headroom.memory.precision import CONVERTED
from headroom.models.acestep.cost import measures, workspaces
from headroom.models.acestep.cost.components import (
    Networks,
    components,
    dit_matrices,
    has_sounds,
    layer_weights,
)
from headroom.models.acestep.cost.measures import Measured, PromptTokens, TokenCounter
from headroom.models.acestep.networks.component_names import (
    CODES,
    CONDITION,
    CONDITIONER,
    DIT,
    SCHEDULE,
    TEXT_ENCODER,
    TIME,
    VAE_DECODER,
    VAE_ENCODER,
)
from headroom.models.acestep.networks.config import AceStepConfig, BlockSizes
from headroom.models.acestep.networks.released import released_size
from headroom.models.acestep.requests.tasks import SourceChannels
from headroom.models.acestep.song.song import Song, same_condition
from headroom.nn.oobleck_cost import decode_bytes, decode_flops, encode_bytes
from headroom.nn.oobleck_layout import spread

BYTES = measures.Bytes()
_ROUNDED = 10  # bytes per value of products with rounded activations: sums in int32 and fp32
DECODE_TILES = (1536, 1024, 512, 256, 128, 64)  # latent frames, the fastest first
ENCODE_TILE = 64  # latent frames of a recording encoded at a time
SLOWER_PER_PIECE = 0.03  # cost of each further piece, as a share of the whole stage
LEAVING = 0.01  # cost of moving results off the device as they are made, as a share
_KEPT = 3  # tensors per condition and layer: keys, values, and the keys before their norm
_STATES = 16  # latents held at a time: noise, source, mask, velocities, the rules' state


def songs_footprint(
    songs: Sequence[Song], networks: Networks, reader: TokenCounter = BYTES
) -> Footprint:
    """Components and stages of one pass over the songs; `reader` counts the prompts' tokens."""
    return Footprint(components(songs, networks), song_stages(songs, networks, reader))


# --- workspaces --------------------------------------------------------------------------


def song_stages(
    songs: Sequence[Song], networks: Networks, reader: TokenCounter = BYTES
) -> tuple[Stage, ...]:
    """The stages that `render` runs, in order. `reader` counts tokens; the default gives an upper
    bound.
    """
    config, size = networks.config, networks.size
    e, d = config.encoder, config.dit
    longest = max(song.frames for song in songs)
    prompts = measures.prompt_tokens(songs, reader)
    second = songs[0].instruction_after is not None
    guided, times = any(songs[0].sampling.guided), len(songs[0].sampling.times)
    result: list[Stage] = []
    if has_sounds(songs):
        result.append(_encode(songs, networks))
    if any(song.channels is SourceChannels.HINTS for song in songs):
        # A row for each frame, one more for each code, and the groups before and after.
        rows = longest // config.pool * (config.pool + 1) + config.pool + 1
        room = (rows * _stack_row(e) + longest * 4 * e.width) * size
        work = 2.0 * rows * layer_weights(e) * config.pooler_layers * len(songs)
        result.append(Stage("codes", (CODES,), (Way(room),), flops=work))
    rows, away = sum(p.rows for p in prompts), sum(p.away_rows for p in prompts)
    result.append(
        Stage(
            CONDITION,
            (TEXT_ENCODER, CONDITIONER),
            (Way(_condition(prompts, networks, guided, second)),),
            flops=_condition_flops(prompts, networks) * (1 + second + bool(away)),
            result=size * e.width * (rows * (1 + second) + (away or guided)),
            until=DENOISE,
        )
    )
    schedule = measures.schedule(times)
    result.append(
        Stage(
            SCHEDULE,
            (TIME,),
            (Way(traced_bytes(networks, schedule) or 2 * (times + 1) * 8 * d.width * size),),
            flops=4.0 * times * 7 * d.width * d.width,
            result=size * times * 7 * d.width,
            until=DENOISE,
        )
    )
    steps = songs[0].sampling.evaluations
    result.append(
        Stage(
            DENOISE,
            (DIT,),
            _denoise(songs, prompts, networks),
            passes=steps + 1,
            flops=steps * dit_flops(songs, rows + away, config) * (1 + guided),
        )
    )
    result.append(_decode(songs, networks))
    return tuple(result)


def traced_bytes(
    networks: Networks, measured: Measured, precision: str | None = None
) -> int | None:
    """Bytes known from traces; None for sizes and kinds of work that were not traced."""
    size = released_size(networks.config, networks.text_encoder, networks.vae)
    return None if size is None else workspaces.room(size, precision or networks.dtype, measured)


def _stack_row(s: BlockSizes) -> int:
    """Values alive per row at the peak of a layer, in its MLP: the layer's input, the rows after
    attention, after the norm and after the sum; gate, up, the activated gate, and the product.
    Where the heads are wide beside the MLP the peak may be in attention, which is bounded above."""
    queries, keys = s.heads * s.head_dim, s.kv_heads * s.head_dim
    return 4 * s.width + max(4 * s.hidden, 5 * queries + 4 * keys)


def _condition(
    prompts: Sequence[PromptTokens], networks: Networks, guided: bool, second: bool
) -> int:
    """Bytes: exact for one condition without recordings, an upper bound for all others."""
    config = networks.config
    if len(prompts) == 1 and not prompts[0].references and not second:
        p = prompts[0]
        room = traced_bytes(networks, measures.condition(p, config, guided and p.away is None))
        if room is not None and p.away is None:
            return room
        if room is not None and p.away is not None:
            before = traced_bytes(networks, measures.condition(p.away, config, False))
            earlier = p.away_rows * config.encoder.width * networks.size
            return max(before or 0, room + earlier)
    each = config.timbre_frames + config.timbre_cls
    # The conditions are encoded one kind after another; earlier results are kept.
    aways = [p.away for p in prompts if p.away is not None]
    length = sum(max(p.rows, p.away_rows) + max(1, p.references) * each for p in prompts)
    length += sum(p.rows for p in (*prompts, *aways)) if aways else 0
    lyrics = [p.lyrics for p in (*prompts, *aways)]
    masks = measures.making_masks([each, *lyrics], config, networks.size)
    return length * _stack_row(config.encoder) * networks.size + masks


def _condition_flops(prompts: Sequence[PromptTokens], networks: Networks) -> float:
    config, text = networks.config, networks.text_encoder
    layer = layer_weights(config.encoder)
    timbre = sum(max(1, w.references) for w in prompts) * (config.timbre_frames + config.timbre_cls)
    return 2.0 * (
        sum(p.caption for p in prompts) * text.layers * layer_weights(text.sizes)
        + sum(p.lyrics for p in prompts) * config.lyric_layers * layer
        + timbre * config.timbre_layers * layer
    )


def song_groups(count: int, pieces: int) -> list[range]:
    """The songs of a batch in this many groups of neighbours, as equal as possible; `render`
    divides them the same way.
    """
    ends = [count * i // pieces for i in range(pieces + 1)]
    return [range(a, b) for a, b in pairwise(ends) if a < b]


def _denoise(
    songs: Sequence[Song], prompts: Sequence[PromptTokens], networks: Networks
) -> tuple[Way, ...]:
    """Ways to denoise: the whole batch at once, in two groups, and so on down to single songs."""
    owners: list[int] = []
    for i, song in enumerate(songs):
        new = i == 0 or not same_condition(songs[i - 1], song)
        owners.append((owners[-1] if owners else -1) + new)
    ways = []
    for precision in (networks.dtype, *CONVERTED):
        for pieces in range(1, len(songs) + 1):
            rooms = []
            for group in song_groups(len(songs), pieces):
                used = sorted({owners[i] for i in group})
                batch = songs[group.start : group.stop]
                rooms.append(_room(batch, [prompts[i] for i in used], networks, precision))
            more = SLOWER_PER_PIECE * (pieces - 1)
            ways.append(Way(max(rooms), pieces=pieces, more=more, precision=precision))
    return tuple(ways)


def _room(
    batch: Sequence[Song], prompts: Sequence[PromptTokens], networks: Networks, precision: str
) -> int:
    """Bytes for one group in one precision of the weights; fp8 is expanded just as int8 is."""
    if precision in ("int8", "fp8") and networks.dtype == "bfloat16":
        work = measures.denoise(batch, len(prompts), _rows(prompts), networks.config)
        if traced_bytes(networks, work, "int8") is not None:
            return _denoise_room(batch, prompts, networks, "int8")
    halves = 2 if any(batch[0].sampling.guided) else 1
    tokens = halves * sum(-(-song.frames // networks.config.patch) for song in batch)
    plain = _denoise_room(batch, prompts, networks, networks.dtype)
    return plain + converting(tokens, _rows(prompts), networks, precision)


def _rows(prompts: Sequence[PromptTokens]) -> int:
    """Rows of the conditions whose keys and values are kept."""
    return sum(p.rows + p.away_rows for p in prompts)


def converting(tokens: int, rows: int, networks: Networks, precision: str) -> int:
    """An upper bound for what products with DiT weights in this precision need beyond plain
    products, for so many tokens of latents and rows of conditions."""
    d = networks.config.dit
    largest = 2 * d.width * d.hidden * networks.size
    if precision == networks.dtype:
        return 0
    if precision in ("int8", "fp8"):
        return 2 * largest
    if precision == "int4":
        return 4 * largest
    # No matrix is expanded: the widest product of the latents, or that of the conditions' keys and
    # values.
    return max(tokens * 2 * d.hidden, rows * 2 * d.kv_heads * d.head_dim) * _ROUNDED


def _denoise_room(
    batch: Sequence[Song], prompts: Sequence[PromptTokens], networks: Networks, precision: str
) -> int:
    """Bytes: exact for a plain sampler; other rules' state is added as a number of latents."""
    config, size = networks.config, networks.size
    rows = _rows(prompts)
    states = 4 * _STATES * len(batch) * max(song.frames for song in batch) * config.latent_channels
    room = traced_bytes(networks, measures.denoise(batch, len(prompts), rows, config), precision)
    if room is None:
        table = len(batch[0].sampling.times) * (config.dit_layers + 2) * 6 * config.dit.width * size
        return max(_layers(batch, config, rows, size), table) + table + states
    if any(p.away is not None for p in prompts):  # there is no null condition then
        room -= config.dit_layers * config.dit.width * size
    if measures.is_plain(batch):
        return room
    second = 0
    if batch[0].instruction_after is not None:
        d, tokens = config.dit, sum(-(-song.frames // config.patch) for song in batch)
        cache = _KEPT * config.dit_layers * rows * d.kv_heads * d.head_dim
        second = size * (tokens * d.width + cache + rows * (config.encoder.width + d.width))
    ragged = 0
    if len({song.frames for song in batch}) > 1:
        # Positions and gather indices, the joined rows after attention, and a mask for each length.
        ragged = sum(-(-song.frames // config.patch) for song in batch) * (
            size * 3 * config.dit.heads * config.dit.head_dim + 64
        )
    return room + states + second + ragged


def _layers(songs: Sequence[Song], config: AceStepConfig, rows: int, size: int) -> int:
    """Bytes of the tokens at the MLP of one layer, context, window masks, and every layer's keys
    and values.
    """
    lengths = [-(-song.frames // config.patch) for song in songs]
    halves = 2 if any(songs[0].sampling.guided) else 1
    conditions = 1 if songs[0].instruction_after is None else 2
    return layers_room(lengths, rows, config, size, config.dit_layers, halves, conditions)


def layers_room(
    lengths: Sequence[int],
    rows: int,
    config: AceStepConfig,
    size: int,
    layers: int,
    halves: int = 1,
    conditions: int = 1,
) -> int:
    """An upper bound for the same, for sequences of tokens that pass through the first layers."""
    d, tokens = config.dit, sum(lengths)
    window = max((w for w in config.windows if w is not None), default=0)
    cache = _KEPT * layers * rows * d.kv_heads * d.head_dim
    return measures.making_masks(lengths, config, size) + size * (
        tokens * halves * (_stack_row(d) + d.head_dim)
        + sum(length * min(length, 4 * window) for length in set(lengths))
        + conditions * (tokens * d.width + cache + rows * (config.encoder.width + d.width))
    )


def dit_flops(songs: Sequence[Song], rows: int, config: AceStepConfig) -> float:
    """Operations for one velocity of a batch whose conditions have `rows` rows in total."""
    lengths = [-(-song.frames // config.patch) for song in songs]
    return layers_flops(lengths, rows, config, config.dit_layers)


def layers_flops(lengths: Sequence[int], rows: int, config: AceStepConfig, layers: int) -> float:
    """Operations of the first layers alone."""
    d = config.dit
    wide = d.heads * d.head_dim
    window = max((w for w in config.windows if w is not None), default=0)
    matrices = dit_matrices(d) - 2 * d.width * d.kv_heads * d.head_dim  # cross keys: once per song
    products = 2.0 * sum(lengths) * matrices * layers
    scores = sum(n * ((n + min(n, 2 * window + 1)) / 2 + rows / len(lengths)) for n in lengths)
    return products + 4.0 * scores * wide * layers


def _decode(songs: Sequence[Song], networks: Networks) -> Stage:
    """Tiles of the decoder, the largest first; results stay on the device, or leave it tile by
    tile.

    If not all songs ask for tiles, decoding everything at once comes first.
    """
    vae, size = networks.vae, networks.size
    frames = max(song.frames for song in songs)
    total = sum(song.frames for song in songs)
    audio = 4 * vae.audio_channels * frames * vae.hop
    # All tiles at least as large as the song are equivalent.
    whole = min((tile for tile in DECODE_TILES if tile >= frames), default=DECODE_TILES[0])
    tiles = [tile for tile in DECODE_TILES if tile <= whole]
    if not all(song.finish.tiled for song in songs) and frames > whole:
        tiles.insert(0, frames)
    ways = []
    for leaves in (False, True):
        for tile in tiles:
            measured = measures.decode_work(frames, tile, vae.decode_halo)
            room = traced_bytes(networks, measured)
            if room is None:
                latents = vae.latent_channels * frames * size
                room = latents + decode_bytes(vae, frames, tile, None, itemsize=size)
            more = _twice(frames, tile, vae.decode_halo) + LEAVING * leaves
            retained = 0 if leaves else audio
            ways.append(Way(room + retained, tile=tile, leaves=leaves, more=more))
    return Stage(
        DECODE,
        (VAE_DECODER,),
        tuple(ways),
        flops=decode_flops(vae, total),
        host=4 * vae.audio_channels * total * vae.hop,
    )


def _twice(frames: int, tile: int, halo: int) -> float:
    """The share of the frames that are decoded by more than one tile."""
    core = spread(frames, tile, halo)
    count = max(1, -(-(frames - 2 * halo) // core))
    return (count - 1) * 2 * halo / frames


def _encode(songs: Sequence[Song], networks: Networks) -> Stage:
    """One tile of the encoder; recordings stay on the host."""
    vae = networks.vae
    recordings = [song.frames for song in songs if song.source is not None]
    recordings += [networks.config.timbre_frames for song in songs for _ in song.references]
    frames = max(recordings)
    room = encode_bytes(vae, frames, ENCODE_TILE, itemsize=networks.size)
    work = decode_flops(vae, sum(recordings))  # the encoder mirrors the decoder
    return Stage("encode", (VAE_ENCODER,), (Way(room, tile=ENCODE_TILE),), flops=work)
