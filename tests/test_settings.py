"""Settings: from the environment and .env, typed, with every mistake reported at once."""

import os
import re
from pathlib import Path
from threading import Thread

import certificates
import pytest

import settings
from boot import StartupError
from settings import Settings

REQUIRED = {"MYSQL_HOST": "mysql", "MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_PASSWORD": "s3cret"}


@pytest.fixture(autouse=True)
def env(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment with the required variables alone, and no .env."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(settings, "ENV_FILE", tmp_path / ".env")
    return monkeypatch


@pytest.fixture
def dotenv(env: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The .env file; the environment holds nothing of its own."""
    for name in REQUIRED:
        env.delenv(name)
    return tmp_path / ".env"


def read() -> Settings:
    return settings.read_settings()


def mistakes() -> str:
    with pytest.raises(StartupError) as caught:
        read()
    assert caught.value.exit_code == 78
    return str(caught.value)


@pytest.mark.prd("SET-03")
def test_defaults() -> None:
    """What is not set has the documented default."""
    read_settings = read()

    assert read_settings.mysql_port == 3306
    assert read_settings.db_wait_timeout == 60
    assert read_settings.port == 8000
    assert read_settings.shows_details is True


@pytest.mark.prd("SET-01")
@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MYSQL_HOST", None, "MYSQL_HOST is missing. Example: MYSQL_HOST=mysql"),
        ("MYSQL_HOST", "", "MYSQL_HOST is missing"),
        ("MYSQL_HOST", "h" * 64, "MYSQL_HOST is neither a host name nor an address. Example: MYSQL_HOST=mysql"),
        ("HOST", "a..b", "HOST is neither a host name nor an address. Example: HOST=127.0.0.1"),
        ("MYSQL_DATABASE", "  ", "MYSQL_DATABASE should have at least 1 character"),
        ("MYSQL_PASSWORD", None, "MYSQL_PASSWORD is missing"),
        ("MYSQL_PORT", "33o6", "MYSQL_PORT should be a valid integer"),
        ("MYSQL_PORT", "70000", "MYSQL_PORT should be less than or equal to 65535. Example: MYSQL_PORT=3306"),
        ("MYSQL_PORT", "tcp://10.96.0.1:3306", "MYSQL_PORT is an address, as Kubernetes sets it in every pod"),
        ("PORT", "tcp://10.96.0.1:8000", "PORT is an address, as Kubernetes sets it"),
        ("DB_CHECK_INTERVAL", "0.000001", "DB_CHECK_INTERVAL should be greater than or equal to 0.1"),
        ("DB_CHECK_TIMEOUT", "-1", "DB_CHECK_TIMEOUT should be greater than 0"),
        ("DB_CHECK_TIMEOUT", "inf", "DB_CHECK_TIMEOUT should be a finite number"),
        ("DB_POOL_SIZE", "0", "DB_POOL_SIZE should be greater than or equal to 1"),
        ("APP_ENV", "production", "APP_ENV should be 'local', 'dev' or 'prod'"),
        ("LOG_FORMAT", "xml", "LOG_FORMAT should be 'text' or 'json'"),
        ("HEALTH_DETAILS", "perhaps", "HEALTH_DETAILS should be a valid boolean"),
        ("MYSQL_PASSWORD_FILE", "/no/such/file", "MYSQL_PASSWORD_FILE cannot be read (No such file or directory)"),
        ("MYSQL_SSL_CA", "/no/such/file", "MYSQL_SSL_CA cannot be read (No such file or directory)"),
        ("MYSQL_SSL_CA", __file__, "MYSQL_SSL_CA is not a file of PEM certificates"),
        ("METRICS", "yes", "METRICS should be 'on' or 'off'. Example: METRICS=on"),
        ("TRUSTED_PROXIES", "10.0.0.0/8 proxy", "TRUSTED_PROXIES has an entry, number 2, that is neither an address"),
        (
            "TRUSTED_PROXIES",
            "172.18.0.5/16",
            "TRUSTED_PROXIES has 172.18.0.5/16, whose host bits are set: write 172.18.0.0/16 for the network",
        ),
        ("CORS_ORIGINS", "https://a.example/", "CORS_ORIGINS has an entry, number 1, that is no origin"),
        ("CORS_ORIGINS", "https://a.example,b.example", "CORS_ORIGINS has an entry, number 2, that is no origin"),
        ("LOG_KEEP_DAYS", "0", "LOG_KEEP_DAYS should be greater than or equal to 1. Example: LOG_KEEP_DAYS=14"),
    ],
)
def test_a_mistake_is_named(env: pytest.MonkeyPatch, name: str, value: str | None, words: str) -> None:
    """Each mistake is a line with the variable's name, what is wrong and an example, without the value."""
    if value is None:
        env.delenv(name)
    else:
        env.setenv(name, value)

    assert f"\n  {words}" in mistakes()


@pytest.mark.prd("SEC-05")
def test_production_refuses_placeholders(env: pytest.MonkeyPatch) -> None:
    """A rule over several settings is a mistake like any other: 78, and a sentence that names the variable."""
    env.setenv("APP_ENV", "prod")
    env.setenv("MYSQL_PASSWORD", "change-me")

    assert "\n  MYSQL_PASSWORD must not be a placeholder (change-me) where APP_ENV=prod" in mistakes()


def test_not_every_site_with_credentials(env: pytest.MonkeyPatch) -> None:
    """CORS_ORIGINS=* together with CORS_CREDENTIALS=true is refused, and nothing else of the two."""
    env.setenv("CORS_ORIGINS", "*")
    assert read().cors_origins == ("*",)

    env.setenv("CORS_CREDENTIALS", "true")

    assert "\n  CORS_ORIGINS must name the origins where CORS_CREDENTIALS=true" in mistakes()


@pytest.mark.parametrize("text", ["10.0.0.0/8,fd00::/8,127.0.0.1", " 10.0.0.0/8 , fd00::/8   127.0.0.1 "])
def test_a_list_is_separated_by_commas_or_spaces(env: pytest.MonkeyPatch, text: str) -> None:
    """Networks and single addresses of both kinds, in the order given."""
    env.setenv("TRUSTED_PROXIES", text)

    assert read().trusted_proxies == ("10.0.0.0/8", "fd00::/8", "127.0.0.1")


@pytest.mark.prd("SEC-05")
@pytest.mark.parametrize(("asked", "shown"), [(None, False), ("true", True)])
def test_production_hides_details(env: pytest.MonkeyPatch, asked: str | None, shown: bool) -> None:
    """Where APP_ENV=prod, /health names no reasons unless HEALTH_DETAILS asks for it."""
    env.setenv("APP_ENV", "prod")
    if asked:
        env.setenv("HEALTH_DETAILS", asked)

    assert read().shows_details is shown


@pytest.mark.prd("SET-01")
def test_all_mistakes_are_named_at_once(env: pytest.MonkeyPatch) -> None:
    """One start is enough to learn everything that is wrong."""
    env.delenv("MYSQL_HOST")
    env.setenv("MYSQL_PASSWORD_FILE", "/no/such/file")
    env.setenv("PORT", "web")

    message = mistakes()

    assert message.startswith("3 wrong or missing in .env or the environment:")
    assert "s3cret" not in message
    assert "web" not in message


@pytest.mark.prd("SET-01")
def test_rules_over_several_settings_hide_nothing(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each rule that is broken is named beside the others, and beside a mistake in a setting of its own."""
    wrong = {
        "PORT": "web",
        "APP_ENV": "prod",
        "MYSQL_PASSWORD": "change-me",
        "REDIS_REQUIRED": "true",
        "REDIS_SSL_CA": str(certificates.make(tmp_path, "ca")),
        "CORS_ORIGINS": "*",
        "CORS_CREDENTIALS": "true",
    }
    for name, value in wrong.items():
        env.setenv(name, value)

    message = mistakes()

    assert message.startswith("5 wrong or missing in .env or the environment:")
    assert "\n  REDIS_REQUIRED=true needs REDIS_URL\n" in message
    assert "\n  REDIS_SSL_CA is set, but REDIS_URL does not begin with rediss://" in message
    assert "\n  MYSQL_PASSWORD must not be a placeholder (change-me) where APP_ENV=prod\n" in message
    assert "\n  PORT should be a valid integer" in message
    assert "\n  CORS_ORIGINS must name the origins where CORS_CREDENTIALS=true" in message


@pytest.mark.prd("SET-01")
def test_a_mistake_is_named_once(env: pytest.MonkeyPatch) -> None:
    """A rule over two settings says nothing where one of them is wrong by itself."""
    env.setenv("REDIS_URL", "redis://:s3cret@redis:99999")
    env.setenv("REDIS_REQUIRED", "true")

    assert mistakes().startswith("1 wrong or missing in .env or the environment:")


@pytest.mark.prd("SET-02")
def test_the_environment_wins(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A variable of the environment overrides the line in .env, even where it is empty, as in a compose file."""
    (tmp_path / ".env").write_text("MYSQL_HOST=file\nMYSQL_PORT=1\nPORT=1\n")
    env.setenv("MYSQL_PORT", "2")
    env.setenv("PORT", "")

    assert (read().mysql_host, read().mysql_port, read().port) == ("mysql", 2, 8000)


@pytest.mark.prd("SET-03")
def test_an_empty_value_means_the_default(env: pytest.MonkeyPatch) -> None:
    """`PORT=` is as good as no line at all."""
    env.setenv("PORT", "")
    env.setenv("MYSQL_PASSWORD_FILE", "")

    assert (read().port, read().mysql_password_file) == (8000, None)


@pytest.mark.prd("SET-04")
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["", "with-BOM"])
def test_dotenv_of_any_editor(dotenv: Path, line_end: str, mark: str) -> None:
    """A .env written on Windows, with CRLF or a byte order mark, is read like any other."""
    lines = [f"{name}={value}" for name, value in REQUIRED.items()]

    dotenv.write_bytes((mark + line_end.join(lines) + line_end).encode())

    assert (read().mysql_host, read().password) == ("mysql", b"s3cret")


@pytest.mark.prd("SET-04")
def test_dotenv_that_is_a_folder(dotenv: Path) -> None:
    """Docker makes a folder of a file that is to be mounted and is missing: a clear error."""
    dotenv.mkdir()

    assert ".env cannot be read (Is a directory)" in mistakes()


@pytest.mark.prd("SET-05")
def test_a_password_in_another_encoding(env: pytest.MonkeyPatch) -> None:
    """A password that a terminal has sent in another encoding than UTF-8 is a clear error."""
    env.setenv("MYSQL_PASSWORD", os.fsdecode("비밀".encode("cp949")))

    assert "MYSQL_PASSWORD is not UTF-8 text" in mistakes()


@pytest.mark.prd("SEC-01")
@pytest.mark.parametrize("host", ["mysql://app:s3cret@db", "app:s3cret@db", "two words"])
def test_a_host_that_is_a_url(env: pytest.MonkeyPatch, host: str) -> None:
    """A URL is no host name, and the password in it must not become part of an address that is shown."""
    env.setenv("MYSQL_HOST", host)

    assert "MYSQL_HOST is neither a host name nor an address" in mistakes()
    assert "s3cret" not in mistakes()


@pytest.mark.prd("SET-04")
def test_dotenv_in_another_encoding(dotenv: Path) -> None:
    """A .env that is not UTF-8 is a clear error."""
    dotenv.write_bytes("MYSQL_PASSWORD=비밀번호".encode("cp949"))

    assert ".env cannot be read (not UTF-8 text)" in mistakes()


@pytest.mark.prd("SET-05")
@pytest.mark.parametrize(
    "password", ["p@:/#%?&", "with space", 'double "quotes"', "비밀번호", "${HOME}$x`", "a\\b", ""]
)
def test_a_password_in_dotenv_is_taken_literally(dotenv: Path, password: str) -> None:
    """Inside single quotes every character of a password stands for itself."""
    escaped = password.replace("\\", "\\\\")
    dotenv.write_text("\n".join(f"{name}={value}" for name, value in REQUIRED.items() if name != "MYSQL_PASSWORD"))

    with dotenv.open("a") as file:
        file.write(f"\nMYSQL_PASSWORD='{escaped}'\n")

    assert read().password == password.encode()


@pytest.mark.prd("SET-06")
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_password_file(env: pytest.MonkeyPatch, tmp_path: Path, end: str) -> None:
    """The file's content is the password, without the line end that an editor adds."""
    file = tmp_path / "password"
    file.write_bytes(b" from a file " + end.encode())
    env.delenv("MYSQL_PASSWORD")

    env.setenv("MYSQL_PASSWORD_FILE", str(file))

    assert read().password == b" from a file "


@pytest.mark.prd("SET-06")
def test_a_password_and_a_password_file(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two passwords are a mistake: nobody could say which one counts."""
    env.setenv("MYSQL_PASSWORD_FILE", str(tmp_path / "password"))
    (tmp_path / "password").write_text("other")

    assert "MYSQL_PASSWORD is set, and MYSQL_PASSWORD_FILE too" in mistakes()


@pytest.mark.prd("SET-06")
def test_a_password_file_that_is_a_pipe(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The file is read once, so that a pipe will do: MYSQL_PASSWORD_FILE=<(vault read ...)."""
    os.mkfifo(pipe := tmp_path / "pipe")
    env.delenv("MYSQL_PASSWORD")
    env.setenv("MYSQL_PASSWORD_FILE", str(pipe))

    Thread(target=pipe.write_text, args=["from a pipe"], daemon=True).start()

    assert read().password == b"from a pipe"


@pytest.mark.prd("SET-06")
@pytest.mark.parametrize(("content", "password"), [(b"\xef\xbb\xbfs3cret\r\n", b"s3cret"), (b"\n", None)])
def test_a_password_file_of_an_editor(
    env: pytest.MonkeyPatch, tmp_path: Path, content: bytes, password: bytes | None
) -> None:
    """A byte order mark is no part of the password, and a file without one is a mistake."""
    (tmp_path / "password").write_bytes(content)
    env.delenv("MYSQL_PASSWORD")
    env.setenv("MYSQL_PASSWORD_FILE", str(tmp_path / "password"))

    if password:
        assert read().password == password
    else:
        assert "MYSQL_PASSWORD_FILE is empty" in mistakes()


@pytest.mark.prd("SET-06")
def test_an_unreadable_password_file(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A password file that may not be read, or is a folder, is named with the reason."""
    env.delenv("MYSQL_PASSWORD")
    env.setenv("MYSQL_PASSWORD_FILE", str(tmp_path))

    assert "MYSQL_PASSWORD_FILE cannot be read (Is a directory)" in mistakes()


@pytest.mark.prd("SEC-01")
def test_the_password_is_not_shown() -> None:
    """Neither repr nor str of the settings holds the password."""
    assert "s3cret" not in repr(read()) + str(read())


@pytest.mark.prd("SET-03")
def test_every_variable_is_in_env_example() -> None:
    """.env.example names all variables and no others, and a line that is commented out shows the default."""
    example = (Path(settings.__file__).parent.parent / ".env.example").read_text()

    shown = dict(re.findall("^#?([A-Z_]+)=(.*)$", example, re.MULTILINE))
    fields = [(name.upper(), field.default) for name, field in Settings.model_fields.items() if not field.is_required()]
    defaults = {name: str(default).lower() for name, default in fields if default is not None}

    variables = {name.upper() for name in Settings.model_fields}
    missing, unknown = sorted(variables - shown.keys()), sorted(shown.keys() - variables)

    assert not missing, f"add to .env.example, with the default and why it exists: {missing}"
    assert not unknown, f"in .env.example, but not in fastapi/settings.py: {unknown}"
    assert {name: shown[name].lower() for name in defaults} == defaults


@pytest.mark.parametrize("secret", ["x" * 31, "한" * 10])
def test_a_short_key_is_refused(env: pytest.MonkeyPatch, secret: str) -> None:
    """JWT_SECRET has at least 32 bytes."""
    env.setenv("JWT_SECRET", secret)

    assert "\n  JWT_SECRET has fewer than 32 bytes" in mistakes()


def test_secrets_of_accounts_may_be_in_files(env: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ADMIN_PASSWORD_FILE and JWT_SECRET_FILE are read as MYSQL_PASSWORD_FILE is, and shown as little."""
    for name in ("ADMIN_PASSWORD", "JWT_SECRET"):
        (tmp_path / name).write_text(f"{name} in a file, long enough\n")
        env.setenv(f"{name}_FILE", str(tmp_path / name))

    found = read()

    assert found.first_admin_password == "ADMIN_PASSWORD in a file, long enough"
    assert found.jwt_key == "JWT_SECRET in a file, long enough"
    assert "long enough" not in repr(found)


def test_placeholders_are_no_secrets(env: pytest.MonkeyPatch) -> None:
    """Where .env is a plain copy of .env.example, nobody is made and nobody can log in."""
    for name in ("ADMIN_PASSWORD", "JWT_SECRET"):
        env.setenv(name, "change-me")

    assert read().first_admin_password is None
    assert read().jwt_key is None
