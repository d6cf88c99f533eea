/* itch_file.h: files of ITCH messages, each behind its length: what the venue calls BinaryFILE.
 *
 *   |length (2)|message|length (2)|message| ... |0 (2)|        a length of 0 marks the end; optional
 *
 * Every byte is accounted for: consumed = 2 * frames + understood_bytes + undecoded_bytes, plus 2 when
 * `ended`. What lies beyond `consumed` is a frame cut short, or follows the end mark.
 */
#pragma once
#include "layout.h"
#include "moldudp.h"
#include "pcap.h"

/* What was met, message by message. Zero it before the first call. */
typedef struct {
    uint64_t messages;         /* understood */
    uint64_t understood_bytes;
    uint64_t unknown_types;    /* messages not understood, by reason */
    uint64_t bad_lengths;
    uint64_t bad_fields;
    uint64_t undecoded_bytes;  /* in them */
    uint64_t time_first_ns;    /* since midnight; of the first message that has a time */
    uint64_t time_last_ns;     /* the greatest */
    uint64_t time_reversals;   /* messages stamped before the one before them */
    uint64_t time_previous_ns;
    uint32_t timed;            /* 1 once a time was seen */
    uint32_t ended;            /* 1: the end mark was met */
    uint64_t count[256];       /* understood, by type */
    uint64_t malformed[256];   /* of a known type, but not understood */
} itch_scan;

/* One instrument of the day, by locate. The symbol is the last one that any message gave. */
typedef struct {
    char stock[8];
    uint64_t messages;
    uint64_t adds; /* A F */
} itch_traffic;

/* Count one message; `traffic` has 65536 entries. */
void itch_scan_message(itch_scan *scan, itch_traffic *traffic, const uint8_t *bytes, uint32_t length);
/* Count the whole frames of a file; returns the bytes consumed. */
uint64_t itch_file_scan(const uint8_t *bytes, uint64_t size, itch_scan *scan, itch_traffic *traffic);
/* The offset of each message (not of its length) into `offset`, at most `capacity` of them; returns how
 * many. `consumed` is where the next frame begins: call again from there for the rest. */
uint64_t itch_file_index(const uint8_t *bytes, uint64_t size, uint64_t *offset, uint64_t capacity,
                         uint64_t *consumed);

#define MOLD_NOT_UDP 255 /* verdict on a packet that has no UDP payload */

/* Count the ITCH messages of each MoldUDP64 packet among `packets` (of pcap_index, over `file`). Per
 * packet: `header` is its MoldUDP64 header, `verdict` what mold_check says, or MOLD_NOT_UDP. Only
 * packets of verdict MOLD_OK are counted. */
void itch_packets_scan(const uint8_t *file, const pcap_packet *packets, uint64_t count, mold_header *header,
                       uint8_t *verdict, itch_scan *scan, itch_traffic *traffic);
