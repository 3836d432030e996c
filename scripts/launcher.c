/* The launcher: what the lines for sh in bin/brokerctl do, without a shell. In a platform wheel it is
 * bin/brokerctl and, compiled with HELPER as the name of a tool, each of the scripts beside that.
 *
 * Security: the one program that it runs is the interpreter beside its own file. What it was called
 * (argv[0]) counts for nothing, no variable steers it, and it needs neither libc nor allocated memory.
 * scripts/platform_wheels.py compiles it, tests/scripts/test_launcher.py tests it.
 */

enum {
    HERE = -100,     /* AT_FDCWD */
    MAX_PATH = 4096, /* PATH_MAX, with the NUL */
    MAX_LINKS = 40,
    MAX_MESSAGE = 4 * MAX_PATH
};

/* What the kernel tells a program of its start (linux/auxvec.h), and errors (asm-generic/errno.h). */
enum { UID = 11, EUID = 12, GID = 13, EGID = 14, IS_SECURE = 23, FILE_NAME = 31, KINDS = 32 };
enum { NOT_FOUND = 2, TOO_BIG = 7, DENIED = 13, NO_FOLDER = 20, NO_LINK = 22, TOO_LONG = 36, LOOP = 40 };

/* The start leaves room between argv and the stack of launch(), which puts words there. */
#if defined(__x86_64__)
enum { WRITE = 1, EXECVE = 59, SETRESUID = 117, SETRESGID = 119, EXIT = 231, READLINK = 267 };
__asm__(".globl _start\n_start:\n"
        "xor %ebp, %ebp\nmov %rsp, %rdi\nsub $128, %rsp\nand $-16, %rsp\ncall launch\n");

static long call(long number, long a, const void *b, const void *c, long d)
{
    register long fourth __asm__("r10") = d;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(fourth)
                     : "rcx", "r11", "memory");
    return number;
}
#elif defined(__aarch64__)
enum { WRITE = 64, READLINK = 78, EXIT = 94, SETRESUID = 147, SETRESGID = 149, EXECVE = 221 };
__asm__(".globl _start\n_start:\n"
        "mov x29, xzr\nmov x30, xzr\nmov x0, sp\nsub sp, sp, #128\nbl launch\n");

static long call(long number, long a, const void *b, const void *c, long d)
{
    register long name __asm__("x8") = number, first __asm__("x0") = a, fourth __asm__("x3") = d;
    register const void *second __asm__("x1") = b, *third __asm__("x2") = c;
    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(name), "r"(second), "r"(third), "r"(fourth)
                     : "memory");
    return first;
}
#else
#error "the launcher is for x86_64 and aarch64; bin/brokerctl is for all"
#endif

static long known[KINDS];
static char called[2 + MAX_PATH], real[MAX_PATH], target[MAX_PATH];
static char program[MAX_PATH], python[MAX_PATH], script[MAX_PATH], message[MAX_MESSAGE];

/* Puts a text into the message. What a terminal or a log may take for more than text is escaped. */
static char *put(char *end, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    for (; *text && end < message + MAX_MESSAGE - 64; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < ' ' || byte > '~') {
            *end++ = '\\', *end++ = 'x', *end++ = digits[byte / 16], byte = digits[byte % 16];
        }
        *end++ = (char)byte;
    }
    return end;
}

static const char *say(long error)
{
    static char number[10];
    switch (error) {
        case NOT_FOUND: return "no such file or directory";
        case TOO_BIG: return "argument list too long";
        case DENIED: return "permission denied";
        case TOO_LONG: return "file name too long";
        case LOOP: return "too many levels of symbolic links";
    }
    const char *text = "error ";
    for (char *end = number; (*end = *text); end++) text++;
    for (long at = 8, rest = error; at > 5; at--, rest /= 10) number[at] = (char)('0' + rest % 10);
    return number;
}

/* Ends with a line of ours, and with the exit code that a shell has for what it can't run. */
static __attribute__((noreturn)) void fail(const char *path, long error)
{
    int is_missing = error == NOT_FOUND || error == NO_FOLDER || error == TOO_LONG || error == LOOP;
    char *end = put(message, "brokerctl: error: can't start '");
    end = put(put(end, path), "': ");
    for (const char *text = say(error); *text; text++) *end++ = *text;
    *end++ = '\n';
    call(WRITE, 2, message, (const void *)(end - message), 0);
    for (;;) call(EXIT, is_missing ? 127 : 126, 0, 0, 0);
}

/* Puts the path of `name` beside `file`; where `file` has no folder, the name alone. */
static const char *join(char *into, const char *file, const char *name)
{
    long end = 0;
    for (long at = 0; file[at]; at++)
        if (file[at] == '/') end = at + 1;
    if (end >= MAX_PATH) fail(file, TOO_LONG);
    for (long at = 0; at < end; at++) into[at] = file[at];
    do {
        if (end == MAX_PATH) into[end - 1] = 0, fail(into, TOO_LONG);
    } while ((into[end++] = *name++));
    return into;
}

/* Reads a link; returns 0 or an error, NO_LINK for a file. */
static long read_link(const char *path, char *into)
{
    long length = call(READLINK, HERE, path, into, MAX_PATH);
    if (length < 0) return -length;
    if (length == MAX_PATH) return TOO_LONG;
    into[length] = 0;
    return 0;
}

/* Returns the path of the launcher's own file, from the path that it was started by. Links to that
 * file are followed, by the kernel or, without /proc, here. Folders that are links stay as they are:
 * an installation may be found through one, and that is the name which others should learn. */
static const char *find_file(const char *path)
{
    if (read_link(path, target) == NO_LINK) return path;
    if (!read_link("/proc/self/exe", real) && real[0] == '/') return real;
    join(real, "", path);
    for (int links = 0; links <= MAX_LINKS; links++) {
        long error = read_link(real, target);
        if (error == NO_LINK) return real;
        if (error) fail(real, error);
        join(real, target[0] == '/' ? "" : real, target);
    }
    fail(path, LOOP);
}

/* Returns the path as one that is no option and no bare name, neither to us nor to Python. */
static const char *as_path(const char *path)
{
    int has_folder = 0;
    for (long at = 0; path[at]; at++) has_folder |= path[at] == '/';
    if (!path[0] || (has_folder && path[0] != '-')) return path;
    called[0] = '.', called[1] = '/';
    join(called + 2, "", path);
    return called;
}

static int begins(const char *text, const char *with)
{
    while (*with && *text == *with) text++, with++;
    return !*with;
}

/* Security: `-I` heeds the first two, and our packages would be sought beside them. The others are
 * what the dynamic loader of a shell takes away in a program whose rights are not its caller's. */
static int is_unwanted(const char *variable, int is_secure)
{
    if (begins(variable, "PYTHONEXECUTABLE=") || begins(variable, "__PYVENV_LAUNCHER__=")) return 1;
    if (!is_secure) return 0;
    return begins(variable, "LD_") || begins(variable, "GCONV_PATH=") || begins(variable, "GLIBC_TUNABLES=");
}

/* The stack of a start: argc, argv, NULL, environ, NULL, and what the kernel tells, by kind. */
__attribute__((noreturn, used)) void launch(const char **stack)
{
    long count = (long)stack[0];
    const char **words = stack + 1, **environ = words + count + 1, **kept = environ, **end = environ;
    while (*end) end++;
    for (long *pair = (long *)(end + 1); pair[0]; pair += 2)
        if (pair[0] > 0 && pair[0] < KINDS) known[pair[0]] = pair[1];

    /* Security: a script's mode gives nobody rights, and a shell drops those that are not its caller's. */
    if (known[UID] != known[EUID] || known[GID] != known[EGID]) {
        long uid = known[UID], gid = known[GID];
        long error = call(SETRESGID, gid, (const void *)gid, (const void *)gid, 0);
        if (!error) error = call(SETRESUID, uid, (const void *)uid, (const void *)uid, 0);
        if (error) fail("brokerctl", -error);
    }
    for (const char **each = environ; *each; each++)
        if (!is_unwanted(*each, known[IS_SECURE] != 0)) *kept++ = *each;
    *kept = 0;

    const char *path = as_path(known[FILE_NAME] ? (const char *)known[FILE_NAME] : "");
    const char *file = find_file(path);
    join(python, file, "python");
    join(script, file, "../libexec/brokerctl/start.py");
    long error = read_link(script, target);
    if (error && error != NO_LINK) fail(script, error);

    /* Before what the caller said, its own name left out, where there is one. */
    words += count > 0;
#ifdef HELPER
    *--words = HELPER;
    *--words = "helper";
    *--words = join(program, file, "brokerctl");
#else
    *--words = path[0] ? path : join(program, file, "brokerctl");
#endif
    *--words = script;
    *--words = "-IS";
    *--words = "utf8";
    *--words = "-X";
    *--words = python;
    error = -call(EXECVE, (long)python, words, environ, 0);
    if (error == NOT_FOUND || error == NO_FOLDER || error == DENIED || error == LOOP) {
        join(python, file, "python3"); /* some environments have only the longer name */
        error = -call(EXECVE, (long)python, words, environ, 0);
    }
    fail(python, error);
}
