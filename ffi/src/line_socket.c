/* line_socket.c: the line's sockets: receiving in batches, kernel stamps, drops, silence. See include/line.h. */
#define _GNU_SOURCE
#include "line.h"
#include "line_parts.h"
#include "clock_inline.h"
#include "histogram_inline.h"
#include <errno.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#define CONTROL_BYTES 64           /* a stamp, with its header */
#define KERNEL_INTERVAL_NS 100000000 /* between two looks at the kernel's clock and drops */
#define CLOCK_TRIES 3
#define HOT_LOOKS 3                /* looks in a row that found a packet, before many are taken at a time */

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
                                                       .msg_control = line->hops ? receiver->control[i] : NULL,
                                                       .msg_controllen = line->hops ? CONTROL_BYTES : 0};
    }
}

/* ---- what the kernel says beside the bytes ------------------------------------------------------- */

/* The engine clock never steps, CLOCK_REALTIME may: they are compared again and again, the narrowest of a few. */
static void clocks_compare(line *line) {
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
}

/* Packets that the socket's buffer had no room for, as SO_RXQ_OVFL would say with a packet that came: asked for, so
 * that a packet need not be received by the dearer call that brings such words, nor come at all. */
static void drops_count(line *line, line_side *side) {
    uint32_t words[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof words;
    line->counter[FEED_SYSTEM_CALLS]++;
    if (getsockopt(side->socket, SOL_SOCKET, SO_MEMINFO, words, &size) != 0) return;
    line->counter[FEED_KERNEL_DROPS] += words[SK_MEMINFO_DROPS] - side->kernel_drops; /* since the socket was made */
    side->kernel_drops = words[SK_MEMINFO_DROPS];
}

static void kernel_look(line *line, uint64_t now_ns) {
    if (now_ns < line->kernel_time_ns) return;
    line->kernel_time_ns = now_ns + KERNEL_INTERVAL_NS;
    if (line->hops) clocks_compare(line);
    for (uint32_t i = 0; i < line_sides(line); i++)
        if (line->side[i].socket >= 0) drops_count(line, &line->side[i]);
}

/* A hop that the clocks say was negative is counted, never wrapped. */
static void kernel_hop(line *line, const struct timespec *stamp, uint64_t ingress_time_ns) {
    if (!stamp->tv_sec) return;
    int64_t stamped = (int64_t)stamp->tv_sec * 1000000000 + stamp->tv_nsec + line->realtime_ns;
    int64_t span = (int64_t)ingress_time_ns - stamped;
    if (span < 0) line->counter[FEED_NEGATIVE_HOPS]++;
    else histogram_record_inline(&line->hops[HOP_KERNEL], (uint64_t)span);
}

static void control_read(line *line, struct msghdr *header, uint64_t ingress_time_ns) {
    for (struct cmsghdr *each = CMSG_FIRSTHDR(header); each; each = CMSG_NXTHDR(header, each)) {
        if (each->cmsg_level != SOL_SOCKET || each->cmsg_type != SCM_TIMESTAMPNS) continue;
        if (each->cmsg_len < CMSG_LEN(sizeof(struct timespec))) continue;
        struct timespec stamp;
        memcpy(&stamp, CMSG_DATA(each), sizeof stamp);
        kernel_hop(line, &stamp, ingress_time_ns);
    }
}

/* ---- receiving --------------------------------------------------------------------------------- */

/* Packets that raw can hold whole; what it cannot waits in the kernel's buffer. */
static uint32_t room_for(line *line, ring_writer *raw, uint32_t most) {
    uint64_t room = ring_room_inline(raw) / PACKET_SLOTS_MAX;
    if (!room) line->counter[FEED_RAW_FULL]++;
    return room < most ? (uint32_t)room : most;
}

/* One packet, into the first place of the batch, by the cheapest call that does: 1 when there was one. */
static uint32_t receive_one(line *line, int socket) {
    struct mmsghdr *message = &receiver_of(line)->message[0];
    ssize_t size;
    if (line->hops) {
        receiver_reset(line, 1);
        size = recvmsg(socket, &message->msg_hdr, MSG_DONTWAIT);
    } else size = recv(socket, line->batch[0].bytes, sizeof line->batch[0].bytes, MSG_DONTWAIT);
    if (size < 0) return 0;
    message->msg_len = (uint32_t)size;
    return 1;
}

/* How many packets lie in the batch now. */
static uint32_t receive(line *line, int socket, uint32_t most) {
    uint32_t count = 0;
    line->counter[FEED_SYSTEM_CALLS]++;
    errno = 0;
    if (most == 1) count = receive_one(line, socket);
    else {
        receiver_reset(line, most);
        int received = recvmmsg(socket, receiver_of(line)->message, most, MSG_DONTWAIT, NULL);
        count = received > 0 ? (uint32_t)received : 0;
    }
    if (!count && errno && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) line->counter[FEED_SOCKET_ERRORS]++;
    return count;
}

/* A call for many costs more than one for one when no more than one is there, and much less when many are: many at
 * a time once a few looks in a row found something, until one comes back with room to spare. Only while the stash
 * is empty: what it may publish as well is not in the count of what raw has room for. */
static uint32_t most_of(const line *line, const line_side *side, uint32_t packets_max) {
    uint32_t most = line->batch_max < packets_max ? line->batch_max : packets_max;
    if (most > LINE_BATCH_MAX) most = LINE_BATCH_MAX;
    return most < 1 || side->hot < HOT_LOOKS || line->gap_end ? 1 : most;
}

static void hot_follow(line_side *side, uint32_t most, uint32_t count) {
    if (most > 1 && count < most) side->hot = count > 1 ? HOT_LOOKS - 1 : 0;
    else if (!count) side->hot = 0;
    else if (side->hot < HOT_LOOKS) side->hot++;
}

static uint32_t side_receive(line *line, ring_writer *raw, uint32_t source, uint32_t packets_max) {
    line_side *side = &line->side[source];
    uint32_t most = room_for(line, raw, most_of(line, side, packets_max));
    if (!most) return 0;
    uint32_t count = receive(line, side->socket, most), published = 0;
    hot_follow(side, most, count);
    if (!count) return 0;
    uint64_t ingress_time_ns = clock_read(line->clock); /* T0: the bytes are in user memory */
    for (uint32_t i = 0; i < count; i++) {
        struct mmsghdr *message = &receiver_of(line)->message[i];
        line_packet *packet = &line->batch[i];
        packet->size = message->msg_len;
        packet->source = source;
        packet->ingress_time_ns = ingress_time_ns;
        if (line->hops) control_read(line, &message->msg_hdr, ingress_time_ns);
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
        line_state(line, raw, RAW_LINE_SILENT, i, now_ns);
    }
}

uint32_t line_poll(line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max) {
    uint32_t published = 0;
    kernel_look(line, now_ns);
    for (uint32_t i = 0; i < line_sides(line); i++)
        if (line->side[i].socket >= 0) published += side_receive(line, raw, i, packets_max);
    for (uint32_t i = 0; line->gap_open && i < LINE_SERVERS_MAX; i++)
        if (line->request_socket[i] >= 0) published += answer_receive(line, raw, line->request_socket[i]);
    if (line->gap_end && room_for(line, raw, 1)) published += line_work(line, raw, now_ns);
    sides_watch(line, raw, now_ns);
    return published;
}
