"""Names of the components that a plan places, and of stages that several modules use. No torch."""

TEXT_ENCODER = "text encoder"
CONDITIONER = "condition encoder"
CODES = "audio codes"
TIME = "time path"
DIT = "dit"
VAE_ENCODER = "vae encoder"
VAE_DECODER = "vae decoder"
LANGUAGE_MODEL = "language model"

CONDITION, SCHEDULE = "condition", "schedule"
