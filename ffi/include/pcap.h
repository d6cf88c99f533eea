/* pcap.h: classic capture files (both byte orders, micro- and nanosecond stamps) of Ethernet, raw IP or Linux
 * cooked frames, down to the UDP and TCP payloads in them.
 *
 *   file:   |file header 24|record header 16|frame ...|record header 16|frame ...|
 *   frame:  |ethernet 14|802.1Q / 802.1ad tags, 4 each|IPv4 or IPv6|UDP or TCP|payload|padding|
 *           in place of the ethernet header: nothing (raw IP), 4 bytes (BSD loopback), 16 or 20 (Linux cooked)
 *
 * For reading captures, not for the path. Nothing is trusted: every length is checked against the bytes
 * captured, and a frame that is not what it says has a kind that tells so.
 */
#pragma once
#include "layout.h"

#define PCAP_FILE_HEADER_SIZE 24
#define PCAP_RECORD_HEADER_SIZE 16
#define PCAP_RECORD_BYTES_MAX 262144 /* a longer record is damage, not a frame */
#define PCAP_LINK_NULL 0 /* BSD loopback: the address family in the capturing machine's byte order */
#define PCAP_LINK_ETHERNET 1
#define PCAP_LINK_RAW 101
#define PCAP_LINK_LOOP 108 /* the same as NULL, in network byte order */
#define PCAP_LINK_COOKED 113
#define PCAP_LINK_IPV4 228
#define PCAP_LINK_IPV6 229
#define PCAP_LINK_COOKED2 276

enum pcap_status {
    PCAP_OK,
    PCAP_CUT,       /* the file ends inside a record: `consumed` is where that record begins */
    PCAP_BAD_RECORD, /* a record of impossible length begins at `consumed` */
    PCAP_BAD_MAGIC
};

enum packet_kind {
    PACKET_UNSPECIFIED,
    PACKET_UDP,
    PACKET_TCP,
    PACKET_OTHER,     /* another protocol */
    PACKET_FRAGMENT,  /* of an IP datagram */
    PACKET_CUT,       /* the capture kept less of the frame than its headers promise */
    PACKET_MALFORMED, /* lengths that contradict each other */
    PACKET_KINDS
};

typedef struct {
    uint32_t swapped;    /* 1: the file's byte order is not little-endian */
    uint32_t nanosecond; /* 1: stamps count nanoseconds, else microseconds */
    uint32_t snap_length;
    uint32_t link_type;
} pcap_format;

typedef struct {
    uint64_t time_ns;        /* since the Unix epoch, by the capturing machine's clock */
    uint64_t frame_offset;   /* in the file */
    uint64_t payload_offset; /* in the file */
    uint32_t captured;       /* bytes of the frame in the file */
    uint32_t original;       /* bytes of the frame on the wire */
    uint32_t payload_length;
    uint32_t tcp_sequence;
    uint8_t source[16];      /* address; IPv4 in the first four */
    uint8_t target[16];
    uint16_t source_port;
    uint16_t target_port;
    uint8_t kind;            /* enum packet_kind */
    uint8_t ip_version;      /* 4, 6, or 0 */
    uint8_t tcp_flags;
    uint8_t tags;            /* VLAN tags before the address */
} pcap_packet;

/* PCAP_OK, PCAP_CUT or PCAP_BAD_MAGIC. */
int pcap_open(const uint8_t *bytes, uint64_t size, pcap_format *format);
/* 1 when frames of this link type can be read. */
int pcap_link_known(uint32_t link_type);
/* The records from byte `start` (PCAP_FILE_HEADER_SIZE at first), at most `capacity`; `count` tells how
 * many, `consumed` where the next begins. PCAP_OK with count == capacity: call again from `consumed`. */
int pcap_index(const pcap_format *format, const uint8_t *bytes, uint64_t size, uint64_t start, pcap_packet *packets,
               uint64_t capacity, uint64_t *count, uint64_t *consumed);
