/* command_inline.h: the name that an intent's command will bear, for risk, which gives it, and for the
 * gateway, which looks ahead for it.
 */
#pragma once
#include "layout.h"

static inline command_id command_name(const signal_event *intent) {
    return (command_id){.cause_sequence = intent->header.cause_sequence,
                        .account = intent->account,
                        .strategy = intent->strategy,
                        .strategy_epoch = intent->strategy_epoch,
                        .input = intent->header.cause_input,
                        .leg = intent->leg};
}
