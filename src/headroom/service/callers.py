"""Who calls: the address and headers of a request, and the key that it presents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest
from ipaddress import ip_address

from headroom.jobs.keys import Keys
from headroom.service.answers import Refusal
from headroom.service.config import LOOPBACK, ServiceConfig

USE, ADMIN = "use", "admin"
SCOPES = (USE, ADMIN)
OF_SETTINGS = "settings"  # the id of the key that the settings name
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")
_SAME_PAGE = ("same-origin", "none")


@dataclass(frozen=True, slots=True)
class Caller:
    """One who may call. `key` is the id under which their jobs and files are kept, "" on this
    machine; `waiting`: how many of their jobs may wait, None: no limit of their own."""

    key: str
    scopes: tuple[str, ...] = SCOPES
    waiting: int | None = None

    @property
    def owner(self) -> str | None:
        """Whose jobs and files they may see; None: all."""
        return None if ADMIN in self.scopes else self.key


HERE = Caller("")


class Headers:
    """The headers of a request by their names in lower case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = [(name.decode("latin-1").lower(), value.decode("latin-1"))
                     for name, value in raw]  # fmt: skip

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for known, value in self._raw if known == name]

    def get(self, name: str) -> str | None:
        """The value of a header. Raises Refusal if it is there twice."""
        values = self.all(name)
        if len(values) > 1:
            raise Refusal(
                400, "invalid_request", f"the header {name} is there twice.", name, "once"
            )
        return values[0] if values else None


def secret_in(headers: Headers) -> str | None:
    """The key that a request presents; None if it presents none. Raises Refusal."""
    bearer, plain = headers.get("authorization"), headers.get("x-api-key")
    found = None if plain is None else plain.strip()
    if bearer is not None:
        kind, _, secret = bearer.strip().partition(" ")
        if kind.lower() != "bearer" or found not in (None, secret.strip()):
            raise no_key()
        found = secret.strip()
    if found is not None and not (found and found.isascii()):
        raise no_key()
    return found


def caller_with(secret: str, keys: Keys, config: ServiceConfig) -> Caller:
    """The caller who presents a key. Raises Refusal for one that opens nothing, DatabaseFailed."""
    if config.key is not None and compare_digest(_hash(secret), _hash(config.key)):
        return Caller(OF_SETTINGS)
    key = keys.find(secret)
    if key is None:
        raise no_key()
    return Caller(key.id, key.scopes, key.waiting)


def no_key() -> Refusal:
    """The refusal of a caller who presents no key that is known."""
    message = "a key is needed, in the header Authorization (Bearer …) or X-API-Key."
    more = {"WWW_Authenticate": 'Bearer realm="headroom"'}
    return Refusal(401, "no_key", message, "Authorization", "a key of this service", **more)


def is_here(host: str, client: str | None, headers: Headers) -> bool:
    """Whether a request comes from this machine and not through a proxy: by the address of the
    client, by the name under which it addresses the service, and without a proxy's headers."""
    if host not in LOOPBACK or client is None or any(headers.all(name) for name in _FORWARDED):
        return False
    try:
        address = ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def host_in(headers: Headers) -> str:
    """The name or address in the header Host, without the port. Raises Refusal."""
    text = (headers.get("host") or "").strip().lower()
    name, _, port = text[1:].partition("]") if text.startswith("[") else text.partition(":")
    if not name or (port.lstrip(":") and not port.lstrip(":").isdecimal()):
        raise unknown_host()
    return name.rstrip(".")


def check_host(host: str, with_key: bool, config: ServiceConfig) -> None:
    """Refuse a name under which nobody should address the service: a page can make a name of its
    own lead here, and then read what its visitors' browsers may read. Raises Refusal."""
    known = {*LOOPBACK, *config.hosts} | ({config.host} if config.host else set())
    if host not in known and (config.hosts or not with_key):
        raise unknown_host()


def unknown_host() -> Refusal:
    """The refusal of a request that addresses another host."""
    message = "the service is not known under this name."
    return Refusal(400, "unknown_host", message, "Host", "a name in HEADROOM_SERVICE_HOSTS")


def check_origin(
    method: str, host: str, with_key: bool, headers: Headers, config: ServiceConfig
) -> None:
    """Refuse what a page of another origin makes a browser send: every change, and without a key
    every request but the opening of a page. Raises Refusal."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    reads = method in ("GET", "HEAD", "OPTIONS")
    if origin is not None and origin.lower() in config.origins:
        return
    foreign = site is not None and site not in _SAME_PAGE
    if origin is not None:
        own = (headers.get("host") or "").strip().lower()
        foreign = foreign or origin.lower() not in (f"http://{own}", f"https://{own}")
    opens = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
    if foreign and not (reads and (with_key or opens)):
        message = "a page of another origin may not call this service."
        raise Refusal(403, "foreign_origin", message, "Origin", "an origin that the settings list")


def _hash(secret: str) -> bytes:
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()
