/* line_socket.c: the line's sockets: receiving in batches, kernel stamps, drops, silence. See include/line.h. */
#define _GNU_SOURCE
#include "line.h"
#include "line_parts.h"
#include "clock_inline.h"
#include "histogram_inline.h"
#include <errno.h>
#include <sys/socket.h>

#define CONTROL_BYTES 64               /* a stamp and a drop count, with their headers */
#define CLOCK_INTERVAL_NS 100000000    /* between two comparisons of the clocks */
#define CLOCK_TRIES 3

/* What the kernel is given to fill; lies behind the line. */
typedef struct {
    struct mmsghdr message[LINE_BATCH_MAX];
    struct iovec piece[LINE_BATCH_MAX];
    _Alignas(8) uint8_t control[LINE_BATCH_MAX][CONTROL_BYTES];
} line_receiver;

uint64_t line_bytes(void) { return sizeof(line) + sizeof(line_receiver); }

_Static_assert(sizeof(line) % _Alignof(line_receiver) == 0, "the receiver lies right behind the line");

static line_receiver *receiver_of(line *line) { return (line_receiver *)(line + 1); }

/* Point the headers at the places of the batch; the kernel changes what it says here at each call. */
static void receiver_reset(line *line, uint32_t count) {
    line_receiver *receiver = receiver_of(line);
    for (uint32_t i = 0; i < count; i++) {
        receiver->piece[i] = (struct iovec){line->batch[i].bytes, sizeof line->batch[i].bytes};
        receiver->message[i].msg_hdr = (struct msghdr){.msg_iov = &receiver->piece[i],
                                                       .msg_iovlen = 1,
                                                       .msg_control = receiver->control[i],
                                                       .msg_controllen = CONTROL_BYTES};
    }
}

/* ---- what the kernel says beside the bytes ------------------------------------------------------- */

/* The engine clock never steps, CLOCK_REALTIME may: they are compared again and again, the narrowest of a few. */
static void clocks_compare(line *line, uint64_t now_ns) {
    if (!line->hops || !line->clock || now_ns < line->clock_time_ns) return;
    uint64_t narrowest = UINT64_MAX;
    for (int i = 0; i < CLOCK_TRIES; i++) {
        struct timespec real;
        uint64_t before = clock_read(line->clock);
        clock_gettime(CLOCK_REALTIME, &real);
        uint64_t width = clock_read(line->clock) - before;
        if (width >= narrowest) continue;
        narrowest = width;
        line->realtime_ns = (int64_t)(before + width / 2) - ((int64_t)real.tv_sec * 1000000000 + real.tv_nsec);
    }
    line->clock_time_ns = now_ns + CLOCK_INTERVAL_NS;
}

/* A hop that the clocks say was negative is counted, never wrapped. */
static void kernel_hop(line *line, const struct timespec *stamp, uint64_t ingress_time_ns) {
    if (!line->hops || !stamp->tv_sec) return;
    int64_t stamped = (int64_t)stamp->tv_sec * 1000000000 + stamp->tv_nsec + line->realtime_ns;
    int64_t span = (int64_t)ingress_time_ns - stamped;
    if (span < 0) line->counter[FEED_NEGATIVE_HOPS]++;
    else histogram_record_inline(&line->hops[HOP_KERNEL], (uint64_t)span);
}

static void control_read(line *line, line_side *side, struct msghdr *header, uint64_t ingress_time_ns) {
    for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each; each = CMSG_NXTHDR(header, each)) {
        if (each->cmsg_level != SOL_SOCKET) continue;
        if (each->cmsg_type == SCM_TIMESTAMPNS && each->cmsg_len >= CMSG_LEN(sizeof(struct timespec))) {
            struct timespec stamp;
            memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
            kernel_hop(line, &stamp, ingress_time_ns);
        } else if (each->cmsg_type == SO_RXQ_OVFL && each->cmsg_len >= CMSG_LEN(sizeof(uint32_t))) {
            uint32_t drops; /* since the socket was made */
            memcpy(&drops, CMSG_DATA(each), sizeof drops);
            line->counter[FEED_KERNEL_DROPS] += drops - side->kernel_drops;
            side->kernel_drops = drops;
        }
    }
}

/* ---- receiving --------------------------------------------------------------------------------- */

/* Packets that raw can hold whole; what it cannot waits in the kernel's buffer. */
static uint32_t room_for(line *line, ring_writer *raw, uint32_t most) {
    uint64_t room = ring_room_inline(raw) / PACKET_SLOTS_MAX;
    if (!room) line->counter[FEED_RAW_FULL]++;
    return room < most ? (uint32_t)room : most;
}

/* How many packets lie in the batch now. One alone costs the kernel less when there is one or none. */
static uint32_t receive(line *line, int socket, uint32_t most) {
    line_receiver *receiver = receiver_of(line);
    receiver_reset(line, most);
    line->counter[FEED_SYSTEM_CALLS]++;
    if (most == 1) {
        ssize_t size = recvmsg(socket, &receiver->message[0].msg_hdr, MSG_DONTWAIT);
        if (size >= 0) {
            receiver->message[0].msg_len = (uint32_t)size;
            return 1;
        }
    } else {
        int count = recvmmsg(socket, receiver->message, most, MSG_DONTWAIT, NULL);
        if (count >= 0) return (uint32_t)count;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) line->counter[FEED_SOCKET_ERRORS]++;
    return 0;
}

/* Many at a time once there was something, and only while the stash is empty: what it may publish as well is not
 * in the count of what raw has room for. */
static uint32_t side_receive(line *line, ring_writer *raw, uint32_t source, uint32_t packets_max) {
    line_side *side = &line->side[source];
    uint32_t most = line->batch_max < packets_max ? line->batch_max : packets_max;
    if (!side->hot || line->gap_end || most < 1) most = 1;
    most = room_for(line, raw, most < LINE_BATCH_MAX ? most : LINE_BATCH_MAX);
    if (!most) return 0;
    uint32_t count = receive(line, side->socket, most), published = 0;
    side->hot = count != 0;
    if (!count) return 0;
    uint64_t ingress_time_ns = clock_read(line->clock); /* T0: the bytes are in user memory */
    for (uint32_t i = 0; i < count; i++) {
        struct mmsghdr *message = &receiver_of(line)->message[i];
        line_packet *packet = &line->batch[i];
        packet->size = message->msg_len;
        packet->source = source;
        packet->ingress_time_ns = ingress_time_ns;
        if (message->msg_hdr.msg_controllen) control_read(line, side, &message->msg_hdr, ingress_time_ns);
        published += line_take(line, raw, packet);
    }
    return published;
}

static uint32_t answer_receive(line *line, ring_writer *raw, int socket) {
    if (!room_for(line, raw, 1) || !receive(line, socket, 1)) return 0;
    line_packet *packet = &line->batch[0];
    packet->size = receiver_of(line)->message[0].msg_len;
    packet->source = LINE_ANSWER;
    packet->ingress_time_ns = clock_read(line->clock);
    return line_take(line, raw, packet);
}

/* ---- silence ----------------------------------------------------------------------------------- */

static uint64_t heard_or_begun(const line *line, uint32_t source) {
    uint64_t heard = line->side[source].heard_time_ns;
    return heard > line->watch_time_ns ? heard : line->watch_time_ns;
}

/* One line silent while the other speaks is told, once. Both silent is the feed's own finding. */
static void sides_watch(line *line, ring_writer *raw, uint64_t now_ns) {
    if (line_sides(line) < 2 || !line->line_silence_ns) return;
    if (!line->watch_time_ns) line->watch_time_ns = now_ns;
    for (uint32_t i = 0; i < LINE_SIDES_MAX; i++) {
        uint64_t other = line->side[1 - i].heard_time_ns;
        if (line->side[i].silent || since(heard_or_begun(line, i), now_ns) < line->line_silence_ns) continue;
        if (!other || since(other, now_ns) >= line->line_silence_ns || !ring_room_inline(raw)) continue;
        line->side[i].silent = 1;
        line->counter[i == LINE_A ? FEED_A_SILENT : FEED_B_SILENT] = 1;
        line->counter[FEED_LINE_SILENCES]++;
        raw_publish_state(raw, RAW_LINE_SILENT, line->expected, i, now_ns);
    }
}

uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max) {
    uint32_t published = 0;
    clocks_compare(line, now_ns);
    for (uint32_t i = 0; i < line_sides(line); i++)
        if (line->side[i].socket >= 0) published += side_receive(line, raw, i, packets_max);
    for (uint32_t i = 0; line->gap_open && i < LINE_SERVERS_MAX; i++)
        if (line->request_socket[i] >= 0) published += answer_receive(line, raw, line->request_socket[i]);
    if (line->gap_end && room_for(line, raw, 1)) published += line_work(line, raw, now_ns);
    sides_watch(line, raw, now_ns);
    return published;
}
