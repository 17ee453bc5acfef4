"""Names of the components a plan places; footprint, loaders and render share them. No torch."""

TEXT_ENCODER = "text encoder"
CONDITIONER = "condition encoder"
CODES = "audio codes"
TIME = "time path"
DIT = "dit"
VAE_ENCODER = "vae encoder"
VAE_DECODER = "vae decoder"
