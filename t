21056 execve("/bin/true", ["/bin/true"], 0x7ffdc20a0778 /* 35 vars */) = 0
21056 brk(NULL)                         = 0x55bec51bd000
21056 mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fd69a1f2000
21056 access("/etc/ld.so.preload", R_OK) = -1 ENOENT (No such file or directory)
21056 openat(AT_FDCWD, "/etc/ld.so.cache", O_RDONLY|O_CLOEXEC) = 3
21056 newfstatat(3, "", {st_mode=S_IFREG|0644, st_size=36395, ...}, AT_EMPTY_PATH) = 0
21056 mmap(NULL, 36395, PROT_READ, MAP_PRIVATE, 3, 0) = 0x7fd69a1e9000
21056 close(3)                          = 0
21056 openat(AT_FDCWD, "/lib/x86_64-linux-gnu/libc.so.6", O_RDONLY|O_CLOEXEC) = 3
21056 read(3, "\177ELF\2\1\1\3\0\0\0\0\0\0\0\0\3\0>\0\1\0\0\0\20t\2\0\0\0\0\0"..., 832) = 832
21056 pread64(3, "\6\0\0\0\4\0\0\0@\0\0\0\0\0\0\0@\0\0\0\0\0\0\0@\0\0\0\0\0\0\0"..., 784, 64) = 784
21056 newfstatat(3, "", {st_mode=S_IFREG|0755, st_size=1926232, ...}, AT_EMPTY_PATH) = 0
21056 pread64(3, "\6\0\0\0\4\0\0\0@\0\0\0\0\0\0\0@\0\0\0\0\0\0\0@\0\0\0\0\0\0\0"..., 784, 64) = 784
21056 mmap(NULL, 1974096, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3, 0) = 0x7fd69a007000
21056 mmap(0x7fd69a02d000, 1400832, PROT_READ|PROT_EXEC, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x26000) = 0x7fd69a02d000
21056 mmap(0x7fd69a183000, 339968, PROT_READ, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x17c000) = 0x7fd69a183000
21056 mmap(0x7fd69a1d6000, 24576, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_DENYWRITE, 3, 0x1cf000) = 0x7fd69a1d6000
21056 mmap(0x7fd69a1dc000, 53072, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS, -1, 0) = 0x7fd69a1dc000
21056 close(3)                          = 0
21056 mmap(NULL, 12288, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7fd69a004000
21056 arch_prctl(ARCH_SET_FS, 0x7fd69a004740) = 0
21056 set_tid_address(0x7fd69a004a10)   = 21056
21056 set_robust_list(0x7fd69a004a20, 24) = 0
21056 rseq(0x7fd69a005060, 0x20, 0, 0x53053053) = 0
21056 mprotect(0x7fd69a1d6000, 16384, PROT_READ) = 0
21056 mprotect(0x55beaf489000, 4096, PROT_READ) = 0
21056 mprotect(0x7fd69a22d000, 8192, PROT_READ) = 0
21056 prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0
21056 munmap(0x7fd69a1e9000, 36395)     = 0
21056 exit_group(0)                     = ?
21056 +++ exited with 0 +++
