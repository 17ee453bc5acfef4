"""What can be asked of ACE-Step: the fields of its requests, each declared once. What a person or a
program says goes in; a checked, frozen request comes out. No torch.
"""
