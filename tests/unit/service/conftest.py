"""Each test has a database and a storage of its own, and an application over them."""

from support.web_fixtures import config, engine, made_database, place, service, start

__all__ = ["config", "engine", "made_database", "place", "service", "start"]
