/* quoter.c: a foreign program beside a hotpath engine: joins the best bid of one instrument and follows it.
 *
 *   cc -O2 $(hotpath coprocess flags) quoter.c -o quoter
 *   ./quoter ENGINE SEAT SYMBOL QUANTITY SECONDS
 *
 *   no order --buy at the bid--> asked --accepted--> resting --the bid has moved--> replaced
 *      ^                                                |
 *      +----------------- filled, refused, canceled ----+
 *
 * Prints a line for each report, and at the end what it holds. Cut for silence (a debugger, a busy machine) it takes its
 * seat again; cut for anything else it ends. The seat is declared in the engine's configuration:
 *
 *   [[coprocesses]]
 *   name = "quoter"
 *   account = 2
 *   strategy = 100
 */
#include <hotpath_client.h>
#include <inttypes.h>
#include <stdlib.h>

typedef struct {
    hotpath_seat seat;
    uint32_t instrument;
    int64_t quantity_lots;
    uint64_t order;        /* token of the order that rests, 0 = none */
    uint64_t asked;        /* token of what is under way, 0 = nothing */
    int64_t price_ticks;   /* of the order that rests */
    int64_t position_lots;
} quoter;

static const char *name_of(uint8_t type) {
    switch (type) {
    case EXEC_ACCEPTED: return "accepted";
    case EXEC_REPLACED: return "replaced";
    case EXEC_FILL: return "fill";
    case EXEC_CANCELED: return "canceled";
    case EXEC_REJECTED: return "rejected";
    case EXEC_REFUSED: return "refused";
    case EXEC_REPLACE_REJECTED: return "replace rejected";
    case EXEC_CANCEL_REJECTED: return "cancel rejected";
    case REPORT_ATTACHED: return "attached";
    case REPORT_ORDER: return "holds order";
    case REPORT_POSITION: return "holds position";
    case REPORT_END: return "ready";
    case REPORT_CUT: return "cut";
    default: return "report";
    }
}

/* What the engine says of our orders. */
static void follow(quoter *self, const report_event *report) {
    printf("%s token %" PRIu64 " price %" PRId64 " leaves %" PRId64 " position %" PRId64 " reason %u\n", name_of(report->header.type),
           report->token, report->price_ticks, report->leaves_lots, report->position_lots, (unsigned)report->reason);
    if (report->token == self->asked && report->header.type != EXEC_FILL) self->asked = 0;
    if (report->header.instrument == self->instrument) self->position_lots = report->position_lots;
    switch (report->header.type) {
    case EXEC_ACCEPTED:
    case EXEC_REPLACED:
    case REPORT_ORDER:
        self->order = report->token;
        self->price_ticks = report->price_ticks;
        break;
    case EXEC_FILL:
    case EXEC_CANCELED:
        if (report->leaves_lots <= 0 && report->token == self->order) self->order = 0;
        break;
    default: break;
    }
}

/* One market event: quote where there is no order, follow the bid where it has moved. */
static void quote(quoter *self, const norm_event *event) {
    if (event->header.instrument != self->instrument || (event->header.flags & FLAG_STALE)) return;
    if (!event->bid_price_ticks || !event->ask_price_ticks || self->asked) return;
    if (self->order && self->price_ticks == event->bid_price_ticks) return;
    hotpath_wish wish;
    memset(&wish, 0, sizeof wish);
    wish.instrument = self->instrument;
    wish.side = SIDE_BUY;
    wish.price_ticks = event->bid_price_ticks;
    wish.quantity_lots = self->quantity_lots;
    wish.target_token = self->order;
    self->asked = hotpath_order(&self->seat, &wish, event); /* 0: full or cut; the next event tries again */
}

static uint32_t run(quoter *self, uint64_t end_ns) {
    norm_event event;
    report_event report;
    while (hotpath_now(&self->seat) < end_ns) {
        while (hotpath_report_next(&self->seat, &report)) follow(self, &report); /* says that we live, too */
        for (int i = 0; i < 64 && hotpath_market_next(&self->seat, &event); i++) quote(self, &event);
        if (hotpath_cut(&self->seat) != SEAT_CUT_NONE) break;
    }
    return hotpath_cut(&self->seat);
}

/* Cut for silence, and here we are: what is open and held, the first reports tell. */
static int come_again(quoter *self, char **arguments) {
    printf("silent too long\n");
    self->order = self->asked = 0;
    return hotpath_reattach(&self->seat, arguments[1], arguments[2], 10.0);
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: %s ENGINE SEAT SYMBOL QUANTITY SECONDS\n", arguments[0]);
        return 64;
    }
    static quoter self;
    if (hotpath_attach(&self.seat, arguments[1], arguments[2], 10.0) != HOTPATH_OK) {
        fprintf(stderr, "%s\n", hotpath_error(&self.seat));
        return 69;
    }
    self.instrument = hotpath_instrument(&self.seat, arguments[3]);
    self.quantity_lots = strtoll(arguments[4], NULL, 10);
    if (self.instrument == NO_INSTRUMENT) {
        fprintf(stderr, "engine %s has no instrument %s\n", arguments[1], arguments[3]);
        hotpath_detach(&self.seat);
        return 65;
    }
    uint64_t end_ns = hotpath_now(&self.seat) + (uint64_t)(strtod(arguments[5], NULL) * 1e9);
    uint32_t cut = run(&self, end_ns);
    while (cut == SEAT_CUT_HEARTBEAT) {
        if (come_again(&self, arguments) != HOTPATH_OK) {
            fprintf(stderr, "%s\n", hotpath_error(&self.seat));
            return 69;
        }
        cut = run(&self, end_ns);
    }
    printf("position %" PRId64 " lost %" PRIu64 " cut %u\n", self.position_lots, self.seat.market_lost, cut);
    hotpath_detach(&self.seat);
    return cut == SEAT_CUT_NONE ? 0 : 75;
}
