/* Makes the identities of an update. */
#ifndef HEADRACE_IDENTITY_H
#define HEADRACE_IDENTITY_H

#include "cause.h"

/* Few namespaces come again and again: one object of each, whose hash is known. */
enum { MOST_NAMES = 32 };
static struct {
    char text[MOST_NAMESPACE];
    size_t size;
    PyObject *name;
} names[MOST_NAMES];
static int names_kept;

static PyObject *name_of(Span namespace)
{
    for (int i = 0; i < names_kept; i++)
        if (same((Span){names[i].text, names[i].size}, namespace))
            return Py_NewRef(names[i].name);
    PyObject *made = PyUnicode_FromStringAndSize(namespace.at, (Py_ssize_t)namespace.size);
    if (made != NULL && names_kept < MOST_NAMES) {
        memcpy(names[names_kept].text, namespace.at, namespace.size);
        names[names_kept].size = namespace.size;
        names[names_kept++].name = Py_NewRef(made);
    }
    return made;
}

static PyObject *identity_of(const Found *found)
{
    PyTypeObject *type = (PyTypeObject *)known.identity;
    PyObject *identity = type->tp_alloc(type, 2);
    if (identity == NULL)
        return NULL;
    PyObject *namespace = name_of(found->name);
    PyObject *id = PyUnicode_DecodeUTF8(found->id.at, (Py_ssize_t)found->id.size, NULL);
    if (namespace == NULL || id == NULL) {
        Py_XDECREF(namespace);
        Py_XDECREF(id);
        Py_DECREF(identity);
        return NULL;
    }
    PyTuple_SET_ITEM(identity, 0, namespace);
    PyTuple_SET_ITEM(identity, 1, id);
    return identity;
}

static int by_text(const Found *one, const Found *other)
{
    int found = compared(one->name, other->name);
    return found ? found : compared(one->id, other->id);
}

/* The order of an update's identities, each once: indexes among those found; the primary one's place in it. */
static int order_of(const Scanned *scanned, int order[MOST_IDENTITIES], int *primary)
{
    int count = 0, leading = -1;
    for (int i = 0; i < scanned->count; i++) {
        int at = 0;
        if (leading < 0 && scanned->found[i].primary)
            leading = i;
        while (at < count && by_text(&scanned->found[order[at]], &scanned->found[i]) < 0)
            at++;
        if (at < count && by_text(&scanned->found[order[at]], &scanned->found[i]) == 0)
            continue;
        memmove(order + at + 1, order + at, (size_t)(count - at) * sizeof(int));
        order[at] = i;
        count++;
    }
    *primary = 0;
    for (int at = 0; leading >= 0 && at < count; at++)
        if (by_text(&scanned->found[order[at]], &scanned->found[leading]) == 0)
            *primary = at;
    return count;
}

/* Identities in order, each once; the primary one's index in *primary*. */
static PyObject *identities_of(const Scanned *scanned, int *primary)
{
    int order[MOST_IDENTITIES], count = order_of(scanned, order, primary);
    PyObject *list = PyList_New(count);
    for (int at = 0; list != NULL && at < count; at++) {
        PyObject *identity = identity_of(&scanned->found[order[at]]);
        if (identity == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, at, identity);
    }
    return list;
}

#endif
