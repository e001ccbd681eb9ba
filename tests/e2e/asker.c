/* Asks the file system in the ways that its words say, each `way=path`; for test_exact_lookups. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static struct stat s;
static volatile int rang;

static void ask(const char *path, const char *suffix, int n)
{
    char name[5000];
    snprintf(name, sizeof name, "%s%s%d", path, suffix, n);
    stat(name, &s);
}

static void *ask_much(void *path)
{
    for (int i = 0; i < 200; i++)
        ask(path, "/t", i);
    return 0;
}

static void ring(int number)
{
    rang = number;
}

/* A string that ends where its page does, with nothing behind it. */
static const char *at_the_edge(const char *path)
{
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + 4096, 4096);
    return strcpy(pages + 4096 - strlen(path) - 1, path);
}

static const char *across_pages(const char *path)
{
    char *pages = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return strcpy(pages + 4096 - strlen(path) / 2, path);
}

static void run(const char *way, const char *path)
{
    pthread_t threads[8];
    int fd;
#define WAY(name) else if (!strcmp(way, name))
    if (!strcmp(way, "stat"))
        stat(path, &s);
    WAY("lstat") lstat(path, &s);
    WAY("access") access(path, R_OK);
    WAY("readlink") readlink(path, (char[64]){0}, 64);
    WAY("statx") syscall(SYS_statx, AT_FDCWD, path, 0, STATX_BASIC_STATS, (char[256]){0});
    WAY("open") open(path, O_RDONLY);
    WAY("handle") open(path, O_PATH);
    WAY("list") open(path, O_RDONLY | O_DIRECTORY);
    WAY("run") execl(path, path, (char *)0);
    WAY("create") close(open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666));
    WAY("exclusive") close(open(path, O_WRONLY | O_CREAT | O_EXCL, 0666));
    WAY("write") close(open(path, O_WRONLY));
    WAY("unlink") unlink(path);
    WAY("mkdir") mkdir(path, 0777);
    WAY("truncate") truncate(path, 0);
    WAY("chmod") chmod(path, 0600);
    WAY("rename-to") rename("made", path);
    WAY("rename") rename(path, "renamed");
    WAY("link") link(path, "linked");
    WAY("symlink") symlink("made", path);
    WAY("chdir") chdir(path);
    WAY("fchdir") fchdir(99);
    WAY("chroot") chroot(path);
    WAY("statfs") statfs(path, &(struct statfs){0});
    WAY("getxattr") getxattr(path, "user.x", 0, 0);
    WAY("unshare") syscall(SYS_unshare, 0);
    WAY("io_uring_setup") syscall(425, 0, 0);
    WAY("openat2") syscall(437, AT_FDCWD, path, (uint64_t[3]){O_RDONLY}, 24);
    WAY("unknown") syscall(4000);
    WAY("fstat") fstatat(0, "", &s, AT_EMPTY_PATH);
    WAY("empty") open("", O_RDONLY);
    WAY("other directory") {
        fd = open(path, O_PATH | O_DIRECTORY);
        fstatat(fd, "name", &s, 0);
    }
    WAY("absolute") fstatat(99, path, &s, 0);
    WAY("edge") stat(at_the_edge(path), &s);
    WAY("across") stat(across_pages(path), &s);
    WAY("nowhere") syscall(SYS_openat, AT_FDCWD, (void *)8, O_RDONLY);
    WAY("long") {
        char *name = malloc(9000);
        stat(memset(name, 'x', 9000), &s);
    }
    WAY("threads") {
        for (int i = 0; i < 8; i++)
            pthread_create(threads + i, 0, ask_much, (void *)path);
        for (int i = 0; i < 8; i++)
            pthread_join(threads[i], 0);
    }
    WAY("children") {
        for (int i = 0; i < 40; i++)
            if (!fork()) {
                ask(path, "/c", i);
                execl("/bin/true", "true", (char *)0);
            }
        while (wait(0) > 0)
            continue;
    }
    WAY("killed children") {
        for (int i = 0; i < 40; i++) {
            pid_t pid = fork();
            if (!pid)
                for (;;)
                    ask(path, "/k", 0);
            usleep(500);
            kill(pid, SIGKILL);
            waitpid(pid, 0, 0);
        }
    }
    WAY("suspended") {
        if (!vfork()) {
            execl("/none/true", "true", (char *)0);
            execl("/bin/true", "true", (char *)0);
            _exit(1);
        }
        wait(0);
    }
    WAY("orphan") {
        if (!fork())
            for (close(1), close(2);;)
                stat(path, &s);
    }
    WAY("alarm") {
        struct sigaction action = {.sa_handler = ring, .sa_flags = SA_RESTART};
        struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
        int interrupted = 0;
        sigaction(SIGALRM, &action, 0);
        setitimer(ITIMER_REAL, &often, 0);
        for (int i = 0; i < 5000; i++)
            interrupted += stat(path, &s) && errno == EINTR;
        setitimer(ITIMER_REAL, &never, 0);
        printf("%d %d\n", rang == SIGALRM, interrupted);
    }
    WAY("forever") for (;;) stat(path, &s);
    WAY("die") raise(SIGTERM);
    WAY("very many") {
        char *name = malloc(5000);
        for (int i = 0; i < 9000; i++) {
            memset(name, '/', 4000);
            snprintf(name + 4000, 90, "%d", i);
            stat(name, &s);
        }
    }
#if defined(__x86_64__)
    WAY("x32") syscall(0x40000000 + SYS_stat, path, &s);
    WAY("i386") __asm__ volatile("int $0x80" : : "a"(20) : "memory", "cc", "r8", "r9", "r10", "r11");
#endif
    else {
        fprintf(stderr, "no such way: %s\n", way);
        exit(9);
    }
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        char *path = strchr(argv[i], '=');
        *path++ = 0;
        run(argv[i], path);
    }
    return 0;
}
