"""Text as ACE-Step's networks read it: lyrics, captions, tags and audio codes as people write them
go in; prompts, token ids and plain text come out. No torch.
"""
