"""The loop of `decode` through mlx-lm: what the name `mlx` selects.

mlx computes in memory of its own, so the loaded weights are copied into mlx-lm's own Qwen3, and
what was read before into its cache; both live until the codes are written. A guided song is two
rows of one forward here too, the shorter one padded on the left. Tokens are sampled as `sample`
does, from the same uniforms. Codes only: metadata and texts are written by torch's loop
(`constrained_decode`), whose grammar needs every token on the host.

mlx comes with the extra `mlx` and is imported when something is to be written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import Tensor

from headroom.lm.cost import MLX_READS, MLX_SPARE
from headroom.lm.decode import TOLD_EVERY, DecodeProgress, Ids, ReadBefore, Writing
from headroom.lm.sample import NONE, Sampling
from headroom.nn.causal import HIDDEN, CausalLM

Array: TypeAlias = Any  # mlx.core.array
PLAIN = frozenset({torch.float32, torch.bfloat16, torch.float16})


def takes(model: CausalLM) -> bool:
    """Whether mlx can take a model: it cannot take converted weights."""
    return {tensor.dtype for tensor in model.parameters()} <= PLAIN


def write_mlx(
    model: CausalLM,
    writing: Writing,
    uniforms: Tensor,
    device: torch.device,
    progress: DecodeProgress,
    before: ReadBefore | None = None,
) -> Tensor:
    """As `decode.write`: token ids [songs, count], on the host. `device` is the CPU or MPS."""
    with _at_work(device):
        loop = _Loop(model, writing, uniforms, before)
        try:
            for number in range(writing.count):
                if number % TOLD_EVERY == 0:
                    loop.wait()
                    progress(number, writing.count)
                loop.turn(number)
            drawn = loop.drawn()
            progress(writing.count, writing.count)
            return drawn
        finally:
            del loop  # an exception keeps this frame alive, and with it the loop


@contextmanager
def _at_work(device: torch.device) -> Iterator[None]:
    """mlx on the device, with a small cache of unused memory, released afterwards."""
    import mlx.core as mx

    on_host = device.type == "cpu"
    limit = mx.set_cache_limit(MLX_SPARE)
    if on_host:
        mx.disable_compile()  # on the CPU it would write C++ files and call a compiler
    try:
        with mx.stream(mx.cpu if on_host else mx.gpu):
            yield
            mx.synchronize()
    finally:
        if on_host:
            mx.enable_compile()
        mx.set_cache_limit(limit)
        mx.clear_cache()


class _Loop:
    """State kept from token to token."""

    def __init__(
        self, model: CausalLM, writing: Writing, uniforms: Tensor, before: ReadBefore | None
    ) -> None:
        import mlx.core as mx

        self._writing = writing
        self._network = network(model)
        self._head = self._network.embed_tokens.weight[writing.words].T
        self._chances = array(uniforms)
        self._songs = mx.arange(len(writing.prompts))
        words = writing.words.stop - writing.words.start
        self._seen = mx.zeros((len(writing.prompts), words), mx.bool_)
        self._drawn: list[Array] = []
        self._caches, self._hidden = self._read(before)

    def turn(self, number: int) -> None:
        """Sample token `number` of every song, and feed it to the model unless it is the last."""
        import mlx.core as mx

        writing = self._writing
        logits = (self._hidden @ self._head).astype(mx.float32)
        if writing.against is not None:
            logits = mlx_guided(logits, writing.scale)
        if writing.sampling.penalty != 1:
            logits = mlx_penalised(logits, self._seen, writing.sampling.penalty)
        token = mlx_draw_tokens(logits, self._chances[:, number], writing.sampling)
        if writing.sampling.penalty != 1:
            self._seen[self._songs, token] = True
        token = token + writing.words.start
        self._drawn.append(token)
        if number + 1 < writing.count:
            rows = token if writing.against is None else mx.concatenate([token, token])
            self._hidden = self._network(rows[:, None], cache=self._caches)[:, 0]
        mx.async_eval(token, self._hidden, self._seen)

    def wait(self) -> None:
        """Wait until all queued work is done."""
        import mlx.core as mx

        mx.eval(self._hidden)

    def drawn(self) -> Tensor:
        """Token ids [songs, count], on the host."""
        return torch.tensor([token.tolist() for token in self._drawn]).T.contiguous()

    def _read(self, before: ReadBefore | None) -> tuple[list[Any], Array]:
        """Each distinct prompt once: the caches of all rows, and hidden states [rows, width]."""
        import mlx.core as mx
        from mlx_lm.models.cache import BatchKVCache

        sequences = self._writing.sequences
        read = {prompt: self._read_one(prompt, before) for prompt in dict.fromkeys(sequences)}
        caches = []
        for layer in zip(*(read[prompt][0] for prompt in sequences), strict=True):
            cache = BatchKVCache.merge(list(layer))
            cache.step = self._writing.count  # it grows once, to its final size
            mx.eval(cache.keys, cache.values)
            caches.append(cache)
        return caches, mx.concatenate([read[prompt][1] for prompt in sequences])

    def _read_one(self, prompt: Ids, before: ReadBefore | None) -> tuple[list[Any], Array]:
        import mlx.core as mx
        from mlx_lm.models.cache import KVCache

        caches = [KVCache() for _ in self._network.layers]
        start = 0 if before is None else before.shared(prompt)
        if before is not None and start:
            for cache, past in zip(caches, before.cache.past, strict=True):
                cache.keys = array(past.keys[:1, :, :start])
                cache.values = array(past.values[:1, :, :start])
                cache.offset = start
        hidden = None
        for first in range(start, len(prompt), MLX_READS):
            ids = mx.array(prompt[first : first + MLX_READS])[None]
            hidden = self._network(ids, cache=caches)[:, -1]
            mx.eval(hidden, [cache.state for cache in caches])
        return caches, hidden


def network(model: CausalLM) -> Any:
    """mlx-lm's Qwen3 with copies of a model's weights: ids [rows, n] → hidden states."""
    import mlx.core as mx
    from mlx.utils import tree_flatten
    from mlx_lm.models.qwen3 import ModelArgs, Qwen3Model

    sizes, table = model.sizes, model.embed_tokens
    qwen = Qwen3Model(
        ModelArgs(
            model_type="qwen3",
            hidden_size=sizes.width,
            num_hidden_layers=len(model.layers),
            intermediate_size=sizes.hidden,
            num_attention_heads=sizes.heads,
            rms_norm_eps=sizes.eps,
            vocab_size=table.num_embeddings,
            num_key_value_heads=sizes.kv_heads,
            max_position_embeddings=0,  # read only where positions are scaled
            head_dim=sizes.head_dim,
            tie_word_embeddings=True,
            rope_theta=sizes.theta,
        )
    )
    names = [name for name, _ in tree_flatten(qwen.parameters())]
    qwen.load_weights([(name, array(model.get_parameter(name))) for name in names])
    mx.eval(qwen.parameters())
    return qwen


def array(tensor: Tensor) -> Array:
    """A copy for mlx; numpy, which it reads, has no bfloat16."""
    import mlx.core as mx

    values = tensor.detach().cpu()
    if values.dtype == torch.bfloat16:
        return mx.array(values.view(torch.uint16).numpy()).view(mx.bfloat16)
    return mx.array(values.numpy())


def mlx_guided(logits: Array, scale: float) -> Array:
    """As `sample.guided`: fp32 logits [2·S, n] → [S, n]."""
    import mlx.core as mx

    conditional, unconditional = mx.split(logits, 2)
    return conditional - (conditional - unconditional) * (1 - scale)


def mlx_penalised(logits: Array, drawn: Array, penalty: float) -> Array:
    """As `sample.penalised`."""
    import mlx.core as mx

    lower = mx.where(logits > 0, logits / penalty, logits * penalty)
    return mx.where(drawn, lower, logits)


def mlx_draw_tokens(logits: Array, chances: Array, sampling: Sampling) -> Array:
    """As `sample.draw`: token numbers [S] for fp32 logits [S, n] and uniforms [S], or NONE."""
    import mlx.core as mx

    if sampling.temperature == 0:
        return mx.where(mx.isfinite(logits.sum(-1)), logits.argmax(-1).astype(mx.int32), NONE)
    logits = logits / sampling.temperature
    if 0 < sampling.top_k < logits.shape[-1]:
        least = mx.topk(logits, sampling.top_k).min(-1, keepdims=True)
        logits = mx.where(logits < least, HIDDEN, logits)
    odds = mx.softmax(logits, axis=-1)
    if sampling.top_p < 1:
        odds = _nucleus(odds, sampling.top_p)
    sums = odds.cumsum(-1)
    total = sums[:, -1:]
    below = (total.view(mx.int32) - 1).view(mx.float32)  # the next number down
    thresholds = mx.minimum(chances[:, None] * total, below)
    return mx.where(total[:, 0] > 0, (sums <= thresholds).sum(-1), NONE)


def _nucleus(odds: Array, share: float) -> Array:
    import mlx.core as mx

    falling = -mx.sort(-odds, axis=-1)
    before = falling.cumsum(-1) - falling
    least = mx.where(before >= share, 2.0, falling).min(-1, keepdims=True)
    return mx.where(odds < least, 0.0, odds)
