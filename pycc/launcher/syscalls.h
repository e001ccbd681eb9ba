/* System calls without libc, for programs that start at _start: they live 60 us where the start-up
 * of a static glibc alone takes 500. With PYCC_USE_LIBC the same calls go through libc.
 */
#ifndef PYCC_SYSCALLS_H
#define PYCC_SYSCALLS_H

#include <stddef.h>
#include <stdint.h>

#include <errno.h>
#include <sys/syscall.h>

#if defined(PYCC_USE_LIBC)
#include <unistd.h>
static long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long r = syscall(n, a, b, c, d, e, f);
    return r == -1 ? -errno : r;
}
#elif defined(__x86_64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    long r;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}
#elif defined(__aarch64__)
static inline long sys6(long n, long a, long b, long c, long d, long e, long f)
{
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory", "cc");
    return x0;
}
#else
#error "build with -DPYCC_USE_LIBC on this architecture"
#endif

#define L(x) ((long)(x))
#define SYS(name, ...) SYS_PADDED(name, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SYS_PADDED(name, a, b, c, d, e, f, ...) \
    sys6(SYS_##name, L(a), L(b), L(c), L(d), L(e), L(f))

/* The compiler may turn any loop into a call of these; a program without libc brings its own. */
#if !defined(PYCC_USE_LIBC)
#if defined(__clang__)
#define NO_IDIOM __attribute__((used, no_builtin))
#else
#define NO_IDIOM __attribute__((used, optimize("no-tree-loop-distribute-patterns")))
#endif
NO_IDIOM void *memcpy(void *to, const void *from, size_t n)
{
    typedef uint64_t __attribute__((aligned(1), may_alias)) word;
    char *t = to;
    const char *f = from;
    for (; n >= sizeof(word); n -= sizeof(word), t += sizeof(word), f += sizeof(word))
        *(word *)t = *(const word *)f;
    while (n--)
        *t++ = *f++;
    return to;
}
NO_IDIOM void *memset(void *to, int byte, size_t n)
{
    char *t = to;
    while (n--)
        *t++ = (char)byte;
    return to;
}
NO_IDIOM int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;
    for (; n--; x++, y++)
        if (*x != *y)
            return *x < *y ? -1 : 1;
    return 0;
}
NO_IDIOM size_t strlen(const char *s)
{
    size_t n = 0;
    while (s[n])
        n++;
    return n;
}
#else
#include <string.h>
#endif

static _Noreturn void quit(int status)
{
    for (;;)
        SYS(exit_group, status);
}

/* The program's first instructions: they call the function NAME with the stack, where the kernel
 * has put the words of the command line. */
#if defined(__x86_64__)
#define ENTRY(NAME)                                                                             \
    __asm__(".text\n.globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n" \
            " call " NAME "\n");
#elif defined(__aarch64__)
#define ENTRY(NAME) \
    __asm__(".text\n.globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n b " NAME "\n");
#endif

#endif
