"""An address on the internet for a page on this machine, through the tunnel of Gradio."""

from __future__ import annotations

from secrets import token_urlsafe

from headroom.log import log


def public_address(host: str, port: int) -> str | None:
    """The address, which lasts for as long as this process; None where none can be had."""
    from gradio.exceptions import Error
    from gradio.networking import setup_tunnel

    try:
        return setup_tunnel(host, port, token_urlsafe(32), None, None)
    except (Error, RuntimeError, OSError, ValueError) as error:
        log.warning("no address on the internet: %s", error)
        return None
