"""Each test has a database and a storage of its own, and an application over them."""

from support.web_fixtures import config, made_database, start

__all__ = ["config", "made_database", "start"]
