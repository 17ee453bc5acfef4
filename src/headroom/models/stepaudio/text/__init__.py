"""Text as Step1 reads it: pieces, prompts, and audio codes as ids. No torch."""
