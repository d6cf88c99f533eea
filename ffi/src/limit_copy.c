/* limit_copy.c: one copy of the limits. See include/limit_copy.h. */
#include "limit_copy.h"
#include "digest.h"
#include <stddef.h>
#include <string.h>

uint64_t limits_bytes(uint32_t instruments, uint32_t scopes) {
    return sizeof(limits_header) + (uint64_t)instruments * sizeof(instrument_limits) + (uint64_t)scopes * sizeof(scope_limits);
}

static instrument_limits *instruments_of(limits_header *copy) { return (instrument_limits *)(copy + 1); }

scope_limits *limits_scopes(limits_header *copy) { return (scope_limits *)(instruments_of(copy) + copy->count); }

/* ---- laying out -------------------------------------------------------------------------------- */

static void scope_clear(scope_limits *scope, uint32_t kind) {
    int64_t *limit = &scope->orders_per_second_max;
    int64_t *end = &scope->breaker_cooldown_ns;
    while (limit <= end) *limit++ = LIMIT_OFF;
    scope->active = scope->switches = scope->rearm_epoch = 0;
    scope->cancels_reserved = scope->messages_free = scope->breaker_window_ns = scope->breaker_cooldown_ns = 0;
    scope->id = 0;
    scope->kind = kind;
}

static void instrument_clear(instrument_limits *limits) {
    memset(limits, 0, sizeof *limits); /* what is 0: forbidden, not asked for, or no window */
    limits->collar_ticks_max = limits->trade_collar_ppm_max = limits->through_ppm_max = LIMIT_OFF;
    limits->move_ppm_max = limits->volatility_ppm_max = limits->spread_ppm_max = LIMIT_OFF;
    limits->participation_ppm_max = limits->envelope_lots_max = LIMIT_OFF;
    scope_clear(&limits->scope, SCOPE_INSTRUMENT);
}

void limits_clear(limits_header *copy, uint32_t instruments, uint32_t scopes) {
    memset(copy, 0, sizeof *copy);
    copy->bytes = limits_bytes(instruments, scopes);
    copy->count = instruments;
    copy->scope_count = scopes;
    copy->intent_age_ns_max = copy->score_milli_max = copy->score_jump_milli_max = copy->model_age_ns_max = LIMIT_OFF;
    copy->envelope_order_value_micros_max = copy->envelope_gross_value_micros_max = LIMIT_OFF;
    scope_clear(&copy->firm, SCOPE_FIRM);
    scope_clear(&copy->any_account, SCOPE_ACCOUNT);
    scope_clear(&copy->any_strategy, SCOPE_STRATEGY);
    copy->firm.gross_value_micros_max = copy->firm.open_orders_max = copy->firm.messages_per_second_max = 0;
    for (uint32_t i = 0; i < instruments; i++) instrument_clear(&instruments_of(copy)[i]);
    for (uint32_t i = 0; i < scopes; i++) scope_clear(&limits_scopes(copy)[i], SCOPE_STRATEGY);
}

/* ---- sealing ------------------------------------------------------------------------------------- */

static int is_on(int64_t limit) { return limit != LIMIT_OFF; }

static uint64_t scope_groups(const scope_limits *scope) {
    uint64_t groups = scope->switches ? GROUP_SWITCHES : 0;
    if (is_on(scope->orders_per_second_max) || is_on(scope->replaces_per_second_max) || is_on(scope->cancels_per_second_max) ||
        is_on(scope->messages_per_second_max) || is_on(scope->open_orders_max))
        groups |= GROUP_RATES;
    if (is_on(scope->position_lots_max) || is_on(scope->gross_value_micros_max) || is_on(scope->net_value_micros_max) ||
        is_on(scope->credit_micros_max))
        groups |= GROUP_EXPOSURE;
    if (is_on(scope->day_value_micros_max) || is_on(scope->day_lots_max)) groups |= GROUP_DAY;
    if (is_on(scope->day_loss_micros_max) || is_on(scope->day_drawdown_micros_max)) groups |= GROUP_LOSS;
    if (is_on(scope->messages_per_fill_milli_max) || is_on(scope->executions_max) || is_on(scope->breaker_rejects_max))
        groups |= GROUP_CONDUCT;
    return groups;
}

static uint64_t instrument_groups(const instrument_limits *limits) {
    uint64_t groups = scope_groups(&limits->scope);
    if (is_on(limits->collar_ticks_max) || is_on(limits->trade_collar_ppm_max) || is_on(limits->through_ppm_max) ||
        is_on(limits->move_ppm_max) || limits->flags & LIMIT_NO_SELF_TRADE)
        groups |= GROUP_COLLARS;
    if (is_on(limits->volatility_ppm_max) || is_on(limits->spread_ppm_max) || limits->depth_lots_min ||
        is_on(limits->participation_ppm_max) || limits->safe_ns)
        groups |= GROUP_MARKET;
    if (limits->duplicate_window_ns || limits->resting_ns_min || limits->cooldown_ns) groups |= GROUP_TIMING;
    return groups;
}

static void derive(limits_header *copy) {
    copy->firm.active = scope_groups(&copy->firm);
    copy->any_account.active = scope_groups(&copy->any_account);
    copy->any_strategy.active = scope_groups(&copy->any_strategy);
    for (uint64_t i = 0; i < copy->count; i++) instruments_of(copy)[i].scope.active = instrument_groups(&instruments_of(copy)[i]);
    for (uint32_t i = 0; i < copy->scope_count; i++) limits_scopes(copy)[i].active = scope_groups(&limits_scopes(copy)[i]);
    copy->next_expiry_time_ns = INT64_MAX;
    for (uint32_t i = 0; i < TEMPORARY_LIMITS_MAX; i++) {
        int64_t expiry = copy->temporary[i].expires_time_ns;
        if (expiry && expiry < copy->next_expiry_time_ns) copy->next_expiry_time_ns = expiry;
    }
}

uint64_t limits_checksum(const limits_header *copy) {
    uint64_t before = digest_bytes(0, copy, offsetof(limits_header, checksum));
    return digest_bytes(before, &copy->bytes, copy->bytes - offsetof(limits_header, bytes));
}

void limits_seal(limits_header *copy) {
    derive(copy);
    copy->checksum = limits_checksum(copy);
}

/* ---- checking -------------------------------------------------------------------------------------- */

static int places_stand(const uint8_t *place, uint32_t count, uint32_t scopes) {
    for (uint32_t i = 0; i < count; i++)
        if (place[i] > scopes) return 0;
    return 1;
}

static int temporary_stands(const limits_header *copy, const temporary_limit *temporary) {
    if (!temporary->expires_time_ns) return 1;
    uint64_t offset = temporary->offset;
    return offset % sizeof(int64_t) == 0 && offset >= offsetof(limits_header, stale_after_ns) && offset + sizeof(int64_t) <= copy->bytes;
}

int limits_whole(const limits_header *copy, uint64_t bytes_max) {
    if (bytes_max < sizeof *copy || copy->count > INSTRUMENTS_MAX || copy->scope_count > SCOPES_MAX) return 0;
    if (copy->bytes != limits_bytes((uint32_t)copy->count, copy->scope_count) || copy->bytes > bytes_max) return 0;
    if (limits_checksum(copy) != copy->checksum) return 0;
    if (copy->hours_count > TRADING_HOURS_MAX || copy->venue_place > copy->scope_count) return 0;
    for (uint32_t i = 0; i < TEMPORARY_LIMITS_MAX; i++)
        if (!temporary_stands(copy, &copy->temporary[i])) return 0;
    return places_stand(copy->strategy_place, STRATEGY_PLACES, copy->scope_count) &&
           places_stand(copy->account_place, ACCOUNT_PLACES, copy->scope_count);
}

/* ---- expiry and publishing --------------------------------------------------------------------------- */

void limits_expire(limits_header *copy, uint64_t now_ns) {
    for (uint32_t i = 0; i < TEMPORARY_LIMITS_MAX; i++) {
        temporary_limit *temporary = &copy->temporary[i];
        if (!temporary->expires_time_ns || (int64_t)now_ns < temporary->expires_time_ns) continue;
        memcpy((uint8_t *)copy + temporary->offset, &temporary->value_before, sizeof temporary->value_before);
        memset(temporary, 0, sizeof *temporary);
    }
    derive(copy);
}

void limits_publish(limits_page *page, uint64_t generation) {
    __atomic_store_n(&page->generation, generation, __ATOMIC_RELEASE); /* partner: limits_take in risk.c */
}
