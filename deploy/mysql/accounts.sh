# shellcheck shell=bash disable=SC2154
# Sourced by the entrypoint of the MySQL or MariaDB image at the first boot, as root: an account that may alter tables,
# for the migrations alone, and for the service one that may not.
database=${MYSQL_DATABASE//_/\\_}
password=$(sed -e 's/\\/\\\\/g' -e "s/'/''/g" /run/secrets/migrate_password)
docker_process_sql <<SQL
CREATE USER '$MIGRATE_USER'@'%' IDENTIFIED BY '$password';
GRANT ALL ON \`$database\`.* TO '$MIGRATE_USER'@'%';
REVOKE ALL ON \`$database\`.* FROM '$MYSQL_USER'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE ON \`$database\`.* TO '$MYSQL_USER'@'%';
SQL
unset password
