"""The grammar of a song sheet: fixed text is forced, open values are drawn from their allowed
tokens.

Source: ACE-Step 1.5's `acestep/constrained_logits_processor.py`, without its defects. Fixed text is
forced in its canonical tokens, a whole run at a time, because that is what the model was trained
on. Values of finite fields are drawn along a trie of their canonical tokens; genres as well if
there is a list of them, whose whole lines are the values. A caption is free text; each of its lines
is followed by either a continuation, indented by two spaces, or the next field.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto
from functools import cached_property
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from headroom.models.acestep.language.lm_words import LMVocabulary, Marks
from headroom.models.acestep.language.sheet import BPM, FIELDS, SECONDS, SIGNATURES, Sheet, dumped
from headroom.models.acestep.text.lm_prompts import THINK, THOUGHT
from headroom.models.acestep.text.plain_text import as_text
from headroom.models.acestep.text.vocabulary import KEYS, LANGUAGES

CAPTION_TOKENS = 512
CONTINUED = 3  # most tokens before a continued line may end again


class _Node:
    """A node in a trie of lines: the tokens that may follow, line breaks included.

    It is a run of sorted lines that share their first `depth` tokens, and its children are found on
    demand: a genre list may have as many lines as a dictionary.
    """

    def __init__(self, lines: Sequence[tuple[int, ...]], run: range, depth: int) -> None:
        self._lines, self._run, self._depth = lines, run, depth

    @cached_property
    def after(self) -> dict[int, _Node]:
        """The child nodes by token; none after a line break."""
        nodes: dict[int, _Node] = {}
        at, depth = self._run.start, self._depth
        while at < self._run.stop and len(self._lines[at]) > depth:
            token = self._lines[at][depth]
            beyond = bisect_right(self._lines, token, at, self._run.stop, key=itemgetter(depth))
            nodes[token] = _Node(self._lines, range(at, beyond), depth + 1)
            at = beyond
        return nodes

    @cached_property
    def ids(self) -> Tensor:
        """The tokens that may follow. Always the same object."""
        return torch.tensor(sorted(self.after))


class SheetWords:
    """What all grammars over one vocabulary share: tries, and the sets of ids of free text.

    genres  the allowed genres; (): any
    """

    def __init__(self, words: LMVocabulary, genres: Sequence[str] = ()) -> None:
        self.words = words
        self.genres = self._sayable(genres)
        self._tries: dict[tuple[str, int], _Node] = {}

    def is_free(self, name: str) -> bool:
        """Whether a field is free text."""
        return name == "caption" or (name == "genres" and not self.genres)

    def _sayable(self, genres: Sequence[str]) -> tuple[str, ...]:
        """Genres without special tokens in them, each once."""
        values = list(dict.fromkeys(" ".join(line.split()) for line in genres))
        pairs = zip(values, self.words.ids_of(values), strict=True)
        return tuple(g for g, ids in pairs if ids and max(ids) < self.words.first_mark)

    def trie(self, name: str, most_seconds: int) -> _Node:
        """The values of a finite field, as a trie."""
        key = name, most_seconds if name == "duration" else 0
        if key not in self._tries:
            values = self.genres if name == "genres" else _domain(name, most_seconds)
            self._tries[key] = self._made(name, values)
        return self._tries[key]

    def _made(self, name: str, values: Sequence[str | int]) -> _Node:
        head, sequences = self.words.ids(f"{name}:"), set[tuple[int, ...]]()
        lines = [dumped({name: value}, folded=False) + "\n" for value in values]
        for line, ids in zip(lines, self.words.ids_of(lines), strict=True):
            # A closing quote and the line's end are one token.
            if ids[: len(head)] != head:  # the colon merged with the space
                ids = (*head, *self.words.ids(line[len(name) + 1 :]))
            sequences.add(ids[len(head) :])
        return _Node(sorted(sequences), range(len(sequences)), 0)

    @cached_property
    def first(self) -> Tensor:
        """The tokens that may begin free text, or a continued line after its first space."""
        alone = np.zeros_like(self.words.begins)
        alone[self.words.space] = True
        return _ids(self.words.begins | alone)

    @cached_property
    def behind_space(self) -> Tensor:
        """The tokens that may follow a first space that is a token of its own."""
        return _ids(self.words.behind_space)

    @cached_property
    def within(self) -> Tensor:
        """Any text, and text that ends with the line break."""
        return _ids(self.words.plain | self.words.ends_line)

    @cached_property
    def within_one_line(self) -> Tensor:
        """Any text, and the lone line break."""
        alone = np.zeros_like(self.words.plain)
        alone[self.words.newline] = True
        return _ids(self.words.plain | alone)

    @cached_property
    def lyric_ids(self) -> Tensor:
        """Any text without special tokens, and the end of the turn."""
        return torch.cat((torch.arange(self.words.first_mark), torch.tensor([self.words.end])))

    @cached_property
    def newline(self) -> Tensor:
        """Only the lone line break."""
        return torch.tensor([self.words.newline])


def _ids(marks: Marks) -> Tensor:
    return torch.from_numpy(np.flatnonzero(marks))


def _domain(name: str, most_seconds: int) -> Sequence[str | int]:
    if name == "bpm":
        return range(BPM[0], BPM[1] + 1)
    if name == "duration":
        return range(SECONDS[0], most_seconds + 1)
    if name == "keyscale":
        return KEYS
    if name == "language":
        return LANGUAGES
    return [int(beats) for beats in SIGNATURES]


class FreeText:
    """No grammar but this: text and thinking marks, until the thinking or the turn ends; only the
    turn ends it if lyrics follow (`sings`).
    """

    def __init__(self, shared: SheetWords, sings: bool = False) -> None:
        words = shared.words
        self._ends = (words.end,) if sings else (words.end, words.thought)
        self._ids = torch.cat((shared.lyric_ids, torch.tensor([words.think, words.thought])))
        self.done = False

    def forced(self) -> tuple[int, ...]:
        """Nothing is forced."""
        return ()

    def allowed(self) -> Tensor:
        """Everything but codes and other special tokens."""
        return self._ids

    def take(self, token: int) -> None:
        """Accept a token; the end of the thinking, or of the turn, finishes the text."""
        self.done = token in self._ends


class _At(Enum):
    FORCED = auto()  # fixed text
    VALUE = auto()  # a value along a trie
    FREE_FIRST = auto()  # the first token of free text
    SPACED = auto()  # the second token, after a lone space
    FREE = auto()  # all further tokens of it
    LINE = auto()  # after a line of a caption: a continuation, or what comes next
    INDENTED = auto()  # after the first space of a continuation
    SUNG = auto()  # lyrics
    DONE = auto()


class SheetGrammar:
    """A song sheet, from `<think>` on.

    fields        the fields that the model writes, in any order
    forced        values that are written as they are; their fields need not be in `fields`
    most_seconds  the greatest duration
    closes        whether it ends with `</think>`; otherwise it ends with the last field
    sings         whether lyrics follow, until the end of the turn
    """

    def __init__(
        self,
        shared: SheetWords,
        fields: Iterable[str],
        forced: Sheet,
        most_seconds: int,
        *,
        closes: bool,
        sings: bool,
    ) -> None:
        self._shared, self._words = shared, shared.words
        values = forced.values()
        names = {*fields, *values}
        self._fields = [name for name in FIELDS if name in names]
        self._given: Mapping[str, str | int] = values
        self._most, self._closes, self._sings = most_seconds, closes, sings
        self._state = _At.FORCED
        self._next = 0  # index of the next field
        self._open = ""  # the field whose value follows the fixed text
        self._run: tuple[int, ...] = ()
        self._node = _Node((), range(0), 0)
        self._name = ""  # of the current value
        self._count = 0  # tokens of it so far, if it is free text
        self._ahead = False  # whether the text after it is prepared
        self._line = torch.tensor([])
        self._following(f"{THINK}\n")

    @property
    def done(self) -> bool:
        """Whether the sheet, and the lyrics if there are any, are complete."""
        return self._state is _At.DONE

    def forced(self) -> tuple[int, ...]:
        """The fixed text at this point, if any."""
        if self._state is not _At.FORCED:
            return ()
        run, self._run = self._run, ()
        self._enter()
        return run

    def allowed(self) -> Tensor:
        """The tokens that may come next, where a choice is open."""
        shared = self._shared
        if self._state is _At.VALUE:
            return self._node.ids
        if self._state is _At.FREE_FIRST or self._state is _At.INDENTED:
            return shared.first
        if self._state is _At.SPACED:
            return shared.behind_space
        if self._state is _At.FREE:
            if self._count >= CAPTION_TOKENS:
                return shared.newline
            return shared.within if self._name == "caption" else shared.within_one_line
        if self._state is _At.LINE:
            return self._line
        return shared.lyric_ids

    def take(self, token: int) -> None:
        """Accept a token drawn from the allowed ones."""
        if self._state is _At.VALUE:
            self._took_value(token)
        elif self._state in (_At.FREE_FIRST, _At.SPACED, _At.FREE, _At.INDENTED):
            self._count += 1
            first = self._state in (_At.FREE_FIRST, _At.INDENTED)
            self._state = _At.SPACED if first and token == self._words.space else _At.FREE
            if self._words.ends_line[token]:
                self._ended_line()
        elif self._state is _At.LINE:
            if token == self._words.space:
                self._count += 1
                self._state = _At.INDENTED
            else:
                self._run, self._state = self._run[1:], _At.FORCED
        elif token == self._words.end:
            self._state = _At.DONE

    # --- from one part to the next --------------------------------------------------------

    def _took_value(self, token: int) -> None:
        self._node = self._node.after[token]
        if not self._node.after:  # its line break was part of it
            self._following("")
        elif list(self._node.after) == [self._words.newline]:
            self._following("\n")

    def _ended_line(self) -> None:
        """End a line: a caption may continue if it is not too long; a one-line field may not."""
        if not self._ahead:  # the text that follows is known after the first line
            self._following("")
            self._ahead = True
        self._state = _At.FORCED
        # If nothing follows, this is the end: a continuation would be cut anyway.
        if self._run and self._name == "caption" and self._count <= CAPTION_TOKENS - CONTINUED:
            self._line = torch.tensor(sorted({self._words.space, self._run[0]}))
            self._state = _At.LINE

    def _following(self, text: str) -> None:
        """Force this text, and the fixed text after it, up to the next open value."""
        while self._next < len(self._fields):
            name = self._fields[self._next]
            if name not in self._given:
                text += f"{name}:"
                self._next += 1
                self._run, self._state = self._tokens(text), _At.FORCED
                self._open = name
                return
            text += as_text(dumped({name: self._given[name]})) + "\n"
            self._next += 1
        self._open = ""
        if self._closes:
            text += THOUGHT
        elif text.endswith("\n"):
            text = text[:-1]
        self._run, self._state = self._tokens(text), _At.FORCED

    def _enter(self) -> None:
        """Start the part that follows the fixed text."""
        self._count, self._ahead, self._name = 0, False, self._open
        if not self._open:
            self._state = _At.SUNG if self._closes and self._sings else _At.DONE
        elif self._shared.is_free(self._open):
            self._state = _At.FREE_FIRST
        else:
            self._node = self._shared.trie(self._open, self._most)
            self._state = _At.VALUE

    def _tokens(self, text: str) -> tuple[int, ...]:
        return self._words.ids(text) if text else ()
