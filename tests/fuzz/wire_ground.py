"""What surrounds a daemon under attack: a compiler that watches it, and traps that tell.

    <place>/bin/quick-gcc    compiles in a millisecond, and notes every word that it must not get
    <place>/bin/<others>     programs on the daemon's PATH that no job may run: they leave a note
    <place>/playground/      files that anyone may write, and that nobody may touch
    <place>/notes/           what was noted: empty as long as all is well
    <place>/tmp, cache       the daemon's own

The playground holds what the hostile words of requests point at: a plugin, specs, a response file,
a directory of compiler parts, a program for -wrapper. Each leaves a note when it is used.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import zlib
from pathlib import Path

FORBIDDEN_PROGRAMS = "evil sh bash env touch cp python3 perl gcc.real distcc ccache quick".split()
"""On the daemon's PATH, in front of the system's; a job that names one is refused."""
PARTS = "cc1 cc1plus as ld collect2 lto1 g++-mapper-server".split()
"""What a compiler would run from a directory that -B names."""

_SOURCE = r"""
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *what, int argc, char **argv)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%d", NOTES, what, (int)getpid());
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (int i = 0; i < argc; i++)
        dprintf(fd, "%s\n", argv[i]);
    close(fd);
}

#ifdef PLUGIN
__attribute__((constructor)) static void loaded(void) { note("plugin", 0, 0); }
int plugin_is_GPL_compatible;
int plugin_init(void *a, void *b) { (void)a; (void)b; return 0; }
#else

/* Each of these opens a file, runs a program or writes another output. */
static const char *const never[] = {
    "@", "-B", "-specs", "--specs", "-wrapper", "-fplugin", "-iplugindir", "-Wp,", "-Wl,", "-I",
    "-include", "-imacros", "-isystem", "-iquote", "-idirafter", "-isysroot", "--sysroot", "-L",
    "-T", "-M", "-E", "-save-temps", "--save-temps", "-dumpdir", "-dumpbase", "-fdump", "-aux",
    "-load", "-fmodule-mapper", "-fprofile-use", "-fauto-profile", "-fuse-ld=/", "-time=", "-###",
    "-Xlinker", "-Xpreprocessor", "-ftest-coverage", "--coverage", "-fstack-usage", "-gsplit-dwarf",
    "-fcallgraph-info", "-fopt-info", "--config", "-working-directory", "-ccc-gcc-name", 0};
/* These are written into the output, or compared with names in it. */
static const char *const harmless[] = {"-D", "-U", "-fdebug-prefix-map=", "-ffile-prefix-map=",
    "-fmacro-prefix-map=", "-fcoverage-prefix-map=", "-fdebug-compilation-dir=",
    "-ffile-compilation-dir=", "-fcoverage-compilation-dir=", "-frandom-seed=",
    "-finstrument-functions-exclude-file-list=", 0};

static int begins(const char *word, const char *const *with)
{
    for (; *with; with++)
        if (!strncmp(word, *with, strlen(*with)))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];
    if (strcmp(name, "quick-gcc")) {
        note("ran", argc, argv);
        return 1;
    }
    const char *out = 0, *in = 0, *before = "";
    int compiles = 0;
    for (int i = 1; i < argc; before = argv[i], i++) {
        const char *dot = strrchr(argv[i], '.');
        if (!strcmp(before, "-o"))
            out = argv[i];
        else if (!strcmp(argv[i], "-c") || !strcmp(argv[i], "-S"))
            compiles = 1;
        else if (argv[i][0] != '-' && dot && (!strcmp(dot, ".i") || !strcmp(dot, ".ii")
                || !strcmp(dot, ".mi") || !strcmp(dot, ".mii")) && !access(argv[i], R_OK))
            in = argv[i];
    }
    if (!compiles || !out) { /* what it is asked to know it by */
        argv[0] = "/usr/bin/gcc";
        execv(argv[0], argv);
        return 127;
    }
    before = "";
    for (int i = 1; i < argc; before = argv[i], i++) {
        /* gcc itself takes no -mllvm, and does nothing. */
        int wrong = begins(argv[i], never) && strcmp(before, "-D") && strcmp(before, "-mllvm");
        wrong |= strstr(argv[i], "/playground") && !begins(argv[i], harmless)
            && strcmp(before, "-D");
        wrong |= !strcmp(before, "-x") && !strstr(argv[i], "cpp-output");
        wrong |= argv[i][0] == '@';
        if (wrong)
            note("word", argc, argv);
    }
    char cwd[4096] = "";
    if (!getcwd(cwd, sizeof cwd) || strncmp(cwd, JOBS, strlen(JOBS)))
        note("directory", argc, argv);
    if ((strcmp(out, "out.o") && strcmp(out, "out.s")) || !in || strchr(in, '/')) {
        note("file", argc, argv);
        return 1;
    }
    FILE *text = fopen(in, "rb");
    uint64_t low = 1, high = 0, size = 0; /* Adler-32 */
    char head[16] = "";
    static unsigned char block[1 << 16];
    for (size_t got; (got = fread(block, 1, sizeof block, text)) > 0; size += got) {
        if (!size)
            memcpy(head, block, got < 15 ? got : 15);
        for (size_t i = 0; i < got; i++) {
            low = (low + block[i]) % 65521;
            high = (high + low) % 65521;
        }
    }
    if (!strncmp(head, "//slow", 6))
        usleep(50000);
    else if (!strncmp(head, "//crash", 7))
        raise(SIGSEGV);
    else if (!strncmp(head, "//fail", 6)) {
        fprintf(stderr, "it fails\n");
        return 3;
    } else if (!strncmp(head, "//none", 6))
        return 0;
    else if (!strncmp(head, "//loud", 6))
        for (int i = 0; i < 20000; i++)
            fprintf(stderr, "much is said here, and then some more\n");
    else if (!strncmp(head, "//linger", 8) && !fork()) {
        sleep(60);
        return 0;
    } else if (!strncmp(head, "//litter", 8))
        for (int i = 0; i < 20; i++) {
            char made[32];
            snprintf(made, sizeof made, "litter%d", i);
            close(open(made, O_WRONLY | O_CREAT, 0));
        }
    FILE *made = fopen(out, "wb");
    fprintf(made, "OBJ %08llx %llu\n", (unsigned long long)(high << 16 | low),
            (unsigned long long)size);
    return fclose(made) != 0;
}
#endif
"""


def quick_object(text: bytes) -> bytes:
    """What quick-gcc makes of a text."""
    return b"OBJ %08x %d\n" % (zlib.adler32(text), len(text))


Snapshot = dict[str, tuple[int, int, bytes]]


def snapshot(directory: Path) -> Snapshot:
    """Every path below: mode, time of the last change, content or target."""
    found: Snapshot = {}
    for place, names, files in os.walk(directory):
        for name in (*names, *files):
            path = os.path.join(place, name)
            status = os.lstat(path)
            content = b""
            if stat.S_ISREG(status.st_mode):
                content = Path(path).read_bytes()
            elif stat.S_ISLNK(status.st_mode):
                content = os.fsencode(os.readlink(path))
            # Directories' own times too: what is made and removed again leaves that trace.
            found[os.path.relpath(path, directory)] = (
                status.st_mode,
                status.st_mtime_ns,
                content,
            )
    found["."] = (0, os.lstat(directory).st_mtime_ns, b"")
    return found


class Ground:
    """The place, made once; ``findings`` says what was touched since."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.chmod(0o755)
        for name in ("bin", "playground", "playground/parts", "notes", "tmp"):
            (place / name).mkdir()
        (place / "notes").chmod(0o777)
        (place / "tmp").chmod(0o1777)
        self._build()
        playground = place / "playground"
        for name in ("out", "dep", "x", "h", "other.c", "specs", "response", "secret", "script"):
            (playground / name).write_text(f"the canary called {name}\n")
        (playground / "specs").write_text(f"*cc1:\n-wrapper {playground}/evil\n\n")
        (playground / "response").write_text(f"-wrapper {playground}/evil")
        (playground / "link").symlink_to("secret")
        for path in (playground, *playground.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o777)
        self._before = snapshot(playground)

    def _build(self) -> None:
        source = self.place / "quick.c"
        source.write_text(_SOURCE)
        jobs = self.place / "tmp" / "pyccd_"
        macros = [f'-DNOTES="{self.place}/notes"', f'-DJOBS="{jobs}"']
        program, plugin = self.place / "bin/quick-gcc", self.place / "playground/evil.so"
        command = ["gcc", "-O1", "-w", *macros, str(source)]
        subprocess.run([*command, "-static", "-o", str(program)], check=True)
        command += ["-DPLUGIN", "-shared", "-fPIC", "-o", str(plugin)]
        subprocess.run(command, check=True)
        source.unlink()
        for name in FORBIDDEN_PROGRAMS:
            shutil.copy(program, self.place / "bin" / name)
        for name in ("evil", *(f"parts/{part}" for part in PARTS)):
            shutil.copy(program, self.place / "playground" / name)

    @property
    def playground(self) -> bytes:
        """Where hostile words point."""
        return os.fsencode(self.place / "playground")

    def findings(self) -> list[str]:
        """What is not as it was."""
        before, now = self._before, snapshot(self.place / "playground")
        names = sorted({*now, *before})
        found = [
            f"touched: playground/{name}" for name in names if now.get(name) != before.get(name)
        ]
        self._before = now
        for path in sorted((self.place / "notes").iterdir()):
            words = " ".join(path.read_text(errors="backslashreplace").splitlines())
            found.append(f"noted: {path.name}: {words}"[:600])
            path.unlink()
        return found
