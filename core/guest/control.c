/*
 * Stream 1: requests to the guest, its replies and events. The first message must be the guest's hello with our protocol version.
 * A message is at most CTR_CONTROL_MAX bytes; what cannot be framed or parsed ends the channel.
 */
#include "core/guest/guest-priv.h"

/* --- requests --- */

static void
send_requests(struct ctr_guest *guest)
{
    if (guest->requests.length > 0 && guest->control != NULL) {
        size_t n =
            ctr_stream_write(guest->control, guest->requests.data, guest->requests.length);
        ctr_buf_consume(&guest->requests, n);
    }
}

static int
queue_request(struct ctr_guest *guest, const char *text, struct ctr_error *err)
{
    size_t n = strlen(text);
    uint8_t length[4] = {(uint8_t) (n >> 24), (uint8_t) (n >> 16), (uint8_t) (n >> 8),
                         (uint8_t) n};
    if (n > CTR_CONTROL_MAX) {
        return ctr_fail(err, -EMSGSIZE,
                        "the request to the guest is %zu bytes long, at most %u are possible; "
                        "use fewer or shorter arguments and variables",
                        n, CTR_CONTROL_MAX);
    }
    if (guest->requests.length + n > CTR_GUEST_REQUESTS) {
        return ctr_fail(err, -EAGAIN, "the guest does not read its requests");
    }
    ctr_buf_add(&guest->requests, length, sizeof length);
    ctr_buf_add(&guest->requests, text, n);
    if (guest->requests.failed) {
        ctr_guest_end(guest, "out of memory");
        return ctr_fail(err, -ENOMEM, "out of memory");
    }
    return 0;
}

int
ctr_guest_request(struct ctr_guest *guest, const json_t *request,
                  void (*reply)(void *arg, const json_t *ok, const json_t *error), void *arg,
                  struct ctr_error *err)
{
    if (guest->over) {
        return ctr_fail(err, -EPIPE, "the guest's channel is closed");
    }
    CTR_AUTO(json) json_t *message = json_copy((json_t *) request);
    struct ctr_request *entry = calloc(1, sizeof *entry);
    json_int_t id = ++guest->next_request;
    char *text = NULL;
    if (message != NULL && entry != NULL &&
        json_object_set_new(message, "id", json_integer(id)) == 0) {
        text = ctr_json_text(message);
    }
    int code = text == NULL ? ctr_fail(err, -ENOMEM, "out of memory")
                            : queue_request(guest, text, err);
    free(text);
    if (code < 0) {
        free(entry);
        return code;
    }
    *entry = (struct ctr_request){guest->waiting, id, reply, arg};
    guest->waiting = entry;
    send_requests(guest);
    return 0;
}

/* Takes the entry out; NULL if there is none. The caller frees it. */
static struct ctr_request *
take_request(struct ctr_guest *guest, json_int_t id)
{
    struct ctr_request **link = &guest->waiting;
    while (*link != NULL && (*link)->id != id) {
        link = &(*link)->next;
    }
    struct ctr_request *entry = *link;
    if (entry != NULL) {
        *link = entry->next;
    }
    return entry;
}

void
ctr_control_fail_all(struct ctr_guest *guest)
{
    CTR_AUTO(json)
    json_t *error =
        json_pack("{s:s, s:s}", "code", "EPIPE", "message", "the guest's channel is closed");
    while (!guest->dead && guest->waiting != NULL) {
        struct ctr_request *entry = guest->waiting;
        guest->waiting = entry->next;
        if (entry->reply != NULL) {
            entry->reply(entry->arg, NULL, error);
        }
        free(entry);
    }
}

/* --- what the guest says --- */

static void
take_reply(struct ctr_guest *guest, const json_t *message)
{
    const json_t *id = json_object_get(message, "id");
    const json_t *ok = json_object_get(message, "ok");
    const json_t *error = json_object_get(message, "error");
    if (!json_is_integer(id) || json_is_object(ok) == json_is_object(error)) {
        ctr_guest_end(guest, "a reply has no id, or not one of ok and error");
        return;
    }
    struct ctr_request *entry = take_request(guest, json_integer_value(id));
    if (entry == NULL) {
        return; /* never asked, or told twice */
    }
    if (entry->reply != NULL) {
        entry->reply(entry->arg, json_is_object(ok) ? ok : NULL,
                     json_is_object(error) ? error : NULL);
    }
    free(entry);
}

static void
take_event(struct ctr_guest *guest, const json_t *message)
{
    const char *name = ctr_json_str(message, "event", "");
    if (!guest->greeted) {
        if (strcmp(name, "hello") != 0 ||
            ctr_json_int(message, "protocol", 0) != CTR_PROTOCOL_VERSION) {
            ctr_guest_end(guest, "the guest speaks another version of the protocol");
            return;
        }
        guest->greeted = true;
    }
    if (guest->events.event != NULL) {
        guest->events.event(guest->arg, message);
    }
}

static void
take_message(struct ctr_guest *guest, const char *bytes, size_t n)
{
    struct ctr_error err = CTR_ERROR_INIT;
    CTR_AUTO(json)
    json_t *message = ctr_json_parse(bytes, n, CTR_CONTROL_MAX, "control message", &err);
    if (!json_is_object(message)) {
        ctr_guest_end(guest, "a control message is no JSON object");
    } else if (json_object_get(message, "event") != NULL || !guest->greeted) {
        take_event(guest, message);
    } else {
        take_reply(guest, message);
    }
}

/* The next whole message in front of the buffer: its length, 0 if it is not all there; -1 if its length can't be. */
static ssize_t
next_message(const struct ctr_buf *buf)
{
    const uint8_t *bytes = (const uint8_t *) buf->data;
    if (buf->length < 4) {
        return 0;
    }
    size_t n =
        (size_t) bytes[0] << 24 | (size_t) bytes[1] << 16 | (size_t) bytes[2] << 8 | bytes[3];
    if (n == 0 || n > CTR_CONTROL_MAX) {
        return -1;
    }
    return buf->length - 4 < n ? 0 : (ssize_t) n;
}

static void
on_data(void *arg, const void *bytes, size_t length)
{
    struct ctr_guest *guest = arg;
    ctr_buf_add(&guest->message, bytes, length);
    if (guest->message.failed) {
        ctr_guest_end(guest, "out of memory");
        return;
    }
    ctr_stream_taken(guest->control, length);
    ssize_t n;
    while (!guest->over && !guest->dead && (n = next_message(&guest->message)) != 0) {
        if (n < 0) {
            ctr_guest_end(guest, "a control message has an impossible length");
            return;
        }
        /* The callbacks may destroy the guest, buffer and all. */
        CTR_AUTO(free) char *message = malloc((size_t) n);
        if (message == NULL) {
            ctr_guest_end(guest, "out of memory");
            return;
        }
        memcpy(message, guest->message.data + 4, (size_t) n);
        ctr_buf_consume(&guest->message, 4 + (size_t) n);
        take_message(guest, message, (size_t) n);
    }
}

static void
on_end(void *arg, bool reset)
{
    ctr_guest_end(arg, "the guest closed the control stream");
}

static void
on_writable(void *arg)
{
    send_requests(arg);
}

const struct ctr_stream_events ctr_control_events = {
    .data = on_data, .end = on_end, .writable = on_writable};
