/* Some updates at once: what a slice holds of them, how they are read, and what is looked up of them. */
#ifndef HEADRACE_WAITING_H
#define HEADRACE_WAITING_H

#include "decide.h"
#include "identity.h"

enum { MOST_BODY = 1048576, MOST_WAITING = 64, MOST_PLACES = 64 };
enum { BASE_VERSIONS = 256 }; /* as runtimes/embedded/entries.py has it */

/* Whether a call is under way: its buffers are everybody's. Making an object may run other Python code (a collection's
 * finalizers), and that may let another thread in; whoever comes meanwhile is left to Python. */
static int busy;

static int holds_lists(PyObject *lists, int count)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(lists); i++)
        if (!PyList_Check(PyList_GET_ITEM(lists, i)))
            return 0;
    return PyList_GET_SIZE(lists) == count;
}

/* An update that waits to be decided. */
typedef struct {
    PyObject *body;   /* NULL where Python read it */
    PyObject *digest; /* of its id; NULL for none */
    int first, count, primary; /* its identities, among those of the slice */
    int source;
    Py_ssize_t number, index;
    size_t note, noted;
} Waiting;

/* What a flow's exports come to. */
typedef struct {
    int64_t bytes, fired[8];
} FlowCounts;

enum { GIVEN = 20, PROFILE_LINES = 14, PROFILES_AHEAD = 4 };

typedef struct {
    PyObject_HEAD
    union {
        PyObject *given[GIVEN];
        struct {
            PyObject *plan, *row_type, *key_prefix, *rows, *old_rows, *profiles, *old_profiles, *changed, *pointed,
                *names, *seen, *new_ids, *kinds, *bodies, *sources, *named, *decision, *decisions, *bases, *exports;
        };
    };
    PyObject *now_text, *ends, *held_back;
    const Plan *planned;
    int64_t now_ms, base_from, most_identities;
    int stitches_all; /* no namespace is kept from joining profiles */
    int heeds_ids;    /* ids of updates count */
    int holds_back;
    Buffer notes;
    Waiting waiting[MOST_WAITING];
    int count;
    PyObject *keys[MOST_WAITING * MOST_IDENTITIES]; /* of the identities, as the state has them */
    int key_count;
    /* What `counted` tells: */
    int64_t accepted, made, older;
    FlowCounts *flows;
    int64_t *places; /* inputs by decision */
    Py_ssize_t place_room;
    /* The decisions met last: reasons one after the other, and where each is among all. */
    PyObject **known_reasons;
    Py_ssize_t known_places[MOST_PLACES];
    int known_count;
} Slice;

/* -- reading ------------------------------------------------------------------------------------ */

static PyObject *key_bytes(const Slice *slice, const Found *found)
{
    Span prefix = bytes_of(slice->key_prefix);
    PyObject *key = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(prefix.size + found->name.size + 1 + found->id.size));
    if (key == NULL)
        return NULL;
    char *to = PyBytes_AS_STRING(key);
    memcpy(to, prefix.at, prefix.size);
    memcpy(to + prefix.size, found->name.at, found->name.size);
    to[prefix.size + found->name.size] = 0;
    memcpy(to + prefix.size + found->name.size + 1, found->id.at, found->id.size);
    return key;
}

static Named named_by(const Slice *slice, PyObject *key)
{
    Span whole = bytes_of(key), name = {whole.at + PyBytes_GET_SIZE(slice->key_prefix), 0};
    name.size = strlen(name.at);
    return (Named){name, {name.at + name.size + 1, (size_t)(whole.at + whole.size - name.at) - name.size - 1}};
}

static PyObject *digest_of(Span update_id)
{
    uint8_t digest[DIGEST];
    blake2b(update_id, digest);
    return PyBytes_FromStringAndSize((const char *)digest, DIGEST);
}

/* Reads one update into the slice: its identities, its note and the digest of its id. */
static int read_one(Slice *slice, PyObject *body, PyObject *given_id)
{
    Scanned scanned;
    int order[MOST_IDENTITIES];
    if (!PyBytes_Check(body) || PyBytes_GET_SIZE(body) > MOST_BODY || scan_update(bytes_of(body), &scanned))
        return NOT_PLAIN;
    Waiting *one = &slice->waiting[slice->count];
    uint32_t counts[2] = {(uint32_t)scanned.attributes, (uint32_t)scanned.memberships};
    if (!slice->heeds_ids)
        scanned.update_id.size = 0;
    else if (given_id != NULL && PyUnicode_Check(given_id) && PyUnicode_GET_LENGTH(given_id)) {
        scanned.update_id = text_of(given_id);
        if (scanned.update_id.at == NULL)
            return FAILED;
    }
    one->note = slice->notes.size;
    put(&slice->notes, counts, sizeof counts);
    put(&slice->notes, noted_memberships.at, noted_memberships.size);
    put(&slice->notes, noted_attributes.at, noted_attributes.size);
    one->noted = slice->notes.size - one->note;
    one->first = slice->key_count;
    one->count = order_of(&scanned, order, &one->primary);
    one->digest = scanned.update_id.size ? digest_of(scanned.update_id) : NULL;
    one->body = Py_NewRef(body);
    slice->count++; /* from here on clearing the slice lets go of what it holds */
    for (int i = 0; i < one->count; i++) {
        PyObject *key = key_bytes(slice, &scanned.found[order[i]]);
        if (key == NULL)
            return FAILED;
        slice->keys[slice->key_count++] = key;
    }
    return slice->notes.failed || (scanned.update_id.size && one->digest == NULL) ? FAILED : DONE;
}

/* -- looking up --------------------------------------------------------------------------------- */

/* What a cache of two generations has, from now on as used (borrowed); NULL for nothing, or with an error set. */
static PyObject *recent(PyObject *young, PyObject *old, PyObject *key)
{
    PyObject *found = PyDict_GetItemWithError(young, key);
    if (found == NULL && !PyErr_Occurred() && PyDict_GET_SIZE(old)) {
        found = PyDict_GetItemWithError(old, key);
        if (found != NULL && PyDict_SetItem(young, key, found))
            found = NULL;
    }
    return found;
}

/* Adds a profile to those to be read, unless it is at hand. */
static int want_profile(Slice *slice, PyObject *profile_id, PyObject *unread)
{
    PyObject *found = recent(slice->profiles, slice->old_profiles, profile_id);
    if (found != NULL) {
        fetch(found, PROFILE_LINES);
        return DONE;
    }
    if (PyErr_Occurred())
        return FAILED;
    int changed = PyDict_Contains(slice->changed, profile_id);
    return changed ? (changed < 0 ? FAILED : DONE) : PyList_Append(unread, profile_id);
}

/* The keys of an update, that of the primary identity first. */
static PyObject *keys_of(const Slice *slice, const Waiting *one)
{
    PyObject *keys = PyList_New(one->count);
    for (int i = 0; keys != NULL && i < one->count; i++) {
        int at = i == 0 ? one->primary : i <= one->primary ? i - 1 : i;
        PyList_SET_ITEM(keys, i, Py_NewRef(slice->keys[one->first + at]));
    }
    return keys;
}

static int look_one(Slice *slice, const Waiting *one, PyObject *wanted, PyObject *unread, PyObject *unknown,
                    PyObject *digests)
{
    int known = 0;
    for (int i = one->first; i < one->first + one->count; i++) {
        PyObject *row = recent(slice->rows, slice->old_rows, slice->keys[i]);
        if (row == NULL && (PyErr_Occurred() || PyList_Append(wanted, slice->keys[i])))
            return FAILED;
        if (row != NULL && want_profile(slice, PyTuple_GET_ITEM(row, 0), unread))
            return FAILED;
        known |= row != NULL;
    }
    if (!known) {
        PyObject *keys = keys_of(slice, one);
        int failed = keys == NULL || PyList_Append(unknown, keys);
        Py_XDECREF(keys);
        if (failed)
            return FAILED;
    }
    if (one->digest != NULL) {
        int came = PyDict_Contains(slice->seen, one->digest);
        if (came < 0 || (!came && PyList_Append(digests, one->digest)))
            return FAILED;
    }
    return DONE;
}

#endif
