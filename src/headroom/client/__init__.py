"""Work on an engine elsewhere: the verbs of `Engine`, asked of a service over HTTP. No torch."""

from headroom.client.client import Client as Client
