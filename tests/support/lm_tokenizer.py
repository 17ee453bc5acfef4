"""A small tokenizer of the language model's kind: byte-level BPE, its marks, 67 audio codes."""

from __future__ import annotations

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = (
    "endoftext im_start im_end object_ref_start object_ref_end box_start box_end quad_start "
    "quad_end vision_start vision_end vision_pad image_pad video_pad"
).split()
OTHERS = (
    "<tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> <|fim_suffix|> <|fim_pad|> "
    "<|repo_name|> <|file_sep|> <tool_response> </tool_response> <think> </think>"
).split()
LEARNT = (
    "bpm: caption: duration: genres: keyscale: language: timesignature: major minor unknown yue "
    "en zh ja A B C D E F G a. b. song\n\n the of # Instruction # Caption # Lyric\n a.\n"
)
CODES, VALID = 67, 64


def lm_tokenizer(codes: int = CODES, learnt: str = LEARNT) -> Tokenizer:
    """The tokenizer, trained on a line of text."""
    tokenizer = laid_out(BPE())
    trainer = BpeTrainer(
        vocab_size=320,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([learnt], trainer)
    return marked(tokenizer, codes)


def laid_out(model: BPE) -> Tokenizer:
    """What stands around the pieces: how text is split into words, and words into bytes."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def marked(tokenizer: Tokenizer, codes: int) -> Tokenizer:
    """Add the marks in their order, and behind them the audio codes."""
    marks = [AddedToken(f"<|{word}|>", special=True, normalized=False) for word in SPECIAL]
    tokenizer.add_special_tokens(marks)
    plain = [*OTHERS, *(f"<|audio_code_{n}|>" for n in range(codes))]
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in plain])
    return tokenizer
