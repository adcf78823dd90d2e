#!/bin/sh
# Passwords at random and the database URLs made of them, once: files that exist stay as they are.
# The folder is for its owner only; the files in it are readable, because services read them under other user ids.
set -eu
umask 077
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"

keep() { # name, content
    [ -e "$folder/$1" ] || printf '%s\n' "$2" >"$folder/$1"
    chmod 0444 "$folder/$1"
}
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

for name in postgres_password services_password grafana_password; do keep "$name" "$(password)"; done
services="$(cat "$folder/services_password")"
for service in fast_executor smart_executor paper_sim portfolio gateway; do
    keep "${service}_database_url" "postgresql+asyncpg://$service:$services@postgres:5432/$service"
done
