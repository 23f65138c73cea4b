/* What is asked of many exports at once on their way out: functions of destinations/pending.py and the encoder. */
#ifndef HEADRACE_MANY_H
#define HEADRACE_MANY_H

#include "pending.h"
#include "render.h"

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

static Buffer block_head;

/* The exports of one bucket, in order, as (bucket, exports, ordinals, the block's bytes). */
static PyObject *bucket_block(PyObject *list, int bucket, Py_ssize_t first, Py_ssize_t members, size_t bytes)
{
    begin(&block_head);
    pack_array(&block_head, (size_t)members);
    if (block_head.failed)
        return PyErr_NoMemory();
    PyObject *run = PyList_New(members), *ordinals = PyList_New(members);
    PyObject *whole = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(block_head.size + bytes));
    Py_ssize_t at = 0;
    if (run != NULL && ordinals != NULL && whole != NULL) {
        char *to = PyBytes_AS_STRING(whole);
        memcpy(to, block_head.at, block_head.size);
        to += block_head.size;
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

static int encode_one(Pending *one, PyObject *encode)
{
    PyObject *export = get_export(one, NULL), *encoded = export != NULL ? PyObject_CallOneArg(encode, export) : NULL;
    Py_XDECREF(export);
    if (encoded != NULL && !PyBytes_Check(encoded)) {
        Py_CLEAR(encoded);
        PyErr_SetString(PyExc_TypeError, "no bytes");
    }
    Py_XSETREF(one->encoded, encoded);
    return encoded == NULL ? FAILED : DONE;
}

static PyObject *blocks_by_bucket(PyObject *list, PyObject *encode)
{
    struct {
        Py_ssize_t first, members;
        size_t bytes;
    } of_bucket[256];
    int order[256], met = 0;
    for (Py_ssize_t i = 0, count = PySequence_Fast_GET_SIZE(list); i < count; i++) {
        Pending *one = EACH(list, i);
        if (one->bucket < 0 || one->bucket > 255)
            return PyErr_Format(PyExc_ValueError, "no such bucket");
        if (one->encoded == NULL && encode_one(one, encode))
            return NULL;
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

static PyObject *grouped(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *list, *encode;
    if (!PyArg_ParseTuple(arguments, "OO", &list, &encode) || !are_pending(list))
        return NULL;
    /* A tuple is what it was, whatever *encode* does. */
    PyObject *held = PySequence_Tuple(list), *answer = held != NULL ? blocks_by_bucket(held, encode) : NULL;
    Py_XDECREF(held);
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

static PyObject *verdict_name, *settle_name, *bucket_name;

/* pending(export, block, index): one that lies in a block already. */
static PyObject *in_block(PyObject *module, PyObject *const *given, Py_ssize_t count)
{
    (void)module;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "pending takes an export, a block and an index");
    PyObject *bucket = PyObject_GetAttr(given[1], bucket_name);
    long number = bucket != NULL ? PyLong_AsLong(bucket) : -1;
    Py_ssize_t index = PyLong_AsSsize_t(given[2]);
    Py_XDECREF(bucket);
    if (PyErr_Occurred())
        return NULL;
    Pending *self = pending_of(given[0], (int)number);
    if (self != NULL) {
        self->block = Py_NewRef(given[1]);
        self->index = index;
    }
    return (PyObject *)self;
}

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

/* Settles the exports from one on that lie beside one another in a block; the index behind them, or FAILED. */
static Py_ssize_t settle_run(PyObject *list, Py_ssize_t i, int64_t *size)
{
    PyObject *block = EACH(list, i)->block;
    Py_ssize_t first = EACH(list, i)->index, end = first;
    for (; i < PySequence_Fast_GET_SIZE(list) && EACH(list, i)->block == block && EACH(list, i)->index == end; i++, end++)
        *size += EACH(list, i)->size + EACH(list, i)->kept;
    PyObject *from = PyLong_FromSsize_t(first), *to = PyLong_FromSsize_t(end), *done = NULL;
    if (block == NULL)
        PyErr_SetString(PyExc_ValueError, "it lies in no block");
    else if (from != NULL && to != NULL)
        done = PyObject_CallMethodObjArgs(block, settle_name, from, to, NULL);
    Py_XDECREF(from);
    Py_XDECREF(to);
    Py_XDECREF(done);
    return done != NULL ? i : FAILED;
}

static PyObject *settle(PyObject *module, PyObject *given)
{
    (void)module;
    int64_t size = 0;
    Py_ssize_t i = 0;
    PyObject *list = are_pending(given) ? PySequence_Tuple(given) : NULL;
    if (list == NULL)
        return NULL;
    while (i >= 0 && i < PySequence_Fast_GET_SIZE(list))
        i = settle_run(list, i, &size);
    Py_DECREF(list);
    return i >= 0 ? PyLong_FromLongLong(size) : NULL;
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

#endif
