"""The look of the page: Gradio's theme with our colours, and the fonts of the system."""

from __future__ import annotations

import gradio
from gradio.themes.utils import colors, fonts, sizes

_SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")
_HUE = colors.Color(
    name="amber clay",
    c50="#fff6ee",
    c100="#ffe9d6",
    c200="#ffd0ac",
    c300="#ffb077",
    c400="#f98b45",
    c500="#e86c1f",
    c600="#c25210",
    c700="#9c4110",
    c800="#7d3714",
    c900="#672f14",
    c950="#381507",
)


def made() -> gradio.themes.Base:
    """The theme."""
    base = gradio.themes.Base(
        primary_hue=_HUE,
        secondary_hue=colors.stone,
        neutral_hue=colors.stone,
        radius_size=sizes.radius_lg,
        spacing_size=sizes.spacing_md,
        text_size=sizes.text_md,
        font=tuple(fonts.Font(name) for name in _SYSTEM),
        font_mono=tuple(fonts.Font(name) for name in _MONO),
    )
    return base.set(
        body_background_fill="#faf8f5",
        body_background_fill_dark="#161412",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#1f1c19",
        block_background_fill="transparent",
        block_background_fill_dark="transparent",
        block_border_width="0px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_background_fill_dark="transparent",
        block_title_text_weight="600",
        block_title_text_size="*text_sm",
        input_background_fill="#ffffff",
        input_background_fill_dark="#26221e",
        input_border_color="#ddd5ca",
        input_border_color_dark="#46403a",
        input_border_width="1px",
        input_shadow_focus="0 0 0 3px *primary_200",
        input_shadow_focus_dark="0 0 0 3px *primary_800",
        button_primary_background_fill="#b34b0e",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#f3efe9",
        button_secondary_background_fill_hover="#e9e2d8",
        button_secondary_background_fill_dark="#2a2622",
        button_secondary_background_fill_hover_dark="#38322c",
        button_secondary_text_color="#25211d",
        button_secondary_text_color_dark="#f3eee8",
        button_large_radius="999px",
        button_small_radius="999px",
        panel_background_fill="transparent",
        panel_background_fill_dark="transparent",
    )
