"""The chat-completions API: a song as the answer to a message, in two known forms."""
