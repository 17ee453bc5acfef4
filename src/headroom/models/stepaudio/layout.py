"""Where the files of Step-Audio-EditX lie, and the names of its components. No torch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

MODEL = "Step-Audio-EditX"
TOKENIZER = "Step-Audio-Tokenizer"  # beside the model's folder
PARAFORMER = (
    "dengcunqin/speech_paraformer-large_asr_nat-zh-cantonese-en-16k-vocab8501-online"  # in it
)
SOUND = "CosyVoice-300M-25Hz"  # in the model's folder

LANGUAGE = "step1"
LINGUISTIC, SEMANTIC, VOICE = "linguistic tokenizer", "semantic tokenizer", "voice encoder"
FLOW, VOCODER = "flow", "vocoder"
CONVERTED = (LINGUISTIC, SEMANTIC, VOICE, FLOW, VOCODER)


@dataclass(frozen=True, slots=True)
class Folders:
    """The folders of a model: its own, and the tokenizer's."""

    model: Path
    tokenizer: Path

    def sources(self, part: str) -> tuple[Path, ...]:
        """The files that a converted part is made of."""
        paraformer = self.tokenizer / PARAFORMER
        found = {
            LINGUISTIC: (
                paraformer / "model.pt",
                paraformer / "am.mvn",
                self.tokenizer / "linguistic_tokenizer.npy",
            ),
            SEMANTIC: (self.tokenizer / "speech_tokenizer_v1.onnx",),
            VOICE: (self.model / SOUND / "campplus.onnx",),
            FLOW: (self.model / SOUND / "flow.pt",),
            VOCODER: (self.model / SOUND / "hift.pt",),
        }
        return found[part]

    def converted(self, cache: Path, part: str) -> Path:
        """The folder for the converted weights of a part."""
        place = "\n".join(str(folder.absolute()) for folder in (self.model, self.tokenizer))
        key = hashlib.sha256(place.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return cache / "converted" / key / part.replace(" ", "-")
