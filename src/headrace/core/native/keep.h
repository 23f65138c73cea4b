/* Decides an update of a slice, and puts what it comes to where the batch under way keeps it. */
#ifndef HEADRACE_KEEP_H
#define HEADRACE_KEEP_H

#include "waiting.h"

static int same_row(PyObject *one, PyObject *other)
{
    if (one == other)
        return 1;
    int found = PyObject_RichCompareBool(one, other, Py_EQ);
    if (found < 0)
        PyErr_Clear(); /* Python will meet it again */
    return found == 1;
}

/* How many identities a profile has; -1 where that cannot be read. */
static int64_t identities_in(PyObject *stored)
{
    Profile profile;
    size_t namespaces, ids;
    Span namespace, value;
    int64_t count = 0;
    if (read_profile(bytes_of(stored), &profile))
        return -1;
    In from = in(profile.identities);
    if (!read_map(&from, &namespaces))
        return -1;
    for (; namespaces; namespaces--) {
        if (!read_text(&from, &namespace) || !read_value(&from, &value))
            return -1;
        In of_one = in(value);
        if (!read_array(&of_one, &ids))
            return -1;
        count += (int64_t)ids;
    }
    return count;
}

/* Whose an update is (borrowed): its profile's id, and row and bytes, both NULL for one that it makes. With *points*
 * some of its identities do not lead there yet. */
static int whose(Slice *slice, const Waiting *one, PyObject **profile_id, PyObject **its_row, PyObject **stored, int *points)
{
    PyObject *row = NULL;
    int unknown = 0;
    for (int i = one->first; i < one->first + one->count; i++) {
        PyObject *found = PyDict_GetItemWithError(slice->rows, slice->keys[i]);
        if (found == NULL && PyErr_Occurred())
            return FAILED;
        if (found == NULL)
            unknown++;
        else if (row == NULL)
            row = found;
        else if (!same_row(row, found))
            return NOT_PLAIN;
    }
    if (unknown && one->count > 1 && (!slice->stitches_all || unknown > slice->most_identities))
        return NOT_PLAIN;
    *profile_id = row != NULL ? PyTuple_GET_ITEM(row, 0)
                              : PyDict_GetItemWithError(slice->names, slice->keys[one->first + one->primary]);
    PyObject *found = *profile_id != NULL ? PyDict_GetItemWithError(slice->changed, *profile_id) : NULL;
    if (found == NULL && *profile_id != NULL && !PyErr_Occurred())
        found = PyDict_GetItemWithError(slice->profiles, *profile_id);
    if (PyErr_Occurred())
        return FAILED;
    if (*profile_id == NULL || (row != NULL) != (found != NULL) || found == Py_None)
        return NOT_PLAIN; /* the name is not known, or taken, or the profile gone */
    if (row != NULL && unknown) {
        int64_t had = identities_in(found);
        if (had < 0 || had + unknown > slice->most_identities)
            return NOT_PLAIN;
    }
    *its_row = row;
    *stored = found;
    *points = unknown > 0;
    return DONE;
}

/* Where a decision is among the different ones of the batch. */
static Py_ssize_t place_of(Slice *slice, PyObject **reasons)
{
    int flows = slice->planned->count;
    for (int i = 0; i < slice->known_count; i++)
        if (!memcmp(slice->known_reasons + (size_t)i * (size_t)flows, reasons, (size_t)flows * sizeof *reasons))
            return slice->known_places[i];
    PyObject *held = PyTuple_New(flows);
    for (int f = 0; held != NULL && f < flows; f++)
        PyTuple_SET_ITEM(held, f, Py_NewRef(reasons[f]));
    PyObject *found = held != NULL ? PyDict_GetItemWithError(slice->decisions, held) : NULL;
    Py_ssize_t place = found != NULL ? PyLong_AsSsize_t(found) : -1;
    if (held != NULL && found == NULL && !PyErr_Occurred()) {
        PyObject *number = PyLong_FromSsize_t(PyDict_GET_SIZE(slice->decisions));
        if (number != NULL && !PyDict_SetItem(slice->decisions, held, number))
            place = PyDict_GET_SIZE(slice->decisions) - 1;
        Py_XDECREF(number);
    }
    Py_XDECREF(held);
    if (place >= slice->place_room) {
        Py_ssize_t room = 2 * place + 16;
        int64_t *places = PyMem_Realloc(slice->places, (size_t)room * sizeof *places);
        if (places == NULL)
            return -1;
        memset(places + slice->place_room, 0, (size_t)(room - slice->place_room) * sizeof *places);
        slice->places = places;
        slice->place_room = room;
    }
    if (place >= 0 && slice->known_count < MOST_PLACES) {
        memcpy(slice->known_reasons + (size_t)slice->known_count * (size_t)flows, reasons, (size_t)flows * sizeof *reasons);
        slice->known_places[slice->known_count++] = place;
    }
    return place;
}

static int append_byte(PyObject *bytes, int byte)
{
    Py_ssize_t size = PyByteArray_GET_SIZE(bytes);
    if (PyByteArray_Resize(bytes, size + 1))
        return FAILED;
    PyByteArray_AS_STRING(bytes)[size] = (char)byte;
    return DONE;
}

/* Keeps a profile as it was before an input, where the journal would not lead there soon. */
static int keep_base(Slice *slice, PyObject *stored, const Profile *before)
{
    if (stored != NULL && before->ordinal >= slice->base_from && before->version % BASE_VERSIONS)
        return DONE;
    PyObject *place = PyLong_FromSsize_t(PyByteArray_GET_SIZE(slice->kinds));
    PyObject *base = PyList_New(stored != NULL);
    if (base != NULL && stored != NULL)
        PyList_SET_ITEM(base, 0, Py_NewRef(stored));
    int failed = place == NULL || base == NULL || PyDict_SetItem(slice->bases, place, base);
    Py_XDECREF(place);
    Py_XDECREF(base);
    return failed ? FAILED : DONE;
}

static PyObject *row_of(const Slice *slice, PyObject *profile_id, PyObject *epoch)
{
    PyTypeObject *type = (PyTypeObject *)slice->row_type;
    PyObject *row = type->tp_alloc(type, 2);
    if (row != NULL) {
        PyTuple_SET_ITEM(row, 0, Py_NewRef(profile_id));
        PyTuple_SET_ITEM(row, 1, Py_NewRef(epoch));
    }
    return row;
}

/* All identities of an update lead to its profile. */
static int point(Slice *slice, const Waiting *one, PyObject *row)
{
    for (int i = one->first; i < one->first + one->count; i++) {
        if (PyDict_GetItemWithError(slice->rows, slice->keys[i]) != NULL)
            continue;
        if (PyErr_Occurred() || PyDict_SetItem(slice->rows, slice->keys[i], row)
            || PyDict_SetItem(slice->pointed, slice->keys[i], row))
            return FAILED;
    }
    return DONE;
}

typedef struct {
    Slice *slice;
    const Change *change;
} Teller;

static int tell_end(void *whom, Span namespace, int member, Span since)
{
    const Teller *teller = whom;
    PyObject *one = Py_BuildValue("(OLs#Os#)", teller->change->profile_id, (long long)teller->change->ordinal,
                                  namespace.at, (Py_ssize_t)namespace.size, member ? Py_True : Py_False, since.at, (Py_ssize_t)SINCE);
    int failed = one == NULL || PyList_Append(teller->slice->ends, one);
    Py_XDECREF(one);
    return failed;
}

static int hold_back(Slice *slice, PyObject **reasons, PyObject *profile_id)
{
    int flows = slice->planned->count, any = 0;
    for (int f = 0; f < flows; f++)
        any |= reasons[f] == known.catch_up;
    if (!any)
        return DONE;
    PyObject *held = PyTuple_New(flows), *one = NULL;
    for (int f = 0; held != NULL && f < flows; f++)
        PyTuple_SET_ITEM(held, f, Py_NewRef(reasons[f]));
    if (held != NULL)
        one = PyTuple_Pack(2, held, profile_id);
    int failed = one == NULL || PyList_Append(slice->held_back, one);
    Py_XDECREF(held);
    Py_XDECREF(one);
    return failed ? FAILED : DONE;
}

/* Enters an update into the journal's block. */
static int enter(Slice *slice, const Waiting *one, PyObject *profile_id, PyObject **reasons)
{
    Py_ssize_t place = place_of(slice, reasons);
    PyObject *number = place >= 0 ? PyLong_FromSsize_t(place) : NULL;
    int failed = number == NULL || PyList_Append(slice->decision, number) || PyList_Append(slice->bodies, one->body)
        || PyList_Append(slice->named, profile_id) || append_byte(slice->kinds, 0) || append_byte(slice->sources, one->source);
    Py_XDECREF(number);
    if (failed)
        return FAILED;
    slice->places[place]++;
    slice->accepted++;
    return DONE;
}

/* Puts what an update came to where the batch keeps it. */
static int keep(Slice *slice, const Waiting *one, Change *change, PyObject *stored, PyObject *row, Applied *applied)
{
    if (applied->profile != NULL) {
        Teller teller = {slice, change};
        if (keep_base(slice, stored, &applied->before)
            || PyDict_SetItem(slice->changed, change->profile_id, applied->profile)
            || tell_ends(change, tell_end, &teller) || (row != NULL && point(slice, one, row)))
            return FAILED;
        slice->made += stored == NULL;
    }
    slice->older += applied->older;
    if (slice->holds_back && hold_back(slice, applied->reasons, change->profile_id))
        return FAILED;
    if (one->digest != NULL
        && (PyDict_SetItem(slice->seen, one->digest, Py_True) || PyList_Append(slice->new_ids, one->digest)))
        return FAILED;
    for (int f = 0; f < slice->planned->count; f++)
        if (applied->exports[f] != NULL) {
            if (PyList_Append(PyList_GET_ITEM(slice->exports, f), applied->exports[f]))
                return FAILED;
            slice->flows[f].bytes += (int64_t)applied->bytes[f];
            slice->flows[f].fired[applied->fired[f] & 7]++;
        }
    return enter(slice, one, change->profile_id, applied->reasons);
}

static int decide_one(Slice *slice, const Waiting *one, int64_t ordinal)
{
    PyObject *profile_id, *row, *stored;
    int points;
    Named identities[MOST_IDENTITIES];
    Applied applied;
    if (one->digest != NULL) {
        PyObject *came = PyDict_GetItemWithError(slice->seen, one->digest);
        if (came != Py_False)
            return PyErr_Occurred() ? FAILED : NOT_PLAIN;
    }
    int found = whose(slice, one, &profile_id, &row, &stored, &points);
    if (found)
        return found;
    for (int i = 0; i < one->count; i++)
        identities[i] = named_by(slice, slice->keys[one->first + i]);
    PyObject *number = PyLong_FromLongLong(ordinal);
    if (number == NULL)
        return FAILED;
    /* Held, since what they are in may change while Python code runs. */
    Py_INCREF(profile_id);
    Py_XINCREF(stored);
    row = row == NULL ? row_of(slice, profile_id, number) : points ? Py_NewRef(row) : NULL;
    Change change = {0};
    change.profile_id = profile_id;
    change.ordinal = ordinal;
    change.now_ms = slice->now_ms;
    change.bucket = -1;
    found = points && row == NULL ? FAILED
        : apply_note(stored, (Span){slice->notes.at + one->note, one->noted}, identities, one->count, &change,
                     text_of(slice->now_text).at, slice->planned, &applied);
    if (!found) {
        found = keep(slice, one, &change, stored, row, &applied);
        forget(slice->planned, &applied);
    }
    Py_XDECREF(row);
    Py_DECREF(number);
    Py_XDECREF(stored);
    Py_DECREF(profile_id);
    return found;
}

#endif
