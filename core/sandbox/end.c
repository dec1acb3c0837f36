/*
 * The end of the story: the outcome is set once, by whoever is first; then, in this order, output goes to the clients (who have
 * 5 s), exit.json is written durably, the event is told, streams are closed, the machine goes off by itself within
 * 10 s or is killed (at once if nothing in it is wanted), and when the last words are out the loop stops.
 */
#include "core/sandbox/sandbox-priv.h"

void
ctr_arm(struct ctr_sandbox *sandbox, struct ctr_timer **timer, uint64_t ms,
        void (*cb)(void *arg))
{
    ctr_timer_remove(*timer);
    *timer = ctr_timer_add(sandbox->loop, ms, cb, sandbox);
}

/* The first caller says how it ended. */
void
ctr_end_with(struct ctr_sandbox *sandbox, int code, const char *reason, const char *error)
{
    if (sandbox->phase >= CTR_EXITED) {
        return;
    }
    sandbox->phase = CTR_EXITED;
    sandbox->outcome = json_pack("{s:i, s:s, s:s, s:I}", "code", code, "reason", reason,
                                 "error", error, "finished_at", (json_int_t) ctr_now_ns());
    ctr_sandbox_sweep(sandbox);
}

/* The start failed: subscribers get "failed" instead of "started". */
void
ctr_end_start(struct ctr_sandbox *sandbox, const char *code, int exit_code, const char *reason,
              const char *message)
{
    if (sandbox->phase == CTR_BOOTING) {
        sandbox->failure = ctr_known_code(code);
        ctr_end_with(sandbox, exit_code, reason, message);
        if (sandbox->init != NULL) {
            ctr_process_exited(sandbox->init, exit_code, false);
            sandbox->init->out.ended = sandbox->init->err.ended = true;
        }
    }
}

static void
on_end_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    if (sandbox->vm.started && !sandbox->vm.ended) {
        ctr_log(CTR_LEVEL_WARN, "id=%.12s msg=\"the machine did not go off, killing it\"",
                sandbox->spec.id);
        ctr_vm_kill(sandbox);
        ctr_arm(sandbox, &sandbox->end_timer, CTR_LAST_WORDS_MS, on_end_timeout);
        if (sandbox->killed) {
            ctr_loop_stop(sandbox->loop);
        }
        sandbox->killed = true;
        return;
    }
    ctr_loop_stop(sandbox->loop);
}

static json_t *
outcome_event(const struct ctr_sandbox *sandbox)
{
    if (sandbox->failure != NULL) {
        return json_pack("{s:s, s:{s:s, s:O}, s:O}", "event", "failed", "error", "code",
                         sandbox->failure, "message",
                         json_object_get(sandbox->outcome, "error"), "exit",
                         json_object_get(sandbox->outcome, "code"));
    }
    json_t *event = json_pack("{s:s}", "event", "exit");
    if (event != NULL && json_object_update(event, sandbox->outcome) < 0) {
        json_decref(event);
        return NULL;
    }
    return event;
}

/* Whether there is nothing in the machine to wait for. A disk that goes with its container need not be written out, unless
 * somebody stopped the container: then it may be for a restart. Execs are given the time to tell their own ends. */
static bool
ends_at_once(const struct ctr_sandbox *sandbox)
{
    bool unwanted = sandbox->spec.ephemeral && !sandbox->stopped && sandbox->execs == NULL;
    return sandbox->failure != NULL || sandbox->killed || unwanted;
}

/* Records the end, tells it, closes the streams, lets the machine go. */
static void
conclude(struct ctr_sandbox *sandbox)
{
    struct ctr_error err = CTR_ERROR_INIT;
    sandbox->phase = CTR_ENDING;
    bool off_now = ends_at_once(sandbox);
    if (off_now) {
        ctr_vm_kill(sandbox); /* first: it ends while the record is written */
    }
    if (sandbox->foreign) {
        ctr_log(CTR_LEVEL_ERROR, "folder=%s error=\"another ctr-sandbox has it\"",
                sandbox->folder);
    } else if (sandbox->outcome == NULL ||
               ctr_record_exit(sandbox->folder, sandbox->outcome, &err) < 0) {
        ctr_log(CTR_LEVEL_ERROR, "id=%.12s error=\"the exit could not be recorded: %s\"",
                sandbox->spec.id == NULL ? "" : sandbox->spec.id, err.msg);
    }
    json_t *event = outcome_event(sandbox);
    if (event != NULL) {
        ctr_server_tell(sandbox, event);
    }
    if (sandbox->failure != NULL) {
        json_decref(sandbox->started);
        sandbox->started = event;
    } else {
        sandbox->exit = event;
    }
    ctr_timer_remove(ctr_steal(&sandbox->boot_timer));
    ctr_timer_remove(ctr_steal(&sandbox->stop_timer));
    ctr_timer_remove(ctr_steal(&sandbox->flush_timer));
    ctr_arm(sandbox, &sandbox->end_timer, off_now ? CTR_LAST_WORDS_MS : CTR_POWEROFF_MS,
            on_end_timeout);
    if (sandbox->init != NULL) {
        sandbox->init->told = true;
        ctr_process_end_clients(sandbox->init);
    }
    ctr_sandbox_sweep(sandbox);
}

static void
on_flush_timeout(void *arg)
{
    struct ctr_sandbox *sandbox = arg;
    sandbox->flushed = true;
    ctr_sandbox_sweep(sandbox);
}

static bool
output_is_out(struct ctr_sandbox *sandbox)
{
    struct ctr_process *init = sandbox->init;
    if (init == NULL || sandbox->flushed) {
        return true;
    }
    if (sandbox->flush_timer == NULL) {
        ctr_arm(sandbox, &sandbox->flush_timer, CTR_EXIT_FLUSH_MS, on_flush_timeout);
    }
    return init->out.ended && init->err.ended && ctr_process_drained(init);
}

static void
settle_ending(struct ctr_sandbox *sandbox)
{
    if (sandbox->init != NULL) {
        ctr_process_end_clients(sandbox->init);
    }
    if (sandbox->vm.started && !sandbox->vm.ended) {
        return;
    }
    bool clients =
        sandbox->execs != NULL || (sandbox->init != NULL && sandbox->init->clients != NULL);
    if (!clients && ctr_server_idle(sandbox)) {
        ctr_loop_stop(sandbox->loop);
    }
}

void
ctr_sandbox_settle(struct ctr_sandbox *sandbox)
{
    if (sandbox->phase == CTR_EXITED && output_is_out(sandbox)) {
        conclude(sandbox);
    } else if (sandbox->phase == CTR_ENDING) {
        settle_ending(sandbox);
    }
}
