/* Bytes that are read, and bytes that grow. */
#ifndef HEADRACE_BUFFER_H
#define HEADRACE_BUFFER_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* What a function of this folder answers where it is not a number: */
enum {
    DONE = 0,
    NOT_PLAIN = 1, /* something that is left to the Python code: nothing has been done */
    FAILED = -1,   /* a Python error is set */
};

typedef struct {
    const char *at;
    size_t size;
} Span;

static inline int same(Span one, Span other)
{
    return one.size == other.size && (!one.size || memcmp(one.at, other.at, one.size) == 0);
}

/* Order of code points, which UTF-8 keeps: that of Python's strings. */
static inline int compared(Span one, Span other)
{
    int found = memcmp(one.at, other.at, one.size < other.size ? one.size : other.size);
    return found ? found : (one.size > other.size) - (one.size < other.size);
}

/* Has memory brought into the processor's caches while something else is done: what was made some thousand updates ago
 * is in none. Reading where nothing is does no harm here. */
static inline void fetch(const void *at, size_t lines)
{
#if defined(__GNUC__)
    for (size_t i = 0; i < lines; i++)
        __builtin_prefetch((const char *)at + 64 * i);
#else
    (void)at;
    (void)lines;
#endif
}

/* One that could not grow is marked as failed until it begins anew, so that only its end is asked whether all went well. */
typedef struct {
    char *at;
    size_t size, room;
    int failed;
} Buffer;

enum { MOST_KEPT = 1 << 18 };

/* Empties a buffer. What one large update made it grow to is given back: buffers live as long as the process. */
static inline void begin(Buffer *buffer)
{
    if (buffer->room > MOST_KEPT) {
        PyMem_Free(buffer->at);
        buffer->at = NULL;
        buffer->room = 0;
    }
    buffer->size = 0;
    buffer->failed = 0;
}

static void widen(Buffer *into, size_t more)
{
    size_t room = into->room ? into->room : 1024;
    while (room - into->size < more)
        room *= 2;
    char *moved = PyMem_Realloc(into->at, room);
    if (moved != NULL) {
        into->at = moved;
        into->room = room;
    }
}

static inline char *reserve(Buffer *into, size_t more)
{
    if (into->room - into->size < more) {
        widen(into, more);
        if (into->room - into->size < more) {
            into->failed = 1;
            return NULL;
        }
    }
    return into->at + into->size;
}

static inline void put(Buffer *into, const void *from, size_t size)
{
    char *to = size ? reserve(into, size) : NULL;
    if (to != NULL) {
        memcpy(to, from, size);
        into->size += size;
    }
}

static inline void put_byte(Buffer *into, unsigned byte)
{
    char *to = reserve(into, 1);
    if (to != NULL) {
        *to = (char)byte;
        into->size++;
    }
}

static inline void put_span(Buffer *into, Span from)
{
    put(into, from.at, from.size);
}

/* How many signs from here on are of ASCII and stand in JSON as they are: no quote, backslash or control sign. */
static inline size_t plain_signs(const char *at, const char *end)
{
    const char *begin = at;
    const uint64_t each = 0x0101010101010101ULL, high = 0x80 * each;
    for (; end - at >= 8; at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        uint64_t quote = word ^ ('"' * each), backslash = word ^ ('\\' * each);
        /* What subtracting borrows spoils the signs after one that is found, but not the first one. */
        uint64_t found = (word | (word - 0x20 * each) | (quote - each) | (backslash - each)) & high;
        if (found)
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            return (size_t)(at - begin) + (size_t)__builtin_ctzll(found) / 8;
#else
            break;
#endif
    }
    while (at < end && (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x80 && *at != '"' && *at != '\\')
        at++;
    return (size_t)(at - begin);
}

#define PUT(into, literal) put(into, literal, sizeof(literal) - 1)

static void put_decimal(Buffer *into, uint64_t value, int negative)
{
    char digits[21];
    int at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    if (negative)
        digits[--at] = '-';
    put(into, digits + at, sizeof digits - (size_t)at);
}

#endif
