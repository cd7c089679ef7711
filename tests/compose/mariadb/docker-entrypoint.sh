#!/bin/sh
# As root: hands the data to the user mysql and goes on as that user. First boot: system tables, then a temporary
# server without TCP for the account and /docker-entrypoint-initdb.d/*.sql.
set -eu

case ${1-} in -*) set -- mariadbd "$@" ;; esac

if [ "$(id -u)" = 0 ]; then
    mkdir -p /run/mysqld
    chown mysql: /run/mysqld /var/lib/mysql
    exec setpriv --reuid mysql --regid mysql --init-groups -- "$0" "$@"
fi

literal() {
    printf "'%s'" "$(printf %s "$1" | sed -e 's/\\/\\\\/g' -e "s/'/''/g")"
}

if [ ! -d /var/lib/mysql/mysql ]; then
    mariadb-install-db --skip-test-db --auth-root-authentication-method=socket --auth-root-socket-user=mysql >/dev/null
    "$@" --skip-networking &
    until mariadb --user=mysql -e "SELECT 1" >/dev/null 2>&1; do
        kill -0 $!
        sleep 0.1
    done
    mariadb <<SQL
CREATE DATABASE \`$MYSQL_DATABASE\`;
CREATE USER $(literal "$MYSQL_USER")@'%' IDENTIFIED BY $(literal "$MYSQL_PASSWORD");
GRANT ALL ON \`$MYSQL_DATABASE\`.* TO $(literal "$MYSQL_USER")@'%';
SQL
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -f "$file" ] || mariadb "$MYSQL_DATABASE" <"$file"
    done
    mariadb-admin shutdown
    wait $!
fi
exec "$@"
