/* Reads JSON exactly as msgspec does, and packs its values as the MessagePack that msgspec would make of them.
 *
 * Escaped names, \u, null outside of arrays, numbers beyond 63 bits or with an exponent, and every mistake are left to
 * Python.
 */
#ifndef HEADRACE_JSON_H
#define HEADRACE_JSON_H

#include "pack.h"

enum { MOST_NESTED = 16 };

typedef struct {
    const char *at, *end;
} Text;

static Buffer noted_attributes, unescaped;

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

#endif
