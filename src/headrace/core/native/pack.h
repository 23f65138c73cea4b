/* MessagePack, as msgspec writes it: every length and number in its shortest form. */
#ifndef HEADRACE_PACK_H
#define HEADRACE_PACK_H

#include "buffer.h"

enum { MOST_DEPTH = 72, MOST_ENTRIES = 64 };

typedef struct {
    const uint8_t *at, *end;
} In;

/* A key of a map, and the bytes of its value. */
typedef struct {
    Span key;
    Span value;
} Entry;

static inline uint64_t big_endian(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value = value << 8 | at[i];
    return value;
}

static inline In in(Span span)
{
    return (In){(const uint8_t *)span.at, (const uint8_t *)span.at + span.size};
}

static inline size_t left(const In *from)
{
    return (size_t)(from->end - from->at);
}

/* The head of a value: its first byte, and the number that stands in it or follows it; false past the end. */
static inline int head(In *from, unsigned *kind, uint64_t *number)
{
    if (from->at >= from->end)
        return 0;
    *kind = *from->at++;
    *number = 0;
    int size = 0;
    switch (*kind) {
    case 0xc4: case 0xcc: case 0xd0: case 0xd9: size = 1; break;
    case 0xc5: case 0xcd: case 0xd1: case 0xda: case 0xdc: case 0xde: size = 2; break;
    case 0xc6: case 0xca: case 0xce: case 0xd2: case 0xdb: case 0xdd: case 0xdf: size = 4; break;
    case 0xcb: case 0xcf: case 0xd3: size = 8; break;
    default: return 1;
    }
    if (left(from) < (size_t)size)
        return 0;
    *number = big_endian(from->at, size);
    from->at += size;
    return 1;
}

static inline int read_text(In *from, Span *text)
{
    if (from->at < from->end && *from->at >= 0xa0 && *from->at <= 0xbf) { /* nearly all are short */
        size_t few = *from->at & 0x1f;
        if (left(from) <= few)
            return 0;
        *text = (Span){(const char *)from->at + 1, few};
        from->at += few + 1;
        return 1;
    }
    unsigned kind;
    uint64_t size;
    if (!head(from, &kind, &size))
        return 0;
    if (kind >= 0xa0 && kind <= 0xbf)
        size = kind & 0x1f;
    else if (kind < 0xd9 || kind > 0xdb)
        return 0;
    if (left(from) < size)
        return 0;
    *text = (Span){(const char *)from->at, (size_t)size};
    from->at += size;
    return 1;
}

/* A whole number of 63 bits that is not negative: ordinals, versions, times. */
static int read_natural(In *from, int64_t *value)
{
    unsigned kind;
    uint64_t number;
    if (!head(from, &kind, &number))
        return 0;
    if (kind <= 0x7f)
        number = kind;
    else if (kind < 0xcc || kind > 0xcf || number > INT64_MAX)
        return 0;
    *value = (int64_t)number;
    return 1;
}

static int read_map(In *from, size_t *count)
{
    unsigned kind;
    uint64_t number;
    if (!head(from, &kind, &number))
        return 0;
    if (kind >= 0x80 && kind <= 0x8f)
        number = kind & 0x0f;
    else if (kind != 0xde && kind != 0xdf)
        return 0;
    *count = (size_t)number;
    return 1;
}

static int read_array(In *from, size_t *count)
{
    unsigned kind;
    uint64_t number;
    if (!head(from, &kind, &number))
        return 0;
    if (kind >= 0x90 && kind <= 0x9f)
        number = kind & 0x0f;
    else if (kind != 0xdc && kind != 0xdd)
        return 0;
    *count = (size_t)number;
    return 1;
}

/* Past the next value, whatever is in it: without recursion, since each value takes a byte at least. */
static int skip(In *from)
{
    const uint8_t *at = from->at, *end = from->end;
    for (uint64_t values = 1; values; values--) {
        if (at >= end)
            return 0;
        unsigned kind = *at++;
        uint64_t size = 0;
        if (kind <= 0x7f || kind >= 0xe0)
            continue;
        if (kind >= 0xa0 && kind <= 0xbf) {
            size = kind & 0x1f;
        } else if (kind <= 0x8f) {
            values += 2 * (kind & 0x0f);
        } else if (kind <= 0x9f) {
            values += kind & 0x0f;
        } else if (kind > 0xc3 || kind == 0xc1) {
            In rest = {at - 1, end};
            uint64_t number;
            if (kind == 0xc1 || (kind >= 0xc7 && kind <= 0xc9) || (kind >= 0xd4 && kind <= 0xd8)
                || !head(&rest, &kind, &number))
                return 0;
            at = rest.at;
            if ((kind >= 0xc4 && kind <= 0xc6) || (kind >= 0xd9 && kind <= 0xdb))
                size = number;
            else if (kind == 0xdc || kind == 0xdd)
                values += number;
            else if (kind == 0xde || kind == 0xdf)
                values += 2 * number;
        }
        if ((uint64_t)(end - at) < size)
            return 0;
        at += size;
    }
    from->at = at;
    return 1;
}

/* The bytes of the next value. */
static int read_value(In *from, Span *value)
{
    const uint8_t *begin = from->at;
    if (!skip(from))
        return 0;
    *value = (Span){(const char *)begin, (size_t)(from->at - begin)};
    return 1;
}

static inline int is_map(Span value)
{
    unsigned kind = value.size ? (unsigned char)value.at[0] : 0;
    return (kind >= 0x80 && kind <= 0x8f) || kind == 0xde || kind == 0xdf;
}

/* The entries of a map whose keys are texts; -1 where it is none, or has more than *most*. */
static int entries_of(Span map, Entry *entries, int most)
{
    In from = in(map);
    size_t count;
    if (!read_map(&from, &count) || count > (size_t)most)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!read_text(&from, &entries[i].key) || !read_value(&from, &entries[i].value))
            return -1;
    return (int)count;
}

static const Entry *entry_of(const Entry *entries, int count, Span key)
{
    for (int i = 0; i < count; i++)
        if (same(entries[i].key, key))
            return &entries[i];
    return NULL;
}

/* The value at a key of a map's bytes; false where there is none, or the map is not one. */
static int value_of(Span map, Span key, Span *value)
{
    In from = in(map);
    size_t count;
    Span name;
    if (!is_map(map) || !read_map(&from, &count))
        return 0;
    for (; count; count--) {
        if (!read_text(&from, &name))
            return 0;
        if (same(name, key))
            return read_value(&from, value);
        if (!skip(&from))
            return 0;
    }
    return 0;
}

static void pack_number(Buffer *into, unsigned kind, uint64_t value, int size)
{
    char *to = reserve(into, (size_t)size + 1);
    if (to == NULL)
        return;
    *to++ = (char)kind;
    for (int i = size - 1; i >= 0; i--)
        *to++ = (char)(value >> (8 * i));
    into->size += (size_t)size + 1;
}

static void pack_natural(Buffer *into, uint64_t value)
{
    if (value <= 0x7f)
        put_byte(into, (unsigned)value);
    else if (value <= 0xff)
        pack_number(into, 0xcc, value, 1);
    else if (value <= 0xffff)
        pack_number(into, 0xcd, value, 2);
    else if (value <= 0xffffffff)
        pack_number(into, 0xce, value, 4);
    else
        pack_number(into, 0xcf, value, 8);
}

static void pack_whole(Buffer *into, int64_t value)
{
    if (value >= 0)
        pack_natural(into, (uint64_t)value);
    else if (value >= -32)
        put_byte(into, (unsigned)(value & 0xff));
    else if (value >= -0x80)
        pack_number(into, 0xd0, (uint64_t)value, 1);
    else if (value >= -0x8000)
        pack_number(into, 0xd1, (uint64_t)value, 2);
    else if (value >= -0x80000000LL)
        pack_number(into, 0xd2, (uint64_t)value, 4);
    else
        pack_number(into, 0xd3, (uint64_t)value, 8);
}

static void pack_text(Buffer *into, Span text)
{
    if (text.size <= 31)
        put_byte(into, 0xa0 | (unsigned)text.size);
    else if (text.size <= 0xff)
        pack_number(into, 0xd9, text.size, 1);
    else if (text.size <= 0xffff)
        pack_number(into, 0xda, text.size, 2);
    else
        pack_number(into, 0xdb, text.size, 4);
    put_span(into, text);
}

static void pack_count(Buffer *into, size_t count, unsigned few, unsigned many)
{
    if (count <= 15)
        put_byte(into, few | (unsigned)count);
    else if (count <= 0xffff)
        pack_number(into, many, count, 2);
    else
        pack_number(into, many + 1, count, 4);
}

static void pack_map(Buffer *into, size_t count)
{
    pack_count(into, count, 0x80, 0xde);
}

static void pack_array(Buffer *into, size_t count)
{
    pack_count(into, count, 0x90, 0xdc);
}

/* Gives a map or an array whose head was left as one byte at *start* the count that it came to have. */
static void pack_counted(Buffer *into, size_t start, size_t count, unsigned few, unsigned many)
{
    if (into->failed)
        return;
    if (count <= 15) {
        into->at[start] = (char)(few | count);
        return;
    }
    int more = count <= 0xffff ? 2 : 4;
    if (reserve(into, (size_t)more) == NULL)
        return;
    memmove(into->at + start + 1 + more, into->at + start + 1, into->size - start - 1);
    into->size += (size_t)more;
    into->at[start] = (char)(many + (more == 4));
    for (int i = 0; i < more; i++)
        into->at[start + 1 + (size_t)i] = (char)(count >> (8 * (more - 1 - i)));
}

#endif
