"""Compatible `tokenizer.StepAudioTokenizer`: a recording as audio codes, on the processor."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from headroom import paths
from headroom.models.stepaudio.conversion import converted
from headroom.models.stepaudio.hearing import codes_heard
from headroom.models.stepaudio.layout import LINGUISTIC, MODEL, SEMANTIC, Folders
from headroom.models.stepaudio.networks.linguistic import LinguisticTokenizer
from headroom.models.stepaudio.networks.semantic import SemanticTokenizer
from headroom.models.stepaudio.networks.shapes import Shapes, linguistic_sizes, semantic_sizes
from headroom.models.stepaudio.sound.levels import RATE, normalised, trimmed
from headroom.models.stepaudio.sound.rates import resampled
from headroom.models.stepaudio.text.audio_ids import Codes
from headroom.settings import load
from headroom.weights.load import Checkpoint, load_weights
from headroom.weights.meta_modules import shapes_only

PARAFORMER_ID = "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"


class StepAudioTokenizer:
    """The two encoders of the folder Step-Audio-Tokenizer, loaded when first used.

    encoder_path      that folder
    model_source, funasr_model_id  of the older program, and not used: nothing is downloaded here
    """

    def __init__(
        self, encoder_path: str, model_source: str = "auto", funasr_model_id: str = PARAFORMER_ID
    ) -> None:
        self.folder = Path(encoder_path)
        self.model_source, self.funasr_model_id = model_source, funasr_model_id
        folders = Folders(self.folder.parent / MODEL, self.folder)
        needed = [file for part in (LINGUISTIC, SEMANTIC) for file in folders.sources(part)]
        if absent := [str(file) for file in needed if not paths.is_file(file)]:
            raise FileNotFoundError(f"not there: {', '.join(absent)}")
        self._folders = folders

    def __call__(self, audio: Tensor, sr: int) -> str:
        """Samples [n] or [1, n] → their codes as text, without trimming."""
        return self._codes(audio, sr, trim=False, normal=True).text

    def wav2token(
        self, audio: Tensor, sr: int, enable_trim: bool = True, energy_norm: bool = True
    ) -> tuple[list[int], list[int], list[int]]:
        """Samples [n] or [1, n] → ids of the language model, linguistic codes, semantic codes."""
        codes = self._codes(audio, sr, enable_trim, energy_norm)
        return list(codes.ids), list(codes.linguistic), list(codes.semantic)

    def _codes(self, audio: Tensor, sr: int, trim: bool, normal: bool) -> Codes:
        assert sr >= RATE, f"the sample rate has to be at least {RATE}, it is {sr}"
        samples = audio.detach().cpu().float()
        sound = resampled(samples.mean(0) if samples.ndim > 1 else samples, sr, RATE)
        sound = normalised(sound) if normal else sound
        linguistic, semantic = self._networks
        with torch.inference_mode():
            heard = trimmed(sound) if trim else sound
            return codes_heard(heard, linguistic, semantic, torch.device("cpu"))

    @cached_property
    def _networks(self) -> tuple[LinguisticTokenizer, SemanticTokenizer]:
        cache = load().cache_dir
        made = []
        for part in (LINGUISTIC, SEMANTIC):
            file = Checkpoint.open(converted(part, self._folders, cache))
            shapes = Shapes({n: e.shape for n, e in file.stored.items()}, file.folder)
            with shapes_only():
                network = (
                    LinguisticTokenizer(linguistic_sizes(shapes))
                    if part == LINGUISTIC
                    else SemanticTokenizer(semantic_sizes(shapes))
                )
            load_weights(network, file, dtype=torch.float32)
            made.append(network.eval())
        linguistic, semantic = made
        assert isinstance(linguistic, LinguisticTokenizer)
        assert isinstance(semantic, SemanticTokenizer)
        return linguistic, semantic
