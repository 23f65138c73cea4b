/* An export that waits: the class that destinations/pending.py has in Python. */
#ifndef HEADRACE_PENDING_H
#define HEADRACE_PENDING_H

#include "cause.h"

#include <structmember.h>

enum { DIGITS = 32 };

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

/* A chain of exports is let go of by a loop: a lane may be long. */
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

static PyObject *get_data(Pending *self, void *nothing)
{
    (void)nothing;
    return Py_NewRef(self->data);
}

static int set_data(Pending *self, PyObject *value, void *nothing)
{
    (void)nothing;
    if (value == NULL || !PyBytes_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "data is bytes");
        return -1;
    }
    Py_SETREF(self->data, Py_NewRef(value));
    return 0;
}

/* The next of a lane: an export, or None. */
static int set_next(PyObject **to, PyObject *value)
{
    if (value != NULL && value != Py_None && !Py_IS_TYPE(value, &pending_type)) {
        PyErr_SetString(PyExc_TypeError, "what waits is an export");
        return -1;
    }
    Py_XSETREF(*to, value != Py_None ? Py_XNewRef(value) : NULL);
    return 0;
}

static int set_behind(Pending *self, PyObject *value, void *nothing)
{
    (void)nothing;
    return set_next(&self->behind, value);
}

static int set_last(Pending *self, PyObject *value, void *nothing)
{
    (void)nothing;
    return set_next(&self->last, value);
}

static PyObject *get_behind(Pending *self, void *nothing)
{
    (void)nothing;
    return Py_NewRef(self->behind != NULL ? self->behind : Py_None);
}

static PyObject *get_last(Pending *self, void *nothing)
{
    (void)nothing;
    return Py_NewRef(self->last != NULL ? self->last : Py_None);
}

#define MEMBER(name, type, flags) {#name, type, offsetof(Pending, name), flags, NULL}
static PyMemberDef pending_members[] = {
    MEMBER(lane, T_OBJECT, READONLY),    MEMBER(key, T_OBJECT, READONLY),     MEMBER(message, T_OBJECT, READONLY),
    MEMBER(cause, T_OBJECT, READONLY),   MEMBER(config, T_OBJECT, READONLY),  MEMBER(after, T_OBJECT, READONLY),
    MEMBER(block, T_OBJECT, 0),          MEMBER(outcome, T_OBJECT, 0),
    MEMBER(ordinal, T_LONGLONG, READONLY),
    MEMBER(seq, T_LONGLONG, READONLY),   MEMBER(version, T_LONGLONG, READONLY), MEMBER(epoch, T_LONGLONG, READONLY),
    MEMBER(made_ms, T_LONGLONG, READONLY), MEMBER(size, T_LONGLONG, 0),       MEMBER(kept, T_LONGLONG, 0),
    MEMBER(attempts, T_LONGLONG, 0),     MEMBER(unknown, T_LONGLONG, 0),      MEMBER(index, T_PYSSIZET, 0),
    MEMBER(bucket, T_INT, READONLY),     {NULL, 0, 0, 0, NULL},
};
#undef MEMBER

static PyGetSetDef pending_getters[] = {
    {"export_id", (getter)get_export_id, NULL, NULL, NULL},
    {"export", (getter)get_export, NULL, NULL, NULL},
    {"behind", (getter)get_behind, (setter)set_behind, NULL, NULL},
    {"last", (getter)get_last, (setter)set_last, NULL, NULL},
    {"data", (getter)get_data, (setter)set_data, NULL, NULL},
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

#endif
