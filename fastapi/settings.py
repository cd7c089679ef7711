"""Settings: environment variables and `.env`, read once into one typed object.

The environment wins over `.env`. Every variable, with its reason and its default, is in `.env.example`.
"""

import errno
import logging
import os
import re
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

from dotenv import dotenv_values
from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from boot import StartupError
from redis_address import RedisAddress
from setting_types import Networks, Origins

ENV_FILE = Path(__file__).parent.parent / ".env"
# What it says of a line that it cannot read waits for the log's own format: `.env` is read once before that.
logging.getLogger("dotenv").addHandler(logging.NullHandler())

PLACEHOLDER = "change-me"  # of .env.example
RULE = "rule"  # over several settings: pydantic's kind of such a mistake
JWT_KEY_BYTES = 32  # as long as the signature of HS256

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]


class Settings(BaseSettings):
    """All that the service can be told: the field `mysql_host` is the variable `MYSQL_HOST`, and so on."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    mysql_host: Text = Field(examples=["mysql"])
    mysql_port: Port = 3306
    mysql_database: Text = Field(examples=["app"])
    mysql_user: Text = Field(examples=["app"])
    # What the file holds. It comes first: the validator of the password sees only the fields above its own.
    mysql_password_file: SecretStr | None = Field(None, examples=["/run/secrets/mysql_password"])
    mysql_password: SecretStr | None = Field(None, validate_default=True, examples=["'any text, in single quotes'"])
    mysql_ssl_ca: Path | None = Field(None, examples=["/etc/ssl/certs/mysql-ca.pem"])

    db_wait_timeout: Seconds = 60
    db_wait_max_delay: Seconds = 1
    db_check_interval: Annotated[Seconds, Field(ge=0.1)] = 1
    db_check_timeout: Seconds = 2
    db_connect_timeout: Seconds = 2
    db_pool_size: int = Field(10, ge=1, le=10_000)
    db_max_overflow: int = Field(10, ge=0, le=10_000)
    db_pool_timeout: Seconds = 5
    db_pool_recycle: Seconds = 1800
    db_read_timeout: Seconds = 30

    migrations: Literal["run", "wait", "off"] = "run"
    migrations_timeout: Seconds = 300

    admin_name: Annotated[Text, Field(max_length=64)] = "admin"
    admin_password_file: SecretStr | None = Field(None, examples=["/run/secrets/admin_password"])
    admin_password: SecretStr | None = Field(None, validate_default=True, examples=["'any text, in single quotes'"])
    jwt_secret_file: SecretStr | None = Field(None, examples=["/run/secrets/jwt_secret"])
    jwt_secret: SecretStr | None = Field(None, validate_default=True, examples=["'at least 32 random characters'"])

    # An address like redis://:password@redis:6379/0. REDIS_URL_FILE comes first, like that of the password.
    redis_url_file: SecretStr | None = Field(None, examples=["/run/secrets/redis_url"])
    redis_url: SecretStr | None = Field(None, validate_default=True, examples=["redis://:password@redis:6379/0"])
    redis_required: bool = Field(False, examples=["false"])
    redis_ssl_ca: Path | None = Field(None, examples=["/etc/ssl/certs/redis-ca.pem"])

    jobs: Literal["off", "on"] = "off"
    jobs_threads: int = Field(4, ge=1, le=100)
    jobs_lease: Annotated[Seconds, Field(ge=2)] = 30

    app_name: Text = "bootstrap"
    app_env: Literal["local", "dev", "prod"] = "local"
    host: Text = "127.0.0.1"
    port: Port = 8000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    log_format: Literal["text", "json"] = "text"
    log_dir: Path | None = Field(None, examples=["/var/log/app"])
    log_keep_days: int = Field(14, ge=1, le=3650)
    access_log: bool = Field(True, examples=["true"])
    health_details: bool | None = Field(None, examples=["true"])
    metrics: Literal["on", "off"] = "on"
    trusted_proxies: Networks | None = Field(None, examples=["172.16.0.0/12"])
    cors_origins: Origins | None = Field(None, examples=["https://www.example.com"])
    cors_credentials: bool = Field(False, examples=["false"])

    @property
    def password(self) -> bytes:
        """The password as MySQL compares it, in UTF-8. PyMySQL would encode text as Latin-1, which has no Korean."""
        return self.mysql_password.get_secret_value().encode() if self.mysql_password else b""

    @property
    def first_admin_password(self) -> str | None:
        """None where no admin is to be made: without a password, or with the one that everybody can read."""
        return _usable(self.admin_password)

    @property
    def jwt_key(self) -> str | None:
        """None where nobody can log in."""
        return _usable(self.jwt_secret)

    @property
    def shows_details(self) -> bool:
        """Whether /health names reasons and hints: not in production, unless HEALTH_DETAILS asks for it."""
        return self.app_env != "prod" if self.health_details is None else self.health_details

    @property
    def mysql_address(self) -> str:
        return f"{self.mysql_host}:{self.mysql_port}"

    @model_validator(mode="before")
    @classmethod
    def _empty_means_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        """`PORT=` is no value, as in a compose file. Only the password may be empty on purpose."""
        return {name: value for name, value in values.items() if value != "" or name == "mysql_password"}

    @field_validator("mysql_port", "port", mode="before")
    @classmethod
    def _not_from_kubernetes(cls, port: Any) -> Any:
        if isinstance(port, str) and re.match("(tcp|udp)://", port):
            raise ValueError(
                "is an address, as Kubernetes sets it in every pod beside a Service of that name: set "
                "enableServiceLinks: false in the pod, or give the Service another name"
            )
        return port

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: str) -> str:
        return level.upper()

    @field_validator("mysql_host", "host")
    @classmethod
    def _can_be_looked_up(cls, name: str) -> str:
        with suppress(UnicodeError):
            name.encode("idna")
            if not re.search(r"[\s/@\0]", name):
                return name
        raise ValueError("is neither a host name nor an address")

    @field_validator("mysql_password_file", "admin_password_file", "jwt_secret_file", "redis_url_file", mode="before")
    @classmethod
    def _content(cls, path: str | None) -> str | None:
        """What the file holds, without its last line end. It is read once: it may be a pipe."""
        if path is None:
            return None
        password = _read(Path(path)).removesuffix("\n").removesuffix("\r")
        if not password:
            raise ValueError("is empty")
        return password

    @field_validator("mysql_password", "admin_password", "jwt_secret", "redis_url")
    @classmethod
    def _given_once(cls, secret: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """The secret, from the variable itself or from the file that its `..._FILE` names, but not from both."""
        file_field = f"{info.field_name}_file"
        if file_field not in info.data:
            return secret  # that mistake is reported already
        of_the_file: SecretStr | None = info.data[file_field]
        if of_the_file and secret:  # an empty one is false
            raise ValueError(f"is set, and {file_field.upper()} too: keep one of them")
        secret = of_the_file or secret
        if secret and not _is_utf8(secret.get_secret_value()):
            raise ValueError("is not UTF-8 text")
        if secret is None and info.field_name == "mysql_password":
            raise ValueError("is missing")
        return secret

    @field_validator("jwt_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if (key := _usable(secret)) and len(key.encode()) < JWT_KEY_BYTES:
            raise ValueError(f"has fewer than {JWT_KEY_BYTES} bytes, so that it could be guessed")
        return secret

    @field_validator("redis_url")
    @classmethod
    def _has_an_address(cls, url: SecretStr | None) -> SecretStr | None:
        if url:
            RedisAddress.parse(url.get_secret_value())
        return url

    @field_validator("mysql_ssl_ca", "redis_ssl_ca")
    @classmethod
    def _certificates(cls, path: Path | None) -> Path | None:
        if path is not None:
            _read(path)
            try:
                ssl.create_default_context(cafile=path)
            except ssl.SSLError:
                raise ValueError("is not a file of PEM certificates") from None
        return path

    # Rules over several settings. Each belongs to the last one of them: `info.data` has those above that are right by
    # themselves. A validator of the whole model would run only where every setting is, and name the first rule alone.

    @field_validator("redis_required")
    @classmethod
    def _required_redis_has_an_address(cls, required: bool, info: ValidationInfo) -> bool:
        if required and "redis_url" in info.data and not info.data["redis_url"]:
            raise _broken_rule("REDIS_REQUIRED=true needs REDIS_URL")
        return required

    @field_validator("redis_ssl_ca")
    @classmethod
    def _redis_is_encrypted(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        url = info.data.get("redis_url")
        if path and "redis_url" in info.data and not (url and url.get_secret_value().startswith("rediss:")):
            raise _broken_rule(
                "REDIS_SSL_CA is set, but REDIS_URL does not begin with rediss://, so nothing is encrypted"
            )
        return path

    @field_validator("app_env")
    @classmethod
    def _no_placeholders_in_production(cls, app_env: str, info: ValidationInfo) -> str:
        secrets = {name.upper(): value for name, value in info.data.items() if isinstance(value, SecretStr)}
        left = [name for name, value in secrets.items() if PLACEHOLDER in value.get_secret_value()]
        if app_env == "prod" and left:
            raise _broken_rule(f"{' and '.join(left)} must not be a placeholder ({PLACEHOLDER}) where APP_ENV=prod")
        return app_env

    @field_validator("cors_credentials")
    @classmethod
    def _not_every_site_with_credentials(cls, credentials: bool, info: ValidationInfo) -> bool:
        if credentials and "*" in (info.data.get("cors_origins") or ()):
            raise _broken_rule(
                "CORS_ORIGINS must name the origins where CORS_CREDENTIALS=true: with * every site could act for "
                "whoever is logged in here"
            )
        return credentials

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before `.env`, an empty variable included, as in a compose file."""
        return init_settings, env_settings, InitSettingsSource(settings_cls, _dotenv())


def _dotenv() -> dict[str, str]:
    """The lines of `.env`, as they are: the library's own reader would replace a `${...}` inside a password."""
    if ENV_FILE.is_dir():  # Docker makes a folder of a file that is to be mounted and missing
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    lines = dotenv_values(ENV_FILE, interpolate=False, encoding="utf-8-sig")
    return {name.lower(): value for name, value in lines.items() if value is not None}


def early_log_format() -> Literal["text", "json"]:
    """LOG_FORMAT before anything is checked: the report of the mistakes keeps to it, too."""
    try:
        wish = os.environ.get("LOG_FORMAT") or _dotenv().get("log_format")
    except (OSError, UnicodeDecodeError):
        wish = None  # get_settings() will report it
    return "json" if wish == "json" else "text"


def read_settings() -> Settings:
    """Reads the settings. Raises StartupError with 78, which names every mistake at once and holds no value."""
    try:
        return Settings()
    except ValidationError as error:
        mistakes = [_in_words(mistake) for mistake in error.errors(include_input=False)]
    except (OSError, UnicodeDecodeError) as error:
        mistakes = [f".env cannot be read ({_why(error)}): save it as UTF-8 text that this user may read"]
    summary = f"{len(mistakes)} wrong or missing in .env or the environment:"
    raise StartupError("\n  ".join([summary, *mistakes]), os.EX_CONFIG)


def _in_words(mistake: ErrorDetails) -> str:
    if mistake["type"] == RULE:  # it names the settings itself
        return mistake["msg"]
    why = "is missing" if mistake["type"] == "missing" else mistake["msg"]
    why = why.removeprefix("Value error, ").replace("Input should", "should").replace("String should", "should")
    field = str(mistake["loc"][0])
    name, setting = field.upper(), Settings.model_fields[field]
    example = setting.examples[0] if setting.examples else setting.default
    return f"{name} {why}. Example: {name}={example}"


def _broken_rule(message: str) -> PydanticCustomError:
    return PydanticCustomError(RULE, message)


def _usable(secret: SecretStr | None) -> str | None:
    """The secret, unless it is the placeholder, which everybody can read. Empty is none."""
    text = secret.get_secret_value() if secret else ""
    return None if PLACEHOLDER in text else text or None


def _is_utf8(text: str) -> bool:
    """Not so where the environment held other bytes: Python keeps each of them as a surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read ({_why(error)})") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or "unreadable" if isinstance(error, OSError) else "not UTF-8 text"
