#!/bin/sh
# Runs the README's two commands where nothing has been prepared: in a minimal Debian that holds
# only git, python3, gcc and make, as an ordinary user and as root.
#
#   scripts/check-fresh.sh DIR [SUITE]      as root, with debootstrap; DIR keeps the base system
#
# An ordinary user without sudo must be told in one sentence which packages are missing; root then
# succeeds without a question, and so does the user, once the packages are there. What is checked is
# a clone of the last commit. How this machine reaches its package mirrors (apt sources, name
# servers, pip's configuration, certificates, proxies) is taken over from it at run time.
set -eu

directory=${1:?usage: scripts/check-fresh.sh DIR [SUITE]}
suite=${2:-bookworm}
checkout=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$directory"
base=$(cd "$directory" && pwd)/base-$suite
root=$(cd "$directory" && pwd)/root-$suite
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
    sed -n 's/^URIs: *//p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' | head -n 1)

if [ ! -d "$base" ]; then
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=git,python3,gcc,make "$suite" "$base.new" ${mirror:+"$mirror"}
    mv "$base.new" "$base"
fi

rm -rf "$root"
cp -a --reflink=auto "$base" "$root"
for file in /etc/resolv.conf /etc/hosts; do
    cp -L "$file" "$root$file"
done
# shellcheck disable=SC1091
if [ "$suite" = "$(. /etc/os-release && echo "${VERSION_CODENAME-}")" ] &&
    [ -e /etc/apt/sources.list.d/debian.sources ]; then
    rm -f "$root/etc/apt/sources.list"
    cp /etc/apt/sources.list.d/debian.sources "$root/etc/apt/sources.list.d/"
fi
# Under a name of its own: installing Debian's certificates makes the usual bundle anew.
bundle=${PIP_CERT:-${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}}
{
    export -p | sed -nE '/^export ([a-zA-Z]+_(proxy|PROXY)|PIP_(EXTRA_)?INDEX_URL|PIP_.*TIMEOUT)=/p'
    if [ -e "$bundle" ]; then
        cp -L "$bundle" "$root/etc/check-certificates.crt"
        echo "export PIP_CERT=/etc/check-certificates.crt"
    fi
} >"$root/etc/check-environment"

git clone --quiet --no-hardlinks "$checkout" "$root/root/pycc"
chroot "$root" useradd --create-home --shell /bin/sh tester
cp -a "$root/root/pycc" "$root/home/tester/pycc"
chroot "$root" chown -R tester: /home/tester/pycc
failures=0

# run USER COMMAND: in name spaces of its own, so that no process and no mount is left behind.
run() {
    # shellcheck disable=SC2016
    unshare --mount --pid --fork sh -c '
        mount -t proc proc "$1/proc" &&
        mount -t tmpfs tmpfs "$1/dev/shm" &&
        mount -t devpts devpts "$1/dev/pts" &&
        exec chroot "$1" su - "$2" -c ". /etc/check-environment; cd pycc && $3"
    ' sh "$root" "$1" "$2" </dev/null
}

# step NAME COMMAND…: run and report.
step() {
    name=$1
    shift
    started=$(date +%s)
    if "$@" >"$directory/$name.log" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
        failures=$((failures + 1))
        tail -n 30 "$directory/$name.log"
    fi
    echo "$verdict  $name  $(($(date +%s) - started)) s  ($directory/$name.log)"
}

# refused TARGET: the user is told, in one line before make's own, which packages are missing.
refused() {
    ! run tester "make --silent $1" >"$directory/refused" 2>&1 || return 1
    cat "$directory/refused"
    [ "$(grep -cv '^make: ' "$directory/refused")" = 1 ] &&
        grep -q 'apt-get install [a-z]' "$directory/refused"
}

step user-is-told-about-demo refused demo
step root-demo run root "make demo"
step user-is-told-about-test refused test
step root-test run root "make test"
# Tests that run as root can break the system under everybody else.
step root-test-left-tmp-alone test -k "$root/tmp"
step user-demo run tester "make demo"
step user-test run tester "make test"
# Everything was fetched by then: a second run works without a network.
step user-demo-again run tester "make demo"
step root-check run root "make check"
[ "$failures" = 0 ] && echo "fresh $suite: all good"
