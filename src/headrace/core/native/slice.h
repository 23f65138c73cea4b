/* Some updates at once: read; looked up; then decided one after the other, and what each comes to put where the batch
 * under way keeps it. One that is left to Python ends a run: Python decides it, and has the next run begin behind it.
 *
 * The rules are those of runtimes/embedded/decide.py, of what most updates are: one whose identities are all of one
 * profile, or all new. See core/plain.py for what the type takes and gives.
 */
#ifndef HEADRACE_SLICE_H
#define HEADRACE_SLICE_H

#include "decide.h"
#include "identity.h"

enum { MOST_BODY = 1048576, MOST_WAITING = 64, MOST_PLACES = 64, BASE_VERSIONS = 256 };

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
    int holds_back;
    Buffer notes;
    Waiting waiting[MOST_WAITING];
    int count;
    PyObject *keys[MOST_WAITING * MOST_IDENTITIES]; /* of the identities, as the state has them */
    int key_count;
    /* Counted since `counted` was last asked: */
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
    if (given_id != NULL && PyUnicode_Check(given_id) && PyUnicode_GET_LENGTH(given_id)) {
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

/* -- deciding ----------------------------------------------------------------------------------- */

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

/* -- the type ----------------------------------------------------------------------------------- */

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
    static char *names[] = {"given", "now_ms", "now", "base_from", "most_identities", "stitches_all", NULL};
    PyObject *given, *now_text;
    long long now_ms, base_from, most;
    int stitches_all;
    if (!PyArg_ParseTupleAndKeywords(arguments, named, "O!LULLp", names, &PyTuple_Type, &given, &now_ms, &now_text,
                                     &base_from, &most, &stitches_all))
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
