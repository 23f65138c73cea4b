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

/* Where the fields of an export and of a cause lie in their objects, in their order: reading thousands of them by name
 * would cost more than all else that is done with one. */
enum { EXPORT_FIELDS = 12, CAUSE_FIELDS = 6 };
enum { ORDINAL, PROFILE_ID, EXPORT_ID, SEQ, VERSION, EPOCH, KEY, DATA, CAUSE, MADE_MS, CONFIG, AFTER };
enum { JOINED = 3, LEFT = 4 };
static Py_ssize_t export_at[EXPORT_FIELDS], cause_at[CAUSE_FIELDS];

static int find_fields(PyObject *type, const char *const *names, int count, Py_ssize_t *at)
{
    for (int i = 0; i < count; i++) {
        PyObject *found = PyObject_GetAttrString(type, names[i]);
        int fits = found != NULL && Py_IS_TYPE(found, &PyMemberDescr_Type);
        if (fits) {
            const PyMemberDef *member = ((PyMemberDescrObject *)found)->d_member;
            fits = member->type == T_OBJECT || member->type == T_OBJECT_EX;
            at[i] = member->offset;
        }
        Py_XDECREF(found);
        if (!fits) {
            if (!PyErr_Occurred())
                PyErr_Format(PyExc_TypeError, "%R has no field %s", type, names[i]);
            return FAILED;
        }
    }
    return DONE;
}

static int find_all_fields(PyObject *export, PyObject *cause)
{
    static const char *const of_export[] = {"ordinal", "profile_id", "export_id", "seq",     "version", "epoch",
                                            "key",     "data",       "cause",     "made_ms", "config",  "after"};
    static const char *const of_cause[] = {"kind", "triggers", "paths", "joined", "left", "absorbed"};
    return find_fields(export, of_export, EXPORT_FIELDS, export_at)
            || find_fields(cause, of_cause, CAUSE_FIELDS, cause_at) ? FAILED : DONE;
}

static PyObject *field(PyObject *object, Py_ssize_t at)
{
    return *(PyObject **)((char *)object + at);
}

/* An export on its way; FAILED where it is none. */
static int fill_pending(Pending *self, PyObject *export, int bucket)
{
    PyObject *given[EXPORT_FIELDS];
    if ((PyObject *)Py_TYPE(export) != known.export)
        return FAILED;
    for (int i = 0; i < EXPORT_FIELDS; i++)
        if ((given[i] = field(export, export_at[i])) == NULL)
            return FAILED;
    PyObject *cause = given[CAUSE], *export_id = given[EXPORT_ID];
    if (!PyUnicode_Check(export_id) || !PyUnicode_Check(given[KEY]) || !PyUnicode_Check(given[PROFILE_ID])
        || !PyBytes_Check(given[DATA]) || (PyObject *)Py_TYPE(cause) != known.cause)
        return FAILED;
    PyObject *joined = field(cause, cause_at[JOINED]), *left = field(cause, cause_at[LEFT]);
    self->lane = Py_NewRef(given[PROFILE_ID]);
    self->key = Py_NewRef(given[KEY]);
    self->message = Py_NewRef(given[DATA]);
    self->data = Py_NewRef(given[DATA]);
    self->cause = Py_NewRef(cause);
    self->config = Py_NewRef(given[CONFIG]);
    self->after = Py_NewRef(given[AFTER]);
    self->ordinal = PyLong_AsLongLong(given[ORDINAL]);
    self->seq = PyLong_AsLongLong(given[SEQ]);
    self->version = PyLong_AsLongLong(given[VERSION]);
    self->epoch = PyLong_AsLongLong(given[EPOCH]);
    self->made_ms = PyLong_AsLongLong(given[MADE_MS]);
    self->bucket = bucket;
    self->crosses = (joined != NULL && PyObject_IsTrue(joined) > 0) || (left != NULL && PyObject_IsTrue(left) > 0);
    if (PyUnicode_IS_ASCII(export_id) && PyUnicode_GET_LENGTH(export_id) == DIGITS)
        memcpy(self->export_id, PyUnicode_DATA(export_id), DIGITS);
    else
        self->odd_id = Py_NewRef(export_id);
    self->size = charged(self->data, self->key);
    return PyErr_Occurred() ? FAILED : DONE;
}

static Pending *pending_of(PyObject *export, int bucket)
{
    Pending *self = new_pending();
    if (self != NULL && fill_pending(self, export, bucket)) {
        Py_CLEAR(self);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "Pending takes an export");
    }
    return self;
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
    return (PyObject *)pending_of(export, bucket);
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

/* What is next in a lane, of the member at *offset*: an export, or None. */
static PyObject *get_next(Pending *self, void *offset)
{
    PyObject *next = field((PyObject *)self, (Py_ssize_t)(intptr_t)offset);
    return Py_NewRef(next != NULL ? next : Py_None);
}

static int set_next(Pending *self, PyObject *value, void *offset)
{
    PyObject **to = (PyObject **)((char *)self + (intptr_t)offset);
    if (value != NULL && value != Py_None && !Py_IS_TYPE(value, &pending_type)) {
        PyErr_SetString(PyExc_TypeError, "what waits is an export");
        return -1;
    }
    Py_XSETREF(*to, value != Py_None ? Py_XNewRef(value) : NULL);
    return 0;
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
    {"behind", (getter)get_next, (setter)set_next, NULL, (void *)offsetof(Pending, behind)},
    {"last", (getter)get_next, (setter)set_next, NULL, (void *)offsetof(Pending, last)},
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
