/*
 * core/sandbox: ctr-sandbox, the process that owns one VM, its console, logs and exit record. It outlives ctrd.
 *
 * Started as `ctr-sandbox FOLDER` by ctrd, detached (setsid), with descriptor 3 a connected stream socket (control). FOLDER is the container's
 * own folder and holds sandbox.json:
 *
 *   {"id":ID, "vmm":{"plugin":"/abs/vmm-x.so","instance":"default","options":{"key":"text"}},
 *    "machine":{"arch":"amd64","cpus":1,"memory":BYTES,"kernel":PATH,"initramfs":PATH,"cmdline":"…",
 *               "disks":[{path,format,read_only,discard,role,fstype,options,bytes}]},
 *    "ports":[{"kind":1,"fd":4,"keep":5,"mac":"02:…","mtu":1500}],               fd numbers are inherited descriptors; keep: the network's end, held as long as the VM runs
 *    "spare_ports":2,                                                            further ones, with both ends made here, for networks that the running machine joins:
 *                                                                                kind 1, hardware address 02:fe:00:00:00:00 and up
 *    "boot":{…the boot request without id, op, protocol, time_ns, seed, disks' devices and the process's streams…},
 *    "open_stdin":true, "stdin_once":true,                                       without open_stdin the process reads /dev/null
 *    "attach":[{"fd":5,"stdin":true,"stdout":true,"stderr":true}],               clients that attached before the start
 *    "socket":"/run/…/s/ID.sock", "run_dir":…, "log":"FOLDER/container.log", "log_size":BYTES, "console_size":BYTES,
 *    "boot_timeout":SECONDS, "stop_signal":15, "stop_timeout":SECONDS,
 *    "ephemeral":true}                                                           the disk goes with the container (--rm)
 *
 * An ephemeral machine is not powered off but ended, once its process has ended by itself and all output is out: nobody will look at its disk.
 *
 * It writes into FOLDER: container.log (and .1), console.ring, state.json {"pid","start_time","started_at"} and, exactly once, exit.json {"code","reason","error",
 * "finished_at"}; reason: exited, killed, oom, panic, vmm-lost, boot-failed. All atomically and durably. state.json is there before the boot, with started_at 0.
 * The records of an earlier run are removed at the start, once `socket` is ours. The code is 125 to 127 when nothing ran, 255 when the VM was lost, 137 when it was killed.
 *
 * It listens on `socket`. A connection sends one JSON line; descriptor 3 acts as one that has sent {"op":"events"}:
 *
 *   {"op":"events"}  -> lines {"event":"started","pid":P,"started_at":NS,"vmm":"qemu 7.2","accel":"tcg","hardware":false}
 *                             {"event":"failed","error":{"code":"ENOENT","message":"…"},"exit":127}   instead of started; exit.json has it too
 *                             {"event":"exit","code":N,"reason":"exited","error":"","finished_at":NS}
 *                             {"event":"exec-exit","exec":EID,"code":N}
 *                       and the end of the stream when VM and process are gone. What has happened before is told first.
 *   {"op":"attach","stdin":B,"stdout":B,"stderr":B}  -> {"ok":{"tty":B}} and then a raw stream, see below
 *   {"op":"exec","exec":EID,"process":PROCESS,"stdin":B,"stdout":B,"stderr":B}  -> {"ok":{"pid":N}} or an error, then a raw stream; without any of the three: the end
 *   {"op":"signal","exec":""|EID,"signal":N} {"op":"resize","exec":""|EID,"rows":R,"cols":C} {"op":"stats"} -> {"ok":{…}}
 *   {"op":"stop","signal":N,"timeout":SECONDS}   -> {"ok":{}} at once; the exit event follows for certain: signal, after timeout SIGKILL, after 5 s more the VM is killed
 *   {"op":"kill"}                                -> {"ok":{}} the VM is ended at once
 *   {"op":"ports"}                               -> {"ok":{"ports":[{"hardware":"02:…","kind":1,"mtu":N,"spare":B}]}}, in the order of the machine's interfaces
 *   {"op":"port","hardware":"02:…"}              -> {"ok":{}} with a copy of that port's network end as SCM_RIGHTS on the first byte
 *   {"op":"network","network":{…}}               -> {"ok":{}} when the guest has set its interfaces and names so (guest/PROTOCOL.guest.md, network)
 *   {"op":"pause"} {"op":"resume"} {"op":"memory","bytes":N}  -> {"ok":{}}, or ENOTSUP by the plugin's name
 *   signal and resize of the container's process are kept while it boots. stats: {"pid","memory_host","memory_guest","cpu_ns"}. Of ended execs the last 256 are told.
 *   Errors: {"error":{"code":"ESRCH","message":"…"}}.
 *
 * Raw stream: client to process: bytes; a half-close (shutdown) ends stdin if `stdin` was asked for and stdin_once is set (an exec: always), but never that of a terminal. Process to client: with a tty raw bytes,
 * else Docker's frames: { stream 1|2, 0, 0, 0, length u32 big-endian } payload. The end of the stream: all output was sent and the process ended.
 * A slow client holds back the guest, nobody else.
 *
 * container.log: records { u8 stream 1|2, u8 0, u16 0, u32 length, u64 time in ns }, all big-endian, then the bytes; at most 16 KiB each. Over log_size/2 the file becomes
 * container.log.1. A cut last record is ignored.
 */
#ifndef CTR_SANDBOX_H
#define CTR_SANDBOX_H

#include "core/plugin/plugin.h"

#define CTR_LOG_HEADER 16
#define CTR_PORTS_MAX 16 /* of a machine, spare ones among them */

/* The whole process: returns its exit status. */
int ctr_sandbox_main(const char *folder);

/* Reading a container's log, for ctrd. */
struct ctr_log_record {
    int stream; /* 1 or 2 */
    int64_t time_ns;
    const char *bytes; /* valid until the next call */
    size_t length;
};
struct ctr_log_reader;
/* Starts at the oldest record, or so that about `tail` lines remain (-1: all). */
int ctr_log_open(const char *folder, int64_t tail, struct ctr_log_reader **ret,
                 struct ctr_error *err);
/* 1: a record; 0: none yet (call again when the container wrote more; follows rotation); negative: damaged. */
int
ctr_log_next(struct ctr_log_reader *reader, struct ctr_log_record *ret, struct ctr_error *err);
int ctr_log_fd(
    const struct ctr_log_reader *
        reader); /* an inotify or kqueue fd that is readable when there may be more; -1 if none */
void ctr_log_close(struct ctr_log_reader *reader);

#endif
