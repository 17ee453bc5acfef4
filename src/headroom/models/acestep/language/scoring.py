"""How well codes fit a request: how likely the language model finds the request, given the codes.

Source: ACE-Step 1.5's `acestep/core/scoring/`. Fields of the sheet are scored by the rank of each
of their tokens after the codes; caption and lyrics by how much likelier they are after the codes
than after nothing (pointwise mutual information). Each context is read once, with the same weights
that wrote the codes, and logits are computed only for the rows of a target, a few at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from headroom.lm.decode import CachedRows
from headroom.memory.footprint import THINK
from headroom.models.acestep.cost.lm_cost import Thinking
from headroom.models.acestep.language.folder import Language
from headroom.models.acestep.language.sheet import FIELDS, Sheet, dumped
from headroom.models.acestep.text import lm_prompts
from headroom.models.acestep.text.plain_text import as_text
from headroom.models.outputs import FitScore
from headroom.nn.causal import CausalLM
from headroom.runtime.pool import Parts
from headroom.runtime.run import Run, Step

TOP = 10  # ranks that score above 0
SCALE = 0.1  # divides the information, before it is mapped to 0 to 1
WEIGHTS = {"caption": 0.5, "lyrics": 0.3, "metadata": 0.2}
ROWS = 64  # rows of logits computed at a time
TEXTS = ("caption", "lyrics")


@dataclass(frozen=True, slots=True)
class ScoreTask:
    """Codes, as prompts spell them, and the sheet and lyrics they are scored against."""

    codes: str
    sheet: Sheet
    lyrics: str

    def targets(self) -> dict[str, str]:
        """The texts the model would have to write, by the name of their score."""
        texts: dict[str, str] = {}
        for name in FIELDS:
            value = self.sheet.values().get(name)
            if value is not None:
                metadata = as_text(dumped({name: value}))
                texts[name] = f"{lm_prompts.THINK}\n{metadata}\n{lm_prompts.THOUGHT}\n"
        if self.lyrics.strip():
            head = f"{lm_prompts.THINK}\n{lm_prompts.THOUGHT}\n"
            texts["lyrics"] = f"{head}# Lyric\n{as_text(self.lyrics)}\n"
        return texts

    def cost(self, language: Language) -> Thinking:
        """The cost in tokens."""
        words = language.words
        context = len(words.ids(lm_prompts.understanding_prompt(self.codes)))
        longest = max((len(words.ids(t)) for t in self.targets().values()), default=1)
        return Thinking((context,), longest, 0, False)


def score_codes(task: ScoreTask, language: Language, run: Run) -> FitScore:
    """Read the codes once, and each target after them; no other part is loaded."""

    def work(step: Step, parts: Parts) -> FitScore:
        model = parts.of(language.name, CausalLM)
        words = language.words
        targets = {name: words.ids(text) for name, text in task.targets().items()}
        prompt = words.ids(lm_prompts.understanding_prompt(task.codes))
        nothing = words.ids(lm_prompts.understanding_prompt(""))
        longest = max(map(len, targets.values()), default=1)
        behind = _Context(model, prompt, longest, step.device)
        scores: dict[str, float] = {}
        likelihoods: dict[str, float] = {}
        for number, (name, ids) in enumerate(targets.items()):
            step.progress(number, 2 * len(targets))
            logs, ranks = behind.likelihoods(ids)
            likelihoods[name] = float(logs.mean())
            if name not in TEXTS:
                scores[name] = float((1 - (ranks - 1) / TOP).clamp(min=0).mean())
        del behind
        without = _Context(model, nothing, longest, step.device)
        information: dict[str, float] = {}
        for number, name in enumerate(name for name in targets if name in TEXTS):
            step.progress(len(targets) + number, 2 * len(targets))
            logs, _ = without.likelihoods(targets[name])
            information[name] = likelihoods[name] - float(logs.mean())
            scores[name] = float(torch.tensor(information[name] / SCALE).sigmoid())
        if not all(map(math.isfinite, likelihoods.values())):
            raise language.failed(len(prompt))
        return FitScore(scores, reward(scores), information)

    return run.stage(THINK, work)


def reward(parts: Mapping[str, float]) -> float:
    """The weighted mean of all parts; the weights of missing parts go to the others."""
    named = {name: parts[name] for name in TEXTS if name in parts}
    metadata = [value for name, value in parts.items() if name not in TEXTS]
    if metadata:
        named["metadata"] = sum(metadata) / len(metadata)
    whole = sum(WEIGHTS[name] for name in named)
    if not whole:
        return 0.0
    return sum(WEIGHTS[name] * value for name, value in named.items()) / whole


class _Context:
    """A prompt that is read once, and targets that follow it, all in the same place of the cache,
    one at a time.
    """

    def __init__(
        self, model: CausalLM, prompt: tuple[int, ...], room: int, device: torch.device
    ) -> None:
        self._model, self._prompt = model, prompt
        self._rows = CachedRows(model, (prompt,), room, device)
        self._rows.read((prompt,))
        self._rope = model.rope(self._rows.cache.capacity, device)

    def likelihoods(self, ids: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Log-probability and rank of each token [n], on the host."""
        cache = self._rows.cache
        start = len(self._prompt) - 1
        read = torch.tensor([self._prompt[-1], *ids[:-1]], device=cache.memory.device)
        hidden = self._model.prefill(read, cache.past, 0, start, self._rope)
        targets = torch.tensor(ids, device=hidden.device)
        logs, ranks = [], []
        vocabulary = slice(0, self._model.embed_tokens.num_embeddings)
        for rows, token in zip(hidden.split(ROWS), targets.split(ROWS), strict=True):
            logits = self._model.logits(rows, vocabulary).float()
            target_logits = logits.gather(1, token.unsqueeze(1))
            logs.append((target_logits.squeeze(1) - logits.logsumexp(-1)).cpu())
            ranks.append((logits > target_logits).sum(-1).add_(1).cpu())
        return torch.cat(logs), torch.cat(ranks).float()
