#!/usr/bin/env bash
# What compose.yaml needs of the official MariaDB image: first start with accounts, database and init scripts.
set -euo pipefail
DATA=/var/lib/mysql
SOCKET=/run/mysqld/mysqld.sock
mkdir -p /run/mysqld
chown -R mysql: $DATA /run/mysqld
server=(mariadbd --no-defaults --user=mysql --datadir=$DATA --socket=$SOCKET)
if [ ! -d "$DATA/mysql" ]; then
  mariadb-install-db --no-defaults --user=mysql --datadir=$DATA --auth-root-authentication-method=normal --skip-test-db >/dev/null
  "${server[@]}" --skip-networking "$@" &
  client() { mariadb --no-defaults -uroot -S $SOCKET "$@"; }
  until client -e 'SELECT 1' >/dev/null 2>&1; do kill -0 $! && sleep 0.2; done
  client -e "CREATE DATABASE $MARIADB_DATABASE; CREATE USER '$MARIADB_USER'@'%' IDENTIFIED BY '$MARIADB_PASSWORD';
    GRANT ALL ON $MARIADB_DATABASE.* TO '$MARIADB_USER'@'%'; CREATE USER root@'%' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
    GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
  for file in /docker-entrypoint-initdb.d/*.sql; do client "$MARIADB_DATABASE" <"$file"; done
  client -e "ALTER USER root@localhost IDENTIFIED BY '$MARIADB_ROOT_PASSWORD'; SHUTDOWN;"
  wait
fi
exec "${server[@]}" --bind-address=0.0.0.0 "$@"
