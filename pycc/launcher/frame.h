/* The wire between the launcher and the resident server; pycc/frame.py is the other end.
 *
 * Everything is little-endian and local to one machine. A frame is a header and a body:
 *
 *   <frame>   ::= <length:u32> <magic:u32> <kind:u32> <body>      length counts the whole frame
 *   <request> ::= <umask:u32> <flags:u32> <argc:u32> <envc:u32>
 *                 <cwd_len:u32> <argv_len:u32> <env_len:u32> <reserved:u32> cwd argv env
 *                 argv and env are strings that each end with NUL
 *   <report>  ::= <wait_status:u32> <error:u32> <out_len:u32> <err_len:u32> <ns:u64> out err
 *                 error: errno when the program could not be run, then wait_status is 0
 *   <reply>   ::= { <op:u32> <len:u32> payload, padded with NUL to a multiple of 4 }
 *
 * A reply is read whole before its first operation is carried out, so a server that dies in the
 * middle of one leaves nothing half done. Its last operation is RUN or WAIT (the launcher then
 * reports or waits, and reads another reply) or EXEC, EXIT or FALLBACK (which end the call).
 *
 *   WRITE     <flags:u32> <mode:u32> <path_len:u32> <data_len:u32> path NUL data
 *   OUT       <fd:u32> data
 *   RUN, EXEC <flags:u32> <argc:u32> <nenv:u32> <out_len:u32> out_path NUL, argc + nenv strings
 *             an environment string K=V sets K, a string K without '=' removes it
 *   EXIT      <wait_status:u32>
 *   UNLINK    path NUL
 *   WAIT      <ms:u32>
 *   LINK      <flags:u32> <len:u32> source NUL, target NUL     flags: OUT_REPLACE
 *   FALLBACK  (nothing)
 *   SHARED    <flags:u32> <mode:u32> <path_len:u32> <data_len:u32> <at:u32> path NUL
 *             as WRITE; the data lie at `at` in the file whose descriptor came with the reply
 *             (SCM_RIGHTS), and are ours to read until we close the connection
 */
#ifndef PYCC_FRAME_H
#define PYCC_FRAME_H

#define FRAME_MAGIC 0x31435950u /* "PYC1" */
#define FRAME_HEADER 12u
#define FRAME_LIMIT (1u << 30)

enum frame_kind { KIND_REQUEST = 1, KIND_REPORT = 2, KIND_REPLY = 3 };

enum request_flag {
    REQUEST_STDERR_TTY = 1,
    REQUEST_OWN_NAME = 4 /* called as pycc or ccache, not as a compiler */
};

enum op {
    OP_WRITE = 1,
    OP_OUT = 2,
    OP_RUN = 3,
    OP_EXEC = 4,
    OP_EXIT = 5,
    OP_UNLINK = 6,
    OP_WAIT = 7,
    OP_LINK = 8,
    OP_FALLBACK = 9,
    OP_SHARED = 10
};

/* How an existing file is treated. 0: it is truncated, as cc1 does with -S and dependency files.
 * REPLACE: it is unlinked unless it is empty, as GNU as does. REPLACE_ALWAYS: it is unlinked, as
 * clang's rename over it comes to, and must be writable. */
enum write_flag { OUT_REPLACE = 1, OUT_REPLACE_ALWAYS = 2, OUT_CLONE = 4 };

enum run_flag {
    RUN_CAPTURE_ERR = 1,
    RUN_TEE_ERR = 2,
    RUN_CAPTURE_OUT = 4,
    RUN_TEE_OUT = 8,
    RUN_OUT_FILE = 16,   /* stdout goes to out_path */
    RUN_FINAL = 32,      /* the child's outputs are the user's: without a server, exit as it did */
    RUN_UNCACHED_FD = 64, /* give the child the real stderr and its number in UNCACHED_ERR_FD */
    RUN_STRIP_ERR = 128   /* its messages are coloured by our wish alone */
};

#endif
