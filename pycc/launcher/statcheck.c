/* Ask the file system about many paths in one call that holds no interpreter lock.
 *
 * Python's os.stat costs about 1.2 us a file, most of it not the kernel's; a hit asks about
 * hundreds. pycc/native.py loads this file through ctypes and holds the reference in Python.
 * Nothing of libc is used, so one shared object serves every Linux of the architecture.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <fcntl.h>

#if defined(__x86_64__)
static long call4(long n, long a, long b, long c, long d)
{
    long r;
    register long r10 __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10)
                     : "rcx", "r11", "memory");
    return r;
}
#elif defined(__aarch64__)
static long call4(long n, long a, long b, long c, long d)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                     : "memory", "cc");
    return x0;
}
#else
#include <errno.h>
#include <unistd.h>
static long call4(long n, long a, long b, long c, long d)
{
    long r = syscall(n, a, b, c, d);
    return r == -1 ? -errno : r;
}
#endif

/* <record> ::= <size:u16> <kind:u16> <mode:u32> <dev:u64> <ino:u64> <bytes:u64>
 *              <mtime:i64 ns> <ctime:i64 ns> path NUL, padded to a multiple of 8
 * size is the whole record's; it is 0 in no valid record. */
struct record {
    uint16_t size;
    uint16_t kind;
    uint32_t mode;
    uint64_t dev;
    uint64_t ino;
    uint64_t bytes;
    int64_t mtime;
    int64_t ctime;
    char path[];
};

enum { SAME = 0, ABSENT = 1, SAME_LINK = 2, WRITABLE = 3, SAME_PLACE = 4 };

static int64_t ns(int64_t seconds, int64_t nanoseconds)
{
    return seconds * 1000000000 + nanoseconds;
}

static int holds(const struct record *r, int directory, const char *name)
{
    struct stat s;
    int flags = r->kind == SAME_LINK || r->kind == WRITABLE ? AT_SYMLINK_NOFOLLOW : 0;
    long e = call4(SYS_newfstatat, directory, (long)name, (long)&s, flags);
    if (r->kind == ABSENT)
        return e < 0;
    if (r->kind == WRITABLE) /* an output: a regular file, or nothing yet */
        return e < 0 || S_ISREG(s.st_mode);
    if (r->kind == SAME_PLACE) /* a directory that may fill and empty, but is this one */
        return e == 0 && s.st_ino == r->ino && s.st_dev == r->dev && s.st_mode == r->mode;
    return e == 0 && s.st_ino == r->ino && (uint64_t)s.st_size == r->bytes &&
           ns(s.st_mtim.tv_sec, s.st_mtim.tv_nsec) == r->mtime &&
           ns(s.st_ctim.tv_sec, s.st_ctim.tv_nsec) == r->ctime && s.st_dev == r->dev &&
           s.st_mode == r->mode;
}

static const struct record *record_at(const unsigned char *buffer, size_t length, size_t at)
{
    const struct record *r = (const struct record *)(const void *)(buffer + at);
    if (at + sizeof(struct record) >= length || r->size <= sizeof(struct record) ||
        r->size > length - at || buffer[at + r->size - 1])
        return 0;
    return r;
}

/* How many bytes of the record's path are its directory; 0 when there is none to open. */
static size_t directory_length(const struct record *r)
{
    const char *end = (const char *)r + r->size;
    while (end > r->path && end[-1] != '/')
        end--;
    return end > r->path ? (size_t)(end - r->path) - 1 : 0;
}

static int same_bytes(const char *a, const char *b, size_t n)
{
    for (; n; n--)
        if (a[n - 1] != b[n - 1])
            return 0;
    return 1;
}

/* Whether the next records from `at` on lie in the same directory: opening it costs as much as
 * what ten look-ups save. */
enum { WORTH_OPENING = 12 };

static int neighbours_of(const unsigned char *buffer, size_t length, size_t at, const char *path,
                         size_t n)
{
    for (int i = 0; i < WORTH_OPENING; i++) {
        const struct record *r = record_at(buffer, length, at);
        if (!r || directory_length(r) != n || !same_bytes(r->path, path, n))
            return 0;
        at += r->size;
    }
    return 1;
}

/* The index of the first record at or after `first` that does not hold, or -1 when all hold.
 * `length` is trusted to be the buffer's; a record that does not fit counts as not holding.
 * Neighbours in one directory are looked up from that directory, which is walked to once: the
 * walk is most of the price of a long path. */
long pycc_check(const unsigned char *buffer, size_t length, long first)
{
    size_t at = 0, open_length = 0;
    const char *open_path = 0;
    long fd = -1, answer = -1;
    for (long index = 0; at < length; index++) {
        const struct record *r = record_at(buffer, length, at);
        if (!r) {
            answer = index;
            break;
        }
        at += r->size;
        if (index < first)
            continue;
        size_t n = directory_length(r);
        if (n && !(fd >= 0 && n == open_length && same_bytes(r->path, open_path, n))) {
            int neighbours = neighbours_of(buffer, length, at, r->path, n);
            if (fd >= 0)
                call4(SYS_close, fd, 0, 0, 0);
            fd = -1;
            if (neighbours) {
                char name[4096];
                if (n < sizeof name) {
                    for (size_t i = 0; i < n; i++)
                        name[i] = r->path[i];
                    name[n] = 0;
                    fd = call4(SYS_openat, AT_FDCWD, (long)name,
                               O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
                    open_path = r->path;
                    open_length = n;
                }
            }
        }
        const char *last = r->path + n + 1; /* nothing behind a final slash */
        int held = n && fd >= 0 && *last ? holds(r, (int)fd, last) : holds(r, AT_FDCWD, r->path);
        if (!held) {
            answer = index;
            break;
        }
    }
    if (fd >= 0)
        call4(SYS_close, fd, 0, 0, 0);
    return answer;
}

/* statfs(2)'s f_type of the file system that holds `path`, or a negative errno. */
long pycc_fs_type(const char *path)
{
    long s[32]; /* struct statfs is at most 120 bytes on the architectures named above */
    long e = call4(SYS_statfs, (long)path, (long)s, 0, 0);
    return e < 0 ? e : s[0];
}

/* Stat `count` NUL-terminated paths; out holds 6 values a path: mode (0: absent), dev, ino,
 * bytes, mtime ns, ctime ns. `nofollow` asks about links themselves. */
void pycc_stat(const char *paths, size_t count, int nofollow, int64_t *out)
{
    for (size_t i = 0; i < count; i++, out += 6) {
        struct stat s;
        long e = call4(SYS_newfstatat, AT_FDCWD, (long)paths, (long)&s,
                       nofollow ? AT_SYMLINK_NOFOLLOW : 0);
        out[0] = e < 0 ? 0 : (int64_t)s.st_mode;
        out[1] = e < 0 ? e : (int64_t)s.st_dev;
        out[2] = e < 0 ? 0 : (int64_t)s.st_ino;
        out[3] = e < 0 ? 0 : (int64_t)s.st_size;
        out[4] = e < 0 ? 0 : ns(s.st_mtim.tv_sec, s.st_mtim.tv_nsec);
        out[5] = e < 0 ? 0 : ns(s.st_ctim.tv_sec, s.st_ctim.tv_nsec);
        while (*paths++)
            ;
    }
}
