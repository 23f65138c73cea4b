/* Reads an update's JSON: its identities, and a note of its memberships and attributes.
 *
 * Takes only what it reads exactly as core/update.py does, and leaves everything else to that: every mistake with its
 * words, and what is seldom met (the collection's envelope, validUntil, null, escaped names, other ways to write a
 * time). Attributes are noted as the MessagePack that msgspec would make of them.
 */
#ifndef HEADRACE_SCAN_H
#define HEADRACE_SCAN_H

#include "pack.h"

enum { MOST_NESTED = 16, MOST_IDENTITIES = 16, MOST_MEMBERSHIPS = 256, MOST_NAMESPACE = 64, MOST_ID = 1024 };
enum { SINCE = 24 };

typedef struct {
    const char *at, *end;
} Text;

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

static Buffer noted_attributes, noted_memberships, unescaped;

static inline void skip_space(Text *text)
{
    while (text->at < text->end && (*text->at == ' ' || *text->at == '\n' || *text->at == '\r' || *text->at == '\t'))
        text->at++;
}

/* The next sign, and past it; 0 at the end. */
static inline char next_sign(Text *text)
{
    skip_space(text);
    return text->at < text->end ? *text->at++ : 0;
}

static inline char peek_sign(Text *text)
{
    skip_space(text);
    return text->at < text->end ? *text->at : 0;
}

/* Whether bytes are UTF-8 (RFC 3629): nothing overlong, no surrogates, nothing above U+10FFFF. */
static int is_utf8(Span text)
{
    const unsigned char *at = (const unsigned char *)text.at, *end = at + text.size;
    while (at < end) {
        unsigned first = *at++;
        if (first < 0x80)
            continue;
        int more = first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
        if (!more || end - at < more)
            return 0;
        unsigned second = *at;
        if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90)
            || (first == 0xf4 && second > 0x8f))
            return 0;
        for (; more; more--)
            if ((*at++ & 0xc0) != 0x80)
                return 0;
    }
    return 1;
}

/* A text without its escapes, which lie in `unescaped` until the next one; \u is left to Python. */
static int unescape(Span raw, Span *text)
{
    begin(&unescaped);
    for (size_t i = 0; i < raw.size; i++) {
        char sign = raw.at[i];
        if (sign == '\\') {
            switch (raw.at[++i]) {
            case '"': sign = '"'; break;
            case '\\': sign = '\\'; break;
            case '/': sign = '/'; break;
            case 'b': sign = '\b'; break;
            case 'f': sign = '\f'; break;
            case 'n': sign = '\n'; break;
            case 'r': sign = '\r'; break;
            case 't': sign = '\t'; break;
            default: return NOT_PLAIN;
            }
        }
        put_byte(&unescaped, (unsigned char)sign);
    }
    *text = (Span){unescaped.at, unescaped.size};
    return unescaped.failed ? NOT_PLAIN : DONE;
}

/* A text, whose opening quote is next. */
static int scan_text(Text *text, Span *found, int *escaped)
{
    if (next_sign(text) != '"')
        return NOT_PLAIN;
    const char *begin = text->at;
    unsigned char seen = 0;
    *escaped = 0;
    for (const char *at = begin; at < text->end; at++) {
        at += plain_signs(at, text->end);
        if (at == text->end)
            return NOT_PLAIN;
        unsigned char sign = (unsigned char)*at;
        if (sign == '"') {
            *found = (Span){begin, (size_t)(at - begin)};
            text->at = at + 1;
            return (seen & 0x80) && !is_utf8(*found) ? NOT_PLAIN : DONE;
        }
        if (sign < 0x20)
            return NOT_PLAIN;
        if (sign == '\\') {
            *escaped = 1;
            at++;
        }
        seen |= sign;
    }
    return NOT_PLAIN;
}

/* A name, or anything else that is kept where it lies: a text without escapes. */
static int scan_name(Text *text, Span *found)
{
    int escaped;
    return scan_text(text, found, &escaped) || escaped ? NOT_PLAIN : DONE;
}

static int scan_number(Text *text, Buffer *into)
{
    const char *begin = text->at, *at = begin, *end = text->end;
    int negative = at < end && *at == '-';
    at += negative;
    const char *digits = at;
    uint64_t value = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - digits < 19)
        value = value * 10 + (uint64_t)(*at++ - '0');
    if (at == digits || (*digits == '0' && at - digits > 1))
        return NOT_PLAIN;
    if (at < end && ((*at >= '0' && *at <= '9') || *at == 'e' || *at == 'E'))
        return NOT_PLAIN;
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at == fraction || at - begin > 32 || (at < end && (*at == 'e' || *at == 'E')))
            return NOT_PLAIN;
        char copy[40];
        memcpy(copy, begin, (size_t)(at - begin));
        copy[at - begin] = 0;
        union { double number; uint64_t bits; } found;
        found.number = PyOS_string_to_double(copy, NULL, NULL);
        if (found.number == -1.0 && PyErr_Occurred()) {
            PyErr_Clear();
            return NOT_PLAIN;
        }
        pack_number(into, 0xcb, found.bits, 8);
    } else {
        if (value > INT64_MAX || (negative && value == 0))
            return NOT_PLAIN;
        pack_whole(into, negative ? -(int64_t)value : (int64_t)value);
    }
    text->at = at;
    return DONE;
}

static int scan_literal(Text *text, const char *literal, size_t size)
{
    if ((size_t)(text->end - text->at) < size || memcmp(text->at, literal, size))
        return NOT_PLAIN;
    text->at += size;
    return DONE;
}

static int is_known(const Span *names, size_t count, Span name)
{
    for (size_t i = 0; i < count; i++)
        if (same(names[i], name))
            return 1;
    return 0;
}

/* After an entry of an object or an array: 1 where another follows, 0 at its end, -1 where neither is there. */
static int another(Text *text, char close)
{
    char sign = next_sign(text);
    return sign == ',' ? 1 : sign == close ? 0 : -1;
}

/* Begins an object or an array that may be empty: 1 where something is in it, 0 where nothing. */
static int opened(Text *text, char close)
{
    if (peek_sign(text) != close)
        return 1;
    text->at++;
    return 0;
}

/* The next name of an object, which it has not had before, and the colon. */
static int scan_key(Text *text, Span *names, size_t count, Span *name)
{
    if (count >= MOST_ENTRIES || scan_name(text, name) || is_known(names, count, *name) || next_sign(text) != ':')
        return NOT_PLAIN;
    names[count] = *name;
    return DONE;
}

static int scan_value(Text *text, Buffer *into, int depth, int in_array)
{
    if (depth > MOST_NESTED)
        return NOT_PLAIN;
    switch (peek_sign(text)) {
    case '"': {
        Span found;
        int escaped;
        if (scan_text(text, &found, &escaped) || (escaped && unescape(found, &found)))
            return NOT_PLAIN;
        pack_text(into, found);
        return DONE;
    }
    case '{': {
        Span names[MOST_ENTRIES], name;
        size_t start = into->size, count = 0;
        text->at++;
        put_byte(into, 0);
        for (int more = opened(text, '}'); more; count++) {
            if (scan_key(text, names, count, &name))
                return NOT_PLAIN;
            pack_text(into, name);
            if (scan_value(text, into, depth + 1, in_array) || (more = another(text, '}')) < 0)
                return NOT_PLAIN;
        }
        pack_counted(into, start, count, 0x80, 0xde);
        return DONE;
    }
    case '[': {
        size_t start = into->size, count = 0;
        text->at++;
        put_byte(into, 0);
        for (int more = opened(text, ']'); more; count++)
            if (scan_value(text, into, depth + 1, 1) || (more = another(text, ']')) < 0)
                return NOT_PLAIN;
        pack_counted(into, start, count, 0x90, 0xdc);
        return DONE;
    }
    case 't': put_byte(into, 0xc3); return scan_literal(text, "true", 4);
    case 'f': put_byte(into, 0xc2); return scan_literal(text, "false", 5);
    case 'n':
        /* Within an array it is a value; elsewhere it takes something away. */
        put_byte(into, 0xc0);
        return in_array ? scan_literal(text, "null", 4) : NOT_PLAIN;
    default: return scan_number(text, into);
    }
}

/* Reads a value that nothing is made of. */
static int scan_past(Text *text)
{
    size_t size = noted_attributes.size;
    int found = scan_value(text, &noted_attributes, 1, 1);
    noted_attributes.size = size;
    return found;
}

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
