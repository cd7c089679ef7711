# shellcheck shell=sh disable=SC2034
# Sourced by ./run and ./test in the top folder: what both need. A step that has nothing to do says nothing.

say() { printf '==> %s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has_engine() { docker compose version && docker info; } >/dev/null 2>&1

# need_engine OTHERWISE: fails where there is none that docker-compose.yml can be used with, and says what else to do.
need_engine() {
    has_engine || fail "no Docker engine answers ('docker compose version', 'docker info'). Start it$1"
    engine=$(docker version --format '{{.Server.Version}}')
    [ "${engine%%.*}" -ge 25 ] || fail "Docker Engine $engine is too old: install 25 or newer$1"
    compose=$(docker compose version --short)
    minor=${compose#*.} major=${compose%%.*}
    [ "${major#v}" -gt 2 ] || [ "${minor%%[!0-9]*}" -ge 26 ] ||
        fail "Docker Compose $compose is too old: install 2.26 or newer$1"
}

# A dot for each package in the output of apt-get or pip.
dots() {
    while read -r word _; do
        case $word in
        Collecting | Unpacking) printf . ;;
        Setting) printf : ;;
        Installing) printf ' unpacking' ;;
        esac
    done
    echo
}

# apt_install PACKAGE...: tries it. Fails where there is no apt-get, or no right to use it.
apt_install() {
    command -v apt-get >/dev/null || return 1
    sudo=
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || return 1
        sudo=sudo
    fi
    say "Installing $* with ${sudo:+sudo }apt-get: up to a minute"
    {
        $sudo apt-get -qq update &&
            $sudo env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends "$@" </dev/null
    } | dots
}

# find_python MODULE: sets $python to the newest that the locks are made for and that has MODULE.
find_python() {
    for python in python3.14 python3.13 python3.12 python3.11 python3; do
        "$python" -c "import sys, $1; sys.exit(not (3, 11) <= sys.version_info < (3, 15))" 2>/dev/null && return
    done
    return 1
}

# prepare_venv LOCK: .venv holds the packages of LOCK. `.venv/installed` tells which locks are in it, by checksum.
prepare_venv() {
    if grep -qxF "$(cksum "$1")" .venv/installed && .venv/bin/python -c ''; then return; fi 2>/dev/null
    if [ ! -f .venv/installed ] || ! .venv/bin/python -c '' 2>/dev/null; then
        find_python sys || fail "no Python 3.11 to 3.14 found. Debian 12, Ubuntu 24.04 or newer: sudo apt install" \
            "python3 python3-venv. Fedora: sudo dnf install python3. macOS: brew install python@3.13"
        find_python ensurepip || { apt_install python3-venv && find_python ensurepip; } ||
            fail "$python cannot make virtual environments. Install: sudo apt install python3-venv"
        say "Making .venv with $("$python" --version)"
        "$python" -m venv --clear .venv
    fi
    say "Installing the $(grep -c == "$1") packages of $1 into .venv"
    rm -f .venv/installed # so that an interrupted installation starts anew
    {
        # The lock of the tests holds that of the service, so it fulfils both.
        .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r "$1" </dev/null &&
            cksum fastapi/requirements.txt "$1" >.venv/installed
    } | dots
    [ -f .venv/installed ] || fail "the packages could not be installed; pip says why above"
}

find_server() {
    PATH=$PATH:/usr/local/sbin:/usr/sbin # where Debian has it, and ordinary users have no PATH to
    server=$(command -v mariadbd || command -v mysqld)
}

# need_server: sets $server. The -core packages are the program alone: no system service that starts now or at boot.
need_server() {
    find_server || { apt_install mariadb-server-core mariadb-client-core && find_server; } ||
        fail "no mariadbd or mysqld found. Debian, Ubuntu: sudo apt install mariadb-server-core mariadb-client-core." \
            "Fedora: sudo dnf install mariadb-server. macOS: brew install mariadb"
}

# find_redis: sets $redis. Debian's redis-tools has the server under another name, without the system service.
find_redis() {
    redis=$(command -v redis-server || command -v valkey-server) && return
    program=$(command -v redis-check-rdb) || return 1
    mkdir -p .local
    ln -sf "$program" .local/redis-server
    redis=$(pwd -P)/.local/redis-server
}

need_redis() {
    find_redis || { apt_install redis-tools && find_redis; } ||
        fail "no redis-server found. Debian, Ubuntu: sudo apt install redis-tools. Fedora: sudo dnf install valkey." \
            "macOS: brew install redis"
}

find_faketime() { find /usr/lib /usr/lib64 -name 'libfaketimeMT.so.1' 2>/dev/null | grep -q .; }

# need_faketime: a test of the jobs gives a replica a wrong clock.
need_faketime() {
    find_faketime || { apt_install libfaketime && find_faketime; } ||
        fail "no libfaketime found. Debian, Ubuntu: sudo apt install libfaketime. Fedora: sudo dnf install libfaketime"
}

find_browser() { command -v chromium || command -v chromium-browser || command -v google-chrome; } >/dev/null

# need_browser: the tests of the page drive one.
need_browser() {
    find_browser || { apt_install chromium && find_browser; } ||
        fail "no Chromium found. Debian: sudo apt install chromium. Or Google Chrome, as google-chrome on the PATH"
}

# need_curl: the commands of the documents ask with it.
need_curl() {
    command -v curl >/dev/null || apt_install curl || fail "no curl found. Debian, Ubuntu: sudo apt install curl"
}
