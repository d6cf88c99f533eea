/* wire_inline.h: numbers as venues send them: big-endian integers of 1, 2, 4, 6 or 8 bytes, and
 * numbers in ASCII digits padded with spaces. `size` is a constant wherever these are used, so each
 * folds to one load or store and a byte swap.
 *
 * Codecs declare each message once, as a list of its fields, and expand that list into decoder,
 * encoder and the static assert that the fields fill the message:
 *
 *   #define ADD(NUMBER, TEXT) NUMBER(11, 8, order_ref) NUMBER(19, 1, side) ... TEXT(24, 8, stock)
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WIRE_INLINE static inline __attribute__((always_inline))
#define WIRE_DIGITS 20 /* a 64-bit number in ASCII */

WIRE_INLINE uint16_t wire_load16(const uint8_t *source) {
    uint16_t value;
    memcpy(&value, source, sizeof value);
    return __builtin_bswap16(value);
}

WIRE_INLINE uint32_t wire_load32(const uint8_t *source) {
    uint32_t value;
    memcpy(&value, source, sizeof value);
    return __builtin_bswap32(value);
}

WIRE_INLINE uint64_t wire_load64(const uint8_t *source) {
    uint64_t value;
    memcpy(&value, source, sizeof value);
    return __builtin_bswap64(value);
}

WIRE_INLINE void wire_store16(uint8_t *target, uint16_t value) {
    value = __builtin_bswap16(value);
    memcpy(target, &value, sizeof value);
}

WIRE_INLINE void wire_store32(uint8_t *target, uint32_t value) {
    value = __builtin_bswap32(value);
    memcpy(target, &value, sizeof value);
}

WIRE_INLINE void wire_store64(uint8_t *target, uint64_t value) {
    value = __builtin_bswap64(value);
    memcpy(target, &value, sizeof value);
}

WIRE_INLINE uint64_t wire_load(const uint8_t *source, uint32_t size) {
    switch (size) {
    case 1: return source[0];
    case 2: return wire_load16(source);
    case 4: return wire_load32(source);
    case 6: return (uint64_t)wire_load16(source) << 32 | wire_load32(source + 2);
    default: return wire_load64(source);
    }
}

WIRE_INLINE void wire_store(uint8_t *target, uint32_t size, uint64_t value) {
    switch (size) {
    case 1: target[0] = (uint8_t)value; break;
    case 2: wire_store16(target, (uint16_t)value); break;
    case 4: wire_store32(target, (uint32_t)value); break;
    case 6:
        wire_store16(target, (uint16_t)(value >> 32));
        wire_store32(target + 2, (uint32_t)value);
        break;
    default: wire_store64(target, value);
    }
}

/* Zero a structure. Told to clear a few hundred bytes at once the compiler writes `rep stos`, whose start
 * costs more than all of a decoder's other work; 64 bytes at a time it writes four stores. */
WIRE_INLINE void wire_clear(void *target, uint64_t size) {
    uint8_t *at = target;
    for (; size >= 64; at += 64, size -= 64) memset(at, 0, 64);
    if (size) memset(at, 0, size);
}

/* Can `size` bytes hold the value? An encoder that cannot say a number says nothing. */
WIRE_INLINE bool wire_fits(uint64_t value, uint32_t size) { return size >= 8 || value >> (8 * size) == 0; }

/* Digits with spaces before or after them, at least one digit, within 64 bits. */
static inline bool wire_load_digits(const uint8_t *source, uint64_t *value) {
    uint32_t at = 0, first;
    uint64_t total = 0;
    while (at < WIRE_DIGITS && source[at] == ' ') at++;
    first = at;
    for (; at < WIRE_DIGITS && source[at] >= '0' && source[at] <= '9'; at++)
        if (__builtin_mul_overflow(total, 10u, &total) || __builtin_add_overflow(total, source[at] - '0', &total))
            return false;
    if (at == first) return false;
    while (at < WIRE_DIGITS && source[at] == ' ') at++;
    *value = total;
    return at == WIRE_DIGITS;
}

/* Right-justified, spaces before. */
static inline void wire_store_digits(uint8_t *target, uint64_t value) {
    uint32_t at = WIRE_DIGITS;
    do {
        target[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value);
    while (at) target[--at] = ' ';
}
