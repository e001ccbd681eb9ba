#!/bin/sh
# Installs the Debian package where nothing has been prepared, in a minimal Debian, and uses it: a
# compile and a hit by the links, a job of the stock client and one of pycc's by pyccd, which runs as
# its unit says as far as that goes without systemd, and at last a purge that leaves nothing.
#
#   scripts/check-deb.sh PACKAGE DIR [SUITE]      as root, with debootstrap; DIR keeps the base system
#
# How this machine reaches its package mirrors is taken over from it, as in check-fresh.sh.
# Steps are written for another shell, which expands them.
# shellcheck disable=SC2016
set -eu

package=${1:?usage: scripts/check-deb.sh PACKAGE DIR [SUITE]}
directory=${2:?usage: scripts/check-deb.sh PACKAGE DIR [SUITE]}
suite=${3:-bookworm}
mkdir -p "$directory"
base=$(cd "$directory" && pwd)/base-deb-$suite
root=$(cd "$directory" && pwd)/root-deb-$suite
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources 2>/dev/null |
    sed -n 's/^URIs: *//p; s/^deb *\(\[[^]]*\] *\)\{0,1\}\(http[^ ]*\) .*/\2/p' | head -n 1)

if [ ! -d "$base" ]; then
    rm -rf "$base.new"
    debootstrap --variant=minbase --include=gcc,libc6-dev "$suite" "$base.new" ${mirror:+"$mirror"}
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
export -p | sed -nE '/^export [a-zA-Z]+_(proxy|PROXY)=/p' >"$root/etc/check-environment"
cp "$package" "$root/root/pycc.deb"
# What pyccd.service does to the file system and to privileges, in its order; namespaces and system
# calls that it forbids are compared with the sandbox's source by tests/test_distribution_files.py.
cat >"$root/root/as-the-unit" <<'END'
set -e
mount --make-rprivate /
for directory in /tmp /var/tmp; do mount -t tmpfs -o mode=1777 tmpfs $directory; done
for directory in /home /root; do mount -t tmpfs -o mode=0,ro,nosuid,nodev,noexec tmpfs $directory; done
mount --bind /var/cache/pycc /var/cache/pycc
mkdir /tmp/dev
mount -t tmpfs -o mode=755,nosuid,noexec tmpfs /tmp/dev
for node in null zero full random urandom tty; do
    touch /tmp/dev/$node
    mount --bind /dev/$node /tmp/dev/$node
done
mkdir /tmp/dev/shm
mount -t tmpfs tmpfs /tmp/dev/shm
mount --move /tmp/dev /dev
mount -o remount,bind,ro /
exec setpriv --reuid pyccd --regid pyccd --clear-groups --bounding-set -all --no-new-privs \
    env CACHE_DIRECTORY=/var/cache/pycc "$@"
END
failures=0

# run COMMAND: in name spaces of its own, so that no process and no mount is left behind. Not by
# chroot(2), because the kernel lets nobody in a chroot have the user namespaces of exact jobs.
run() {
    unshare --mount --pid --fork sh -ec '
        mount --bind "$1" "$1"
        cd "$1"
        mount -t proc proc proc
        mount -t tmpfs tmpfs dev/shm
        mount -t devpts devpts dev/pts
        mkdir -p old
        pivot_root . old
        cd /
        umount -l /old
        exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
            DEBIAN_FRONTEND=noninteractive sh -exc ". /etc/check-environment; $2"
    ' sh "$root" "$1" </dev/null
}

# step NAME COMMAND: run and report.
step() {
    started=$(date +%s)
    if run "$2" >"$directory/deb-$1.log" 2>&1; then
        verdict=ok
    else
        verdict=FAILED
        failures=$((failures + 1))
        tail -n 30 "$directory/deb-$1.log"
    fi
    echo "$verdict  $1  $(($(date +%s) - started)) s  ($directory/deb-$1.log)"
}

apt="apt-get -y -q --no-install-recommends"

step install "apt-get -q update; $apt install /root/pycc.deb"
step user-and-links '
    getent passwd pyccd | grep -q "Compile server:/var/cache/pycc:/usr/sbin/nologin"
    test "$(readlink /usr/lib/pycc/bin/gcc)" = /usr/bin/pycc
    test -d /usr/lib/pycc/python/pycc/__pycache__'
step compile '
    useradd --create-home somebody; cd /home/somebody; echo "int f(void) { return 1; }" >a.c
    touch -d "1 hour ago" a.c; chown somebody: a.c
    for n in 1 2; do su somebody -c "PATH=/usr/lib/pycc/bin:\$PATH gcc -c a.c"; done
    su somebody -c "pycc --print-stats" | grep -qx "direct_cache_hit	1"
    su somebody -c "pycc --monitor" | grep -q "^pycc monitor"'
step trigger "
    test ! -e /usr/lib/pycc/bin/clang
    $apt install clang; test -L /usr/lib/pycc/bin/clang"
# Another user, no new privileges and an empty bounding set, as the unit has them.
step serve "
    $apt install distcc"'
    install -d -o pyccd -g pyccd -m 0750 /var/cache/pycc
    install -d -o pyccd /var/log/pyccd
    mount --bind /var/log/pyccd /var/log/pyccd
    unshare --mount --uts sh /root/as-the-unit /usr/bin/pyccd --daemon --no-detach \
        --log-file /var/log/pyccd/log --log-level info &
    cd /home/somebody
    while ! grep -q "allowing up to" /var/log/pyccd/log; do kill -0 $!; sleep 0.1; done
    export DISTCC_HOSTS=127.0.0.1 DISTCC_FALLBACK=0
    su somebody -c "DISTCC_HOSTS=127.0.0.1 DISTCC_FALLBACK=0 /usr/bin/distcc gcc -O1 -c a.c -o b.o"
    su somebody -c "DISTCC_HOSTS=127.0.0.1 PATH=/usr/lib/pycc/bin:\$PATH gcc -O2 -g -c a.c -o c.o"
    su somebody -c "gcc -O2 -g -c a.c -o d.o"; cmp c.o d.o
    su somebody -c "pycc --print-stats -v" | grep -qx "pycc_farm_exact	1"
    grep -c "COMPILE_OK" /var/log/pyccd/log | grep -qx 2
    kill $!; wait $!'
step check "/usr/bin/pyccd --check --user pyccd --cache-dir /var/cache/pycc"
step remove-and-purge '
    dpkg --purge pycc
    for path in /usr/lib/pycc /usr/bin/pycc /etc/pyccd.conf /var/cache/pycc; do
        test ! -e $path || { find $path; exit 1; }
    done'
[ "$failures" = 0 ] && echo "the package is good on $suite"
