/* coprocess_trader.c: the foreign program of bench/coprocess.py: an order for every EVERYth market event, and when
 * the first report of each came.
 *
 *   coprocess_trader ENGINE SEAT ORDERS EVERY FILE      FILE: ORDERS records of four 64-bit words, as `trip`
 */
#include "../../ffi/client/hotpath_client.h"
#include <inttypes.h>

typedef struct {
    uint64_t order_id;
    uint64_t market_time_ns; /* the event was published */
    uint64_t sent_time_ns;   /* the request was written */
    uint64_t told_time_ns;   /* its first report was read */
} trip;

static hotpath_seat seat;

static void answer(trip *trips, uint64_t orders, uint64_t *answered) {
    report_event report;
    while (hotpath_report_next(&seat, &report)) {
        if (!report.token || report.token > orders || trips[report.token - 1].told_time_ns) continue;
        trips[report.token - 1].told_time_ns = hotpath_now(&seat);
        trips[report.token - 1].order_id = report.order_id;
        ++*answered;
    }
}

static void act(const norm_event *event, trip *trips) {
    hotpath_wish wish;
    memset(&wish, 0, sizeof wish);
    wish.instrument = event->header.instrument;
    wish.side = SIDE_BUY;
    wish.time_in_force = TIF_IOC; /* at the bid: canceled at once, so that nothing piles up */
    wish.price_ticks = event->bid_price_ticks;
    wish.quantity_lots = 1;
    uint64_t now_ns = hotpath_now(&seat);
    uint64_t token = hotpath_order(&seat, &wish, event);
    if (!token) return;
    trips[token - 1].market_time_ns = event->header.publish_time_ns;
    trips[token - 1].sent_time_ns = now_ns;
}

int main(int count, char **arguments) {
    if (count != 6) return 64;
    uint64_t orders = strtoull(arguments[3], NULL, 10), every = strtoull(arguments[4], NULL, 10), answered = 0;
    trip *trips = calloc(orders, sizeof *trips);
    if (!trips || hotpath_attach(&seat, arguments[1], arguments[2], 10.0) != HOTPATH_OK) {
        fprintf(stderr, "%s\n", hotpath_error(&seat));
        return 69;
    }
    norm_event event;
    while (answered < orders && hotpath_cut(&seat) == SEAT_CUT_NONE) {
        answer(trips, orders, &answered);
        if (!hotpath_market_next(&seat, &event) || event.header.stamp % every || seat.token >= orders) continue;
        if (event.header.instrument < seat.instrument_count && event.bid_price_ticks && event.ask_price_ticks) act(&event, trips);
    }
    FILE *file = fopen(arguments[5], "wb");
    if (!file || fwrite(trips, sizeof *trips, orders, file) != orders || fclose(file)) return 74;
    printf("{\"answered\": %" PRIu64 ", \"lost\": %" PRIu64 ", \"cut\": %u}\n", answered, seat.market_lost, hotpath_cut(&seat));
    hotpath_detach(&seat);
    return 0;
}
