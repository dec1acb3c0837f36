/*
 * Records: one generic table in SQLite, JSON objects by (table, key), every write a transaction of its own. WAL with
 * synchronous=FULL, so that a write that returned survives power loss. A damaged database is an error, never emptied.
 */
#include "core/store/store-priv.h"
#include <sys/statvfs.h>

static const char *const statement_text[STATEMENT_COUNT] = {
    [STATEMENT_PUT] = ("INSERT INTO record(tab, key, value) VALUES(?1, ?2, ?3) "
                       "ON CONFLICT(tab, key) DO UPDATE SET value = excluded.value"),
    [STATEMENT_CLAIM] = "INSERT INTO record(tab, key, value) VALUES(?1, ?2, ?3)",
    [STATEMENT_GET] = "SELECT value FROM record WHERE tab = ?1 AND key = ?2",
    [STATEMENT_REMOVE] = "DELETE FROM record WHERE tab = ?1 AND key = ?2",
    [STATEMENT_EACH] = "SELECT key, value FROM record WHERE tab = ?1 ORDER BY key",
};

static const char schema[] = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; "
                             "PRAGMA fullfsync=1; PRAGMA cache_size=-256; "
                             "CREATE TABLE IF NOT EXISTS record(tab TEXT NOT NULL, "
                             "key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY(tab, key)) "
                             "WITHOUT ROWID; PRAGMA user_version=1;";

static bool
record_disk_is_full(const struct ctr_store *store)
{
    struct statvfs st;
    return statvfs(store->data, &st) == 0 &&
           (st.f_bavail == 0 || (st.f_files != 0 && st.f_favail == 0));
}

/* The error of a failed SQLite call. Called with the mutex held, or before the store is shared. */
static int
record_fail(const struct ctr_store *store, int status, const char *what, struct ctr_error *err)
{
    static const struct {
        int status, code;
    } map[] = {
        {SQLITE_FULL, -ENOSPC},       {SQLITE_NOMEM, -ENOMEM},    {SQLITE_BUSY, -EBUSY},
        {SQLITE_CORRUPT, -EBADMSG},   {SQLITE_NOTADB, -EBADMSG},  {SQLITE_READONLY, -EROFS},
        {SQLITE_CONSTRAINT, -EEXIST}, {SQLITE_CANTOPEN, -EACCES},
    };
    int code = -EIO;
    for (size_t i = 0; i < CTR_LENGTH(map); i++) {
        if (map[i].status == (status & 0xff)) {
            code = map[i].code;
        }
    }
    /* SQLite calls a full disk many things, and that no file can be made "unable to open"; the system's own word is better. */
    int system = store->db != NULL && code != -EBADMSG && code != -EEXIST
                     ? sqlite3_system_errno(store->db)
                     : 0;
    if (code == -EACCES && record_disk_is_full(store)) {
        system = ENOSPC;
    }
    const char *why = store->db != NULL ? sqlite3_errmsg(store->db) : sqlite3_errstr(status);
    return ctr_fail(err, system == ENOSPC ? -ENOSPC : code, "%s in %s/state.db: %s%s", what,
                    store->data, system == ENOSPC ? strerror(system) : why,
                    code == -EBADMSG
                        ? "; the file is left as it is: restore it from a copy, or move it away"
                        : "");
}

/* A newer ctr's database is not touched. */
static int
record_check_version(struct ctr_store *store, struct ctr_error *err)
{
    sqlite3_stmt *query = NULL;
    int status = sqlite3_prepare_v2(store->db, "PRAGMA user_version", -1, &query, NULL);
    if (status == SQLITE_OK) {
        status = sqlite3_step(query);
    }
    int version = status == SQLITE_ROW ? sqlite3_column_int(query, 0) : -1;
    (void) sqlite3_finalize(query);
    if (version < 0) {
        return record_fail(store, status, "read the version", err);
    }
    if (version > 1) {
        return ctr_fail(err, -EPROTO,
                        "%s/state.db was written by a newer ctr (version %d); use that one",
                        store->data, version);
    }
    return 0;
}

int
store_open_db(struct ctr_store *store, struct ctr_error *err)
{
    CTR_AUTO(free) char *path = ctr_printf("%s/state.db", store->data);
    if (path == NULL) {
        return ctr_fail(err, -ENOMEM, "open state.db: out of memory");
    }
    int flags =
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW;
    int status = sqlite3_open_v2(path, &store->db, flags, NULL);
    if (status != SQLITE_OK) {
        return record_fail(store, status, "open", err);
    }
    (void) sqlite3_busy_timeout(store->db, 5000);
    int rc = record_check_version(store, err);
    if (rc < 0) {
        return rc;
    }
    status = sqlite3_exec(store->db, schema, NULL, NULL, NULL);
    if (status != SQLITE_OK) {
        return record_fail(store, status, "prepare the tables", err);
    }
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        status = sqlite3_prepare_v3(store->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &store->statements[i], NULL);
        if (status != SQLITE_OK) {
            return record_fail(store, status, "prepare a statement", err);
        }
    }
    return 0;
}

void
store_close_db(struct ctr_store *store)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++) {
        (void) sqlite3_finalize(store->statements[i]);
    }
    (void) sqlite3_close(store->db);
}

/* Binds table, key and value (NULL: none). The texts must outlive the step. */
static sqlite3_stmt *
record_bind(struct ctr_store *store, enum store_statement which, const char *table,
            const char *key, const char *value)
{
    sqlite3_stmt *statement = store->statements[which];
    (void) sqlite3_reset(statement);
    (void) sqlite3_clear_bindings(statement);
    (void) sqlite3_bind_text(statement, 1, table, -1, SQLITE_STATIC);
    if (key != NULL) {
        (void) sqlite3_bind_text(statement, 2, key, -1, SQLITE_STATIC);
    }
    if (value != NULL) {
        (void) sqlite3_bind_text(statement, 3, value, -1, SQLITE_STATIC);
    }
    return statement;
}

/* Runs a statement that gives no rows. */
static int
record_run(struct ctr_store *store, enum store_statement which, const char *table,
           const char *key, const char *value, struct ctr_error *err)
{
    (void) pthread_mutex_lock(&store->mutex);
    sqlite3_stmt *statement = record_bind(store, which, table, key, value);
    int status = sqlite3_step(statement);
    int rc = 0;
    if (status != SQLITE_DONE) {
        CTR_AUTO(free) char *what = ctr_printf("record %s \"%s\"", table, key);
        rc = record_fail(store, status, what != NULL ? what : "record", err);
    }
    (void) sqlite3_reset(statement);
    (void) pthread_mutex_unlock(&store->mutex);
    return rc;
}

static int
record_write(struct ctr_store *store, enum store_statement which, const char *table,
             const char *key, const json_t *value, struct ctr_error *err)
{
    CTR_AUTO(free) char *text = ctr_json_text(value);
    if (text == NULL) {
        return ctr_fail(err, -ENOMEM, "record %s \"%s\": out of memory", table, key);
    }
    return record_run(store, which, table, key, text, err);
}

int
ctr_record_put(struct ctr_store *store, const char *table, const char *key, const json_t *value,
               struct ctr_error *err)
{
    return record_write(store, STATEMENT_PUT, table, key, value, err);
}

int
ctr_record_claim(struct ctr_store *store, const char *table, const char *key,
                 const json_t *value, struct ctr_error *err)
{
    int rc = record_write(store, STATEMENT_CLAIM, table, key, value, err);
    if (rc == -EEXIST) {
        return ctr_fail(err, rc, "%s \"%s\" exists already", table, key);
    }
    return rc;
}

int
ctr_record_remove(struct ctr_store *store, const char *table, const char *key,
                  struct ctr_error *err)
{
    return record_run(store, STATEMENT_REMOVE, table, key, NULL, err);
}

static json_t *
record_parse(const char *table, const char *key, const char *text, size_t length,
             struct ctr_error *err)
{
    CTR_AUTO(free) char *what = ctr_printf("record %s \"%s\"", table, key);
    if (what == NULL) {
        (void) ctr_fail(err, -ENOMEM, "record: out of memory");
        return NULL;
    }
    return ctr_json_parse(text, length, SIZE_MAX, what, err);
}

json_t *
ctr_record_get(struct ctr_store *store, const char *table, const char *key,
               struct ctr_error *err)
{
    json_t *value = NULL;
    (void) pthread_mutex_lock(&store->mutex);
    sqlite3_stmt *statement = record_bind(store, STATEMENT_GET, table, key, NULL);
    int status = sqlite3_step(statement);
    if (status == SQLITE_ROW) {
        value = record_parse(table, key, (const char *) sqlite3_column_text(statement, 0),
                             (size_t) sqlite3_column_bytes(statement, 0), err);
    } else if (status == SQLITE_DONE) {
        (void) ctr_fail(err, -ENOENT, "no such %s: \"%s\"", table, key);
    } else {
        (void) record_fail(store, status, "read a record", err);
    }
    (void) sqlite3_reset(statement);
    (void) pthread_mutex_unlock(&store->mutex);
    return value;
}

/* All records of a table as an array of [key, value]: the callbacks run without the mutex. */
static json_t *
record_collect(struct ctr_store *store, const char *table, struct ctr_error *err)
{
    json_t *all = json_array();
    if (all == NULL) {
        (void) ctr_fail(err, -ENOMEM, "list %s: out of memory", table);
        return NULL;
    }
    (void) pthread_mutex_lock(&store->mutex);
    sqlite3_stmt *statement = record_bind(store, STATEMENT_EACH, table, NULL, NULL);
    int status = SQLITE_ROW;
    bool failed = false;
    while (!failed && (status = sqlite3_step(statement)) == SQLITE_ROW) {
        const char *key = (const char *) sqlite3_column_text(statement, 0);
        json_t *value =
            record_parse(table, key, (const char *) sqlite3_column_text(statement, 1),
                         (size_t) sqlite3_column_bytes(statement, 1), err);
        failed = value == NULL;
        if (!failed && json_array_append_new(all, json_pack("[so]", key, value)) < 0) {
            failed = true;
            (void) ctr_fail(err, -ENOMEM, "list %s: out of memory", table);
        }
    }
    if (!failed && status != SQLITE_DONE) {
        failed = true;
        (void) record_fail(store, status, "list records", err);
    }
    (void) sqlite3_reset(statement);
    (void) pthread_mutex_unlock(&store->mutex);
    if (failed) {
        json_decref(all);
        return NULL;
    }
    return all;
}

int
ctr_record_each(struct ctr_store *store, const char *table,
                int (*each)(void *arg, const char *key, const json_t *value), void *arg,
                struct ctr_error *err)
{
    struct ctr_error inner = CTR_ERROR_INIT;
    CTR_AUTO(json) json_t *all = record_collect(store, table, &inner);
    if (all == NULL) {
        return ctr_fail(err, inner.code, "%s", inner.msg);
    }
    size_t i = 0;
    json_t *pair = NULL;
    json_array_foreach(all, i, pair)
    {
        int rc = each(arg, json_string_value(json_array_get(pair, 0)), json_array_get(pair, 1));
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}
