"""The plain loop: rows, prompts that are shared, guidance, and what songs of a batch may differ in.

On a tiny network with drawn weights (`support.tiny_lm`), whose last three audio codes mean nothing.
"""

from __future__ import annotations

import random
from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from headroom.diffusion.noise import NoiseStream, uniforms
from headroom.lm.cache import Cache
from headroom.lm.decode import SEEN, TOLD_EVERY, CachedRows, ReadBefore, Writing, generate
from headroom.lm.sample import Sampling, draw_tokens
from headroom.nn.causal import CausalLM
from support.lm_tokenizer import CODES, VALID
from support.near import assert_agrees, assert_near
from support.tiny_lm import FIRST, WORDS, random_ids, tiny_network

CPU = torch.device("cpu")
ALL = slice(0, WORDS)
CODE = slice(FIRST, FIRST + VALID)
USUAL = Sampling(0.85, 0, 0.9, 1.0)


@pytest.fixture(scope="module")
def model() -> CausalLM:
    return tiny_network()


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def quiet(done: int, count: int) -> None:
    """Hears no progress."""


def wrote(
    model: CausalLM, writing: Writing, chances: Tensor, before: ReadBefore | None = None
) -> Tensor:
    return generate(model, writing, chances, CPU, quiet, before)


def last(model: CausalLM, tokens: tuple[int, ...], words: slice = ALL) -> Tensor:
    """Logits [words] behind a text, by reading all of it, without a cache."""
    hidden = model(torch.tensor(tokens), [len(tokens)])
    return model.logits(hidden[-1:], words)[0]


def drawn_writing(rng: random.Random) -> Writing:
    prompts = [random_ids(rng.randint(1, 90), rng.randrange(1 << 30)) for _ in range(4)]
    songs = tuple(rng.choice(prompts) for _ in range(rng.randint(1, 5)))
    against = random_ids(rng.randint(1, 40), rng.randrange(1 << 30))
    sampling = Sampling(
        rng.choice((0.0, 0.85, 1.5)), rng.choice((0, 20)), rng.choice((0.5, 0.9, 1.0)),
        rng.choice((1.0, 1.3)),
    )  # fmt: skip
    guided = against if rng.random() < 0.6 else None
    return Writing(songs, guided, rng.randint(1, 20), CODE, sampling, rng.choice((1.5, 2.0, 3.0)))


def by_hand(model: CausalLM, writing: Writing, song: int, chances: Tensor) -> list[int]:
    """One song's tokens, every token by two whole forwards."""
    told, untold = writing.prompts[song], writing.against
    found: list[int] = []
    for number in range(writing.count):
        logits = last(model, told, writing.words).float()
        if untold is not None:
            other = last(model, untold, writing.words).float()
            logits = other + writing.scale * (logits - other)
        for before in {token - writing.words.start for token in found}:
            penalty = writing.sampling.penalty
            logits[before] = (
                logits[before] / penalty if logits[before] > 0 else logits[before] * penalty
            )
        choice = draw_tokens(logits[None], chances[song, number : number + 1], writing.sampling)
        token = int(choice) + writing.words.start
        found.append(token)
        told += (token,)
        untold = None if untold is None else (*untold, token)
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_batch_is_what_whole_forwards_write_one_song_at_a_time(
    model: CausalLM, seed: int
) -> None:
    writing = drawn_writing(random.Random(seed))
    seeds = range(seed, seed + len(writing.prompts))
    chances = uniforms(seeds, writing.count, NoiseStream.CODES)
    found = wrote(model, writing, chances)
    assert found.shape == (len(writing.prompts), writing.count)
    for song in range(len(writing.prompts)):
        assert found[song].tolist() == by_hand(model, writing, song, chances), song


@pytest.mark.parametrize("seed", range(6))
def test_a_song_follows_from_its_seed_wherever_it_stands(model: CausalLM, seed: int) -> None:
    rng = random.Random(seed)
    prompts = {song: random_ids(rng.randint(1, 90), song) for song in (11, 12, 13, 14)}
    against = random_ids(12, 5) if seed % 2 else None

    def songs(seeds: list[int]) -> dict[int, list[int]]:
        told = tuple(prompts[song] for song in seeds)
        writing = Writing(told, against, 24, CODE, USUAL, 2.0)
        rows = wrote(model, writing, uniforms(seeds, 24, NoiseStream.CODES)).tolist()
        return dict(zip(seeds, rows, strict=True))

    together = songs([11, 12, 13, 14])
    assert songs([14, 12, 11, 13]) == together
    assert songs([13, 11]) == {song: together[song] for song in (13, 11)}
    for song in prompts:
        assert songs([song]) == {song: together[song]}
    assert len({tuple(row) for row in together.values()}) == 4


def behind(model: CausalLM, whole: Tensor, start: int) -> Tensor:
    """Logits behind every token from `start` on, by reading all of the text."""
    return model.logits(model(whole, [len(whole)])[start:], ALL)


def test_a_cache_gives_what_reading_all_again_gives(model: CausalLM) -> None:
    """Rows of different lengths, through several stretches of what attention looks over."""
    prompts = [random_ids(n, n) for n in (1, 60, 64, 150, 250)]
    count = 2 * SEEN + 9
    rows = CachedRows(model, prompts, count, CPU)
    seen = [rows.read(prompts)]
    then = [random_ids(count, 100 + row) for row in range(len(prompts))]
    for tokens in zip(*then, strict=True):
        seen.append(rows.feed(torch.tensor(tokens)))
    for row, (prompt, tokens) in enumerate(zip(prompts, then, strict=True)):
        whole = torch.tensor([*prompt, *tokens])
        found = model.logits(torch.stack([hidden[row] for hidden in seen]), ALL)
        assert_near(found, partial(behind, model, whole, len(prompt) - 1), row)
    assert rows.cache.lengths == [len(prompt) + count for prompt in prompts]


def counted(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Row and tokens of every prefill from now on."""
    reads: list[tuple[int, int]] = []
    prefill = model.prefill

    def told(ids: Tensor, past: object, row: int, start: int, rope: object) -> Tensor:
        reads.append((row, len(ids)))
        return prefill(ids, past, row, start, rope)  # type: ignore[arg-type]

    monkeypatch.setattr(model, "prefill", told)
    return reads


def test_a_prompt_of_many_songs_is_read_once_and_is_theirs_to_the_bit(
    model: CausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other, against = random_ids(70, 1), random_ids(31, 2), random_ids(33, 3)
    prompts = [one, other, one, one, against, against, against, against]
    alone = [CachedRows(model, (prompt,), 8, CPU) for prompt in prompts]
    expected = torch.cat([rows.read((p,)) for rows, p in zip(alone, prompts, strict=True)])
    reads = counted(model, monkeypatch)
    rows = CachedRows(model, prompts, 8, CPU)
    found = rows.read(prompts)
    assert reads == [(0, 70), (1, 31), (4, 33)]
    assert torch.equal(found, expected)
    for row, (prompt, own) in enumerate(zip(prompts, alone, strict=True)):
        length = len(prompt)
        assert rows.cache.lengths[row] == length
        shared = rows.cache.memory[:, :, row, :, :length]
        assert torch.equal(shared, own.cache.memory[:, :, 0, :, :length])


def test_guidance_of_one_is_none(model: CausalLM) -> None:
    prompts = (random_ids(40, 1), random_ids(25, 2))
    chances = uniforms((5, 6), 20, NoiseStream.CODES)
    plain = wrote(model, Writing(prompts, None, 20, CODE, USUAL), chances)
    against = random_ids(9, 3)
    assert torch.equal(
        wrote(model, Writing(prompts, against, 20, CODE, USUAL, 1.0), chances), plain
    )
    # And none of it writes what the other prompt has written.
    nothing = wrote(model, Writing(prompts, against, 20, CODE, USUAL, 0.0), chances)
    assert torch.equal(
        nothing, wrote(model, Writing((against,) * 2, None, 20, CODE, USUAL), chances)
    )
    assert not torch.equal(
        wrote(model, Writing(prompts, against, 20, CODE, USUAL, 2.0), chances), plain
    )


@pytest.mark.parametrize("seconds", [10, 11, 47])
def test_exactly_so_many_codes_are_written_and_none_that_means_nothing(seconds: int) -> None:
    """Five a second; the turn's end and the codes outside the codebook would be likelier."""
    model = tiny_network(4)
    model.embed_tokens.weight[FIRST + VALID :] *= 20
    model.embed_tokens.weight[:FIRST] *= 5
    prompt, count = random_ids(30, 1), 5 * seconds
    assert not FIRST <= int(last(model, prompt).argmax()) < FIRST + VALID
    for sampling in (Sampling(0.0, 0, 1.0, 1.0), Sampling(2.0, 0, 1.0, 1.0), USUAL):
        writing = Writing((prompt,) * 2, random_ids(12, 2), count, CODE, sampling, 2.0)
        found = wrote(model, writing, uniforms((1, 2), count, NoiseStream.CODES))
        assert found.shape == (2, count)
        assert int(found.min()) >= FIRST and int(found.max()) < FIRST + VALID < FIRST + CODES


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_run_of_the_head_is_the_head(dtype: torch.dtype) -> None:
    """The same rows of the same table, not copied; a kernel may sum them in another order."""
    model = tiny_network(1).to(dtype)
    table = model.embed_tokens.weight
    for rows in (1, 2, 7):
        hidden = torch.randn(rows, 64, generator=torch.Generator().manual_seed(rows)).to(dtype)
        exact = hidden.double() @ table.double().T
        whole = model.logits(hidden, ALL)
        for words in (CODE, slice(0, FIRST), slice(5, 6)):
            part, true = model.logits(hidden, words), exact[:, words]
            if dtype == torch.float32:
                assert_agrees(part, whole[:, words], true, words)
            else:
                assert (part.double() - true).norm() <= torch.finfo(dtype).eps * true.norm()
    assert table[CODE].data_ptr() == table.data_ptr() + FIRST * table.stride(0) * table.itemsize


@pytest.mark.parametrize("same", [0, 1, 20, 59, 60])
def test_what_was_read_before_is_not_read_again_and_changes_no_code(
    model: CausalLM, same: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = random_ids(60, 1)
    rows = CachedRows(model, (told,), 4, CPU)
    rows.read((told,))
    before = ReadBefore(told, rows.cache)
    changed = (told[same] + 1) % WORDS if same < len(told) else 0
    prompt = (*told[:same], changed, *random_ids(25, 2))
    writing = Writing((prompt, prompt), random_ids(9, 3), 30, CODE, USUAL, 2.0)
    chances = uniforms((7, 8), 30, NoiseStream.CODES)
    fresh = wrote(model, writing, chances)
    reads = counted(model, monkeypatch)
    assert torch.equal(wrote(model, writing, chances, before), fresh)
    assert reads[0] == (0, len(prompt) - same)


def test_no_more_is_taken_over_than_the_cache_holds(model: CausalLM) -> None:
    told = random_ids(40, 1)
    rows = CachedRows(model, (told,), 4, CPU)
    rows.read((told,))
    rows.cache.lengths[0] = 30
    before = ReadBefore(told, rows.cache)
    assert [before.shared(told[:n]) for n in (0, 1, 2, 30, 31, 32, 40)] == [0, 0, 1, 29, 30, 30, 30]


def test_progress_is_told_as_it_is_made_and_may_stop_it(model: CausalLM) -> None:
    writing = Writing((random_ids(9, 1),), None, 3 * TOLD_EVERY + 2, CODE, USUAL)
    chances = uniforms((1,), writing.count, NoiseStream.CODES)
    told: list[tuple[int, int]] = []
    generate(model, writing, chances, CPU, lambda done, count: told.append((done, count)))
    assert [done for done, _ in told] == [*range(0, writing.count, TOLD_EVERY), writing.count]
    assert {count for _, count in told} == {writing.count}

    class Stop(Exception):
        pass

    def stops(done: int, count: int) -> None:
        if done:
            raise Stop

    with pytest.raises(Stop):
        generate(model, writing, chances, CPU, stops)


def test_a_row_that_is_too_long_is_refused(model: CausalLM) -> None:
    prompt = random_ids(200, 1)
    rows = CachedRows(model, (prompt, prompt), 56, CPU)
    rows.read((prompt, prompt))
    assert rows.cache.capacity == 256
    with pytest.raises(ValueError, match="only a single row can be extended, not 2"):
        rows.extend((1, 2))
    for _ in range(56):
        rows.feed(torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="a row of 257 tokens in a cache for 256"):
        rows.feed(torch.tensor([1, 2]))
    single = CachedRows(model, (prompt,), 56, CPU)
    single.read((prompt,))
    with pytest.raises(ValueError, match="a row of 257 tokens in a cache for 256"):
        single.extend(random_ids(57, 2))


def test_a_row_is_read_on_in_pieces(model: CausalLM) -> None:
    """However a text is cut, the logits behind each piece are those of reading all at once."""
    rng = random.Random(3)
    text = random_ids(180, 4)
    for _ in range(8):
        cuts = sorted(rng.sample(range(1, len(text)), rng.randint(0, 9)))
        rows = CachedRows(model, ((),), len(text), CPU)
        for start, stop in pairwise([0, *cuts, len(text)]):
            found = model.logits(rows.extend(text[start:stop]), ALL)[0]
            assert_near(found, partial(last, model, text[:stop]))


def test_a_cache_shares_a_row_and_takes_one_over(model: CausalLM) -> None:
    cache = Cache(model, 4, 40, CPU)
    assert cache.rows == 4 and cache.bytes == cache.memory.nbytes
    cache.memory.normal_(generator=torch.Generator().manual_seed(0))
    before = cache.memory.clone()
    cache.lengths = [5, 0, 30, 2]
    cache.share(2, (0, 3))
    assert cache.lengths == [30, 0, 30, 30]
    for row in (0, 3):
        assert torch.equal(cache.memory[:, :, row, :, :30], before[:, :, 2, :, :30])
        assert torch.equal(cache.memory[:, :, row, :, 30:], before[:, :, row, :, 30:])
    assert torch.equal(cache.memory[:, :, 1], before[:, :, 1])
    other = Cache(model, 1, 300, CPU)
    other.take(cache, 2, 0, 20)
    assert other.lengths == [20] and not other.memory[:, :, 0, :, 20:].any()
    assert torch.equal(other.memory[:, :, 0, :, :20], before[:, :, 2, :, :20])
