"""Everything the planner language model is told, word for word, written out by hand.

Source: ACE-Step 1.5's `acestep/constants.py`, `acestep/llm_inference.py` and the scoring beside it.
Nothing here is made by the product, so that what the product makes can be held against it.
"""

from __future__ import annotations

CAPTION = "  soft piano: 夜 🎹 "  # whitespace at the ends stays as it is
LYRICS = "[Verse]\nla la la\n\n[Chorus]\nUne rose d'été\n"
NEGATIVE = " low quality, noise "
CODES = "<|audio_code_0|><|audio_code_517|><|audio_code_63999|>"

GENERATE = (
    "<|im_start|>system\n# Instruction\n"
    "Generate audio semantic tokens based on the given conditions:\n\n<|im_end|>\n"
    "<|im_start|>user\n"
)
UNDERSTAND = (
    "<|im_start|>system\n# Instruction\n"
    "Understand the given musical conditions and describe the audio semantics accordingly:\n\n"
    "<|im_end|>\n<|im_start|>user\n"
)
INSPIRE = (
    "<|im_start|>system\n# Instruction\n"
    "Expand the user's input into a more detailed and specific musical description:\n\n"
    "<|im_end|>\n<|im_start|>user\n"
)
FORMAT = (
    "<|im_start|>system\n# Instruction\n"
    "Format the user's input into a more detailed and specific musical description:\n\n"
    "<|im_end|>\n<|im_start|>user\n"
)
ANSWER = "<|im_end|>\n<|im_start|>assistant\n"

TOLD = (
    "# Caption\n  soft piano: 夜 🎹 \n\n# Lyric\n[Verse]\nla la la\n\n[Chorus]\nUne rose d'été\n\n"
)
THOUGHT = (
    "<think>\n"
    "bpm: 120\n"
    "caption: 'A slow bossa nova: a nylon guitar, brushed drums, and a voice that is near\n"
    "  to whispering'\n"
    "duration: 240\n"
    "keyscale: F# minor\n"
    "language: 'no'\n"
    "timesignature: 6\n"
    "</think>\n\n"
)
THOUGHT_CAPTION = (
    "A slow bossa nova: a nylon guitar, brushed drums, and a voice that is near to whispering"
)
FOUR = "<think>\nbpm: 95\nduration: 30\nkeyscale: B♭ major\ntimesignature: 4\n</think>\n\n"

# Frames with nothing from the user in them, and the tokens they have.
FRAMES = {
    GENERATE + ANSWER: 26,
    UNDERSTAND + ANSWER: 29,
    INSPIRE + ANSWER: 30,
    FORMAT + ANSWER: 30,
}

PROMPTS = {
    "A metadata": GENERATE + TOLD + ANSWER,
    "B codes": GENERATE + TOLD + ANSWER + THOUGHT,
    "B codes, four values": GENERATE + TOLD + ANSWER + FOUR,
    "B codes, nothing known": GENERATE + TOLD + ANSWER + "<think>\n\n</think>\n\n",
    "C against nothing": GENERATE + "NO USER INPUT" + ANSWER + "<think>\n\n</think>\n\n",
    "C against something": GENERATE + " low quality, noise " + ANSWER + "<think>\n\n</think>\n\n",
    # Older layouts: the same caption and lyrics with nothing thought, and once a closed turn.
    "B codes, closed": GENERATE + TOLD + ANSWER + THOUGHT + "<|im_end|>\n",
    "C against nothing, legacy": GENERATE + TOLD + ANSWER + "<think>\n\n</think>\n\n",
    "C against something, closed": GENERATE
    + "# Caption\n low quality, noise \n\n"
    + "# Lyric\n[Verse]\nla la la\n\n[Chorus]\nUne rose d'été\n\n"
    + ANSWER
    + "<think>\n\n</think>\n\n<|im_end|>\n",
    "D understand": UNDERSTAND + "<|audio_code_0|><|audio_code_517|><|audio_code_63999|>" + ANSWER,
    "E anything": UNDERSTAND + "NO USER INPUT" + ANSWER,
    "F a voice": INSPIRE + "a sad song about rain\n\ninstrumental: false" + ANSWER,
    "F no voice": INSPIRE + "a sad song about rain\n\ninstrumental: true" + ANSWER,
    "F nothing": INSPIRE + "NO USER INPUT\n\ninstrumental: false" + ANSWER,
    "G format": FORMAT
    + "# Caption\n  soft piano: 夜 🎹 \n\n"
    + "# Lyric\n[Verse]\nla la la\n\n[Chorus]\nUne rose d'été\n"
    + ANSWER,
    "G no lyrics": FORMAT + "# Caption\n  soft piano: 夜 🎹 \n\n# Lyric\n[Instrumental]" + ANSWER,
    "G nothing": FORMAT + "# Caption\nNO USER INPUT\n\n# Lyric\n[Instrumental]" + ANSWER,
}

# What the model would have to say of codes: heard behind task D, and behind task E.
TARGETS = {
    "bpm": "<think>\nbpm: 97\n</think>\n",
    "caption": "<think>\ncaption: 'slow: and soft'\n</think>\n",
    "duration": "<think>\nduration: 240\n</think>\n",
    "genres": "<think>\ngenres: bossa nova\n</think>\n",
    "keyscale": "<think>\nkeyscale: G major\n</think>\n",
    "language": "<think>\nlanguage: 'no'\n</think>\n",
    "timesignature": "<think>\ntimesignature: 3\n</think>\n",
    "lyrics": "<think>\n</think>\n# Lyric\n[Verse]\nla la la\n",
}
