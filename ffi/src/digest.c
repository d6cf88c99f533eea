/* digest.c: 64-bit digests of records. See include/digest.h. */
#include "digest.h"
#include <string.h>

/* Fold of the 128-bit product: each input bit reaches each output bit. The constants are odd and of
 * mixed bits (the golden ratio and a prime near 2^64 / e). */
static uint64_t digest_mix(uint64_t a, uint64_t b) {
    unsigned __int128 product = (unsigned __int128)(a ^ 0x9e3779b97f4a7c15u) * (b ^ 0xbf58476d1ce4e5b9u);
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t digest_bytes(uint64_t seed, const void *bytes, uint64_t size) {
    const uint8_t *source = bytes;
    uint64_t digest = seed ^ size;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, source, 8);
        digest = digest_mix(digest, word);
        source += 8;
        size -= 8;
    }
    if (size) {
        uint64_t word = 0;
        memcpy(&word, source, size);
        digest = digest_mix(digest, word);
    }
    return digest;
}

uint64_t digest_fields(const uint64_t *field, uint32_t count) {
    /* Odd, of mixed bits: successive states of a splitmix generator. */
    static const uint64_t WEIGHT[DIGEST_FIELDS_MAX] = {
        0xe220a8397b1dcdafu, 0x6e789e6aa1b965f5u, 0x06c45d188009454fu, 0xf88bb8a8724c81edu,
        0x1b39896a51a8749bu, 0x53cb9f0c747ea2ebu, 0x2c829abe1f4532e1u, 0xc584133ac916ab3du,
        0x3ee5789041c98ac3u, 0xf3b8488c368cb0a7u, 0x657eecdd3cb13d09u, 0xc2d326e0055bdef7u};
    uint64_t word = 0;
    for (uint32_t i = 0; i < count; i++) word += field[i] * WEIGHT[i];
    return word;
}

uint64_t digest_command(const cmd_event *command) {
    struct {
        command_id id;
        uint64_t order_id, target_order_id;
        int64_t price_ticks, quantity_lots;
        uint32_t limits_version, kill_epoch, instrument;
        uint8_t type, side, time_in_force, venue;
    } canonical = {command->id,
                   command->order_id,
                   command->target_order_id,
                   command->price_ticks,
                   command->quantity_lots,
                   command->limits_version,
                   command->kill_epoch,
                   command->header.instrument,
                   command->header.type,
                   command->side,
                   command->time_in_force,
                   command->venue};
    _Static_assert(sizeof canonical == 64, "no padding byte may enter the digest");
    return digest_bytes(0, &canonical, sizeof canonical);
}
