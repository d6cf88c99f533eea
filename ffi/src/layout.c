/* layout.c: what layout.h claims, asserted: sizes, offsets, and that each writer's words have cache
 * lines of their own. */
#include "layout.h"
#include <stddef.h>

#define SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), #type " must be " #bytes " bytes")
#define AT(type, field, offset) \
    _Static_assert(offsetof(type, field) == (offset), #type "." #field " must lie at " #offset)

SIZE(segment_header, SEGMENT_HEADER_SIZE);
SIZE(ring_control, CACHE_LINE_SIZE);
SIZE(ring_cursor, CACHE_LINE_SIZE);
SIZE(doorbell, CACHE_LINE_SIZE);

/* A slot is a power of two, so that an index is a mask and a shift, and an event never straddles
 * more lines than it must. */
SIZE(event_header, 48);
SIZE(raw_event, 128);
SIZE(norm_event, 128);
SIZE(signal_event, 128);
SIZE(cmd_event, 128);
SIZE(exec_event, 128);
SIZE(adjustment_event, 128);
SIZE(limits_change, 128);
SIZE(turn_event, 128);
SIZE(model_change, 128);
SIZE(decision_event, 128);
SIZE(request_event, 128);
SIZE(report_event, 128);
SIZE(command_id, 16);

/* The ring stamps the first word of every slot. */
AT(event_header, stamp, 0);
AT(segment_header, magic, 0);

/* Killers, supervisor, gateway and whoever ends it write different lines; so do those who beat. The causes are one
 * line, which every turn reads and next to nobody writes. */
AT(control_page, kill_epoch, 0);
AT(control_page, armed_epoch, 64);
AT(control_page, killed_epoch_sent, 128);
AT(control_page, killed_epoch_reset, 192);
AT(control_page, stop, 256);
AT(control_page, beat_time_ns, 320);
AT(control_page, cause, 384);
AT(control_page, latch_path, 512);
_Static_assert(CAUSES <= CAUSES_MAX, "each cause owns a byte of control_page.cause, and a bit");
_Static_assert(BEATS <= BEATS_MAX, "a word for each that beats");

SIZE(scope_limits, 3 * CACHE_LINE_SIZE);
_Static_assert(sizeof(limits_header) % CACHE_LINE_SIZE == 0, "what follows starts on a line");
_Static_assert(offsetof(limits_header, firm) % CACHE_LINE_SIZE == 0, "the firm's limits lie in three lines");
_Static_assert((int)REJECT_REASONS_MAX <= 96, "reasons of an override fit");
SIZE(limits_page, CACHE_LINE_SIZE);
AT(models_page, image_offset, CACHE_LINE_SIZE);
AT(models_watch, health, CACHE_LINE_SIZE);
_Static_assert(sizeof(models_deck) <= CACHE_LINE_SIZE, "a generation fits an event");
_Static_assert((int)MODEL_ROLES <= 4, "a place for each role");
SIZE(instrument_limits, 6 * CACHE_LINE_SIZE);
SIZE(instrument_entry, CACHE_LINE_SIZE);
SIZE(clock_page, CACHE_LINE_SIZE);
SIZE(lockstep_page, CACHE_LINE_SIZE);
SIZE(intent_page, CACHE_LINE_SIZE);
SIZE(intent_record, 3 * CACHE_LINE_SIZE);
AT(stage_page, counter, CACHE_LINE_SIZE);
/* A plan is written in every turn: into one line, that no other word shares. */
SIZE(turn_plan, CACHE_LINE_SIZE);
_Static_assert(offsetof(stage_page, plan) % CACHE_LINE_SIZE == 0, "the plan has a line of its own");
_Static_assert((int)RESTART_PHASES <= RESTART_SLOTS, "a word for each phase");

/* Front end, supervisor and whoever reads the terms: a line for each writer. */
SIZE(seat_client_page, CACHE_LINE_SIZE);
AT(seat_page, dead_epoch, CACHE_LINE_SIZE);
AT(seat_page, account, 2 * CACHE_LINE_SIZE);
AT(seat_page, requests, 3 * CACHE_LINE_SIZE);
SIZE(seat_page, 4 * CACHE_LINE_SIZE);

_Static_assert(HISTOGRAM_COUNTS == (HISTOGRAM_BUCKETS + 1) * HISTOGRAM_SUB_BUCKETS / 2, "HdrHistogram geometry");
_Static_assert((int)FEED_COUNTERS <= COUNTERS_MAX && (int)RISK_COUNTERS <= COUNTERS_MAX, "counters fit their page");
_Static_assert((int)RISK_REJECTS + (int)REJECT_REASONS_MAX <= (int)RISK_COUNTERS, "a counter for each reason");
