"""The language model of Step-Audio-EditX: its grammar, and how it writes audio codes."""
