/* Records every question that a program and its children ask the file system.
 *
 * What a compile writes and says is a function of its command line, its environment, its directory
 * and the answers that it gets. So whoever gets the same answers has the same result, and the
 * questions need not be guessed from sources or from what a compiler tells of them: each goes
 * through a system call. A seccomp filter holds every call that takes a path (by
 * SECCOMP_RET_USER_NOTIF, which needs no privilege beyond NO_NEW_PRIVS), the first process of the
 * namespace reads the path, asks the same itself from the same root and directory, and lets the call
 * go on as it is. Nothing is refused or altered, so that a record cannot change an object.
 *
 * One thing shows: a call that a signal meets before it is taken up ends with EINTR where the
 * signal's handler does not restart calls. Compilers have no such handlers that return.
 *
 * The noted answer is the one that the program gets, because in this root only the compile itself
 * changes anything, and every call by which it does is held, too, until the questions before it
 * are noted. For the same reason a call that only asks goes on before its answer is looked up.
 *
 * A path is noted once, as it is spelled; a relative one starts in the order's directory. Of each is
 * noted whether a symbolic link is there, what is there when links are followed, and whether that
 * was opened. Where something is there, the way to it is noted as well, component by component:
 * with the links on it, where things physically lie is settled, and so what realpath, inodes and
 * /proc/self/fd say of them.
 *
 * What the compile makes is no question, even where it was asked before whether it is there:
 * outputs of earlier runs are never in this root, and compilers ask in order to replace them. It is
 * one if it was to be opened (`__has_include` of an output), and so is the directory that it is in.
 *
 * Whatever cannot be told in these terms makes the record incomplete, and the program goes on: a
 * path relative to another directory, calls that move about or change what was there before, calls
 * and numbers that are not known here, calls of another architecture, and files of /proc. The
 * program must be trusted not to change a path while it is read: it is the server's compiler, and
 * nothing that a client sends can be run.
 *
 * Not noted are the interpreters that the kernel opens for a program (ld.so), which belong to the
 * program, and times, sizes and permissions.
 */
#ifndef PYCC_LOOKUPS_H
#define PYCC_LOOKUPS_H

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "syscalls.h"

/* The same numbers on every architecture but alpha, and newer than some headers. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 439
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif
#ifndef SECCOMP_USER_NOTIF_FLAG_CONTINUE
#define SECCOMP_USER_NOTIF_FLAG_CONTINUE 1
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1
#endif

#if defined(__x86_64__) && !defined(__ILP32__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__) && !defined(__ILP32__) && !defined(__AARCH64EB__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define OWN_ARCHITECTURE 0 /* no records: the numbers below were not looked through */
#endif

/* ---- what is noted ----------------------------------------------------------------------- */

enum { /* of the outcome; remote/sandbox.py has the same */
    ABSENT = 1, ONLY_ASKED, CONTENT, DIRECTORY, LISTED, OTHER
};
enum { MADE = 1, OPENED = 2 };
enum { LONGEST = 4096, SLOTS = 1 << 18, MOST_LOOKUPS = SLOTS / 4 * 3, ARENA = 32 << 20 };

struct lookup {
    uint32_t hash, next; /* places in the arena, as is the target, of a link's */
    uint32_t target;
    uint16_t length, target_length;
    uint8_t found, flags;
    char path[];
};

/* Shared, because one process notes and another writes the outcome. */
static struct lookups {
    uint32_t incomplete, count, used, first, last;
    char arena[ARENA];
} *lookups;

static uint32_t slots[SLOTS];
static char asked[LONGEST + 1];
static uint64_t root_device, proc_device;

static int begin_lookups(void)
{
    long p = SYS(mmap, 0, sizeof *lookups, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p < 0 && p > -4096)
        return (int)p;
    lookups = (struct lookups *)p;
    lookups->used = 8; /* 0 is an empty slot */
    return 0;
}

static void spoil(void)
{
    lookups->incomplete = 1;
}

static struct lookup *lookup_at(uint32_t at)
{
    return (struct lookup *)(void *)(lookups->arena + at);
}

/* The place of so many bytes in the arena; 0 when it is full. */
static uint32_t taken(size_t bytes)
{
    uint32_t at = lookups->used;
    bytes = (bytes + 7) & ~(size_t)7;
    if (bytes > ARENA - at) {
        spoil();
        return 0;
    }
    lookups->used += (uint32_t)bytes;
    return at;
}

static uint8_t kind_of(const struct stat *s)
{
    if (S_ISREG(s->st_mode))
        return ONLY_ASKED;
    return S_ISDIR(s->st_mode) ? DIRECTORY : OTHER;
}

static void look(struct lookup *l)
{
    struct stat s;
    l->found = ABSENT;
    if (SYS(newfstatat, AT_FDCWD, l->path, &s, AT_SYMLINK_NOFOLLOW))
        return;
    if (S_ISLNK(s.st_mode)) {
        uint32_t at = taken(LONGEST);
        if (!at)
            return;
        long n = SYS(readlinkat, AT_FDCWD, l->path, lookups->arena + at, LONGEST - 1);
        if (n < 0)
            return spoil();
        lookups->arena[at + n] = 0;
        lookups->used = at + (((uint32_t)n + 8) & ~7u);
        l->target = at;
        l->target_length = (uint16_t)n;
        if (SYS(newfstatat, AT_FDCWD, l->path, &s, 0))
            return;
    }
    l->found = kind_of(&s);
    /* Its files differ from process to process, and from one moment to the next. */
    if (s.st_dev == proc_device && l->found != DIRECTORY)
        spoil();
}

/* What is known of a path, after it was looked for if it was not known; NULL when there is no more
 * room. `name` must end with NUL. */
static struct lookup *lookup_of(const char *name, size_t length)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)name[i]) * 16777619u;
    uint32_t slot = hash % SLOTS;
    for (; slots[slot]; slot = (slot + 1) % SLOTS) {
        struct lookup *l = lookup_at(slots[slot]);
        if (l->hash == hash && l->length == length && !memcmp(l->path, name, length))
            return l;
    }
    if (lookups->count == MOST_LOOKUPS) {
        spoil();
        return 0;
    }
    uint32_t at = taken(offsetof(struct lookup, path) + length + 1);
    if (!at)
        return 0;
    struct lookup *l = lookup_at(at);
    l->hash = hash;
    l->length = (uint16_t)length;
    memcpy(l->path, name, length + 1);
    slots[slot] = at;
    *(lookups->last ? &lookup_at(lookups->last)->next : &lookups->first) = at;
    lookups->last = at;
    lookups->count++;
    look(l);
    return l;
}

/* ---- the calls --------------------------------------------------------------------------- */

/* What a call does with its path. Those that ask come first. MAKE fails where something is,
 * REPLACE does not, and CHANGE needs something. */
enum deed { ASK, RUN, OPEN, CREATE, MAKE, REPLACE, CHANGE, SPOIL };

enum { NONE = -1 };

/* A call, the place of its path among its arguments, of the directory that this is relative to,
 * and of its flags. A call with two paths stands here twice. */
static const struct call {
    uint16_t number;
    uint8_t deed;
    int8_t directory, path, flags;
} calls[] = {
    {SYS_readlinkat, ASK, 0, 1, NONE},
    {SYS_openat, OPEN, 0, 1, 2},
    {SYS_newfstatat, ASK, 0, 1, 3},
    {SYS_statx, ASK, 0, 1, 2},
    {SYS_faccessat, ASK, 0, 1, NONE},
    {SYS_faccessat2, ASK, 0, 1, 3},
    {SYS_execve, RUN, NONE, 0, NONE},
    {SYS_execveat, RUN, 0, 1, 4},
    {SYS_mkdirat, MAKE, 0, 1, NONE},
    {SYS_mknodat, MAKE, 0, 1, NONE},
    {SYS_symlinkat, MAKE, 1, 2, NONE},
    {SYS_linkat, CHANGE, 0, 1, NONE},
    {SYS_linkat, MAKE, 2, 3, NONE},
    {SYS_renameat2, CHANGE, 0, 1, NONE},
    {SYS_renameat2, REPLACE, 2, 3, NONE},
    {SYS_unlinkat, CHANGE, 0, 1, NONE},
    {SYS_truncate, CHANGE, NONE, 0, NONE},
    {SYS_fchmodat, CHANGE, 0, 1, NONE},
    {SYS_fchmodat2, CHANGE, 0, 1, NONE},
    {SYS_fchownat, CHANGE, 0, 1, NONE},
    {SYS_utimensat, CHANGE, 0, 1, NONE},
#ifdef SYS_renameat
    {SYS_renameat, CHANGE, 0, 1, NONE},
    {SYS_renameat, REPLACE, 2, 3, NONE},
#endif
#ifdef SYS_open /* the older calls; newer architectures have none of them */
    {SYS_readlink, ASK, NONE, 0, NONE},
    {SYS_open, OPEN, NONE, 0, 1},
    {SYS_creat, CREATE, NONE, 0, NONE},
    {SYS_stat, ASK, NONE, 0, NONE},
    {SYS_lstat, ASK, NONE, 0, NONE},
    {SYS_access, ASK, NONE, 0, NONE},
    {SYS_mkdir, MAKE, NONE, 0, NONE},
    {SYS_mknod, MAKE, NONE, 0, NONE},
    {SYS_symlink, MAKE, NONE, 1, NONE},
    {SYS_link, CHANGE, NONE, 0, NONE},
    {SYS_link, MAKE, NONE, 1, NONE},
    {SYS_rename, CHANGE, NONE, 0, NONE},
    {SYS_rename, REPLACE, NONE, 1, NONE},
    {SYS_unlink, CHANGE, NONE, 0, NONE},
    {SYS_rmdir, CHANGE, NONE, 0, NONE},
    {SYS_chmod, CHANGE, NONE, 0, NONE},
    {SYS_chown, CHANGE, NONE, 0, NONE},
    {SYS_lchown, CHANGE, NONE, 0, NONE},
    {SYS_utime, CHANGE, NONE, 0, NONE},
    {SYS_utimes, CHANGE, NONE, 0, NONE},
    {SYS_futimesat, CHANGE, 0, 1, NONE},
    {SYS_uselib, SPOIL, NONE, NONE, NONE},
#endif
#define SPOILS(name) {SYS_##name, SPOIL, NONE, NONE, NONE}
    SPOILS(openat2),
    SPOILS(chdir), SPOILS(fchdir), SPOILS(chroot), SPOILS(pivot_root),
    SPOILS(unshare), SPOILS(setns), SPOILS(mount), SPOILS(umount2),
    SPOILS(name_to_handle_at), SPOILS(open_by_handle_at),
    SPOILS(statfs), SPOILS(quotactl), SPOILS(acct), SPOILS(swapon), SPOILS(swapoff),
    SPOILS(getxattr), SPOILS(lgetxattr), SPOILS(listxattr), SPOILS(llistxattr),
    SPOILS(setxattr), SPOILS(lsetxattr), SPOILS(removexattr), SPOILS(lremovexattr),
    SPOILS(inotify_add_watch), SPOILS(fanotify_mark), SPOILS(bind), SPOILS(connect),
    SPOILS(bpf),
};

/* Calls without a path of those that are younger than Linux 5.1, when architectures began to share
 * numbers: any other number from there on makes a record incomplete, so that a new way to ask is
 * never overlooked. */
static const uint16_t harmless[] = {
    424 /* pidfd_send_signal */, 434 /* pidfd_open */, 435 /* clone3 */, 436 /* close_range */,
    438 /* pidfd_getfd */, 440 /* process_madvise */, 441 /* epoll_pwait2 */,
    444, 445, 446 /* landlock */, 447 /* memfd_secret */, 448 /* process_mrelease */,
    449 /* futex_waitv */, 450 /* set_mempolicy_home_node */, 451 /* cachestat */,
    453 /* map_shadow_stack */, 454, 455, 456 /* futex */, 462 /* mseal */,
};
enum { SHARED_NUMBERS = 424 };

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The kernel's own ones may be longer than those of the headers. */
enum { LONGEST_NOTIFICATION = 256 };
static union {
    struct seccomp_notif call;
    char room[LONGEST_NOTIFICATION];
} held;
static union {
    struct seccomp_notif_resp call;
    char room[LONGEST_NOTIFICATION];
} answer = {{0, 0, 0, SECCOMP_USER_NOTIF_FLAG_CONTINUE}};

/* Hold the calls of this thread and of whatever it starts. The listener, or an errno below 0.
 * Calls that always go on cost nothing: the kernel remembers them by their numbers. */
static long hold_calls(void)
{
    static struct sock_filter code[2 * (COUNT(calls) + COUNT(harmless)) + 8];
    struct sock_filter hold = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    unsigned n = 0;
    struct seccomp_notif_sizes sizes;
    long e = SYS(seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes);
    if (e < 0)
        return e;
    if (!OWN_ARCHITECTURE || sizes.seccomp_notif > LONGEST_NOTIFICATION ||
        sizes.seccomp_notif_resp > LONGEST_NOTIFICATION)
        return -ENOSYS;
#define EMIT(...) code[n++] = (struct sock_filter)__VA_ARGS__
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)));
    EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)OWN_ARCHITECTURE, 1, 0));
    code[n++] = hold;
    EMIT(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)));
    for (size_t i = 0; i < COUNT(calls); i++) {
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 1));
        code[n++] = hold;
    }
    for (size_t i = 0; i < COUNT(harmless); i++) {
        EMIT(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, harmless[i], 0, 1));
        code[n++] = allow;
    }
    EMIT(BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SHARED_NUMBERS, 0, 1)); /* those of x32 as well */
    code[n++] = hold;
    code[n++] = allow;
#undef EMIT
    struct sock_fprog program = {(unsigned short)n, code};
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER;
    /* With it a signal does not interrupt a call that was taken up: of calls that meet signals, half
     * as many end with EINTR, which programs do not expect of them. Linux 5.19. */
    long fd = SYS(seccomp, SECCOMP_SET_MODE_FILTER,
                  flags | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &program);
    return fd == -EINVAL ? SYS(seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) : fd;
}

/* ---- noting ------------------------------------------------------------------------------ */

static int begins(const char *text, const char *with)
{
    while (*with && *text == *with)
        text++, with++;
    return !*with;
}

/* Read a path of the program into `asked`. Its length, or below 0 where the call fails with that. */
static long read_asked(uint32_t pid, uint64_t address)
{
    /* Most are short. What is asked for never crosses a page in one piece: the next may be none. */
    for (size_t want = 256;; want = LONGEST) {
        size_t first = 4096 - (address & 4095);
        struct iovec to = {asked, want};
        struct iovec from[2] = {{(void *)(uintptr_t)address, first < want ? first : want},
                                {(void *)(uintptr_t)(address + first), 0}};
        from[1].iov_len = want - from[0].iov_len;
        long n = SYS(process_vm_readv, pid, &to, 1, from, from[1].iov_len ? 2 : 1, 0);
        if (n == -EFAULT || n == -ESRCH)
            return n;
        if (n < 0) { /* it cannot be looked into */
            spoil();
            return n;
        }
        for (long i = 0; i < n; i++)
            if (!asked[i])
                return i;
        if ((size_t)n < want)
            return -EFAULT;
        if (want == LONGEST)
            return -ENAMETOOLONG;
    }
}

/* The compile makes `asked`, where nothing is: unless the place is one where it cannot. */
static void note_made(size_t length)
{
    struct stat s;
    while (length > 1 && asked[length - 1] == '/')
        asked[--length] = 0;
    struct lookup *l = lookup_of(asked, length);
    if (!l)
        return;
    size_t cut = length;
    while (cut && asked[cut - 1] != '/')
        cut--;
    while (cut > 1 && asked[cut - 1] == '/')
        cut--;
    if (cut) {
        asked[cut] = 0;
        struct lookup *above = lookup_of(asked, cut);
        if (!above || (above->found != DIRECTORY && !(above->flags & MADE)))
            return;
    }
    /* Trees of the server are mounts, and read only. */
    if (!SYS(newfstatat, AT_FDCWD, cut ? asked : ".", &s, 0) && s.st_dev == root_device)
        l->flags |= MADE;
}

static void note_open(size_t length, uint64_t flags)
{
    struct lookup *l = lookup_of(asked, length);
    if (!l || l->flags & MADE || flags & O_PATH)
        return;
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC))) {
        struct stat s;
        if (l->found == DIRECTORY || !(flags & O_DIRECTORY))
            l->flags |= OPENED;
        if (l->found == DIRECTORY) {
            if (SYS(newfstatat, AT_FDCWD, l->path, &s, 0) || s.st_dev == proc_device)
                spoil();
        }
    } else if (l->found == ABSENT && flags & O_CREAT) {
        note_made(length);
    } else if (l->found == ONLY_ASKED && (flags & (O_CREAT | O_EXCL)) != (O_CREAT | O_EXCL)) {
        spoil(); /* it overwrites what was there before it */
    }
}

static void note(enum deed deed, size_t length, uint64_t flags)
{
    if (begins(asked, "/proc/")) {
        /* What these say of open files is settled by the ways to them. */
        if (deed == ASK && begins(asked, "/proc/self/fd") && (!asked[13] || asked[13] == '/'))
            return;
        if (deed <= OPEN && length == 14 && begins(asked, "/proc/self/exe"))
            return;
        if (begins(asked + 6, "self") || begins(asked + 6, "thread-self") ||
            (asked[6] >= '0' && asked[6] <= '9'))
            return spoil();
    }
    if (begins(asked, "/dev/fd/"))
        return spoil();
    struct lookup *l;
    switch (deed) {
    case ASK:
        lookup_of(asked, length);
        break;
    case RUN:
        note_open(length, O_RDONLY);
        break;
    case OPEN:
        note_open(length, flags);
        break;
    case CREATE:
        note_open(length, O_CREAT | O_WRONLY | O_TRUNC);
        break;
    case MAKE:
    case REPLACE:
    case CHANGE:
        l = lookup_of(asked, length);
        if (!l || l->flags & MADE)
            break;
        if (l->found == ABSENT && !l->target) {
            if (deed != CHANGE)
                note_made(length);
        } else if (deed != MAKE) {
            spoil();
        }
        break;
    case SPOIL:
        break;
    }
}

/* Whether the call was still held. */
static int go_on(int listener)
{
    answer.call.id = held.call.id;
    return !SYS(ioctl, listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

/* The flags of a call that only asks leave everything as it is, so that it need not wait. */
static int only_asks(const struct call *call, uint64_t flags)
{
    return call->deed < OPEN ||
           (call->deed == OPEN && (flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)));
}

static void take_call(int listener)
{
    const struct seccomp_data *data = &held.call.data;
    memset(&held, 0, sizeof held);
    if (SYS(ioctl, listener, SECCOMP_IOCTL_NOTIF_RECV, &held))
        return; /* it was killed meanwhile */
    int known = 0;
    if (data->arch != OWN_ARCHITECTURE)
        spoil();
    for (const struct call *c = calls; c < calls + COUNT(calls) && !lookups->incomplete; c++) {
        if (c->number != (uint32_t)data->nr)
            continue;
        known = 1;
        if (c->deed == SPOIL) {
            spoil();
            break;
        }
        uint64_t flags = c->flags == NONE ? 0 : data->args[c->flags];
        long length = read_asked(held.call.pid, data->args[c->path]);
        if (length <= 0)
            continue; /* an empty path is an error, or names an open file */
        if (asked[0] != '/' && c->directory != NONE &&
            (int32_t)data->args[c->directory] != AT_FDCWD) {
            spoil();
            break;
        }
        /* When a process is gone, another one may have its number, and its memory have been read. */
        if (only_asks(c, flags)) {
            if (go_on(listener))
                note(c->deed, (size_t)length, flags);
            return;
        }
        if (!SYS(ioctl, listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &held.call.id))
            note(c->deed, (size_t)length, flags);
    }
    if (!known)
        spoil();
    go_on(listener);
}

/* Note calls until the process behind `program` has ended. Those of processes that it left are not
 * answered: they end with the namespace. */
static void take_calls(int listener, int program)
{
    struct stat s;
    uint64_t flags = SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP;
    if (!SYS(newfstatat, AT_FDCWD, "/", &s, 0))
        root_device = s.st_dev;
    if (!SYS(newfstatat, AT_FDCWD, "/proc", &s, 0) && s.st_dev != root_device)
        proc_device = s.st_dev;
    /* The program stands still while we look, so both may have one processor: without it a quarter of
     * runs on idle machines take 12 us a call and more, with it all take 9 to 10. Linux 6.6. */
    SYS(ioctl, listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, flags);
    struct pollfd p[2] = {{program, POLLIN, 0}, {listener, POLLIN, 0}};
    for (;;) {
        if (SYS(ppoll, p, 2, 0, 0, 8) < 0)
            continue;
        if (p[0].revents)
            return;
        if (p[1].revents & POLLIN)
            take_call(listener);
        else if (p[1].revents) /* nobody is left who could call */
            p[1].fd = -1;
    }
}

/* ---- the ways ---------------------------------------------------------------------------- */

/* Note every component of the way to `path`, of which something is known to be there. */
static void note_way(const char *path)
{
    static char way[LONGEST], rest[2][2 * LONGEST];
    size_t length = 0, left = strlen(path);
    int links = 0, side = 0;
    memcpy(rest[0], path, left + 1);
    const char *at = rest[0];
    for (;;) {
        if (*at == '/') {
            if (at == rest[side]) /* absolute */
                length = 0, way[length++] = '/';
            while (*at == '/')
                at++;
        }
        size_t name = 0;
        while (at[name] && at[name] != '/')
            name++;
        if (!name)
            return;
        if (name == 1 && at[0] == '.') {
            at++;
            continue;
        }
        size_t before = length;
        int up = name == 2 && at[0] == '.' && at[1] == '.';
        if (up && length == 1 && way[0] == '/') {
            at += 2;
            continue;
        }
        int climbs = length == 2 ? way[0] == '.' && way[1] == '.'
                                 : length > 2 && way[length - 3] == '/' && way[length - 2] == '.' &&
                                       way[length - 1] == '.';
        if (up && length && !climbs) {
            while (length && way[length - 1] != '/')
                length--;
            while (length > 1 && way[length - 1] == '/')
                length--;
            at += 2;
            continue;
        }
        if (length + name + 2 > LONGEST)
            return spoil();
        if (length && way[length - 1] != '/')
            way[length++] = '/';
        memcpy(way + length, at, name);
        length += name;
        way[length] = 0;
        at += name;
        if (up)
            continue;
        if (begins(way, "/proc/")) /* through /dev/stdout; ours, not the program's */
            return;
        struct lookup *l = lookup_of(way, length);
        if (!l)
            return;
        if (!l->target)
            continue;
        left = strlen(at);
        if (++links > 40 || l->target_length + left + 2 > sizeof rest[0])
            return spoil();
        side = !side;
        memcpy(rest[side], lookups->arena + l->target, l->target_length);
        memcpy(rest[side] + l->target_length, at, left + 1);
        at = rest[side];
        length = before;
        if (!before)
            way[0] = 0;
    }
}

static void note_ways(void)
{
    /* What is added meanwhile is on a way itself. */
    uint32_t last = lookups->last, at = lookups->first;
    while (at && !lookups->incomplete) {
        struct lookup *l = lookup_at(at);
        if (l->found != ABSENT && !(l->flags & MADE))
            note_way(l->path);
        at = at == last ? 0 : l->next;
    }
}

/* ---- telling ----------------------------------------------------------------------------- */

static int is_told(const struct lookup *l)
{
    return !(l->flags & MADE) || (l->found == ABSENT && l->flags & OPENED);
}

static uint16_t told(const struct lookup *l)
{
    /* The opened kind of what there is to open stands next to it. */
    int both = l->found == ONLY_ASKED || l->found == DIRECTORY;
    return (uint16_t)(l->found + (both && l->flags & OPENED));
}

static void tell_lookups(void (*put)(const void *, size_t))
{
    static char out[1 << 16];
    uint32_t head[2] = {!lookups->incomplete, 0}, at;
    if (head[0])
        for (at = lookups->first; at; at = lookup_at(at)->next)
            head[1] += (uint32_t)is_told(lookup_at(at));
    put(head, sizeof head);
    size_t used = 0;
    for (at = head[0] ? lookups->first : 0; at; at = lookup_at(at)->next) {
        const struct lookup *l = lookup_at(at);
        if (!is_told(l))
            continue;
        uint16_t part[3] = {told(l), l->length, l->target_length};
        if (used + sizeof part + l->length + l->target_length > sizeof out) {
            put(out, used);
            used = 0;
        }
        memcpy(out + used, part, sizeof part);
        used += sizeof part;
        memcpy(out + used, l->path, l->length);
        used += l->length;
        memcpy(out + used, lookups->arena + l->target, l->target_length);
        used += l->target_length;
    }
    put(out, used);
}
#endif
