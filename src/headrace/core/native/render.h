/* Writes messages from the bytes of a profile: the bytes that core/message.py gives. */
#ifndef HEADRACE_RENDER_H
#define HEADRACE_RENDER_H

#include "pack.h"
#include "plan.h"

static void put_escaped(Buffer *into, unsigned char sign)
{
    switch (sign) {
    case '"': PUT(into, "\\\""); break;
    case '\\': PUT(into, "\\\\"); break;
    case '\b': PUT(into, "\\b"); break;
    case '\f': PUT(into, "\\f"); break;
    case '\n': PUT(into, "\\n"); break;
    case '\r': PUT(into, "\\r"); break;
    case '\t': PUT(into, "\\t"); break;
    default:
        PUT(into, "\\u00");
        put_byte(into, (unsigned)"0123456789abcdef"[sign >> 4]);
        put_byte(into, (unsigned)"0123456789abcdef"[sign & 15]);
    }
}

static void put_quoted(Buffer *into, Span text)
{
    const char *at = text.at, *end = text.at + text.size;
    put_byte(into, '"');
    while (at < end) {
        const char *begin = at;
        at += plain_signs(at, end);
        while (at < end && ((unsigned char)*at & 0x80))
            at++;
        if (at > begin)
            put(into, begin, (size_t)(at - begin));
        else
            put_escaped(into, (unsigned char)*at++);
    }
    put_byte(into, '"');
}

static int render_float(uint64_t bits, Buffer *into)
{
    union { double number; uint64_t bits; } value;
    value.bits = bits;
    char *text = PyOS_double_to_string(value.number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return NOT_PLAIN;
    }
    size_t size = strlen(text);
    /* With an exponent, or no number at all, the texts of Python and msgspec differ. */
    int plain = strspn(text, "-0123456789.") == size;
    if (plain)
        put(into, text, size);
    PyMem_Free(text);
    return plain ? DONE : NOT_PLAIN;
}

/* A value of MessagePack as JSON. */
static int render_value(In *from, Buffer *into, int depth)
{
    unsigned kind;
    uint64_t number;
    const uint8_t *begin = from->at;
    if (depth > MOST_DEPTH || !head(from, &kind, &number))
        return NOT_PLAIN;
    if (kind <= 0x7f) {
        put_decimal(into, kind, 0);
    } else if (kind >= 0xcc && kind <= 0xcf) {
        put_decimal(into, number, 0);
    } else if (kind >= 0xe0) {
        put_decimal(into, 0x100 - kind, 1);
    } else if (kind >= 0xd0 && kind <= 0xd3) {
        uint64_t sign = 1ULL << (8 * (1u << (kind - 0xd0)) - 1);
        if (number & sign)
            put_decimal(into, (kind == 0xd3 ? 0 : sign << 1) - number, 1);
        else
            put_decimal(into, number, 0);
    } else if (kind == 0xc0) {
        PUT(into, "null");
    } else if (kind == 0xc2) {
        PUT(into, "false");
    } else if (kind == 0xc3) {
        PUT(into, "true");
    } else if (kind == 0xcb) {
        return render_float(number, into);
    } else if ((kind >= 0x80 && kind <= 0x8f) || kind == 0xde || kind == 0xdf) {
        put_byte(into, '{');
        for (uint64_t i = 0, count = kind <= 0x8f ? kind & 0x0f : number; i < count; i++) {
            Span name;
            if (i)
                put_byte(into, ',');
            if (!read_text(from, &name))
                return NOT_PLAIN;
            put_quoted(into, name);
            put_byte(into, ':');
            if (render_value(from, into, depth + 1))
                return NOT_PLAIN;
        }
        put_byte(into, '}');
    } else if ((kind >= 0x90 && kind <= 0x9f) || kind == 0xdc || kind == 0xdd) {
        put_byte(into, '[');
        for (uint64_t i = 0, count = kind <= 0x9f ? kind & 0x0f : number; i < count; i++) {
            if (i)
                put_byte(into, ',');
            if (render_value(from, into, depth + 1))
                return NOT_PLAIN;
        }
        put_byte(into, ']');
    } else {
        Span text;
        from->at = begin;
        if (!read_text(from, &text))
            return NOT_PLAIN;
        put_quoted(into, text);
    }
    return DONE;
}

/* What is mapped of an object, nested, in the tree's order; *any* tells whether there was something. */
static int render_mapped(const Node *node, const Entry *entries, int count, Buffer *into, int *any)
{
    Entry inner[MOST_ENTRIES];
    *any = 0;
    for (int i = 0; i < node->count; i++) {
        const Node *below = &node->below[i];
        const Entry *entry = entry_of(entries, count, below->name);
        if (entry == NULL || (unsigned char)entry->value.at[0] == 0xc0)
            continue;
        int object = is_map(entry->value);
        if (below->path == NULL && !object)
            continue;
        size_t before = into->size;
        put_byte(into, *any ? ',' : '{');
        put_span(into, below->quoted);
        int some = 1;
        if (below->path == NULL) {
            int inners = entries_of(entry->value, inner, MOST_ENTRIES);
            if (inners < 0 || render_mapped(below, inner, inners, into, &some))
                return NOT_PLAIN;
        } else if (object && (unsigned char)entry->value.at[0] == 0x80) {
            some = 0;
        } else {
            In from = in(entry->value);
            if (render_value(&from, into, 0))
                return NOT_PLAIN;
        }
        if (some)
            *any = 1;
        else
            into->size = before;
    }
    if (*any)
        put_byte(into, '}');
    return DONE;
}

/* identityMap: an object of namespaces, each with a list of ids. */
static int render_identities(Span identities, Buffer *into)
{
    In from = in(identities);
    size_t namespaces, ids;
    Span text;
    if (!read_map(&from, &namespaces))
        return NOT_PLAIN;
    put_byte(into, '{');
    for (size_t n = 0; n < namespaces; n++) {
        if (!read_text(&from, &text) || !read_array(&from, &ids))
            return NOT_PLAIN;
        if (n)
            put_byte(into, ',');
        put_quoted(into, text);
        PUT(into, ":[");
        for (size_t i = 0; i < ids; i++) {
            if (!read_text(&from, &text))
                return NOT_PLAIN;
            if (i)
                put_byte(into, ',');
            PUT(into, "{\"id\":");
            put_quoted(into, text);
            put_byte(into, '}');
        }
        put_byte(into, ']');
    }
    put_byte(into, '}');
    return DONE;
}

/* segmentMembership of all audiences, with the two current statuses. */
static int render_memberships(Span memberships, Buffer *into)
{
    In from = in(memberships);
    size_t namespaces, ids;
    Span text, value;
    Membership membership;
    if (!read_map(&from, &namespaces))
        return NOT_PLAIN;
    put_byte(into, '{');
    for (size_t n = 0; n < namespaces; n++) {
        if (!read_text(&from, &text) || !read_map(&from, &ids))
            return NOT_PLAIN;
        if (n)
            put_byte(into, ',');
        put_quoted(into, text);
        PUT(into, ":{");
        for (size_t i = 0; i < ids; i++) {
            if (!read_text(&from, &text) || !read_value(&from, &value) || read_membership(value, &membership))
                return NOT_PLAIN;
            if (i)
                put_byte(into, ',');
            put_quoted(into, text);
            PUT(into, ":{\"lastQualificationTime\":\"");
            put(into, membership.since.at, 19);
            PUT(into, "Z\",\"status\":\"");
            if (membership.member)
                PUT(into, "realized");
            else
                PUT(into, "exited");
            PUT(into, "\"}");
        }
        put_byte(into, '}');
    }
    put_byte(into, '}');
    return DONE;
}

#endif
