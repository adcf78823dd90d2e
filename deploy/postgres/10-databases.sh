#!/bin/sh
# A role and a database of its own for every service that keeps a journal. Runs once, on an empty data folder.
# The password is given as SERVICES_PASSWORD or as a file.
set -eu
password="${SERVICES_PASSWORD:-}"
[ -n "$password" ] || password="$(cat "${SERVICES_PASSWORD_FILE:?}")"
for service in fast_executor smart_executor paper_sim portfolio gateway; do
    psql -v ON_ERROR_STOP=1 -v name="$service" -v password="$password" \
        --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
