#!/usr/bin/env bash
# What compose.yaml needs of the official MySQL image: first start with accounts, database and init scripts.
set -euo pipefail
ROOT=/opt/mysql/usr
LIB=$(echo $ROOT/lib/*-linux-gnu)
DATA=/var/lib/mysql
SOCKET=/var/lib/mysql/mysqld.sock
server=("$(echo "$LIB"/ld-linux-*.so.*)" --library-path "$LIB" $ROOT/sbin/mysqld --no-defaults --user=mysql
  --datadir=$DATA --basedir=$ROOT --lc-messages-dir=$ROOT/share/mysql --character-sets-dir=$ROOT/share/mysql/charsets
  --socket=$SOCKET --secure-file-priv=NULL --pid-file=$DATA/mysqld.pid --log-error-verbosity=1)
if [ ! -d "$DATA/mysql" ]; then
  chown -R mysql: $DATA
  "${server[@]}" --initialize-insecure
  "${server[@]}" --skip-networking "$@" &
  client() { mysql -uroot -S "$SOCKET" "$@"; }
  until client -e 'SELECT 1' >/dev/null 2>&1; do kill -0 $! && sleep 0.2; done
  client -e "CREATE DATABASE $MYSQL_DATABASE; CREATE USER '$MYSQL_USER'@'%' IDENTIFIED BY '$MYSQL_PASSWORD';
    GRANT ALL ON $MYSQL_DATABASE.* TO '$MYSQL_USER'@'%'; CREATE USER root@'%' IDENTIFIED BY '$MYSQL_ROOT_PASSWORD';
    GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
  for file in /docker-entrypoint-initdb.d/*.sql; do client "$MYSQL_DATABASE" <"$file"; done
  client -e "ALTER USER root@localhost IDENTIFIED BY '$MYSQL_ROOT_PASSWORD'; SHUTDOWN;"
  wait
fi
exec "${server[@]}" "$@"
