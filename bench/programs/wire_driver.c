/* wire_driver.c: how long from a market data packet on the wire to the order's frame on the wire?
 *
 *   this processor                                     the engine's: one process, spinning
 *     UDP  MoldUDP64 packet, one ITCH message  ----->  feed, signal, risk, gateway
 *     TCP  SoupBinTCP server, OUCH 5.0         <-----  order frame
 *                                              ----->  accepted, canceled (so that the next may come)
 *
 *   wire_driver UDP_PORT ORDERS INTERVAL_NS          prints "port N" when it listens, JSON at the end
 *
 * Two messages take turns at due times INTERVAL_NS apart: a large bid joins the best price (its imbalance
 * makes an order), and is deleted. Time runs from the instant at which the bid was due, whether or not this
 * loop was late, to the return of the receive that brought the whole frame. Each order is matched to its bid:
 * none may be missing, none too many.
 */
#define _GNU_SOURCE
#include "clock.h"
#include "clock_inline.h"
#include "histogram.h"
#include "itch.h"
#include "moldudp.h"
#include "ouch.h"
#include "soup.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PRICE 1000000u
#define WARM_ORDERS 200u
#define PATIENCE_NS 20000000000u
/* An engine that was held up reads the bid (UDP) before the answer to its last order (TCP), and a strategy
 * that has not heard of the answer sends no second order: after so long the bid is taken away and made anew.
 * Its latency counts from when the first was due. */
#define REPEAT_NS 5000000
#define START_NS 200000000u

static clock_page now_page;
static histogram latencies;
static int udp = -1, tcp = -1;
static uint64_t mold_sequence = 1, soup_sequence = 1, orders, answered_late;
static uint8_t received[1 << 16];
static uint32_t received_size;

static void die(const char *what) {
    fprintf(stderr, "wire_driver: %s\n", what);
    exit(1);
}

static uint64_t now_ns(void) { return clock_read(&now_page); }

/* ---- market data out --------------------------------------------------------------------------- */

static void send_message(const itch_message *message) {
    uint8_t bytes[64], packet[256];
    mold_header header = {.session = "HOTPATH   ", .sequence = mold_sequence++};
    uint32_t length = itch_encode(message, bytes, sizeof bytes);
    uint32_t size = mold_append(packet, mold_header_encode(&header, packet), sizeof packet, bytes, length);
    if (!length || !size || send(udp, packet, size, 0) != (ssize_t)size) die("a packet was not sent");
}

static void send_add(uint64_t order_ref, uint8_t side, uint64_t shares, uint64_t price) {
    itch_message add = {.type = 'A', .side = side, .locate = 1, .time_ns = 1 + mold_sequence, .order_ref = order_ref,
                        .shares = shares, .price = price, .stock = "TEST    "};
    send_message(&add);
}

static void send_delete(uint64_t order_ref) {
    itch_message gone = {.type = 'D', .locate = 1, .time_ns = 1 + mold_sequence, .order_ref = order_ref};
    send_message(&gone);
}

/* ---- the venue's session ----------------------------------------------------------------------- */

static void send_bytes(const uint8_t *bytes, uint32_t size) {
    while (size) {
        ssize_t sent = send(tcp, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        if (sent <= 0) die("the engine hung up");
        bytes += sent;
        size -= (uint32_t)sent;
    }
}

static uint32_t frame_report(const ouch_report *report, uint8_t *target) {
    uint8_t message[80];
    uint32_t length = ouch50_encode_report(report, message, sizeof message);
    uint32_t size = soup_encode(SOUP_SEQUENCED, message, length, target, 128);
    if (!length || !size) die("a report cannot be encoded");
    soup_sequence++;
    return size;
}

static void answer_order(const ouch_order *order) {
    uint8_t bytes[256];
    ouch_report accepted = {.type = 'A', .user_ref = order->user_ref, .side = order->side, .quantity = order->quantity,
                            .price = order->price, .time_in_force = '3', .display = 'Y', .order_ref = orders + 1,
                            .capacity = 'P', .iso = 'N', .cross = 'N', .state = 'L'};
    memcpy(accepted.symbol, order->symbol, sizeof accepted.symbol);
    memcpy(accepted.cl_ord_id, order->cl_ord_id, sizeof accepted.cl_ord_id);
    ouch_report canceled = {.type = 'C', .user_ref = order->user_ref, .quantity = order->quantity, .reason = 'I'};
    uint32_t size = frame_report(&accepted, bytes);
    size += frame_report(&canceled, bytes + size);
    send_bytes(bytes, size);
}

static void answer_login(void) {
    uint8_t bytes[64];
    send_bytes(bytes, soup_accept_encode("HOTPATH   ", 1, bytes, sizeof bytes));
}

static void answer_query(void) {
    uint8_t bytes[128];
    ouch_report answer = {.type = 'Q', .user_ref = 1};
    send_bytes(bytes, frame_report(&answer, bytes));
}

/* 1 when an order was among what came. */
static int packet_take(const soup_packet *packet) {
    ouch_order order;
    if (packet->type == SOUP_LOGIN_REQUEST) answer_login();
    if (packet->type != SOUP_UNSEQUENCED || ouch50_decode_order(packet->payload, packet->length, &order) != OUCH_OK) return 0;
    if (order.type == 'Q') answer_query();
    if (order.type != 'O') return 0;
    answer_order(&order);
    orders++;
    return 1;
}

/* One receive; the instant at which it returned with an order, or 0. */
static uint64_t poll_session(void) {
    ssize_t got = recv(tcp, received + received_size, sizeof received - received_size, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) die("the engine hung up");
    uint64_t time_ns = now_ns();
    int found = 0;
    received_size += (uint32_t)got;
    uint32_t at = 0;
    soup_packet packet;
    for (; soup_parse(received + at, received_size - at, &packet) == SOUP_OK; at += packet.size) found += packet_take(&packet);
    memmove(received, received + at, received_size - at);
    received_size -= at;
    if (found > 1) die("two orders at once");
    return found ? time_ns : 0;
}

static void accept_engine(void) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) != 0)
        die("cannot listen");
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    tcp = accept(listener, NULL, NULL);
    if (tcp < 0 || setsockopt(tcp, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0) die("no engine came");
    close(listener);
}

static void connect_feed(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (udp < 0 || connect(udp, (struct sockaddr *)&address, sizeof address) != 0) die("no way to the feed");
}

static void wait_until(uint64_t time_ns) {
    while (now_ns() < time_ns) poll_session();
}

int main(int words, char **word) {
    if (words != 4) die("usage: wire_driver UDP_PORT ORDERS INTERVAL_NS");
    uint64_t wanted = strtoull(word[2], NULL, 10) + WARM_ORDERS, interval_ns = strtoull(word[3], NULL, 10);
    clock_calibrate(&now_page, 50000000, 0);
    histogram_reset(&latencies);
    accept_engine();
    connect_feed(atoi(word[1]));
    char line[16];
    uint64_t start_ns = now_ns();
    /* The engine is told to go on by whoever started it, once it is armed: by a line on our input. */
    while (now_ns() < start_ns + START_NS) poll_session();
    printf("ready\n");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) die("nobody said go");
    send_add(1, 'B', 100, PRICE);
    send_add(2, 'S', 100, PRICE + 100);
    wait_until(now_ns() + START_NS / 4);
    uint64_t due_ns = now_ns() + interval_ns, before = orders, ref = 1000;
    for (uint64_t sent = 0; sent < wanted; sent++) {
        wait_until(due_ns);
        send_add(++ref, 'B', 10000, PRICE);
        uint64_t time_ns = 0, repeat_ns = now_ns() + REPEAT_NS;
        while (!(time_ns = poll_session())) {
            if (now_ns() > due_ns + PATIENCE_NS) die("an order did not come");
            if (now_ns() < repeat_ns) continue;
            send_delete(ref);
            send_add(++ref, 'B', 10000, PRICE);
            repeat_ns = now_ns() + REPEAT_NS;
        }
        if (sent >= WARM_ORDERS) histogram_record(&latencies, time_ns - due_ns);
        if (now_ns() > due_ns + interval_ns) answered_late++; /* what follows is late, and its figure says so */
        due_ns += interval_ns;
        wait_until(due_ns);
        send_delete(ref);
        due_ns += interval_ns;
    }
    wait_until(now_ns() + START_NS / 4);
    if (orders - before != wanted) die("orders and bids do not pair");
    printf("{\"orders\": %lu, \"interval_ns\": %lu, \"p50_ns\": %lu, \"p99_ns\": %lu, \"p999_ns\": %lu, \"max_ns\": %lu, \"late\": %lu}\n",
           latencies.total_count, interval_ns, histogram_value_at(&latencies, 50), histogram_value_at(&latencies, 99),
           histogram_value_at(&latencies, 99.9), latencies.value_max, answered_late);
    return 0;
}
