/*
 * core/sandbox, inside: one process, one thread, one loop, one VM.
 *
 * struct ctr_sandbox holds everything. spec = what sandbox.json asks for; vm = plugin and machine; process = the container's
 * process and its execs; client = one attached raw stream; server = control connections; log, record, console = files in
 * FOLDER. Chunks of output are shared by all clients of a process; the guest's window is given back when the last
 * of them wrote the bytes, so a slow client holds back the guest and memory stays bounded by the windows.
 */
#ifndef CTR_SANDBOX_PRIV_H
#define CTR_SANDBOX_PRIV_H

#include "core/guest/guest.h"
#include "core/sandbox/sandbox.h"

#define CTR_EXIT_FLUSH_MS                                                                      \
    5000 /* clients get this long to take the output before the exit is told */
#define CTR_POWEROFF_MS 10000  /* the VM gets this long to power off by itself */
#define CTR_KILL_GRACE_MS 5000 /* after SIGKILL: then the VM is killed */
#define CTR_CHANNEL_MS 2000    /* channel and VM end together, or the other is ended */
#define CTR_LAST_WORDS_MS 3000 /* clients and subscribers get this long at the very end */
#define CTR_CONNECTIONS_MAX 256
#define CTR_LINE_MAX (1024u * 1024)
#define CTR_NETWORK_MS 5000           /* deadline for a guest to change its network */
#define CTR_REQUEST_MS 10000          /* deadline for a whole request line */
#define CTR_IDLE_MS 60000             /* a connection between two requests */
#define CTR_SUBSCRIBER_MAX (1u << 20) /* unsent bytes of one connection before it is dropped */
#define CTR_EXEC_HISTORY 256
#define CTR_SPEC_MAX (4u * 1024 * 1024)

struct ctr_sandbox;
struct ctr_process;
struct ctr_client;
struct ctr_conn;

/* --- spec.c --- */

struct ctr_spec_attach {
    int fd;
    bool in, out, err;
};

/* What is known of a port when its VM's end was given away. */
struct ctr_spec_port {
    int keep; /* the network's end, for a ctr-net that is started again; -1 */
    bool spare;
};

struct ctr_spec {
    json_t *json; /* owns all strings below */
    const char *id, *plugin, *instance;
    json_t *options;
    struct ctr_machine machine;
    struct ctr_disk *disks;
    struct ctr_port *ports;
    uint8_t (*macs)[6];
    struct ctr_spec_port *kept; /* one for each of them */
    json_t *boot;
    struct ctr_spec_attach *attach;
    size_t n_attach;
    bool tty, open_stdin, stdin_once;
    bool ephemeral; /* the disk goes with the container */
    const char *socket, *run_dir, *log;
    char *console; /* owned */
    int64_t log_size, boot_timeout, stop_timeout;
    int stop_signal;
};
/* Reads FOLDER/sandbox.json. Inherited descriptors become CLOEXEC. */
int ctr_spec_read(const char *folder, struct ctr_spec *ret, struct ctr_error *err);
/* Closes descriptors that nobody took. */
void ctr_spec_finish(struct ctr_spec *spec);

/* --- log.c: the writer --- */

struct ctr_log_writer {
    char *path, *old; /* container.log and container.log.1 */
    int fd;
    int64_t size, limit; /* of the current file, where it is rotated */
    bool broken;         /* a write failed: said once, tried again at the next record */
};
int ctr_log_start(struct ctr_log_writer *log, const char *path, int64_t limit,
                  struct ctr_error *err);
/* Never fails the container: what does not fit on the disk is lost, and the process's own log says so. */
void ctr_log_write(struct ctr_log_writer *log, int stream, const void *bytes, size_t length);
void ctr_log_finish(struct ctr_log_writer *log);

/* Shared by writer and reader: a header's fields; 0, or -EBADMSG. */
struct ctr_log_header {
    int stream;
    uint32_t length;
    int64_t time_ns;
};
#define CTR_LOG_RECORD_MAX 16384
void ctr_log_encode(const struct ctr_log_header *header, uint8_t out[CTR_LOG_HEADER]);
int ctr_log_decode(const uint8_t in[CTR_LOG_HEADER], struct ctr_log_header *ret);
/* Bytes of whole records at the start of the file, reading it through; negative: damaged there (*ret is still set). */
int ctr_log_scan(int fd, int64_t *ret);

/* --- record.c --- */

int ctr_record_state(const char *folder, int64_t started_at, struct ctr_error *err);
int ctr_record_exit(const char *folder, const json_t *exit, struct ctr_error *err);

/* --- console.c --- */

/* The last `max` bytes of the ring as text (control characters and NULs made blank); caller frees; NULL if empty. */
char *ctr_console_tail(const char *path, size_t max);
/* Line that holds `needle`, or with NULL the last line that says something; caller frees; NULL if there is none. */
char *ctr_console_line(const char *path, const char *needle);

/* --- client.c: an attached raw stream --- */

/* A client of the process. fd -1: its connection is not ready yet, output is kept for it; ctr_client_open follows. Takes the fd.
 * `early` bytes were read behind the request. NULL without memory. */
struct ctr_client *ctr_client_create(struct ctr_process *process, int take_fd,
                                     const struct ctr_spec_attach *wants);
/* Gives the held client its connection; `greeting` (may be NULL) goes before all else. Takes the fd. The client may be gone afterwards. */
void ctr_client_open(struct ctr_client *client, int take_fd, const char *greeting,
                     const char *early, size_t n_early);
/* Closes its connection in an orderly way; never inside a callback of another client. Takes NULL. */
void ctr_client_destroy(struct ctr_client *client);
/* Shuts the socket down and drains it before it is closed: the peer reads an end, not a reset. */
void ctr_client_close(int fd);
/* Output for it: written at once or queued. The client may be gone afterwards. */
void ctr_client_push(struct ctr_client *client, int which, const void *bytes, size_t length);
/* All output is out: the client ends when its queue is empty. */
void ctr_client_end(struct ctr_client *client);
/* The process's stdin has room again, or is over. */
void ctr_client_writable(struct ctr_client *client);
bool ctr_client_wants(const struct ctr_client *client, int which);
/* Bytes of that stream that it is done with, counted from the process's start. */
uint64_t ctr_client_done(const struct ctr_client *client, int which);
bool ctr_client_idle(const struct ctr_client *client); /* nothing queued */
/* Its peer closed the connection in both directions. */
bool ctr_client_hung_up(const struct ctr_client *client);
struct ctr_client *ctr_client_next(const struct ctr_client *client);

/* --- process.c --- */

struct ctr_process_stream {
    struct ctr_process *process;
    struct ctr_stream *stream;
    int which;             /* 1 stdout (or the tty), 2 stderr, 0 stdin */
    bool ended;            /* no more bytes will come (or, stdin: go) */
    uint64_t total, given; /* bytes that came, and that the window got back */
};

struct ctr_process {
    struct ctr_sandbox *sandbox;
    struct ctr_process *next;
    char id[130]; /* "init", or the exec's */
    bool is_init, tty, stdin_once;
    bool started, exited, told; /* told: its exit was told to the subscribers */
    bool doomed;                /* the sweep frees it */
    int code;
    bool oom;
    struct ctr_process_stream in, out, err;
    struct ctr_client *clients;
    struct ctr_conn
        *waiting; /* the connection that asked for this exec, until the guest answers */
    struct ctr_client *held; /* its client, if it wants streams */
};

/* Opens the guest streams that are wanted and adds their numbers to `process` ("streams"). */
int ctr_process_create(struct ctr_sandbox *sandbox, const char *id, json_t *process,
                       const struct ctr_spec_attach *wants, bool stdin_once,
                       struct ctr_process **ret, struct ctr_error *err);
struct ctr_process *ctr_process_find(struct ctr_sandbox *sandbox, const char *id);
void ctr_process_destroy(struct ctr_process *process);
/* The guest says that it ended. */
void ctr_process_exited(struct ctr_process *process, int code, bool oom);
/* No more output will come (the channel is over). */
void ctr_process_cut(struct ctr_process *process);
bool ctr_process_drained(const struct ctr_process *process); /* no client has unsent output */
/* Lets the clients go once they have all. */
void ctr_process_end_clients(struct ctr_process *process);
/* Gives the guest the window that all clients are done with. */
void ctr_process_progress(struct ctr_process *process);
/* Looks whether exits can be told, clients ended and finished execs freed; runs on the loop, soon. */
void ctr_sandbox_sweep(struct ctr_sandbox *sandbox);

/* --- exec.c: what a control connection can ask of the guest --- */

void ctr_exec_start(struct ctr_conn *conn, const json_t *request);
void ctr_exec_signal(struct ctr_conn *conn, const json_t *request);
void ctr_exec_resize(struct ctr_conn *conn, const json_t *request);

/* --- ports.c: the network of a running machine --- */

void ctr_ports_list(struct ctr_conn *conn, const json_t *request);
void ctr_ports_take(struct ctr_conn *conn, const json_t *request);
void ctr_ports_network(struct ctr_conn *conn, const json_t *request);

/* --- spare.c --- */

/* Adds `n` ports that no network uses yet to those of the spec, which have room for them. */
int ctr_spare_add(struct ctr_spec *spec, uint32_t n, struct ctr_error *err);

/* --- server.c --- */

struct ctr_server {
    int fd;
    int reserve; /* a descriptor to give up when there are none left */
    struct ctr_watch *watch;
    struct ctr_conn *conns;
    size_t n_conns;
};
/* One control connection. */
struct ctr_conn {
    struct ctr_conn *next;
    struct ctr_sandbox *sandbox;
    int fd;
    struct ctr_watch *watch;
    struct ctr_timer *timer;
    struct ctr_buf in, out;
    bool subscriber;
    bool waiting; /* for the guest's answer */
    bool lost;    /* closed by its peer while waiting */
    struct ctr_process *process;
};

int ctr_server_start(struct ctr_sandbox *sandbox, const char *path, struct ctr_error *err);
/* Adds an open connection that subscribes to events without asking. Takes the fd. */
void ctr_server_adopt(struct ctr_sandbox *sandbox, int take_fd);
void ctr_server_finish(struct ctr_sandbox *sandbox);
/* Sends an event to all subscribers. */
void ctr_server_tell(struct ctr_sandbox *sandbox, const json_t *event);
bool ctr_server_idle(const struct ctr_sandbox *sandbox); /* no subscriber has unsent bytes */
/* Sends one line. False: the connection is gone. */
bool ctr_conn_send(struct ctr_conn *conn, const json_t *json);
/* Answers with a copy of `fd` on the line's first byte. */
void ctr_conn_reply_fd(struct ctr_conn *conn, int fd);
struct ctr_sandbox *ctr_conn_sandbox(struct ctr_conn *conn);
/* Answers and waits for the next request. Takes the reply (NULL: {"ok":{}}). The connection may be gone afterwards. */
void ctr_conn_reply(struct ctr_conn *conn, json_t *take_reply);
void ctr_conn_fail(struct ctr_conn *conn, const char *code, const char *message);
/* Makes the connection the client's raw stream: answers `take_ok`, hands its fd over and is gone. */
void ctr_conn_become_client(struct ctr_conn *conn, struct ctr_client *client, json_t *take_ok);
/* The guest was asked: no deadline until it answers. A lost connection is kept until then; `process` (may be NULL) forgets it at
 * once. */
void ctr_conn_wait(struct ctr_conn *conn, struct ctr_process *process);
/* The guest answered. False: the connection was lost meanwhile and is gone now. */
bool ctr_conn_answered(struct ctr_conn *conn);

/* --- control.c --- */

void ctr_control_dispatch(struct ctr_conn *conn, const char *line, size_t length);
/* Makes it a subscriber: first it is told what has happened before. */
void ctr_control_subscribe(struct ctr_conn *conn);

/* --- vm.c --- */

struct ctr_vm {
    const struct ctr_plugin *plugin;
    struct ctr_vmm_ops ops;
    struct ctr_host *host;
    void *self, *machine;
    struct ctr_vmm_info info;
    bool started, ended;
    uint32_t end;
    char detail[512];
};
/* Loads the plugin and starts the machine. *ret_channel is the caller's. */
int ctr_vm_start(struct ctr_sandbox *sandbox, int *ret_channel, struct ctr_error *err);
void ctr_vm_kill(struct ctr_sandbox *sandbox);
json_t *ctr_vm_stats(struct ctr_sandbox *sandbox, struct ctr_error *err);
int ctr_vm_pause(struct ctr_sandbox *sandbox, bool pause, struct ctr_error *err);
int ctr_vm_set_memory(struct ctr_sandbox *sandbox, int64_t bytes, struct ctr_error *err);
void ctr_vm_finish(struct ctr_sandbox *sandbox);

/* --- the story: main.c starts, life.c hears, end.c ends --- */

enum ctr_phase {
    CTR_BOOTING, /* the machine starts; the boot message is out */
    CTR_RUNNING, /* the container's process runs */
    CTR_EXITED,  /* its end is known; output may still be on its way to clients */
    CTR_ENDING,  /* the end is recorded and told; the VM goes off */
};

struct ctr_sandbox {
    struct ctr_loop *loop;
    const char *folder;
    struct ctr_spec spec;
    struct ctr_vm vm;
    struct ctr_guest *guest;
    bool channel_over;
    char offence[256]; /* what the guest did to the protocol, "" */
    struct ctr_log_writer log;
    struct ctr_server server;
    struct ctr_process *init;
    struct ctr_process *execs;
    size_t n_execs;
    enum ctr_phase phase;
    bool foreign;              /* FOLDER belongs to another sandbox: nothing is written */
    bool killed;               /* the VM was ended on purpose */
    bool stopped, stop_killed; /* a stop has come to SIGKILL */
    bool flushed;              /* clients had their time to take the output */
    json_t *outcome;           /* {"code","reason","error","finished_at"}, from CTR_EXITED on */
    const char *failure;       /* the code name of a start that failed, else NULL */
    json_t *started;           /* the started or failed event, once told */
    json_t *exit;              /* the exit event, once told */
    json_t *history;           /* array of exec-exit events, bounded */
    uint64_t early_signals;    /* asked for before the process ran */
    int early_rows, early_cols; /* the same for the window's size */
    bool sweep_posted;
    struct ctr_timer *boot_timer, *stop_timer, *end_timer, *flush_timer;
};

/* Arms (or re-arms) one of the timers above; cb gets the sandbox. */
void ctr_arm(struct ctr_sandbox *sandbox, struct ctr_timer **timer, uint64_t ms,
             void (*cb)(void *arg));
/* The first caller says how it ended. */
void ctr_end_with(struct ctr_sandbox *sandbox, int code, const char *reason, const char *error);
/* The start failed: subscribers get "failed" instead of "started". */
void ctr_end_start(struct ctr_sandbox *sandbox, const char *code, int exit_code,
                   const char *reason, const char *message);
extern const struct ctr_guest_events ctr_life_events; /* arg: the sandbox */
void ctr_life_on_boot_answer(void *arg, const json_t *ok, const json_t *error);
void ctr_life_on_boot_timeout(void *arg);
/* Sends a signal to a process of the guest, without an answer to anyone. */
void ctr_sandbox_signal(struct ctr_sandbox *sandbox, const char *process, int signal);
void ctr_sandbox_stop(struct ctr_sandbox *sandbox, int signal, int64_t timeout_s);
void ctr_sandbox_kill(struct ctr_sandbox *sandbox);
/* The VM has ended, see sandbox->vm. */
void ctr_sandbox_vm_ended(struct ctr_sandbox *sandbox);
/* The next step of the story, if it is time for one. Called by the sweep. */
void ctr_sandbox_settle(struct ctr_sandbox *sandbox);

/* --- error.c --- */

const char *ctr_code_name(int code);          /* -ENOENT: "ENOENT" */
const char *ctr_known_code(const char *code); /* the same name, static, or "EIO" */
json_t *ctr_error_json(const char *code, const char *message); /* {"error":{…}}, new */
int ctr_exit_code_of(const char *code); /* of a guest's refusal to start: 127, 126 or 125 */

#endif
