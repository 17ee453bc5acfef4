"""Prints the text of `.env.example`: `python -m headroom.settings > .env.example`."""

import sys

from headroom.settings import example

if __name__ == "__main__":
    sys.stdout.write(example())
