/* Reads an update: its identities, and a note of its memberships and attributes.
 *
 * Takes only what it reads exactly as core/update.py does, and leaves everything else to that: every mistake with its
 * words, and what is seldom met (the collection's envelope, validUntil, other ways to write a time).
 */
#ifndef HEADRACE_SCAN_H
#define HEADRACE_SCAN_H

#include "json.h"

enum { MOST_IDENTITIES = 16, MOST_MEMBERSHIPS = 256, MOST_NAMESPACE = 64, MOST_ID = 1024 };
enum { SINCE = 24 };

/* A membership as an update states it; the texts of namespace and id follow it in the note. */
typedef struct {
    uint32_t namespace_size, id_size;
    uint8_t member, dated;
    char since[SINCE];
} Stated;

typedef struct {
    char namespace[MOST_NAMESPACE];
    Span name; /* of the namespace, in lower case */
    Span id;
    int primary;
} Found;

typedef struct {
    Found found[MOST_IDENTITIES];
    int count;
    Span update_id; /* its size is 0 where there is none */
    size_t attributes;
    size_t memberships;
} Scanned;

static Buffer noted_memberships;

static int scan_entry(Text *text, Scanned *scanned, Span namespace)
{
    Span names[MOST_ENTRIES], name;
    if (scanned->count >= MOST_IDENTITIES || next_sign(text) != '{' || !opened(text, '}'))
        return NOT_PLAIN;
    Found *found = &scanned->found[scanned->count++];
    found->id.size = 0;
    found->primary = 0;
    for (size_t i = 0; i < namespace.size; i++) {
        char sign = namespace.at[i];
        if (sign & 0x80)
            return NOT_PLAIN;
        found->namespace[i] = sign >= 'A' && sign <= 'Z' ? (char)(sign + 32) : sign;
    }
    found->name = (Span){found->namespace, namespace.size};
    size_t count = 0;
    for (int more = 1; more; count++) {
        if (scan_key(text, names, count, &name))
            return NOT_PLAIN;
        if (same(name, (Span){"id", 2})) {
            if (scan_name(text, &found->id))
                return NOT_PLAIN;
        } else {
            if (same(name, (Span){"primary", 7}))
                found->primary = peek_sign(text) == 't';
            if (scan_past(text))
                return NOT_PLAIN;
        }
        if ((more = another(text, '}')) < 0)
            return NOT_PLAIN;
    }
    return found->id.size && found->id.size <= MOST_ID ? DONE : NOT_PLAIN;
}

static int scan_identities(Text *text, Scanned *scanned)
{
    Span names[MOST_ENTRIES], namespace;
    if (next_sign(text) != '{' || !opened(text, '}'))
        return NOT_PLAIN;
    size_t count = 0;
    for (int more = 1; more; count++) {
        if (scan_key(text, names, count, &namespace) || !namespace.size || namespace.size > MOST_NAMESPACE
            || next_sign(text) != '[')
            return NOT_PLAIN;
        for (int inner = opened(text, ']'); inner;)
            if (scan_entry(text, scanned, namespace) || (inner = another(text, ']')) < 0)
                return NOT_PLAIN;
        if ((more = another(text, '}')) < 0)
            return NOT_PLAIN;
    }
    return scanned->count ? DONE : NOT_PLAIN;
}

static int two_digits(const char *at, int *value)
{
    if (at[0] < '0' || at[0] > '9' || at[1] < '0' || at[1] > '9')
        return 0;
    *value = (at[0] - '0') * 10 + at[1] - '0';
    return 1;
}

/* 2026-01-11T21:24:39Z, with milliseconds or without, as 24 characters; anything else is left to Python. */
static int scan_time(Span text, char since[SINCE])
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const char *at = text.at;
    int century, year, month, day, hour, minute, second;
    if ((text.size != 20 && text.size != 24) || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':'
        || at[16] != ':' || at[text.size - 1] != 'Z')
        return NOT_PLAIN;
    if (!two_digits(at, &century) || !two_digits(at + 2, &year) || !two_digits(at + 5, &month)
        || !two_digits(at + 8, &day) || !two_digits(at + 11, &hour) || !two_digits(at + 14, &minute)
        || !two_digits(at + 17, &second))
        return NOT_PLAIN;
    year += 100 * century;
    if (!year || month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59)
        return NOT_PLAIN;
    int leap = month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > days[month - 1] + leap)
        return NOT_PLAIN;
    memcpy(since, at, 19);
    memcpy(since + 19, ".000Z", 5);
    if (text.size == 24) {
        if (at[19] != '.' || at[20] < '0' || at[20] > '9' || at[21] < '0' || at[21] > '9' || at[22] < '0' || at[22] > '9')
            return NOT_PLAIN;
        memcpy(since + 19, at + 19, 5);
    }
    return DONE;
}

static int scan_membership(Text *text, Stated *stated)
{
    Span names[MOST_ENTRIES], name, value;
    int later = 0; /* lastQualificationTime was there: it counts before timestamp */
    stated->member = 1;
    stated->dated = 0;
    if (next_sign(text) != '{')
        return NOT_PLAIN;
    size_t count = 0;
    for (int more = opened(text, '}'); more; count++) {
        if (scan_key(text, names, count, &name))
            return NOT_PLAIN;
        int qualified = same(name, (Span){"lastQualificationTime", 21});
        if (same(name, (Span){"status", 6})) {
            if (scan_name(text, &value))
                return NOT_PLAIN;
            stated->member = !same(value, (Span){"exited", 6});
            if (stated->member && !same(value, (Span){"realized", 8}) && !same(value, (Span){"existing", 8}))
                return NOT_PLAIN;
        } else if (qualified || (same(name, (Span){"timestamp", 9}) && !later)) {
            if (scan_name(text, &value) || scan_time(value, stated->since))
                return NOT_PLAIN;
            stated->dated = 1;
            later |= qualified;
        } else if (same(name, (Span){"validUntil", 10}) || scan_past(text)) {
            return NOT_PLAIN;
        }
        if ((more = another(text, '}')) < 0)
            return NOT_PLAIN;
    }
    return DONE;
}

static int scan_memberships(Text *text, Scanned *scanned)
{
    Span namespaces[MOST_ENTRIES], ids[MOST_ENTRIES], namespace, id;
    if (next_sign(text) != '{')
        return NOT_PLAIN;
    size_t count = 0;
    for (int more = opened(text, '}'); more; count++) {
        if (scan_key(text, namespaces, count, &namespace) || !namespace.size || next_sign(text) != '{')
            return NOT_PLAIN;
        size_t within = 0;
        for (int inner = opened(text, '}'); inner; within++) {
            Stated stated;
            memset(&stated, 0, sizeof stated);
            if (scan_key(text, ids, within, &id) || !id.size || scan_membership(text, &stated)
                || (inner = another(text, '}')) < 0 || ++scanned->memberships > MOST_MEMBERSHIPS)
                return NOT_PLAIN;
            stated.namespace_size = (uint32_t)namespace.size;
            stated.id_size = (uint32_t)id.size;
            put(&noted_memberships, &stated, sizeof stated);
            put_span(&noted_memberships, namespace);
            put_span(&noted_memberships, id);
        }
        if ((more = another(text, '}')) < 0)
            return NOT_PLAIN;
    }
    return DONE;
}

/* A whole update. */
static int scan_update(Span body, Scanned *scanned)
{
    Text text = {body.at, body.at + body.size};
    Span names[MOST_ENTRIES], name;
    scanned->count = 0;
    scanned->update_id = (Span){NULL, 0};
    scanned->attributes = scanned->memberships = 0;
    begin(&noted_attributes);
    begin(&noted_memberships);
    if (next_sign(&text) != '{')
        return NOT_PLAIN;
    size_t count = 0;
    for (int more = opened(&text, '}'); more; count++) {
        int found;
        if (scan_key(&text, names, count, &name))
            return NOT_PLAIN;
        if (same(name, (Span){"identityMap", 11})) {
            found = scan_identities(&text, scanned);
        } else if (same(name, (Span){"segmentMembership", 17})) {
            found = scan_memberships(&text, scanned);
        } else if (same(name, (Span){"_id", 3})) {
            found = scan_name(&text, &scanned->update_id);
            if (!scanned->update_id.size || scanned->update_id.size > MOST_ID)
                return NOT_PLAIN;
        } else if (same(name, (Span){"body", 4})) {
            return NOT_PLAIN; /* it may be the collection's envelope */
        } else {
            pack_text(&noted_attributes, name);
            scanned->attributes++;
            found = scan_value(&text, &noted_attributes, 1, 0);
        }
        if (found || (more = another(&text, '}')) < 0)
            return NOT_PLAIN;
    }
    skip_space(&text);
    if (text.at != text.end || !scanned->count)
        return NOT_PLAIN;
    return noted_attributes.failed || noted_memberships.failed ? NOT_PLAIN : DONE;
}

#endif
