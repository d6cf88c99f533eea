/* pcap.c: capture files down to their UDP and TCP payloads. See include/pcap.h. */
#include "pcap.h"
#include "wire_inline.h"

#define MAGIC_MICROSECOND 0xa1b2c3d4u
#define MAGIC_NANOSECOND 0xa1b23c4du

#define ETHERNET_SIZE 14
#define LOOPBACK_SIZE 4
#define COOKED_SIZE 16
#define COOKED2_SIZE 20
#define TAG_SIZE 4
#define TAGS_MAX 4
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define TYPE_TAG 0x8100         /* 802.1Q */
#define TYPE_SERVICE_TAG 0x88a8 /* 802.1ad */

#define IPV4_SIZE 20
#define IPV4_FRAGMENT 0x3fff /* more fragments, or not the first */
#define IPV6_SIZE 40
#define EXTENSIONS_MAX 8
#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_ROUTING 43
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_OPTIONS 60
#define UDP_SIZE 8
#define TCP_SIZE 20

/* What of a frame is not yet read. */
typedef struct {
    const uint8_t *bytes;
    uint32_t size;
    uint32_t cut; /* 1: the capture kept less than the wire carried */
} rest;

static uint32_t file_load32(const pcap_format *format, const uint8_t *source) {
    uint32_t value;
    memcpy(&value, source, sizeof value);
    return format->swapped ? __builtin_bswap32(value) : value;
}

int pcap_open(const uint8_t *bytes, uint64_t size, pcap_format *format) {
    memset(format, 0, sizeof *format);
    if (size < PCAP_FILE_HEADER_SIZE) return PCAP_CUT;
    uint32_t magic = file_load32(format, bytes);
    format->swapped = magic == __builtin_bswap32(MAGIC_MICROSECOND) || magic == __builtin_bswap32(MAGIC_NANOSECOND);
    magic = file_load32(format, bytes);
    if (magic != MAGIC_MICROSECOND && magic != MAGIC_NANOSECOND) return PCAP_BAD_MAGIC;
    format->nanosecond = magic == MAGIC_NANOSECOND;
    format->snap_length = file_load32(format, bytes + 16);
    format->link_type = file_load32(format, bytes + 20) & 0xffff; /* above: length of a frame check sequence */
    return PCAP_OK;
}

/* Bytes are missing: was it the capture that cut them off, or do the headers lie? */
static uint8_t kind_of_missing(const rest *left) { return left->cut ? PACKET_CUT : PACKET_MALFORMED; }

static void skip(rest *left, uint32_t size) {
    left->bytes += size;
    left->size -= size;
}

/* Leave no more than `size`: what follows is padding. */
static bool narrow(rest *left, uint32_t size) {
    if (size > left->size) return false;
    left->size = size;
    return true;
}

static uint8_t read_udp(rest left, pcap_packet *packet, const uint8_t *file) {
    if (left.size < UDP_SIZE) return kind_of_missing(&left);
    uint32_t length = wire_load16(left.bytes + 4);
    if (length < UDP_SIZE) return PACKET_MALFORMED;
    if (!narrow(&left, length)) return kind_of_missing(&left);
    packet->source_port = wire_load16(left.bytes);
    packet->target_port = wire_load16(left.bytes + 2);
    packet->payload_offset = (uint64_t)(left.bytes - file) + UDP_SIZE;
    packet->payload_length = length - UDP_SIZE;
    return PACKET_UDP;
}

static uint8_t read_tcp(rest left, pcap_packet *packet, const uint8_t *file) {
    if (left.size < TCP_SIZE) return kind_of_missing(&left);
    uint32_t header_size = (uint32_t)(left.bytes[12] >> 4) * 4;
    if (header_size < TCP_SIZE) return PACKET_MALFORMED;
    if (left.size < header_size) return kind_of_missing(&left);
    packet->source_port = wire_load16(left.bytes);
    packet->target_port = wire_load16(left.bytes + 2);
    packet->tcp_sequence = wire_load32(left.bytes + 4);
    packet->tcp_flags = left.bytes[13];
    packet->payload_offset = (uint64_t)(left.bytes - file) + header_size;
    packet->payload_length = left.size - header_size;
    return PACKET_TCP;
}

static uint8_t read_transport(uint8_t protocol, rest left, pcap_packet *packet, const uint8_t *file) {
    if (protocol == PROTOCOL_UDP) return read_udp(left, packet, file);
    if (protocol == PROTOCOL_TCP) return read_tcp(left, packet, file);
    return PACKET_OTHER;
}

static uint8_t read_ipv4(rest left, pcap_packet *packet, const uint8_t *file) {
    if (left.size < IPV4_SIZE) return kind_of_missing(&left);
    uint32_t header_size = (uint32_t)(left.bytes[0] & 15) * 4, total = wire_load16(left.bytes + 2);
    if (left.bytes[0] >> 4 != 4 || header_size < IPV4_SIZE || total < header_size) return PACKET_MALFORMED;
    if (!narrow(&left, total)) return kind_of_missing(&left);
    packet->ip_version = 4;
    memcpy(packet->source, left.bytes + 12, 4);
    memcpy(packet->target, left.bytes + 16, 4);
    if (wire_load16(left.bytes + 6) & IPV4_FRAGMENT) return PACKET_FRAGMENT;
    uint8_t protocol = left.bytes[9];
    skip(&left, header_size);
    return read_transport(protocol, left, packet, file);
}

static bool is_extension(uint8_t protocol) {
    return protocol == PROTOCOL_HOP_BY_HOP || protocol == PROTOCOL_ROUTING || protocol == PROTOCOL_OPTIONS;
}

static uint8_t read_ipv6(rest left, pcap_packet *packet, const uint8_t *file) {
    if (left.size < IPV6_SIZE) return kind_of_missing(&left);
    if (left.bytes[0] >> 4 != 6) return PACKET_MALFORMED;
    if (!narrow(&left, IPV6_SIZE + (uint32_t)wire_load16(left.bytes + 4))) return kind_of_missing(&left);
    packet->ip_version = 6;
    memcpy(packet->source, left.bytes + 8, 16);
    memcpy(packet->target, left.bytes + 24, 16);
    uint8_t protocol = left.bytes[6];
    skip(&left, IPV6_SIZE);
    for (uint32_t i = 0; i < EXTENSIONS_MAX && is_extension(protocol); i++) {
        if (left.size < 2) return PACKET_MALFORMED;
        uint32_t size = ((uint32_t)left.bytes[1] + 1) * 8;
        if (left.size < size) return PACKET_MALFORMED;
        protocol = left.bytes[0];
        skip(&left, size);
    }
    if (protocol == PROTOCOL_FRAGMENT) return PACKET_FRAGMENT;
    return read_transport(protocol, left, packet, file);
}

/* What follows a link header that named the type of its payload. */
static uint8_t read_typed(uint32_t type, rest left, pcap_packet *packet, const uint8_t *file) {
    while (type == TYPE_TAG || type == TYPE_SERVICE_TAG) {
        if (left.size < TAG_SIZE) return kind_of_missing(&left);
        if (packet->tags == TAGS_MAX) return PACKET_OTHER;
        packet->tags++;
        type = wire_load16(left.bytes + 2);
        skip(&left, TAG_SIZE);
    }
    if (type == TYPE_IPV4) return read_ipv4(left, packet, file);
    if (type == TYPE_IPV6) return read_ipv6(left, packet, file);
    return PACKET_OTHER;
}

/* What follows a link header that says no more than that it is IP: the version tells which. */
static uint8_t read_ip(rest left, pcap_packet *packet, const uint8_t *file) {
    if (!left.size) return kind_of_missing(&left);
    switch (left.bytes[0] >> 4) {
    case 4: return read_ipv4(left, packet, file);
    case 6: return read_ipv6(left, packet, file);
    default: return PACKET_OTHER;
    }
}

/* Of each link type: bytes of its header, and where in it the type of the payload stands. */
typedef struct {
    uint32_t size;
    uint32_t type_at;
    uint8_t known;
    uint8_t typed;
} link_header;

static link_header link_of(uint32_t link_type) {
    switch (link_type) {
    case PCAP_LINK_ETHERNET: return (link_header){ETHERNET_SIZE, 12, 1, 1};
    case PCAP_LINK_COOKED: return (link_header){COOKED_SIZE, 14, 1, 1};
    case PCAP_LINK_COOKED2: return (link_header){COOKED2_SIZE, 0, 1, 1};
    case PCAP_LINK_NULL:
    case PCAP_LINK_LOOP: return (link_header){LOOPBACK_SIZE, 0, 1, 0};
    case PCAP_LINK_RAW:
    case PCAP_LINK_IPV4:
    case PCAP_LINK_IPV6: return (link_header){0, 0, 1, 0};
    default: return (link_header){0, 0, 0, 0};
    }
}

int pcap_link_known(uint32_t link_type) { return link_of(link_type).known; }

static uint8_t read_frame(uint32_t link_type, rest left, pcap_packet *packet, const uint8_t *file) {
    link_header link = link_of(link_type);
    if (!link.known) return PACKET_OTHER;
    if (left.size < link.size) return kind_of_missing(&left);
    uint32_t type = link.typed ? wire_load16(left.bytes + link.type_at) : 0;
    skip(&left, link.size);
    return link.typed ? read_typed(type, left, packet, file) : read_ip(left, packet, file);
}

static void read_record(const pcap_format *format, const uint8_t *file, uint64_t at, uint32_t captured,
                        pcap_packet *packet) {
    memset(packet, 0, sizeof *packet);
    uint64_t fraction = file_load32(format, file + at + 4);
    packet->time_ns = (uint64_t)file_load32(format, file + at) * 1000000000u + (format->nanosecond ? fraction : fraction * 1000);
    packet->frame_offset = at + PCAP_RECORD_HEADER_SIZE;
    packet->payload_offset = packet->frame_offset;
    packet->captured = captured;
    packet->original = file_load32(format, file + at + 12);
    rest frame = {file + packet->frame_offset, captured, captured < packet->original};
    packet->kind = read_frame(format->link_type, frame, packet, file);
}

int pcap_index(const pcap_format *format, const uint8_t *bytes, uint64_t size, uint64_t start, pcap_packet *packets,
               uint64_t capacity, uint64_t *count, uint64_t *consumed) {
    uint64_t at = start, found = 0;
    int status = PCAP_OK;
    while (found < capacity && at < size) {
        status = PCAP_CUT;
        if (size - at < PCAP_RECORD_HEADER_SIZE) break;
        uint32_t captured = file_load32(format, bytes + at + 8);
        if (captured > PCAP_RECORD_BYTES_MAX) {
            status = PCAP_BAD_RECORD;
            break;
        }
        if (size - at - PCAP_RECORD_HEADER_SIZE < captured) break;
        read_record(format, bytes, at, captured, &packets[found++]);
        at += PCAP_RECORD_HEADER_SIZE + captured;
        status = PCAP_OK;
    }
    *count = found;
    *consumed = at;
    return status;
}
