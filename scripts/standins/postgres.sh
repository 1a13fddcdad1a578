#!/usr/bin/env bash
# What compose.yaml needs of the official PostgreSQL image: first start with account, database and init scripts.
set -euo pipefail
DATA=/var/lib/postgresql/18/docker
PATH=/opt/postgres/bin:$PATH
as() { setpriv --reuid postgres --regid postgres --clear-groups env HOME=/var/lib/postgresql "$@"; }
if [ ! -s "$DATA/PG_VERSION" ]; then
  mkdir -p "$DATA" /var/run/postgresql
  chown -R postgres: /var/lib/postgresql /var/run/postgresql
  install -o postgres -m 600 /dev/null /tmp/password
  echo "$POSTGRES_PASSWORD" >/tmp/password
  as initdb -D "$DATA" -U "$POSTGRES_USER" -A trust --pwfile=/tmp/password >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$DATA/pg_hba.conf"
  echo "host replication all all scram-sha-256" >>"$DATA/pg_hba.conf"
  as pg_ctl -D "$DATA" -w -o "-c listen_addresses='' -c unix_socket_directories=/var/run/postgresql" start >/dev/null
  psql -qh /var/run/postgresql -U "$POSTGRES_USER" postgres -c "CREATE DATABASE ${POSTGRES_DB:-$POSTGRES_USER}"
  for file in /docker-entrypoint-initdb.d/*.sql; do
    psql -qv ON_ERROR_STOP=1 -h /var/run/postgresql -U "$POSTGRES_USER" "${POSTGRES_DB:-$POSTGRES_USER}" -f "$file"
  done
  as pg_ctl -D "$DATA" -w stop >/dev/null
fi
[ "${1:-postgres}" = postgres ] && shift
exec setpriv --reuid postgres --regid postgres --clear-groups env HOME=/var/lib/postgresql \
  postgres -D "$DATA" -c listen_addresses='*' -c unix_socket_directories=/var/run/postgresql "$@"
