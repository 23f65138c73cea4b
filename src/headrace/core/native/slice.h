/* The type of slices. Updates are read; looked up; then decided one after the other. One that is left to Python ends a
 * run: Python decides it, and has the next run begin behind it.
 *
 * The rules are those of runtimes/embedded/decide.py, of what most updates are: those about one profile, that join none.
 * See core/plain.py for what the type takes and gives.
 */
#ifndef HEADRACE_SLICE_H
#define HEADRACE_SLICE_H

#include "keep.h"

/* put_profiles(put, key prefix, profiles by id, cache): those that are there go to the batch, and to the cache. */
static PyObject *put_profiles(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *write, *prefix, *profiles, *cache, *profile_id, *profile;
    Py_ssize_t at = 0, ahead = 0;
    if (!PyArg_ParseTuple(arguments, "OSO!O!", &write, &prefix, &PyDict_Type, &profiles, &PyDict_Type, &cache))
        return NULL;
    for (int i = 0; i < PROFILES_AHEAD; i++)
        PyDict_Next(profiles, &ahead, NULL, NULL);
    while (PyDict_Next(profiles, &at, &profile_id, &profile)) {
        PyObject *later_id, *later;
        if (PyDict_Next(profiles, &ahead, &later_id, &later)) {
            fetch(later_id, 2);
            fetch(later, PROFILE_LINES);
        }
        if (profile == Py_None)
            continue;
        Span id = text_of(profile_id), before = bytes_of(prefix);
        PyObject *key = id.at != NULL ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(before.size + id.size)) : NULL;
        if (key == NULL)
            return NULL;
        memcpy(PyBytes_AS_STRING(key), before.at, before.size);
        memcpy(PyBytes_AS_STRING(key) + before.size, id.at, id.size);
        PyObject *pair[] = {key, profile};
        PyObject *done = PyObject_Vectorcall(write, pair, 2, NULL);
        Py_DECREF(key);
        Py_XDECREF(done);
        if (done == NULL || PyDict_SetItem(cache, profile_id, profile))
            return NULL;
    }
    Py_RETURN_NONE;
}

static void empty(Slice *slice)
{
    for (int i = 0; i < slice->count; i++) {
        Py_CLEAR(slice->waiting[i].body);
        Py_CLEAR(slice->waiting[i].digest);
    }
    for (int i = 0; i < slice->key_count; i++)
        Py_CLEAR(slice->keys[i]);
    slice->count = slice->key_count = 0;
    begin(&slice->notes);
}

static int check_given(const Slice *slice)
{
    PyObject *const *dicts[] = {&slice->rows, &slice->old_rows, &slice->profiles, &slice->old_profiles, &slice->changed,
                                &slice->pointed, &slice->names, &slice->seen, &slice->decisions, &slice->bases};
    PyObject *const *lists[] = {&slice->new_ids, &slice->bodies, &slice->named, &slice->decision, &slice->exports};
    int fits = PyType_Check(slice->row_type) && PyBytes_Check(slice->key_prefix) && PyByteArray_CheckExact(slice->kinds)
        && PyByteArray_CheckExact(slice->sources) && PyUnicode_Check(slice->now_text) && text_of(slice->now_text).size == SINCE;
    for (size_t i = 0; i < sizeof dicts / sizeof *dicts; i++)
        fits = fits && PyDict_Check(*dicts[i]);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        fits = fits && PyList_Check(*lists[i]);
    return fits && holds_lists(slice->exports, slice->planned->count);
}

static PyObject *slice_new(PyTypeObject *type, PyObject *arguments, PyObject *named)
{
    static char *names[] = {"given", "now_ms", "now", "base_from", "most_identities", "stitches_all", "heeds_ids", NULL};
    PyObject *given, *now_text;
    long long now_ms, base_from, most;
    int stitches_all, heeds_ids;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!LULLpp", names, &PyTuple_Type, &given, &now_ms, &now_text,
                                     &base_from, &most, &stitches_all, &heeds_ids))
        return NULL;
    if (PyTuple_GET_SIZE(given) != GIVEN)
        return PyErr_Format(PyExc_TypeError, "Slice takes what core/plain.py says");
    const Plan *plan = PyCapsule_GetPointer(PyTuple_GET_ITEM(given, 0), "headrace.plan");
    Slice *slice = PyErr_Occurred() ? NULL : (Slice *)type->tp_alloc(type, 0);
    if (slice == NULL)
        return NULL;
    for (int i = 0; i < GIVEN; i++)
        slice->given[i] = Py_NewRef(PyTuple_GET_ITEM(given, i));
    slice->planned = plan;
    slice->now_text = Py_NewRef(now_text);
    slice->now_ms = now_ms;
    slice->base_from = base_from;
    slice->most_identities = most;
    slice->stitches_all = stitches_all;
    slice->heeds_ids = heeds_ids;
    slice->ends = PyList_New(0);
    slice->held_back = PyList_New(0);
    slice->flows = PyMem_Calloc((size_t)plan->count + 1, sizeof *slice->flows);
    slice->known_reasons = PyMem_Calloc((size_t)plan->count * MOST_PLACES + 1, sizeof *slice->known_reasons);
    for (int f = 0; f < plan->count; f++)
        slice->holds_back |= plan->flows[f].holds_back;
    if (slice->ends == NULL || slice->held_back == NULL || slice->flows == NULL || slice->known_reasons == NULL)
        PyErr_NoMemory();
    else if (now_ms < 0 || !check_given(slice))
        PyErr_Format(PyExc_TypeError, "Slice takes what core/plain.py says");
    if (PyErr_Occurred())
        Py_CLEAR(slice);
    return (PyObject *)slice;
}

static void slice_dealloc(Slice *slice)
{
    empty(slice);
    for (int i = 0; i < GIVEN; i++)
        Py_XDECREF(slice->given[i]);
    Py_XDECREF(slice->now_text);
    Py_XDECREF(slice->ends);
    Py_XDECREF(slice->held_back);
    PyMem_Free(slice->notes.at);
    PyMem_Free(slice->flows);
    PyMem_Free(slice->places);
    PyMem_Free(slice->known_reasons);
    Py_TYPE(slice)->tp_free((PyObject *)slice);
}

static PyObject *slice_clear(Slice *slice, PyObject *nothing)
{
    (void)nothing;
    empty(slice);
    Py_RETURN_NONE;
}

static PyObject *slice_read(Slice *slice, PyObject *arguments)
{
    PyObject *bodies, *ids;
    Py_ssize_t start, end, number, index;
    int source, found = DONE;
    if (!PyArg_ParseTuple(arguments, "OOnnni", &bodies, &ids, &start, &end, &number, &source))
        return NULL;
    if (start < 0 || source < 0 || source > 255)
        return PyErr_Format(PyExc_ValueError, "no such update");
    for (index = start; !found && !busy && index < end && slice->count < MOST_WAITING; index++) {
        PyObject *body = PySequence_GetItem(bodies, index);
        PyObject *given_id = body != NULL && ids != Py_None ? PySequence_GetItem(ids, index) : NULL;
        found = FAILED;
        if (body != NULL && (ids == Py_None || given_id != NULL)) {
            Waiting *one = &slice->waiting[slice->count];
            busy = 1;
            found = read_one(slice, body, given_id);
            busy = 0;
            one->number = number;
            one->index = index;
            one->source = source;
        }
        Py_XDECREF(body);
        Py_XDECREF(given_id);
    }
    if (found == FAILED)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    return PyLong_FromSsize_t(index - start - (found == NOT_PLAIN));
}

static PyObject *slice_leave(Slice *slice, PyObject *nothing)
{
    (void)nothing;
    if (slice->count == MOST_WAITING)
        return PyErr_Format(PyExc_ValueError, "the slice is full");
    Waiting *one = &slice->waiting[slice->count++];
    memset(one, 0, sizeof *one);
    one->first = slice->key_count;
    Py_RETURN_NONE;
}

static PyObject *slice_look(Slice *slice, PyObject *nothing)
{
    (void)nothing;
    PyObject *lists[4];
    int found = DONE;
    for (int i = 0; i < 4; i++)
        if ((lists[i] = PyList_New(0)) == NULL)
            found = FAILED;
    for (int i = 0; !found && i < slice->count; i++)
        if (slice->waiting[i].body != NULL)
            found = look_one(slice, &slice->waiting[i], lists[0], lists[1], lists[2], lists[3]);
    PyObject *answer = found ? NULL : PyTuple_Pack(4, lists[0], lists[1], lists[2], lists[3]);
    for (int i = 0; i < 4; i++)
        Py_XDECREF(lists[i]);
    return answer;
}

static PyObject *slice_decide(Slice *slice, PyObject *arguments)
{
    Py_ssize_t at;
    long long ordinal;
    if (!PyArg_ParseTuple(arguments, "nL", &at, &ordinal))
        return NULL;
    if (at < 0 || ordinal < 0)
        return PyErr_Format(PyExc_ValueError, "no such update");
    int found = DONE;
    while (at < slice->count && slice->waiting[at].body != NULL && !busy) {
        busy = 1;
        found = decide_one(slice, &slice->waiting[at], ordinal);
        busy = 0;
        if (found)
            break;
        at++;
        ordinal++;
    }
    if (found == FAILED)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    return PyLong_FromSsize_t(at);
}

static PyObject *slice_left(Slice *slice, PyObject *given)
{
    Py_ssize_t at = PyLong_AsSsize_t(given);
    if (at < 0 || at >= slice->count)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_IndexError, "no such update");
    const Waiting *one = &slice->waiting[at];
    if (one->body == NULL)
        Py_RETURN_NONE;
    return Py_BuildValue("(OOnni)", one->body, one->digest != NULL ? one->digest : Py_None, one->number, one->index, one->source);
}

static PyObject *slice_told(Slice *slice, PyObject *nothing)
{
    (void)nothing;
    if (!PyList_GET_SIZE(slice->ends) && !PyList_GET_SIZE(slice->held_back))
        Py_RETURN_NONE;
    PyObject *ends = PyList_New(0), *held_back = PyList_New(0);
    if (ends == NULL || held_back == NULL) {
        Py_XDECREF(ends);
        Py_XDECREF(held_back);
        return NULL;
    }
    PyObject *answer = Py_BuildValue("(NN)", slice->ends, slice->held_back);
    slice->ends = ends;
    slice->held_back = held_back;
    return answer;
}

static PyObject *slice_counted(Slice *slice, PyObject *nothing)
{
    (void)nothing;
    PyObject *places = PyList_New(slice->place_room), *flows = PyList_New(slice->planned->count);
    for (Py_ssize_t i = 0; places != NULL && i < slice->place_room; i++)
        PyList_SET_ITEM(places, i, PyLong_FromLongLong(slice->places[i]));
    for (int f = 0; flows != NULL && f < slice->planned->count; f++) {
        const FlowCounts *one = &slice->flows[f];
        PyList_SET_ITEM(flows, f, Py_BuildValue("(L(LLLLLLLL))", (long long)one->bytes, (long long)one->fired[0],
            (long long)one->fired[1], (long long)one->fired[2], (long long)one->fired[3], (long long)one->fired[4],
            (long long)one->fired[5], (long long)one->fired[6], (long long)one->fired[7]));
    }
    PyObject *answer = NULL;
    if (places != NULL && flows != NULL && !PyErr_Occurred())
        answer = Py_BuildValue("(LLLOO)", (long long)slice->accepted, (long long)slice->made, (long long)slice->older,
                               places, flows);
    Py_XDECREF(places);
    Py_XDECREF(flows);
    return answer;
}

static PyMethodDef slice_methods[] = {
    {"clear", (PyCFunction)(void (*)(void))slice_clear, METH_NOARGS, "Begin with no update."},
    {"read", (PyCFunction)(void (*)(void))slice_read, METH_VARARGS,
     "read(bodies, ids or None, start, end, batch, source) -> how many it read before one that it leaves, or it was full"},
    {"leave", (PyCFunction)(void (*)(void))slice_leave, METH_NOARGS, "Keep a place for an update that Python has read."},
    {"look", (PyCFunction)(void (*)(void))slice_look, METH_NOARGS,
     "look() -> (keys of identities, ids of profiles, keys of updates about nobody known, digests) to be read"},
    {"decide", (PyCFunction)(void (*)(void))slice_decide, METH_VARARGS,
     "decide(from, ordinal) -> the first that is left to Python, or how many there are"},
    {"left", (PyCFunction)(void (*)(void))slice_left, METH_O,
     "left(at) -> (body, digest or None, batch, index, source) of one that C has read; None for another"},
    {"told", (PyCFunction)(void (*)(void))slice_told, METH_NOARGS,
     "told() -> ([(profile id, ordinal, namespace, member, since)], [(held, profile id)]) since the last call; None for nothing"},
    {"counted", (PyCFunction)(void (*)(void))slice_counted, METH_NOARGS,
     "counted() -> (accepted, profiles made, memberships too late, inputs by decision, [(bytes, exports by triggers)])"},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject slice_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "headrace.core._native.Slice",
    .tp_basicsize = sizeof(Slice),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Some updates at once; see core/plain.py.",
    .tp_new = slice_new,
    .tp_dealloc = (destructor)slice_dealloc,
    .tp_methods = slice_methods,
};

#endif
