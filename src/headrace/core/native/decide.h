/* Decides a plain update: folds its note into a profile, asks the flows, and gives what is to be stored. */
#ifndef HEADRACE_DECIDE_H
#define HEADRACE_DECIDE_H

#include "export.h"

enum { MOST_FLOWS = 256 };

static Buffer folded, restamped, requalified, whole;
static Entry old_entries[MOST_TOP], new_entries[MOST_TOP];

/* Two buffers in turn: what is read lies in one, what is written goes to the other. */
typedef struct {
    Buffer one, other, inner;
} Turns;

static Turns identity_turns, membership_turns;

/* Puts a value at a key of the map within a map at another: what `turns->inner` holds. */
static int put_within(Turns *turns, Span *map, Span key)
{
    Buffer spare = turns->one;
    turns->one = turns->other;
    turns->other = spare;
    begin(&turns->one);
    if (turns->inner.failed || with_value(*map, key, &turns->inner, &turns->one) || turns->one.failed)
        return NOT_PLAIN;
    *map = (Span){turns->one.at, turns->one.size};
    return DONE;
}

/* An identity by its texts. */
typedef struct {
    Span namespace, id;
} Named;

/* The identities with those of an update. */
static int fold_identities(const Named *identities, int count, Change *change)
{
    for (int i = 0; i < count; i++) {
        Span ids = {"\x90", 1};
        value_of(change->identities, identities[i].namespace, &ids);
        begin(&identity_turns.inner);
        if (with_text(ids, identities[i].id, &identity_turns.inner))
            return NOT_PLAIN;
        if (!identity_turns.inner.size)
            continue;
        change->grew = 1;
        if (put_within(&identity_turns, &change->identities, identities[i].namespace))
            return NOT_PLAIN;
    }
    return DONE;
}

/* The memberships with those that an update states; *older* counts those that came too late. */
static int fold_memberships(const char **note, uint32_t count, Change *change, Moved *moved, const char *now, int *older)
{
    for (uint32_t i = 0; i < count; i++) {
        Stated stated;
        Span segments = {"\x80", 1}, stored = {NULL, 0};
        Moved *one = &moved[change->moves];
        int late = 0;
        memcpy(&stated, *note, sizeof stated);
        one->namespace = (Span){*note + sizeof stated, stated.namespace_size};
        one->id = (Span){one->namespace.at + stated.namespace_size, stated.id_size};
        *note = one->id.at + stated.id_size;
        if (value_of(change->memberships, one->namespace, &segments))
            value_of(segments, one->id, &stored);
        if (requalify(stored, &stated, change->ordinal, change->now_ms, now, &requalified, one, &late))
            return NOT_PLAIN;
        *older += late;
        if (!requalified.size)
            continue;
        begin(&membership_turns.inner);
        if (with_value(segments, one->id, &requalified, &membership_turns.inner)
            || put_within(&membership_turns, &change->memberships, one->namespace))
            return NOT_PLAIN;
        change->moves++;
    }
    return DONE;
}

/* Marks of the flows that exported, among those that were there. */
static int put_marks(Span marks, const Plan *plan, const Mark *made, Buffer *into)
{
    static Entry old[MOST_FLOWS];
    uint8_t placed[MOST_FLOWS] = {0};
    int olds = entries_of(marks, old, MOST_FLOWS), added = 0;
    if (olds < 0)
        return NOT_PLAIN;
    for (int f = 0; f < plan->count; f++)
        added += made[f].seq && entry_of(old, olds, plan->flows[f].id_text) == NULL;
    pack_map(into, (size_t)(olds + added));
    for (int o = 0; o < olds + plan->count; o++) {
        int at = o - olds;
        if (o < olds)
            for (at = plan->count - 1; at >= 0 && !(made[at].seq && same(plan->flows[at].id_text, old[o].key));)
                at--;
        if (o < olds && at < 0) {
            pack_text(into, old[o].key);
            put_span(into, old[o].value);
        } else if (made[at].seq && !placed[at]) {
            placed[at] = 1;
            pack_text(into, plan->flows[at].id_text);
            put_byte(into, 0x95);
            pack_natural(into, (uint64_t)made[at].seq);
            pack_natural(into, (uint64_t)made[at].ordinal);
            pack_natural(into, (uint64_t)made[at].bucket);
            put(into, "\x90\x90", 2);
        }
    }
    return DONE;
}

/* The profile as it is to be stored. */
static int profile_of(const Profile *before, const Change *change, Span stamps, const Plan *plan, const Mark *made,
                      int exports, PyObject **profile)
{
    begin(&whole);
    put(&whole, "\x9a\x01", 2);
    pack_text(&whole, before->profile_id);
    pack_natural(&whole, (uint64_t)before->epoch);
    pack_natural(&whole, (uint64_t)before->version + 1);
    put_span(&whole, change->identities);
    put_span(&whole, change->attributes);
    put_span(&whole, stamps);
    put_span(&whole, change->memberships);
    if (!exports)
        put_span(&whole, before->marks);
    else if (put_marks(before->marks, plan, made, &whole))
        return NOT_PLAIN;
    pack_natural(&whole, (uint64_t)change->ordinal);
    *profile = whole.failed ? PyErr_NoMemory() : PyBytes_FromStringAndSize(whole.at, (Py_ssize_t)whole.size);
    return *profile == NULL ? FAILED : DONE;
}

/* Tells what ended or will end of the memberships that changed, by *told*: (namespace, member, since). */
typedef int (*Told)(void *whom, Span namespace, int member, Span since);

static int tell_ends(const Change *change, Told told, void *whom)
{
    for (int i = 0; i < change->moves; i++) {
        const Moved *moved = &change->moved[i];
        Membership membership;
        Span segments, value;
        if (moved->after && same(moved->namespace, (Span){"ups", 3}))
            continue;
        if (!value_of(change->memberships, moved->namespace, &segments) || !value_of(segments, moved->id, &value)
            || read_membership(value, &membership))
            continue;
        if (told(whom, moved->namespace, moved->after, membership.since))
            return FAILED;
    }
    return DONE;
}

/* What an update comes to. */
typedef struct {
    PyObject *profile;           /* its bytes; NULL where nothing changed */
    PyObject **reasons;          /* per flow why it does not export (borrowed), "" where it does */
    PyObject **exports;          /* per flow its export; NULL for none */
    const int *fired;            /* per flow that exports its triggers */
    const size_t *bytes;         /* and the size of its message */
    Profile before;
    int older;                   /* memberships that came too late */
} Applied;

static void forget(const Plan *plan, Applied *applied)
{
    Py_CLEAR(applied->profile);
    for (int f = 0; f < plan->count; f++)
        Py_CLEAR(applied->exports[f]);
}

/* Asks each flow. */
static int ask_flows(const Plan *plan, Change *change, Applied *applied, Mark *made)
{
    static PyObject *reasons[MOST_FLOWS], *exports[MOST_FLOWS];
    static int fired[MOST_FLOWS];
    static size_t bytes[MOST_FLOWS];
    memset(exports, 0, (size_t)plan->count * sizeof *exports);
    applied->reasons = reasons;
    applied->exports = exports;
    applied->fired = fired;
    applied->bytes = bytes;
    begin(&identity_part);
    begin(&membership_part);
    for (int f = 0; f < plan->count; f++) {
        Flow *flow = &plan->flows[f];
        Why why;
        why.triggers = why.path_count = 0;
        why.joined = why.left = NULL;
        int found = cause_of(flow, change, &why, &reasons[f]);
        made[f].seq = 0;
        if (!found && reasons[f] == NULL) {
            found = export_of(plan, flow, change, &why, &made[f], &exports[f]);
            reasons[f] = known.empty;
            fired[f] = why.triggers;
            bytes[f] = message.size;
        }
        forget_why(&why);
        if (found)
            return found;
    }
    return DONE;
}

/* A profile that an update makes. */
static void begin_profile(const Change *change, Profile *profile)
{
    const Span empty = {"\x80", 1};
    *profile = (Profile){text_of(change->profile_id), empty, empty, empty, empty, empty, change->ordinal, 0, change->ordinal};
}

/* Folds a note into a profile and asks the flows. Whoever is told DONE has *applied* to forget. */
static int apply_note(PyObject *stored, Span note, const Named *identities, int identity_count, Change *change,
                      const char *now, const Plan *plan, Applied *applied)
{
    static Moved moved[MOST_MEMBERSHIPS];
    static Mark made[MOST_FLOWS];
    Entry patch[MOST_ENTRIES];
    uint8_t changed[MOST_ENTRIES];
    Profile *before = &applied->before;
    uint32_t counts[2];
    int any = 0;
    applied->profile = NULL;
    applied->older = 0;
    if (stored == NULL)
        begin_profile(change, before);
    else if (read_profile(bytes_of(stored), before))
        return NOT_PLAIN;
    change->before = before;
    change->identities = before->identities;
    if (fold_identities(identities, identity_count, change))
        return NOT_PLAIN;
    change->attributes = before->attributes;
    change->memberships = before->memberships;
    change->moved = moved;
    memcpy(counts, note.at, sizeof counts);
    const char *at = note.at + sizeof counts;
    if (fold_memberships(&at, counts[1], change, moved, now, &applied->older))
        return NOT_PLAIN;
    In from = {(const uint8_t *)at, (const uint8_t *)note.at + note.size};
    for (uint32_t i = 0; i < counts[0]; i++)
        if (!read_text(&from, &patch[i].key) || !read_value(&from, &patch[i].value))
            return NOT_PLAIN;
    int olds = entries_of(before->attributes, old_entries, MOST_TOP), tops = olds;
    if (olds < 0)
        return NOT_PLAIN;
    Span stamps = before->stamps;
    change->patch = patch;
    change->patches = (int)counts[0];
    change->top = old_entries;
    if (change->patches) {
        begin(&folded);
        begin(&restamped);
        if (merge(old_entries, olds, patch, change->patches, &folded, 0, changed) || folded.failed)
            return NOT_PLAIN;
        for (int p = 0; p < change->patches; p++)
            any |= changed[p];
    }
    if (any) {
        if (restamp(before->stamps, patch, change->patches, changed, change->ordinal, &restamped) || restamped.failed)
            return NOT_PLAIN;
        change->attributes = (Span){folded.at, folded.size};
        stamps = (Span){restamped.at, restamped.size};
        tops = entries_of(change->attributes, new_entries, MOST_TOP);
        change->top = new_entries;
        if (tops < 0)
            return NOT_PLAIN;
    }
    change->tops = tops;
    int exported = 0, found = ask_flows(plan, change, applied, made);
    for (int f = 0; !found && f < plan->count; f++)
        exported += applied->exports[f] != NULL;
    if (!found && (any || change->moves || change->grew || exported || stored == NULL))
        found = profile_of(before, change, stamps, plan, made, exported, &applied->profile);
    if (found)
        forget(plan, applied);
    return found;
}

#endif
