"""Where Redis is: what a REDIS_URL says."""

import re
from typing import NamedTuple
from urllib.parse import unquote

REDIS_URL = re.compile(
    r"redis(?P<tls>s?)://(?:(?P<username>[^:@/]*):(?P<password>.*)@)?"
    r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::(?P<port>\d{1,5}))?(?:/(?P<db>\d{0,3}))?",
    re.DOTALL,
)


class RedisAddress(NamedTuple):
    """What a REDIS_URL says. Only a % in the password has to be written otherwise, as %25."""

    tls: bool
    username: str | None
    password: str | None
    host: str
    port: int
    database: int

    @classmethod
    def parse(cls, url: str) -> "RedisAddress":
        """Raises ValueError, which holds nothing of the URL."""
        parts = REDIS_URL.fullmatch(url.strip())
        if not parts or not 0 < int(parts["port"] or 6379) < 65536:
            raise ValueError(
                "is not an address of the form redis://user:password@host:port/number, or rediss:// for TLS"
            )
        username, password = (unquote(parts[name]) if parts[name] else None for name in ("username", "password"))
        host = parts["host"].strip("[]")
        return cls(bool(parts["tls"]), username, password, host, int(parts["port"] or 6379), int(parts["db"] or 0))

    @property
    def text(self) -> str:
        """Without the login."""
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
