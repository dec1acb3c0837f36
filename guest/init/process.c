/*
 * process.c: the table of processes. See process.h.
 *
 * Life of an entry: made by process_start, which clones; `started` when the status socket closed without a fault; `exited` when it
 * was reaped; gone when also its output is over. The reply to the host goes out once, at the first of the first three.
 */
#include "process.h"
#include "control.h"
#include "pump.h"
#include "root.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES_MAX 512
#define PIPE_SIZE (256 * 1024) /* fewer turns between the process and us */

struct process {
    struct watch status; /* first member */
    struct process *next;
    char id[129];
    pid_t pid;
    json_int_t request;
    struct pump in, out, err;
    int open_outputs;
    int master; /* a terminal's, for resize; -1 */
    bool tty, first, answered, started, exited;
    int wait_status;
    bool oom;
};

static struct process *processes;
static unsigned count;

static struct process *
find(const char *id)
{
    struct process *process = processes;
    while (process != NULL && strcmp(process->id, id) != 0) {
        process = process->next;
    }
    return process;
}

/* --- the end --- */

static void
let_go(struct pump *pump)
{
    watch_close(&pump->watch);
    if (pump->stream != NULL && pump->stream->owner == pump->owner) {
        mux_release(pump->stream);
    }
    pump->stream = NULL;
}

static void
forget(struct process *process)
{
    struct process **link = &processes;
    while (*link != process) {
        link = &(*link)->next;
    }
    *link = process->next;
    count--;
    bool one = process->in.stream == process->out.stream;
    let_go(&process->out);
    let_go(&process->err);
    if (one) {
        watch_close(&process->in.watch);
    } else {
        let_go(&process->in);
    }
    watch_close(&process->status);
    if (process->master >= 0) {
        (void) close(process->master);
    }
    free(process);
}

/* When both the process and its output are over, the host hears of it. */
static void
settle(struct process *process)
{
    if (!process->exited || process->open_outputs > 0) {
        return;
    }
    if (process->out.stream != NULL) {
        stream_finish(process->out.stream);
    }
    bool first = process->first, started = process->started;
    if (started) {
        int status = process->wait_status;
        int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        control_exited(process->id, number > 0 ? 128 + number : WEXITSTATUS(status), number,
                       process->oom);
    }
    forget(process);
    if (first && started) {
        control_init_ended();
    }
}

static void
output_done(struct pump *pump)
{
    struct process *process = pump->owner;
    if (!process->tty) {
        stream_finish(pump->stream);
    }
    process->open_outputs--;
    settle(process);
}

/* Input is over: the host finished, or the process closed it. The stream itself is let go with the process, or now if the host
 * still wants to send. */
static void
input_done(struct pump *pump)
{
    struct process *process = pump->owner;
    if (!process->tty) {
        struct stream *stream = pump->stream;
        pump->stream = NULL;
        mux_release(stream);
    }
}

/* --- the beginning --- */

static void
stream_readable(struct stream *stream)
{
    struct process *process = stream->owner;
    if (process->in.stream == stream && process->in.watch.fd >= 0) {
        if (process->tty && stream->in.length == 0) {
            return; /* the end of input does not hang up a terminal */
        }
        pump_in_step(&process->in);
    } else if (process->in.stream != stream && stream->in.length > 0) {
        stream_take(stream, stream->in.length); /* nobody reads from an output stream */
    }
}

static void
stream_writable(struct stream *stream)
{
    struct process *process = stream->owner;
    pump_out_step(process->out.stream == stream ? &process->out : &process->err);
}

static int
claim(struct process *process, struct pump *pump, uint32_t id, struct fault *fault)
{
    pump->watch.fd = -1;
    pump->owner = process;
    if (id == 0) {
        return 0;
    }
    struct stream *stream = mux_find(id);
    if (stream == NULL || id == CTR_CONTROL_STREAM || stream->owner != NULL) {
        return fault_set(fault, "EINVAL", "stream %u is not open, or in use", id);
    }
    stream->owner = process;
    stream->readable = stream_readable;
    pump->stream = stream;
    return 0;
}

static int
claim_all(struct process *process, const struct spec *spec, struct fault *fault)
{
    process->in.done = input_done;
    process->out.done = process->err.done = output_done;
    process->in.watch.fd = process->out.watch.fd = process->err.watch.fd = -1;
    if (spec->tty && (spec->in != spec->out || spec->in == 0 || spec->err != 0)) {
        return fault_set(fault, "EINVAL", "a terminal needs one stream for input and output");
    }
    if (claim(process, &process->in, spec->in, fault) < 0) {
        return -1;
    }
    if (spec->tty) {
        process->out.owner = process;
        process->out.stream = process->in.stream;
        return 0;
    }
    return claim(process, &process->out, spec->out, fault) < 0
               ? -1
               : claim(process, &process->err, spec->err, fault);
}

static void
answer(struct process *process, const struct fault *fault)
{
    if (!process->answered) {
        process->answered = true;
        control_answer_pid(process->request, process->pid, fault);
    }
}

static void
adopt_terminal(struct process *process, int take_master)
{
    (void) fcntl(take_master, F_SETFL, O_NONBLOCK);
    process->master = take_master;
    int in = fcntl(take_master, F_DUPFD_CLOEXEC, 3);
    int out = fcntl(take_master, F_DUPFD_CLOEXEC, 3);
    struct stream *stream = process->out.stream;
    if (in < 0 || out < 0 || pump_start_out(&process->out, out) < 0) {
        note("process %.16s: no terminal", process->id);
        return;
    }
    (void) pump_start_in(&process->in, in);
    process->open_outputs = 1;
    stream->writable = stream_writable;
    stream_readable(stream);
}

/* What the child says: a fault, a terminal, or by the end of file that it has executed. */
static void
status_ready(struct watch *watch, uint32_t events)
{
    struct process *process = (struct process *) watch;
    struct fault fault;
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = &fault, .iov_len = sizeof fault};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    ssize_t n = recvmsg(watch->fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header != NULL && header->cmsg_type == SCM_RIGHTS) {
        int master;
        memcpy(&master, CMSG_DATA(header), sizeof master);
        adopt_terminal(process, master);
        return;
    }
    if (n == (ssize_t) sizeof fault) {
        fault.code[sizeof fault.code - 1] = fault.message[sizeof fault.message - 1] = '\0';
        answer(process, &fault);
        process->id[0] = '\0'; /* its name is free before it is reaped */
    } else if (!process->answered) {
        process->started = true;
        answer(process, NULL);
        if (process->first) {
            root_settled();
        }
    }
    watch_close(watch);
}

/* One end for the child, one for a pump; /dev/null without a stream. */
static int
make_pipe(struct pump *pump, bool out, int *ret_child)
{
    int ends[2];
    if (pump->stream == NULL) {
        *ret_child = open("/dev/null", O_RDWR | O_CLOEXEC);
        return *ret_child < 0 ? -1 : 0;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return -1;
    }
    *ret_child = out ? ends[1] : ends[0];
    int ours = out ? ends[0] : ends[1];
    (void) fcntl(ours, F_SETFL, O_NONBLOCK);
    (void) fcntl(ours, F_SETPIPE_SZ, PIPE_SIZE);
    return out ? pump_start_out(pump, ours) : pump_start_in(pump, ours);
}

static int
make_pipes(struct process *process, int stdio[3])
{
    if (process->tty) {
        return 0;
    }
    if (make_pipe(&process->in, false, &stdio[0]) < 0 ||
        make_pipe(&process->out, true, &stdio[1]) < 0 ||
        make_pipe(&process->err, true, &stdio[2]) < 0) {
        return -1;
    }
    struct pump *outputs[2] = {&process->out, &process->err};
    for (int i = 0; i < 2; i++) {
        if (outputs[i]->stream != NULL) {
            outputs[i]->stream->writable = stream_writable;
            process->open_outputs++;
        }
    }
    return 0;
}

static int
launch(struct process *process, const struct spec *spec, struct fault *fault)
{
    int stdio[3] = {-1, -1, -1}, status[2] = {-1, -1};
    pid_t pid = -1;
    if (make_pipes(process, stdio) == 0 &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) == 0) {
        pid = root_clone(spec->first);
        if (pid == 0) {
            child_main(spec, stdio, status[1]);
        }
    }
    if (pid < 0) {
        (void) fault_errno(fault, "EIO", "start a process");
    }
    for (int i = 0; i < 3; i++) {
        if (stdio[i] >= 0) {
            (void) close(stdio[i]);
        }
    }
    if (status[1] >= 0) {
        (void) close(status[1]);
    }
    process->status = (struct watch){.fd = status[0], .ready = status_ready};
    process->pid = pid;
    return pid < 0 ? -1 : watch_set(&process->status, EPOLLIN);
}

int
process_start(const char *id, const json_t *description, json_int_t request,
              struct fault *fault)
{
    struct spec spec;
    if (*id == '\0' || strlen(id) >= sizeof processes->id || find(id) != NULL) {
        return fault_set(fault, "EINVAL", "the process id is empty, too long or in use");
    }
    if (count >= PROCESSES_MAX) {
        return fault_set(fault, "EAGAIN", "too many processes (%d)", PROCESSES_MAX);
    }
    if (spec_parse(description, &spec, fault) < 0) {
        return -1;
    }
    spec.first = strcmp(id, "init") == 0;
    struct process *process = calloc(1, sizeof *process);
    if (process == NULL) {
        spec_free(&spec);
        return fault_set(fault, "ENOMEM", "out of memory");
    }
    (void) snprintf(process->id, sizeof process->id, "%s", id);
    process->request = request;
    process->first = spec.first;
    process->tty = spec.tty;
    process->master = process->status.fd = -1;
    process->next = processes;
    processes = process;
    count++;
    int result = claim_all(process, &spec, fault);
    if (result == 0) {
        result = launch(process, &spec, fault);
    }
    spec_free(&spec);
    if (result < 0) {
        forget(process);
        return -1;
    }
    if (process->in.watch.fd >= 0) {
        stream_readable(process->in.stream); /* what came early */
    }
    return 0;
}

/* --- the rest --- */

static void
ended(struct process *process, int wait_status)
{
    for (int i = 0; i < 3 && process->status.fd >= 0; i++) { /* terminal, fault, end */
        status_ready(&process->status, EPOLLIN);
    }
    watch_close(&process->status);
    process->exited = true;
    process->wait_status = wait_status;
    process->oom = WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL && root_oom();
    if (process->first && !root_is_private) {
        (void) process_kill_all(); /* a pid namespace would do it */
    }
    process->open_outputs++; /* keeps it while both drain */
    pump_drain(&process->out);
    pump_drain(&process->err);
    process->open_outputs--;
    settle(process);
}

void
process_reap(void)
{
    int wait_status;
    pid_t pid;
    while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        struct process *process = processes;
        while (process != NULL && (process->pid != pid || process->exited)) {
            process = process->next;
        }
        if (process != NULL) {
            ended(process, wait_status);
        }
    }
}

bool
process_runs(const char *id)
{
    const struct process *process = find(id);
    return process != NULL && process->started && !process->exited;
}

int
process_signal(const char *id, int number, struct fault *fault)
{
    struct process *process = find(id);
    if (process == NULL || process->exited) {
        return fault_set(fault, "ESRCH", "process %.128s does not run", id);
    }
    /* Not reaped yet, so the number is still its own. */
    if (kill(process->pid, number) < 0) {
        return fault_errno(fault, errno == EINVAL ? "EINVAL" : "ESRCH", "signal %d", number);
    }
    return 0;
}

int
process_resize(const char *id, unsigned rows, unsigned cols, struct fault *fault)
{
    struct process *process = find(id);
    struct winsize size = {.ws_row = (unsigned short) rows, .ws_col = (unsigned short) cols};
    if (process == NULL) {
        return fault_set(fault, "ESRCH", "process %.128s does not run", id);
    }
    if (process->master < 0 || ioctl(process->master, TIOCSWINSZ, &size) < 0) {
        return fault_set(fault, "ENOTTY", "process %.128s has no terminal", id);
    }
    return 0;
}

bool
process_kill_all(void)
{
    bool any = false;
    for (struct process *process = processes; process != NULL; process = process->next) {
        if (!process->exited && process->pid > 1) {
            any = true;
            /* Its whole session in the fake; in a VM the end of the first one takes all. */
            (void) kill(root_is_private ? process->pid : -process->pid, SIGKILL);
            (void) kill(process->pid, SIGKILL);
        } else if (!root_is_private && process->pid > 1) {
            (void) kill(-process->pid, SIGKILL);
        }
    }
    return any;
}

bool
process_any(void)
{
    return processes != NULL;
}
