"""From text as people write it to prompts, token ids and plain text for ACE-Step's networks. No
torch.
"""
