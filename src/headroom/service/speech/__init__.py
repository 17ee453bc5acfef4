"""Speech in the form of OpenAI's API: bodies as jobs, and their sound as answers."""
