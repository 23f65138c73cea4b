/* What is asked of many exports that were settled: functions of destinations/pending.py. */
#ifndef HEADRACE_SETTLED_H
#define HEADRACE_SETTLED_H

#include "many.h"

enum { ID_BYTES = 16, DELIVERED = 0 };

static int is_discarded(const Pending *one)
{
    return one->discarded != NULL && PyUnicode_GET_LENGTH(one->discarded);
}

static PyObject *shard_name, *sequence_name, *code_name;

/* Bytes that were delivered at the first write, and the exports that were settled in any other way. */
static PyObject *unusual(PyObject *module, PyObject *list)
{
    (void)module;
    PyObject *others = are_pending(list) ? PyList_New(0) : NULL;
    int64_t bytes = 0;
    for (Py_ssize_t i = 0, count = others != NULL ? PySequence_Fast_GET_SIZE(list) : 0; i < count; i++) {
        Pending *one = EACH(list, i);
        int usual = one->attempts <= 1 && !is_discarded(one) && one->outcome != NULL && one->outcome != Py_None
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
    return sign >= '0' && sign <= '9' ? sign - '0' : sign >= 'a' && sign <= 'f' ? sign - 'a' + 10
        : sign >= 'A' && sign <= 'F' ? sign - 'A' + 10 : -1;
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
        Py_XSETREF(code, is_discarded(one) ? Py_NewRef(one->discarded)
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
