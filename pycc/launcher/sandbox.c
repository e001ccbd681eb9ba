/* Runs one program in a root of its own: the compiler of a job whose files are the client's.
 *
 * The daemon hands over an order (remote/sandbox.py writes it, remote/exact_root.py thinks it out)
 * and three descriptors: the order, the directory of contents, and the file for the outcome. This
 * program is dumb: it executes the order line by line, and everything that may be refused was
 * refused before. It still makes no mistake dangerous, by doing things in this order:
 *
 *   1. New user, mount, process, network and IPC namespaces. No privilege is needed or gained.
 *   2. Copies of the server's own trees (/usr and so on) are taken as detached mounts and made read
 *      only, without devices and setuid programs.
 *   3. An empty tmpfs becomes the root, and the server's file system is let go. From here on no
 *      path, link or `..` of a client can lead to a file of the server, since there is none.
 *   4. The order's directories, links and files are made, and the detached trees are put in place.
 *      The tmpfs is noexec: what a client sends can be neither run nor loaded as a library.
 *   5. The program starts, without any capability. Its parent, the first process of the new process
 *      namespace, has done all this, and when it ends with the program, the kernel kills whatever
 *      else is left in the namespace.
 *   6. Every regular file on the tmpfs that the order did not put there is an output, and is
 *      written to the outcome. The umask is 0, so that its mode is what the program asked for and
 *      the client's own umask can be applied.
 *
 * Nothing is cleaned up, because nothing outlives the processes: files and mounts are gone with
 * the last of them, whoever is killed at whatever moment. Each process dies with its parent.
 *
 *   order   ::= { letter string... }       every string ends with NUL; numbers are decimal
 *       U text          the user map             G text           the group map
 *       S options       of the tmpfs             X bytes          the most that a file may hold
 *       B path source   a tree or file of the server    N path source    the same, with devices
 *       D path          a directory              T path           a directory for everybody
 *       I path          an empty file            L path target    a symbolic link
 *       F path content seconds nanoseconds       a file, its content's name, its mtime
 *       K path older    a second name of a file  W path           a whiteout of overlayfs
 *       O path options  an overlay               P path           proc
 *       C path          the working directory    R path           the program, or nothing: then
 *                                                                 the root is made, and that is all
 *       A word          of its command line      E word           of its environment
 *       Q nothing       what it asks the file system is told; without a program only a question of
 *                       our own is, to find out whether that is possible
 *   F and K come in ascending order of their paths.
 *
 *   outcome ::= magic:u32 kind:u32 value:i32 at:u32  { mode:u32 length:u32 size:u64 path bytes }
 *               0:u32 0:u32 0:u64  [ lookups ]
 *   kind 1: value is the program's wait status.  kind 2: value is an errno, `at` the place in the
 *   order (or a stage below), and nothing follows.
 *   lookups ::= complete:u32 count:u32  { found:u16 length:u16 target_length:u16 path target }
 *   found 1: nothing.  2: a regular file, 3: one that was opened.  4: a directory, 5: one that was
 *   opened.  6: anything else.  The target is that of a symbolic link at the path, which was
 *   followed for found.  lookups.h says what is told.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "lookups.h"
#include "syscalls.h"

/* Newer than some C libraries; the same numbers on every architecture but alpha. */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
enum {
    TREE_RECURSIVE = 0x8000, /* AT_RECURSIVE */
    TREE_FROM_EMPTY_PATH = 4, /* MOVE_MOUNT_F_EMPTY_PATH */
    TREE_READ_ONLY = 1, TREE_NO_SETUID = 2, TREE_NO_DEVICES = 4 /* MOUNT_ATTR_* */
};

enum { MAGIC = 0x70636378, RAN = 1, FAILED = 2, REPORTED = 125 };
enum { /* places that are not in the order */
    AT_NAMESPACES = 0xfffffff0u, AT_MAPS, AT_ROOT, AT_PROCESS, AT_OUTPUTS, AT_PARENT, AT_ORDER
};
enum { MAX_TREES = 128, MAX_FILES = 1 << 16, MAX_WORDS = 1 << 16, DEEPEST = 256, BUFFER = 1 << 16 };

static struct {
    char *text;
    size_t length;
    int contents, outcome;
    const char *paths[MAX_FILES]; /* of F and K */
    int files;
    int trees[MAX_TREES];
    char *argv[MAX_WORDS + 1], *env[MAX_WORDS + 1];
    int argc, envc;
    const char *program, *directory, *options, *users, *groups;
    uint64_t largest, written;
    uint64_t device; /* of the root */
    int tells_lookups;
} order;

static char buffer[BUFFER];
static char path_of_output[8192];

static _Noreturn void report(uint32_t kind, int32_t value, uint32_t at)
{
    struct {
        uint32_t magic, kind;
        int32_t value;
        uint32_t at;
    } head = {MAGIC, kind, value, at};
    SYS(ftruncate, order.outcome, 0);
    SYS(pwrite64, order.outcome, &head, sizeof head, 0);
    quit(kind == RAN ? 0 : REPORTED);
}

static _Noreturn void fail(long e, uint32_t at)
{
    report(FAILED, (int32_t)-e, at);
}

static void must(long result, uint32_t at)
{
    if (result < 0)
        fail(result, at);
}

static int order_of(const char *a, const char *b)
{
    while (*a && *a == *b)
        a++, b++;
    return (unsigned char)*a - (unsigned char)*b;
}

static uint64_t number(const char *s)
{
    uint64_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++)
        n = n * 10 + (uint64_t)(*s - '0');
    return n;
}

/* ---- reading the order ------------------------------------------------------------------- */

struct step {
    char letter;
    uint32_t at;
    char *word[4];
};

static int words_of(char letter)
{
    switch (letter) {
    case 'F':
        return 4;
    case 'B':
    case 'N':
    case 'L':
    case 'K':
    case 'O':
        return 2;
    default:
        return 1;
    }
}

/* The step at *at; 0 at the end. The order ends with NUL, so no string runs over it. */
static int next_step(size_t *at, struct step *step)
{
    if (*at >= order.length)
        return 0;
    step->at = (uint32_t)*at;
    step->letter = order.text[(*at)++];
    for (int i = 0; i < words_of(step->letter); i++) {
        if (*at >= order.length)
            fail(-EINVAL, step->at);
        step->word[i] = order.text + *at;
        *at += strlen(step->word[i]) + 1;
    }
    return 1;
}

static void read_order(int fd)
{
    struct stat s;
    must(SYS(fstat, fd, &s), AT_ORDER);
    order.length = (size_t)s.st_size;
    long p = SYS(mmap, 0, order.length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (p < 0 && p > -4096)
        fail(p, AT_ORDER);
    order.text = (char *)p;
    if (!order.length || order.text[order.length - 1])
        fail(-EINVAL, AT_ORDER);
    struct step step;
    for (size_t at = 0; next_step(&at, &step);) {
        char *word = step.word[0];
        switch (step.letter) {
        case 'U':
            order.users = word;
            break;
        case 'G':
            order.groups = word;
            break;
        case 'S':
            order.options = word;
            break;
        case 'X':
            order.largest = number(word);
            break;
        case 'C':
            order.directory = word;
            break;
        case 'R':
            order.program = word;
            break;
        case 'Q':
            order.tells_lookups = 1;
            break;
        case 'A':
        case 'E':
            if ((step.letter == 'A' ? order.argc : order.envc) == MAX_WORDS)
                fail(-E2BIG, step.at);
            if (step.letter == 'A')
                order.argv[order.argc++] = word;
            else
                order.env[order.envc++] = word;
            break;
        case 'F':
        case 'K': /* sorted, or an input would later be taken for an output */
            if (order.files == MAX_FILES ||
                (order.files && order_of(order.paths[order.files - 1], word) >= 0))
                fail(-EINVAL, step.at);
            order.paths[order.files++] = word;
            break;
        default:
            break;
        }
    }
    if (!order.program || !order.directory || !order.users || !order.groups || !order.options)
        fail(-EINVAL, AT_ORDER);
}

/* ---- making the root --------------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
    long fd = SYS(openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC);
    must(fd, AT_MAPS);
    must(SYS(write, fd, text, strlen(text)), AT_MAPS);
    SYS(close, fd);
}

/* Lay a proc of the new process namespace over the server's, from where it is taken like a tree: a
 * kernel grants it only where the old one can still be seen. Where it may not be mounted at all
 * (containers that cover parts of it) there is none: compilers use it to find themselves, and have
 * argv[0] for that as well. */
static int mount_proc(void)
{
    unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY;
    return !SYS(mount, "proc", "/proc", "proc", flags, "subset=pid") ||
           !SYS(mount, "proc", "/proc", "proc", flags, 0);
}

/* The program needs no namespaces of its own, and kernels had many faults in what they allow. */
static void forbid_namespaces(void)
{
    long fd = SYS(openat, AT_FDCWD, "/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
    if (fd >= 0) { /* /proc/sys may be read only: the walls stand without it */
        SYS(write, fd, "0", 1);
        SYS(close, fd);
    }
}

static void take_trees(void)
{
    struct {
        uint64_t set, clear, propagation, user_namespace;
    } attributes = {0, 0, 0, 0};
    struct step step;
    int n = 0;
    for (size_t at = 0; next_step(&at, &step);) {
        const char *source = step.word[step.letter == 'P' ? 0 : 1];
        if (step.letter != 'B' && step.letter != 'N' && step.letter != 'P')
            continue;
        if (n == MAX_TREES)
            fail(-E2BIG, step.at);
        int recursive = TREE_RECURSIVE;
        if (step.letter == 'P') {
            if (!mount_proc()) {
                order.trees[n++] = -1;
                continue;
            }
            recursive = 0;
        }
        long fd = SYS(open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | O_CLOEXEC | recursive);
        must(fd, step.at);
        attributes.set = TREE_READ_ONLY | TREE_NO_SETUID;
        if (step.letter != 'N')
            attributes.set |= TREE_NO_DEVICES;
        must(SYS(mount_setattr, fd, "", AT_EMPTY_PATH | recursive, &attributes,
                 sizeof attributes),
             step.at);
        order.trees[n++] = (int)fd;
    }
}

static void become_root(void)
{
    must(SYS(mount, "pycc", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, order.options),
         AT_ROOT);
    must(SYS(chdir, "/tmp"), AT_ROOT);
    /* Puts the old root on top of the new one, from where it is taken away at once. */
    must(SYS(pivot_root, ".", "."), AT_ROOT);
    must(SYS(umount2, ".", MNT_DETACH), AT_ROOT);
    must(SYS(chdir, "/"), AT_ROOT);
}

static void copy(const struct step *step)
{
    long from = SYS(openat, order.contents, step->word[1], O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    must(from, step->at);
    long to = SYS(openat, AT_FDCWD, step->word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    must(to, step->at);
    for (;;) {
        long n = SYS(read, from, buffer, BUFFER);
        must(n, step->at);
        if (!n)
            break;
        for (long done = 0; done < n;) {
            long wrote = SYS(write, to, buffer + done, n - done);
            must(wrote, step->at);
            done += wrote;
        }
    }
    struct timespec times[2];
    times[0].tv_sec = times[1].tv_sec = (time_t)number(step->word[2]);
    times[0].tv_nsec = times[1].tv_nsec = (long)number(step->word[3]);
    must(SYS(utimensat, to, 0, times, 0), step->at);
    SYS(close, from);
    SYS(close, to);
}

static void build(void)
{
    struct step step;
    int tree = 0;
    for (size_t at = 0; next_step(&at, &step);) {
        char **word = step.word;
        long e = 0;
        switch (step.letter) {
        case 'D':
        case 'T':
            e = SYS(mkdirat, AT_FDCWD, word[0], step.letter == 'D' ? 0755 : 01777);
            break;
        case 'I':
            e = SYS(openat, AT_FDCWD, word[0], O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
            if (e >= 0)
                SYS(close, e);
            break;
        case 'L':
            e = SYS(symlinkat, word[1], AT_FDCWD, word[0]);
            break;
        case 'K':
            e = SYS(linkat, AT_FDCWD, word[1], AT_FDCWD, word[0], 0);
            break;
        case 'W':
            e = SYS(mknodat, AT_FDCWD, word[0], S_IFCHR, 0);
            break;
        case 'F':
            copy(&step);
            break;
        case 'B':
        case 'N':
        case 'P':
            if (order.trees[tree] >= 0) {
                e = SYS(move_mount, order.trees[tree], "", AT_FDCWD, word[0],
                        TREE_FROM_EMPTY_PATH);
                SYS(close, order.trees[tree]);
            }
            tree++;
            break;
        case 'O':
            e = SYS(mount, "pycc", word[0], "overlay",
                    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, word[1]);
            break;
        default:
            break;
        }
        must(e, step.at);
    }
}

/* ---- running the program ----------------------------------------------------------------- */

static void die_with_parent(void)
{
    SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

static long fork_here(long flags)
{
    return SYS(clone, SIGCHLD | flags, 0, 0, 0, 0);
}

static long wait_for(long pid)
{
    int status = 0;
    for (;;) {
        long r = SYS(wait4, pid, &status, 0, 0);
        if (r == pid)
            return status;
        if (r < 0 && r != -EINTR)
            return r;
    }
}

/* `hand_over` takes the number of the listener, if the program's calls are to be held. */
static _Noreturn void become_program(volatile int32_t *failed, int hand_over)
{
    struct rlimit none = {0, 0}, most = {order.largest, order.largest};
    SYS(prlimit64, 0, RLIMIT_CORE, &none, 0);
    if (order.largest)
        SYS(prlimit64, 0, RLIMIT_FSIZE, &most, 0);
    SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    long e = SYS(chdir, order.directory);
    if (!e && hand_over >= 0) {
        int listener = (int)(e = hold_calls());
        if (e >= 0)
            e = SYS(write, hand_over, &listener, sizeof listener) == sizeof listener ? 0 : -EIO;
    }
    if (!e) /* the descriptors may be the parent's as well */
        e = SYS(close_range, 3, ~0u, CLOSE_RANGE_UNSHARE);
    if (!e && !*order.program) {
        struct stat s;
        SYS(newfstatat, AT_FDCWD, "/", &s, 0);
        quit(0);
    }
    if (!e)
        e = SYS(execve, order.program, order.argv, order.env);
    *failed = (int32_t)-e;
    quit(127);
}

/* Start the program and note what it asks until it ends. The listener is handed over by sharing the
 * descriptors until the program's side lets go of them: it cannot wait for us to fetch it in
 * another way, because from then on even its execve is held until we answer. */
static long start_and_note(volatile int32_t *shared)
{
    int hand_over[2], listener = -1;
    long e = SYS(chdir, order.directory);
    if (e)
        return e;
    must(SYS(pipe2, hand_over, O_CLOEXEC), AT_PROCESS);
    long pid = fork_here(CLONE_FILES);
    if (!pid)
        become_program(shared, hand_over[1]);
    must(pid, AT_PROCESS);
    long program = SYS(pidfd_open, pid, 0);
    must(program, AT_PROCESS);
    struct pollfd p[2] = {{hand_over[0], POLLIN, 0}, {(int)program, POLLIN, 0}};
    while (SYS(ppoll, p, 2, 0, 0, 8) < 0)
        continue;
    if (p[0].revents & POLLIN && SYS(read, hand_over[0], &listener, 4) == 4)
        take_calls(listener, (int)program);
    note_ways();
    return pid;
}

/* The first process of the namespace. It does not become the program itself, because a first
 * process is spared most signals, its own abort() included, which would show in how a compiler
 * ends. */
static _Noreturn void supervise(volatile int32_t *shared, int alive)
{
    die_with_parent();
    struct pollfd p = {.fd = alive, .events = 0, .revents = 0};
    struct timespec at_once = {0, 0};
    if (SYS(ppoll, &p, 1, &at_once, 0, 8) > 0)
        quit(1); /* the parent was gone before we said so */
    take_trees();
    become_root();
    build();
    if (!*order.program && !order.tells_lookups) {
        shared[2] = 1;
        quit(0);
    }
    long pid = order.tells_lookups ? start_and_note(shared) : fork_here(0);
    if (!pid)
        become_program(shared, -1);
    if (pid < 0) {
        *shared = (int32_t)-pid;
        quit(1);
    }
    long status = wait_for(pid);
    shared[1] = (int32_t)status;
    shared[2] = 1;
    quit(0);
}

/* ---- outputs ----------------------------------------------------------------------------- */

static int is_input(const char *path)
{
    int low = 0, high = order.files;
    while (low < high) {
        int middle = low + (high - low) / 2;
        int c = order_of(order.paths[middle], path);
        if (!c)
            return 1;
        if (c < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static void put_out(const void *data, size_t n)
{
    const char *at = data;
    while (n) {
        long r = SYS(write, order.outcome, at, n);
        must(r, AT_OUTPUTS);
        at += r;
        n -= (size_t)r;
    }
}

struct output {
    uint32_t mode, length;
    uint64_t size;
};

static void put_output(int directory, const char *name, size_t length, const struct stat *s)
{
    long fd = SYS(openat, directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    must(fd, AT_OUTPUTS);
    struct output head = {s->st_mode & 0777, (uint32_t)length, (uint64_t)s->st_size};
    order.written += head.size;
    if (order.largest && order.written > order.largest)
        fail(-EFBIG, AT_OUTPUTS);
    put_out(&head, sizeof head);
    put_out(path_of_output, length);
    /* Nothing runs any more that could change the size. */
    for (uint64_t left = head.size; left;) {
        long n = SYS(sendfile, order.outcome, fd, 0, left < (1u << 30) ? left : (1u << 30));
        must(n ? n : -EIO, AT_OUTPUTS);
        left -= (uint64_t)n;
    }
    SYS(close, fd);
}

static void collect(int directory, size_t length, int depth)
{
    struct entry { /* linux_dirent64 */
        uint64_t inode;
        int64_t next;
        uint16_t size;
        uint8_t type;
        char name[];
    };
    char entries[2048] __attribute__((aligned(8)));
    for (;;) {
        long n = SYS(getdents64, directory, entries, sizeof entries);
        must(n, AT_OUTPUTS);
        if (!n)
            return;
        for (long at = 0; at < n;) {
            struct entry *entry = (struct entry *)(void *)(entries + at);
            at += entry->size;
            if (entry->type != DT_DIR && entry->type != DT_REG)
                continue;
            size_t name = strlen(entry->name);
            if (entry->name[0] == '.' && (name == 1 || (name == 2 && entry->name[1] == '.')))
                continue;
            if (length + name + 2 > sizeof path_of_output)
                fail(-ENAMETOOLONG, AT_OUTPUTS);
            path_of_output[length] = '/';
            memcpy(path_of_output + length + 1, entry->name, name + 1);
            if (entry->type == DT_REG && is_input(path_of_output))
                continue;
            struct stat s;
            must(SYS(newfstatat, directory, entry->name, &s, AT_SYMLINK_NOFOLLOW), AT_OUTPUTS);
            if (s.st_dev != order.device) /* a tree of the server is mounted here */
                continue;
            if (S_ISREG(s.st_mode)) {
                put_output(directory, entry->name, length + 1 + name, &s);
            } else if (S_ISDIR(s.st_mode)) {
                if (depth == DEEPEST)
                    fail(-ELOOP, AT_OUTPUTS);
                long fd = SYS(openat, directory, entry->name,
                              O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
                must(fd, AT_OUTPUTS);
                collect((int)fd, length + 1 + name, depth + 1);
                SYS(close, fd);
            }
        }
    }
}

/* ---- the way through --------------------------------------------------------------------- */

static _Noreturn void sandbox_main(int argc, char **argv)
{
    if (argc != 5)
        quit(2);
    int fd = (int)number(argv[1]);
    order.contents = (int)number(argv[2]);
    order.outcome = (int)number(argv[3]);
    read_order(fd);
    SYS(prctl, PR_SET_NAME, "pycc-sandbox", 0, 0, 0); /* else a number: we are run by descriptor */
    SYS(umask, 0);
    must(SYS(unshare, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC),
         AT_NAMESPACES);
    die_with_parent();
    if ((uint64_t)SYS(getppid, 0) != number(argv[4]))
        fail(-ESRCH, AT_PARENT);
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", order.users);
    write_file("/proc/self/gid_map", order.groups);
    forbid_namespaces();
    /* Shared with the first process: why the program did not start, its status, whether it ran. */
    long p = SYS(mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p < 0 && p > -4096)
        fail(p, AT_PROCESS);
    volatile int32_t *shared = (volatile int32_t *)p;
    int alive[2];
    must(SYS(pipe2, alive, O_CLOEXEC), AT_PROCESS);
    if (order.tells_lookups)
        must(begin_lookups(), AT_PROCESS);
    long pid = fork_here(0);
    must(pid, AT_PROCESS);
    if (!pid) {
        SYS(close, alive[1]);
        supervise(shared, alive[0]);
    }
    long status = wait_for(pid);
    must(status, AT_PROCESS);
    if (WIFEXITED((int)status) && WEXITSTATUS((int)status) == REPORTED)
        quit(REPORTED);
    if (shared[0])
        fail(-shared[0], AT_PROCESS);
    if (!shared[2])
        fail(-ECHILD, AT_PROCESS);
    must(SYS(lseek, order.outcome, 16, SEEK_SET), AT_OUTPUTS);
    /* Whoever lived in the old root was moved with it: this is the root of the program. */
    struct stat s;
    must(SYS(newfstatat, AT_FDCWD, "/", &s, 0), AT_OUTPUTS);
    order.device = s.st_dev;
    long root = SYS(openat, AT_FDCWD, "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(root, AT_OUTPUTS);
    collect((int)root, 0, 0);
    put_out(&(struct output){0, 0, 0}, sizeof(struct output));
    if (order.tells_lookups)
        tell_lookups(put_out);
    struct {
        uint32_t magic, kind;
        int32_t value;
        uint32_t at;
    } head = {MAGIC, RAN, shared[1], 0};
    must(SYS(pwrite64, order.outcome, &head, sizeof head, 0), AT_OUTPUTS);
    quit(0);
}

#if defined(PYCC_USE_LIBC)
int main(int argc, char **argv)
{
    sandbox_main(argc, argv);
}
#else
__attribute__((used)) static _Noreturn void begin(long *stack)
{
    sandbox_main((int)stack[0], (char **)(stack + 1));
}
ENTRY("begin")
#endif
