"""One text under a grammar: as whole forwards write it, what is fixed read at once, and its cache.

Song sheets of random fields on a tiny network with drawn weights (`support.tiny_lm`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from headroom.diffusion.noise import NoiseStream, uniforms
from headroom.lm.constrained_decode import DecodedText, constrained_decode
from headroom.lm.constraint import Constraint
from headroom.lm.decode import CachedRows, Writing, generate
from headroom.lm.sample import Sampling, draw_tokens
from headroom.models.acestep.language.lm_words import LMVocabulary
from headroom.models.acestep.language.sheet import Sheet
from headroom.models.acestep.language.sheet_grammar import FreeText, SheetGrammar, SheetWords
from headroom.nn.causal import CausalLM
from support.lm_tokenizer import VALID, lm_tokenizer
from support.near import assert_near
from support.sheets import Case, check
from support.tiny_lm import WORDS, random_ids, tiny_network

CPU = torch.device("cpu")
USUAL = Sampling(0.85, 0, 0.9, 1.0)
MOST = 600


@pytest.fixture(scope="module")
def model() -> CausalLM:
    """A network that is either sure of a line's end or sure of none, so that captions end."""
    made = tiny_network(2)
    made.embed_tokens.weight[shared().words.newline] *= 8
    return made


@cache
def shared() -> SheetWords:
    return SheetWords(LMVocabulary.of(lm_tokenizer(), VALID))


@pytest.fixture(autouse=True)
def _no_gradients() -> object:
    with torch.inference_mode():
        yield


def chances(seed: int) -> list[float]:
    row: list[float] = uniforms((seed,), 1000, NoiseStream.SHEET)[0].tolist()
    return row


def filled(
    model: CausalLM,
    prompt: tuple[int, ...],
    grammar: Constraint,
    drawn: Iterator[float],
    most: int = MOST,
    sampling: Sampling = USUAL,
) -> DecodedText:
    words = shared().words.text
    return constrained_decode(
        model, prompt, grammar, words, most, sampling, drawn, CPU, lambda a, b: None
    )


def by_hand(
    model: CausalLM, prompt: tuple[int, ...], grammar: Constraint, drawn: Iterator[float]
) -> list[int]:
    """The same text, every drawn token by reading all before it, without a cache."""
    text = list(prompt)
    while len(text) - len(prompt) < MOST:
        text += grammar.forced()[: len(prompt) + MOST - len(text)]
        if grammar.done or len(text) - len(prompt) >= MOST:
            break
        allowed = grammar.allowed()
        token = int(allowed[0])
        if len(allowed) > 1:
            hidden = model(torch.tensor(text), [len(text)])[-1:]
            logits = model.logits(hidden, slice(0, WORDS))[:, allowed].float()
            token = int(allowed[draw_tokens(logits, torch.tensor([next(drawn)]), USUAL)])
        grammar.take(token)
        text.append(token)
    return text[len(prompt) :]


@pytest.mark.parametrize("seed", range(12))
def test_a_sheet_is_what_whole_forwards_write(model: CausalLM, seed: int) -> None:
    rng = random.Random(seed)
    prompt, case = random_ids(rng.randint(1, 80), seed), Case.drawn(rng)
    if seed % 3 == 0:  # many drawn tokens, beside the many that are forced
        given = replace(case.given, caption=None)
        case = replace(case, asked=case.asked | {"caption"}, given=given)
    one, other, plain = iter(chances(seed)), iter(chances(seed)), case.grammar(shared())
    found = filled(model, prompt, plain, one)
    assert list(found.tokens) == by_hand(model, prompt, case.grammar(shared()), other)
    assert next(one) == next(other)  # as many numbers were drawn
    assert plain.done
    check(case, list(found.tokens), shared().words)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_left_behind_is_what_reading_it_leaves(model: CausalLM, seed: int) -> None:
    """The cache holds the prompt and the text, and codes that follow are those of a fresh one."""
    rng, prompt = random.Random(seed), random_ids(40, seed)
    found = filled(model, prompt, Case.drawn(rng).grammar(shared()), iter(chances(seed)))
    text = (*prompt, *found.tokens)
    assert found.read.tokens == text and found.read.cache.lengths == [len(text)]

    def fresh() -> torch.Tensor:
        rows = CachedRows(model, (text,), 1, CPU)
        rows.read((text,))
        return rows.cache.memory[..., : len(text), :]

    assert_near(found.read.cache.memory[..., : len(text), :], fresh)

    codes = shared().words.codes
    behind = (*text[: len(text) - seed], *random_ids(7, seed))  # read again where it differs
    writing = Writing((behind,) * 2, random_ids(9, 5), 40, codes, USUAL, 2.0)
    drawn = uniforms((seed, seed + 1), 40, NoiseStream.CODES)
    taken = generate(model, writing, drawn, CPU, lambda a, b: None, found.read)
    assert torch.equal(taken, generate(model, writing, drawn, CPU, lambda a, b: None))


class Calls:
    """The tokens of every call of the network."""

    def __init__(self, model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read: list[int] = []
        prefill, step = model.prefill, model.step

        def many(ids: Tensor, *rest: object) -> Tensor:
            self.read.append(len(ids))
            return prefill(ids, *rest)  # type: ignore[arg-type]

        def one(ids: Tensor, *rest: object) -> Tensor:
            self.read.append(1)
            return step(ids, *rest)  # type: ignore[arg-type]

        monkeypatch.setattr(model, "prefill", many)
        monkeypatch.setattr(model, "step", one)


def test_what_is_fixed_is_read_in_one_go(model: CausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, prompt = Calls(model, monkeypatch), random_ids(20, 1)
    everything = Sheet(95, "a slow song", 30, None, "F# minor", "en", "4")
    nothing = iter(())
    grammar = SheetGrammar(shared(), (), everything, 60, closes=True, sings=False)
    found = filled(model, prompt, grammar, nothing)
    text = f"<think>\n{everything.text()}\n</think>"
    assert found.tokens == shared().words.ids(text)
    assert calls.read == [20 + len(found.tokens)]  # once, for what follows

    calls.read.clear()
    given = Sheet(95, "a slow song", 30, None, "F# minor", "en", None)
    grammar = SheetGrammar(shared(), ("timesignature",), given, 60, closes=False, sings=False)
    drawn = iter(chances(1))
    found = filled(model, prompt, grammar, drawn)
    # The prompt, all that is fixed and the space, which is the only token allowed; then one of four
    # is drawn, and read at the end.
    assert calls.read == [20 + len(found.tokens) - 1, 1]
    assert next(drawn) == chances(1)[1]


def test_no_more_is_written_than_there_is_room_for(model: CausalLM) -> None:
    prompt = random_ids(20, 1)
    asked = ("bpm", "caption", "duration")
    for most in range(1, 40):
        grammar = SheetGrammar(shared(), asked, Sheet(), 60, closes=True, sings=True)
        found = filled(model, prompt, grammar, iter(chances(3)), most)
        assert len(found.tokens) == most
        assert found.read.cache.lengths == [20 + most]


def test_the_likeliest_text_draws_the_likeliest_of_what_is_allowed(model: CausalLM) -> None:
    prompt, sampling = random_ids(30, 7), Sampling(0.0, 0, 1.0, 1.0)
    asked = ("bpm", "keyscale", "language")

    def grammar() -> SheetGrammar:
        return SheetGrammar(shared(), asked, Sheet(), 60, closes=True, sings=False)

    first, second = (
        filled(model, prompt, grammar(), iter(chances(seed)), sampling=sampling) for seed in (1, 2)
    )
    assert first.tokens == second.tokens
    told, text = grammar(), list(prompt)
    while not told.done:
        text += told.forced()
        if told.done:
            break
        allowed = told.allowed()
        hidden = model(torch.tensor(text), [len(text)])[-1:]
        token = int(allowed[model.logits(hidden, slice(0, WORDS))[0, allowed].argmax()])
        told.take(token)
        text.append(token)
    assert tuple(text[len(prompt) :]) == first.tokens


def test_text_without_a_grammar_holds_no_codes(model: CausalLM) -> None:
    """Codes would be likelier; they are no part of what logits of text are made for."""
    strong = tiny_network(2)
    codes = shared().words.codes
    strong.embed_tokens.weight[codes.start :] *= 30
    for seed in range(5):
        found = filled(strong, random_ids(9, seed), FreeText(shared()), iter(chances(seed)), 60)
        assert max(found.tokens) < codes.start


def test_progress_is_told_and_may_stop_it(model: CausalLM) -> None:
    told: list[tuple[int, int]] = []
    words = shared().words

    def run(progress: object) -> DecodedText:
        grammar = SheetGrammar(shared(), ("caption",), Sheet(), 60, closes=True, sings=True)
        return constrained_decode(
            model, random_ids(9, 1), grammar, words.text, 100, USUAL, iter(chances(5)), CPU,
            progress,  # type: ignore[arg-type]
        )  # fmt: skip

    found = run(lambda done, of: told.append((done, of)))
    assert told[-1] == (len(found.tokens),) * 2
    assert len(told) > 3 and [done for done, _ in told] == sorted(done for done, _ in told)
    assert {of for _, of in told[:-1]} == {100}

    class Stop(Exception):
        pass

    def stops(done: int, of: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        run(stops)
