/* A process that does nothing: with libc, or with -DFREESTANDING without it (x86-64, aarch64). */
#ifdef FREESTANDING
__attribute__((noreturn)) void _start(void)
{
#if defined(__x86_64__)
    __asm__ volatile("xor %%edi, %%edi; mov $60, %%eax; syscall" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("mov x0, #0; mov x8, #93; svc #0" ::: "memory");
#else
#error "no system call known for this machine"
#endif
    __builtin_unreachable();
}
#else
int main(void)
{
    return 0;
}
#endif
