"""How `scripts/footprint` finds what stages take: traces of the real modules, and a fit."""
