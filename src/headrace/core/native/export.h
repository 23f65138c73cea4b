/* Makes an export: its partition key, id, message, and bytes, as core/export.py does. */
#ifndef HEADRACE_EXPORT_H
#define HEADRACE_EXPORT_H

#include "blake2b.h"
#include "cause.h"
#include "md5.h"
#include "pending.h"
#include "render.h"

static Buffer identity_part, membership_part, message, digested, packed;

static void put_texts(Buffer *into, PyObject *list)
{
    put_byte(into, '[');
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        if (i)
            put_byte(into, ',');
        put_quoted(into, text_of(PyList_GET_ITEM(list, i)));
    }
    put_byte(into, ']');
}

static void pack_texts(Buffer *into, PyObject *list)
{
    Py_ssize_t count = list != NULL ? PyList_GET_SIZE(list) : 0;
    pack_array(into, (size_t)count);
    for (Py_ssize_t i = 0; i < count; i++)
        pack_text(into, text_of(PyList_GET_ITEM(list, i)));
}

static PyObject *or_nothing(PyObject *list)
{
    return list != NULL ? list : known.nothing;
}

static PyObject *triggers_of(const Why *why)
{
    PyObject *list = PyList_New(0);
    PyObject *each[] = {known.segment, known.identified, known.attribute};
    for (int i = 0; list != NULL && i < 3; i++)
        if (why->triggers >> i & 1 && PyList_Append(list, each[i]))
            Py_CLEAR(list);
    return list;
}

static PyObject *paths_of(const Why *why)
{
    PyObject *list = PyList_New(why->path_count);
    for (int i = 0; list != NULL && i < why->path_count; i++)
        PyList_SET_ITEM(list, i, Py_NewRef(why->paths[i]->path));
    return list;
}

/* A cause as an object, as JSON and as MessagePack. Most exports of a flow have one of a few, which are kept. */
static const Cause *known_cause(Flow *flow, const Why *why)
{
    uint64_t paths = 0;
    int kept = why->joined == NULL && why->left == NULL;
    for (int i = 0; i < why->path_count; i++) {
        kept &= why->paths[i]->number < 64;
        paths |= 1ULL << (why->paths[i]->number & 63);
    }
    for (int i = 1; kept && i < MOST_CAUSES; i++)
        if (flow->causes[i].cause != NULL && flow->causes[i].triggers == why->triggers && flow->causes[i].paths == paths)
            return &flow->causes[i];
    if (kept)
        flow->next_cause = flow->next_cause % (MOST_CAUSES - 1) + 1;
    Cause *made = &flow->causes[kept ? flow->next_cause : 0];
    PyObject *fired = triggers_of(why), *wrote = paths_of(why);
    made->triggers = why->triggers;
    made->paths = paths;
    begin(&made->json);
    begin(&made->packed);
    Py_CLEAR(made->cause);
    if (fired != NULL && wrote != NULL) {
        PyObject *members[] = {known.live, fired, wrote, or_nothing(why->joined), or_nothing(why->left), known.nothing};
        made->cause = PyObject_Vectorcall(known.cause, members, 6, NULL);
        PUT(&made->json, ",\"absorbed\":[],\"cause\":{\"kind\":\"live\",\"triggers\":");
        put_texts(&made->json, fired);
        PUT(&made->json, ",\"paths\":");
        put_texts(&made->json, wrote);
        PUT(&made->json, ",\"joined\":");
        put_texts(&made->json, why->joined);
        PUT(&made->json, ",\"left\":");
        put_texts(&made->json, why->left);
        PUT(&made->json, "},\"configuration\":");
        PUT(&made->packed, "\x96\xa4live");
        pack_texts(&made->packed, fired);
        pack_texts(&made->packed, wrote);
        pack_texts(&made->packed, why->joined);
        pack_texts(&made->packed, why->left);
        put_byte(&made->packed, 0x90);
        if (made->json.failed || made->packed.failed || PyErr_Occurred()) /* no memory for a text */
            Py_CLEAR(made->cause);
    }
    Py_XDECREF(fired);
    Py_XDECREF(wrote);
    return made->cause != NULL ? made : NULL;
}

static void put_metadata(Buffer *into, const Plan *plan, const Flow *flow, const Change *change, const char *export_id,
                         int64_t seq, const Cause *cause)
{
    PUT(into, ",\"_headrace\":{\"exportId\":\"");
    put(into, export_id, 2 * DIGEST);
    PUT(into, "\",\"flowId\":");
    put_span(into, flow->quoted_id);
    PUT(into, ",\"profileId\":");
    put_quoted(into, change->before->profile_id);
    PUT(into, ",\"seq\":");
    put_decimal(into, (uint64_t)seq, 0);
    PUT(into, ",\"profileVersion\":");
    put_decimal(into, (uint64_t)change->before->version + 1, 0);
    PUT(into, ",\"epoch\":");
    put_decimal(into, (uint64_t)change->before->epoch, 0);
    put(into, cause->json.at, cause->json.size);
    put_span(into, plan->quoted_version);
    put_byte(into, '}');
}

/* The partition key: a new reference; NULL with *found* NOT_PLAIN or FAILED. */
static PyObject *key_of(const Flow *flow, const Change *change, int *found)
{
    Span value = {NULL, 0}, ids;
    *found = DONE;
    if (flow->key == BY_IDENTITY) {
        if (value_of(change->identities, flow->key_namespace, &ids)) {
            In from = in(ids);
            size_t count;
            if (read_array(&from, &count) && count)
                read_text(&from, &value);
        }
    } else if (flow->key == BY_ATTRIBUTE) {
        Span here = change->attributes;
        int there = 1;
        for (int i = 0; there && i < flow->key_step_count; i++)
            there = value_of(here, flow->key_steps[i], &here);
        if (there) {
            In from = in(here);
            if (!read_text(&from, &value)) {
                *found = NOT_PLAIN; /* a number, or no value for a key at all */
                return NULL;
            }
        }
    }
    if (!value.size)
        return Py_NewRef(change->profile_id);
    PyObject *key = PyUnicode_DecodeUTF8(value.at, (Py_ssize_t)value.size, NULL);
    if (key != NULL && PyUnicode_GET_LENGTH(key) > 256)
        Py_SETREF(key, PyUnicode_Substring(key, 0, 256));
    if (key == NULL)
        *found = FAILED;
    return key;
}

/* As core/export.py has it: the top six bits of the key's MD5. */
static int bucket_of(PyObject *key)
{
    Span text = text_of(key);
    return text.at != NULL ? md5_first(text) >> 2 : -1;
}

static int render_message(const Plan *plan, const Flow *flow, const Change *change, const char *export_id, int64_t seq,
                          const Cause *cause)
{
    int any;
    begin(&message);
    if (!identity_part.size && render_identities(change->identities, &identity_part))
        return NOT_PLAIN;
    if (!membership_part.size && render_memberships(change->memberships, &membership_part))
        return NOT_PLAIN;
    if (render_mapped(&flow->tree, change->top, change->tops, &message, &any))
        return NOT_PLAIN;
    if (any && message.size)
        message.at[message.size - 1] = ','; /* what closed it goes on */
    else
        put_byte(&message, '{');
    PUT(&message, "\"segmentMembership\":");
    put(&message, membership_part.at, membership_part.size);
    PUT(&message, ",\"identityMap\":");
    put(&message, identity_part.at, identity_part.size);
    if (flow->metadata)
        put_metadata(&message, plan, flow, change, export_id, seq, cause);
    put_byte(&message, '}');
    return message.failed || identity_part.failed || membership_part.failed ? NOT_PLAIN : DONE;
}

/* The id of an export, over what core/export.py's is. */
static void name_export(const Flow *flow, const Change *change, char hex[2 * DIGEST])
{
    begin(&digested);
    put_span(&digested, flow->id_text);
    put_byte(&digested, 0);
    put_span(&digested, change->before->profile_id);
    put_byte(&digested, 0);
    put_decimal(&digested, (uint64_t)change->before->epoch, 0);
    put_byte(&digested, 0);
    put_decimal(&digested, (uint64_t)change->before->version + 1, 0);
    put_byte(&digested, 0);
    put_span(&digested, flow->digest);
    put_byte(&digested, 0);
    blake2b_hex((Span){digested.at, digested.size}, hex);
}

/* An export as the outbox stores it: core/model.py's Export. */
static void pack_export(Buffer *into, const Plan *plan, const Change *change, const char *export_id, const Mark *mark,
                        Span key, const Cause *cause, const Mark *waits)
{
    begin(into);
    put_byte(into, 0x9c);
    pack_natural(into, (uint64_t)change->ordinal);
    pack_text(into, change->before->profile_id);
    pack_text(into, (Span){export_id, 2 * DIGEST});
    pack_natural(into, (uint64_t)mark->seq);
    pack_natural(into, (uint64_t)change->before->version + 1);
    pack_natural(into, (uint64_t)change->before->epoch);
    pack_text(into, key);
    if (message.size <= 0xff)
        pack_number(into, 0xc4, message.size, 1);
    else if (message.size <= 0xffff)
        pack_number(into, 0xc5, message.size, 2);
    else
        pack_number(into, 0xc6, message.size, 4);
    put(into, message.at, message.size);
    put(into, cause->packed.at, cause->packed.size);
    pack_natural(into, (uint64_t)change->now_ms);
    pack_text(into, plan->version_text);
    if (waits != NULL) {
        put(into, "\x91\x92", 2);
        pack_natural(into, (uint64_t)waits->bucket);
        pack_natural(into, (uint64_t)waits->ordinal);
    } else {
        put_byte(into, 0x90);
    }
}

/* One export as it waits, with its bytes as the outbox stores them, and the mark of it. */
static int export_of(const Plan *plan, Flow *flow, Change *change, const Why *why, Mark *mark, PyObject **export)
{
    Mark had = {0, 0, 0};
    Span stored;
    int found, waits = 0;
    if (value_of(change->before->marks, flow->id_text, &stored)) {
        if (read_mark(stored, &had))
            return NOT_PLAIN;
        waits = had.ordinal != 0;
    }
    PyObject *key = key_of(flow, change, &found);
    if (key == NULL)
        return found;
    int own = key == change->profile_id;
    int bucket = own && change->bucket >= 0 ? change->bucket : bucket_of(key);
    if (own)
        change->bucket = bucket;
    waits = waits && had.bucket != bucket;
    *mark = (Mark){had.seq + 1, change->ordinal, bucket};
    Pending *made = bucket < 0 ? NULL : new_pending();
    if (made == NULL) {
        Py_DECREF(key);
        return FAILED;
    }
    made->key = key; /* from here on it goes with the rest */
    name_export(flow, change, made->export_id);
    const Cause *cause = digested.failed ? NULL : known_cause(flow, why);
    found = cause == NULL ? FAILED : render_message(plan, flow, change, made->export_id, mark->seq, cause);
    if (!found) {
        pack_export(&packed, plan, change, made->export_id, mark, text_of(key), cause, waits ? &had : NULL);
        made->encoded = packed.failed ? PyErr_NoMemory() : PyBytes_FromStringAndSize(packed.at, (Py_ssize_t)packed.size);
        made->message = PyBytes_FromStringAndSize(message.at, (Py_ssize_t)message.size);
        made->after = waits ? Py_BuildValue("[(LL)]", (long long)had.bucket, (long long)had.ordinal)
                            : Py_NewRef(known.nothing);
        found = made->encoded == NULL || made->message == NULL || made->after == NULL || PyErr_Occurred() ? FAILED : DONE;
    }
    if (found) {
        Py_DECREF(made);
        return found;
    }
    made->lane = Py_NewRef(change->profile_id);
    made->data = Py_NewRef(made->message);
    made->cause = Py_NewRef(cause->cause);
    made->config = Py_NewRef(plan->version);
    made->ordinal = change->ordinal;
    made->seq = mark->seq;
    made->version = change->before->version + 1;
    made->epoch = change->before->epoch;
    made->made_ms = change->now_ms;
    made->bucket = bucket;
    made->crosses = why->joined != NULL || why->left != NULL;
    made->size = charged(made->data, key);
    *export = (PyObject *)made;
    return DONE;
}

#endif
