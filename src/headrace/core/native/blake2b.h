/* BLAKE2b of 16 bytes without a key (RFC 7693): the ids of exports. */
#ifndef HEADRACE_BLAKE2B_H
#define HEADRACE_BLAKE2B_H

#include "buffer.h"

enum { BLOCK = 128, DIGEST = 16 };

static const uint64_t blake2b_iv[8] = {
    0x6a09e667f3bcc908ULL, 0xbb67ae8584caa73bULL, 0x3c6ef372fe94f82bULL, 0xa54ff53a5f1d36f1ULL,
    0x510e527fade682d1ULL, 0x9b05688c2b3e6c1fULL, 0x1f83d9abfb41bd6bULL, 0x5be0cd19137e2179ULL,
};

static const uint8_t blake2b_sigma[12][16] = {
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
    {11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4},
    {7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8},
    {9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13},
    {2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9},
    {12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11},
    {13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10},
    {6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5},
    {10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    {14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3},
};

static inline uint64_t turned(uint64_t value, int bits)
{
    return value >> bits | value << (64 - bits);
}

#define MIX(a, b, c, d, at) \
    do { \
        v[a] += v[b] + words[order[at]]; \
        v[d] = turned(v[d] ^ v[a], 32); \
        v[c] += v[d]; \
        v[b] = turned(v[b] ^ v[c], 24); \
        v[a] += v[b] + words[order[at + 1]]; \
        v[d] = turned(v[d] ^ v[a], 16); \
        v[c] += v[d]; \
        v[b] = turned(v[b] ^ v[c], 63); \
    } while (0)

static void blake2b_block(uint64_t state[8], const uint8_t *block, uint64_t counted, int last)
{
    uint64_t v[16], words[16];
    for (int i = 0; i < 16; i++) {
        const uint8_t *at = block + 8 * i;
        words[i] = (uint64_t)at[0] | (uint64_t)at[1] << 8 | (uint64_t)at[2] << 16 | (uint64_t)at[3] << 24
                 | (uint64_t)at[4] << 32 | (uint64_t)at[5] << 40 | (uint64_t)at[6] << 48 | (uint64_t)at[7] << 56;
    }
    memcpy(v, state, 64);
    memcpy(v + 8, blake2b_iv, 64);
    v[12] ^= counted;
    if (last)
        v[14] = ~v[14];
    for (int round = 0; round < 12; round++) {
        const uint8_t *order = blake2b_sigma[round];
        MIX(0, 4, 8, 12, 0);
        MIX(1, 5, 9, 13, 2);
        MIX(2, 6, 10, 14, 4);
        MIX(3, 7, 11, 15, 6);
        MIX(0, 5, 10, 15, 8);
        MIX(1, 6, 11, 12, 10);
        MIX(2, 7, 8, 13, 12);
        MIX(3, 4, 9, 14, 14);
    }
    for (int i = 0; i < 8; i++)
        state[i] ^= v[i] ^ v[i + 8];
}

/* The digest of a text. */
static void blake2b(Span text, uint8_t digest[DIGEST])
{
    uint64_t state[8];
    uint8_t block[BLOCK];
    uint64_t counted = 0;
    memcpy(state, blake2b_iv, sizeof state);
    state[0] ^= 0x01010000 ^ DIGEST;
    while (text.size - counted > BLOCK) {
        blake2b_block(state, (const uint8_t *)text.at + counted, counted + BLOCK, 0);
        counted += BLOCK;
    }
    memset(block, 0, sizeof block);
    memcpy(block, text.at + counted, text.size - counted);
    blake2b_block(state, block, text.size, 1);
    for (int i = 0; i < DIGEST; i++)
        digest[i] = (uint8_t)(state[i / 8] >> (8 * (i % 8)));
}

/* The same as 32 hexadecimal digits. */
static void blake2b_hex(Span text, char hex[2 * DIGEST])
{
    uint8_t digest[DIGEST];
    blake2b(text, digest);
    for (int i = 0; i < DIGEST; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}

#endif
