"""Types of the settings that are lists, each entry of which is checked at the start."""

import re
from contextlib import suppress
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode


def _entries(value: Any) -> Any:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _networks(entries: tuple[str, ...]) -> tuple[str, ...]:
    for number, entry in enumerate(entries, 1):
        with suppress(ValueError):
            ip_network(entry)
            continue
        try:
            wide, one = ip_interface(entry).network, ip_interface(entry).ip
        except ValueError:
            raise ValueError(f"has an entry, number {number}, that is neither an address nor a network") from None
        raise ValueError(
            f"has {entry}, whose host bits are set: write {wide} for the network, or {one} for the address"
        )
    return entries


def _origins(entries: tuple[str, ...]) -> tuple[str, ...]:
    for number, entry in enumerate(entries, 1):
        if entry != "*" and not re.fullmatch(r"https?://[a-z0-9.-]+(:\d+)?|https?://\[[0-9a-f:]+\](:\d+)?", entry):
            raise ValueError(
                f"has an entry, number {number}, that is no origin: scheme and host in small letters, a port where it "
                "is not the usual one, and nothing after it, not even a slash"
            )
    return entries


# Separated by commas or spaces. NoDecode: not JSON, as the settings library would have it.
Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_entries), AfterValidator(_networks)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_entries), AfterValidator(_origins)]
