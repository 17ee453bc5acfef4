"""How `scripts/docs` writes the parts of the guides that come from the code."""
