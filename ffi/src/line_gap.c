/* line_gap.c: holes in the sequence: packets kept aside, gaps told, retransmission. See include/line.h. */
#include "line.h"
#include "line_parts.h"
#include <sys/socket.h>

#define NOWHERE LINE_STASH_MAX

/* ---- packets kept aside ------------------------------------------------------------------------ */

/* Place of the earliest packet kept aside, or NOWHERE. */
static uint32_t stash_lowest(const line *line) {
    uint32_t lowest = NOWHERE;
    if (!line->stash_count) return lowest;
    for (uint32_t i = 0; i < LINE_STASH_MAX; i++)
        if (line->stash_sequence[i] && (lowest == NOWHERE || line->stash_sequence[i] < line->stash_sequence[lowest])) lowest = i;
    return lowest;
}

/* Known: the packet, or one that begins with the same message, is kept aside already. */
int stash_keep(line *line, const line_packet *packet) {
    uint32_t place = NOWHERE;
    for (uint32_t i = 0; i < LINE_STASH_MAX; i++) {
        if (line->stash_sequence[i] == packet->sequence) {
            line->counter[FEED_PACKETS_DUPLICATE]++;
            line->counter[FEED_DUPLICATES] += packet->count;
            return STASH_KNOWN;
        }
        if (!line->stash_sequence[i] && place == NOWHERE) place = i;
    }
    if (place == NOWHERE) return STASH_FULL;
    line->stash[place] = *packet;
    line->stash_sequence[place] = packet->sequence;
    line->stash_count++;
    held_count(line);
    line->counter[FEED_REORDERED]++;
    return STASH_KEPT;
}

/* Let go of everything: its session is left. */
void stash_leave(line *line) {
    for (uint32_t i = 0; line->stash_count && i < LINE_STASH_MAX; i++) {
        if (!line->stash_sequence[i]) continue;
        packet_drop(line, &line->stash[i], FEED_PACKETS_LEFT);
        line->stash_sequence[i] = 0;
        line->stash_count--;
    }
    held_count(line);
}

/* Publish what the stash holds in sequence. */
static uint32_t stash_drain(line *line, ring_writer *raw) {
    uint32_t published = 0;
    while (line->stash_count) {
        uint32_t place = stash_lowest(line);
        const line_packet *packet = &line->stash[place];
        if (packet->sequence > line->expected || ring_room_inline(raw) < slots_wanted(packet)) break;
        published += line_publish(line, raw, packet, 0);
        line->stash_sequence[place] = 0;
        line->stash_count--;
        held_count(line);
    }
    return published;
}

/* ---- requests ---------------------------------------------------------------------------------- */

/* The server has not answered: ask again, and after enough tries the other one. */
static void request_missed(line *line) {
    line->counter[FEED_REQUEST_TIMEOUTS]++;
    line->tries++;
    uint32_t other = 1 - line->server;
    if (line->tries < line->request_tries || line->request_socket[other] < 0) return;
    line->server = other;
    line->tries = 0;
    line->counter[FEED_SERVER_SWITCHES]++;
}

/* The journal does not hold raw up: what is published faster than it reads is lost to it. Both words are hints. */
static int recorder_is_behind(const line *line) {
    if (!line->recorder) return 0;
    uint64_t place = __atomic_load_n(&line->recorder->position, __ATOMIC_RELAXED);
    return place < line->recorded->next && line->recorded->next - place > line->recorder_lag_max;
}

/* Ask for what is missing: at once, again after the interval, and as soon as an answer is here. */
static void gap_request(line *line, uint64_t now_ns) {
    if (line->request_socket[0] < 0) return;
    int waits = recorder_is_behind(line);
    line->counter[FEED_RECOVERY_WAITS] = (uint64_t)waits;
    if (waits) {
        line->gap_start_time_ns = now_ns;
        return;
    }
    int answered = line->expected >= line->request_end; /* true as well when nothing was asked for yet */
    if (!answered) {
        if (since(line->request_time_ns, now_ns) < line->request_interval_ns) return;
        request_missed(line);
    }
    uint64_t missing = line->gap_end - line->expected;
    uint64_t most = line->request_max ? line->request_max : LINE_REQUEST_MAX;
    mold_header request = {.sequence = line->expected, .count = (uint16_t)(missing < most ? missing : most)};
    memcpy(request.session, line->session, sizeof request.session);
    line->request_time_ns = now_ns;
    line->request_end = request.sequence + request.count;
    uint8_t bytes[MOLD_HEADER_SIZE];
    uint32_t size = mold_header_encode(&request, bytes);
    line->counter[FEED_SYSTEM_CALLS]++;
    line->counter[FEED_REQUESTS]++;
    if (send(line->request_socket[line->server], bytes, size, MSG_DONTWAIT) >= 0) return;
    line->counter[FEED_SOCKET_ERRORS]++;
    line->tries = line->request_tries; /* nobody is there: no use in asking it thrice */
}

/* ---- gaps -------------------------------------------------------------------------------------- */

static uint32_t saturated(uint64_t count) { return (uint32_t)(count > UINT32_MAX ? UINT32_MAX : count); }

/* Messages from `expected` to `from` are surely missing. */
static void gap_open(line *line, ring_writer *raw, uint64_t from, uint64_t now_ns) {
    line->gap_open = 1;
    line->gap_start_time_ns = now_ns;
    line->gap_answers = line->gap_wrong = 0;
    line->request_end = 0;
    line->tries = 0;
    line->counter[FEED_GAPS]++;
    line->counter[FEED_GAP_MESSAGES] += from - line->expected;
    line_state(line, raw, RAW_GAP, saturated(from - line->expected), now_ns);
}

static enum gap_reason gap_reason_of(const line *line) {
    if (line->request_socket[0] < 0) return GAP_NO_SERVER;
    if (line->gap_answers) return GAP_STALLED;
    return line->gap_wrong ? GAP_WRONG_ANSWERS : GAP_UNANSWERED;
}

/* Give up the first hole. What is still missing behind what the stash holds is a hole of its own. */
static uint32_t gap_give_up(line *line, ring_writer *raw, uint64_t from, uint64_t now_ns) {
    line->counter[FEED_GAPS_LOST]++;
    raw_event *event = line_state_claim(line, raw, RAW_GAP_LOST, saturated(from - line->expected), now_ns);
    if (event) {
        event->length = 1;
        event->bytes[0] = (uint8_t)gap_reason_of(line);
        ring_commit_inline(raw);
    }
    line->expected = from;
    if (from > line->highest) line->highest = from;
    line->gap_open = 0;
    line->hole_end = 0;
    return stash_drain(line, raw);
}

static void gap_close(line *line, ring_writer *raw, uint64_t now_ns) {
    line->gap_open = 0;
    line->counter[FEED_RECOVERY_WAITS] = 0;
    line->counter[FEED_GAPS_CLOSED]++;
    line_state(line, raw, RAW_GAP_CLOSED, 0, now_ns);
}

/* ---- holes ------------------------------------------------------------------------------------- */

void hole_know(line *line, uint64_t end) {
    if (end > line->gap_end) line->gap_end = end;
}

/* The first hole is [expected, from). Progress renews the patience. */
static void hole_follow(line *line, uint64_t from, uint64_t now_ns) {
    int new_hole = line->expected >= line->hole_end;
    if (!new_hole && from < line->hole_end) line->hole_end = from;
    if (!new_hole && line->expected == line->hole_expected) return;
    if (new_hole) {
        if (line->hole_end && !line->gap_open) line->counter[FEED_HOLES_FILLED]++;
        line->hole_end = from;
        line->hole_time_ns = now_ns;
    }
    line->hole_expected = line->expected;
    line->gap_start_time_ns = now_ns;
    line->tries = 0;
}

/* A hole is a gap once no line may bring it yet: each that speaks has gone past it, or the wait is over. */
static int hole_is_gap(const line *line, uint64_t now_ns) {
    if (since(line->hole_time_ns, now_ns) >= line->gap_wait_ns) return 1;
    for (uint32_t i = 0; i < line_sides(line); i++)
        if (!line->side[i].silent && line->side[i].next <= line->expected) return 0;
    return 1;
}

/* 1 when nothing is missing any more. */
static int hole_close(line *line, ring_writer *raw, uint64_t now_ns) {
    if (line->expected < line->gap_end || line->stash_count) return 0;
    if (line->gap_open) gap_close(line, raw, now_ns);
    else if (line->hole_end) line->counter[FEED_HOLES_FILLED]++;
    line->gap_end = line->hole_end = 0;
    return 1;
}

/* First sequence after the first hole that is here, or is known to exist. */
static uint64_t hole_from(const line *line) {
    uint32_t next = stash_lowest(line);
    return next == NOWHERE ? line->gap_end : line->stash_sequence[next];
}

/* No progress for too long; or nobody can be asked, and what comes next would find no place: that is worth more. */
static int gap_is_over(const line *line, uint64_t now_ns) {
    if (since(line->gap_start_time_ns, now_ns) >= line->gap_timeout_ns) return 1;
    return line->request_socket[0] < 0 && line->stash_count == LINE_STASH_MAX;
}

/* Until nothing is left to do: opened at most once, given up at most once. */
uint32_t hole_settle(line *line, ring_writer *raw, uint64_t now_ns) {
    uint32_t published = stash_drain(line, raw);
    if (hole_close(line, raw, now_ns)) return published;
    uint64_t from = hole_from(line);
    if (from <= line->expected) return published; /* what comes next is here; raw had no room for it */
    hole_follow(line, from, now_ns);
    if (line->gap_open && gap_is_over(line, now_ns)) {
        published += gap_give_up(line, raw, from, now_ns);
        if (hole_close(line, raw, now_ns)) return published;
        from = hole_from(line);
        if (from <= line->expected) return published;
        hole_follow(line, from, now_ns);
    }
    if (!line->gap_open && hole_is_gap(line, now_ns)) gap_open(line, raw, from, now_ns);
    if (line->gap_open) gap_request(line, now_ns);
    return published;
}
