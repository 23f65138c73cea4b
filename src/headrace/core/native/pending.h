/* An export that waits, and what is asked of many of them at once: what destinations/pending.py has in Python. */
#ifndef HEADRACE_PENDING_H
#define HEADRACE_PENDING_H

#include "cause.h"
#include "render.h"

#include <structmember.h>

enum { DIGITS = 32, ID_BYTES = 16, DELIVERED = 0, REJECTED = 3 };

typedef struct {
    PyObject_HEAD
    PyObject *lane, *key, *message, *data, *cause, *config, *after, *encoded, *block, *outcome, *discarded, *behind,
        *last, *odd_id;
    int64_t ordinal, seq, version, epoch, made_ms, size, kept, attempts, unknown;
    Py_ssize_t index;
    int bucket, crosses; /* the cause names audiences entered or left */
    char export_id[DIGITS];
} Pending;

static PyTypeObject pending_type;

/* What its record takes of a request. */
static int64_t charged(PyObject *data, PyObject *key)
{
    Py_ssize_t size = -1;
    if (PyUnicode_IS_ASCII(key))
        size = PyUnicode_GET_LENGTH(key);
    else if (PyUnicode_AsUTF8AndSize(key, &size) == NULL) {
        /* Half of a surrogate pair, which no request can carry: three bytes a character are enough to bound it. */
        PyErr_Clear();
        size = 3 * PyUnicode_GET_LENGTH(key);
    }
    return (int64_t)PyBytes_GET_SIZE(data) + (int64_t)size;
}

/* Which of its objects hold a whole chain of exports is let go of by a loop: a lane may be long. */
static void pending_dealloc(Pending *self)
{
    Py_CLEAR(self->last);
    PyObject *next = self->behind;
    while (next != NULL && Py_REFCNT(next) == 1) {
        Pending *one = (Pending *)next;
        PyObject *after = one->behind;
        one->behind = NULL;
        Py_DECREF(next);
        next = after;
    }
    Py_XDECREF(next);
    PyObject **held[] = {&self->lane, &self->key, &self->message, &self->data, &self->cause, &self->config,
                         &self->after, &self->encoded, &self->block, &self->outcome, &self->discarded, &self->odd_id};
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        Py_XDECREF(*held[i]);
    PyObject_Free(self);
}

static Pending *new_pending(void)
{
    Pending *self = PyObject_New(Pending, &pending_type);
    if (self != NULL)
        memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    return self;
}

static int64_t natural_of(PyObject *of, const char *name)
{
    PyObject *found = PyObject_GetAttrString(of, name);
    int64_t value = found != NULL ? PyLong_AsLongLong(found) : -1;
    Py_XDECREF(found);
    return value;
}

static int has_any(PyObject *of, const char *name)
{
    PyObject *found = PyObject_GetAttrString(of, name);
    int any = found != NULL ? PyObject_IsTrue(found) : -1;
    Py_XDECREF(found);
    return any;
}

/* Pending(export, bucket) */
static PyObject *pending_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"export", "bucket", NULL};
    PyObject *export;
    int bucket;
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "Oi", names, &export, &bucket))
        return NULL;
    Pending *self = new_pending();
    if (self == NULL)
        return NULL;
    struct {
        PyObject **to;
        const char *name;
    } members[] = {{&self->lane, "profile_id"}, {&self->key, "key"},       {&self->message, "data"},
                   {&self->cause, "cause"},     {&self->config, "config"}, {&self->after, "after"}};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if ((*members[i].to = PyObject_GetAttrString(export, members[i].name)) == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    PyObject *export_id = PyObject_GetAttrString(export, "export_id");
    self->ordinal = natural_of(export, "ordinal");
    self->seq = natural_of(export, "seq");
    self->version = natural_of(export, "version");
    self->epoch = natural_of(export, "epoch");
    self->made_ms = natural_of(export, "made_ms");
    self->bucket = bucket;
    int joined = has_any(self->cause, "joined"), left = has_any(self->cause, "left");
    self->crosses = joined > 0 || left > 0;
    if (!PyErr_Occurred() && !(PyUnicode_Check(export_id) && PyUnicode_Check(self->key) && PyBytes_Check(self->message)))
        PyErr_SetString(PyExc_TypeError, "Pending takes an export");
    if (PyErr_Occurred()) {
        Py_XDECREF(export_id);
        Py_DECREF(self);
        return NULL;
    }
    if (PyUnicode_IS_ASCII(export_id) && PyUnicode_GET_LENGTH(export_id) == DIGITS) {
        memcpy(self->export_id, PyUnicode_DATA(export_id), DIGITS);
        Py_DECREF(export_id);
    } else {
        self->odd_id = export_id;
    }
    self->data = Py_NewRef(self->message);
    self->size = charged(self->data, self->key);
    return (PyObject *)self;
}

static PyObject *get_export_id(Pending *self, void *nothing)
{
    (void)nothing;
    return self->odd_id != NULL ? Py_NewRef(self->odd_id) : PyUnicode_FromStringAndSize(self->export_id, DIGITS);
}

static PyObject *get_export(Pending *self, void *nothing)
{
    PyObject *numbers[] = {PyLong_FromLongLong(self->ordinal), PyLong_FromLongLong(self->seq),
                           PyLong_FromLongLong(self->version), PyLong_FromLongLong(self->epoch),
                           PyLong_FromLongLong(self->made_ms)};
    PyObject *export_id = get_export_id(self, nothing), *made = NULL;
    PyObject *members[] = {numbers[0], self->lane, export_id,   numbers[1], numbers[2],   numbers[3],
                           self->key,  self->message, self->cause, numbers[4], self->config, self->after};
    if (!PyErr_Occurred())
        made = PyObject_Vectorcall(known.export, members, 12, NULL);
    for (int i = 0; i < 5; i++)
        Py_XDECREF(numbers[i]);
    Py_XDECREF(export_id);
    return made;
}

static PyObject *get_discarded(Pending *self, void *nothing)
{
    (void)nothing;
    return Py_NewRef(self->discarded != NULL ? self->discarded : known.empty);
}

static int set_discarded(Pending *self, PyObject *value, void *nothing)
{
    (void)nothing;
    if (value == NULL || !PyUnicode_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "discarded is a text");
        return -1;
    }
    Py_XSETREF(self->discarded, Py_NewRef(value));
    return 0;
}

#define MEMBER(name, type, flags) {#name, type, offsetof(Pending, name), flags, NULL}
static PyMemberDef pending_members[] = {
    MEMBER(lane, T_OBJECT, READONLY),    MEMBER(key, T_OBJECT, READONLY),     MEMBER(message, T_OBJECT, READONLY),
    MEMBER(data, T_OBJECT, 0),           MEMBER(cause, T_OBJECT, READONLY),   MEMBER(config, T_OBJECT, READONLY),
    MEMBER(after, T_OBJECT, READONLY),   MEMBER(block, T_OBJECT, 0),          MEMBER(outcome, T_OBJECT, 0),
    MEMBER(behind, T_OBJECT, 0),         MEMBER(last, T_OBJECT, 0),           MEMBER(ordinal, T_LONGLONG, READONLY),
    MEMBER(seq, T_LONGLONG, READONLY),   MEMBER(version, T_LONGLONG, READONLY), MEMBER(epoch, T_LONGLONG, READONLY),
    MEMBER(made_ms, T_LONGLONG, READONLY), MEMBER(size, T_LONGLONG, 0),       MEMBER(kept, T_LONGLONG, 0),
    MEMBER(attempts, T_LONGLONG, 0),     MEMBER(unknown, T_LONGLONG, 0),      MEMBER(index, T_PYSSIZET, 0),
    MEMBER(bucket, T_INT, READONLY),     {NULL, 0, 0, 0, NULL},
};
#undef MEMBER

static PyGetSetDef pending_getters[] = {
    {"export_id", (getter)get_export_id, NULL, NULL, NULL},
    {"export", (getter)get_export, NULL, NULL, NULL},
    {"discarded", (getter)get_discarded, (setter)set_discarded, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject pending_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "headrace.core._native.Pending",
    .tp_basicsize = sizeof(Pending),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "An export on its way; see destinations/pending.py.",
    .tp_new = pending_new,
    .tp_dealloc = (destructor)pending_dealloc,
    .tp_members = pending_members,
    .tp_getset = pending_getters,
};

/* -- many at once ------------------------------------------------------------------------------- */

#define EACH(list, at) ((Pending *)PySequence_Fast_GET_ITEM(list, at))

/* Exports are met long after they were made: those that come next are fetched beside the work. */
enum { AHEAD = 8, PENDING_LINES = (sizeof(Pending) + 63) / 64 };

static inline void fetch_ahead(PyObject *list, Py_ssize_t at, Py_ssize_t count)
{
    if (at + AHEAD < count)
        fetch(EACH(list, at + AHEAD), PENDING_LINES);
}

/* Whether it is a list of exports that wait; else an error is set. */
static int are_pending(PyObject *list)
{
    if (PyList_Check(list) || PyTuple_Check(list)) {
        Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list);
        for (; i < count && Py_IS_TYPE(PySequence_Fast_GET_ITEM(list, i), &pending_type); i++)
            fetch_ahead(list, i, count);
        if (i == count)
            return 1;
    }
    PyErr_SetString(PyExc_TypeError, "not a list of exports that wait");
    return 0;
}

static PyObject *sizes(PyObject *module, PyObject *list)
{
    (void)module;
    int64_t size = 0, kept = 0;
    if (!are_pending(list))
        return NULL;
    for (Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list); i < count; i++) {
        size += EACH(list, i)->size;
        kept += EACH(list, i)->kept;
    }
    return Py_BuildValue("(LL)", (long long)size, (long long)kept);
}

static PyObject *fit(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list;
    long long most;
    Py_ssize_t chars;
    if (!PyArg_ParseTuple(arguments, "OLn", &list, &most, &chars) || !are_pending(list))
        return NULL;
    for (Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list); i < count; i++) {
        const Pending *one = EACH(list, i);
        Py_ssize_t length = PyUnicode_GET_LENGTH(one->key);
        if (one->size > most || length > chars || !length)
            Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static void put_head(char *to, size_t size, size_t *length)
{
    if (size <= 15) {
        to[0] = (char)(0x90 | size);
        *length = 1;
    } else if (size <= 0xffff) {
        to[0] = (char)0xdc;
        to[1] = (char)(size >> 8);
        to[2] = (char)size;
        *length = 3;
    } else {
        to[0] = (char)0xdd;
        for (int i = 0; i < 4; i++)
            to[1 + i] = (char)(size >> (24 - 8 * i));
        *length = 5;
    }
}

/* The exports of one bucket, in order, as (bucket, exports, ordinals, the block's bytes). */
static PyObject *bucket_block(PyObject *list, int bucket, Py_ssize_t first, Py_ssize_t members, size_t bytes)
{
    char head[5];
    size_t length;
    put_head(head, (size_t)members, &length);
    PyObject *run = PyList_New(members), *ordinals = PyList_New(members);
    PyObject *whole = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(length + bytes));
    Py_ssize_t at = 0;
    if (run != NULL && ordinals != NULL && whole != NULL) {
        char *to = PyBytes_AS_STRING(whole);
        memcpy(to, head, length);
        to += length;
        for (Py_ssize_t i = first; at < members; i++) {
            Pending *one = EACH(list, i);
            if (one->bucket != bucket)
                continue;
            if (i + AHEAD < PySequence_Fast_GET_SIZE(list))
                fetch(EACH(list, i + AHEAD)->encoded, 1);
            PyObject *ordinal = PyLong_FromLongLong(one->ordinal);
            if (ordinal == NULL)
                break;
            memcpy(to, PyBytes_AS_STRING(one->encoded), (size_t)PyBytes_GET_SIZE(one->encoded));
            to += PyBytes_GET_SIZE(one->encoded);
            PyList_SET_ITEM(run, at, Py_NewRef((PyObject *)one));
            PyList_SET_ITEM(ordinals, at++, ordinal);
        }
    }
    PyObject *answer = at == members && !PyErr_Occurred() ? Py_BuildValue("(iOOO)", bucket, run, ordinals, whole) : NULL;
    Py_XDECREF(run);
    Py_XDECREF(ordinals);
    Py_XDECREF(whole);
    return answer;
}

static PyObject *grouped(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list, *encode;
    struct {
        Py_ssize_t first, members;
        size_t bytes;
    } of_bucket[256];
    int order[256], met = 0;
    if (!PyArg_ParseTuple(arguments, "OO", &list, &encode) || !are_pending(list))
        return NULL;
    for (Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list); i < count; i++) {
        Pending *one = EACH(list, i);
        if (one->bucket < 0 || one->bucket > 255)
            return PyErr_Format(PyExc_ValueError, "no such bucket");
        if (one->encoded == NULL) {
            PyObject *export = get_export(one, NULL);
            one->encoded = export != NULL ? PyObject_CallOneArg(encode, export) : NULL;
            Py_XDECREF(export);
            if (one->encoded == NULL || !PyBytes_Check(one->encoded))
                return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_TypeError, "no bytes");
        }
        int known_before = 0;
        for (int b = 0; b < met && !known_before; b++)
            known_before = order[b] == one->bucket;
        if (!known_before) {
            order[met++] = one->bucket;
            of_bucket[one->bucket].first = i;
            of_bucket[one->bucket].members = 0;
            of_bucket[one->bucket].bytes = 0;
        }
        of_bucket[one->bucket].members++;
        of_bucket[one->bucket].bytes += (size_t)PyBytes_GET_SIZE(one->encoded);
    }
    PyObject *answer = PyList_New(met);
    for (int b = 0; answer != NULL && b < met; b++) {
        PyObject *block = bucket_block(list, order[b], of_bucket[order[b]].first, of_bucket[order[b]].members,
                                       of_bucket[order[b]].bytes);
        if (block == NULL)
            Py_CLEAR(answer);
        else
            PyList_SET_ITEM(answer, b, block);
    }
    for (Py_ssize_t i = 0; answer != NULL && i < PySequence_Fast_GET_SIZE(list); i++)
        Py_CLEAR(EACH(list, i)->encoded);
    return answer;
}

static PyObject *lie_in(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list, *block;
    if (!PyArg_ParseTuple(arguments, "OO", &list, &block) || !are_pending(list))
        return NULL;
    for (Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list); i < count; i++) {
        Py_XSETREF(EACH(list, i)->block, Py_NewRef(block));
        EACH(list, i)->index = i;
    }
    Py_RETURN_NONE;
}

static PyObject *verdict_name, *shard_name, *sequence_name, *code_name, *settle_name;

static long verdict_of(PyObject *outcome)
{
    PyObject *verdict = PyObject_GetAttr(outcome, verdict_name);
    long found = verdict != NULL ? PyLong_AsLong(verdict) : -1;
    Py_XDECREF(verdict);
    return found;
}

static PyObject *answered(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list, *outcomes;
    if (!PyArg_ParseTuple(arguments, "OO", &list, &outcomes) || !are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    PyObject *given = PySequence_Fast(outcomes, "outcomes are a list"), *refused = PyList_New(0);
    if (given != NULL && PySequence_Fast_GET_SIZE(given) != count)
        PyErr_SetString(PyExc_ValueError, "an outcome for each record");
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < count; i++) {
        Pending *one = EACH(list, i);
        PyObject *outcome = PySequence_Fast_GET_ITEM(given, i);
        one->attempts++;
        Py_XSETREF(one->outcome, Py_NewRef(outcome));
        long verdict = verdict_of(outcome);
        if (verdict && (PyErr_Occurred() || PyList_Append(refused, (PyObject *)one)))
            break;
    }
    Py_XDECREF(given);
    if (PyErr_Occurred())
        Py_CLEAR(refused);
    return refused;
}

static PyObject *settle(PyObject *module, PyObject *list)
{
    (void)module;
    if (!are_pending(list))
        return NULL;
    int64_t size = 0;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    for (Py_ssize_t i = 0; i < count;) {
        PyObject *block = EACH(list, i)->block;
        Py_ssize_t first = EACH(list, i)->index, end = first;
        for (; i < count && EACH(list, i)->block == block && EACH(list, i)->index == end; i++, end++) {
            size += EACH(list, i)->size + EACH(list, i)->kept;
        }
        PyObject *from = PyLong_FromSsize_t(first), *to = PyLong_FromSsize_t(end), *done = NULL;
        if (block != NULL && from != NULL && to != NULL)
            done = PyObject_CallMethodObjArgs(block, settle_name, from, to, NULL);
        Py_XDECREF(from);
        Py_XDECREF(to);
        if (done == NULL)
            return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "it lies in no block");
        Py_DECREF(done);
    }
    return PyLong_FromLongLong(size);
}

/* The blocks of exports, one for each run of them. */
static PyObject *blocks_of(PyObject *module, PyObject *list)
{
    (void)module;
    PyObject *found = are_pending(list) ? PyList_New(0) : NULL, *last = NULL;
    for (Py_ssize_t i = 0; found != NULL && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *block = EACH(list, i)->block;
        if (block == last || block == NULL)
            continue;
        last = block;
        if (PyList_Append(found, block))
            Py_CLEAR(found);
    }
    return found;
}

static PyObject *columns(PyObject *module, PyObject *list)
{
    (void)module;
    if (!are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    PyObject *datas = PyList_New(count), *keys = PyList_New(count);
    for (Py_ssize_t i = 0; datas != NULL && keys != NULL && i < count; i++) {
        PyList_SET_ITEM(datas, i, Py_NewRef(EACH(list, i)->data));
        PyList_SET_ITEM(keys, i, Py_NewRef(EACH(list, i)->key));
    }
    PyObject *answer = datas != NULL && keys != NULL ? PyTuple_Pack(2, datas, keys) : NULL;
    Py_XDECREF(datas);
    Py_XDECREF(keys);
    return answer;
}

/* All data after one another, each filled up with zeros to a multiple of three, as base64 takes it. */
static PyObject *padded(PyObject *module, PyObject *list)
{
    (void)module;
    if (!are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list), size = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        size += (PyBytes_GET_SIZE(EACH(list, i)->data) + 2) / 3 * 3;
    PyObject *whole = PyBytes_FromStringAndSize(NULL, size);
    if (whole == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(whole);
    for (Py_ssize_t i = 0; i < count; i++) {
        Span data = bytes_of(EACH(list, i)->data);
        size_t rest = (3 - data.size % 3) % 3;
        memcpy(to, data.at, data.size);
        memset(to + data.size, 0, rest);
        to += data.size + rest;
    }
    return whole;
}

static Buffer quoted;

/* json_body(head, exports, base64 of `padded`): {"Data":"...","PartitionKey":"..."} of each, behind *head*. */
static PyObject *json_body(PyObject *module, PyObject *arguments)
{
    (void)module;
    static const char between[] = "\",\"PartitionKey\":", next[] = "},{\"Data\":\"", last[] = "}]}";
    PyObject *head, *list, *encoded;
    if (!PyArg_ParseTuple(arguments, "SOS", &head, &list, &encoded) || !are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    size_t room = (size_t)PyBytes_GET_SIZE(head) + (size_t)PyBytes_GET_SIZE(encoded) + sizeof last, in_all = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Span key = text_of(EACH(list, i)->key);
        if (key.at == NULL)
            return NULL;
        room += 6 * key.size + 2 + sizeof between + sizeof next;
        in_all += ((size_t)PyBytes_GET_SIZE(EACH(list, i)->data) + 2) / 3 * 4;
    }
    if (in_all != (size_t)PyBytes_GET_SIZE(encoded))
        return PyErr_Format(PyExc_ValueError, "not the data of these exports");
    PyObject *body = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)room);
    if (body == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(body);
    const char *from = PyBytes_AS_STRING(encoded);
    memcpy(to, PyBytes_AS_STRING(head), (size_t)PyBytes_GET_SIZE(head));
    to += PyBytes_GET_SIZE(head);
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t size = (size_t)PyBytes_GET_SIZE(EACH(list, i)->data), length = (size + 2) / 3 * 4;
        memcpy(to, from, length);
        from += length;
        to += length;
        for (size_t rest = (3 - size % 3) % 3; rest; rest--)
            to[-(Py_ssize_t)rest] = '=';
        memcpy(to, between, sizeof between - 1);
        to += sizeof between - 1;
        begin(&quoted);
        put_quoted(&quoted, text_of(EACH(list, i)->key));
        if (quoted.failed) {
            Py_DECREF(body);
            return PyErr_NoMemory();
        }
        memcpy(to, quoted.at, quoted.size);
        to += quoted.size;
        if (i + 1 < count) {
            memcpy(to, next, sizeof next - 1);
            to += sizeof next - 1;
        }
    }
    memcpy(to, last, sizeof last - 1);
    to += sizeof last - 1;
    _PyBytes_Resize(&body, to - PyBytes_AS_STRING(body));
    return body;
}

/* Bytes that were delivered at the first write, and the exports that were settled in any other way. */
static PyObject *unusual(PyObject *module, PyObject *list)
{
    (void)module;
    PyObject *others = are_pending(list) ? PyList_New(0) : NULL;
    int64_t bytes = 0;
    for (Py_ssize_t i = 0, count = others != NULL ? PySequence_Fast_GET_SIZE(list) : 0; i < count; i++) {
        Pending *one = EACH(list, i);
        int usual = one->attempts <= 1 && one->discarded == NULL && one->outcome != NULL && one->outcome != Py_None
            && verdict_of(one->outcome) == DELIVERED;
        if (usual)
            bytes += PyBytes_GET_SIZE(one->message);
        else if (PyErr_Occurred() || PyList_Append(others, (PyObject *)one)) {
            Py_CLEAR(others);
            break;
        }
    }
    return others != NULL ? Py_BuildValue("(LN)", (long long)bytes, others) : NULL;
}

/* When exports were made, as (epoch milliseconds, how many) for each run of them; and those that cross an audience. */
static PyObject *made_at(PyObject *module, PyObject *list)
{
    (void)module;
    if (!are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    PyObject *runs = PyList_New(0), *crossing = PyList_New(0);
    for (Py_ssize_t i = 0; runs != NULL && crossing != NULL && i < count;) {
        int64_t made_ms = EACH(list, i)->made_ms;
        Py_ssize_t first = i;
        for (; i < count && EACH(list, i)->made_ms == made_ms; i++) {
            if (EACH(list, i)->crosses && PyList_Append(crossing, (PyObject *)EACH(list, i)))
                break;
        }
        PyObject *run = PyErr_Occurred() ? NULL : Py_BuildValue("(Ln)", (long long)made_ms, i - first);
        if (run == NULL || PyList_Append(runs, run))
            Py_CLEAR(runs);
        Py_XDECREF(run);
    }
    PyObject *answer = runs != NULL && crossing != NULL ? PyTuple_Pack(2, runs, crossing) : NULL;
    Py_XDECREF(runs);
    Py_XDECREF(crossing);
    return answer;
}

static int nibble(char sign)
{
    return sign >= '0' && sign <= '9' ? sign - '0' : sign >= 'a' && sign <= 'f' ? sign - 'a' + 10 : -1;
}

/* An id's bytes; zeros for one that is none of ours. */
static void put_id(const char *digits, Py_ssize_t count, char *to)
{
    memset(to, 0, ID_BYTES);
    if (count != DIGITS)
        return;
    for (int i = 0; i < ID_BYTES; i++) {
        int high = nibble(digits[2 * i]), low = nibble(digits[2 * i + 1]);
        if (high < 0 || low < 0) {
            memset(to, 0, ID_BYTES);
            return;
        }
        to[i] = (char)(high << 4 | low);
    }
}

/* A text that is the one before it again is that object: who looks it up knows its hash. */
static PyObject *text_like(PyObject *outcome, PyObject *name, PyObject *before)
{
    PyObject *found = outcome != NULL && outcome != Py_None ? PyObject_GetAttr(outcome, name) : Py_NewRef(known.empty);
    if (found != NULL && before != NULL && found != before && PyUnicode_Check(found) && PyUnicode_Check(before)
        && PyUnicode_Compare(found, before) == 0)
        Py_SETREF(found, Py_NewRef(before));
    return found;
}

enum { LEDGER_COLUMNS = 13 };

static PyObject *ledger_columns(PyObject *module, PyObject *list)
{
    (void)module;
    if (!are_pending(list))
        return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(list);
    PyObject *made[LEDGER_COLUMNS], *shard = NULL, *code = NULL, *made_ms = NULL;
    made[0] = PyBytes_FromStringAndSize(NULL, ID_BYTES * count);
    made[1] = PyBytes_FromStringAndSize(NULL, ID_BYTES * count);
    for (int c = 2; c < LEDGER_COLUMNS; c++)
        made[c] = PyList_New(count);
    int64_t last_ms = 0;
    for (Py_ssize_t i = 0; !PyErr_Occurred() && i < count; i++) {
        Pending *one = EACH(list, i);
        put_id(one->export_id, one->odd_id == NULL ? DIGITS : 0, PyBytes_AS_STRING(made[0]) + ID_BYTES * i);
        Span lane = text_of(one->lane);
        put_id(lane.at, (Py_ssize_t)lane.size, PyBytes_AS_STRING(made[1]) + ID_BYTES * i);
        if (made_ms == NULL || last_ms != one->made_ms) {
            last_ms = one->made_ms;
            Py_XSETREF(made_ms, PyLong_FromLongLong(last_ms));
        }
        Py_XSETREF(shard, text_like(one->outcome, shard_name, shard));
        Py_XSETREF(code, one->discarded != NULL && PyUnicode_GET_LENGTH(one->discarded) ? Py_NewRef(one->discarded)
                                                                                        : text_like(one->outcome, code_name, code));
        PyObject *values[] = {PyLong_FromLongLong(one->ordinal), PyLong_FromLongLong(one->seq),
                              PyLong_FromLongLong(one->version), PyLong_FromLongLong(one->epoch),
                              Py_NewRef(one->config), Py_XNewRef(made_ms), Py_NewRef(one->cause), Py_XNewRef(shard),
                              text_like(one->outcome, sequence_name, NULL), Py_XNewRef(code),
                              PyLong_FromLongLong(one->attempts)};
        for (int c = 0; c < LEDGER_COLUMNS - 2; c++)
            PyList_SET_ITEM(made[c + 2], i, values[c]);
    }
    Py_XDECREF(shard);
    Py_XDECREF(code);
    Py_XDECREF(made_ms);
    PyObject *answer = PyErr_Occurred() ? NULL : PyTuple_New(LEDGER_COLUMNS);
    for (int c = 0; c < LEDGER_COLUMNS; c++) {
        if (answer != NULL)
            PyTuple_SET_ITEM(answer, c, made[c]);
        else
            Py_XDECREF(made[c]);
    }
    return answer;
}

#endif
