/* Folds an update into the bytes of a profile: the rules of core/merge.py, for what scan.h takes.
 *
 * What did not change is copied as it lies; nothing is made of it.
 */
#ifndef HEADRACE_FOLD_H
#define HEADRACE_FOLD_H

#include "scan.h"

enum { MOST_TOP = 512 };

/* One membership before (-1 where there was none) and after. */
typedef struct {
    Span namespace, id;
    int before, after;
} Moved;

/* Folds the entries of a patch into those of an object: objects merge, everything else replaces. */
static int merge(const Entry *old, int olds, const Entry *patch, int patches, Buffer *into, int depth, uint8_t *changed)
{
    Entry inner_old[MOST_ENTRIES], inner_patch[MOST_ENTRIES];
    uint8_t inner_changed[MOST_ENTRIES], found[MOST_TOP] = {0};
    int added = 0;
    for (int p = 0; p < patches; p++) {
        changed[p] = 0;
        found[p] = entry_of(old, olds, patch[p].key) != NULL;
        added += !found[p];
    }
    pack_map(into, (size_t)(olds + added));
    for (int o = 0; o < olds; o++) {
        const Entry *with = entry_of(patch, patches, old[o].key);
        pack_text(into, old[o].key);
        if (with == NULL || same(with->value, old[o].value)) {
            put_span(into, old[o].value);
            continue;
        }
        if (is_map(old[o].value) != is_map(with->value))
            return NOT_PLAIN; /* a conflict of types, which is counted */
        changed[with - patch] = 1;
        if (!is_map(with->value)) {
            put_span(into, with->value);
            continue;
        }
        int had = entries_of(old[o].value, inner_old, MOST_ENTRIES);
        int given = entries_of(with->value, inner_patch, MOST_ENTRIES);
        if (had < 0 || given < 0 || depth > MOST_NESTED
            || merge(inner_old, had, inner_patch, given, into, depth + 1, inner_changed))
            return NOT_PLAIN;
        int any = 0;
        for (int p = 0; p < given; p++)
            any |= inner_changed[p];
        changed[with - patch] = (uint8_t)any;
    }
    for (int p = 0; p < patches; p++)
        if (!found[p]) {
            changed[p] = 1;
            pack_text(into, patch[p].key);
            put_span(into, patch[p].value);
        }
    return DONE;
}

/* The stamps of what changed: the input's ordinal. */
static int restamp(Span stamps, const Entry *patch, int patches, const uint8_t *changed, int64_t ordinal, Buffer *into)
{
    static Entry old[MOST_TOP];
    uint8_t placed[MOST_TOP] = {0};
    int olds = entries_of(stamps, old, MOST_TOP), added = 0;
    if (olds < 0)
        return NOT_PLAIN;
    for (int p = 0; p < patches; p++)
        added += changed[p] && entry_of(old, olds, patch[p].key) == NULL;
    pack_map(into, (size_t)(olds + added));
    for (int o = 0; o < olds; o++) {
        const Entry *with = entry_of(patch, patches, old[o].key);
        pack_text(into, old[o].key);
        if (with != NULL && changed[with - patch]) {
            pack_natural(into, (uint64_t)ordinal);
            placed[with - patch] = 1;
        } else {
            put_span(into, old[o].value);
        }
    }
    for (int p = 0; p < patches; p++)
        if (changed[p] && !placed[p]) {
            pack_text(into, patch[p].key);
            pack_natural(into, (uint64_t)ordinal);
        }
    return DONE;
}

/* Copies a list of texts in order with one more; DONE with nothing written where it is there already. */
static int with_text(Span list, Span text, Buffer *into)
{
    In from = in(list), again;
    size_t count;
    Span one, last = {NULL, 0};
    if (!read_array(&from, &count))
        return NOT_PLAIN;
    again = from;
    for (size_t i = 0; i < count; i++) {
        if (!read_text(&again, &one) || (i && compared(last, one) >= 0))
            return NOT_PLAIN;
        if (same(one, text))
            return DONE;
        last = one;
    }
    pack_array(into, count + 1);
    int placed = 0;
    for (size_t i = 0; i < count; i++) {
        read_text(&from, &one);
        if (!placed && compared(text, one) < 0) {
            pack_text(into, text);
            placed = 1;
        }
        pack_text(into, one);
    }
    if (!placed)
        pack_text(into, text);
    return into->failed ? NOT_PLAIN : DONE;
}

/* A stored membership. */
typedef struct {
    int member, ends; /* it has a validUntil */
    Span since;
} Membership;

static int read_membership(Span value, Membership *membership)
{
    In from = in(value);
    size_t count;
    if (!read_array(&from, &count) || count != 5 || !left(&from) || (*from.at != 0xc2 && *from.at != 0xc3))
        return NOT_PLAIN;
    membership->member = *from.at++ == 0xc3;
    if (!read_text(&from, &membership->since) || membership->since.size != SINCE || !left(&from))
        return NOT_PLAIN;
    membership->ends = *from.at != 0xc0;
    return DONE;
}

static void pack_membership(Buffer *into, int member, const char since[SINCE], int64_t ordinal, int64_t now_ms)
{
    put_byte(into, 0x95);
    put_byte(into, member ? 0xc3 : 0xc2);
    pack_text(into, (Span){since, SINCE});
    put_byte(into, 0xc0);
    pack_natural(into, (uint64_t)ordinal);
    pack_natural(into, (uint64_t)now_ms);
}

/* Copies a map with one value put at its key: replaced, or in the order of the keys; which must be in order. */
static int with_value(Span map, Span key, const Buffer *value, Buffer *into)
{
    static Entry old[MOST_TOP];
    int olds = entries_of(map, old, MOST_TOP), at = 0;
    if (olds < 0)
        return NOT_PLAIN;
    for (int o = 1; o < olds; o++)
        if (compared(old[o - 1].key, old[o].key) >= 0)
            return NOT_PLAIN;
    while (at < olds && compared(old[at].key, key) < 0)
        at++;
    int replaced = at < olds && same(old[at].key, key);
    pack_map(into, (size_t)(olds + !replaced));
    for (int o = 0; o <= olds; o++) {
        if (o == at) {
            pack_text(into, key);
            put(into, value->at, value->size);
            if (replaced)
                continue;
        }
        if (o < olds) {
            pack_text(into, old[o].key);
            put_span(into, old[o].value);
        }
    }
    return DONE;
}

/* One stated membership against the stored ones. Later lastQualificationTimes win, at a tie the one that arrives.
 *
 * Gives the new value in *value*, whose size is 0 where nothing changes; *older* where it came too late.
 */
static int requalify(Span stored, const Stated *stated, int64_t ordinal, int64_t now_ms, const char *now, Buffer *value,
                     Moved *moved, int *older)
{
    Membership had;
    const char *since = stated->since;
    begin(value);
    moved->before = -1;
    moved->after = stated->member;
    if (stored.size) {
        if (read_membership(stored, &had))
            return NOT_PLAIN;
        moved->before = had.member;
        if (!stated->dated) {
            if (stated->member == had.member)
                return DONE;
            since = memcmp(now, had.since.at, SINCE) > 0 ? now : had.since.at;
        } else if (memcmp(since, had.since.at, SINCE) < 0) {
            *older = 1;
            return DONE;
        }
        if (memcmp(since, had.since.at, SINCE) == 0 && stated->member == had.member && !had.ends)
            return DONE;
    } else if (!stated->dated) {
        since = now;
    }
    pack_membership(value, stated->member, since, ordinal, now_ms);
    return value->failed ? NOT_PLAIN : DONE;
}

#endif
