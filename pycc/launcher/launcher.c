/* The program that stands on PATH as gcc, g++, clang …: it asks the resident server what to do
 * and does it in its own process.
 *
 * It is felt by every compile, so it has no libc start-up: a static program that enters at
 * _start, makes system calls itself and lives some 60 us, where glibc's start-up alone takes
 * 500. It is dumb, so that policy can be Python: it sends its command line, directory,
 * environment and umask, and carries out the reply. frame.h is the grammar of that wire.
 *
 * The real compiler must run whatever happens here. So every failure before the compiler has
 * run ends in plain(): find the compiler on PATH behind every wrapper and exec it with the
 * user's own words. After the compiler has run as the user's own command (RUN_FINAL), every
 * failure ends with the compiler's status instead, because its outputs are already there.
 *
 * The compiler is our child, never the server's: it keeps the user's cgroup, limits, umask,
 * terminal and jobserver, and dies with the signals that the user sends. We forward INT, TERM,
 * HUP and QUIT to it and afterwards die of the same signal, so that make and the shell see what
 * they would have seen of the compiler.
 *
 * The socket lies in a directory of mode 0700 that must be ours, and the peer must have our uid.
 * Its name holds the build and a digest of everything that decides what a process may see (uid,
 * gids, capabilities, namespaces, root): a server never answers for another view of the files.
 * The launcher that finds no listener takes a lock, makes the listening socket itself and starts
 * the server on it, so that everybody can connect at once and nobody has to poll.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/auxvec.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "frame.h"
#include "syscalls.h"

#ifndef PYCC_BUILD_ID
#define PYCC_BUILD_ID "dev"
#endif

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif

enum {
    CONNECT_MS = 1000,
    REPLY_MS = 1000,  /* the first answer, the server's start included */
    FINAL_MS = 10000, /* the answer after the compile: nothing is lost but the caching */
    MAX_ARGS = 1 << 20,
    DEEPEST_LEVEL = 8,
    EXIT_RECURSION = 111 /* distcc's EXIT_RECURSION */
};

struct ksigaction {
    void (*handler)(int);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static struct {
    int argc, envc;
    char **argv, **env;
    const char *name; /* basename of argv[0] */
    int own_name;
    int distcc; /* called by that name */
    int level; /* how many of us are above */
    uint32_t ids[4]; /* uid, effective uid, gid, effective gid */
    char server_dir[160];
    char socket[108];
    size_t dir_len; /* of server_dir */
    int started;    /* we started the server in this call */
} self;

static volatile int child_pid;
static volatile int caught; /* the last signal that we forwarded */

static int starts(const char *s, const char *prefix)
{
    while (*prefix)
        if (*s++ != *prefix++)
            return 0;
    return 1;
}

static const char *base_name(const char *path)
{
    const char *base = path;
    for (; *path; path++)
        if (*path == '/')
            base = path + 1;
    return base;
}

static int has_slash(const char *s)
{
    return base_name(s) != s;
}

static const char *env_get(const char *key)
{
    size_t n = strlen(key);
    for (int i = 0; i < self.envc; i++)
        if (starts(self.env[i], key) && self.env[i][n] == '=')
            return self.env[i] + n + 1;
    return NULL;
}

static void *allocate(size_t n)
{
    long p = SYS(mmap, 0, n ? n : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p < 0 && p > -4096 ? NULL : (void *)p;
}

static int write_all(int fd, const char *data, size_t n)
{
    while (n) {
        long r = SYS(write, fd, data, n);
        if (r == -EINTR)
            continue;
        if (r == -EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT, .revents = 0};
            SYS(ppoll, &p, 1, 0, 0, 8);
            continue;
        }
        if (r <= 0)
            return -1;
        data += r;
        n -= (size_t)r;
    }
    return 0;
}

/* ---- text without stdio ------------------------------------------------------------------ */

struct text {
    char *at, *end;
};

static void put(struct text *t, const char *s)
{
    while (*s && t->at + 1 < t->end)
        *t->at++ = *s++;
    *t->at = 0;
}

static void put_number(struct text *t, uint64_t value, unsigned base, int digits)
{
    char buffer[24];
    int i = sizeof buffer;
    buffer[--i] = 0;
    do {
        buffer[--i] = "0123456789abcdef"[value % base];
        value /= base;
        digits--;
    } while ((value || digits > 0) && i > 0);
    put(t, buffer + i);
}

static void complain(const char *a, const char *b, const char *c)
{
    char line[1024];
    struct text t = {line, line + sizeof line};
    put(&t, "pycc: ");
    put(&t, a);
    put(&t, b);
    put(&t, c);
    put(&t, "\n");
    write_all(2, line, (size_t)(t.at - line));
}

/* ---- the real compiler, without a server -------------------------------------------------- */

static int is_wrapper(const char *path)
{
    char head[16], link[32], target[4096];
    long fd = SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0) {
        long n = SYS(read, fd, head, sizeof head);
        SYS(close, fd);
        if (n == sizeof head && !memcmp(head, "\177ELF", 4) && !memcmp(head + 9, "pycc", 5))
            return 1;
    }
    fd = SYS(openat, AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    struct text t = {link, link + sizeof link};
    put(&t, "/proc/self/fd/");
    put_number(&t, (uint64_t)fd, 10, 0);
    long n = SYS(readlinkat, AT_FDCWD, link, target, sizeof target - 1);
    SYS(close, fd);
    if (n <= 0)
        return 0;
    target[n] = 0;
    const char *base = base_name(target);
    return starts(base, "pycc") || starts(base, "ccache") || starts(base, "distcc");
}

/* The first executable regular file of that name on PATH, compiler wrappers left out if
 * `compiler`. */
static int find_on_path(const char *name, int compiler, char *out, size_t size)
{
    const char *path = env_get("PATH");
    if (!path)
        path = "/usr/local/bin:/usr/bin:/bin";
    for (;;) {
        const char *end = path;
        while (*end && *end != ':')
            end++;
        size_t n = (size_t)(end - path);
        if (n + strlen(name) + 3 < size) {
            struct stat s;
            struct text t = {out, out + size};
            memcpy(out, path, n);
            t.at += n;
            put(&t, n ? "/" : "./");
            put(&t, name);
            if (!SYS(newfstatat, AT_FDCWD, out, &s, 0) && S_ISREG(s.st_mode) &&
                !SYS(faccessat, AT_FDCWD, out, 1) && !(compiler && is_wrapper(out)))
                return 1;
        }
        if (!*end)
            return 0;
        path = end + 1;
    }
}

static char level_text[24] = "_PYCC_LEVEL=";

/* env with the edits applied: K=V replaces or adds, K removes. */
static char **edited_env(char **edits, uint32_t count)
{
    char **env = allocate(sizeof *env * ((size_t)self.envc + count + 2));
    size_t n = 0;
    if (!env)
        return self.env;
    for (int i = 0; i < self.envc; i++) {
        int keep = !starts(self.env[i], "_PYCC_LEVEL=");
        for (uint32_t j = 0; keep && j < count; j++) {
            size_t k = 0;
            while (edits[j][k] && edits[j][k] != '=')
                k++;
            keep = memcmp(self.env[i], edits[j], k) || self.env[i][k] != '=';
        }
        if (keep)
            env[n++] = self.env[i];
    }
    for (uint32_t j = 0; j < count; j++)
        for (const char *s = edits[j]; *s; s++)
            if (*s == '=') {
                env[n++] = edits[j];
                break;
            }
    struct text t = {level_text + 12, level_text + sizeof level_text};
    put_number(&t, (uint64_t)self.level + 1, 10, 0);
    env[n++] = level_text;
    env[n] = NULL;
    return env;
}

/* One word in a file beside the socket; the server turns the words into counters. */
static void note(const char *reason)
{
    char path[200], line[64];
    if (!self.dir_len)
        return;
    struct text t = {path, path + sizeof path};
    put(&t, self.server_dir);
    put(&t, "/fallbacks");
    long fd = SYS(openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                  0600);
    if (fd < 0)
        return;
    struct stat s;
    struct text l = {line, line + sizeof line};
    put(&l, reason);
    put(&l, "\n");
    if (!SYS(fstat, fd, &s) && S_ISREG(s.st_mode) && s.st_size < (1 << 20))
        write_all((int)fd, line, (size_t)(l.at - line));
    SYS(close, fd);
}

static _Noreturn void in_process(void);

/* Whether the word behind "distcc" names a compiler, and is no option, source or object. */
static int names_compiler(const char *word)
{
    static const char *const others[] = {".c",   ".cc", ".cpp", ".cxx", ".cp", ".c++", ".C",
                                         ".i",   ".ii", ".m",   ".mm",  ".M",  ".mi",  ".mii",
                                         ".s",   ".S",  ".o"};
    const char *dot = NULL;
    for (const char *s = base_name(word); *s; s++)
        if (*s == '.')
            dot = s;
    if (word[0] == '-' || !word[0])
        return 0;
    for (size_t i = 0; dot && i < sizeof others / sizeof *others; i++)
        if (starts(dot, others[i]) && !dot[strlen(others[i])])
            return 0;
    return 1;
}

/* Words on the line that speak to us (--ccache-skip) are unknown to compilers. */
static void leave_out_our_words(char **argv)
{
    char **kept = argv;
    for (; *argv; argv++)
        if (!starts(*argv, "--ccache-"))
            *kept++ = *argv;
    *kept = NULL;
}

static _Noreturn void plain(const char *reason)
{
    static char found[4096];
    char **argv = self.argv;
    const char *name = self.name;
    if (reason)
        note(reason);
    if (self.own_name) {
        argv++;
        /* KEY=VALUE words before the compiler are settings for us */
        while (*argv && argv[0][0] != '-' && !has_slash(argv[0])) {
            const char *s = argv[0];
            while (*s && *s != '=')
                s++;
            if (!*s)
                break;
            argv++;
        }
        if (!*argv || argv[0][0] == '-')
            in_process();
        name = argv[0];
    }
    if (self.distcc) {
        if (self.argc < 2 || (self.argc == 2 && argv[1][0] == '-'))
            in_process();
        if (names_compiler(argv[1]))
            name = *++argv;
        else
            name = "cc";
    }
    if (*argv)
        leave_out_our_words(argv + 1);
    if (has_slash(name) && (self.own_name || self.distcc) && !is_wrapper(name)) {
        argv[0] = (char *)name;
        long e = SYS(execve, name, argv, edited_env(NULL, 0));
        complain("cannot run ", name, e == -EACCES ? ": permission denied" : "");
        quit(e == -ENOENT ? 127 : 126);
    }
    if (self.level >= DEEPEST_LEVEL) {
        complain("recursive invocation: ", base_name(name),
                 " on PATH leads back here; is a compiler wrapper script calling itself?");
        quit(EXIT_RECURSION);
    }
    if (!find_on_path(base_name(name), 1, found, sizeof found)) {
        complain("error: could not find compiler \"", base_name(name), "\" in PATH");
        quit(1);
    }
    argv[0] = found;
    long e = SYS(execve, found, argv, edited_env(NULL, 0));
    complain("cannot run ", found, e == -E2BIG ? ": argument list too long" : "");
    quit(126);
}

/* ---- where the server is ------------------------------------------------------------------ */

static uint64_t mix(uint64_t h, const void *data, size_t n)
{
    for (const unsigned char *p = data; n--; p++)
        h = (h ^ *p) * 0x100000001b3u;
    return h;
}

static int usable_dir(const char *path, uint32_t uid)
{
    struct stat s;
    long e = SYS(newfstatat, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW);
    if (e == -ENOENT && !SYS(mkdirat, AT_FDCWD, path, 0700))
        e = SYS(newfstatat, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW);
    return !e && S_ISDIR(s.st_mode) && s.st_uid == uid && !(s.st_mode & 077);
}

static int place_of(uint32_t uid)
{
    const char *run = env_get("XDG_RUNTIME_DIR");
    for (int attempt = 0; attempt < 2; attempt++) {
        struct text t = {self.server_dir, self.server_dir + 62};
        if (attempt == 0) {
            if (!run || run[0] != '/' || strlen(run) > 50)
                continue;
            put(&t, run);
            put(&t, "/pycc");
        } else {
            put(&t, "/tmp/pycc-");
            put_number(&t, uid, 10, 0);
        }
        if (usable_dir(self.server_dir, uid)) {
            self.dir_len = (size_t)(t.at - self.server_dir);
            return 1;
        }
    }
    return 0;
}

/* Name the socket of the server that sees what we see; 0 when that cannot be known. */
static int name_socket(void)
{
    static const char *const spaces[] = {"/proc/self/ns/user", "/proc/self/ns/mnt",
                                         "/proc/self/ns/net"};
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct caps[2];
    struct stat root;
    uint32_t groups[256];
    char link[64];
    uint64_t h = 0xcbf29ce484222325u;
    const uint32_t *ids = self.ids;
    if (ids[0] != ids[1] || ids[2] != ids[3])
        return 0;
    long n = SYS(getgroups, 256, groups);
    if (n < 0 || SYS(capget, &header, caps) || SYS(newfstatat, AT_FDCWD, "/", &root, 0))
        return 0;
    h = mix(h, ids, sizeof self.ids);
    h = mix(h, groups, (size_t)n * sizeof groups[0]);
    h = mix(h, caps, sizeof caps);
    h = mix(h, &root.st_dev, sizeof root.st_dev);
    h = mix(h, &root.st_ino, sizeof root.st_ino);
    for (int i = 0; i < 3; i++) {
        n = SYS(readlinkat, AT_FDCWD, spaces[i], link, sizeof link);
        if (n <= 0)
            return 0;
        h = mix(h, link, (size_t)n);
    }
    if (!place_of(ids[0]))
        return -1;
    struct text t = {self.socket, self.socket + sizeof self.socket};
    put(&t, self.server_dir);
    put(&t, "/" PYCC_BUILD_ID "-");
    put_number(&t, h, 16, 16);
    return 1;
}

static int high_fd(int fd)
{
    if (fd < 0 || fd > 2)
        return fd;
    long high = SYS(fcntl, fd, F_DUPFD_CLOEXEC, 3);
    SYS(close, fd);
    return (int)high;
}

static void set_timeout(int fd, int option, int ms)
{
    struct timeval t = {ms / 1000, (ms % 1000) * 1000};
    SYS(setsockopt, fd, SOL_SOCKET, option, &t, sizeof t);
}

static void address_of(struct sockaddr_un *a)
{
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    memcpy(a->sun_path, self.socket, strlen(self.socket));
}

static int connect_server(void)
{
    struct sockaddr_un a;
    struct ucred peer;
    socklen_t n = sizeof peer;
    int fd = high_fd((int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (fd < 0)
        return fd;
    address_of(&a);
    set_timeout(fd, SO_SNDTIMEO, CONNECT_MS);
    long e = SYS(connect, fd, &a, sizeof a);
    if (!e)
        e = SYS(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &n);
    if (!e && peer.uid != self.ids[0])
        e = -EPERM;
    if (!e)
        return fd;
    SYS(close, fd);
    return (int)e;
}

/* pycc-server: beside this executable, on PATH, or where an earlier server said it is (a copy of
 * the launcher has no sibling). */
static int find_server(char *out, size_t size)
{
    struct stat s;
    struct text t = {out, out + size};
    long n = SYS(readlinkat, AT_FDCWD, "/proc/self/exe", out, size - 16);
    if (n > 0) {
        while (n > 0 && out[n - 1] != '/')
            n--;
        t.at = out + n;
        put(&t, "pycc-server");
        if (!SYS(faccessat, AT_FDCWD, out, 1))
            return 1;
    }
    if (find_on_path("pycc-server", 0, out, size))
        return 1;
    if (!self.dir_len)
        return 0;
    char link[200];
    struct text l = {link, link + sizeof link};
    put(&l, self.server_dir);
    put(&l, "/server");
    n = SYS(readlinkat, AT_FDCWD, link, out, size - 1);
    if (n <= 0)
        return 0;
    out[n] = 0;
    return !SYS(newfstatat, AT_FDCWD, out, &s, 0) && !SYS(faccessat, AT_FDCWD, out, 1);
}

static _Noreturn void become_server(const char *program, int listener, const char *log_path)
{
    struct ksigaction by_default = {NULL, 0, NULL, 0};
    uint64_t none = 0;
    SYS(setsid, 0);
    if (SYS(clone, SIGCHLD, 0, 0, 0, 0)) /* the session leader leaves; init adopts the rest */
        quit(0);
    SYS(chdir, "/");
    SYS(umask, 077);
    for (int sig = 1; sig < 32; sig++)
        SYS(rt_sigaction, sig, &by_default, 0, 8);
    SYS(rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
    long null = SYS(openat, AT_FDCWD, "/dev/null", O_RDWR, 0);
    long log = SYS(openat, AT_FDCWD, log_path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW, 0600);
    long keep = SYS(fcntl, listener, F_DUPFD, 10);
    SYS(dup3, null, 0, 0);
    SYS(dup3, log >= 0 ? log : null, 1, 0);
    SYS(dup3, log >= 0 ? log : null, 2, 0);
    SYS(dup3, keep, 3, 0);
    if (SYS(close_range, 4, ~0u, 0))
        for (int fd = 4; fd < 4096; fd++)
            SYS(close, fd);
    const char *const argv[] = {program, "--serve", self.socket, NULL};
    const char *const env[] = {NULL};
    SYS(execve, program, argv, env);
    quit(127);
}

static int start_server(void)
{
    char lock_path[120], log_path[120];
    static char program[4096];
    struct text t = {lock_path, lock_path + sizeof lock_path};
    struct text l = {log_path, log_path + sizeof log_path};
    put(&t, self.socket);
    put(&t, ".lock");
    put(&l, self.socket);
    put(&l, ".log");
    int lock = high_fd((int)SYS(openat, AT_FDCWD, lock_path,
                                O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (lock < 0)
        return lock;
    int fd = -EAGAIN;
    for (int waited = 0; SYS(flock, lock, 2 | 4); waited++) { /* LOCK_EX | LOCK_NB */
        struct timespec ms = {0, 1000000};
        if (waited >= CONNECT_MS)
            goto out;
        SYS(nanosleep, &ms, 0);
    }
    fd = connect_server(); /* somebody else may have been faster */
    if (fd >= 0 || (fd != -ENOENT && fd != -ECONNREFUSED))
        goto out;
    fd = -ENOENT;
    if (!find_server(program, sizeof program))
        goto out;
    struct sockaddr_un a;
    address_of(&a);
    int listener = high_fd((int)SYS(socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (listener < 0)
        goto out;
    SYS(unlinkat, AT_FDCWD, self.socket, 0);
    if (!SYS(bind, listener, &a, sizeof a) && !SYS(listen, listener, 4096)) {
        long child = SYS(clone, SIGCHLD, 0, 0, 0, 0);
        if (!child)
            become_server(program, listener, log_path);
        if (child > 0) {
            SYS(wait4, child, 0, 0, 0);
            fd = connect_server();
            self.started = 1;
        }
    }
    SYS(close, listener);
out:
    SYS(close, lock);
    return fd;
}

/* A listener that is stopped (SIGSTOP) would cost everybody the time limit: take its name away,
 * so that the next call starts another. It finishes what it has when it goes on. */
static void retire_stopped(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    char path[40], stat_text[512];
    if (SYS(getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) || peer.pid <= 0)
        return;
    struct text t = {path, path + sizeof path};
    put(&t, "/proc/");
    put_number(&t, (uint64_t)peer.pid, 10, 0);
    put(&t, "/stat");
    long f = SYS(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    if (f < 0)
        return;
    long got = SYS(read, f, stat_text, sizeof stat_text - 1);
    SYS(close, f);
    while (got > 2 && stat_text[got - 1] != ')')
        got--;
    if (got > 2 && (stat_text[got + 1] == 'T' || stat_text[got + 1] == 't'))
        SYS(unlinkat, AT_FDCWD, self.socket, 0);
}

/* ---- frames -------------------------------------------------------------------------------- */

static int send_parts(int fd, struct iovec *v, int n)
{
    while (n) {
        struct msghdr m;
        memset(&m, 0, sizeof m);
        m.msg_iov = v;
        m.msg_iovlen = (size_t)n;
        long r = SYS(sendmsg, fd, &m, MSG_NOSIGNAL);
        if (r == -EINTR)
            continue;
        if (r < 0)
            return -1;
        while (n && (size_t)r >= v->iov_len) {
            r -= (long)v->iov_len;
            v++;
            n--;
        }
        if (n) {
            v->iov_base = (char *)v->iov_base + r;
            v->iov_len -= (size_t)r;
        }
    }
    return 0;
}

/* Send strings that are contiguous (the kernel lays argv and environ out so) without a copy. */
static int strings_of(char **list, int count, struct iovec *v)
{
    if (!count) {
        v->iov_base = NULL;
        v->iov_len = 0;
        return 1;
    }
    char *at = list[0];
    size_t total = 0;
    int contiguous = 1;
    for (int i = 0; i < count; i++) {
        size_t n = strlen(list[i]) + 1;
        if (list[i] != at + total)
            contiguous = 0;
        total += n;
    }
    v->iov_len = total;
    v->iov_base = at;
    if (contiguous)
        return 1;
    char *copy = allocate(total);
    if (!copy)
        return 0;
    v->iov_base = copy;
    for (int i = 0; i < count; i++) {
        size_t n = strlen(list[i]) + 1;
        memcpy(copy, list[i], n);
        copy += n;
    }
    return 1;
}

static int is_tty(int fd)
{
    char termios[64];
    return !SYS(ioctl, fd, 0x5401 /* TCGETS */, termios);
}

/* The request is put together before the server is called, so that it follows the connection at
 * once: a server that accepts and finds nothing to read has to be woken a second time. */
static struct {
    uint32_t head[11];
    char cwd[4096];
    struct iovec parts[4];
    int complete;
} request;

static void prepare_request(void)
{
    struct iovec *v = request.parts;
    uint32_t *h = request.head;
    long n = SYS(getcwd, request.cwd, sizeof request.cwd);
    if (n <= 1 || request.cwd[0] != '/')
        return;
    v[1].iov_base = request.cwd;
    v[1].iov_len = (size_t)n - 1;
    if (!strings_of(self.argv, self.argc, &v[2]) || !strings_of(self.env, self.envc, &v[3]))
        return;
    size_t total = sizeof request.head + v[1].iov_len + v[2].iov_len + v[3].iov_len;
    if (total > FRAME_LIMIT)
        return;
    uint32_t mask = (uint32_t)SYS(umask, 022);
    SYS(umask, mask);
    h[0] = (uint32_t)total;
    h[1] = FRAME_MAGIC;
    h[2] = KIND_REQUEST;
    h[3] = mask;
    h[4] = (is_tty(2) ? REQUEST_STDERR_TTY : 0) | (self.own_name ? REQUEST_OWN_NAME : 0);
    h[5] = (uint32_t)self.argc;
    h[6] = (uint32_t)self.envc;
    h[7] = (uint32_t)v[1].iov_len;
    h[8] = (uint32_t)v[2].iov_len;
    h[9] = (uint32_t)v[3].iov_len;
    h[10] = 0;
    v[0].iov_base = h;
    v[0].iov_len = sizeof request.head;
    request.complete = 1;
}

static int send_request(int fd)
{
    struct iovec v[4];
    if (!request.complete)
        return -1;
    memcpy(v, request.parts, sizeof v);
    return send_parts(fd, v, 4);
}

static int receive(int fd, char *to, size_t n)
{
    while (n) {
        long r = SYS(recvfrom, fd, to, n, 0, 0, 0);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            return r == -EAGAIN ? -EAGAIN : -EIO;
        to += r;
        n -= (size_t)r;
    }
    return 0;
}

static int shared_fd = -1; /* came with a reply */

static void take_descriptor(const struct msghdr *m)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(m);
    int fd;
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
        c->cmsg_len != CMSG_LEN(sizeof fd))
        return;
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
    if (shared_fd >= 0)
        SYS(close, shared_fd);
    shared_fd = high_fd(fd);
}

enum { LOOKS = 200 };

/* A whole reply, or an error. The first read usually holds all of it, and what follows a WAIT.
 *
 * A hit is answered within some 100 us, and to sleep and be woken on an idle virtual processor costs
 * as much again: so the first reply is looked for so long, and between two looks the processor is
 * left to whoever wants it. (A hit beside a process that does nothing: 1.06 times its time, from
 * 1.38.) */
static int receive_reply(int fd, int ms, char **body, size_t *length)
{
    static int looks = LOOKS;
    static char first[65536];
    static size_t next, end; /* what was read behind the last reply */
    uint32_t h[3];
    size_t have = end - next;
    volatile char *to = first; /* not to become a call of memmove, which is not there */
    for (size_t i = 0; i < have; i++)
        to[i] = first[next + i];
    next = end = 0;
    set_timeout(fd, SO_RCVTIMEO, ms);
    while (have < sizeof h) {
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
        struct iovec v = {first + have, sizeof first - have};
        struct msghdr m = {.msg_iov = &v,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
        long r = -EAGAIN;
        for (; r == -EAGAIN && looks; looks--) {
            r = SYS(recvmsg, fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
            if (r == -EAGAIN)
                SYS(sched_yield, 0);
        }
        if (r == -EAGAIN)
            r = SYS(recvmsg, fd, &m, MSG_CMSG_CLOEXEC);
        if (r == -EINTR)
            continue;
        if (r <= 0)
            return r == -EAGAIN ? -EAGAIN : -EIO;
        take_descriptor(&m);
        have += (size_t)r;
    }
    memcpy(h, first, sizeof h);
    if (h[1] != FRAME_MAGIC || h[2] != KIND_REPLY || h[0] < sizeof h || h[0] > FRAME_LIMIT)
        return -EPROTO;
    if (have > h[0]) {
        next = h[0];
        end = have;
    }
    *length = h[0] - sizeof h;
    *body = first + sizeof h;
    if (have < h[0]) {
        char *whole = allocate(*length);
        if (!whole)
            return -ENOMEM;
        memcpy(whole, *body, have - sizeof h);
        int e = receive(fd, whole + have - sizeof h, h[0] - have);
        if (e)
            return e;
        *body = whole;
    }
    return 0;
}

/* ---- the compiler as our child ------------------------------------------------------------- */

struct buffer {
    char *data;
    size_t used, size;
};

static int append(struct buffer *b, const char *data, size_t n)
{
    if (b->used + n > b->size) {
        size_t size = (b->used + n) * 2 + 65536;
        char *bigger = allocate(size);
        if (!bigger || b->used + n > FRAME_LIMIT / 2)
            return -1;
        if (b->used)
            memcpy(bigger, b->data, b->used);
        if (b->size)
            SYS(munmap, b->data, b->size);
        b->data = bigger;
        b->size = size;
    }
    memcpy(b->data + b->used, data, n);
    b->used += n;
    return 0;
}

static void forward(int sig)
{
    caught = sig;
    if (child_pid > 0)
        SYS(kill, child_pid, sig);
}

#if !defined(PYCC_USE_LIBC) && defined(__x86_64__)
__asm__(".text\n.type restore_rt,@function\nrestore_rt:\n mov $15, %eax\n syscall\n");
extern void restore_rt(void);
#define SIGNAL_FLAGS 0x04000000ul /* SA_RESTORER */
#elif defined(PYCC_USE_LIBC) && defined(__x86_64__)
__asm__(".text\nrestore_rt:\n mov $15, %eax\n syscall\n");
extern void restore_rt(void);
#define SIGNAL_FLAGS 0x04000000ul
#else
#define restore_rt ((void (*)(void))0)
#define SIGNAL_FLAGS 0ul
#endif

static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

static void catch_signals(struct ksigaction *old)
{
    struct ksigaction act = {forward, SIGNAL_FLAGS, restore_rt, 0};
    for (int i = 0; i < 4; i++) {
        SYS(rt_sigaction, forwarded[i], 0, &old[i], 8);
        if (old[i].handler != (void (*)(int))1) /* SIG_IGN, as under nohup, stays */
            SYS(rt_sigaction, forwarded[i], &act, 0, 8);
    }
}

static void release_signals(const struct ksigaction *old)
{
    for (int i = 0; i < 4; i++)
        SYS(rt_sigaction, forwarded[i], &old[i], 0, 8);
}

static _Noreturn void end_as(uint32_t wait_status)
{
    if (WIFSIGNALED((int)wait_status)) {
        struct ksigaction by_default = {NULL, 0, NULL, 0};
        struct rlimit no_core = {0, 0};
        uint64_t none = 0;
        int sig = WTERMSIG((int)wait_status);
        SYS(prlimit64, 0, RLIMIT_CORE, &no_core, 0);
        SYS(rt_sigaction, sig, &by_default, 0, 8);
        SYS(rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
        SYS(kill, SYS(getpid, 0), sig);
        quit(128 + sig);
    }
    quit(WEXITSTATUS((int)wait_status));
}

struct command {
    uint32_t flags;
    char **argv, **env;
    const char *out_path;
};

struct outcome {
    int status, error;
    uint64_t ns;
    struct buffer out, err;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    SYS(clock_gettime, CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void child(const struct command *c, const int *out, const int *err,
                            int status_pipe)
{
    SYS(prctl, 1 /* PR_SET_PDEATHSIG */, SIGKILL);
    if (c->flags & RUN_OUT_FILE) {
        int fd = (int)SYS(openat, AT_FDCWD, c->out_path,
                          O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0) { /* the user's own stdout is no place for it */
            fd = -fd;
            write_all(status_pipe, (const char *)&fd, sizeof fd);
            quit(127);
        }
        if (fd != 1)
            SYS(dup3, fd, 1, 0);
        else
            SYS(fcntl, 1, F_SETFD, 0);
    } else if (c->flags & RUN_CAPTURE_OUT) {
        SYS(dup3, out[1], 1, 0);
    }
    if (c->flags & RUN_CAPTURE_ERR)
        SYS(dup3, err[1], 2, 0);
    long e = SYS(execve, c->argv[0], c->argv, c->env);
    int error = (int)-e;
    write_all(status_pipe, (const char *)&error, sizeof error);
    quit(127);
}

static int drain(int fd, struct buffer *b, int tee_fd)
{
    char block[32768];
    long r = SYS(read, fd, block, sizeof block);
    if (r == -EINTR || r == -EAGAIN)
        return -EAGAIN;
    if (r <= 0)
        return 0;
    if (tee_fd >= 0)
        write_all(tee_fd, block, (size_t)r);
    append(b, block, (size_t)r);
    return 1;
}

static int make_pipe(int *p)
{
    if (SYS(pipe2, p, O_CLOEXEC))
        return -1;
    p[0] = high_fd(p[0]);
    p[1] = high_fd(p[1]);
    return p[0] < 0 || p[1] < 0 ? -1 : 0;
}

static void run(const struct command *c, struct outcome *o)
{
    int out[2] = {-1, -1}, err[2] = {-1, -1}, status[2];
    struct ksigaction old[4];
    uint64_t all = ~0ull, before;
    memset(o, 0, sizeof *o);
    if (make_pipe(status) || ((c->flags & RUN_CAPTURE_OUT) && make_pipe(out)) ||
        ((c->flags & RUN_CAPTURE_ERR) && make_pipe(err))) {
        o->error = EMFILE;
        return;
    }
    uint64_t started = now_ns();
    SYS(rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    long pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);
    if (!pid) {
        SYS(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
        child(c, out, err, status[1]);
    }
    SYS(close, status[1]);
    if (out[1] >= 0)
        SYS(close, out[1]);
    if (err[1] >= 0)
        SYS(close, err[1]);
    if (pid < 0) {
        SYS(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
        o->error = (int)-pid;
        return;
    }
    child_pid = (int)pid;
    catch_signals(old);
    SYS(rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
    /* A process that the compiler leaves behind may hold the pipes open for ever: the child's
     * own end, seen through its pidfd, ends the reading. */
    int pidfd = (int)SYS(pidfd_open, pid, 0);
    struct pollfd p[3] = {{out[0], POLLIN, 0}, {err[0], POLLIN, 0}, {pidfd, POLLIN, 0}};
    while (p[0].fd >= 0 || p[1].fd >= 0) {
        long r = SYS(ppoll, p, 3, 0, 0, 8);
        if (r == -EINTR)
            continue;
        int ended = p[2].fd >= 0 && (p[2].revents & POLLIN);
        for (int i = 0; i < 2; i++) {
            struct buffer *b = i ? &o->err : &o->out;
            int tee = c->flags & (i ? RUN_TEE_ERR : RUN_TEE_OUT) ? i + 1 : -1;
            if (p[i].fd >= 0 && p[i].revents && !drain(p[i].fd, b, tee))
                p[i].fd = -1;
        }
        if (ended) {
            for (int i = 0; i < 2; i++) {
                struct buffer *b = i ? &o->err : &o->out;
                int tee = c->flags & (i ? RUN_TEE_ERR : RUN_TEE_OUT) ? i + 1 : -1;
                if (p[i].fd < 0)
                    continue;
                SYS(fcntl, p[i].fd, F_SETFL, O_NONBLOCK);
                while (drain(p[i].fd, b, tee) > 0)
                    ;
                p[i].fd = -1;
            }
        }
    }
    while (SYS(wait4, pid, &o->status, 0, 0) == -EINTR)
        ;
    child_pid = 0;
    release_signals(old);
    o->ns = now_ns() - started;
    int error = 0;
    if (SYS(read, status[0], &error, sizeof error) == sizeof error)
        o->error = error;
    SYS(close, status[0]);
    if (out[0] >= 0)
        SYS(close, out[0]);
    if (err[0] >= 0)
        SYS(close, err[0]);
    if (pidfd >= 0)
        SYS(close, pidfd);
}

/* ---- carrying out a reply ------------------------------------------------------------------ */

static struct outcome last; /* of the last RUN */
static int final_ran;       /* the user's own command has run: `last` is its end */
static int untold, strip;   /* its messages have not been shown yet; they have our colours */

/* Show what the user's own command said, when no reply will. */
static void tell(void)
{
    const char *at = last.err.data, *end = at + last.err.used;
    if (!untold)
        return;
    untold = 0;
    while (at < end) {
        const char *stop = at;
        while (stop < end && !(strip && *stop == 27))
            stop++;
        write_all(2, at, (size_t)(stop - at));
        for (at = stop; stop < end && *stop != 'm' && *stop != 'K';)
            stop++;
        if (at < end)
            at = stop < end ? stop + 1 : end;
    }
}

/* The server has gone or speaks nonsense: end as the compiler would have. */
static _Noreturn void without_server(const char *reason)
{
    if (!final_ran)
        plain(reason);
    tell();
    if (reason)
        note(reason);
    end_as((uint32_t)last.status);
}

/* A descriptor of the empty file at path, or less than 0. */
static long open_output(uint32_t flags, uint32_t mode, const char *path)
{
    struct stat s;
    if (flags & (OUT_REPLACE | OUT_REPLACE_ALWAYS)) {
        struct stat target;
        long e = SYS(newfstatat, AT_FDCWD, path, &s, AT_SYMLINK_NOFOLLOW);
        if (!e && !S_ISREG(s.st_mode) && !S_ISLNK(s.st_mode))
            return -1;
        long to = !e ? SYS(newfstatat, AT_FDCWD, path, &target, 0) : -1;
        if (!to && !S_ISREG(target.st_mode))
            return -1;
        if (!to && flags & OUT_REPLACE_ALWAYS && SYS(faccessat, AT_FDCWD, path, 2))
            return -1;
        if (!e && (flags & OUT_REPLACE_ALWAYS || (!to && target.st_size)))
            SYS(unlinkat, AT_FDCWD, path, 0);
    } else if (!SYS(newfstatat, AT_FDCWD, path, &s, 0) && !S_ISREG(s.st_mode)) {
        return -1;
    }
    return SYS(openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, mode);
}

static int write_file(uint32_t flags, uint32_t mode, const char *path, const char *data, size_t n)
{
    long fd = open_output(flags, mode, path);
    if (fd < 0)
        return -1;
    int e = write_all((int)fd, data, n);
    return SYS(close, fd) || e ? -1 : 0;
}

/* As write_file, from another file, which shares its blocks where the file system can do that. */
static int clone_file(const char *source, const char *path)
{
    static char data[1 << 16];
    long from = SYS(openat, AT_FDCWD, source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (from < 0)
        return -1;
    long fd = open_output(OUT_REPLACE, 0666, path), n = 0, e = fd < 0;
    if (!e && SYS(ioctl, fd, 0x40049409 /* FICLONE */, from))
        while (!e && (n = SYS(read, from, data, sizeof data)) > 0)
            e = write_all((int)fd, data, (size_t)n);
    SYS(close, from);
    if (fd >= 0 && SYS(close, fd))
        e = 1;
    return e || n < 0 ? -1 : 0;
}

/* As write_file, from the file that came with the reply. */
static int write_shared(const uint32_t *h, const char *path)
{
    struct stat s;
    uint64_t length = (uint64_t)h[4] + h[3];
    if (shared_fd < 0 || SYS(fstat, shared_fd, &s) || length > (uint64_t)s.st_size)
        return -1;
    long p = SYS(mmap, 0, length, PROT_READ, MAP_SHARED | MAP_POPULATE, shared_fd, 0);
    if (p < 0 && p > -4096)
        return -1;
    return write_file(h[0], h[1], path, (const char *)p + h[4], h[3]);
}

static const char *string_at(const char **at, const char *end)
{
    const char *s = *at;
    for (const char *p = s; p < end; p++)
        if (!*p) {
            *at = p + 1;
            return s;
        }
    return NULL;
}

static int parse_command(const char *p, size_t n, struct command *c)
{
    uint32_t h[4];
    const char *end = p + n;
    if (n < sizeof h)
        return -1;
    memcpy(h, p, sizeof h);
    p += sizeof h;
    if (!h[1] || h[1] > MAX_ARGS || h[2] > MAX_ARGS)
        return -1;
    c->flags = h[0];
    c->out_path = string_at(&p, end);
    char **words = allocate(sizeof *words * ((size_t)h[1] + h[2] + 4));
    if (!c->out_path || !words)
        return -1;
    char **edits = words + h[1] + 1;
    for (uint32_t i = 0; i < h[1]; i++)
        if (!(words[i] = (char *)string_at(&p, end)))
            return -1;
    words[h[1]] = NULL;
    uint32_t nenv = h[2];
    for (uint32_t i = 0; i < nenv; i++)
        if (!(edits[i] = (char *)string_at(&p, end)))
            return -1;
    if (c->flags & RUN_UNCACHED_FD) {
        static char text[40] = "UNCACHED_ERR_FD=";
        long fd = SYS(fcntl, 2, F_DUPFD, 3);
        if (fd >= 0) {
            struct text t = {text + 16, text + sizeof text};
            put_number(&t, (uint64_t)fd, 10, 0);
            edits[nenv++] = text;
        }
    }
    c->argv = words;
    c->env = edited_env(edits, nenv);
    return 0;
}

static int report(int fd)
{
    uint32_t h[9];
    struct iovec v[3] = {{h, sizeof h},
                         {last.out.data, last.out.used},
                         {last.err.data, last.err.used}};
    h[0] = (uint32_t)(sizeof h + last.out.used + last.err.used);
    h[1] = FRAME_MAGIC;
    h[2] = KIND_REPORT;
    h[3] = (uint32_t)last.status;
    h[4] = (uint32_t)last.error;
    h[5] = (uint32_t)last.out.used;
    h[6] = (uint32_t)last.err.used;
    memcpy(h + 7, &last.ns, 8);
    return send_parts(fd, v, 3);
}

/* Carry out one reply; returns the time limit for the next one in ms. */
static int carry_out(int fd, const char *p, size_t n)
{
    while (n >= 8) {
        uint32_t op, len;
        memcpy(&op, p, 4);
        memcpy(&len, p + 4, 4);
        const char *body = p + 8;
        if (len > n - 8)
            break;
        size_t step = 8 + (((size_t)len + 3) & ~(size_t)3);
        uint32_t h[5] = {0, 0, 0, 0, 0};
        memcpy(h, body, len < sizeof h ? len : sizeof h);
        struct command c;
        switch (op) {
        case OP_SHARED:
            if (len < 21 || h[2] != len - 21 || body[len - 1])
                without_server("bad_reply");
            if (write_shared(h, body + 20))
                without_server("output_not_written");
            break;
        case OP_WRITE:
            if (len < 17 || (uint64_t)h[2] + 1 + h[3] != len - 16 || body[16 + h[2]])
                without_server("bad_reply");
            if (write_file(h[0], h[1], body + 16, body + 17 + h[2], h[3]))
                without_server("output_not_written");
            break;
        case OP_OUT:
            if (len >= 4)
                write_all((int)h[0], body + 4, len - 4);
            if (h[0] == 2)
                untold = 0;
            break;
        case OP_RUN:
            if (parse_command(body, len, &c))
                without_server("bad_reply");
            run(&c, &last);
            if (c.flags & RUN_FINAL && !last.error) {
                final_ran = 1;
                untold = c.flags & RUN_CAPTURE_ERR && !(c.flags & RUN_TEE_ERR);
                strip = (int)(c.flags & RUN_STRIP_ERR);
            }
            if (caught && WIFSIGNALED(last.status)) {
                tell();
                end_as((uint32_t)last.status);
            }
            if (report(fd))
                without_server("server_gone");
            return c.flags & RUN_FINAL ? FINAL_MS : REPLY_MS;
        case OP_EXEC:
            if (parse_command(body, len, &c))
                without_server("bad_reply");
            SYS(execve, c.argv[0], c.argv, c.env);
            without_server("exec_failed");
        case OP_EXIT:
            end_as(h[0]);
        case OP_UNLINK:
            if (len && !body[len - 1])
                SYS(unlinkat, AT_FDCWD, body, 0);
            break;
        case OP_WAIT:
            return h[0] > 600000 ? 600000 : (int)h[0];
        case OP_LINK:
            if (len < 10 || body[len - 1] || h[1] >= len - 8 || body[8 + h[1]])
                without_server("bad_reply");
            if (h[0] & OUT_CLONE) {
                if (clone_file(body + 8, body + 9 + h[1]))
                    without_server("output_not_written");
                break;
            }
            if (h[0] & OUT_REPLACE)
                SYS(unlinkat, AT_FDCWD, body + 9 + h[1], 0);
            if (SYS(linkat, AT_FDCWD, body + 8, AT_FDCWD, body + 9 + h[1], 0))
                without_server("output_not_written");
            break;
        case OP_FALLBACK:
            without_server(NULL);
        default:
            without_server("bad_reply");
        }
        if (step >= n)
            break;
        p += step;
        n -= step;
    }
    without_server("bad_reply");
    return 0;
}

static _Noreturn void in_process(void)
{
    static char program[4096];
    if (find_server(program, sizeof program)) {
        char **argv = allocate(sizeof *argv * ((size_t)self.argc + 3));
        if (argv) {
            argv[0] = program;
            argv[1] = (char *)"--once";
            for (int i = 0; i <= self.argc; i++)
                argv[i + 2] = self.argv[i];
            SYS(execve, program, argv, self.env);
        }
    }
    int asks_us = self.argc < 2 || (self.argv[1][0] == '-' && (self.own_name || self.argc == 2));
    if ((self.own_name || self.distcc) && asks_us) {
        complain("pycc-server is neither beside ", self.name, " nor on PATH");
        quit(1);
    }
    plain("no_server_program");
}

/* The kernel puts the ids into the auxiliary vector behind the environment: no call needed. */
static void read_ids(const unsigned long *auxiliary)
{
    for (int i = 0; i < 4; i++)
        self.ids[i] = i & 1 ? ~1u : ~0u; /* unknown: the pairs differ, and nobody is asked */
    for (; auxiliary[0] != AT_NULL; auxiliary += 2)
        if (auxiliary[0] >= AT_UID && auxiliary[0] <= AT_EGID)
            self.ids[auxiliary[0] - AT_UID] = (uint32_t)auxiliary[1];
}

static _Noreturn void launcher_main(int argc, char **argv, char **env)
{
    const char *s;
    self.argc = argc;
    self.argv = argv;
    self.env = env;
    while (env[self.envc])
        self.envc++;
    if (argc < 1)
        quit(1);
    read_ids((const unsigned long *)(env + self.envc + 1));
    self.name = base_name(argv[0]);
    self.own_name = starts(self.name, "pycc") || starts(self.name, "ccache");
    self.distcc = starts(self.name, "distcc");
    if ((s = env_get("_PYCC_LEVEL")))
        for (; *s >= '0' && *s <= '9' && self.level < 1000; s++)
            self.level = self.level * 10 + (*s - '0');
    if (self.level && !(self.own_name && (argc < 2 || argv[1][0] == '-')))
        plain(NULL);
    s = env_get("PYCC_RESIDENT");
    int named = s && s[0] == '0' && !s[1] ? -1 : name_socket();
    if (named < 0)
        in_process();
    if (!named)
        plain(NULL);
    prepare_request();
    int fd = connect_server();
    if (fd == -ENOENT || fd == -ECONNREFUSED)
        fd = start_server();
    if (fd < 0)
        plain("server_not_started");
    for (int attempt = 0;; attempt++) {
        char *body;
        size_t length;
        int e = send_request(fd) ? -EIO : receive_reply(fd, REPLY_MS, &body, &length);
        if (e == -EIO && !attempt) { /* it may have left between our connect and our words */
            SYS(close, fd);
            fd = connect_server();
            if (fd == -ENOENT || fd == -ECONNREFUSED)
                fd = start_server();
            if (fd >= 0)
                continue;
        }
        if (e == -EAGAIN && fd >= 0)
            retire_stopped(fd);
        if (e)
            plain(e == -EAGAIN ? "server_timeout" : "server_gone");
        for (;;) {
            int ms = carry_out(fd, body, length);
            e = receive_reply(fd, ms, &body, &length);
            if (e)
                without_server(e == -EAGAIN ? "server_timeout" : "server_gone");
        }
    }
}

#if defined(PYCC_USE_LIBC)
int main(int argc, char **argv, char **env)
{
    launcher_main(argc, argv, env);
}
#else
__attribute__((used)) static _Noreturn void begin(long *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    launcher_main(argc, argv, argv + argc + 1);
}
ENTRY("begin")
#endif
