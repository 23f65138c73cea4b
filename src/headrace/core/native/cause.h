/* Whether and why a flow exports: the rules of core/cause.py. */
#ifndef HEADRACE_CAUSE_H
#define HEADRACE_CAUSE_H

#include "fold.h"
#include "plan.h"

/* What Python gives once: types, and what stands for the same thing everywhere. */
static struct {
    PyObject *identity, *cause, *export, *nothing, *empty, *live;
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
    int bucket; /* of the profile's id; -1 until it is asked for */
} Change;

static Buffer named;

enum { SEGMENT = 1, IDENTITY = 2, ATTRIBUTE = 4 };

/* Why a flow exports. */
typedef struct {
    int triggers;
    const Node *paths[MOST_PATHS]; /* mapped attributes that the update writes */
    int path_count;
    PyObject *joined, *left; /* audiences as namespace/id; NULL for none */
} Why;

/* The mapped paths below a node that an update writes, in the tree's order. */
static int written(const Node *node, const Entry *patch, int patches, Why *why)
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
            if (why->path_count == MOST_PATHS)
                return NOT_PLAIN;
            why->paths[why->path_count++] = below;
            continue;
        }
        /* A value that is no object replaces all that is mapped below it. */
        int object = entry != NULL && is_map(entry->value);
        if (object && (inners = entries_of(entry->value, inner, MOST_ENTRIES)) < 0)
            return NOT_PLAIN;
        if (written(below, object ? inner : NULL, inners, why))
            return NOT_PLAIN;
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
    begin(&named);
    put_span(&named, moved->namespace);
    put_byte(&named, '/');
    put_span(&named, moved->id);
    PyObject *name = named.failed ? PyErr_NoMemory() : PyUnicode_FromStringAndSize(named.at, (Py_ssize_t)named.size);
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

static void forget_why(Why *why)
{
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
    if (change->patches && written(&flow->tree, change->patch, change->patches, why))
        return NOT_PLAIN;
    int crossed = why->joined != NULL || why->left != NULL;
    *reason = known.no_change;
    if (!crossed && !why->path_count && !change->grew)
        return DONE;
    *reason = known.paused;
    if (flow->skips)
        return DONE;
    int member = is_member(flow, change->memberships);
    *reason = known.not_a_member;
    if (!member && !crossed)
        return DONE;
    *reason = known.trigger_off;
    int attribute = member && why->path_count && flow->trigger_attribute;
    if (crossed && flow->trigger_segment)
        why->triggers |= SEGMENT;
    if (member && change->grew && flow->trigger_identity)
        why->triggers |= IDENTITY;
    if (attribute && !flow->same_value
        && !differs(&flow->tree, change->patch, change->patches, change->before->attributes, change->attributes)) {
        attribute = 0;
        *reason = known.same_value;
    }
    if (attribute)
        why->triggers |= ATTRIBUTE;
    if (why->triggers)
        *reason = flow->holds_back ? known.catch_up : NULL;
    return DONE;
}

#endif
