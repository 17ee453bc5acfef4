"""A recording as Step-Audio-EditX's networks hear it: rates, levels, silence, spectra."""
