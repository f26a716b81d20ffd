#!/bin/sh
# Install the Debian packages named as arguments, if missing; without root or apt, print what to install.
set -eu
missing=""
for package in "$@"; do
    case "$package" in
        plink) program=plink1 ;;
        tabix) program=bgzip ;;
        postgresql) program=pg_ctlcluster ;;
        r-cran-susier)
            [ -d /usr/lib/R/site-library/susieR ] && continue
            program=$package ;;
        *) program=$package ;;
    esac
    command -v "$program" >/dev/null 2>&1 || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "setup: apt installs$missing"
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Please install:$missing (Debian: sudo apt-get install$missing), then run this again." >&2
    exit 2
fi
