/* Whether and why each flow exports, and the message: the rules of core/cause.py and core/export.py. */
#ifndef HEADRACE_DECIDE_H
#define HEADRACE_DECIDE_H

#include "blake2b.h"
#include "fold.h"
#include "render.h"

/* What Python gives once: types, and what stands for the same thing everywhere. */
static struct {
    PyObject *identity, *cause, *export, *bucket_of, *nothing, *empty, *live;
    PyObject *segment, *identified, *attribute;
    PyObject *no_change, *paused, *not_a_member, *trigger_off, *same_value, *catch_up;
} known;

/* A profile's bytes, part by part. */
typedef struct {
    Span profile_id, identities, attributes, stamps, memberships, marks;
    int64_t epoch, version, ordinal;
} Profile;

static int read_profile(Span stored, Profile *profile)
{
    In from = in(stored);
    size_t count;
    int64_t format;
    if (!read_array(&from, &count) || count != 10 || !read_natural(&from, &format) || format != 1
        || !read_text(&from, &profile->profile_id) || !read_natural(&from, &profile->epoch)
        || !read_natural(&from, &profile->version) || !read_value(&from, &profile->identities)
        || !read_value(&from, &profile->attributes) || !read_value(&from, &profile->stamps)
        || !read_value(&from, &profile->memberships) || !read_value(&from, &profile->marks)
        || !read_natural(&from, &profile->ordinal) || from.at != from.end)
        return NOT_PLAIN;
    return DONE;
}

/* What a flow last exported about a profile: core/model.py's FlowMark, where nothing waits for absorbed profiles. */
typedef struct {
    int64_t seq, ordinal, bucket;
} Mark;

static int read_mark(Span value, Mark *mark)
{
    In from = in(value);
    size_t count, after, absorbed;
    if (!read_array(&from, &count) || count != 5 || !read_natural(&from, &mark->seq)
        || !read_natural(&from, &mark->ordinal) || !read_natural(&from, &mark->bucket) || !read_array(&from, &after)
        || after || !read_array(&from, &absorbed) || absorbed)
        return NOT_PLAIN;
    return DONE;
}

/* One input under way. */
typedef struct {
    const Profile *before;
    Span identities, attributes, memberships; /* afterwards */
    const Entry *top, *old_top;   /* entries of the attributes, afterwards and before */
    int tops, old_tops;
    const Entry *patch;
    int patches;
    const Moved *moved;
    int moves;
    int grew; /* identities were added */
    PyObject *profile_id;
    int64_t ordinal, now_ms;
    PyObject *ordinal_object, *now_object, *epoch_object, *version_object;
    int bucket; /* of the profile's id; -1 until it is asked for */
} Change;

static Buffer identity_part, membership_part, message, digested;

/* The mapped paths below a node that an update writes, appended in the tree's order. */
static int written(const Node *node, const Entry *patch, int patches, PyObject **paths)
{
    Entry inner[MOST_ENTRIES];
    for (int i = 0; i < node->count; i++) {
        const Node *below = &node->below[i];
        const Entry *entry = NULL;
        int inners = 0;
        if (patch != NULL) {
            entry = entry_of(patch, patches, below->name);
            if (entry == NULL)
                continue;
        }
        if (below->path != NULL) {
            if (*paths == NULL && (*paths = PyList_New(0)) == NULL)
                return FAILED;
            if (PyList_Append(*paths, below->path))
                return FAILED;
            continue;
        }
        /* A value that is no object replaces all that is mapped below it. */
        int object = entry != NULL && is_map(entry->value);
        if (object && (inners = entries_of(entry->value, inner, MOST_ENTRIES)) < 0)
            return NOT_PLAIN;
        int found = written(below, object ? inner : NULL, inners, paths);
        if (found)
            return found;
    }
    return DONE;
}

/* Whether the value of a mapped path that an update writes is another one now. */
static int differs(const Node *node, const Entry *patch, int patches, Span before, Span after)
{
    Entry inner[MOST_ENTRIES];
    for (int i = 0; i < node->count; i++) {
        const Node *below = &node->below[i];
        const Entry *entry = patch != NULL ? entry_of(patch, patches, below->name) : NULL;
        Span was = {NULL, 0}, is = {NULL, 0};
        int inners = 0;
        if (patch != NULL && entry == NULL)
            continue;
        value_of(before, below->name, &was);
        value_of(after, below->name, &is);
        if (below->path != NULL) {
            if (!same(was, is))
                return 1;
            continue;
        }
        int object = entry != NULL && is_map(entry->value);
        if (object && (inners = entries_of(entry->value, inner, MOST_ENTRIES)) < 0)
            return 1;
        if (differs(below, object ? inner : NULL, inners, was, is))
            return 1;
    }
    return 0;
}

static int add_named(PyObject **list, const Moved *moved)
{
    if (*list == NULL && (*list = PyList_New(0)) == NULL)
        return FAILED;
    digested.size = 0;
    put_span(&digested, moved->namespace);
    put_byte(&digested, '/');
    put_span(&digested, moved->id);
    PyObject *name = PyUnicode_FromStringAndSize(digested.at, (Py_ssize_t)digested.size);
    int found = name == NULL ? -1 : PyList_Append(*list, name);
    Py_XDECREF(name);
    return found;
}

/* Whether the profile is in any of a flow's audiences now. */
static int is_member(const Flow *flow, Span memberships)
{
    In from = in(memberships);
    size_t namespaces, ids;
    Span namespace, id, value;
    if (!read_map(&from, &namespaces))
        return 0;
    for (; namespaces; namespaces--) {
        if (!read_text(&from, &namespace) || !read_map(&from, &ids))
            return 0;
        for (; ids; ids--) {
            if (!read_text(&from, &id) || !read_value(&from, &value))
                return 0;
            if (value.size > 1 && (unsigned char)value.at[1] == 0xc3 && maps(flow, namespace, id))
                return 1;
        }
    }
    return 0;
}

typedef struct {
    PyObject *triggers, *paths, *joined, *left;
} Why;

static void forget_why(Why *why)
{
    Py_XDECREF(why->triggers);
    Py_XDECREF(why->paths);
    Py_XDECREF(why->joined);
    Py_XDECREF(why->left);
}

/* Fills *why*, or gives the reason why the flow does not export (borrowed) in *reason*. */
static int cause_of(const Flow *flow, const Change *change, Why *why, PyObject **reason)
{
    for (int i = 0; i < change->moves; i++) {
        const Moved *moved = &change->moved[i];
        int enters = moved->after && moved->before != 1, leaves = !moved->after && moved->before == 1;
        if ((enters || leaves) && maps(flow, moved->namespace, moved->id)
            && add_named(enters ? &why->joined : &why->left, moved))
            return FAILED;
    }
    int found = change->patches ? written(&flow->tree, change->patch, change->patches, &why->paths) : DONE;
    if (found)
        return found;
    int crossed = why->joined != NULL || why->left != NULL;
    *reason = known.no_change;
    if (!crossed && why->paths == NULL && !change->grew)
        return DONE;
    *reason = known.paused;
    if (flow->skips)
        return DONE;
    int member = is_member(flow, change->memberships);
    *reason = known.not_a_member;
    if (!member && !crossed)
        return DONE;
    *reason = known.trigger_off;
    int segment = crossed && flow->trigger_segment, identified = member && change->grew && flow->trigger_identity;
    int attribute = member && why->paths != NULL && flow->trigger_attribute, at = 0;
    if (attribute && !flow->same_value
        && !differs(&flow->tree, change->patch, change->patches, change->before->attributes, change->attributes)) {
        attribute = 0;
        if (!segment && !identified)
            *reason = known.same_value;
    }
    if (!segment && !identified && !attribute)
        return DONE;
    *reason = flow->holds_back ? known.catch_up : NULL;
    if (*reason != NULL)
        return DONE;
    why->triggers = PyList_New(segment + identified + attribute);
    if (why->triggers == NULL)
        return FAILED;
    if (segment)
        PyList_SET_ITEM(why->triggers, at++, Py_NewRef(known.segment));
    if (identified)
        PyList_SET_ITEM(why->triggers, at++, Py_NewRef(known.identified));
    if (attribute)
        PyList_SET_ITEM(why->triggers, at, Py_NewRef(known.attribute));
    return DONE;
}

static void put_list(Buffer *into, PyObject *list)
{
    put_byte(into, '[');
    for (Py_ssize_t i = 0; list != NULL && i < PyList_GET_SIZE(list); i++) {
        if (i)
            put_byte(into, ',');
        put_quoted(into, text_of(PyList_GET_ITEM(list, i)));
    }
    put_byte(into, ']');
}

static void put_metadata(Buffer *into, const Plan *plan, const Flow *flow, const Change *change, const char *export_id,
                         int64_t seq, const Why *why)
{
    PUT(into, ",\"_headrace\":{\"exportId\":\"");
    put(into, export_id, 2 * DIGEST);
    PUT(into, "\",\"flowId\":");
    put_span(into, flow->quoted_id);
    PUT(into, ",\"profileId\":");
    put_quoted(into, change->before->profile_id);
    PUT(into, ",\"seq\":");
    put_decimal(into, (uint64_t)seq, 0);
    PUT(into, ",\"profileVersion\":");
    put_decimal(into, (uint64_t)change->before->version + 1, 0);
    PUT(into, ",\"epoch\":");
    put_decimal(into, (uint64_t)change->before->epoch, 0);
    PUT(into, ",\"absorbed\":[],\"cause\":{\"kind\":\"live\",\"triggers\":");
    put_list(into, why->triggers);
    PUT(into, ",\"paths\":");
    put_list(into, why->paths);
    PUT(into, ",\"joined\":");
    put_list(into, why->joined);
    PUT(into, ",\"left\":");
    put_list(into, why->left);
    PUT(into, "},\"configuration\":");
    put_span(into, plan->quoted_version);
    put_byte(into, '}');
}

/* The partition key: a new reference; NULL with *found* NOT_PLAIN or FAILED. */
static PyObject *key_of(const Flow *flow, const Change *change, int *found)
{
    Span value = {NULL, 0}, first;
    *found = DONE;
    if (flow->key == BY_IDENTITY) {
        In from;
        size_t count;
        if (value_of(change->identities, flow->key_namespace, &value)) {
            from = in(value);
            if (read_array(&from, &count) && count && read_text(&from, &first))
                value = first;
        }
    } else if (flow->key == BY_ATTRIBUTE) {
        Span here = change->attributes;
        int there = 1;
        for (int i = 0; there && i < flow->key_step_count; i++)
            there = value_of(here, flow->key_steps[i], &here);
        if (there) {
            In from = in(here);
            if (!read_text(&from, &value)) {
                *found = NOT_PLAIN; /* a number, or no value for a key at all */
                return NULL;
            }
        }
    }
    if (!value.size)
        return Py_NewRef(change->profile_id);
    PyObject *key = PyUnicode_DecodeUTF8(value.at, (Py_ssize_t)value.size, NULL);
    if (key != NULL && PyUnicode_GET_LENGTH(key) > 256)
        Py_SETREF(key, PyUnicode_Substring(key, 0, 256));
    if (key == NULL)
        *found = FAILED;
    return key;
}

static int bucket_of(PyObject *key)
{
    PyObject *found = PyObject_CallOneArg(known.bucket_of, key);
    int bucket = found == NULL ? -1 : (int)PyLong_AsLong(found);
    Py_XDECREF(found);
    return bucket;
}

static int render_message(const Plan *plan, const Flow *flow, const Change *change, const char *export_id, int64_t seq,
                          const Why *why)
{
    int any;
    message.size = 0;
    if (!identity_part.size && render_identities(change->identities, &identity_part))
        return NOT_PLAIN;
    if (!membership_part.size && render_memberships(change->memberships, &membership_part))
        return NOT_PLAIN;
    if (render_mapped(&flow->tree, change->top, change->tops, &message, &any))
        return NOT_PLAIN;
    if (any && message.size)
        message.at[message.size - 1] = ','; /* what closed it goes on */
    else
        put_byte(&message, '{');
    PUT(&message, "\"segmentMembership\":");
    put(&message, membership_part.at, membership_part.size);
    PUT(&message, ",\"identityMap\":");
    put(&message, identity_part.at, identity_part.size);
    if (flow->metadata)
        put_metadata(&message, plan, flow, change, export_id, seq, why);
    put_byte(&message, '}');
    return message.failed || identity_part.failed || membership_part.failed ? NOT_PLAIN : DONE;
}

/* The id of an export, over what core/export.py's is. */
static void name_export(const Flow *flow, const Change *change, char hex[2 * DIGEST])
{
    digested.size = 0;
    put_span(&digested, flow->id_text);
    put_byte(&digested, 0);
    put_span(&digested, change->before->profile_id);
    put_byte(&digested, 0);
    put_decimal(&digested, (uint64_t)change->before->epoch, 0);
    put_byte(&digested, 0);
    put_decimal(&digested, (uint64_t)change->before->version + 1, 0);
    put_byte(&digested, 0);
    put_span(&digested, flow->digest);
    put_byte(&digested, 0);
    blake2b_hex((Span){digested.at, digested.size}, hex);
}

static PyObject *or_nothing(PyObject *list)
{
    return list != NULL ? list : known.nothing;
}

/* One export as a Python object, and the mark of it. */
static int export_of(const Plan *plan, const Flow *flow, Change *change, const Why *why, Mark *mark, PyObject **export)
{
    char export_id[2 * DIGEST];
    Mark had = {0, 0, 0};
    Span stored;
    int found, waits = 0;
    if (value_of(change->before->marks, flow->id_text, &stored)) {
        if (read_mark(stored, &had))
            return NOT_PLAIN;
        waits = had.ordinal != 0;
    }
    PyObject *key = key_of(flow, change, &found);
    if (key == NULL)
        return found;
    int own = key == change->profile_id;
    int bucket = own && change->bucket >= 0 ? change->bucket : bucket_of(key);
    if (own)
        change->bucket = bucket;
    mark->seq = had.seq + 1;
    mark->ordinal = change->ordinal;
    mark->bucket = bucket;
    name_export(flow, change, export_id);
    found = bucket < 0 || digested.failed ? FAILED : render_message(plan, flow, change, export_id, mark->seq, why);
    if (found) {
        Py_DECREF(key);
        return found;
    }
    PyObject *causes[] = {known.live, or_nothing(why->triggers), or_nothing(why->paths), or_nothing(why->joined),
                          or_nothing(why->left), known.nothing};
    PyObject *cause = PyObject_Vectorcall(known.cause, causes, 6, NULL);
    PyObject *name = PyUnicode_FromStringAndSize(export_id, sizeof export_id);
    PyObject *data = PyBytes_FromStringAndSize(message.at, (Py_ssize_t)message.size);
    PyObject *seq = PyLong_FromLongLong(mark->seq);
    PyObject *after = waits && had.bucket != bucket ? Py_BuildValue("[(LL)]", (long long)had.bucket, (long long)had.ordinal)
                                                    : Py_NewRef(known.nothing);
    if (cause != NULL && name != NULL && data != NULL && seq != NULL && after != NULL) {
        PyObject *members[] = {change->ordinal_object, change->profile_id, name, seq, change->version_object,
                               change->epoch_object, key, data, cause, change->now_object, plan->version, after};
        *export = PyObject_Vectorcall(known.export, members, 12, NULL);
    }
    Py_DECREF(key);
    Py_XDECREF(cause);
    Py_XDECREF(name);
    Py_XDECREF(data);
    Py_XDECREF(seq);
    Py_XDECREF(after);
    return *export == NULL ? FAILED : DONE;
}

#endif
