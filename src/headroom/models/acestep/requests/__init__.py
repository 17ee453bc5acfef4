"""ACE-Step's requests: fields declared once; user input becomes a checked, frozen request. No
torch.
"""
