/* intent_step.c: a gateway is killed after each single instruction of taking a command: checks, record, frame, stamp,
 * send buffer, tables, disk, release.
 *
 *   for n in 0, s, 2s, ...:   one order stored, a second in the ring -> the gateway takes it, n instructions -> SIGKILL
 *                             -> what must be true of the file -> a successor takes it up, and a third order
 *
 * The gateway's own source is included, so that the command is taken as in a turn, without the turn's socket calls: its
 * session is up, and what it queues is looked at. Nothing here has left, so a successor that finds no stamp may queue the
 * order, and one that finds it must not.
 *
 * usage: intent_step new|replace|cancel process|power [stride [offset]]. Prints how many states were seen.
 */
#include "step_harness.h"
#define begin gateway_begin /* names of the harness's own */
#include "gateway.c"
#undef begin
#include "clock.h"

/* No paper venue here. */
void gateway_paper_market(gateway *self, const turn_plan *plan) { (void)self, (void)plan, abort(); }
int gateway_paper_order(gateway *self, const turn_plan *plan, const cmd_event *command) { (void)self, (void)plan, (void)command, abort(); }
void gateway_paper_serve(gateway *self, const turn_plan *plan) { (void)self, (void)plan, abort(); }

enum { COMMANDS = 4, INTENTS = 16, RING = 8, BEFORE = 1, UNDER = 2, AFTER = 3, ORDERS = 16 };

static struct {
    void *cmd, *cmd_cursor, *exec, *exec_cursor;
    control_page *control;
    stage_page *page;
    clock_page *clock;
    instrument_entry *instrument;
    void *intents;
    uint64_t bytes;
    int file;
} world;

static int durable, type;
static intent_record expected; /* of the command under the knife, as a gateway that lives stores it */

static void *shared_pages(uint64_t bytes) {
    void *made = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    REQUIRE(made != MAP_FAILED);
    return made;
}

static void world_make(void) {
    world.cmd = shared_pages(ring_bytes(RING, SLOT_SIZE));
    world.exec = shared_pages(ring_bytes(RING, SLOT_SIZE));
    world.cmd_cursor = shared_pages(PAGE);
    world.exec_cursor = shared_pages(PAGE);
    world.control = shared_pages(PAGE);
    world.page = shared_pages(4 * PAGE);
    world.clock = shared_pages(PAGE);
    world.instrument = shared_pages(PAGE);
    inside = shared_pages(PAGE);
    world.bytes = (intent_bytes(INTENTS) + PAGE - 1) / PAGE * PAGE;
    world.file = memfd_create("intents", 0);
    REQUIRE(world.file >= 0 && ftruncate(world.file, (off_t)world.bytes) == 0);
    world.intents = mmap(NULL, world.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, world.file, 0);
    REQUIRE(world.intents != MAP_FAILED);
    clock_calibrate(world.clock, 1000000, 0);
    memcpy(world.instrument->symbol, "AAPL", 4);
}

static void world_clear(void) {
    memset(world.cmd, 0, ring_bytes(RING, SLOT_SIZE));
    memset(world.exec, 0, ring_bytes(RING, SLOT_SIZE));
    memset(world.cmd_cursor, 0, PAGE);
    memset(world.exec_cursor, 0, PAGE);
    memset(world.control, 0, PAGE);
    memset(world.page, 0, 4 * PAGE);
    memset(world.intents, 0, world.bytes);
    seal(world.cmd, SEGMENT_RING, RING);
    seal(world.exec, SEGMENT_RING, RING);
    seal(world.cmd_cursor, SEGMENT_CURSOR, 1);
    seal(world.exec_cursor, SEGMENT_CURSOR, 1);
    segment_header head = {.kind = SEGMENT_INTENTS, .capacity = INTENTS, .slot_size = sizeof(intent_record)};
    segment_seal(world.intents, &head);
    intent_page *page = (intent_page *)((uint8_t *)world.intents + SEGMENT_HEADER_SIZE);
    page->promise = durable ? INTENT_PROMISE_POWER : INTENT_PROMISE_PROCESS;
}

static const intent_record *record_at(uint64_t index) {
    return (const intent_record *)((const uint8_t *)world.intents + INTENT_RECORDS_OFFSET) + index;
}

static uint64_t stamped(void) {
    uint64_t count = 0;
    while (count < INTENTS && record_at(count)->stamp == count + 1) count++;
    return count;
}

static uint64_t released(void) { return ((const ring_cursor *)segment_body(world.cmd_cursor))->position; }

/* ---- a gateway over it --------------------------------------------------------------------------------- */

static uint8_t memory[1 << 18] __attribute__((aligned(64)));
static intent_record private_records[INTENTS];

static gateway *gateway_make(void) {
    gateway_config config = {.orders_max = ORDERS, .batch_max = COMMANDS, .instrument_count = 1};
    config.terms.kind = VENUE_OUCH50;
    config.terms.price_scale = 1;
    memcpy(config.terms.firm, "    ", 4);
    config.terms.display = 'Y';
    config.terms.capacity = 'P';
    config.terms.customer = 'N';
    strcpy(config.session.address, "127.0.0.1");
    config.session.send_bytes = SEND_BYTES_MIN;
    config.session.receive_bytes = RECEIVE_BYTES_MIN;
    config.session.heartbeat_ns = config.session.silence_ns = config.session.backoff_ns_min = 1000000000;
    gateway *self = gateway_init(memory, sizeof memory, &config);
    REQUIRE(self);
    self->stage.id = STAGE_GATEWAY;
    self->stage.page = world.page;
    self->stage.clock = world.clock;
    self->stage.control = world.control;
    self->instruments = world.instrument;
    REQUIRE(ring_reader_attach(&self->cmd, world.cmd, world.cmd_cursor, CURSOR_GATING) == RING_OK);
    REQUIRE(ring_writer_attach(&self->exec, world.exec) == RING_OK);
    REQUIRE(ring_writer_gate(&self->exec, world.exec_cursor) == RING_OK);
    REQUIRE(gateway_open(self, world.intents, world.bytes) == GATEWAY_OK);
    if (durable) {
        memcpy(private_records, record_at(0), sizeof private_records);
        gateway_make_durable(self, private_records, world.file, world.file);
    }
    self->session.state = SESSION_UP;
    return self;
}

static turn_plan plan_of(gateway *self) {
    turn_plan plan;
    gateway_plan(self, &plan);
    plan.input_sequence[GATEWAY_INPUT_SESSION] = 1; /* as after the login */
    plan.mode = MODE_NORMAL;
    return plan;
}

static uint32_t queued(const gateway *self) { return self->session.send_tail - self->session.send_head; }

static void publish_command(uint64_t order_id) {
    ring_writer writer;
    REQUIRE(ring_writer_attach(&writer, world.cmd) == RING_OK);
    REQUIRE(ring_writer_gate(&writer, world.cmd_cursor) == RING_OK);
    cmd_event command = {.order_id = order_id, .price_ticks = 1000000, .quantity_lots = 100 + (int64_t)order_id};
    command.header.type = (uint8_t)(order_id == UNDER ? type : CMD_NEW);
    if (command.header.type != CMD_NEW) command.target_order_id = BEFORE;
    if (command.header.type == CMD_CANCEL) command.price_ticks = command.quantity_lots = 0;
    command.id.cause_sequence = order_id;
    command.side = SIDE_BUY;
    command.digest = digest_command(&command);
    REQUIRE(ring_publish(&writer, &command, sizeof command) == RING_OK);
}

/* ---- the act, and what must be true after it ---------------------------------------------------------------- */

static void act(const void *unused) {
    (void)unused;
    gateway *self = gateway_make();
    turn_plan plan = plan_of(self);
    begin();
    commands_drain(self, &plan);
    end();
}

static void prepare(void) {
    world_clear();
    publish_command(BEFORE);
    gateway *self = gateway_make();
    turn_plan plan = plan_of(self);
    commands_drain(self, &plan);
    REQUIRE(stamped() == BEFORE && released() == BEFORE);
    publish_command(UNDER);
}

static int same_order(const intent_record *a, const intent_record *b) {
    intent_record x = *a, y = *b;
    x.time_ns = x.sent_time_ns = x.checksum = y.time_ns = y.sent_time_ns = y.checksum = 0;
    return memcmp(&x, &y, sizeof x) == 0;
}

/* A number that was given out before the stamp was stored is skipped: the same order but for it. */
static int same_but_number(const intent_record *a, const intent_record *b) {
    intent_record x = *a, y = *b;
    if (x.user_ref < y.user_ref || x.user_ref > y.user_ref + 1) return 0;
    x.user_ref = y.user_ref = 0;
    memset(x.frame + 4, 0, 8); /* the numbers of O and of U */
    memset(y.frame + 4, 0, 8);
    return same_order(&x, &y);
}

static void check_third(gateway *self) {
    uint32_t number = record_at(UNDER - 1)->user_ref;
    publish_command(AFTER);
    turn_plan plan = plan_of(self);
    uint32_t before = queued(self);
    commands_drain(self, &plan);
    REQUIRE(stamped() == AFTER && released() == AFTER);
    REQUIRE(record_at(AFTER - 1)->user_ref > number && record_at(AFTER - 1)->user_ref <= number + 2);
    REQUIRE(queued(self) - before == record_at(AFTER - 1)->frame_length);
}

static void check(void) {
    uint64_t found = stamped(), taken = released();
    REQUIRE(found == BEFORE || found == UNDER);
    REQUIRE(taken <= found); /* what is read no more is in the file */
    if (found == UNDER) REQUIRE(same_order(record_at(UNDER - 1), &expected));
    if (durable && found == UNDER) REQUIRE(record_at(UNDER - 1)->checksum == intent_checksum(record_at(UNDER - 1)));
    gateway *self = gateway_make();
    REQUIRE(self->intents.next == found && queued(self) == 0);
    turn_plan plan = plan_of(self);
    commands_drain(self, &plan);
    REQUIRE(stamped() == UNDER && released() == UNDER);
    REQUIRE(same_but_number(record_at(UNDER - 1), &expected));
    /* With its stamp it may have left, and never does again. */
    REQUIRE(queued(self) == (found == UNDER ? 0 : expected.frame_length));
    check_third(self);
}

int main(int count, char **argument) {
    REQUIRE(count >= 3 && count <= 5);
    type = !strcmp(argument[1], "replace") ? CMD_REPLACE : !strcmp(argument[1], "cancel") ? CMD_CANCEL : CMD_NEW;
    durable = !strcmp(argument[2], "power");
    uint64_t stride = count > 3 ? strtoull(argument[3], NULL, 10) : 1, offset = count > 4 ? strtoull(argument[4], NULL, 10) : 0;
    world_make();
    prepare();
    gateway *alive = gateway_make();
    turn_plan plan = plan_of(alive);
    commands_drain(alive, &plan);
    REQUIRE(stamped() == UNDER && queued(alive) == record_at(UNDER - 1)->frame_length);
    expected = *record_at(UNDER - 1);
    uint64_t states = 0, effective = 0;
    int more = 1;
    for (uint64_t at = stride ? offset % stride : 0; more; at += stride, states++) {
        REQUIRE(stride && at < STEPS_MAX);
        prepare();
        pid_t child = stop_inside(act, NULL, at);
        more = *inside != 0;
        effective += stamped() == UNDER;
        kill_there(child);
        check();
    }
    printf("act=%s-%s states=%lu after_the_effect=%lu\n", argument[1], argument[2], states, effective);
    return 0;
}
