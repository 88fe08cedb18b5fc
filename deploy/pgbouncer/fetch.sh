#!/bin/sh
# Put a PgBouncer with prepared statements (1.21 or newer) at the path given, where Debian's own is older.
#
# The source is Debian's, from a newer release, from the mirror that this machine's apt has, checked by apt against the
# archive's signature. Nothing is installed but a compiler and two libraries; nothing of the newer release is.
set -eu
target=$1
suite=${SUITE:-trixie}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
install_quietly() { apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
apt-get update -qq
install_quietly build-essential pkg-config libevent-dev libssl-dev debian-archive-keyring

mirror=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" && $2 == "Debian" { print $3; exit }')
test -n "$mirror" || { echo "This machine's apt has no Debian archive: install PgBouncer 1.21 or newer as your system does."; exit 1; }
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb-src [signed-by=$keyring] $mirror $suite main" >"$folder/sources.list"
mkdir -p "$folder/lists/partial"
cd "$folder"
private="-o Dir::Etc::SourceList=$folder/sources.list -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$folder/lists
    -o Dir::Cache=$folder/cache -o APT::Sandbox::User=root"
# shellcheck disable=SC2086 # several words
apt-get $private -qq update
# shellcheck disable=SC2086
apt-get $private -qq source --download-only pgbouncer >/dev/null

mkdir source
tar -xzf pgbouncer_*.orig.tar.gz -C source --strip-components 1
cd source
{ ./configure --without-cares --without-pam --without-systemd && make -j2 pgbouncer; } >"$folder/log" 2>&1 ||
    { tail -20 "$folder/log"; exit 1; }
install -m 755 pgbouncer "$target"
"$target" --version | head -1
