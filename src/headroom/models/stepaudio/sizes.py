"""The sizes of a model's networks, from the headers of its files. No torch."""

from __future__ import annotations

from pathlib import Path

from headroom.errors import InvalidCheckpoint
from headroom.models.stepaudio.cost.components import Networks
from headroom.models.stepaudio.layout import (
    FLOW,
    LINGUISTIC,
    SEMANTIC,
    VOCODER,
    VOICE,
    Folders,
)
from headroom.models.stepaudio.networks.config import step1_sizes
from headroom.models.stepaudio.networks.shapes import (
    STACK,
    Shapes,
    flow_sizes,
    linguistic_sizes,
    semantic_sizes,
    speaker_sizes,
    vocoder_sizes,
)
from headroom.models.stepaudio.sound.bands import BANDS, FRAME, SPEECH_BANDS
from headroom.models.stepaudio.text.audio_ids import AUDIO_STOP, FLOW_ROWS
from headroom.models.stepaudio.text.audio_ids import LINGUISTIC as LINGUISTIC_CODES
from headroom.models.stepaudio.text.audio_ids import SEMANTIC as SEMANTIC_CODES
from headroom.nn.config_fields import read_config
from headroom.weights.header import SINGLE, TornFile, read_header


def read_networks(folders: Folders, cache: Path) -> Networks:
    """The sizes of all networks; those of the smaller ones from their converted files.

    Raises InvalidCheckpoint.
    """
    language = step1_sizes(read_config(folders.model), folders.model)

    def shapes(part: str) -> Shapes:
        folder = folders.converted(cache, part)
        try:
            header = read_header(folder / SINGLE[0])
        except TornFile as error:
            raise InvalidCheckpoint(folder, [str(error)]) from error
        return Shapes({name: entry.shape for name, entry in header.entries.items()}, folder)

    networks = Networks(
        language,
        linguistic_sizes(shapes(LINGUISTIC)),
        semantic_sizes(shapes(SEMANTIC)),
        speaker_sizes(shapes(VOICE)),
        flow_sizes(shapes(FLOW)),
        vocoder_sizes(shapes(VOCODER)),
    )
    _check(folders.model, networks)
    return networks


def _check(folder: Path, n: Networks) -> None:
    """Raise InvalidCheckpoint if the networks do not fit each other, or the codes and the rates
    that everything here is made for."""
    pairs = (
        ("inputs of the linguistic tokenizer", n.linguistic.inputs, STACK * BANDS),
        ("linguistic codes", n.linguistic.codes, LINGUISTIC_CODES),
        ("semantic codes", n.semantic.codes, SEMANTIC_CODES),
        ("bands of the semantic tokenizer", n.semantic.bands, SPEECH_BANDS),
        ("rows of the flow's table", n.flow.rows, FLOW_ROWS),
        ("numbers of a voice", n.voice.outputs, n.flow.voice),
        ("bands of the flow", n.flow.mel, BANDS),
        ("bands of the vocoder", n.vocoder.mel, n.flow.mel),
        ("samples a frame of the vocoder", n.vocoder.frame, FRAME),
    )
    faults = [f"{what}: {has}, {needed} are needed" for what, has, needed in pairs if has != needed]
    if n.language.vocabulary < AUDIO_STOP:
        faults.append(f"vocab_size: {n.language.vocabulary}, at least {AUDIO_STOP} are needed")
    if faults:
        raise InvalidCheckpoint(folder, faults)
